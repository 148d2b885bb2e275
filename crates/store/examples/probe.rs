#![expect(clippy::disallowed_methods, reason = "x")]
#![allow(warnings)]
use std::time::*;
use rusqlite::*;
fn med(name: &str, mut f: impl FnMut()) { for _ in 0..10000 { f() } let mut v: Vec<_> = (0..200_000).map(|_| { let t = Instant::now(); f(); t.elapsed().as_nanos() }).collect(); v.sort(); println!("{name}: median {} p99 {}", v[100_000], v[198_000]); }
fn main() {
    let dir = tempfile::tempdir_in(std::env::args().nth(1).unwrap()).unwrap();
    let path = dir.path().join("x.db");
    let w = Connection::open(&path).unwrap();
    w.execute_batch("PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES(1)").unwrap();
    med("nothing", || {});
    med("getppid", || { let _ = std::os::unix::process::parent_id(); });
    med("stat", || { let _ = std::fs::metadata(&path); });
    for ro in [false, true] {
        let flags = if ro { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let c = Connection::open_with_flags(&path, flags).unwrap();
        let mut st = c.prepare("PRAGMA data_version").unwrap();
        med("direct", || { let v: i64 = st.query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
        med("raw", || { let mut rows = st.query([]).unwrap(); let v: i64 = rows.next().unwrap().unwrap().get(0).unwrap(); std::hint::black_box(v); });
        med("cached", || { let v: i64 = c.prepare_cached("PRAGMA data_version").unwrap().query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
        let mut st = c.prepare("SELECT a FROM t").unwrap();
        med("select", || { let v: i64 = st.query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
        med("changes", || { std::hint::black_box(c.is_autocommit()); });
    }
}
