//! The gate as a whole: listening, and the workers among which connections are shared out.
//!
//! Each worker is a thread with a runtime of its own: a connection lives on one thread from accept to close, its
//! upstream connections and buffers are that worker's, and nothing on the way takes a lock that another thread wants.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fallgate_authority::Verifier;
use fallgate_domain::problem::Problem;
use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::crowd::{Crowd, Place, Streams};
use crate::files::{FilePlace, Files};
use crate::ingress::access::AccessLog;
use crate::ingress::connection::{Connection, LINGER};
use crate::ingress::http2;
use crate::ingress::own::Doors;
use crate::ingress::proxies::Asker;
use crate::ingress::refuse::{Answer, Manner};
use crate::ingress::settings::{LiveSettings, Settings};
use crate::listener::{Accepted, Listener};
use crate::seldom::Seldom;
use crate::wire::buffer::Stock;
use crate::wire::dial::Pool;
use crate::wire::http2::Links;
use crate::wire::pipe::Pipe;
use crate::wire::socket::{Socket, Wire};
use crate::wire::tls::{NoSession, Sealed};

/// How long requests under way may take to end once the gate shuts down.
const DRAIN_FOR: Duration = Duration::from_secs(10);
/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// A pause after an accept that failed for want of something, such as file descriptors.
const BREATHE: Duration = Duration::from_millis(50);
/// How often it is said at most that there is no room for more connections.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// The same of accepts that fail.
const SAY_FAILED_EVERY: Duration = Duration::from_secs(1);

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
    /// The most client connections at once; and the most streams on those that speak HTTP/2.
    pub connections: usize,
    /// How many of either one client network may have: an IPv4 address, or an IPv6 /64.
    pub connections_per_network: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_fields: 100,
            head_time: Duration::from_secs(10),
            idle: Duration::from_mins(5),
            connections: 10_000,
            connections_per_network: 8_000,
        }
    }
}

/// Everything a connection needs to know.
pub struct Gate {
    /// Who is calling.
    pub verifier: Arc<Verifier>,
    /// Our own pages and API.
    pub doors: Doors,
    /// Draws a problem as a page for people, given the address of Home.
    pub draw_problem: fn(&Problem, &str) -> String,
    /// What requests are decided by.
    pub settings: LiveSettings,
    /// Where each request leaves a note, if anywhere.
    pub access: Option<AccessLog>,
    /// What all sockets are counted among.
    pub files: Arc<Files>,
}

/// A worker's own things, and the gate they all share.
pub(crate) struct Worker {
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Pool,
    pub(crate) links: Links,
    pub(crate) stock: Stock,
    /// The streams of all workers.
    pub(crate) streams: Arc<Streams>,
    /// Clients must use it.
    tls: Option<Arc<ServerConfig>>,
    open: Arc<AtomicUsize>,
}

/// Why there is no room for a connection.
#[derive(Debug, thiserror::Error)]
enum Crowded {
    #[error("there are {0} connections, as many as limits.connections allows")]
    Gate(usize),
    #[error(
        "there are {0} connections, as many as the limit on open files has room for: raise it (ulimit -n, or LimitNOFILE= in the systemd unit)"
    )]
    Process(usize),
    #[error(
        "the network of {0} has {1} connections, as many as one network may have (limits.connections_per_network)"
    )]
    Network(IpAddr, usize),
}

/// A connection on its way to a worker, with its places among all sockets and among its network's.
struct Arrival {
    accepted: Accepted,
    _file: FilePlace,
    _of_its_network: Option<Place>,
}

/// A worker thread, as the acceptor sees it.
struct Hand {
    inbox: mpsc::UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Gate {
    /// Has a later config count from the next request on, and closes what it does not allow any more: streams on routes
    /// that are gone, that have become others, or whose list has become narrower (requirement R57). One call at a time.
    pub fn apply(&self, settings: Settings) {
        let before = self.settings.replace(settings);
        let now = self.settings.now();
        self.verifier.succeed(before.routes.successions(&now.routes));
    }

    /// Serves clients on `workers` threads until `stopping` turns true, then lets requests under way end.
    pub async fn run(
        self: Arc<Self>,
        listener: Listener,
        workers: usize,
        mut stopping: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let streams = Arc::default();
        let workers = workers.max(1);
        let hands = (0..workers)
            .map(|number| self.start_worker(number, listener.tls().cloned(), &streams, stopping.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let crowd = Arc::default();
        let (crowds, failures) = (Seldom::every(SAY_EVERY), Seldom::every(SAY_FAILED_EVERY));
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => break,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => {
                        // Strangers must not fill the log.
                        if let Err(crowded) = self.hand_out(&hands, &crowd, accepted)
                            && crowds.now().is_some()
                        {
                            tracing::warn!("{crowded}; further ones are closed at once");
                        }
                    }
                    Err(error) => {
                        if let Some(times) = failures.now() {
                            tracing::warn!(%error, times, "cannot accept a connection");
                        }
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

    fn start_worker(
        self: &Arc<Self>,
        number: usize,
        tls: Option<Arc<ServerConfig>>,
        streams: &Arc<Streams>,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Hand> {
        let (inbox, arriving) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let worker = Arc::new(Worker {
            gate: self.clone(),
            pool: Pool::new(self.files.clone()),
            links: Links::new(self.files.clone()),
            stock: Stock::default(),
            streams: streams.clone(),
            tls,
            open: open.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(work(worker, arriving, stopping)))?;
        Ok(Hand { inbox, open, thread })
    }

    /// Gives a connection to the worker that has the fewest, if there is room for it. Trusted proxies stand for many
    /// clients, and a unix socket's have no address: they are not counted by network.
    fn hand_out(&self, hands: &[Hand], crowd: &Arc<Crowd>, accepted: Accepted) -> Result<(), Crowded> {
        let settings = self.settings.now();
        let limits = &settings.limits;
        let open: usize = hands.iter().map(|hand| hand.open.load(Ordering::Relaxed)).sum();
        if open >= limits.connections {
            return Err(Crowded::Gate(limits.connections));
        }
        let most = self.files.most_clients();
        let file = self.files.enter_client().ok_or(Crowded::Process(most))?;
        let counted = accepted.peer.filter(|peer| !settings.trusted_proxies.trusts(*peer));
        let place = match counted {
            Some(peer) => {
                // Where the process has less room than the config says, nobody takes all there is either.
                let share = if most < limits.connections { most / 5 * 4 } else { most };
                let most = limits.connections_per_network.min(share);
                Some(crowd.enter(peer, most).ok_or(Crowded::Network(peer, most))?)
            }
            None => None,
        };
        let fewest = hands.iter().min_by_key(|hand| hand.open.load(Ordering::Relaxed));
        if let Some(hand) = fewest {
            hand.open.fetch_add(1, Ordering::Relaxed);
            let arrival = Arrival { accepted, _file: file, _of_its_network: place };
            if hand.inbox.send(arrival).is_err() {
                hand.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

async fn work(
    worker: Arc<Worker>,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP_EVERY);
    let signal = stopping.clone();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            Some(arrival) = arriving.recv() => {
                connections.spawn(serve(arrival, worker.clone(), signal.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => {
                worker.pool.sweep();
                worker.links.sweep();
            }
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

async fn serve(arrival: Arrival, worker: Arc<Worker>, mut stopping: watch::Receiver<bool>) {
    let _counted = Counted(worker.clone());
    // It has its places until it ends.
    let Arrival { accepted, _file, _of_its_network } = arrival;
    let peer = accepted.peer;
    let pipe = match accepted.adopt() {
        Ok(pipe) => pipe,
        Err(error) => return tracing::debug!(%error, "a connection was lost before it began"),
    };
    let Some(tls) = worker.tls.clone() else {
        let direct = Asker { ip: peer, https: false };
        let wire = Wire::new(Socket::Plain(pipe));
        return serve_either(wire, direct, worker, stopping).await;
    };
    let within = worker.gate.settings.now().limits.head_time;
    let shaken = tokio::select! {
        biased;
        shaken = timeout(within, Sealed::accept(pipe, tls)) => shaken,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    match shaken {
        Ok(Ok(sealed)) => {
            let direct = Asker { ip: peer, https: true };
            let speaks_http2 = sealed.speaks_http2();
            let wire = Wire::new(Socket::Tls(Box::new(sealed)));
            if speaks_http2 {
                http2::serve(wire, direct, worker, stopping).await;
            } else {
                Connection::new(wire, direct, worker, stopping).without_http2().serve().await;
            }
        }
        Ok(Err(NoSession::Plain(pipe))) => refuse_plain(pipe, &worker).await,
        // Strangers must not fill the log.
        Ok(Err(NoSession::Failed(error))) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Serves a client that has not said which HTTP it speaks.
async fn serve_either(wire: Wire, direct: Asker, worker: Arc<Worker>, stopping: watch::Receiver<bool>) {
    let turned = Connection::new(wire, direct, worker.clone(), stopping.clone()).serve().await;
    if let Some(wire) = turned {
        http2::serve(wire, direct, worker, stopping).await;
    }
}

/// Tells whoever speaks plain HTTP where TLS is spoken what the matter is.
async fn refuse_plain(pipe: Pipe, worker: &Worker) {
    let mut wire = Wire::new(Socket::Plain(pipe));
    let mut out = Vec::new();
    let problem = Problem::new(400, "TLS is spoken here: use https.");
    let now = worker.gate.verifier.clock().now();
    let manner = Manner { bodiless: false, close: true, https: false, now, page: None };
    Answer::from(problem).write(&mut out, manner);
    let farewell = async {
        if wire.write_all(&out).await.is_ok() {
            wire.drain(&worker.stock).await;
        }
    };
    // Slow or stubborn clients are not waited for.
    let _ = timeout(LINGER, farewell).await;
}
