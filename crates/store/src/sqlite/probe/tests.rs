//! The probe on a real file, beside another connection and beside another process.

use std::env;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rusqlite::{ErrorCode, OpenFlags};
use tempfile::TempDir;

use super::*;
use crate::sqlite::Sqlite;

/// A database of ours, its writer, and a probe that has seen it.
struct Fixture {
    folder: TempDir,
    file: DatabaseFile,
    writer: Connection,
    probe: Probe,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, writer) = migrate::open(folder.path().join("fallgate.db")).unwrap();
        let mut probe = Probe::open(&file).unwrap();
        assert_eq!(probe.revision(&file).unwrap(), Revision(0));
        Self { folder, file, writer, probe }
    }

    fn revision(&mut self) -> u64 {
        self.probe.revision(&self.file).unwrap().0
    }

    /// The remembered header, if it is still the present one: whether the next answer comes from memory.
    fn is_remembered(&mut self) -> bool {
        let header = self.probe.seen.and_then(|seen| seen.header);
        header.is_some_and(|header| self.probe.database.shows(&header))
    }
}

fn raise(writer: &Connection) {
    writer.execute("UPDATE state SET revision = revision + 1", []).unwrap();
}

#[test]
fn what_was_not_followed_by_a_commit_is_answered_from_memory() {
    let mut fixture = Fixture::new();
    assert!(fixture.is_remembered());
    raise(&fixture.writer);
    assert!(!fixture.is_remembered());
    assert_eq!(fixture.revision(), 1);
    assert!(fixture.is_remembered());
    // Proof that it is not read again: what is remembered is what is answered.
    fixture.probe.seen.as_mut().unwrap().revision = Revision(4711);
    assert_eq!(fixture.revision(), 4711);
}

#[test]
fn reads_of_another_kind_leave_what_is_remembered_as_it_is() {
    let mut fixture = Fixture::new();
    let Fixture { file, probe, .. } = &mut fixture;
    probe.read(file, |connection| changes::since(connection, Revision(0))).unwrap();
    assert!(fixture.is_remembered());
}

#[test]
fn a_header_older_than_its_revision_costs_one_more_read() {
    let mut fixture = Fixture::new();
    let old = fixture.probe.seen;
    raise(&fixture.writer);
    fixture.revision();
    // As if the commit had come just after the header was read.
    fixture.probe.seen.as_mut().unwrap().header = old.unwrap().header;
    assert!(!fixture.is_remembered());
    assert_eq!(fixture.revision(), 1);
    assert!(fixture.is_remembered());
}

#[test]
fn no_upkeep_of_the_log_hides_a_commit() {
    let mut fixture = Fixture::new();
    let upkeep = [
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA wal_checkpoint(FULL)",
        "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM",
    ];
    for (done, statement) in (1..).zip(upkeep.iter().cycle().take(50)) {
        fixture.writer.execute_batch(statement).unwrap();
        assert_eq!(fixture.revision(), done - 1, "after {statement}");
        raise(&fixture.writer);
        assert_eq!(fixture.revision(), done, "after {statement} and a commit");
        assert!(fixture.is_remembered());
    }
}

#[test]
fn a_header_that_its_writer_left_torn_is_mended_and_read_anew() {
    let mut fixture = Fixture::new();
    for copy in 0..2 {
        raise(&fixture.writer);
        let before = fixture.revision();
        fixture.probe.database.tear(copy);
        assert!(!fixture.is_remembered());
        assert_eq!(fixture.probe.database.header(), None);
        assert_eq!(fixture.revision(), before, "SQLite reads the log itself and writes the header anew");
        assert_eq!(fixture.revision(), before);
        assert!(fixture.is_remembered());
        fixture.probe.database.tear(copy);
        raise(&fixture.writer);
        assert_eq!(fixture.revision(), before + 1, "mended by another connection, which went on to commit");
        assert!(fixture.is_remembered());
    }
}

#[test]
fn without_a_log_every_answer_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("CREATE TABLE state (revision INTEGER); INSERT INTO state VALUES (0)").unwrap();
    let file = DatabaseFile::at(path).unwrap();
    let mut probe = Probe::open(&file).unwrap();
    for revision in 1..=20 {
        raise(&writer);
        assert_eq!(probe.revision(&file).unwrap(), Revision(revision));
        assert!(probe.seen.unwrap().header.is_none());
    }
}

#[test]
fn a_log_switched_on_later_is_used_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("CREATE TABLE state (revision INTEGER); INSERT INTO state VALUES (0)").unwrap();
    let file = DatabaseFile::at(path).unwrap();
    let mut probe = Probe::open(&file).unwrap();
    assert_eq!(probe.revision(&file).unwrap(), Revision(0));
    writer.execute_batch("PRAGMA journal_mode = wal").unwrap();
    for revision in 1..=20 {
        raise(&writer);
        assert_eq!(probe.revision(&file).unwrap(), Revision(revision));
    }
    assert!(probe.seen.unwrap().header.is_some());
}

#[test]
fn the_journal_mode_cannot_be_switched_under_a_probe() {
    let mut fixture = Fixture::new();
    let switched =
        fixture.writer.query_row("PRAGMA journal_mode = delete", [], |row| row.get::<_, String>(0));
    assert!(Fault::from(switched.unwrap_err()).is_busy());
    raise(&fixture.writer);
    assert_eq!(fixture.revision(), 1);
    assert!(fixture.is_remembered());
}

#[test]
fn a_revision_that_went_back_is_refused_for_good() {
    let mut fixture = Fixture::new();
    raise(&fixture.writer);
    assert_eq!(fixture.revision(), 1);
    fixture.writer.execute("UPDATE state SET revision = 0", []).unwrap();
    for step in 0..3 {
        let fault = fixture.probe.revision(&fixture.file).unwrap_err();
        assert!(matches!(fault, Fault::WentBack { .. }), "{fault:?}");
        // Also once it has come as far again, which is then another history.
        fixture.writer.execute("UPDATE state SET revision = ?1", [step]).unwrap();
    }
    let other = Probe::open(&fixture.file).and_then(|mut probe| probe.revision(&fixture.file));
    assert!(matches!(other, Err(Fault::WentBack { .. })), "{other:?}");
}

#[test]
fn a_file_in_its_place_is_refused_by_the_next_read() {
    let mut fixture = Fixture::new();
    let path = fixture.file.path().to_owned();
    fs::rename(&path, fixture.folder.path().join("original")).unwrap();
    fs::write(&path, "").unwrap();
    raise(&fixture.writer);
    assert!(fixture.probe.revision(&fixture.file).is_err());
    fixture.file.refuse_lost().unwrap_err();
    assert!(fixture.probe.revision(&fixture.file).is_err(), "for good");
}

// === beside another process ===

/// Names the folder to the other process, which is the next test, started once more.
const COMMIT_INTO: &str = "FALLGATE_TEST_COMMIT_INTO";
/// At least this much must have happened before the test may pass.
const CHECKS: u64 = 100_000;
const LIVES: u64 = 20;
const COMMITS_OF_A_LIFE: u64 = 250;
const AT_MOST: Duration = Duration::from_secs(30);

/// Two threads ask without pause, while a process beside them commits as fast as it can, restarts the log, and is
/// killed in the middle of it again and again.
#[test]
fn r42_no_commit_that_another_process_acknowledged_is_missed() {
    if let Some(folder) = folder_to_commit_into() {
        return commit_until_killed(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sqlite = runtime.block_on(Sqlite::open(folder.path().join("fallgate.db"), false)).unwrap();
    let acknowledged = Acknowledged::in_folder(folder.path());
    let done = AtomicBool::new(false);
    let ask = || {
        let (mut checks, mut news, mut last) = (0_u64, 0_u64, 0_u64);
        while !done.load(Ordering::Relaxed) || checks < CHECKS {
            let at_least = acknowledged.read();
            let seen = sqlite.revision().unwrap().0;
            assert!(seen >= at_least, "saw {seen} after {at_least} was acknowledged");
            checks += 1;
            news += u64::from(seen != last);
            last = seen;
        }
        (checks, news)
    };
    thread::scope(|scope| {
        // However this ends, the askers must.
        let _end = Defer(|| done.store(true, Ordering::Relaxed));
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let started = Instant::now();
        for _ in 0..LIVES {
            let mut life = OtherProcess::start(folder.path());
            let enough = acknowledged.read() + COMMITS_OF_A_LIFE;
            while acknowledged.read() < enough {
                assert!(!askers.iter().any(thread::ScopedJoinHandle::is_finished), "an asker gave up");
                // Why, it has said on standard error, which it shares.
                assert_eq!(life.0.try_wait().unwrap(), None, "the other process ended by itself");
                assert!(started.elapsed() < AT_MOST, "the other process does not commit");
                thread::yield_now();
            }
            drop(life);
        }
        done.store(true, Ordering::Relaxed);
        for asker in askers {
            let (checks, news) = asker.join().unwrap();
            println!("{checks} checks, {news} of them saw news");
            assert!(news > LIVES, "it only ever saw {news} revisions");
        }
    });
    let commits = acknowledged.read();
    println!("{commits} commits acknowledged");
    assert!(commits >= LIVES * COMMITS_OF_A_LIFE);
    assert!(sqlite.revision().unwrap().0 >= commits);
}

#[test]
fn another_processs_shared_memory_that_can_only_be_read_is_not_relied_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fallgate.db");
    drop(migrate::open(path.clone()).unwrap());
    let acknowledged = Acknowledged::in_folder(folder.path());
    let _other = OtherProcess::start(folder.path());
    let started = Instant::now();
    while acknowledged.read() == 0 {
        assert!(started.elapsed() < AT_MOST, "the other process does not commit");
        thread::yield_now();
    }
    let connection = Connection::open_with_flags(
        format!("file:{}?readonly_shm=1", path.display()),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    );
    let mut database = Watched::new(connection.unwrap());
    // One read, for the log to be open. Met in the middle of a commit, such a reader can neither wait for the header
    // nor mend it, and SQLite tells it so.
    let revision = loop {
        match changes::revision(database.connection()) {
            Err(Fault::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
                assert!(started.elapsed() < AT_MOST, "it never meets a whole header");
            }
            answer => break answer.unwrap(),
        }
    };
    assert!(revision > Revision(0));
    for _ in 0..1_000 {
        assert_eq!(database.header(), None, "memory mapped for reading only");
    }
}

#[expect(clippy::disallowed_methods, reason = "how the test tells itself that it is the other process")]
fn folder_to_commit_into() -> Option<PathBuf> {
    env::var_os(COMMIT_INTO).map(PathBuf::from)
}

/// What the other process does.
fn commit_until_killed(folder: &Path) {
    let writer = Connection::open(folder.join("fallgate.db")).unwrap();
    writer.busy_timeout(Duration::from_secs(5)).unwrap();
    // Only this process is killed, not the machine: what it wrote is there without being synced.
    writer.execute_batch("PRAGMA synchronous = off; PRAGMA wal_autocheckpoint = 20").unwrap();
    let acknowledged = Acknowledged::in_folder(folder);
    let started = Instant::now();
    while started.elapsed() < AT_MOST {
        let revision = writer
            .prepare_cached("UPDATE state SET revision = revision + 1 RETURNING revision")
            .unwrap()
            .query_row([], |row| row.get::<_, i64>(0))
            .unwrap()
            .cast_unsigned();
        acknowledged.write(revision);
        if revision.is_multiple_of(97) {
            // Those who read may be in its way.
            let _ = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

/// The last revision that the other process knows to be committed, in a file, so that telling takes no time.
struct Acknowledged(fs::File);

impl Acknowledged {
    fn in_folder(folder: &Path) -> Self {
        let path = folder.join("acknowledged");
        Self(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap())
    }

    fn read(&self) -> u64 {
        let mut number = [0; 8];
        // Not there yet: nothing was acknowledged.
        if self.0.read_at(&mut number, 0).unwrap() == 8 { u64::from_ne_bytes(number) } else { 0 }
    }

    fn write(&self, number: u64) {
        self.0.write_all_at(&number.to_ne_bytes(), 0).unwrap();
    }
}

/// The other process; killed when dropped.
struct OtherProcess(Child);

impl OtherProcess {
    fn start(folder: &Path) -> Self {
        let (_crate, module) = module_path!().split_once("::").unwrap();
        let test = format!("{module}::r42_no_commit_that_another_process_acknowledged_is_missed");
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &test])
            .env(COMMIT_INTO, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Does something at the end, a failed one too.
struct Defer<F: Fn()>(F);

impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
