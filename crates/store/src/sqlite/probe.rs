//! The hot path: one connection for each thread that decides, which tells in some nanoseconds whether anything
//! changed.

mod wal_index;

use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::changes;
use crate::error::Fault;
use crate::revision::Revision;
use crate::sqlite::file::DatabaseFile;
use crate::sqlite::migrate;
use crate::sqlite::probe::wal_index::{Header, Watched};

/// How often a read that met another connection's work is tried, a millisecond apart. Readers and writers do not
/// block each other in WAL mode; what can is the repair of the log after a writer was killed.
const TRIES: u32 = 50;

/// A connection that only reads, and what it saw last.
#[derive(Debug)]
pub(crate) struct Probe {
    database: Watched,
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What the log's index showed, if it could be read; comparable on this connection only.
    header: Option<Header>,
    /// The revision then, or later; never earlier.
    revision: Revision,
}

impl Probe {
    pub(crate) fn open(file: &DatabaseFile) -> Result<Self, Fault> {
        let connection = file.connect()?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self { database: Watched::new(connection), seen: None })
    }

    /// The revision now. Reads it only when something was committed since the last time.
    pub(crate) fn revision(&mut self, file: &DatabaseFile) -> Result<Revision, Fault> {
        file.refuse_lost()?;
        if let Some(Seen { header: Some(header), revision }) = &self.seen
            && self.database.shows(header)
        {
            return Ok(*revision);
        }
        self.read_revision(file)
    }

    #[cold]
    fn read_revision(&mut self, file: &DatabaseFile) -> Result<Revision, Fault> {
        file.check()?;
        // Before it is read: another thread may see more in between.
        let known = file.seen();
        let (header, revision) = patiently(|| {
            // Before the revision, never after: what is committed in between is in the revision, and costs one more
            // read the next time. The other way round it would be taken for seen.
            let header = self.database.header();
            let snapshot = self.database.connection().transaction()?;
            migrate::refuse_unknown(&snapshot)?;
            Ok((header, changes::revision(&snapshot)?))
        })?;
        file.hold_to(known, revision)?;
        self.seen = Some(Seen { header, revision });
        Ok(revision)
    }

    /// Reads in place. What is asked may be asked again, from its beginning, when another connection was in the way.
    pub(crate) fn read<T>(
        &mut self,
        file: &DatabaseFile,
        mut query: impl FnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        file.check()?;
        let connection = self.database.connection();
        patiently(|| {
            migrate::refuse_unknown(connection)?;
            query(connection)
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

#[cfg(test)]
mod tests;
