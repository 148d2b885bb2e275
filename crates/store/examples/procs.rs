#![expect(clippy::disallowed_methods, reason = "x")]
#![allow(warnings)]
use fallgate_domain::{*, clock::*, id::*};
use fallgate_store::*;
use std::time::*;
use std::process::*;
fn ev() -> audit::NewEvent { audit::NewEvent { at: Timestamp::from_millis(0), action: audit::Action::TokenMint, actor: "x".into(), credential: None, target: "y".into(), ip: None, detail: Default::default() } }
fn mk(i: i64) -> credential::NewCredential { let ent = entropy::SystemEntropy; let at = Timestamp::from_millis(1_900_000_000_000 + i); credential::NewCredential { hash: token::TokenHash::from_bytes(entropy::bytes::<32>(&ent).unwrap()), credential: credential::Credential { id: CredentialId::new(at, &ent).unwrap(), kind: credential::CredentialKind::Token, owner: None, parent: None, minted_by: "x".into(), name: "x".into(), hint: "x".into(), scopes: scope::Scopes::default_for_tokens(), created_at: at, expires_at: None, revoked: None, last_use: None } } }
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let args: Vec<String> = std::env::args().collect();
    let me = std::env::current_exe().unwrap();
    if args.len() > 2 {
        let (s, v) = match rt.block_on(open(&Location::Sqlite(args[2].clone().into()))) { Ok(x) => x, Err(e) => { println!("OPEN FAILED {e}"); exit(3) } };
        let n: i64 = args[1].parse().unwrap();
        rt.block_on(async {
            for i in 0..n { let n = mk(i); let id = n.credential.id; match v.mint(n, ev()).await { Ok(Minted::Minted(r)) => { if args.len() > 3 { println!("{id}"); } assert!(v.revision().await.unwrap() >= r); } e => { println!("MINT FAILED {e:?}"); exit(4) } } }
        });
        drop((s, v));
        return;
    }
    for round in 0..30 {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = dir.path().join("fallgate.db");
        let t = Instant::now();
        let kids: Vec<_> = (0..6).map(|_| Command::new(&me).arg("5").arg(&path).spawn().unwrap()).collect();
        for mut k in kids { assert!(k.wait().unwrap().success(), "round {round}"); }
        let (s, v) = rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap();
        assert_eq!(rt.block_on(v.revision()).unwrap().0, 30);
        if round % 10 == 0 { println!("round {round} {:?}", t.elapsed()); }
        // live daemon, another process beside
        let k = Command::new(&me).arg("5").arg(&path).status().unwrap(); assert!(k.success());
        assert_eq!(rt.block_on(v.revision()).unwrap().0, 35);
        assert_eq!(rt.block_on(s.events(None, 100)).unwrap().len(), 35);
    }
    println!("kills");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("fallgate.db");
    let live = if args.len() > 1 { Some(rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap()) } else { None };
    let mut acked = Vec::new();
    for round in 0..150 {
        let mut kids: Vec<_> = (0..2).map(|_| Command::new(&me).arg("100000").arg(&path).arg("say").stdout(Stdio::piped()).spawn().unwrap()).collect();
        let t = Instant::now();
        while t.elapsed() < Duration::from_millis(5 + (round * 7) % 60) { if let Some((_, v)) = &live { rt.block_on(v.revision()).unwrap(); } }
        for k in &mut kids { k.kill().unwrap(); }
        for k in kids { let o = k.wait_with_output().unwrap(); let t = String::from_utf8(o.stdout).unwrap(); for l in t.lines() { if l.len() == 36 { acked.push(l.to_owned()); } else if l.contains("FAILED") { panic!("{l}") } } }
    }
    let (s, v) = rt.block_on(open(&Location::Sqlite(path.clone()))).unwrap();
    let mut have = std::collections::HashSet::new();
    let r = rt.block_on(v.load(&mut |row| if let Row::Credential(c) = row { have.insert(c.id.to_string()); })).unwrap();
    println!("acked {} have {} revision {r:?}", acked.len(), have.len());
    for a in &acked { assert!(have.contains(a)); }
    assert_eq!(r.0 as usize, have.len());
    if let Some((_, v)) = &live { assert_eq!(rt.block_on(v.revision()).unwrap(), r); }
    let ev = rt.block_on(s.events(None, u32::MAX)).unwrap(); assert_eq!(ev.len(), have.len());
    for w in ev.windows(2) { assert_eq!(w[0].prev, w[1].hash); assert_eq!(w[0].computed_hash(), w[0].hash); }
    println!("fine");
}
