//! The gate as a whole: listening, and the workers among which connections are shared out.
//!
//! Each worker is a thread with a runtime of its own: a connection lives on one thread from accept to close, its
//! upstream connections and buffers are that worker's, and nothing on the way takes a lock that another thread wants.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fallgate_authority::Verifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::ingress::connection::Connection;
use crate::ingress::own::Doors;
use crate::ingress::settings::{LiveSettings, Settings};
use crate::wire::buffer::Stock;
use crate::wire::dial::{Pool, probe_when_silent};
use crate::wire::socket::{Socket, Wire};

/// How long requests under way may take to end once the gate shuts down.
const DRAIN_FOR: Duration = Duration::from_secs(10);
/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// A pause after an accept that failed for want of something, such as file descriptors.
const BREATHE: Duration = Duration::from_millis(50);

/// How much a client may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest head, in bytes.
    pub head_bytes: usize,
    /// The most header fields in a head.
    pub head_fields: usize,
    /// How long a head may take to arrive, from its first byte.
    pub head_time: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// The most client connections at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_fields: 100,
            head_time: Duration::from_secs(10),
            idle: Duration::from_mins(5),
            connections: 10_000,
        }
    }
}

/// Everything a connection needs to know.
pub struct Gate {
    /// Who is calling.
    pub verifier: Arc<Verifier>,
    /// Our own pages and API.
    pub doors: Doors,
    /// What requests are decided by.
    pub settings: LiveSettings,
}

/// A worker's own things, and the gate they all share.
pub(crate) struct Worker {
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Pool,
    pub(crate) stock: Stock,
    open: Arc<AtomicUsize>,
}

/// Where clients come in.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on that address; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection on its way to a worker.
struct Accepted {
    stream: std::net::TcpStream,
    peer: IpAddr,
}

/// A worker thread, as the acceptor sees it.
struct Hand {
    inbox: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Gate {
    /// Has a later config count from the next request on, and closes what it does not allow any more: streams on routes
    /// that are gone or whose list has become narrower (requirement R57). One call at a time.
    pub fn apply(&self, settings: Settings) {
        let policies: Vec<_> = settings.routes.policies().cloned().collect();
        let before = self.settings.replace(settings);
        self.verifier.succeed(before.routes.policies(), &policies);
    }

    /// Serves clients on `workers` threads until `stopping` turns true, then lets requests under way end.
    pub async fn run(
        self: Arc<Self>,
        listener: Listener,
        workers: usize,
        mut stopping: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let hands = (0..workers.max(1))
            .map(|number| self.start_worker(number, stopping.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let mut full = false;
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => break,
                accepted = listener.0.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let was_full = std::mem::replace(&mut full, !self.hand_out(&hands, stream, peer.ip()));
                        // Said once each time it comes to that: strangers must not fill the log.
                        if full && !was_full {
                            tracing::warn!(
                                limit = self.settings.now().limits.connections,
                                "too many connections; further ones are closed at once"
                            );
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(BREATHE).await;
                    }
                },
            }
        }
        drop(listener);
        let threads: Vec<_> = hands.into_iter().map(|hand| hand.thread).collect();
        tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended in a panic");
                }
            }
        })
        .await
        .map_err(io::Error::other)
    }

    fn start_worker(self: &Arc<Self>, number: usize, stopping: watch::Receiver<bool>) -> io::Result<Hand> {
        let (inbox, arriving) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let worker = Arc::new(Worker {
            gate: self.clone(),
            pool: Pool::default(),
            stock: Stock::default(),
            open: open.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(work(worker, arriving, stopping)))?;
        Ok(Hand { inbox, open, thread })
    }

    /// Gives a connection to the worker that has the fewest. `false`: there is no room for it.
    fn hand_out(&self, hands: &[Hand], stream: TcpStream, peer: IpAddr) -> bool {
        let open: usize = hands.iter().map(|hand| hand.open.load(Ordering::Relaxed)).sum();
        if open >= self.settings.now().limits.connections {
            return false;
        }
        let fewest = hands.iter().min_by_key(|hand| hand.open.load(Ordering::Relaxed));
        if let (Some(hand), Ok(stream)) = (fewest, stream.into_std()) {
            hand.open.fetch_add(1, Ordering::Relaxed);
            if hand.inbox.send(Accepted { stream, peer }).is_err() {
                hand.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        true
    }
}

async fn work(
    worker: Arc<Worker>,
    mut arriving: mpsc::UnboundedReceiver<Accepted>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP_EVERY);
    let signal = stopping.clone();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            Some(accepted) = arriving.recv() => {
                connections.spawn(serve(accepted, worker.clone(), signal.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.pool.sweep(),
        }
    }
    let drained = timeout(DRAIN_FOR, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(cut = connections.len(), "connections that did not end in time are closed");
    }
}

/// Counts a connection as open until it is dropped, however it ends.
struct Counted(Arc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(accepted: Accepted, worker: Arc<Worker>, stopping: watch::Receiver<bool>) {
    let _counted = Counted(worker.clone());
    match adopt(accepted.stream) {
        Ok(wire) => Connection::new(wire, Some(accepted.peer), worker, stopping).serve().await,
        Err(error) => tracing::debug!(%error, "a connection was lost before it began"),
    }
}

fn adopt(stream: std::net::TcpStream) -> io::Result<Wire> {
    probe_when_silent(&stream)?;
    stream.set_nodelay(true)?;
    Ok(Wire::new(Socket::Tcp(TcpStream::from_std(stream)?)))
}
