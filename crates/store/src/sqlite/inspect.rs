//! A look at a file before anything that could write to it or beside it.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::Fault;
use crate::sqlite::migrate::{self, Schema};

/// Up to this size a file is checked whole, in some ten milliseconds. In a larger one damage is met where it is read.
const CHECKED_WHOLE: u64 = 8 * 1024 * 1024;

/// A log of this size, in bytes, is a header without a frame, as its first writer leaves it when it is killed there.
/// It says nothing, and SQLite, asked to read it without writing, tries in vain for ten seconds
/// (<https://www.sqlite.org/walformat.html>).
const EMPTY_LOG: u64 = 32;

/// How often to look again when something moved meanwhile, as it does when another process opens or closes; a few
/// milliseconds apart.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(5);

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing at all.
    Nothing,
    /// A file of ours that this version can serve, perhaps after a migration; or an empty one.
    Ours,
}

/// Looks at the file, leaving every byte of it and of its neighbours as it is. A fault refuses it.
pub(crate) fn inspect(path: &Path) -> Result<Found, Fault> {
    for _ in 1..TRIES {
        let before = Stand::of(path);
        match look(path, before) {
            // A look without locks sees another process's work half done. What stays as it is was not half done.
            Err(fault) if fault.is_busy() || wants_to_write(&fault) || before != Stand::of(path) => {
                thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
    match look(path, Stand::of(path)) {
        // No damage and no stranger was seen; who opens it asks once more, inside a transaction.
        Err(fault) if wants_to_write(&fault) => Ok(Found::Ours),
        answer => answer,
    }
}

/// Whether the log's index is in a state that only a writer can read it in.
fn wants_to_write(fault: &Fault) -> bool {
    matches!(fault, Fault::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly))
}

/// How a file and what lies beside it stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    /// The file's size in bytes; `None` when it is not there.
    size: Option<u64>,
    changed: Option<SystemTime>,
    /// The sizes of the write-ahead log and of its index, 0 when they are not there.
    log: u64,
    index: u64,
}

impl Stand {
    /// Whether the log has something that the file may not have yet.
    fn log_matters(self) -> bool {
        self.log > EMPTY_LOG
    }

    fn of(path: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            fs::metadata(PathBuf::from(beside)).map_or(0, |metadata| metadata.len())
        };
        let file = fs::metadata(path).ok();
        Self {
            size: file.as_ref().map(fs::Metadata::len),
            changed: file.and_then(|metadata| metadata.modified().ok()),
            log: beside("-wal"),
            index: beside("-shm"),
        }
    }
}

fn look(path: &Path, stand: Stand) -> Result<Found, Fault> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Fault::Unavailable("it is not a file; name another".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Fault::Unavailable(error.to_string())),
    }
    let size = stand.size.unwrap_or(0);
    if size == 0 {
        // A file's first page is written before its log is begun.
        let lost = || Fault::Unreadable("it is empty, though it has a write-ahead log".to_owned());
        return if stand.log == 0 { Ok(Found::Ours) } else { Err(lost()) };
    }
    let mut connection = connect(path, stand)?;
    let snapshot = connection.transaction()?;
    match migrate::schema_of(&snapshot)? {
        Schema::Empty => Ok(Found::Ours),
        Schema::Version(found) if found > migrate::KNOWN_SCHEMA => Err(Fault::NewerSchema(found)),
        Schema::Version(_) => {
            // With a log, the file itself may well be shorter than what it says: the log has the rest.
            if !stand.log_matters() {
                refuse_truncated(&snapshot, size)?;
            }
            if size <= CHECKED_WHOLE {
                refuse_damaged(&snapshot)?;
            }
            Ok(Found::Ours)
        }
        Schema::Foreign => Err(Fault::NotOurs),
    }
}

/// A connection that writes nothing at all, not even the index of the log.
fn connect(path: &Path, stand: Stand) -> Result<Connection, Fault> {
    // Without a log nobody has the file open, and it can be read as if it could not change. With one, its index must
    // be there too for a reader that may not write it. If it is not, nobody has the file open either, and the lock
    // that keeps it so lets the index be built in memory.
    let (parameters, write) = match (stand.log_matters(), stand.index > 0) {
        (false, _) => ("?mode=ro&immutable=1", false),
        (true, true) => ("?mode=ro&readonly_shm=1", false),
        (true, false) => ("?mode=rw", true),
    };
    let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(
        uri(path, parameters),
        access
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE,
    )?;
    // Whoever is in the way may have changed which look is the right one: see `inspect`.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    if write {
        migrate::leave_log_alone(&connection, true)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "locking_mode", "exclusive")?;
    }
    Ok(connection)
}

fn refuse_truncated(connection: &Connection, size: u64) -> Result<(), Fault> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let whole = u64::try_from(pages.saturating_mul(page)).unwrap_or(u64::MAX);
    if size < whole {
        return Err(Fault::Unreadable(format!("it has {size} of {whole} bytes")));
    }
    Ok(())
}

fn refuse_damaged(connection: &Connection) -> Result<(), Fault> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Fault::Unreadable(verdict.replace('\n', " "))) }
}

/// The path as SQLite's URI form wants it (<https://www.sqlite.org/uri.html>).
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri + parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_written_as_a_uri() {
        assert_eq!(uri(Path::new("/a b/c?d#e%f.db"), "?mode=ro"), "file:/a%20b/c%3Fd%23e%25f.db?mode=ro");
    }
}
