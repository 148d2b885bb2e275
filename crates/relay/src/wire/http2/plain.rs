//! An upstream's connection, as `h2` takes one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::socket::Wire;

/// An upstream's connection, as `h2` takes one.
#[derive(Debug)]
pub(super) struct Plain {
    wire: Wire,
    signs: Arc<Signs>,
}

/// What is seen of it from outside.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// The upstream has said something.
    pub(super) heard: AtomicBool,
    /// The socket takes nothing more for now.
    pub(super) blocked: AtomicBool,
}

impl Plain {
    pub(super) fn new(wire: Wire) -> (Self, Arc<Signs>) {
        let signs = Arc::new(Signs::default());
        (Self { wire, signs: signs.clone() }, signs)
    }

    fn went<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.signs.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_read(context, into))?;
        self.signs.heard.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.wire.poll_write(context, bytes);
        self.went(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.wire.poll_write_vectored(context, parts);
        self.went(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.wire.poll_flush(context);
        self.went(written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_finish(context)
    }
}
