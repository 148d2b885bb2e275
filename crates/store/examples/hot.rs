#![expect(clippy::disallowed_methods, reason = "x")]
#![allow(warnings)]
use fallgate_store::*;
use std::time::*;
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("fallgate.db");
    let (s, v) = rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap();
    rt.block_on(async {
        for _ in 0..10000 { v.revision().await.unwrap(); }
        for _ in 0..5 {
        let t = Instant::now();
        for _ in 0..1_000_000 { std::hint::black_box(v.revision().await.unwrap()); }
        println!("revision {:?} each", t.elapsed() / 1_000_000);
        }
    });
}
