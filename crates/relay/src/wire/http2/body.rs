//! Bodies: those that come in by HTTP/2 written down as HTTP/1.1, and those that are written as HTTP/1.1 sent by HTTP/2.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::io::ReadBuf;

use super::broken;
use super::head::{Framed, pair, write_trailers};
use crate::wire::http1::{BodyKind, CHUNK_END, LAST_CHUNK, write_chunk_head};

/// The longest line with a chunk's size that this house writes.
const SIZE_LINE: usize = 18;
/// How large a trailer section may be: as large as the readers of chunks let it be.
const TRAILERS: usize = 16 * 1024;

/// A message as it comes in by HTTP/2, to be read as one of HTTP/1.1: its head, then its body.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What is to be read next: a head, a chunk's size, trailers.
    staged: Bytes,
    /// After that, this piece of the body.
    data: Bytes,
    body: Option<RecvStream>,
    framed: Framed,
    /// The data has ended; trailers may follow.
    data_ended: bool,
}

impl Incoming {
    pub(super) fn new(head: Vec<u8>, body: RecvStream, framed: Framed) -> Self {
        let body = (framed != Framed::Empty).then_some(body);
        Self { staged: head.into(), data: Bytes::new(), body, framed, data_ended: false }
    }

    /// Whether there is nothing more to read.
    pub(super) fn is_over(&self) -> bool {
        self.staged.is_empty() && self.data.is_empty() && self.body.is_none()
    }

    /// Whether everything has come, trailers included.
    pub(super) fn has_ended(&self) -> bool {
        self.body.is_none() && self.data_ended
    }

    /// What has not been read is not wanted any more.
    pub(super) fn stop(&mut self) {
        (self.staged, self.data, self.body) = (Bytes::new(), Bytes::new(), None);
    }

    /// Waits until there is something to read, or it is over.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.staged.is_empty() && self.data.is_empty() {
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            if self.data_ended {
                let trailers = ready!(body.poll_trailers(context)).map_err(broken)?;
                self.body = None;
                if self.framed == Framed::Chunks {
                    self.staged = last_chunk(trailers.as_ref());
                }
                continue;
            }
            match ready!(body.poll_data(context)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    if self.framed == Framed::Chunks {
                        let mut line = Vec::with_capacity(SIZE_LINE);
                        write_chunk_head(&mut line, data.len());
                        self.staged = line.into();
                    }
                    self.data = data;
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what there is; nothing only when it is over.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_more(context))?;
        give(&mut self.staged, into);
        if self.staged.is_empty() && !self.data.is_empty() {
            let given = give(&mut self.data, into);
            // The other side may send as much again: what is not read here holds it back.
            if let Some(body) = &mut self.body {
                body.flow_control().release_capacity(given).map_err(broken)?;
            }
            if self.data.is_empty() && self.framed == Framed::Chunks {
                self.staged = Bytes::from_static(CHUNK_END);
                give(&mut self.staged, into);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn last_chunk(trailers: Option<&HeaderMap>) -> Bytes {
    let Some(trailers) = trailers else { return Bytes::from_static(LAST_CHUNK) };
    let mut out = b"0\r\n".to_vec();
    write_trailers(&mut out, trailers);
    out.extend_from_slice(CHUNK_END);
    out.into()
}

fn give(from: &mut Bytes, into: &mut ReadBuf<'_>) -> usize {
    let count = from.len().min(into.remaining());
    into.put_slice(from.get(..count).unwrap_or_default());
    from.advance(count);
    count
}

/// A body on its way out: written as HTTP/1.1, sent by HTTP/2.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    state: Writing,
}

/// What comes next of what is written.
#[derive(Debug)]
enum Writing {
    /// So many bytes, and no more.
    Plain(u64),
    /// The line with a chunk's size.
    Size(Vec<u8>),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of its line.
    ChunkEnd(usize),
    /// Trailers, and the empty line behind them.
    Trailers(Vec<u8>),
    Over,
}

/// How much of a body may be written while its client takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// As much as there is room for; the rest waits.
    Waits,
    /// What finds no room is left out.
    Ends,
}

impl Outgoing {
    /// A body of that kind; none that ends with its connection.
    pub(super) fn new(stream: SendStream<Bytes>, body: BodyKind) -> io::Result<Self> {
        let state = match body {
            BodyKind::Empty | BodyKind::Length(0) => Writing::Over,
            BodyKind::Length(length) => Writing::Plain(length),
            BodyKind::Chunked => Writing::Size(Vec::new()),
            BodyKind::UntilClose => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Self { stream, state })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, Writing::Over)
    }

    /// Sends what can be sent now of what is written, and says how much was taken. What has not gone to `h2` has not been
    /// taken: nothing but this call's own piece waits for a window to open.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        blocked: Blocked,
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.step(context, rest, blocked) {
                Poll::Ready(Ok(count)) => taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn step(&mut self, context: &mut Context<'_>, rest: &[u8], blocked: Blocked) -> Poll<io::Result<usize>> {
        match &mut self.state {
            Writing::Plain(left) | Writing::Chunk(left) => {
                let left = *left;
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let room = match Self::poll_room(&mut self.stream, context, wanted) {
                    Poll::Pending if blocked == Blocked::Ends => {
                        self.end()?;
                        return Poll::Ready(Ok(rest.len()));
                    }
                    room => ready!(room)?,
                };
                let piece = rest.get(..wanted.min(room)).unwrap_or_default();
                let left = left - piece.len() as u64;
                let (next, over) = match self.state {
                    Writing::Plain(_) if left == 0 => (Writing::Over, true),
                    Writing::Plain(_) => (Writing::Plain(left), false),
                    _ if left == 0 => (Writing::ChunkEnd(CHUNK_END.len()), false),
                    _ => (Writing::Chunk(left), false),
                };
                self.stream.send_data(Bytes::copy_from_slice(piece), over).map_err(broken)?;
                self.state = next;
                Poll::Ready(Ok(piece.len()))
            }
            Writing::Size(line) => {
                let line_feed = memchr::memchr(b'\n', rest);
                let count = line_feed.map_or(rest.len(), |at| at + 1);
                line.extend_from_slice(rest.get(..count).unwrap_or_default());
                if line_feed.is_some() {
                    self.state = match size(line) {
                        Some(0) => Writing::Trailers(Vec::new()),
                        Some(size) => Writing::Chunk(size),
                        None => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                    };
                } else if line.len() > SIZE_LINE {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Ok(count))
            }
            Writing::ChunkEnd(left) => {
                let count = rest.len().min(*left);
                *left -= count;
                if *left == 0 {
                    self.state = Writing::Size(Vec::new());
                }
                Poll::Ready(Ok(count))
            }
            Writing::Trailers(section) => {
                let before = section.len();
                section.extend_from_slice(rest);
                let Some(end) = end_of_trailers(section) else {
                    let taken = if section.len() > TRAILERS {
                        Err(io::ErrorKind::InvalidData.into())
                    } else {
                        Ok(rest.len())
                    };
                    return Poll::Ready(taken);
                };
                section.truncate(end);
                let trailers = trailers(section).ok_or(io::ErrorKind::InvalidData)?;
                self.state = Writing::Over;
                if trailers.is_empty() {
                    self.end()?;
                } else {
                    self.stream.send_trailers(trailers).map_err(broken)?;
                }
                Poll::Ready(Ok(end - before))
            }
            // Nothing follows a body on its stream.
            Writing::Over => Poll::Ready(Ok(rest.len())),
        }
    }

    fn poll_room(
        stream: &mut SendStream<Bytes>,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        stream.reserve_capacity(wanted);
        loop {
            let room = stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// Ends the stream in good order. No window can hold that up.
    fn end(&mut self) -> io::Result<()> {
        self.state = Writing::Over;
        self.stream.send_data(Bytes::new(), true).map_err(broken)
    }

    /// Whether the other side has given the stream up.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(context).map(|_| ())
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

/// The size in a line that [`write_chunk_head`] has written.
fn size(line: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(line.strip_suffix(CHUNK_END)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// How long the section is with its empty line, once it is whole.
fn end_of_trailers(section: &[u8]) -> Option<usize> {
    if section.starts_with(CHUNK_END) {
        return Some(CHUNK_END.len());
    }
    memchr::memmem::find(section, b"\r\n\r\n").map(|at| at + 4)
}

fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for line in section.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        let (name, value) = pair(name, value.get(1..)?.trim_ascii())?;
        trailers.append(name, value);
    }
    Some(trailers)
}
