//! What only a running gate can answer, asked over a socket in its home folder: one JSON request on a line, one JSON
//! answer on a line. File access is the authority, as with everything on a home folder, and the socket is its owner's
//! alone. Nothing goes over it that commands can do by themselves.

mod client;
mod server;

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use fallgate_domain::id::{CutId, PairingId};
use fallgate_domain::user::Username;
use serde::{Deserialize, Serialize};

pub(crate) use self::client::{ask, is_running};
pub(crate) use self::server::{Answers, ControlSocket};

/// The socket's name in the home folder.
pub(crate) const NAME: &str = "control.sock";

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 4 * 1024;
/// The longest answer that is read: a hundred thousand streams fit.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;
/// A socket's address holds no longer path (`sun_path`).
const LONGEST_PATH: usize = 100;

/// What can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Everything that is open: [`fallgate_web::view::LiveList`].
    Live {},
    /// To read the config again: [`crate::reload::Reloaded`].
    Reload {},
    /// Where the config lies that counts: [`ConfigFile`].
    Config {},
    /// What a cut closed: [`Option<fallgate_web::view::ClosedView>`], none if the gate knows of no such cut.
    Closed {
        /// Which.
        cut: CutId,
    },
    /// To find the root key under which the store is sealed now, while the one before still opens it. Nothing is told.
    FollowKeys {},
    /// A pairing code: [`fallgate_web::view::StartedPairingView`].
    Pair {
        /// For whom; for the first enabled admin, if nobody is named.
        username: Option<Username>,
    },
    /// What became of one that was asked for here: [`fallgate_web::view::PairingView`].
    Pairing {
        /// Which.
        id: PairingId,
    },
    /// To let the device in that used one, or not; the same comes back.
    AnswerPairing {
        /// Which.
        id: PairingId,
        /// Whether it is let in.
        allow: bool,
    },
    /// To take one back. Nothing is told.
    WithdrawPairing {
        /// Which.
        id: PairingId,
    },
}

/// Where a gate's config lies.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    /// The file's absolute path, if there is one.
    pub(crate) file: Option<PathBuf>,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<T> {
    Done(T),
    /// Refused or failed, in words.
    Failed(String),
}

/// An address that leads to the socket, and what must stay open as long as it is used.
struct Address {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

impl Address {
    /// Of the socket in that folder. A path that is too long for a socket's address is gone around by the folder's
    /// descriptor.
    fn within(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().len() <= LONGEST_PATH {
            return Ok(Self { path, _folder: None });
        }
        let open = std::fs::File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd()));
        Ok(Self { path, _folder: Some(open) })
    }
}
