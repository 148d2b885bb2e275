#![expect(clippy::disallowed_methods, reason = "x")]
#![allow(warnings)]
use fallgate_domain::{*, clock::*, id::*};
use fallgate_store::*;
use std::time::*;
fn rss() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned() }
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let n: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("fallgate.db");
    let (s, v) = rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap();
    let t = Instant::now();
    {
        let c = rusqlite::Connection::open(&path).unwrap();
        c.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut st = c.prepare("INSERT INTO credential (id, kind, owner, parent, minted_by, name, hint, hash, scopes, created_at, expires_at) VALUES (?1,'token',?2,NULL,'alice','laptop','fgt_abcd',?3,?4,?5,?6)").unwrap();
        let ent = entropy::TestEntropy::default();
        for i in 0..n {
            let at = Timestamp::from_millis(1_800_000_000_000 + i as i64);
            let id = CredentialId::new(at, &ent).unwrap();
            let h = entropy::bytes::<32>(&ent).unwrap();
            let owner = UserId::new(at, &ent).unwrap();
            st.execute((id.bytes(), owner.bytes(), h, if i % 10 == 0 { format!("identity:read route:r{}", i % 5000) } else {"identity:read routes:use sessions:read sessions:attach sessions:write".to_owned()}, at.millis(), at.millis() + 7_776_000_000)).unwrap();
        }
        c.execute_batch("UPDATE state SET revision = revision + 1; COMMIT").unwrap();
    }
    println!("inserted {n} in {:?}; file {} MB", t.elapsed(), std::fs::metadata(&path).unwrap().len() / 1_000_000);
    drop((s, v));
    let t = Instant::now();
    let (s, v) = rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap();
    println!("open {:?} file {} MB", t.elapsed(), std::fs::metadata(&path).unwrap().len() / 1_000_000);
    let t = Instant::now();
    let mut k = 0u64;
    rt.block_on(v.load(&mut |r| { if let Row::Credential(c) = &r { k += u64::from(c.id.bytes()[15]); } })).unwrap();
    println!("load {:?} ({k}) {}", t.elapsed(), rss());
    rt.block_on(async {
        for _ in 0..10000 { v.revision().await.unwrap(); }
        let t = Instant::now();
        for _ in 0..1_000_000 { std::hint::black_box(v.revision().await.unwrap()); }
        println!("revision {:?} each", t.elapsed() / 1_000_000);
        let mut each: Vec<_> = (0..200_000).map(|_| { let t = Instant::now(); std::hint::black_box(futures(&v)); t.elapsed().as_nanos() }).collect();
        fn futures(v: &Vault) { let f = std::pin::pin!(v.revision()); let mut cx = std::task::Context::from_waker(std::task::Waker::noop()); let _ = Future::poll(f, &mut cx); }
        each.sort();
        println!("median {} p99 {}", each[100_000], each[198_000]);
        let t = Instant::now();
        for _ in 0..200 { v.note_uses(&[(CredentialId::from_bytes([0; 16]), credential::LastUse { at: Timestamp::from_millis(1), ip: None, user_agent: None })]).await.unwrap(); }
        println!("note {:?} each", t.elapsed() / 200);
        let ev = || audit::NewEvent { at: Timestamp::from_millis(0), action: audit::Action::TokenMint, actor: "x".into(), credential: None, target: "y".into(), ip: None, detail: Default::default() };
        let mk = |i: i64| { let ent = entropy::SystemEntropy; let at = Timestamp::from_millis(1_900_000_000_000 + i); credential::NewCredential { hash: token::TokenHash::from_bytes(entropy::bytes::<32>(&ent).unwrap()), credential: credential::Credential { id: CredentialId::new(at, &ent).unwrap(), kind: credential::CredentialKind::Token, owner: None, parent: None, minted_by: "x".into(), name: "x".into(), hint: "x".into(), scopes: scope::Scopes::default_for_tokens(), created_at: at, expires_at: None, revoked: None, last_use: None } } };
        let t = Instant::now();
        let mut moved = Duration::ZERO; let mut ch = Duration::ZERO;
        for i in 0..500 {
            let r0 = v.revision().await.unwrap();
            let _ = v.mint(mk(i), ev()).await.unwrap();
            let a = Instant::now(); let r = v.revision().await.unwrap(); moved += a.elapsed(); assert!(r > r0);
            let a = Instant::now(); let c = v.changes_since(r0).await.unwrap(); ch += a.elapsed(); assert_eq!(c.rows.len(), 1);
        }
        println!("mint {:?} each; moved revision {:?}; changes {:?}", t.elapsed() / 500, moved / 500, ch / 500);
        let t = Instant::now();
        let f = CredentialFilter { owner: None, kinds: vec![], with_ended: true, now: Timestamp::from_millis(0) };
        println!("list {} in {:?}", s.credentials(&f).await.unwrap().len(), t.elapsed());
    });
    // two threads
    let t = Instant::now();
    std::thread::scope(|sc| { for _ in 0..2 { sc.spawn(|| { let rt = tokio::runtime::Builder::new_current_thread().build().unwrap(); rt.block_on(async { for _ in 0..500_000 { v.revision().await.unwrap(); } }) }); } });
    println!("two threads: {:?} each", t.elapsed() / 500_000);
}
