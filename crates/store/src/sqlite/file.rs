//! The file itself: which one it is, and connections to it.
//!
//! It is opened through SQLite alone. POSIX drops all of a process's locks on a file as soon as *any* descriptor of it
//! is closed; SQLite knows and defers, `std::fs` does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;
use crate::revision::Revision;

/// How long a new file's switch to a write-ahead log is waited for.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection that waits for another one's lock tries again.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How often it tries: for about fifteen seconds.
const MOST_TRIES: i32 = 15_000;

/// Waits for another connection's lock. SQLite's own way sleeps longer and longer, so that whoever came late and
/// sleeps short is always first: beside a busy writer others starve for seconds.
pub(crate) fn wait_for_lock(tries: i32) -> bool {
    thread::sleep(TRY_EVERY);
    tries < MOST_TRIES
}

/// The database file that was opened.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    lost: OnceLock<Lost>,
    /// The highest revision that this process has seen in it.
    seen: AtomicU64,
}

/// Why a file is not used any more, for good.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// Another file was seen at the path. The two share one log, so neither can be trusted.
    Replaced,
    /// An older copy was put into it. Written on, it would soon pass for the one that was lost.
    WentBack { seen: Revision, found: Revision },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    /// The file that is at `path` now.
    pub(crate) fn at(path: PathBuf) -> Result<Self, Fault> {
        let identity = identity(&path)?;
        Ok(Self { path, identity, lost: OnceLock::new(), seen: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses once another file was seen in its place, or an older copy in it. Asks nobody.
    pub(crate) fn refuse_lost(&self) -> Result<(), Fault> {
        match self.lost.get() {
            None => Ok(()),
            Some(Lost::Replaced) => Err(Fault::Replaced),
            Some(&Lost::WentBack { seen, found }) => Err(Fault::WentBack { seen, found }),
        }
    }

    /// The highest revision that was seen: what is read from now on is at this one or above.
    pub(crate) fn seen(&self) -> Revision {
        Revision(self.seen.load(Ordering::Acquire))
    }

    /// Holds a revision that was read against [`DatabaseFile::seen`] as it was before.
    pub(crate) fn hold_to(&self, seen: Revision, found: Revision) -> Result<(), Fault> {
        if found < seen {
            // Only the first reason counts.
            let _ = self.lost.set(Lost::WentBack { seen, found });
            return self.refuse_lost();
        }
        self.saw(found);
        Ok(())
    }

    /// This revision is committed.
    pub(crate) fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision.0, Ordering::AcqRel);
    }

    /// Looks whether the file is still the one that was opened.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if identity(&self.path)? != self.identity {
            let _ = self.lost.set(Lost::Replaced);
        }
        self.refuse_lost()
    }

    /// A connection that only reads.
    pub(crate) fn connect(&self) -> Result<Connection, Fault> {
        let mut connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_EXRESCODE,
        )?;
        connection.busy_handler(Some(wait_for_lock))?;
        connection.set_prepared_statement_cache_capacity(32);
        // What a tampered file's schema names is not run.
        connection.pragma_update(None, "trusted_schema", false)?;
        // Looked at after opening: a file put there in between is noticed before anything is read from it.
        self.check()?;
        Ok(connection)
    }
}

fn identity(path: &Path) -> Result<Identity, Fault> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Identity { device: metadata.dev(), inode: metadata.ino() }),
        Err(error) => Err(Fault::Unavailable(format!("it cannot be found any more ({error})"))),
    }
}
