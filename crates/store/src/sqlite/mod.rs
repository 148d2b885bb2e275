//! The embedded database: one file, one writer thread, one thread for lists, and a probe for each thread that decides.

pub(crate) mod backup;
pub(crate) mod column;
mod file;
mod inspect;
mod line;
mod migrate;
mod probe;
mod revision_file;
mod turns;
mod worker;
mod writer;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fallgate_domain::audit::Author;
use rusqlite::{Connection, Transaction};
use thread_local::ThreadLocal;

use crate::changes;
use crate::error::{Fault, StoreError};
use crate::revision::{Revision, Row};
use crate::sqlite::file::{DatabaseFile, wait_for_lock};
use crate::sqlite::probe::Probe;
use crate::sqlite::revision_file::{Reached, RevisionFile};
use crate::sqlite::worker::Worker;
use crate::sqlite::writer::{Company, Effect, Writer};

pub(crate) use migrate::KNOWN_SCHEMA;

/// How often it is tried to empty the log while somebody reads from it, and what each pause is longer than the one before.
const LOG_TRIES: u32 = 8;
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// The embedded database, open. What reads and writes for lists and acts runs on threads of its own, so that no
/// runtime thread waits for a disk; what decides is answered in place, from memory the database maps anyway.
#[derive(Debug)]
pub(crate) struct Sqlite {
    // Dropped in this order. The writer closes last: the last one to close copies the write-ahead log into the file.
    probes: ThreadLocal<RefCell<Probe>>,
    reader: Worker,
    writer: Writer,
    file: Arc<DatabaseFile>,
    reached: Arc<RevisionFile>,
}

impl Sqlite {
    /// Opens the database. `admitted`: also one that is an older copy than what was reached.
    pub(crate) async fn open(path: PathBuf, admitted: bool) -> Result<Self, StoreError> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let shown = path.clone();
        worker::once("store-open", move || {
            let reached = Arc::new(RevisionFile::beside(&path));
            let (file, mut writer) = migrate::open(path)?;
            if !admitted {
                reached.admit(&mut writer)?;
            }
            file.saw(changes::revision(&writer)?);
            let file = Arc::new(file);
            let reader = file.connect()?;
            let writer = Writer::start(writer, Arc::clone(&file), Arc::clone(&reached))?;
            let reader = Worker::start("store-reader", reader)?;
            Ok(Self { probes: ThreadLocal::new(), reader, writer, file, reached })
        })
        .await
        .map_err(|fault: Fault| fault.at(&shown))
    }

    /// Reads on the thread for lists.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let answer = self.reader.run(move |connection| {
            file.check()?;
            query(connection)
        });
        answer.await.map_err(|fault| fault.at(self.file.path()))
    }

    /// Writes what takes something away, as one act that is durable when the answer arrives: see [`Effect::Takes`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.act((Effect::Takes, Company::Any), author, act).await
    }

    /// The same for what may take long: see [`Company::Alone`].
    pub(crate) async fn write_alone<T: Send + 'static>(
        &self,
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.act((Effect::Takes, Company::Alone), author, act).await
    }

    /// Writes what takes nothing from anybody: durable too, see [`Effect::Adds`].
    pub(crate) async fn add<T: Send + 'static>(
        &self,
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.act((Effect::Adds, Company::Any), author, act).await
    }

    /// The same for what may take long.
    pub(crate) async fn add_alone<T: Send + 'static>(
        &self,
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.act((Effect::Adds, Company::Alone), author, act).await
    }

    async fn act<T: Send + 'static>(
        &self,
        how: (Effect, Company),
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.act(how, author, act).await.map_err(|fault| fault.at(self.file.path()))?
    }

    /// Copies the write-ahead log into the file and cuts it to nothing, so that what was deleted is in neither. `false`:
    /// somebody was reading from it all the time.
    pub(crate) async fn empty_log(&self) -> Result<bool, StoreError> {
        let file = Arc::clone(&self.file);
        let answer = self.writer.alone(move |connection| {
            file.check()?;
            for pause in 0..LOG_TRIES {
                thread::sleep(LOG_PAUSE * pause);
                // Not for as long as for a lock: whoever writes meanwhile waits for this.
                connection.busy_timeout(LOG_PAUSE)?;
                let emptied = connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0));
                connection.busy_handler(Some(wait_for_lock))?;
                match emptied.map_err(Fault::from) {
                    Ok(true) => return Ok(true),
                    Err(fault) if !fault.is_busy() => return Err(fault),
                    Ok(false) | Err(_) => {}
                }
            }
            Ok(false)
        });
        answer.await.map_err(|fault| fault.at(self.file.path()))
    }

    /// What the file beside the database says: the highest revision that was reached, if it can be read.
    pub(crate) fn reached(&self) -> Result<Option<Revision>, StoreError> {
        match self.reached.read().map_err(|fault| fault.at(self.file.path()))? {
            Reached::At(revision) => Ok(Some(revision)),
            Reached::Missing | Reached::Unreadable => Ok(None),
        }
    }

    /// Copies the database as of one moment; see [`backup`].
    pub(crate) async fn backup(
        &self,
        to: PathBuf,
        tell: impl FnMut(backup::Progress) + Send + 'static,
    ) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let copied = worker::once("store-backup", move || backup::copy(&file.connect()?, &to, tell));
        copied.await.map_err(|fault| fault.at(self.file.path()))
    }

    /// The revision now, answered in place.
    pub(crate) fn revision(&self) -> Result<Revision, StoreError> {
        self.on_probe(|probe| probe.revision(&self.file))
    }

    /// Reads in place, on the calling thread's own connection.
    pub(crate) fn in_place<T>(
        &self,
        query: impl FnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.on_probe(|probe| probe.read(&self.file, query))
    }

    /// Gives every row, from one snapshot on a connection of its own: `each` may ask this store other things.
    pub(crate) fn load(&self, each: &mut (dyn FnMut(Row) + Send)) -> Result<Revision, StoreError> {
        let mut load = || {
            let mut connection = self.file.connect()?;
            let snapshot = connection.transaction()?;
            let revision = changes::revision(&snapshot)?;
            changes::everything(&snapshot, &mut |row| each(row))?;
            Ok(revision)
        };
        load().map_err(|fault: Fault| fault.at(self.file.path()))
    }

    fn on_probe<T>(&self, ask: impl FnOnce(&mut Probe) -> Result<T, Fault>) -> Result<T, StoreError> {
        let ask = || {
            let probe = self.probes.get_or_try(|| Ok::<_, Fault>(RefCell::new(Probe::open(&self.file)?)))?;
            let mut probe = probe
                .try_borrow_mut()
                .map_err(|_| Fault::Unavailable("it was asked from within its own answer".to_owned()))?;
            ask(&mut probe)
        };
        ask().map_err(|fault| fault.at(self.file.path()))
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::clock::Timestamp;
    use fallgate_domain::credential::LastUse;
    use fallgate_domain::id::CredentialId;

    use super::*;
    use crate::credentials;
    use crate::vault::NotedUse;

    async fn note(sqlite: &Sqlite, number: u32) -> Result<(), StoreError> {
        let mut id = [0; 16];
        id[12..].copy_from_slice(&number.to_be_bytes());
        let last = LastUse { at: Timestamp::from_millis(0), ip: None, user_agent: Some("x".repeat(256)) };
        sqlite
            .write(None, move |act| {
                act.execute(
                    "INSERT INTO credential (id, kind, minted_by, name, hint, scopes, created_at)
                     VALUES (?1, 'token', '', '', '', '', 0)",
                    [id],
                )?;
                let credential = CredentialId::from_bytes(id);
                credentials::note_uses(
                    act,
                    &[NotedUse { credential, last: Some(last), times: 1, agent: None }],
                )
            })
            .await
    }

    async fn limit(sqlite: &Sqlite, pages: Option<u32>) {
        let limited = sqlite.writer.alone(move |connection| {
            let present: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let most = pages.map_or(u32::MAX - 1, |more| present + more);
            Ok(connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?)
        });
        limited.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_what_was_acknowledged_stays() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path().join("fallgate.db"), false).await.unwrap();
        limit(&sqlite, Some(3)).await;
        let mut acknowledged = 0_u32;
        let error = loop {
            match note(&sqlite, acknowledged).await {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("the disk is full"), "{error}");
        let count = "SELECT (SELECT count(*) FROM credential) * 1000 + (SELECT count(*) FROM last_use)";
        let read =
            |connection: &mut Connection| Ok(connection.query_row(count, [], |row| row.get::<_, i64>(0))?);
        assert_eq!(
            sqlite.read(read).await.unwrap(),
            i64::from(acknowledged) * 1001,
            "all of each act, or nothing of it"
        );

        limit(&sqlite, None).await;
        note(&sqlite, acknowledged).await.unwrap();
        assert_eq!(sqlite.read(read).await.unwrap(), i64::from(acknowledged + 1) * 1001);
    }

    /// As `sqlite3 fallgate.db ".restore older.db"` does.
    fn restore_in_place(from: &std::path::Path, into: &std::path::Path) {
        let (from, mut into) = (Connection::open(from).unwrap(), Connection::open(into).unwrap());
        let restore = rusqlite::backup::Backup::new(&from, &mut into).unwrap();
        restore.run_to_completion(100, Duration::from_millis(1), None).unwrap();
    }

    #[tokio::test]
    async fn r43_an_older_copy_that_was_put_into_the_open_file_is_not_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let (path, older) = (folder.path().join("fallgate.db"), folder.path().join("older.db"));
        let sqlite = Sqlite::open(path.clone(), false).await.unwrap();
        sqlite.backup(older.clone(), |_| ()).await.unwrap();
        for _ in 0..3 {
            let _ = sqlite.write(None, |act| changes::note(act, &[])).await.unwrap();
        }
        restore_in_place(&older, &path);
        for _ in 0..5 {
            let written = sqlite.write(None, |act| changes::note(act, &[])).await;
            assert!(matches!(written, Err(StoreError::WentBack { seen: 3, found: 0, .. })), "{written:?}");
            let added = sqlite.add(None, |act| changes::note(act, &[])).await;
            assert!(matches!(added, Err(StoreError::WentBack { .. })), "{added:?}");
        }
        assert!(matches!(sqlite.revision(), Err(StoreError::WentBack { .. })), "for whoever decides, too");
        drop(sqlite);
        let restarted = Sqlite::open(path, false).await;
        assert!(
            matches!(restarted, Err(StoreError::OlderCopy { found: 0, reached: 3, .. })),
            "{restarted:?}"
        );
    }

    #[tokio::test]
    async fn an_act_is_done_though_its_caller_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path().join("fallgate.db"), false).await.unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut act = Box::pin(sqlite.write(None, move |act| {
            wait.recv().unwrap();
            changes::note(act, &[])
        }));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(act.as_mut().poll(&mut context).is_pending());
        drop(act);
        go.send(()).unwrap();
        // The next in line comes after it.
        let revision = sqlite.write(None, |act| changes::revision(act)).await.unwrap();
        assert_eq!(revision, Revision(1));
    }

    #[tokio::test]
    async fn lists_and_probes_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path().join("fallgate.db"), false).await.unwrap();
        let write = |connection: &mut Connection| Ok(connection.execute("DELETE FROM state", [])?);
        let by_reader = sqlite.read(write).await.unwrap_err();
        let by_probe = sqlite.in_place(write).unwrap_err();
        for error in [by_reader, by_probe] {
            assert!(error.to_string().contains("read-only"), "{error}");
        }
        assert_eq!(sqlite.revision().unwrap(), Revision(0));
    }

    #[tokio::test]
    async fn commits_are_synced_in_full_and_what_undoes_an_act_is_kept_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path().join("fallgate.db"), false).await.unwrap();
        let settings = sqlite.writer.alone(|connection| {
            Ok((
                connection.query_row("PRAGMA synchronous", [], |row| row.get::<_, u8>(0))?,
                connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))?,
                connection.query_row("PRAGMA foreign_keys", [], |row| row.get::<_, bool>(0))?,
                connection.query_row("PRAGMA temp_store", [], |row| row.get::<_, u8>(0))?,
            ))
        });
        assert_eq!(settings.await.unwrap(), (2, "wal".to_owned(), true, 2), "and nothing outside the folder");
    }
}
