//! Where clients come in: a TCP address or a unix socket, ours or handed over by whoever started us, plain or with TLS.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::wire::dial::probe_when_silent;
use crate::wire::pipe::Pipe;
use crate::wire::tls::OwnCertificate;

/// What a unix socket of ours lets its owner and group do: connect.
const SOCKET_MODE: u32 = 0o660;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAt {
    /// An IP address and a port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Listens for clients.
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: Option<SocketFile> },
}

/// The file of a socket that we made. Goes with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    stream: Stream,
    /// Whoever is at the other end; over a unix socket nobody knows.
    pub(crate) peer: Option<IpAddr>,
}

/// Not yet at home in any runtime.
enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl ListenAt {
    /// The address, if it is one of a network.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

/// Why a text is no place to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListenAt {
    /// Neither form.
    #[error(
        "write an IP address and a port, such as 127.0.0.1:7400 or [::]:7400, or unix:/run/fallgate.sock"
    )]
    Unknown,
    /// A path that depends on where the gate was started.
    #[error("a unix socket has an absolute path: unix:/run/fallgate.sock")]
    Relative,
}

impl FromStr for ListenAt {
    type Err = InvalidListenAt;

    fn from_str(text: &str) -> Result<Self, InvalidListenAt> {
        match text.strip_prefix("unix:").map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(Self::Unix(path)),
            Some(_) => Err(InvalidListenAt::Relative),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListenAt::Unknown),
        }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Listens there. A socket file that somebody left behind is replaced; one on which somebody listens is not.
    pub async fn bind(at: &ListenAt) -> io::Result<Self> {
        let socket = match at {
            ListenAt::Tcp(address) => Listening::Tcp(TcpListener::bind(address).await?),
            ListenAt::Unix(path) => bind_unix(path)?,
        };
        Ok(Self { socket, tls: None })
    }

    /// On a socket that whoever started us listens on already.
    pub fn handed_over(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it is no socket that listens for connections",
            ));
        }
        socket.set_nonblocking(true)?;
        let socket = match socket.domain()? {
            Domain::UNIX => {
                let listener = UnixListener::from_std(OwnedFd::from(socket).into())?;
                Listening::Unix { listener, _file: None }
            }
            Domain::IPV4 | Domain::IPV6 => Listening::Tcp(TcpListener::from_std(socket.into())?),
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "it is neither of TCP nor a unix socket",
                ));
            }
        };
        Ok(Self { socket, tls: None })
    }

    /// From now on clients must use TLS, and are shown this certificate.
    pub fn with_certificate(self, certificate: Arc<OwnCertificate>) -> io::Result<Self> {
        let tls = certificate.server_config().map_err(io::Error::other)?;
        Ok(Self { tls: Some(tls), ..self })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<ListenAt> {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().map(ListenAt::Tcp),
            Listening::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                Ok(ListenAt::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted { stream: Stream::Tcp(stream.into_std()?), peer: Some(peer.ip()) })
            }
            Listening::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Stream::Unix(stream.into_std()?), peer: None })
            }
        }
    }
}

impl Accepted {
    /// Makes it the connection of the runtime that asks.
    pub(crate) fn adopt(self) -> io::Result<Pipe> {
        match self.stream {
            Stream::Tcp(stream) => {
                probe_when_silent(&stream)?;
                stream.set_nodelay(true)?;
                Ok(Pipe::Tcp(TcpStream::from_std(stream)?))
            }
            Stream::Unix(stream) => Ok(Pipe::Unix(UnixStream::from_std(stream)?)),
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listening> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
    Ok(Listening::Unix { listener, _file: Some(file) })
}

/// Whether that is a socket on which nobody listens.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = || -> io::Result<bool> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Whoever has no time for us listens all the same.
        socket.set_nonblocking(true)?;
        let knock = socket.connect(&SockAddr::unix(path)?);
        Ok(knock.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    };
    is_socket && refused().unwrap_or(false)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another may have taken the place since.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
