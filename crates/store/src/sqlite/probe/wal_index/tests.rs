use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use super::*;

/// A database in WAL mode, and a writer that has it open.
fn in_wal_mode() -> (TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let writer = Connection::open(folder.path().join("some.db")).unwrap();
    writer.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (n); INSERT INTO t VALUES (0)").unwrap();
    (folder, writer)
}

fn watched(folder: &TempDir) -> Watched {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Watched::new(Connection::open_with_flags(folder.path().join("some.db"), flags).unwrap())
}

fn files(folder: &TempDir) -> usize {
    folder.path().read_dir().unwrap().count()
}

/// The header of a database in use, and memory that holds two copies of it.
fn whole() -> ([u32; 12], Copies) {
    let (folder, _writer) = in_wal_mode();
    let header = watched(&folder).header().unwrap().0;
    (header, [header.map(AtomicU32::new), header.map(AtomicU32::new)])
}

/// What [`Watched::header`] makes of memory.
fn header_in(copies: &Copies) -> Option<Header> {
    let mut watched = Watched::new(Connection::open_in_memory().unwrap());
    watched.copies = Some(NonNull::from(copies));
    watched.header()
}

#[test]
fn every_commit_shows_and_reading_does_not() {
    let (folder, writer) = in_wal_mode();
    let mut watched = watched(&folder);
    let mut header = watched.header().unwrap();
    for _ in 0..100 {
        let _: i64 = watched.connection().query_row("SELECT n FROM t", [], |row| row.get(0)).unwrap();
        assert!(watched.shows(&header));
        writer.execute("UPDATE t SET n = n + 1", []).unwrap();
        assert!(!watched.shows(&header));
        header = watched.header().unwrap();
    }
}

#[test]
fn what_is_not_committed_does_not_show() {
    let (folder, mut writer) = in_wal_mode();
    let mut watched = watched(&folder);
    let header = watched.header().unwrap();
    let act = writer.transaction().unwrap();
    act.execute("UPDATE t SET n = n + 1", []).unwrap();
    assert!(watched.shows(&header));
    act.rollback().unwrap();
    assert!(watched.shows(&header));
}

#[test]
fn a_header_never_comes_back_after_a_commit_whatever_becomes_of_the_log() {
    let (folder, writer) = in_wal_mode();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let mut watched = watched(&folder);
    let mut headers = vec![watched.header().unwrap()];
    let upkeep = [
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM",
    ];
    for statement in upkeep.iter().cycle().take(40) {
        writer.execute_batch(statement).unwrap();
        writer.execute("UPDATE t SET n = n + 1", []).unwrap();
        let header = watched.header().unwrap();
        assert!(!headers.contains(&header), "after {statement}");
        headers.push(header);
    }
}

#[test]
fn a_header_that_is_not_whole_is_none() {
    let (header, copies) = whole();
    assert_eq!(header_in(&copies), Some(Header(header)));
    for word in 0..12 {
        for copy in 0..2 {
            let (_, copies) = whole();
            copies[copy][word].fetch_xor(1 << 16, Ordering::Relaxed);
            assert_eq!(header_in(&copies), None, "torn in word {word} of copy {copy}");
        }
        let (_, copies) = whole();
        for copy in &copies {
            copy[word].fetch_xor(1 << 16, Ordering::Relaxed);
        }
        assert_eq!(header_in(&copies), None, "against its checksum in word {word}");
    }
}

#[test]
fn a_header_of_another_format_or_not_begun_is_none_though_its_checksum_is_right() {
    let summed = |change: &dyn Fn(&mut [u32; 12])| {
        let (mut header, _) = whole();
        change(&mut header);
        let (mut one, mut two) = (0_u32, 0_u32);
        for pair in 0..5 {
            one = one.wrapping_add(header[2 * pair]).wrapping_add(two);
            two = two.wrapping_add(header[2 * pair + 1]).wrapping_add(one);
        }
        header[10] = one;
        header[11] = two;
        header_in(&[header.map(AtomicU32::new), header.map(AtomicU32::new)])
    };
    assert!(summed(&|_| ()).is_some());
    assert_eq!(summed(&|header| header[0] += 1), None, "another format");
    assert_eq!(summed(&|header| *header = [0; 12]), None, "all zero");
    assert_eq!(
        summed(&|header| {
            let [_, rest @ ..] = header[3].to_ne_bytes();
            header[3] = u32::from_ne_bytes([0, rest[0], rest[1], rest[2]]);
        }),
        None,
        "not begun"
    );
}

#[test]
fn a_torn_header_is_not_the_one_remembered() {
    let (header, copies) = whole();
    let mut watched = Watched::new(Connection::open_in_memory().unwrap());
    watched.copies = Some(NonNull::from(&copies));
    assert!(watched.shows(&Header(header)));
    for word in 0..12 {
        for copy in &copies {
            copy[word].fetch_xor(1, Ordering::Relaxed);
            assert!(!watched.shows(&Header(header)));
            copy[word].fetch_xor(1, Ordering::Relaxed);
        }
    }
    assert!(watched.shows(&Header(header)));
}

#[test]
fn two_equal_copies_were_never_read_in_the_middle_of_a_write() {
    let copies: Arc<Copies> = Arc::new(Default::default());
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (copies, done) = (Arc::clone(&copies), Arc::clone(&done));
        thread::spawn(move || {
            for count in 1..=300_000 {
                // As SQLite writes it: the second copy, a barrier, the first.
                for copy in copies.iter().rev() {
                    for word in copy {
                        word.store(count, Ordering::Relaxed);
                    }
                    fence(Ordering::SeqCst);
                }
            }
            done.store(true, Ordering::Release);
        })
    };
    while !done.load(Ordering::Acquire) {
        let [first, second] = load(&copies);
        assert!(first != second || first == [first[0]; 12], "{first:?}");
    }
    writer.join().unwrap();
    assert_eq!(load(&copies), [[300_000; 12]; 2]);
}

#[test]
fn a_database_without_a_log_has_none_and_gets_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Connection::open(folder.path().join("some.db")).unwrap();
    writer.execute_batch("CREATE TABLE t (n)").unwrap();
    let mut watched = watched(&folder);
    assert_eq!(watched.header(), None);
    let _: i64 = watched.connection().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(watched.header(), None);
    assert_eq!(files(&folder), 1);
}

#[test]
fn a_database_in_memory_or_of_another_file_system_has_none() {
    assert_eq!(Watched::new(Connection::open_in_memory().unwrap()).header(), None);
    let (folder, _writer) = in_wal_mode();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = folder.path().join("some.db");
    let without_shared_memory = Connection::open_with_flags_and_vfs(path, flags, c"unix-none").unwrap();
    assert_eq!(Watched::new(without_shared_memory).header(), None);
}

#[test]
fn shared_memory_that_can_only_be_read_is_not_relied_on() {
    let (folder, writer) = in_wal_mode();
    // As a killed process leaves it: the log and its index, and nobody who writes.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(writer);
    assert_eq!(files(&folder), 3);
    let uri = format!("file:{}?readonly_shm=1", folder.path().join("some.db").display());
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut watched = Watched::new(Connection::open_with_flags(uri, flags).unwrap());
    let read =
        |connection: &Connection| connection.query_row("SELECT n FROM t", [], |row| row.get::<_, i64>(0));
    assert_eq!(read(watched.connection()), Ok(0));
    assert_eq!(watched.header(), None);
    assert_eq!(read(watched.connection()), Ok(0));
}

#[test]
fn the_mapping_is_forgotten_whenever_somebody_else_has_the_connection() {
    let (folder, writer) = in_wal_mode();
    let mut watched = watched(&folder);
    let header = watched.header().unwrap();
    assert!(watched.copies.is_some());
    // The connection that had it mapped is gone, and another is in its place.
    let other = Connection::open_in_memory().unwrap();
    drop(std::mem::replace(watched.connection(), other));
    assert!(watched.copies.is_none());
    assert!(!watched.shows(&header));
    assert_eq!(watched.header(), None);
    drop(writer);
}

#[test]
fn nobody_can_end_the_log_while_it_is_watched() {
    let (folder, writer) = in_wal_mode();
    let mut watched = watched(&folder);
    let header = watched.header().unwrap();
    let end = |connection: &Connection| {
        connection.query_row("PRAGMA journal_mode = delete", [], |row| row.get::<_, String>(0))
    };
    assert!(end(&writer).is_err());
    assert!(watched.shows(&header) || watched.header().is_some());
    // Not even the watcher itself, which cannot write, when it is the last.
    drop(writer);
    assert!(end(watched.connection()).is_err());
    assert!(watched.header().is_some());
    assert_eq!(files(&folder), 3, "the file, its log, the log's index");
}
