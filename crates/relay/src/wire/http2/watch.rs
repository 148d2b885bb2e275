//! What goes by on a connection's socket, as the heads of its frames tell (RFC 9113, section 4.1).
//!
//! Two things are seen here that `h2` does not tell. Whether what ends a stream that was cut has left: when a client takes
//! nothing, its connection is closed in place of the stream (requirement R48). And how much comes that carries nothing:
//! resets, pings, settings and their kin cost us work and their sender nothing (requirement R67).

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::paths::{Paths, Unreadable};
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

/// The length of a frame's head.
const HEAD: usize = 9;
/// The largest frame that a client may send.
const LARGEST: u32 = 16 * 1024;
/// How many requests with a `#` may wait to be refused.
const REMEMBERED: usize = 1024;
/// The length of the connection preface, which is no frame.
const PREFACE: u32 = 24;

/// What is known of a connection, shared by its socket, its streams and the task that serves it.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// The streams that are being served.
    streams: HashMap<u32, Stream>,
    /// The streams whose path has a `#`.
    fragments: HashSet<u32>,
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
}

impl Watch {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            streams: HashMap::new(),
            fragments: HashSet::new(),
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
        self.0.lock().streams.remove(&stream);
    }

    /// Whether the stream's request had a `#` in its path. Tells it once.
    pub(crate) fn had_fragment(&self, stream: u32) -> bool {
        self.0.lock().fragments.remove(&stream)
    }

    /// Whether the client has given the stream up.
    pub(super) fn has_left(&self, stream: u32) -> bool {
        self.0.lock().streams.get(&stream).is_none_or(|stream| stream.left)
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

    fn saw_fragment(&self, stream: u32) {
        let mut state = self.0.lock();
        state.fragments.insert(stream);
        state.flooded |= state.fragments.len() > REMEMBERED;
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
        let due = state.cut.iter().map(|(_, due)| *due).min();
        if due.is_some_and(|due| due <= Instant::now()) {
            return Err(Trouble::Blocked);
        }
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

/// So many at once, and so many more each second.
#[derive(Debug, Clone, Copy)]
struct Budget {
    most: u32,
    per_second: u32,
}

/// What is left of a budget.
#[derive(Debug)]
struct Spending {
    budget: Budget,
    left: u32,
    since: Instant,
}

impl Spending {
    fn new(budget: Budget, since: Instant) -> Self {
        Self { budget, left: budget.most, since }
    }

    /// `false`: there is nothing left.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let seconds = self.since.elapsed().as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is not negative, and casts that do not fit saturate"
            )]
            let earned = (seconds * f64::from(self.budget.per_second)) as u32;
            self.since = Instant::now();
            self.earn(earned);
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.budget.most);
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, Default)]
struct FrameHead {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;

    const ACK: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    const PADDED: u8 = 8;
    const PRIORITY: u8 = 32;

    fn parse(head: [u8; HEAD]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        }
    }

    fn ends_stream(self) -> bool {
        self.flags & Self::END_STREAM != 0
    }

    /// The part of a head that this frame's payload is, without what may stand around it (RFC 9113, section 6.2).
    fn part_of_head(self, payload: &[u8]) -> Option<&[u8]> {
        if self.kind != Self::HEADERS {
            return Some(payload);
        }
        let (padding, rest) = match payload.split_first() {
            Some((&padding, rest)) if self.flags & Self::PADDED != 0 => (usize::from(padding), rest),
            _ => (0, payload),
        };
        let priority = if self.flags & Self::PRIORITY != 0 { 5 } else { 0 };
        rest.get(priority..rest.len().checked_sub(padding)?)
    }
}

/// Finds the frames in what goes by.
#[derive(Debug, Default)]
struct Scan {
    head: [u8; HEAD],
    /// How much of the head has gone by.
    have: usize,
    current: FrameHead,
    /// How much of the frame behind its head is still to come.
    left: u32,
    /// The frames that have gone by whole.
    whole: Vec<FrameHead>,
}

impl Scan {
    /// Takes the next bytes. `see` is shown what stands behind each frame's head, and whether that was the last of it.
    fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(FrameHead, &[u8], bool)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at_checked(count).unwrap_or_default();
                bytes = later;
                self.left -= u32::try_from(count).unwrap_or(self.left);
                // The preface is no frame.
                if self.have == HEAD {
                    self.passed(now, &mut see);
                }
                continue;
            }
            let count = (HEAD - self.have).min(bytes.len());
            let (now, later) = bytes.split_at_checked(count).unwrap_or_default();
            if let Some(room) = self.head.get_mut(self.have..self.have + count) {
                room.copy_from_slice(now);
            }
            self.have += count;
            bytes = later;
            if self.have == HEAD {
                self.current = FrameHead::parse(self.head);
                self.left = self.current.length;
                if self.left == 0 {
                    self.passed(b"", &mut see);
                }
            }
        }
    }

    fn passed(&mut self, piece: &[u8], see: &mut impl FnMut(FrameHead, &[u8], bool)) {
        see(self.current, piece, self.left == 0);
        if self.left == 0 {
            self.have = 0;
            self.whole.push(self.current);
        }
    }
}

/// Finds the requests whose path has a `#`.
#[derive(Debug)]
struct Heads {
    paths: Paths,
    /// What has come of a frame that has a part of a head in it.
    payload: Vec<u8>,
    /// The stream that a head is for.
    stream: u32,
    /// A head could not be read, and none can be after it. `h2` ends the connection for that; should it not, nothing is
    /// taken for good any more.
    blind: bool,
}

impl Heads {
    fn new() -> Self {
        Self { paths: Paths::new(), payload: Vec::new(), stream: 0, blind: false }
    }

    /// A stream, once its request is known to have one.
    fn see(&mut self, frame: FrameHead, piece: &[u8], last: bool) -> Option<u32> {
        if !matches!(frame.kind, FrameHead::HEADERS | FrameHead::CONTINUATION) || frame.length > LARGEST {
            return None;
        }
        self.payload.extend_from_slice(piece);
        if !last {
            return None;
        }
        if frame.kind == FrameHead::HEADERS {
            self.stream = frame.stream;
        }
        let whole = frame.flags & FrameHead::END_HEADERS != 0;
        let found = match frame.part_of_head(&self.payload) {
            Some(part) if !self.blind => self.paths.take(part, whole),
            _ => Err(Unreadable),
        };
        self.payload.clear();
        self.blind |= found.is_err();
        found.unwrap_or(Some(true)).unwrap_or_default().then_some(self.stream)
    }
}

/// An upstream's connection, as `h2` takes one.
#[derive(Debug)]
pub(super) struct Plain {
    wire: Wire,
    /// The upstream has said something.
    heard: Arc<AtomicBool>,
}

impl Plain {
    pub(super) fn new(wire: Wire) -> (Self, Arc<AtomicBool>) {
        let heard = Arc::new(AtomicBool::new(false));
        (Self { wire, heard: heard.clone() }, heard)
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_read(context, into))?;
        self.heard.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_finish(context)
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
        let incoming = Scan { left: PREFACE, ..Scan::default() };
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
            if let Some(stream) = heads.see(frame, piece, last) {
                watch.saw_fragment(stream);
            }
        });
        if !this.incoming.whole.is_empty() {
            this.watch.came(&this.incoming.whole);
            this.incoming.whole.clear();
        }
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
