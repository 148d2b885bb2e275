#![expect(clippy::disallowed_methods, unsafe_code, reason = "x")]
#![allow(warnings)]
use std::time::*;
use rusqlite::*;
use std::sync::atomic::*;
fn med(name: &str, mut f: impl FnMut()) { for _ in 0..10000 { f() } let t = Instant::now(); for _ in 0..1_000_000 { f() } println!("{name}: {:?}", t.elapsed() / 1_000_000); }
fn main() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("x.db");
    let w = Connection::open(&path).unwrap();
    w.execute_batch("PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES(1)").unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let c = Connection::open_with_flags(&path, flags).unwrap();
    let _: i64 = c.query_row("SELECT a FROM t", [], |r| r.get(0)).unwrap();
    let p = unsafe {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        let rc = ffi::sqlite3_file_control(c.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, (&raw mut file).cast());
        assert_eq!(rc, 0);
        let mut p: *mut std::ffi::c_void = std::ptr::null_mut();
        let rc = ((*(*file).pMethods).xShmMap.unwrap())(file, 0, 32768, 0, (&raw mut p).cast());
        assert_eq!(rc, 0);
        std::slice::from_raw_parts(p.cast::<AtomicU32>(), 24)
    };
    let read = || -> [u32; 24] { let mut h = [0; 24]; for (a, b) in h.iter_mut().zip(p) { *a = b.load(Ordering::Acquire) } h };
    println!("{:?}", read());
    let h0 = read();
    let o = std::process::Command::new("python3").arg("-c").arg("import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('insert into t values(2)'); c.commit()").arg(&path).status().unwrap();
    println!("{:?} {o}", read());
    assert_ne!(h0, read());
    let h = read();
    med("header", || { assert!(std::hint::black_box(read()) == h); });
    let mut st = c.prepare("PRAGMA data_version").unwrap();
    med("direct", || { let v: i64 = st.query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
    let k = std::thread::spawn(|| std::thread::park());
    med("direct, multi-threaded process", || { let v: i64 = st.query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
    let cs: Vec<_> = (0..3).map(|_| { let c = Connection::open(&path).unwrap(); let _: i64 = c.query_row("SELECT a FROM t", [], |r| r.get(0)).unwrap(); c}).collect();
    med("direct, more connections", || { let v: i64 = st.query_row([], |r| r.get(0)).unwrap(); std::hint::black_box(v); });
}
