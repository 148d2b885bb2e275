//! What goes by on a connection's socket, as the heads of its frames tell (RFC 9113, section 4.1).
//!
//! Here is seen what `h2` does not tell. Whether what ends a stream that was cut has left: when a client takes nothing, its
//! connection is closed in place of the stream (requirement R48). How much comes that carries nothing: resets, pings,
//! settings and their kin cost us work and their sender nothing; and how long a head takes (requirement R67). And which
//! paths have a `#` (requirement R4), and which trailers a pseudo-field (RFC 9113, section 8.1).

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::budget::{Budget, Spending};
use super::frames::{Fault, FrameHead, Heads, Scan};
use crate::wire::socket::Wire;

/// How long what ends a cut stream may take to leave.
const CUT_WITHIN: Duration = Duration::from_millis(150);
/// How many streams a client may give up without having let one end, and how many more each second. Browsers give up
/// some when a page is left.
const RESETS: Budget = Budget { most: 200, per_second: 20 };
/// How many frames may come that carry nothing, and how many more each second.
const IDLE_TALK: Budget = Budget { most: 1_000, per_second: 100 };
/// How many frames that carry nothing one of ours with data may give rise to.
const TALK_PER_DATA: u32 = 4;

/// How many requests with a `#` may wait to be refused.
const REMEMBERED: usize = 1024;

/// What is known of a connection, shared by its socket, its streams and the task that serves it.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    head_time: Duration,
    /// When a head that has begun must have come to its end.
    head_due: Option<Instant>,
    /// The streams that are being served.
    streams: HashMap<u32, Stream>,
    /// The streams whose path has a `#`.
    fragments: HashSet<u32>,
    /// The streams whose trailers have a pseudo-field.
    malformed: HashSet<u32>,
    /// The streams that were cut and have not ended on the wire, and when they must have.
    cut: Vec<(u32, Instant)>,
    resets: Spending,
    idle_talk: Spending,
    flooded: bool,
    /// Whoever serves the connection.
    waker: Option<Waker>,
}

/// What has gone by of a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    /// The client has given it up.
    left: bool,
    /// Nothing more of it can come or go.
    ended: bool,
}

/// Why a connection must be closed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A stream was cut, and its client does not take in that it ended.
    Blocked,
    /// Too much comes that carries nothing.
    Flood,
    /// A head takes too long to arrive.
    Slow,
}

impl Watch {
    /// Heads may take that long to arrive.
    pub(crate) fn new(head_time: Duration) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            head_time,
            head_due: None,
            streams: HashMap::new(),
            fragments: HashSet::new(),
            malformed: HashSet::new(),
            cut: Vec::new(),
            resets: Spending::new(RESETS, now),
            idle_talk: Spending::new(IDLE_TALK, now),
            flooded: false,
            waker: None,
        })))
    }

    /// A stream is being served.
    pub(super) fn open(&self, stream: u32) {
        self.0.lock().streams.insert(stream, Stream::default());
    }

    /// It is not any more.
    pub(super) fn close(&self, stream: u32) {
        let mut state = self.0.lock();
        state.streams.remove(&stream);
        state.malformed.remove(&stream);
    }

    /// Whether the stream's request had a `#` in its path. Tells it once.
    pub(crate) fn had_fragment(&self, stream: u32) -> bool {
        self.0.lock().fragments.remove(&stream)
    }

    /// Whether the stream's trailers have a pseudo-field, which makes the whole request malformed.
    pub(super) fn is_malformed(&self, stream: u32) -> bool {
        self.0.lock().malformed.contains(&stream)
    }

    /// Whether the client has given the stream up.
    pub(super) fn has_left(&self, stream: u32) -> bool {
        let state = self.0.lock();
        state.malformed.contains(&stream) || state.streams.get(&stream).is_none_or(|stream| stream.left)
    }

    /// The stream was cut: that it ends must reach the wire soon.
    pub(super) fn must_end(&self, stream: u32) {
        let waker = {
            let mut state = self.0.lock();
            if state.streams.get(&stream).is_none_or(|stream| stream.ended) {
                return;
            }
            state.cut.push((stream, Instant::now() + CUT_WITHIN));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn saw(&self, stream: u32, fault: Fault) {
        let mut state = self.0.lock();
        match fault {
            Fault::Fragment => state.fragments.insert(stream),
            Fault::PseudoTrailer => state.malformed.insert(stream),
        };
        state.flooded |= state.fragments.len() + state.malformed.len() > REMEMBERED;
    }

    /// Whether a head has begun and not come to its end.
    fn amid_head(&self, amid: bool) {
        let waker = {
            let mut state = self.0.lock();
            if amid == state.head_due.is_some() {
                return;
            }
            state.head_due = amid.then(|| Instant::now() + state.head_time);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn came(&self, frames: &[FrameHead]) {
        let mut state = self.0.lock();
        for frame in frames {
            state.came(*frame);
        }
        if state.flooded
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
    }

    fn left(&self, frames: &[FrameHead]) {
        let mut state = self.0.lock();
        for frame in frames {
            state.left(*frame);
        }
    }

    /// The task that is told when there is trouble, and when there will be if nothing happens until then.
    fn look(&self, context: &Context<'_>) -> Result<Option<Instant>, Trouble> {
        let mut state = self.0.lock();
        if state.flooded {
            return Err(Trouble::Flood);
        }
        let now = Instant::now();
        let due = state.cut.iter().map(|(_, due)| *due).min();
        if due.is_some_and(|due| due <= now) {
            return Err(Trouble::Blocked);
        }
        if state.head_due.is_some_and(|due| due <= now) {
            return Err(Trouble::Slow);
        }
        let due = due.into_iter().chain(state.head_due).min();
        state.waker = Some(context.waker().clone());
        Ok(due)
    }
}

impl State {
    fn came(&mut self, frame: FrameHead) {
        let carries = match frame.kind {
            FrameHead::DATA => frame.length > 0 || frame.ends_stream(),
            FrameHead::HEADERS => true,
            FrameHead::CONTINUATION => frame.length > 0,
            FrameHead::RST_STREAM => {
                if let Some(stream) = self.streams.get_mut(&frame.stream) {
                    stream.left = true;
                }
                self.ended(frame.stream);
                self.flooded |= !self.resets.spend();
                true
            }
            FrameHead::SETTINGS | FrameHead::PING => frame.flags & FrameHead::ACK != 0,
            // PRIORITY and GOAWAY too, and what nobody knows.
            _ => false,
        };
        if !carries {
            self.flooded |= !self.idle_talk.spend();
        }
    }

    fn left(&mut self, frame: FrameHead) {
        let ends = match frame.kind {
            FrameHead::DATA => {
                self.idle_talk.earn(TALK_PER_DATA);
                frame.ends_stream()
            }
            FrameHead::HEADERS => frame.ends_stream(),
            FrameHead::RST_STREAM => true,
            _ => false,
        };
        if ends {
            self.ended(frame.stream);
        }
        if ends && frame.kind != FrameHead::RST_STREAM {
            self.resets.earn(1);
        }
    }

    fn ended(&mut self, ended: u32) {
        if let Some(stream) = self.streams.get_mut(&ended) {
            stream.ended = true;
        }
        self.cut.retain(|(stream, _)| *stream != ended);
    }
}

/// Waits for trouble on a connection.
#[derive(Debug, Default)]
pub(crate) struct Lookout(Option<(Instant, Pin<Box<Sleep>>)>);

impl Lookout {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, watch: &Watch) -> Poll<Trouble> {
        loop {
            let due = match watch.look(context) {
                Ok(Some(due)) => due,
                Ok(None) => {
                    self.0 = None;
                    return Poll::Pending;
                }
                Err(trouble) => return Poll::Ready(trouble),
            };
            if self.0.as_ref().is_none_or(|(set, _)| *set != due) {
                self.0 = Some((due, Box::pin(sleep_until(due))));
            }
            let Some((_, timer)) = &mut self.0 else { return Poll::Pending };
            ready!(timer.as_mut().poll(context));
        }
    }
}

/// A client's connection, watched.
#[derive(Debug)]
pub(crate) struct Watched {
    wire: Wire,
    watch: Watch,
    incoming: Scan,
    heads: Heads,
    outgoing: Scan,
}

impl Watched {
    /// A connection of which nothing was consumed, preface included.
    pub(crate) fn new(wire: Wire, watch: Watch) -> Self {
        let incoming = Scan::of_a_client();
        Self { wire, watch, incoming, heads: Heads::new(), outgoing: Scan::default() }
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let mut left = count;
        for part in parts {
            let written = part.get(..left).unwrap_or(part);
            self.outgoing.feed(written, |_, _, _| {});
            left -= written.len();
        }
        if !self.outgoing.whole.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_flushed(context)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Sees to it that what was written is on its way. Only then has a frame left.
    fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_flush(context))?;
        if !self.outgoing.whole.is_empty() {
            self.watch.left(&self.outgoing.whole);
            self.outgoing.whole.clear();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        ready!(this.wire.poll_read(context, into))?;
        let (heads, watch) = (&mut this.heads, &this.watch);
        this.incoming.feed(into.filled().get(before..).unwrap_or_default(), |frame, piece, last| {
            if let Some((stream, fault)) = heads.see(frame, piece, last) {
                watch.saw(stream, fault);
            }
        });
        if !this.incoming.whole.is_empty() {
            this.watch.came(&this.incoming.whole);
            this.incoming.whole.clear();
        }
        this.watch.amid_head(this.heads.open || this.incoming.is_amid_head());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.wire.poll_write(context, bytes))?;
        self.wrote(context, &[IoSlice::new(bytes)], count)
    }

    /// A frame's head and its payload in one go.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.wire.poll_write_vectored(context, parts))?;
        self.wrote(context, parts, count)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_finish(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A client that does not take in that it was cut has nothing coming that was written before.
        if self.watch.0.lock().cut.is_empty() {
            return;
        }
        self.wire.reset_on_close();
    }
}
