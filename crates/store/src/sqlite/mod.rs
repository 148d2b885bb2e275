//! The embedded database: one file, one writer thread, one thread for lists, and a probe for each thread that decides.

pub(crate) mod column;
mod file;
mod inspect;
mod migrate;
mod probe;
mod worker;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use thread_local::ThreadLocal;

use crate::error::{Fault, StoreError};
use crate::revision::{Revision, Row};
use crate::sqlite::file::DatabaseFile;
use crate::sqlite::probe::Probe;
use crate::sqlite::worker::Worker;
use crate::{changes, credentials, users};

pub(crate) use migrate::KNOWN_SCHEMA;

/// The embedded database, open. What reads and writes for lists and acts runs on threads of its own, so that no
/// runtime thread waits for a disk; what decides is answered in place, from memory the database maps anyway.
#[derive(Debug)]
pub(crate) struct Sqlite {
    // Dropped in this order. The writer closes last: the last one to close copies the write-ahead log into the file.
    probes: ThreadLocal<RefCell<Probe>>,
    reader: Worker,
    writer: Worker,
    file: Arc<DatabaseFile>,
}

impl Sqlite {
    pub(crate) async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let shown = path.clone();
        worker::once("store-open", move || {
            let (file, writer) = migrate::open(path)?;
            let file = Arc::new(file);
            let reader = file.connect()?;
            Ok(Self {
                probes: ThreadLocal::new(),
                reader: Worker::start("store-reader", reader)?,
                writer: Worker::start("store-writer", writer)?,
                file,
            })
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

    /// Writes, in one transaction that is durable when the answer arrives.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let answer = self.writer.run(move |connection| {
            file.check()?;
            // Immediate: the write lock is taken before anything is read, so what is read is still true at the commit.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            migrate::refuse_unknown(&transaction)?;
            let answer = act(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        });
        answer.await.map_err(|fault| fault.at(self.file.path()))
    }

    /// The revision now, answered in place.
    pub(crate) fn revision(&self) -> Result<Revision, StoreError> {
        self.on_probe(|probe| probe.revision(&self.file))
    }

    /// Reads in place, on the calling thread's own connection.
    pub(crate) fn in_place<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.on_probe(|probe| probe.read(&self.file, query))
    }

    /// Gives every row, from one snapshot on a connection of its own: `each` may ask this store other things.
    pub(crate) fn load(&self, each: &mut (dyn FnMut(Row) + Send)) -> Result<Revision, StoreError> {
        let mut load = || {
            let mut connection = self.file.connect()?;
            let snapshot = connection.transaction()?;
            let revision = changes::revision(&snapshot)?;
            users::each(&snapshot, &mut |user| each(Row::User(user)))?;
            credentials::each(&snapshot, &mut |credential| each(Row::Credential(credential)))?;
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
