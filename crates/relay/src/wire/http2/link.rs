//! A connection to an upstream that speaks HTTP/2.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{Connection, SendRequest};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::plain::{Plain, Signs};
use crate::wire::dial::DialError;
use crate::wire::socket::Wire;

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

/// A connection to an upstream.
#[derive(Debug)]
pub(crate) struct Link {
    handle: SendRequest<Bytes>,
    scheme: &'static str,
    /// It takes no further streams, whatever its driver knows.
    retired: AtomicBool,
    idle_since: Mutex<Instant>,
    drive: Arc<Drive>,
    driver: AbortHandle,
}

/// What moves a connection on: a task of its own, and whoever has something that must leave now.
#[derive(Debug)]
struct Drive {
    connection: Mutex<Connection<Plain>>,
    signs: Arc<Signs>,
    /// The connection is over.
    over: AtomicBool,
    /// How many streams are in use: claimed, or not yet ended on the wire.
    streams: AtomicUsize,
    /// How many of them nobody uses any more.
    leaving: AtomicUsize,
    /// The task.
    task: Mutex<Option<Waker>>,
    /// Whoever waits for the socket to take more.
    waiting: Mutex<Vec<Waker>>,
}

impl Drive {
    /// Sends what can be sent and takes in what has come, until the connection is over.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let Some(mut connection) = self.connection.try_lock() else { return Poll::Pending };
        if self.over.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut *connection).poll(context);
        drop(connection);
        self.over.store(polled.is_ready(), Ordering::Relaxed);
        if polled.is_ready() || !self.signs.blocked.load(Ordering::Relaxed) {
            // The resets of those have left: only now there is room for others.
            let gone = self.leaving.swap(0, Ordering::Relaxed);
            self.streams.fetch_sub(gone, Ordering::Relaxed);
            for waiting in std::mem::take(&mut *self.waiting.lock()) {
                waiting.wake();
            }
        }
        polled
    }

    /// The same, for its own task.
    fn poll_as_task(&self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        *self.task.lock() = Some(context.waker().clone());
        self.poll(context)
    }

    /// Sends what was just handed over, in this very moment if the socket takes it.
    fn push(&self) {
        let task = self.task.lock().clone();
        // One that was not yet polled will be.
        let task = task.as_ref().unwrap_or(Waker::noop());
        if self.poll(&mut Context::from_waker(task)).is_ready() {
            task.wake_by_ref();
        }
    }
}

impl Link {
    /// Begins to speak HTTP/2 on a new connection.
    pub(super) async fn begin_on(wire: Wire, scheme: &'static str) -> Result<Self, DialError> {
        let (wire, signs) = Plain::new(wire);
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
            Poll::Pending if signs.heard.load(Ordering::Relaxed) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        timeout(SETTLE_WITHIN, settled).await.unwrap_or(Ok(()))?;
        let drive = Arc::new(Drive {
            connection: Mutex::new(connection),
            signs,
            over: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            task: Mutex::new(None),
            waiting: Mutex::default(),
        });
        let shared = drive.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = poll_fn(|context| shared.poll_as_task(context)).await {
                tracing::debug!(%error, "an upstream's HTTP/2 connection ended");
            }
        });
        Ok(Self {
            handle,
            scheme,
            retired: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            drive,
            driver: driver.abort_handle(),
        })
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(super) fn handle(&self) -> SendRequest<Bytes> {
        self.handle.clone()
    }

    /// Takes a stream into use, if there is room for one. A worker is one thread: nobody comes between.
    pub(super) fn claim(&self) -> bool {
        let claimed = self.has_room();
        if claimed {
            self.drive.streams.fetch_add(1, Ordering::Relaxed);
        }
        claimed
    }

    /// Waits until a request would leave in the moment that it is handed over. What `h2` keeps until later leaves later,
    /// although nobody stands behind it any more.
    pub(super) fn poll_clear(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drive = &self.drive;
        if drive.over.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if drive.signs.blocked.load(Ordering::Relaxed) {
            let mut waiting = drive.waiting.lock();
            if !waiting.iter().any(|other| other.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        // The upstream may take fewer by now.
        if drive.streams.load(Ordering::Relaxed) > self.handle.current_max_send_streams() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what was handed over.
    pub(super) fn push(&self) {
        self.drive.push();
    }

    /// A stream is not used any more: what ends it has been handed over.
    pub(super) fn end(&self) {
        *self.idle_since.lock() = Instant::now();
        self.drive.leaving.fetch_add(1, Ordering::Relaxed);
        self.drive.push();
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
        let streams = self.drive.streams.load(Ordering::Relaxed);
        let idle = streams == 0 && self.idle_since.lock().elapsed() >= KEEP_FOR;
        // Whoever has said goodbye may still be answering what was asked before.
        let mut nobody_waits = Context::from_waker(Waker::noop());
        if matches!(self.handle().poll_ready(&mut nobody_waits), Poll::Ready(Err(_))) {
            return false;
        }
        !idle && !self.is_retired() && streams < self.handle.current_max_send_streams()
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || self.drive.over.load(Ordering::Relaxed)
    }

    /// Whether it has been idle for too long, or takes no more streams.
    pub(super) fn is_spent(&self) -> bool {
        let streams = self.drive.streams.load(Ordering::Relaxed);
        let idle = streams == 0 && self.idle_since.lock().elapsed() >= KEEP_FOR;
        idle || self.is_retired()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
