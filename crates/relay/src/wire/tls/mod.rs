//! TLS on a connection, by either side's rules, over whatever carries it.
//!
//! The session and the socket are polled by hand, so that what holds for a plain socket holds here too: a write takes what
//! it can and never waits for the rest, a cut never waits for the other side, and an idle connection keeps next to nothing.

mod own;
mod trust;

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, InvalidMessage, ServerConfig, ServerConnection};
use tokio::io::ReadBuf;

pub use self::own::{InvalidCertificate, OwnCertificate};
pub use self::trust::{InvalidAuthority, Trust};
use super::pipe::{Pipe, Word};

/// HTTP/1.1, as both sides name it when they shake hands.
pub(super) const HTTP1: &[u8] = b"http/1.1";
/// The same for HTTP/2.
pub(super) const HTTP2: &[u8] = b"h2";

/// A TLS session, and what carries it.
#[derive(Debug)]
pub(crate) struct Sealed {
    pipe: Pipe,
    session: Connection,
    /// The peer was told that no more will come.
    told: bool,
}

/// Why a client got no TLS session.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// It does not speak TLS; plain words reach it.
    Plain(Pipe),
    /// It left, or the two sides have nothing in common.
    Failed(io::Error),
}

impl Sealed {
    /// Shakes hands with a client.
    pub(crate) async fn accept(pipe: Pipe, config: Arc<ServerConfig>) -> Result<Self, NoSession> {
        let session = ServerConnection::new(config).map_err(|error| NoSession::Failed(broken(error)))?;
        let mut sealed = Self { pipe, session: session.into(), told: false };
        match std::future::poll_fn(|context| sealed.poll_handshake(context)).await {
            Ok(()) => Ok(sealed),
            Err(error) if is_no_tls(&error) => Err(NoSession::Plain(sealed.pipe)),
            Err(error) => {
                sealed.tell_why();
                Err(NoSession::Failed(error))
            }
        }
    }

    /// Shakes hands with an upstream, which must prove that it is `name`, and chooses one of `protocols`.
    pub(crate) async fn connect(
        pipe: Pipe,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        protocols: &[&[u8]],
    ) -> io::Result<Self> {
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let session = ClientConnection::new_with_alpn(config, name, protocols).map_err(broken)?;
        let mut sealed = Self { pipe, session: session.into(), told: false };
        let outcome = std::future::poll_fn(|context| sealed.poll_handshake(context)).await;
        if outcome.is_err() {
            sealed.tell_why();
        }
        outcome.map(|()| sealed)
    }

    /// Whether both sides have agreed on HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(HTTP2)
    }

    pub(super) fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().read(into.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.poll_take_in(context))?;
        }
    }

    /// Ready when there is something to read, or an end, or an error; parts of a record are nothing yet.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_something() {
            ready!(self.poll_take_in(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes in as much as one record after the other allows, once what was taken in before has been sent.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        let count = self.session.writer().write(bytes)?;
        // Not for the caller to wait for: it has been taken.
        if let Poll::Ready(Err(error)) = self.poll_flush(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            // Asked each time: it is also what lets other connections have their turn.
            ready!(self.pipe.poll_write_ready(context))?;
            match self.session.write_tls(&mut Outlet(&self.pipe)) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye in TLS, then closes the sending side.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.told {
            self.session.send_close_notify();
            self.told = true;
        }
        ready!(self.poll_flush(context))?;
        self.pipe.poll_shutdown(context)
    }

    /// Writes all of it or, if anything stands in the way, fails.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        self.session.writer().write_all(bytes)?;
        self.push()?;
        Ok(bytes.len())
    }

    /// Whether the peer has closed or said anything; what only concerns the session does not count.
    pub(super) fn has_stirred(&mut self, word: Word) -> bool {
        let mut nobody_waits = Context::from_waker(Waker::noop());
        loop {
            if self.has_something() {
                return true;
            }
            if !self.pipe.has_stirred(word) {
                return false;
            }
            match self.poll_take_in(&mut nobody_waits) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return true,
            }
        }
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(context))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_take_in(context))?;
        }
    }

    /// Reads what has come and opens it. An end is no error here: the session tells whether it was a good one.
    fn poll_take_in(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.pipe.poll_read_ready(context))?;
            match self.session.read_tls(&mut Inlet(&self.pipe)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) if self.session.is_handshaking() => {
                    return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                }
                Ok(_) => break,
            }
        }
        self.session.process_new_packets().map_err(broken)?;
        // The session's own business, such as new keys. Whether it can be sent is the next write's to find out.
        let _ = self.poll_flush(context);
        Poll::Ready(Ok(()))
    }

    /// Whether a read would give something: bytes, an end or an error.
    fn has_something(&mut self) -> bool {
        let mut reader = self.session.reader();
        !reader.fill_buf().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if self.session.write_tls(&mut Outlet(&self.pipe))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Sends the alert that says what was wrong, if it can be sent at once.
    fn tell_why(&mut self) {
        let _ = self.push();
    }
}

/// The cryptography that all of TLS here is made of.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A session's errors among those of sockets.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Whether what came was no TLS record at all.
fn is_no_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Where a session reads from.
struct Inlet<'p>(&'p Pipe);

impl Read for Inlet<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

/// Where a session writes to.
struct Outlet<'p>(&'p Pipe);

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
