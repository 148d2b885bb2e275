//! Making and migrating the file: hand-written steps, counted in `user_version`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::Fault;
use crate::sqlite::file::{BUSY_TIMEOUT, DatabaseFile, wait_for_lock};
use crate::sqlite::inspect::{self, Found};

/// The steps, in order: step n takes a file from schema n to n + 1. A step that was released is never edited.
const STEPS: [&str; 10] = [
    include_str!("schema.sql"),
    include_str!("schema_keys.sql"),
    include_str!("schema_upkeep.sql"),
    include_str!("schema_movein.sql"),
    include_str!("schema_cuts.sql"),
    include_str!("schema_agents.sql"),
    include_str!("schema_workers.sql"),
    include_str!("schema_all_workers.sql"),
    include_str!("schema_seen.sql"),
    include_str!("schema_minted.sql"),
];

/// The newest schema that this program knows.
#[expect(clippy::cast_possible_wrap, reason = "there is a handful of steps")]
pub(crate) const KNOWN_SCHEMA: i64 = STEPS.len() as i64;

/// Says that a file is ours, as `file(1)` and others read it: "Fgat".
const APPLICATION_ID: i64 = 0x4667_6174;

/// How long to wait between tries to switch a new file to its log, in which SQLite does not wait by itself.
const PAUSE: Duration = Duration::from_millis(5);

/// Two handles of one process must not make the file at once: see [`crate::sqlite::file`].
static MAKING: Mutex<()> = Mutex::new(());

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// No table, and nobody's mark.
    Empty,
    /// Ours, of this version.
    Version(i64),
    /// Another program's.
    Foreign,
}

/// The schema of a database, from one snapshot: another process may be making it just now.
pub(crate) fn schema_of(snapshot: &Transaction<'_>) -> Result<Schema, Fault> {
    let application: i64 = snapshot.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = snapshot.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if application == APPLICATION_ID {
        // A file of ours gets its mark and its first schema in one transaction.
        return if version > 0 { Ok(Schema::Version(version)) } else { Ok(Schema::Foreign) };
    }
    let tables: i64 = snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if (application, version, tables) == (0, 0, 0) { Schema::Empty } else { Schema::Foreign })
}

/// Refuses a database that a newer program has migrated meanwhile: this one no longer knows what its rows mean.
pub(crate) fn refuse_unknown(connection: &Connection) -> Result<(), Fault> {
    let version = connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    if version > KNOWN_SCHEMA { Err(Fault::NewerSchema(version)) } else { Ok(()) }
}

/// Opens the file for writing, made and migrated where needed.
pub(crate) fn open(path: PathBuf) -> Result<(DatabaseFile, Connection), Fault> {
    if inspect::inspect(&path)? == Found::Nothing {
        make(&path)?;
    }
    let file = DatabaseFile::at(path)?;
    let mut connection = Connection::open_with_flags(
        file.path(),
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE,
    )?;
    connection.busy_handler(Some(wait_for_lock))?;
    // Until the file is known to be ours, closing must not move a byte either.
    leave_log_alone(&connection, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten: an old root key must not find what it used to open.
    connection.pragma_update(None, "secure_delete", "fast")?;
    // What an act would undo is not for a folder that others share, which may not even be there.
    connection.pragma_update(None, "temp_store", "memory")?;
    migrate(&mut connection)?;
    leave_log_alone(&connection, false)?;
    file.check()?;
    Ok((file, connection))
}

/// Whether closing the last connection leaves the write-ahead log as it is.
pub(crate) fn leave_log_alone(connection: &Connection, yes: bool) -> Result<(), Fault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, yes)?;
    Ok(())
}

/// Makes the file, empty and for its owner only, before SQLite would make it with other rights. The log and its index
/// get the file's rights.
fn make(path: &Path) -> Result<(), Fault> {
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let unavailable = |error: std::io::Error| Fault::Unavailable(format!("it cannot be made ({error})"));
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_made) => {}
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(unavailable(error)),
    }
    // Its name must outlive a power cut, too.
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unavailable)
}

/// Brings the file to the schema of this program, in one transaction.
fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    // Looked at before the log is switched on, which writes.
    refuse_foreign(&connection.transaction()?)?;
    keep_a_log(connection)?;
    // Every commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // After a burst the log's file shrinks again.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster, or newer.
    let version = refuse_foreign(&transaction)?;
    let done = usize::try_from(version).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    if version < KNOWN_SCHEMA {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", KNOWN_SCHEMA)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The file's schema, 0 for an empty one, if this program can serve it.
fn refuse_foreign(snapshot: &Transaction<'_>) -> Result<i64, Fault> {
    match schema_of(snapshot)? {
        Schema::Empty => Ok(0),
        Schema::Version(found) if found > KNOWN_SCHEMA => Err(Fault::NewerSchema(found)),
        Schema::Version(version) => Ok(version),
        Schema::Foreign => Err(Fault::NotOurs),
    }
}

/// Switches to a write-ahead log: readers and the writer do not block each other.
fn keep_a_log(connection: &Connection) -> Result<(), Fault> {
    let mut waited = Duration::ZERO;
    loop {
        let switched = connection
            .query_row("PRAGMA journal_mode = wal", [], |row| row.get::<_, String>(0))
            .map_err(Fault::from);
        match switched {
            // Two that open a new file at once both hold a read lock and want more; SQLite makes one of them give way.
            Err(fault) if fault.is_busy() && waited < BUSY_TIMEOUT => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            Err(fault) => return Err(fault),
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(Fault::Unavailable(
                    "its file system has no shared memory for a write-ahead log; put it on a local disk"
                        .to_owned(),
                ));
            }
        }
    }
}
