//! What was sealed and changed since: it is found at the start and at its use, said clearly, and nothing is lost by it.

use rusqlite::{Connection, params};

use super::{database, hex};
use crate::support::{Client, Gate, Home, Jwks, Upstream, Worker, wait_for};

const SCOPES: [&str; 2] = ["identity:read", "routes:use"];
const AUDIENCE: [&str; 2] = ["fallgate", "route:app"];
const BROKEN: &str = "in the store was changed since it was sealed: restore the store from a backup";

/// A row's id and what is sealed in it.
type Sealed = (Vec<u8>, Vec<u8>);

/// Of the key that signs, then of the others.
fn signing_keys(home: &Home) -> Vec<Sealed> {
    let connection = Connection::open(database(home)).unwrap();
    let all = "SELECT id, sealed FROM signing_key ORDER BY retired_at IS NOT NULL, created_at DESC";
    let mut statement = connection.prepare(all).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// As somebody with a database editor would.
fn put(home: &Home, rows: &[Sealed]) {
    let connection = Connection::open(database(home)).unwrap();
    for (id, sealed) in rows {
        let update = "UPDATE signing_key SET sealed = ?2 WHERE id = ?1";
        assert_eq!(connection.execute(update, params![id, sealed]).unwrap(), 1);
    }
}

/// The same seals, each in the other's row.
fn swapped(rows: &[Sealed]) -> Vec<Sealed> {
    let [(one, first), (other, second)] = rows else { panic!("{} signing keys", rows.len()) };
    vec![(one.clone(), second.clone()), (other.clone(), first.clone())]
}

#[test]
fn a_signing_key_in_anothers_row_signs_nothing_and_is_found_at_the_start() {
    let upstream = Upstream::echo();
    let config = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nidentity = \"assertion\"\n",
        upstream.url()
    );
    let gate = Gate::configured(&config);
    let worker = gate.worker("ada", &SCOPES, &AUDIENCE);
    gate.fallgate(&["key", "rotate-signing"]).ok();
    let status = |gate: &Gate, path| Client::get(gate.address(), path, Some(&worker.token)).status;
    assert_eq!(status(&gate, "/app/"), 200);
    let good = signing_keys(&gate);
    let bad = swapped(&good);
    put(&gate, &bad);
    // Whatever changes lets the gate look at its keys again.
    gate.token("ada");
    assert_eq!(gate.renew_worker(&worker.token).status, 503);
    assert_eq!(status(&gate, "/app/"), 503, "nothing goes up without a signed word");
    assert_eq!(status(&gate, "/api/whoami"), 200, "what needs no seal goes on");
    assert!(Jwks::of(&gate).have_signed(&worker.token.secret));
    let why = format!("a signing key {BROKEN}");
    wait_for("a word in the log", || gate.log().contains(&why).then_some(()));
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let acts = [&["key", "rotate-signing"][..], &["key", "rotate"], &["agent", "token", "ada"]];
    for arguments in acts {
        assert_eq!(gate.fallgate(arguments).refused(1), why);
    }
    let home = gate.kill();
    assert_eq!(home.fallgate(&serve).refused(1), why);
    assert_eq!(signing_keys(&home), bad, "nothing was made good or worse");
    // Who must be shut out can be.
    let last = home.token("ada");
    home.fallgate(&["token", "revoke", &last.id]).ok();

    put(&home, &good);
    let gate = Gate::on(home, &config);
    assert_eq!((status(&gate, "/app/"), status(&gate, "/api/whoami")), (200, 200));
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&last)).status, 401);
    Worker::token_of(&gate.renew_worker(&worker.token));
}

#[test]
fn every_way_to_change_a_seal_is_found_before_anything_is_sealed_or_signed() {
    let (home, other) = (Gate::start().kill(), Gate::start().kill());
    for home in [&home, &other] {
        home.fallgate(&["key", "rotate-signing"]).ok();
    }
    let good = signing_keys(&home);
    let whole = &good[0].1;
    let check_value: Vec<u8> = Connection::open(database(&home))
        .unwrap()
        .query_row("SELECT check_value FROM root_key", [], |row| row.get(0))
        .unwrap();
    let id_of_another = [&whole[..1], &[0x5a; 8], &whole[9..]].concat();
    let bit = [&whole[..40], &[whole[40] ^ 1], &whole[41..]].concat();
    for (what, sealed) in [
        ("a shortened tag", whole[..whole.len() - 1].to_vec()),
        ("no tag", whole[..whole.len() - 16].to_vec()),
        ("a byte more", [&whole[..], &[0]].concat()),
        ("nothing", Vec::new()),
        ("its spelling", hex(whole).into_bytes()),
        ("another version", [&[2], &whole[1..]].concat()),
        ("another root key's id", id_of_another),
        ("another purpose", check_value),
        ("another row's", good[1].1.clone()),
        ("another store's", signing_keys(&other)[0].1.clone()),
        ("another bit", bit),
    ] {
        let bad = [(good[0].0.clone(), sealed), good[1].clone()];
        put(&home, &bad);
        for arguments in
            [&["key", "rotate-signing", "--now"][..], &["key", "rotate"], &["key", "rotate", "--confirm"]]
        {
            assert_eq!(home.fallgate(arguments).refused(1), format!("a signing key {BROKEN}"), "{what}");
        }
        assert_eq!(signing_keys(&home), bad, "{what}");
    }
    put(&home, &good);
    // The root key's own.
    let tamper = |sql: &str| Connection::open(database(&home)).unwrap().execute(sql, []).unwrap();
    tamper("UPDATE root_key SET check_value = (SELECT sealed FROM signing_key WHERE retired_at IS NULL)");
    let line = home.fallgate(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert_eq!(line, format!("the check value of the root key {BROKEN}"));
}
