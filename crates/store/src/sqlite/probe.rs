//! The hot path: one connection for each thread that decides, which tells in about a microsecond whether anything
//! changed.

use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::changes;
use crate::error::Fault;
use crate::revision::Revision;
use crate::sqlite::file::DatabaseFile;
use crate::sqlite::migrate;

/// How often a read that met another connection's work is tried, a millisecond apart. Readers and writers do not
/// block each other in WAL mode; what can is the repair of the log after a writer was killed.
const TRIES: u32 = 50;

/// A connection that only reads, and what it saw last.
#[derive(Debug)]
pub(crate) struct Probe {
    connection: Connection,
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// SQLite's count of the commits of *other* connections, comparable on this connection only.
    data_version: i64,
    /// The revision then, or later.
    revision: Revision,
}

impl Probe {
    pub(crate) fn open(file: &DatabaseFile) -> Result<Self, Fault> {
        let connection = file.connect()?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self { connection, seen: None })
    }

    /// The revision now. Reads it only when something was committed since the last time.
    pub(crate) fn revision(&mut self, file: &DatabaseFile) -> Result<Revision, Fault> {
        file.refuse_replaced()?;
        let connection = &self.connection;
        let data_version = patiently(|| {
            Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
        })?;
        if let Some(seen) = self.seen
            && seen.data_version == data_version
        {
            return Ok(seen.revision);
        }
        file.check()?;
        // Read after the count: what was committed in between is in it, and moves the count again.
        let revision = patiently(|| {
            migrate::refuse_unknown(connection)?;
            changes::revision(connection)
        })?;
        if let Some(seen) = self.seen
            && revision < seen.revision
        {
            return Err(changes::went_back(seen.revision, revision));
        }
        self.seen = Some(Seen { data_version, revision });
        Ok(revision)
    }

    /// Reads in place. What is asked may be asked again, from its beginning, when another connection was in the way.
    pub(crate) fn read<T>(
        &mut self,
        file: &DatabaseFile,
        mut query: impl FnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        file.check()?;
        patiently(|| {
            migrate::refuse_unknown(&self.connection)?;
            query(&mut self.connection)
        })
    }
}

/// Tries again for a moment while another connection is in the way: being asked at a bad time is no reason to refuse.
fn patiently<T>(mut read: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 1..TRIES {
        match read() {
            Err(fault) if fault.is_busy() => thread::sleep(Duration::from_millis(1)),
            answer => return answer,
        }
    }
    read()
}
