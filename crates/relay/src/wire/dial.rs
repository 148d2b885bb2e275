//! Connections to upstreams: the only place that makes them, and the pool that keeps them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::buffer::Stock;
use super::pipe::{Pipe, Word};
use super::socket::{Socket, Wire};
use super::tls::{HTTP1, HTTP2, Sealed, Trust};
use crate::files::Files;

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
    /// There is no TLS with whoever is there: what they showed does not prove who they are, say.
    #[error("no TLS with it: {0}")]
    NoTls(io::Error),
    /// The process has as many connections as it may.
    #[error("no room for another connection")]
    NoRoom,
    /// Nobody answered in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// One worker's idle connections to upstreams.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Address, Vec<Kept>>>,
    files: Arc<Files>,
}

#[derive(Debug)]
struct Kept {
    wire: Wire,
    since: Instant,
    /// What it was made under.
    tls: Option<Trust>,
}

impl Kept {
    /// As far as is known.
    fn is_good(&mut self, word: Word) -> bool {
        self.since.elapsed() < KEEP_FOR && !self.wire.has_stirred(word)
    }
}

impl Pool {
    /// An empty one, whose connections are counted among these.
    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self { idle: Mutex::default(), files }
    }

    /// A new connection.
    pub(crate) async fn open(&self, address: &Address, tls: Option<&Trust>) -> Result<Wire, DialError> {
        dial(address, tls, &self.files).await
    }

    /// Closes all that are idle; whether there were any.
    pub(crate) fn let_go(&self) -> bool {
        let idle = std::mem::take(&mut *self.idle.lock());
        !idle.is_empty()
    }

    /// An idle connection that, by that word, is still good.
    pub(crate) fn take(&self, address: &Address, tls: Option<&Trust>, word: Word) -> Option<Wire> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(address)?;
        while let Some(place) = kept.iter().rposition(|kept| kept.tls.as_ref() == tls) {
            let mut last = kept.swap_remove(place);
            if last.is_good(word) {
                return Some(last.wire);
            }
        }
        None
    }

    /// Keeps a connection on which a whole, clean exchange has just ended.
    pub(crate) fn keep(&self, address: &Address, tls: Option<&Trust>, mut wire: Wire, stock: &Stock) {
        if wire.is_single() || self.files.are_scarce() {
            return;
        }
        wire.input.rest(stock);
        let now = Kept { wire, since: Instant::now(), tls: tls.cloned() };
        let mut idle = self.idle.lock();
        if let Some(kept) = idle.get_mut(address) {
            if kept.len() < KEEP_PER_UPSTREAM {
                kept.push(now);
            }
        } else {
            idle.insert(address.clone(), vec![now]);
        }
    }

    /// Closes what has been idle for too long. Called now and then.
    pub(crate) fn sweep(&self) {
        if self.files.are_scarce() {
            self.let_go();
        }
        self.idle.lock().retain(|_, kept| {
            kept.retain_mut(|kept| kept.is_good(Word::System));
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

/// Connects, and has the upstream prove who it is where it is spoken to by TLS. The address comes from the operator's
/// configuration, never from a request.
pub(crate) async fn dial(
    address: &Address,
    tls: Option<&Trust>,
    files: &Arc<Files>,
) -> Result<Wire, DialError> {
    dial_offering(address, tls, &[HTTP1], files).await
}

/// The same, for an upstream that is to be spoken to in HTTP/2. Under TLS it may choose HTTP/1.1 all the same.
pub(super) async fn dial_http2(
    address: &Address,
    tls: Option<&Trust>,
    files: &Arc<Files>,
) -> Result<Wire, DialError> {
    dial_offering(address, tls, &[HTTP2, HTTP1], files).await
}

/// Whether anybody takes connections there, found out by making one and no more.
pub(crate) async fn reach(address: &Address, within: Duration, files: &Arc<Files>) -> Result<(), DialError> {
    let _place = files.enter_upstream().ok_or(DialError::NoRoom)?;
    let connecting = async { connect(address).await.map(drop).map_err(DialError::Refused) };
    timeout(within, connecting).await.unwrap_or(Err(DialError::TimedOut(within)))
}

async fn dial_offering(
    address: &Address,
    tls: Option<&Trust>,
    protocols: &[&[u8]],
    files: &Arc<Files>,
) -> Result<Wire, DialError> {
    let place = files.enter_upstream().ok_or(DialError::NoRoom)?;
    let connecting = async {
        let pipe = connect(address).await.map_err(DialError::Refused)?;
        match (tls, address) {
            (Some(tls), Address::Tcp { host, .. }) => {
                let sealed = seal(pipe, tls, host, protocols).await.map_err(DialError::NoTls)?;
                Ok(Wire::new(Socket::Tls(Box::new(sealed))).holding(place))
            }
            _ => Ok(Wire::new(Socket::Plain(pipe)).holding(place)),
        }
    };
    timeout(CONNECT_WITHIN, connecting).await.unwrap_or(Err(DialError::TimedOut(CONNECT_WITHIN)))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that connects")]
async fn connect(address: &Address) -> io::Result<Pipe> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            probe_when_silent(&stream)?;
            Ok(Pipe::Tcp(stream))
        }
        Address::Unix(path) => Ok(Pipe::Unix(UnixStream::connect(path).await?)),
    }
}

async fn seal(pipe: Pipe, tls: &Trust, host: &str, protocols: &[&[u8]]) -> io::Result<Sealed> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let config = tls.config().map_err(io::Error::other)?;
    Sealed::connect(pipe, config, name, protocols).await
}
