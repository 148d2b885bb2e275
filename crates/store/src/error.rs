//! What can go wrong with a store.
//!
//! Three kinds of trouble, which a caller answers differently: it cannot be reached now ([`StoreError::Unavailable`]:
//! refuse with 503, try again later), it will not serve as it is ([`StoreError::Corrupt`], [`StoreError::NewerSchema`],
//! [`StoreError::NotOurs`], [`StoreError::OlderCopy`], [`StoreError::Unguarded`], [`StoreError::Replaced`], [`StoreError::WentBack`]: stop), or what was asked contradicts what is there ([`StoreError::Conflict`]). Every text
//! is one line that says which database, what is wrong and what to do; none has a secret or a statement in it.

use std::path::{Path, PathBuf};

use fallgate_domain::cut::{CutNotice, CutReason};
use rusqlite::ErrorCode;

use crate::revision::Revision;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be read or written now.
    #[error("the database {database} cannot be used: {reason}")]
    Unavailable {
        /// Which.
        database: String,
        /// Why, and what to do.
        reason: String,
    },
    /// What is in it cannot be read.
    #[error("the database {database} is damaged: {reason}; restore it from a backup")]
    Corrupt {
        /// Which.
        database: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of the program has written it.
    #[error(
        "the database {database} has schema {found}, newer than schema {known} of this program; run the newer fallgate"
    )]
    NewerSchema {
        /// Which.
        database: String,
        /// The schema it has.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// It is a database of another program.
    #[error("the database {database} is not a Fallgate database; name another file or folder")]
    NotOurs {
        /// Which.
        database: String,
    },
    /// It is below the revision that was reached in this folder: an older copy, in which what was revoked since stands
    /// again.
    #[error(
        "the database {database} is an older copy: it is at revision {found}, and revision {reached} was reached here"
    )]
    OlderCopy {
        /// Which.
        database: String,
        /// The revision it has.
        found: u64,
        /// The highest there was.
        reached: u64,
    },
    /// What says how far it had come is gone or cannot be read, so it may be an older copy.
    #[error("the database {database} cannot be told from an older copy: {reason}")]
    Unguarded {
        /// Which.
        database: String,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// Another file was put in its place while it was open. For good: it takes a restart.
    #[error("the database {database} cannot be used: another file was put in its place; restart")]
    Replaced {
        /// Which.
        database: String,
    },
    /// It fell below a revision that this process has seen: an older copy was put into it while it was open. For good:
    /// it takes a restart, which looks whether what was revoked since would stand again.
    #[error(
        "the database {database} cannot be used: it went back from revision {seen} to {found}, as if an older copy had been put in its place; restart"
    )]
    WentBack {
        /// Which.
        database: String,
        /// The highest revision that was seen.
        seen: u64,
        /// The revision it had then.
        found: u64,
    },
    /// There is something already where a backup was to be written.
    #[error("{file} is there already, and a backup overwrites nothing; name another file")]
    BackupExists {
        /// Where.
        file: String,
    },
    /// A backup could not be written.
    #[error("the backup {file} cannot be written: {reason}")]
    BackupFailed {
        /// Where.
        file: String,
        /// Why.
        reason: String,
    },
    /// Whoever asked for it was shut out before it was done; nothing was done.
    #[error("the credential that asked for this has ended, or may not do it any more")]
    CallerEnded,
    /// Whoever asked for it was cut before it was done; nothing was done.
    #[error("the credential that asked for this is cut{}", because(.0.reason.as_ref()))]
    CallerCut(CutNotice),
    /// It contradicts what is there: an id or a secret's hash that is taken.
    #[error("{reason}")]
    Conflict {
        /// What contradicts what.
        reason: String,
    },
}

/// What a query can meet. Becomes a [`StoreError`] where the database's name is known.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    /// A row holds what no row of ours can hold.
    Unreadable(String),
    Unavailable(String),
    CallerEnded,
    CallerCut(CutNotice),
    NewerSchema(i64),
    NotOurs,
    OlderCopy {
        found: Revision,
        reached: Revision,
    },
    Unguarded(String),
    Replaced,
    WentBack {
        seen: Revision,
        found: Revision,
    },
    BackupExists(PathBuf),
    BackupFailed(PathBuf, String),
    /// What was asked can never be.
    Contradiction(&'static str),
}

fn because(reason: Option<&CutReason>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    /// Whether another connection's work is in the way, and a moment later may not be.
    pub(crate) fn is_busy(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
        )
    }

    /// In the words for people.
    pub(crate) fn at(self, path: &Path) -> StoreError {
        let database = path.display().to_string();
        let unavailable =
            |reason: &str| StoreError::Unavailable { database: database.clone(), reason: reason.to_owned() };
        let corrupt = |reason: String| StoreError::Corrupt { database: database.clone(), reason };
        let error = match self {
            Self::Sqlite(error) => error,
            Self::Unreadable(reason) => return corrupt(reason),
            Self::Unavailable(reason) => return unavailable(&reason),
            Self::NewerSchema(found) => {
                return StoreError::NewerSchema { database, found, known: crate::sqlite::KNOWN_SCHEMA };
            }
            Self::NotOurs => return StoreError::NotOurs { database },
            Self::CallerEnded => return StoreError::CallerEnded,
            Self::CallerCut(notice) => return StoreError::CallerCut(notice),
            Self::OlderCopy { found, reached } => {
                return StoreError::OlderCopy { database, found: found.0, reached: reached.0 };
            }
            Self::Unguarded(reason) => return StoreError::Unguarded { database, reason },
            Self::Replaced => return StoreError::Replaced { database },
            Self::WentBack { seen, found } => {
                return StoreError::WentBack { database, seen: seen.0, found: found.0 };
            }
            Self::BackupExists(file) => {
                return StoreError::BackupExists { file: file.display().to_string() };
            }
            Self::BackupFailed(file, reason) => {
                return StoreError::BackupFailed { file: file.display().to_string(), reason };
            }
            Self::Contradiction(reason) => return StoreError::Conflict { reason: reason.to_owned() },
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => corrupt("it is not a database file".to_owned()),
            Some(ErrorCode::DatabaseCorrupt) => corrupt("its pages contradict each other".to_owned()),
            Some(ErrorCode::ConstraintViolation) => {
                StoreError::Conflict { reason: "an id or a secret's hash is already taken".to_owned() }
            }
            Some(
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
            ) => unavailable("another process holds it locked; try again"),
            Some(ErrorCode::DiskFull) => unavailable("the disk is full; free some space"),
            Some(ErrorCode::ReadOnly) => {
                unavailable("it is read-only; give this user write access to it and its folder")
            }
            Some(ErrorCode::CannotOpen) => unavailable(
                "it cannot be opened; check that it is there and that this user may read and write it",
            ),
            Some(ErrorCode::PermissionDenied) => {
                unavailable("access is denied; give this user access to it and its folder")
            }
            Some(ErrorCode::SystemIoFailure) => {
                unavailable("reading or writing the disk failed; check the disk")
            }
            Some(_) => unavailable(&error.to_string()),
            // The rest are values of a type that the column never has.
            None => corrupt(format!("a row cannot be read ({error})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn told(code: i32) -> StoreError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("SELECT secret".to_owned()));
        Fault::from(error).at(Path::new("/var/lib/fallgate.db"))
    }

    #[test]
    fn trouble_of_the_moment_is_told_apart_from_damage() {
        let unavailable = [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY_DIRECTORY,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_PROTOCOL,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_PERM,
        ];
        for code in unavailable {
            let error = told(code);
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.starts_with("the database /var/lib/fallgate.db cannot be used: "), "{text}");
            assert!(!text.contains("SELECT"), "{text}");
        }
        for code in [ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_NOTADB] {
            assert!(matches!(told(code), StoreError::Corrupt { .. }));
        }
        assert!(matches!(told(ffi::SQLITE_CONSTRAINT_UNIQUE), StoreError::Conflict { .. }));
    }

    #[test]
    fn only_what_passes_by_itself_is_busy() {
        let busy = |code| Fault::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).is_busy();
        assert!(busy(ffi::SQLITE_BUSY) && busy(ffi::SQLITE_BUSY_RECOVERY) && busy(ffi::SQLITE_PROTOCOL));
        assert!(!busy(ffi::SQLITE_FULL) && !busy(ffi::SQLITE_CORRUPT) && !Fault::NotOurs.is_busy());
    }
}
