//! What keeps the house, from outside: restored backups, purges, unused tokens, counted uses and refusals, and ends that
//! cannot be written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::token::{PlainToken, TokenKind};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Clerk, Client, Gate, Home, Response, Run, Token, Upstream, WebSocket, WebSocketUpstream,
    ignoring_full_disks, wait_for,
};

fn whoami(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

/// Stops the gate in good order and gives its home back.
fn stopped(mut gate: Gate) -> Home {
    gate.signal(Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    gate.kill()
}

/// As its owner would make it.
fn make_folder(home: &Home) {
    DirBuilder::new().mode(0o700).create(home.path()).unwrap();
}

/// The events of an action, newest first.
fn events(home: &Home, action: &str) -> Vec<Value> {
    let listed = home.fallgate(&["audit", "list", "--action", action, "--json"]).ok().json();
    listed["events"].as_array().unwrap().clone()
}

/// The highest revision that the file beside the database says.
fn reached(home: &Home) -> u64 {
    let bytes = fs::read(home.path().join("revision")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).max().unwrap()
}

/// A home with two users, a token of each, and a backup of that; then one token is revoked and one user deleted.
struct Lost {
    home: Home,
    backup: PathBuf,
    kept: Token,
    revoked: Token,
}

impl Lost {
    fn home() -> Self {
        let home = Home::new();
        let (kept, revoked) = (home.token("ada"), home.token("ada"));
        home.user("bob");
        let backup = home.beside().join("backup.db");
        home.fallgate(&["store", "backup", backup.to_str().unwrap()]).ok();
        home.fallgate(&["token", "revoke", &revoked.id]).ok();
        home.fallgate(&["user", "delete", "bob", "--yes"]).ok();
        Self { home, backup, kept, revoked }
    }

    /// As the documentation says.
    fn restore(&self) {
        for log in ["fallgate.db-wal", "fallgate.db-shm"] {
            let _ = fs::remove_file(self.home.path().join(log));
        }
        fs::copy(&self.backup, self.home.path().join("fallgate.db")).unwrap();
    }
}

#[test]
fn r43_a_database_restored_from_a_backup_does_not_start_until_accepted_and_then_no_credential_of_it_works() {
    let lost = Lost::home();
    let mode = fs::metadata(&lost.backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    lost.restore();
    let home = &lost.home;
    let before = fs::read(home.path().join("fallgate.db")).unwrap();
    for command in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["token", "list"],
        &["token", "create", "--username", "ada"],
        &["user", "list"],
        &["audit", "verify"],
        &["store", "sweep"],
    ] {
        let refused = home.fallgate(command).refused(1);
        assert!(refused.contains("is an older copy"), "{refused}");
        assert!(refused.contains("fallgate store restore --accept"), "{refused}");
    }
    assert!(fs::read(home.path().join("fallgate.db")).unwrap() == before, "a refused database was changed");
    // To accept it must be said.
    assert_eq!(home.fallgate(&["store", "restore"]).code, Some(2));

    // The machine's own token may be an old one, too.
    fs::write(home.path().join("internal-token"), "00".repeat(32)).unwrap();
    let accepted = home.fallgate(&["store", "restore", "--accept"]).ok();
    assert!(accepted.stderr.contains("Ended 2 tokens and 0 sign-ins"), "{}", accepted.stderr);
    assert!(!home.path().join("internal-token").exists());
    assert_eq!(home.usernames(), ["ada", "bob"], "users are as they were");
    assert_eq!(events(home, "store.restore").len(), 1);
    home.fallgate(&["audit", "verify"]).ok();
    let fresh = home.token("ada");
    let gate = Gate::on(lost.home, "");
    assert_eq!((whoami(&gate, &lost.kept), whoami(&gate, &lost.revoked)), (401, 401));
    assert_eq!(whoami(&gate, &fresh), 200);
    let refused = gate.fallgate(&["store", "restore", "--accept"]).refused(1);
    assert!(refused.starts_with("another fallgate serves "), "{refused}");
    assert_eq!(whoami(&gate, &fresh), 200);
}

#[test]
fn a_home_elsewhere_is_named_in_the_command_that_accepts_it() {
    let lost = Lost::home();
    lost.restore();
    let home = lost.home.path();
    let mut command = lost.home.command(&["user", "list", "--home", home.to_str().unwrap()]);
    command.env_remove("FALLGATE_HOME");
    let refused = Run::of(command, b"").refused(1);
    assert!(refused.contains(&format!("store restore --accept --home {}", home.display())), "{refused}");
}

#[test]
fn a_backup_put_into_a_new_folder_does_not_pass_for_a_home() {
    let lost = Lost::home();
    let elsewhere = Home::new();
    make_folder(&elsewhere);
    fs::copy(&lost.backup, elsewhere.path().join("fallgate.db")).unwrap();
    let refused = elsewhere.fallgate(&["user", "list"]).refused(1);
    assert!(refused.contains("cannot be told from an older copy"), "{refused}");
    elsewhere.fallgate(&["store", "restore", "--accept"]).ok();
    let gate = Gate::on(elsewhere, "");
    assert_eq!((whoami(&gate, &lost.kept), whoami(&gate, &lost.revoked)), (401, 401));
}

#[test]
fn a_garbled_revision_file_is_told_and_not_guessed_at() {
    let home = Home::new();
    let token = home.token("ada");
    let path = home.path().join("revision");
    let good = fs::read(&path).unwrap();
    fs::write(&path, "7\n").unwrap();
    let refused = home.fallgate(&["serve"]).refused(1);
    assert!(refused.contains(path.to_str().unwrap()) && refused.contains("cannot be read"), "{refused}");
    fs::write(&path, good).unwrap();
    assert_eq!(whoami(&Gate::on(home, ""), &token), 200);
}

#[test]
fn a_backup_overwrites_nothing() {
    let home = Home::new();
    home.user("ada");
    let there = home.beside().join("there");
    fs::write(&there, "precious").unwrap();
    let refused = home.fallgate(&["store", "backup", there.to_str().unwrap()]).refused(1);
    assert!(refused.contains("is there already"), "{refused}");
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    let nowhere = home.beside().join("no/where");
    let refused = home.fallgate(&["store", "backup", nowhere.to_str().unwrap()]).refused(1);
    assert!(refused.starts_with(&format!("the backup {} cannot be written", nowhere.display())), "{refused}");
}

#[test]
fn r43_a_gate_killed_between_the_commit_of_a_revoke_and_its_revision_file_starts_again_and_refuses() {
    let gate = Gate::start();
    let (revoked, kept) = (gate.token("ada"), gate.token("ada"));
    let file = gate.path().join("revision");
    let before = fs::read(&file).unwrap();
    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    assert!(fs::read(&file).unwrap() != before, "acknowledged before it was in the file");
    let home = gate.kill();
    // The commit comes first, so this is what is left behind.
    fs::write(&file, before).unwrap();
    let gate = Gate::on(home, "");
    assert_eq!((whoami(&gate, &revoked), whoami(&gate, &kept)), (401, 200));
    // And the gate makes good for it.
    wait_for("the revision", || (reached(&gate) >= 4).then_some(()));
}

#[test]
fn r43_of_processes_that_take_away_at_once_the_highest_revision_stays() {
    let gate = Gate::start();
    gate.user("ada");
    let clerk = Clerk::of(&gate);
    let tokens: Vec<_> = (0..24).map(|_| clerk.mint("ada")).collect();
    // Whatever was done until now, what takes something away says how far it has come.
    clerk.revoke(&clerk.mint("ada"));
    let before = reached(&gate);
    thread::scope(|scope| {
        for tokens in tokens.chunks(8) {
            let gate = &gate;
            scope.spawn(move || {
                for token in tokens {
                    gate.fallgate(&["token", "revoke", &token.id]).ok();
                }
            });
        }
    });
    assert_eq!(reached(&gate), before + 24);
    assert!(tokens.iter().all(|token| whoami(&gate, token) == 401));
}

#[test]
fn r34_tokens_that_nobody_used_for_a_year_are_revoked_and_that_is_told() {
    let home = Home::new();
    home.user("ada");
    let long_ago = Clerk::days_ago(&home, 400);
    let (unused, used) =
        (long_ago.mint_for("ada", Lifetime::Never), long_ago.mint_for("ada", Lifetime::Never));
    let young = Clerk::days_ago(&home, 300).mint_for("ada", Lifetime::Never);
    drop(long_ago);
    let gate = Gate::on(home, "");
    // In the first second: what is not written down yet counts too.
    assert_eq!(whoami(&gate, &used), 200);
    wait_for("the end of the unused token", || (status_of(&gate, &unused) == "revoked").then_some(()));
    assert_eq!((whoami(&gate, &used), whoami(&gate, &young)), (200, 200));
    assert_eq!(whoami(&gate, &unused), 401);
    let event = &events(&gate, "token.revoke")[0];
    assert_eq!((&event["actor"], &event["target"]), (&json!("internal"), &json!(unused.id)));
    assert_eq!(event["detail"]["reason"], "unused for 365 days");
    assert!(gate.log().contains("unused for 365 days"), "{}", gate.log());
}

/// A token's status, without using it.
fn status_of(gate: &Gate, token: &Token) -> String {
    let inspected = gate.fallgate_with(&["token", "inspect", "--json"], &token.secret).ok().json();
    inspected["status"].as_str().unwrap().to_owned()
}

#[test]
fn r35_what_ended_long_ago_is_swept_by_the_gate_and_by_hand_and_nothing_else() {
    let home = Home::new();
    home.user("ada");
    let day = Lifetime::For(Duration::from_secs(86_400));
    let (long_ago, lately) = (Clerk::days_ago(&home, 60), Clerk::days_ago(&home, 20));
    let old: Vec<_> = (0..12).map(|_| long_ago.mint_for("ada", day)).collect();
    let revoked = long_ago.mint_for("ada", Lifetime::Never);
    long_ago.revoke(&revoked);
    let (ended, good) = (lately.mint_for("ada", day), lately.mint_for("ada", Lifetime::Never));
    drop((long_ago, lately));
    let ids = |home: &Home| -> BTreeSet<String> {
        let listed = home.fallgate(&["token", "list", "--all", "--json"]).ok().json();
        let tokens = listed["tokens"].as_array().unwrap().clone();
        tokens.iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&home).len(), old.len() + 3);
    let copy = home.beside().join("copy.db");
    home.fallgate(&["store", "backup", copy.to_str().unwrap()]).ok();
    let swept = home.fallgate(&["store", "sweep"]).ok().stderr;
    assert!(swept.contains("Took away 13 credentials"), "{swept}");
    let left = BTreeSet::from([ended.id.clone(), good.id.clone()]);
    assert_eq!(ids(&home), left);
    assert_eq!(events(&home, "store.sweep")[0]["detail"]["purged"], 13);
    assert!(home.fallgate(&["store", "sweep"]).ok().stderr.contains("Took away 0 credentials"));

    // The same by a gate, on what there was before: nothing was taken away by it.
    let again = Home::new();
    make_folder(&again);
    fs::copy(&copy, again.path().join("fallgate.db")).unwrap();
    fs::copy(home.path().join("revision"), again.path().join("revision")).unwrap();
    let gate = Gate::on(again, "");
    wait_for("the sweep", || (ids(&gate) == left).then_some(()));
    assert_eq!((whoami(&gate, &good), whoami(&gate, &old[0])), (200, 401));
    assert_eq!(events(&gate, "store.sweep")[0]["actor"], "internal");
}

#[test]
fn r31_r35_all_tokens_of_somebody_end_at_once_while_others_go_on() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let other = gate.token("bob");
    let clerk = Clerk::of(&gate);
    let tokens: Vec<_> = (0..200).map(|_| clerk.mint("ada")).collect();
    let mut streams: Vec<_> = tokens[..8]
        .iter()
        .map(|token| WebSocket::open(gate.address(), "/app/", Some(token)).unwrap())
        .collect();
    let mut others = WebSocket::open(gate.address(), "/app/", Some(&other)).unwrap();
    let revoked = thread::scope(|scope| {
        let revoking =
            scope.spawn(|| gate.fallgate(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok());
        while !revoking.is_finished() {
            assert_eq!(whoami(&gate, &other), 200);
        }
        revoking.join().unwrap()
    });
    assert!(revoked.stderr.contains("200 tokens"), "{}", revoked.stderr);
    assert!(tokens.iter().all(|token| whoami(&gate, token) == 401));
    assert!(streams.iter_mut().all(|stream| stream.close_code() == Some(4401)));
    others.echo("still here?");
    // What is minted after it is good, and so it is after a restart.
    let late = clerk.mint("ada");
    assert_eq!(whoami(&gate, &late), 200);
    drop(clerk);
    let gate = Gate::on(gate.kill(), "");
    assert!(tokens.iter().all(|token| whoami(&gate, token) == 401));
    assert_eq!((whoami(&gate, &late), whoami(&gate, &other)), (200, 200));
}

#[test]
fn r33_r38_refusals_look_the_same_to_the_client_and_are_told_apart_in_the_audit_trail() {
    let upstream = Upstream::echo();
    let config = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nallow = [\"user:bob\"]\n",
        upstream.url()
    );
    let gate = Gate::configured(&config);
    let good = gate.token("ada");
    let revoked = gate.token("ada");
    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    let expired = gate.token_with("ada", &["--expires", "1s"]);
    wait_for("the token's end", || (status_of(&gate, &expired) == "expired").then_some(()));
    let disabled = gate.token("eve");
    gate.fallgate(&["user", "disable", "eve"]).ok();
    let token = |secret: &str| Token { id: String::new(), secret: secret.to_owned() };
    let unknown = token(PlainToken::new(TokenKind::Token, &[0x5a; 32]).expose());
    let mut garbled = good.secret.clone();
    garbled.replace_range(10..12, "zz");
    let mut bodies = Vec::new();
    for (bad, times) in [(&revoked, 3), (&expired, 2), (&disabled, 1), (&unknown, 4), (&token(&garbled), 1)] {
        for target in ["/api/whoami", "/app/"] {
            for _ in 0..times {
                let answer = Client::get(gate.address(), target, Some(bad));
                assert_eq!(answer.status, 401);
                bodies.push(answer.body);
            }
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the client could tell them apart");
    assert_eq!(Client::get(gate.address(), "/app/", Some(&good)).status, 403);
    assert_eq!(Client::get(gate.address(), "/api/audit", Some(&good)).status, 403);
    assert_eq!(Client::get(gate.address(), "/api/logins", Some(&good)).status, 403);
    assert_eq!(Client::get(gate.address(), "/app/", None).status, 401);
    let home = stopped(gate);

    let told: BTreeMap<String, (Value, Value, Value)> = events(&home, "access.refused")
        .into_iter()
        .map(|event| {
            assert_eq!((&event["target"], &event["ip"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
            let detail = event["detail"].clone();
            let reason = detail["reason"].as_str().unwrap().to_owned();
            (reason, (detail["count"].clone(), event["credential"].clone(), detail["credentials"].clone()))
        })
        .collect();
    let known = |count: u64, token: &Token| (json!(count), json!(token.id), json!([token.id]));
    let expected = BTreeMap::from([
        ("revoked".to_owned(), known(6, &revoked)),
        ("expired".to_owned(), known(4, &expired)),
        ("owner-disabled".to_owned(), known(2, &disabled)),
        ("unknown".to_owned(), (json!(8), Value::Null, Value::Null)),
        ("malformed".to_owned(), (json!(2), Value::Null, Value::Null)),
        ("not-admitted".to_owned(), known(1, &good)),
        ("beyond-scope".to_owned(), known(1, &good)),
        ("no-sign-in".to_owned(), known(1, &good)),
    ]);
    assert_eq!(told, expected);
    home.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn r32_uses_are_counted_and_a_clean_stop_writes_down_the_last_of_them() {
    let gate = Gate::start();
    let token = gate.token("ada");
    for _ in 0..7 {
        assert_eq!(whoami(&gate, &token), 200);
    }
    let home = stopped(gate);
    let inspected = home.fallgate_with(&["token", "inspect"], &token.secret).ok().stdout;
    let uses = inspected.lines().find_map(|line| line.strip_prefix("uses")).unwrap();
    assert_eq!(uses.trim(), "7");
    let listed = home.fallgate(&["token", "list", "--json"]).ok().json();
    assert_eq!(listed["tokens"][0]["last_used_ip"], "127.0.0.1");
}

#[test]
fn a_database_replaced_under_a_running_gate_ends_open_streams_too() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut stream = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    stream.echo("open");
    let (database, copy) = (gate.path().join("fallgate.db"), gate.path().join("fallgate.copy"));
    fs::copy(&database, &copy).unwrap();
    fs::rename(&copy, &database).unwrap();
    assert_eq!(stream.close_code(), Some(4401));
    assert_eq!(whoami(&gate, &token), 503);
}

/// One request with an admin's token, whose answer must be that it could not be written down.
fn unwritten(gate: &Gate, admin: &Token, start: &str, body: &str) {
    let answer = request(gate, admin, start, body);
    assert_eq!(answer.status, 503, "{start}: {}", answer.text());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("could not be written down"), "{start}: {detail}");
}

fn request(gate: &Gate, admin: &Token, start: &str, body: &str) -> Response {
    let length = body.len();
    Client::exchange(
        gate.address(),
        format!(
            "{start} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            admin.header()
        ),
    )
}

#[test]
fn r46_an_end_that_cannot_be_written_down_still_ends_what_is_open_here_and_says_what_it_could_not_do() {
    let upstream = WebSocketUpstream::echo();
    let home = Home::new();
    home.admin("root");
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let gate = Gate::started(home, &config, ignoring_full_disks);
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let held = gate.token("dora");
    let [one, of_all, disabled, deleted] = ["ada", "bob", "carl", "eve"].map(|name| gate.token(name));
    let kept = gate.token("fred");
    let open = |token: &Token| WebSocket::open(gate.address(), "/app/", Some(token)).unwrap();
    let mut streams = [&one, &held, &of_all, &disabled, &deleted].map(open);
    let mut others = open(&kept);
    // Everything above is written and read; from here on nothing can be.
    assert_eq!(whoami(&gate, &admin), 200);
    gate.limit_files(Some(0));
    unwritten(&gate, &admin, &format!("DELETE /api/tokens/{}", one.id), "");
    unwritten(&gate, &admin, "POST /api/tokens/revoke", &format!(r#"{{"token":"{}"}}"#, held.secret));
    unwritten(&gate, &admin, "DELETE /api/tokens?username=bob", "");
    unwritten(&gate, &admin, "PATCH /api/users/carl", r#"{"disabled":true}"#);
    unwritten(&gate, &admin, "DELETE /api/users/eve", "");
    for stream in &mut streams {
        assert_eq!(stream.close_code(), Some(4401));
    }
    others.echo("still here?");
    for token in [&one, &held, &of_all, &disabled, &deleted] {
        assert_eq!(whoami(&gate, token), 401);
    }
    assert_eq!((whoami(&gate, &kept), whoami(&gate, &admin)), (200, 200));
    assert!(gate.log().contains("cannot write down"), "{}", gate.log());

    // Once there is room it can be done again, and then it stays.
    gate.limit_files(None);
    assert_eq!(request(&gate, &admin, &format!("DELETE /api/tokens/{}", one.id), "").status, 204);
    assert_eq!(request(&gate, &admin, "PATCH /api/users/carl", r#"{"disabled":false}"#).status, 200);
    assert_eq!(whoami(&gate, &disabled), 200, "taken back");
    let gate = Gate::on(gate.kill(), &config);
    assert_eq!(whoami(&gate, &one), 401);
    for token in [&held, &of_all, &disabled, &deleted] {
        assert_eq!(whoami(&gate, token), 200, "it was not written down, as was said");
    }
}
