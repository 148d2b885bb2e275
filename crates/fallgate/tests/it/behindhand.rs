//! What moved in the store is not kept for ever: a gate forgets what is old, and one that was stopped for too long to be
//! told what moved reads everything.

use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Client, Gate, Home, Token, WebSocket, WebSocketUpstream, wait_for};

fn database(home: &Home) -> Connection {
    let connection = Connection::open(home.path().join("fallgate.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

fn rows(home: &Home) -> i64 {
    database(home).query_row("SELECT count(*) FROM change", [], |row| row.get(0)).unwrap()
}

fn whoami(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

#[test]
fn what_moved_long_ago_is_forgotten_while_the_gate_runs() {
    let home = Home::new();
    let token = home.token("ada");
    database(&home)
        .execute_batch(
            "BEGIN;
             WITH RECURSIVE later (revision) AS (SELECT revision + 1 FROM state UNION ALL
                 SELECT revision + 1 FROM later LIMIT 14000)
             INSERT INTO change (revision, kind, id) SELECT revision, 'credential', randomblob(16) FROM later;
             UPDATE state SET revision = revision + 14000;
             COMMIT;",
        )
        .unwrap();
    assert!(rows(&home) > 14_000);
    let gate = Gate::on(home, "");
    wait_for("the end of what is old", || (rows(&gate) <= 10_000).then_some(()));
    assert!(rows(&gate) > 9_900, "no more than that");
    assert_eq!(whoami(&gate, &token), 200);
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(whoami(&gate, &token), 401);
}

#[test]
fn r35_r57_a_gate_that_cannot_be_told_what_moved_reads_everything_and_closes_what_has_ended() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let [revoked, deleted, purged, kept] = ["ada", "bob", "ada", "ada"].map(|name| gate.token(name));
    let open = |token: &Token| WebSocket::open(gate.address(), "/app/", Some(token)).unwrap();
    let mut ended = [&revoked, &deleted, &purged].map(open);
    let mut other = open(&kept);
    gate.signal(Signal::STOP);
    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    gate.fallgate(&["user", "delete", "bob", "--yes"]).ok();
    let cut = gate.fallgate(&["cut", "route:other", "--json"]);
    assert_eq!(cut.code, Some(0), "{}", cut.stderr);
    let late = gate.token("eve");
    gate.fallgate(&["token", "revoke", &purged.id]).ok();
    let connection = database(&gate);
    // As if it had ended long ago, and everything had moved on since.
    let names = connection
        .execute("DELETE FROM credential WHERE revoked_at IS NOT NULL AND owner = (SELECT owner FROM credential WHERE lower(hex(id)) = replace(?1, '-', ''))", [&kept.id])
        .unwrap();
    assert!(names >= 1, "nothing was purged");
    connection.execute("DELETE FROM change", []).unwrap();
    drop(connection);
    gate.signal(Signal::CONT);
    for stream in &mut ended {
        assert_eq!(stream.close_code(), Some(4401));
    }
    for token in [&revoked, &deleted, &purged] {
        assert_eq!(whoami(&gate, token), 401);
    }
    for token in [&kept, &late] {
        assert_eq!(whoami(&gate, token), 200);
    }
    other.echo("still here?");
    // From here on it is told what moves again.
    gate.fallgate(&["token", "revoke", &kept.id]).ok();
    assert_eq!(other.close_code(), Some(4401));
}
