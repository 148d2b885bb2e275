//! The sockets themselves, and a socket with what was read from it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::buffer::{Buffer, Stock};
use super::http2::{ClientStream, ServerStream};
use super::patience::within;
use super::pipe::{Pipe, Word};
use super::tls::Sealed;
use crate::files::FilePlace;

/// A connection's socket: as it is, or under TLS; or a stream among others on one.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(Pipe),
    Tls(Box<Sealed>),
    Stream(Box<ServerStream>),
    Upstream(Box<ClientStream>),
}

impl Socket {
    fn poll_read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(pipe) => pipe.poll_read(context, into),
            Self::Tls(sealed) => sealed.poll_read(context, into),
            Self::Stream(stream) => stream.poll_read(context, into),
            Self::Upstream(stream) => stream.poll_read(context, into),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(pipe) => pipe.poll_write(context, bytes),
            Self::Tls(sealed) => sealed.poll_write(context, bytes),
            Self::Stream(stream) => stream.poll_write(context, bytes),
            Self::Upstream(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Stream(_) | Self::Upstream(_) => Poll::Ready(Ok(())),
            Self::Tls(sealed) => sealed.poll_flush(context),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(pipe) => pipe.poll_shutdown(context),
            Self::Tls(sealed) => sealed.poll_shutdown(context),
            // An answer says itself where it ends.
            Self::Stream(_) | Self::Upstream(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(pipe) => pipe.poll_read_ready(context),
            Self::Tls(sealed) => sealed.poll_readable(context),
            Self::Stream(stream) => stream.poll_readable(context),
            Self::Upstream(stream) => stream.poll_readable(context),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(pipe) => pipe.try_write(bytes),
            Self::Tls(sealed) => sealed.try_write(bytes),
            Self::Stream(_) | Self::Upstream(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn has_stirred(&mut self, word: Word) -> bool {
        match self {
            Self::Plain(pipe) => pipe.has_stirred(word),
            Self::Tls(sealed) => sealed.has_stirred(word),
            // It is good for one exchange.
            Self::Stream(_) | Self::Upstream(_) => true,
        }
    }

    /// Whether it is good for one exchange only.
    fn is_single(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Upstream(_))
    }

    fn has_left(&self) -> bool {
        match self {
            Self::Plain(pipe) => pipe.has_left(),
            Self::Tls(sealed) => sealed.pipe().has_left(),
            Self::Stream(stream) => stream.has_left(),
            // Nobody is asked to look after an upstream.
            Self::Upstream(_) => false,
        }
    }

    fn reset_on_close(&self) {
        match self {
            Self::Plain(pipe) => pipe.reset_on_close(),
            Self::Tls(sealed) => sealed.pipe().reset_on_close(),
            // What it leaves unfinished is reset in any case.
            Self::Stream(_) | Self::Upstream(_) => {}
        }
    }
}

/// A socket, and what was read from it and not yet consumed.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    pub(crate) input: Buffer,
    /// Among all sockets, where nobody else holds it.
    _place: Option<FilePlace>,
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, input: Buffer::default(), _place: None }
    }

    /// Holds a place among all sockets as long as there is this one.
    pub(crate) fn holding(self, place: FilePlace) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Reads once. `0`: the peer will send no more. `flowing` asks for a larger buffer. Whoever waits holds none: there may
    /// be very many, and a stream costs its client next to nothing (requirement R67).
    pub(crate) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        stock: &Stock,
        flowing: bool,
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(self.input.room(stock, flowing));
        match self.socket.poll_read(context, &mut into) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                self.input.rest(stock);
                return Poll::Pending;
            }
        }
        let count = into.filled().len();
        self.input.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Reads what was read before and not consumed, or else from the socket.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return self.socket.poll_read(context, into);
        }
        let count = self.input.len().min(into.remaining());
        into.put_slice(self.input.filled().get(..count).unwrap_or_default());
        self.input.consume(count);
        Poll::Ready(Ok(()))
    }

    pub(crate) async fn fill(&mut self, stock: &Stock) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context, stock, false)).await
    }

    /// Waits until there is something to read, holding no buffer meanwhile.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>, stock: &Stock) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.input.rest(stock);
        self.socket.poll_readable(context)
    }

    /// Writes once. A peer that takes nothing is an error, so whoever loops gets on. Under TLS a last piece may stay
    /// behind until [`Self::poll_flush`].
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.socket.poll_write(context, bytes))? {
            0 if !bytes.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    /// The same for several parts, as many as go at once.
    pub(crate) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Socket::Plain(pipe) = &mut self.socket {
            return pipe.poll_write_vectored(context, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(context, first.map_or(&[], |part| part))
    }

    /// Whether several parts go at once.
    pub(crate) fn is_write_vectored(&self) -> bool {
        matches!(self.socket, Socket::Plain(_))
    }

    /// Sees to it that what was written is on its way: the system has it.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(context)
    }

    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|context| self.poll_write(context, bytes)).await?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Writes all, unless the peer takes nothing for as long as `limit`.
    pub(crate) async fn write_within(&mut self, mut bytes: &[u8], limit: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            let writing = poll_fn(|context| self.poll_write(context, bytes));
            let count = within(limit, writing).await.map_err(|_| io::ErrorKind::TimedOut)??;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        let flushing = poll_fn(|context| self.poll_flush(context));
        within(limit, flushing).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Writes what fits at once; never waits. Under TLS all of it or nothing.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// Whether the peer closed or sent anything. For connections that should be silent.
    pub(crate) fn has_stirred(&mut self, word: Word) -> bool {
        !self.input.is_empty() || self.socket.has_stirred(word)
    }

    /// Whether both sides have agreed on HTTP/2 when they shook hands.
    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(&self.socket, Socket::Tls(sealed) if sealed.speaks_http2())
    }

    /// Whether it is good for one exchange only, and there is nothing to keep of it.
    pub(crate) fn is_single(&self) -> bool {
        self.socket.is_single()
    }

    /// Sends FIN and throws away what the peer still sends, until it closes. A close with unread input would be a
    /// reset, and could overtake what was written last. Bounded by the caller.
    pub(crate) async fn drain(&mut self, stock: &Stock) {
        if poll_fn(|context| self.socket.poll_shutdown(context)).await.is_err() {
            return;
        }
        loop {
            self.input.consume(usize::MAX);
            match self.fill(stock).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Whether the peer has closed or broken off, whatever of its bytes is still unread.
    pub(crate) fn has_left(&self) -> bool {
        self.socket.has_left()
    }

    /// Makes closing this connection a reset: the peer learns that it broke off.
    pub(crate) fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    /// What this side's caller rests on has ended: the peer is told so where it can be told now, and not waited for.
    pub(crate) fn cut(&mut self) {
        if let Socket::Stream(stream) = &mut self.socket {
            stream.cut();
        }
    }

    /// Tells the peer that no more will come.
    pub(crate) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(context)
    }
}
