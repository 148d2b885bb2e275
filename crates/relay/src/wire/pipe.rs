//! What carries a connection's bytes: a socket of the system's, as it is.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket of the system's, whatever it is made of.
#[derive(Debug)]
pub(crate) enum Pipe {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// By whose word a silent connection is taken for one that its peer has not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The runtime's: whatever came before it last waited for anything. It costs no system call.
    Runtime,
    /// The system's, as of now.
    System,
}

impl Pipe {
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
        }
    }

    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    pub(super) fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    pub(super) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    /// Reads what is there; never waits.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Unix(stream) => stream.try_read(into),
        }
    }

    /// Writes what fits at once; never waits.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// The same with bytes in several places.
    pub(super) fn try_write_vectored(&self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(bytes),
            Self::Unix(stream) => stream.try_write_vectored(bytes),
        }
    }

    /// Whether the peer has closed or sent anything.
    pub(super) fn has_stirred(&self, word: Word) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match (self, word) {
            (Self::Tcp(stream), Word::System) => SockRef::from(stream).peek(&mut byte),
            (Self::Unix(stream), Word::System) => SockRef::from(stream).peek(&mut byte),
            // The system is asked only where the runtime has heard something.
            (Self::Tcp(stream), Word::Runtime) => {
                stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut byte))
            }
            (Self::Unix(stream), Word::Runtime) => {
                stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut byte))
            }
        };
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer has closed or broken off, whatever of its bytes is still unread.
    pub(super) fn has_left(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let asked = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut fds = [match self {
            Self::Tcp(stream) => PollFd::new(stream, asked),
            Self::Unix(stream) => PollFd::new(stream, asked),
        }];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Makes closing this socket a reset: the peer learns at once, and nothing that waits to be sent keeps it.
    pub(super) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // Best effort: the socket is closed right after in any case.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_sends_or_leaves_has_stirred_by_either_word() {
        for leaves in [false, true] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let pipe = Pipe::Unix(ours);
            assert!(!pipe.has_stirred(Word::System) && !pipe.has_stirred(Word::Runtime));
            let _kept = if leaves {
                drop(theirs);
                None
            } else {
                theirs.writable().await.unwrap();
                theirs.try_write(b"x").unwrap();
                Some(theirs)
            };
            assert!(pipe.has_stirred(Word::System));
            // It hears of that when it next waits for anything.
            poll_fn(|context| pipe.poll_read_ready(context)).await.unwrap();
            assert!(pipe.has_stirred(Word::Runtime));
        }
    }
}
