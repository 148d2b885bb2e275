//! Connections to upstreams: the only place that makes them, and the pool that keeps them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::buffer::Stock;
use super::pipe::Pipe;
use super::socket::{Socket, Wire};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An idle connection older than this is not used again: upstreams close theirs about then.
const KEEP_FOR: Duration = Duration::from_secs(60);
/// After this long without a sign of life a peer is probed.
const PROBE_AFTER: Duration = Duration::from_mins(1);
/// Idle connections that a worker keeps for one upstream.
const KEEP_PER_UPSTREAM: usize = 128;

/// Where an upstream listens: what connections are pooled by (requirement R66).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `http://host:port`.
    Tcp {
        /// Name or IP address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no connection to an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody there.
    #[error("cannot connect: {0}")]
    Refused(io::Error),
    /// Nobody answered in time.
    #[error("no answer within {} s", CONNECT_WITHIN.as_secs())]
    TimedOut,
}

/// One worker's idle connections to upstreams.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Address, Vec<(Wire, Instant)>>>,
}

impl Pool {
    /// An idle connection that, as far as is known, is still good.
    pub(crate) fn take(&self, address: &Address) -> Option<Wire> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(address)?;
        while let Some((mut wire, since)) = kept.pop() {
            if since.elapsed() < KEEP_FOR && !wire.has_stirred() {
                return Some(wire);
            }
        }
        None
    }

    /// Keeps a connection on which a whole, clean exchange has just ended.
    pub(crate) fn keep(&self, address: &Address, mut wire: Wire, stock: &Stock) {
        wire.input.rest(stock);
        let mut idle = self.idle.lock();
        let now = Instant::now();
        if let Some(kept) = idle.get_mut(address) {
            if kept.len() < KEEP_PER_UPSTREAM {
                kept.push((wire, now));
            }
        } else {
            idle.insert(address.clone(), vec![(wire, now)]);
        }
    }

    /// Closes what has been idle for too long. Called now and then.
    pub(crate) fn sweep(&self) {
        self.idle.lock().retain(|_, kept| {
            kept.retain_mut(|(wire, since)| since.elapsed() < KEEP_FOR && !wire.has_stirred());
            !kept.is_empty()
        });
    }
}

/// Has the system ask a peer that says nothing for a while whether it is still there: a machine that lost its power
/// sends no FIN.
pub(crate) fn probe_when_silent(stream: &impl std::os::fd::AsFd) -> io::Result<()> {
    let probes = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER / 4);
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Connects. The address comes from the operator's configuration, never from a request.
#[expect(clippy::disallowed_methods, reason = "this is the one place that connects")]
pub(crate) async fn dial(address: &Address) -> Result<Wire, DialError> {
    let connecting = async {
        Ok(match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                probe_when_silent(&stream)?;
                Pipe::Tcp(stream)
            }
            Address::Unix(path) => Pipe::Unix(UnixStream::connect(path).await?),
        })
    };
    match timeout(CONNECT_WITHIN, connecting).await {
        Ok(Ok(pipe)) => Ok(Wire::new(Socket::Plain(pipe))),
        Ok(Err(error)) => Err(DialError::Refused(error)),
        Err(_) => Err(DialError::TimedOut),
    }
}
