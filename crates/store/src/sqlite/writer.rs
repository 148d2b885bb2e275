//! The thread that writes.
//!
//! Acts that wait in line together are committed together: a commit waits for the disk, and one wait serves all of
//! them. Each act is still whole by itself, in a savepoint of its own: one that fails takes nothing of the others
//! along, and what it has done is undone. None is answered before the commit.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fallgate_domain::audit::Author;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Fault, StoreError};
use crate::revision::Revision;
use crate::sqlite::file::DatabaseFile;
use crate::sqlite::line::{Line, ended};
use crate::sqlite::migrate;
use crate::sqlite::revision_file::RevisionFile;
use crate::sqlite::turns::Turns;
use crate::{author, changes};

/// How many acts are committed together.
const MOST: usize = 64;
/// How long a group takes acts in: other processes wait for the lock meanwhile.
const LONGEST: Duration = Duration::from_millis(10);

/// The thread. It ends, and its connection closes, when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer(Line<Job>);

/// What an act does to those who have access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It takes something away: an older copy of the database, which lacks it, must never be taken for this one.
    Takes,
    /// It takes nothing from anybody. An older copy that lacks it does no harm, and so the file that says how far the
    /// database has come may lag behind.
    Adds,
}

/// Whether an act may share its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// With those that wait beside it.
    Any,
    /// With none: it takes long, and whoever ends something must not wait for it.
    Alone,
}

enum Job {
    /// Something that is no act, with the connection for itself.
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
    Act(Box<dyn Act>),
}

/// An act in line.
trait Act: Send {
    fn effect(&self) -> Effect;
    fn company(&self) -> Company;
    /// Does it, if its author may.
    fn perform(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault>;
    /// Tells how it went; not `Ok` before the commit.
    fn answer(self: Box<Self>, how: Result<(), StoreError>);
}

/// An act of which somebody waits for the answer.
struct Awaited<T, F> {
    effect: Effect,
    company: Company,
    author: Option<Author>,
    act: Option<F>,
    done: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Act for Awaited<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send,
{
    fn effect(&self) -> Effect {
        self.effect
    }

    fn company(&self) -> Company {
        self.company
    }

    fn perform(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        if let Some(author) = &self.author {
            author::refuse_ended(transaction, author)?;
        }
        self.done = self.act.take().map(|act| act(transaction)).transpose()?;
        Ok(())
    }

    fn answer(self: Box<Self>, how: Result<(), StoreError>) {
        let Self { done, answer, .. } = *self;
        if let Some(how) = how.map(|()| done).transpose() {
            // Nobody waits any more: what was done is done all the same.
            let _ = answer.send(how);
        }
    }
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        file: Arc<DatabaseFile>,
        reached: Arc<RevisionFile>,
    ) -> Result<Self, Fault> {
        let desk = Desk { connection, file, reached };
        Ok(Self(Line::start("store-writer", move |line| desk.work(line))?))
    }

    /// Does an act; it is durable when the answer arrives.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        (effect, company): (Effect, Company),
        author: Option<Author>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Result<T, StoreError>, Fault> {
        let (answer, answered) = oneshot::channel();
        let awaited = Awaited { effect, company, author, act: Some(act), done: None, answer };
        self.0.put(Job::Act(Box::new(awaited))).await?;
        answered.await.map_err(|_| ended())
    }

    /// Does what is no act.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| {
            // Nobody waits for it any more.
            let _ = answer.send(job(connection));
        });
        self.0.put(Job::Alone(job)).await?;
        answered.await.map_err(|_| ended())?
    }
}

/// What the thread works with.
struct Desk {
    connection: Connection,
    file: Arc<DatabaseFile>,
    reached: Arc<RevisionFile>,
}

impl Desk {
    fn work(mut self, mut line: mpsc::Receiver<Job>) {
        let mut turns = Turns::default();
        let mut next = None;
        while let Some(job) = next.take().or_else(|| line.blocking_recv()) {
            if let Some(pause) = turns.pause(Instant::now()) {
                thread::sleep(pause);
            }
            let begun = Instant::now();
            match job {
                Job::Alone(job) => job(&mut self.connection),
                Job::Act(act) => self.commit_together(act, || match line.try_recv() {
                    Ok(Job::Act(act)) if act.company() == Company::Any => Some(act),
                    Ok(alone) => {
                        next = Some(alone);
                        None
                    }
                    Err(_) => None,
                }),
            }
            turns.wrote(begun, Instant::now());
        }
    }

    /// Does an act, and those that wait behind it, and answers them.
    fn commit_together(&mut self, first: Box<dyn Act>, waiting: impl FnMut() -> Option<Box<dyn Act>>) {
        let mut acts = vec![first];
        let committed = self.commit(&mut acts, waiting).map_err(|fault| fault.at(self.file.path()));
        let raised = match &committed {
            Ok(revision) if acts.iter().any(|act| act.effect() == Effect::Takes) => self.raise(*revision),
            _ => Ok(()),
        };
        for act in acts {
            let known = if act.effect() == Effect::Takes { raised.clone() } else { Ok(()) };
            act.answer(committed.clone().and(known));
        }
    }

    /// One transaction, durable when this returns: the first of the acts, and those that wait. The acts are then those
    /// which are in it; if it fails, those that would have been.
    fn commit(
        &mut self,
        acts: &mut Vec<Box<dyn Act>>,
        mut waiting: impl FnMut() -> Option<Box<dyn Act>>,
    ) -> Result<Revision, Fault> {
        self.file.check()?;
        // Immediate: the write lock is taken before anything is read, so what is read is still true at the commit.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let until = Instant::now() + LONGEST;
        migrate::refuse_unknown(&transaction)?;
        // Nobody commits meanwhile, so whatever anybody has seen is in it. Else nothing is written: an older copy must
        // not rise above what the revision file says.
        self.file.hold_to(self.file.seen(), changes::revision(&transaction)?)?;
        let alone = acts.iter().any(|act| act.company() == Company::Alone);
        perform_last(&transaction, acts, &self.file)?;
        while !alone && acts.len() < MOST && Instant::now() < until {
            let Some(act) = waiting() else { break };
            acts.push(act);
            perform_last(&transaction, acts, &self.file)?;
        }
        let revision = changes::revision(&transaction)?;
        transaction.commit()?;
        self.file.saw(revision);
        Ok(revision)
    }

    fn raise(&self, revision: Revision) -> Result<(), StoreError> {
        let raised = self.reached.raise(revision).map_err(|fault| match fault {
            Fault::Unavailable(reason) => Fault::Unavailable(format!("the change is made, but {reason}")),
            fault => fault,
        });
        raised.map_err(|fault| fault.at(self.file.path()))
    }
}

/// Does the last of the acts. If it fails it is undone and answered, and is not among them any more.
fn perform_last(
    transaction: &Transaction<'_>,
    acts: &mut Vec<Box<dyn Act>>,
    file: &DatabaseFile,
) -> Result<(), Fault> {
    let Some(act) = acts.last_mut() else { return Ok(()) };
    let run = |statement| transaction.prepare_cached(statement)?.execute([]);
    run("SAVEPOINT act")?;
    match act.perform(transaction) {
        Ok(()) => {
            run("RELEASE act")?;
        }
        // On some errors, such as a full disk, SQLite gives up the whole transaction.
        Err(fault) if transaction.is_autocommit() => return Err(fault),
        Err(fault) => {
            run("ROLLBACK TO act")?;
            run("RELEASE act")?;
            if let Some(failed) = acts.pop() {
                failed.answer(Err(fault.at(file.path())));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::sqlite::Sqlite;

    async fn opened() -> (tempfile::TempDir, Arc<Sqlite>) {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path().join("fallgate.db"), false).await.unwrap();
        (folder, Arc::new(sqlite))
    }

    /// Holds the writer up until the sender is dropped: what comes meanwhile waits in line.
    async fn held_up(sqlite: &Arc<Sqlite>) -> mpsc::Sender<()> {
        let (go, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let holding = Arc::clone(sqlite);
        tokio::spawn(async move {
            let held = holding.writer.alone(move |_| {
                let _ = begun.send(());
                let _ = wait.recv();
                Ok(())
            });
            held.await.unwrap();
        });
        has_begun.await.unwrap();
        go
    }

    /// Puts an act in line; it is there when this returns.
    fn put<T: Send + 'static>(
        sqlite: &Arc<Sqlite>,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let sqlite = Arc::clone(sqlite);
        let mut answer = Box::pin(async move { sqlite.write(None, act).await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(answer.as_mut().poll(&mut context).is_pending());
        answer
    }

    fn event(act: &Transaction<'_>, detail: &str) -> Result<Revision, Fault> {
        act.execute(
            "INSERT INTO audit (seq, at, action, actor, target, outcome, detail, prev, hash)
             SELECT count(*) + 1, 0, '', '', '', '', ?1, printf('%064d', 0), printf('%064d', 0) FROM audit",
            [detail],
        )?;
        changes::note(act, &[])
    }

    fn events(connection: &mut Connection) -> Result<String, Fault> {
        let all = "SELECT group_concat(detail, ' ') FROM (SELECT detail FROM audit ORDER BY seq)";
        Ok(connection.query_row(all, [], |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default()))?)
    }

    #[tokio::test]
    async fn acts_that_wait_are_committed_together_and_one_that_fails_takes_no_other_along() {
        let (_folder, sqlite) = opened().await;
        let go = held_up(&sqlite).await;
        let first = put(&sqlite, |act| event(act, "first"));
        let failing = put(&sqlite, |act| {
            event(act, "failing")?;
            Err::<(), _>(Fault::Contradiction("no"))
        });
        let file = Arc::clone(&sqlite.file);
        let last = put(&sqlite, move |act| {
            let outside = changes::revision(&file.connect()?)?;
            Ok((outside, event(act, "last")?))
        });
        drop(go);
        assert_eq!(first.await.unwrap(), Revision(1));
        assert_eq!(failing.await.unwrap_err(), StoreError::Conflict { reason: "no".to_owned() });
        assert_eq!(last.await.unwrap(), (Revision(0), Revision(2)), "nothing was committed before it");
        assert_eq!(sqlite.read(events).await.unwrap(), "first last");
        assert_eq!(sqlite.reached().unwrap(), Some(Revision(2)));
    }

    #[tokio::test]
    async fn if_the_commit_fails_nobody_is_told_that_anything_was_done() {
        let (_folder, sqlite) = opened().await;
        let go = held_up(&sqlite).await;
        let first = put(&sqlite, |act| event(act, "first"));
        let breaking = put(&sqlite, |act| {
            event(act, "breaking")?;
            // As SQLite does by itself when the disk fails.
            act.execute_batch("ROLLBACK")?;
            Err::<(), _>(Fault::Unavailable("the disk failed".to_owned()))
        });
        let after = put(&sqlite, |act| event(act, "after"));
        drop(go);
        for error in [first.await.unwrap_err(), breaking.await.unwrap_err()] {
            assert!(error.to_string().contains("the disk failed"), "{error:?}");
        }
        assert_eq!(after.await.unwrap(), Revision(1));
        assert_eq!(sqlite.read(events).await.unwrap(), "after");
    }

    #[tokio::test]
    async fn what_takes_long_is_waited_for_by_nobody_who_came_before() {
        let (_folder, sqlite) = opened().await;
        let go = held_up(&sqlite).await;
        let before = put(&sqlite, |act| event(act, "before"));
        let (file, beside) = (Arc::clone(&sqlite.file), Arc::clone(&sqlite));
        let long = async move { beside.add_alone(None, move |_| changes::revision(&file.connect()?)).await };
        let mut long = Box::pin(long);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(long.as_mut().poll(&mut context).is_pending());
        let file = Arc::clone(&sqlite.file);
        let behind =
            put(&sqlite, move |act| Ok((changes::revision(&file.connect()?)?, event(act, "behind")?)));
        drop(go);
        assert_eq!(before.await.unwrap(), Revision(1));
        assert_eq!(long.await.unwrap(), Revision(1), "what came before it is committed");
        assert_eq!(behind.await.unwrap(), (Revision(1), Revision(2)));
    }

    #[tokio::test]
    async fn a_job_in_between_has_the_connection_for_itself() {
        let (_folder, sqlite) = opened().await;
        let go = held_up(&sqlite).await;
        let acts: Vec<_> = (0..200).map(|_| put(&sqlite, |act| changes::note(act, &[]))).collect();
        let alone = Arc::clone(&sqlite);
        let mut alone = Box::pin(async move { alone.writer.alone(|it| Ok(it.is_autocommit())).await });
        assert!(
            alone.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
        );
        let behind = put(&sqlite, |act| changes::note(act, &[]));
        drop(go);
        for (act, number) in acts.into_iter().zip(1..) {
            assert_eq!(act.await.unwrap(), Revision(number), "in the order in which they came");
        }
        assert!(alone.await.unwrap());
        assert_eq!(behind.await.unwrap(), Revision(201));
    }
}
