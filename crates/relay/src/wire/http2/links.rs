//! Connections to upstreams that speak HTTP/2, each shared by many exchanges of one worker.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Shared;
use h2::Reason;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::client::ClientStream;
use super::plain::Plain;
use crate::wire::dial::{Address, DialError, dial, dial_http2};
use crate::wire::socket::{Socket, Wire};
use crate::wire::tls::Trust;

/// An idle connection older than this is not used again.
const KEEP_FOR: Duration = Duration::from_secs(60);
/// How long a new connection may take to say what it can do.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);
/// How much of one answer may be on its way to us: what a slow client does not take waits here.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all answers on a connection together: so much that no client's slowness holds up another.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How much of a request may wait for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// The longest head of an answer, in bytes.
const HEAD: u32 = 64 * 1024;

/// One worker's connections to upstreams that speak HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: Mutex<HashMap<Place, Vec<Arc<Link>>>>,
    /// Connections on their way: whoever wants one meanwhile waits for the same.
    dialing: Mutex<HashMap<Place, Dialing>>,
}

/// What connections are shared by: where they lead, and who vouches for who is there (requirement R66).
type Place = (Address, Option<Trust>);

type Dialing = Shared<Pin<Box<dyn Future<Output = Result<Opened, Arc<DialError>>> + Send>>>;

/// What has become of a connection on its way.
#[derive(Debug, Clone)]
enum Opened {
    Link(Arc<Link>),
    /// The upstream has chosen HTTP/1.1: a connection for whoever takes it first.
    Http1(Arc<Mutex<Option<Wire>>>),
}

/// A connection to an upstream.
#[derive(Debug)]
pub(crate) struct Link {
    handle: SendRequest<Bytes>,
    scheme: &'static str,
    /// How many streams are in use.
    streams: AtomicUsize,
    /// It takes no further streams.
    retired: Arc<AtomicBool>,
    idle_since: Mutex<Instant>,
    driver: AbortHandle,
}

impl Links {
    /// A stream on a connection that is there already.
    pub(crate) fn take(&self, address: &Address, tls: Option<&Trust>) -> Option<Wire> {
        let open = self.open.lock();
        let link = open.get(&place(address, tls))?.iter().find(|link| link.has_room())?;
        Some(stream(link.clone()))
    }

    /// A stream on a new connection; or a connection that speaks HTTP/1.1, if the upstream will have no other.
    pub(crate) async fn open(&self, address: &Address, tls: Option<&Trust>) -> Result<Wire, DialError> {
        let place = place(address, tls);
        let dialing = {
            let begin = || open(place.clone()).map(|opened| opened.map_err(Arc::new)).boxed().shared();
            self.dialing.lock().entry(place.clone()).or_insert_with(begin).clone()
        };
        let opened = dialing.clone().await;
        let first = {
            let mut under_way = self.dialing.lock();
            let mine = under_way.get(&place).is_some_and(|other| other.ptr_eq(&dialing));
            mine && under_way.remove(&place).is_some()
        };
        match opened.map_err(|error| again(&error))? {
            Opened::Link(link) => {
                if first {
                    self.open.lock().entry(place).or_default().push(link.clone());
                }
                Ok(stream(link))
            }
            Opened::Http1(wire) => {
                let taken = wire.lock().take();
                match taken {
                    Some(wire) => Ok(wire),
                    None => dial(address, tls).await,
                }
            }
        }
    }

    /// Lets go of what has been idle for too long, or takes no more streams. Called now and then.
    pub(crate) fn sweep(&self) {
        self.open.lock().retain(|_, links| {
            links.retain(|link| !link.is_spent());
            !links.is_empty()
        });
    }
}

fn stream(link: Arc<Link>) -> Wire {
    Wire::new(Socket::Upstream(Box::new(ClientStream::new(link))))
}

fn place(address: &Address, tls: Option<&Trust>) -> Place {
    (address.clone(), tls.cloned())
}

/// What went wrong, for another who waited for the same.
fn again(error: &DialError) -> DialError {
    let same = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    match error {
        DialError::TimedOut => DialError::TimedOut,
        DialError::Refused(error) => DialError::Refused(same(error)),
        DialError::NoTls(error) => DialError::NoTls(same(error)),
    }
}

async fn open((address, tls): Place) -> Result<Opened, DialError> {
    let wire = dial_http2(&address, tls.as_ref()).await?;
    if tls.is_some() && !wire.speaks_http2() {
        return Ok(Opened::Http1(Arc::new(Mutex::new(Some(wire)))));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    Link::begin_on(wire, scheme).await.map(|link| Opened::Link(Arc::new(link)))
}

impl Link {
    async fn begin_on(wire: Wire, scheme: &'static str) -> Result<Self, DialError> {
        let (wire, heard) = Plain::new(wire);
        let (handle, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEAD)
            .handshake(wire)
            .await
            .map_err(|error| DialError::Refused(super::broken(error)))?;
        // How many streams it takes is the first thing that an upstream says; who says nothing has the usual.
        let settled = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(DialError::Refused(super::broken(error)))),
            Poll::Ready(Ok(())) => Poll::Ready(Err(DialError::Refused(io::ErrorKind::UnexpectedEof.into()))),
            Poll::Pending if heard.load(Ordering::Relaxed) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        timeout(SETTLE_WITHIN, settled).await.unwrap_or(Ok(()))?;
        let retired = Arc::new(AtomicBool::new(false));
        let ended = retired.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream's HTTP/2 connection ended");
            }
            ended.store(true, Ordering::Relaxed);
        });
        Ok(Self {
            handle,
            scheme,
            streams: AtomicUsize::new(0),
            retired,
            idle_since: Mutex::new(Instant::now()),
            driver: driver.abort_handle(),
        })
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(super) fn handle(&self) -> SendRequest<Bytes> {
        self.handle.clone()
    }

    pub(super) fn begin(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.idle_since.lock() = Instant::now();
        }
    }

    /// What failed on one stream may make the connection one that is not to be used again (requirement R66).
    pub(super) fn judge(&self, error: &h2::Error) {
        let of_the_stream_alone = error.is_reset()
            && error.is_remote()
            && matches!(
                error.reason(),
                Some(
                    Reason::NO_ERROR
                        | Reason::CANCEL
                        | Reason::REFUSED_STREAM
                        | Reason::INTERNAL_ERROR
                        | Reason::STREAM_CLOSED
                )
            );
        if !of_the_stream_alone {
            self.retired.store(true, Ordering::Relaxed);
        }
    }

    fn has_room(&self) -> bool {
        let streams = self.streams.load(Ordering::Relaxed);
        let idle = streams == 0 && self.idle_since.lock().elapsed() >= KEEP_FOR;
        // Whoever has said goodbye may still be answering what was asked before.
        let mut nobody_waits = Context::from_waker(Waker::noop());
        if matches!(self.handle().poll_ready(&mut nobody_waits), Poll::Ready(Err(_))) {
            return false;
        }
        !idle && !self.retired.load(Ordering::Relaxed) && streams < self.handle.current_max_send_streams()
    }

    fn is_spent(&self) -> bool {
        let idle = self.streams.load(Ordering::Relaxed) == 0 && self.idle_since.lock().elapsed() >= KEEP_FOR;
        idle || self.retired.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
