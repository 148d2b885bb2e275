//! What cannot be done is answered 503 and leaves nothing behind, whatever it failed at.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    Client, Gate, Home, PASSPHRASE, PATIENCE, SignIn, Token, ignoring_full_disks, wait_for,
};

/// What requests make: start line, whether by the admin's token, body.
fn makers() -> [(&'static str, bool, Value); 4] {
    let passphrase = "seven staples of my batteries";
    [
        ("POST /api/tokens", true, json!({"name": "half-made"})),
        ("POST /api/tokens", true, json!({"name": "half-made", "username": "ada"})),
        ("POST /api/login", false, json!({"username": "ada", "passphrase": PASSPHRASE})),
        ("POST /api/users", true, json!({"username": "half-made", "passphrase": passphrase})),
    ]
}

/// How many rows each table has that a request could have added to, without what is noted of uses.
fn rows(home: &Home) -> Vec<(String, i64)> {
    let database = Connection::open(home.path().join("fallgate.db")).unwrap();
    let mut named =
        database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |table: String| {
        let count = database.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0));
        (table, count.unwrap())
    };
    tables.into_iter().map(count).collect()
}

/// While nothing can be written: whatever would make something says so, and makes nothing.
fn makes_nothing(gate: &Gate, admin: &Token, login: &SignIn) {
    let before = rows(gate);
    for (line, by_admin, body) in makers() {
        let headers = if by_admin { admin.header() } else { String::new() };
        let answer = gate.ask(line, &headers, &body);
        assert_eq!(answer.status, 503, "{line}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("set-cookie"), None, "{line}");
        assert!(!answer.text().contains("fgt_") && !answer.text().contains("fgl_"), "{}", answer.text());
        assert_eq!(rows(gate), before, "{line} has left something behind");
    }
    // Whoever was good before it is good still.
    let me = |headers: &str| gate.ask("GET /api/whoami", headers, &Value::Null).status;
    assert_eq!((me(&admin.header()), me(&login.cookie())), (200, 200));
}

/// A gate that has everybody, the token of its admin, and a sign-in.
fn peopled() -> (Gate, Token, SignIn) {
    let home = Home::new();
    home.admin("root");
    home.user("ada");
    let gate = Gate::started(home, "", ignoring_full_disks);
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let login = gate.sign_in("ada");
    assert_eq!(gate.ask("GET /api/whoami", &admin.header(), &Value::Null).status, 200);
    (gate, admin, login)
}

/// All of it can be done once the fault is gone.
fn makes_all_again(gate: &Gate, admin: &Token) {
    for (line, by_admin, body) in makers() {
        let headers = if by_admin { admin.header() } else { String::new() };
        let answer = gate.ask(line, &headers, &body);
        assert!([200, 201].contains(&answer.status), "{line}: {}", answer.text());
    }
    gate.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn r9_what_cannot_be_written_to_a_full_disk_is_answered_503_and_leaves_no_row() {
    let (gate, admin, login) = peopled();
    gate.limit_files(Some(0));
    makes_nothing(&gate, &admin, &login);
    gate.limit_files(None);
    makes_all_again(&gate, &admin);
}

#[test]
fn r9_what_waits_for_the_store_too_long_is_answered_503_and_leaves_no_row() {
    let (gate, admin, login) = peopled();
    let before = rows(&gate);
    let holder = Connection::open(gate.path().join("fallgate.db")).unwrap();
    // Somebody else writes, and does not come to an end. A writer waits for about fifteen seconds.
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = json!({"name": "half-made"}).to_string();
    let mut client = Client::connect(gate.address());
    client.wait_up_to(4 * PATIENCE);
    client.send(format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        admin.header(),
        body.len()
    ));
    // Meanwhile decisions are made: they only read.
    assert_eq!(gate.ask("GET /api/whoami", &login.cookie(), &Value::Null).status, 200);
    let answer = client.response();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.text().contains("fgt_"), "{}", answer.text());
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rows(&gate), before);
    makes_all_again(&gate, &admin);
}

#[test]
fn r9_a_store_that_cannot_be_read_lets_nobody_in_and_is_told_by_health() {
    let (gate, admin, login) = peopled();
    std::fs::remove_file(gate.path().join("fallgate.db")).unwrap();
    let status = |line: &str, headers: &str| gate.ask(line, headers, &Value::Null).status;
    // Looked at twice a second.
    wait_for("the gate to notice", || gate.log().contains("cannot read the store").then_some(()));
    assert_eq!(status("GET /health", ""), 503);
    for headers in [admin.header(), login.cookie(), login.bearer()] {
        for line in ["GET /api/whoami", "GET /api/tokens", "GET /nothing"] {
            assert_eq!(status(line, &headers), 503, "{line}");
        }
    }
    let sign_in = gate.try_sign_in("ada", PASSPHRASE);
    assert_eq!((sign_in.status, sign_in.header("set-cookie")), (503, None), "{}", sign_in.text());
    assert_eq!(gate.ask("POST /api/tokens", &admin.header(), &json!({"name": "x"})).status, 503);
}
