//! Mishaps under a running gate: an older database put into its file, a disk that is full, a log that nobody can write, a root
//! key that was stolen.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use serde_json::{Value, json};

use crate::support::{
    Client, Gate, Home, PASSPHRASE, SignIn, Token, WebSocket, WebSocketUpstream, ignoring_full_disks,
};

fn whoami(gate: &Gate, credential: &str) -> u16 {
    gate.ask("GET /api/whoami", credential, &Value::Null).status
}

fn app(upstream: &WebSocketUpstream) -> String {
    format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url())
}

fn open(gate: &Gate, secret: &str) -> WebSocket {
    let token = Token { id: String::new(), secret: secret.to_owned() };
    WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap()
}

/// As `sqlite3 fallgate.db ".restore older.db"` does: into the same file, which others have open.
fn restore_in_place(from: &Path, into: &Path) {
    let (from, mut into) = (Connection::open(from).unwrap(), Connection::open(into).unwrap());
    let restore = Backup::new(&from, &mut into).unwrap();
    restore.run_to_completion(100, Duration::from_millis(1), None).unwrap();
}

#[test]
fn r43_an_older_copy_put_into_the_file_of_a_running_gate_is_not_written_on_and_lets_nobody_in() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::configured(&app(&upstream));
    let (revoked, kept) = (gate.token("ada"), gate.token("ada"));
    let older = gate.beside().join("older.db");
    gate.fallgate(&["store", "backup", older.to_str().unwrap()]).ok();
    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    for _ in 0..2 {
        let token = gate.token("ada");
        gate.fallgate(&["token", "revoke", &token.id]).ok();
    }
    let mut stream = open(&gate, &kept.secret);
    stream.echo("open");
    restore_in_place(&older, &gate.path().join("fallgate.db"));
    assert_eq!(stream.close_code(), Some(4401));
    // Each of these would raise the revision, if it were written.
    for _ in 0..6 {
        assert_eq!(gate.try_sign_in("ada", PASSPHRASE).status, 503);
    }
    for token in [&revoked, &kept] {
        assert_eq!(whoami(&gate, &token.header()), 503);
    }
    assert_eq!(Client::get(gate.address(), "/health", None).status, 503);
    let home = gate.kill();
    let refusal = home.fallgate(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(refusal.contains("older copy"), "{refusal}");
    home.fallgate(&["store", "restore", "--accept"]).ok();
    let gate = Gate::on(home, "");
    for token in [&revoked, &kept] {
        assert_eq!(whoami(&gate, &token.header()), 401);
    }
}

#[track_caller]
fn unwritten(gate: &Gate, credential: &str, line: &str, body: &Value) {
    let answer = gate.ask(line, credential, body);
    assert_eq!(answer.status, 503, "{line}: {}", answer.text());
    assert!(answer.text().contains("could not be written down"), "{line}: {}", answer.text());
}

#[test]
fn r46_sign_ins_end_here_and_now_though_the_disk_is_full() {
    let upstream = WebSocketUpstream::echo();
    let home = Home::new();
    home.admin("root");
    for name in ["ada", "bob", "eve"] {
        home.user(name);
    }
    let gate = Gate::started(home, &app(&upstream), ignoring_full_disks);
    let admin = gate.token_with("root", &["--scope", "admin"]).header();
    let [first, second, third, fourth] = [(); 4].map(|()| gate.sign_in("ada"));
    let [bob, bobs_other] = [(); 2].map(|()| gate.sign_in("bob"));
    let (eve, eves_token) = (gate.sign_in("eve"), gate.token("eve"));
    let bobs_token = gate.token("bob");
    let all = [&first, &second, &third, &fourth, &bob, &bobs_other, &eve];
    let mut streams = all.map(|sign_in| open(&gate, &sign_in.secret));
    assert!(all.iter().all(|sign_in| whoami(&gate, &sign_in.bearer()) == 200));
    gate.limit_files(Some(0));
    let ended = |sign_in: &SignIn| assert_eq!(whoami(&gate, &sign_in.bearer()), 401, "{}", sign_in.id);
    let none = Value::Null;
    unwritten(&gate, &second.sent_by_page(), "POST /api/logout", &none);
    ended(&second);
    unwritten(&gate, &first.bearer(), &format!("DELETE /api/logins/{}", third.id), &none);
    ended(&third);
    unwritten(&gate, &first.bearer(), "DELETE /api/logins", &none);
    ended(&fourth);
    let new = "another otter entirely 42";
    let change = json!({"current": PASSPHRASE, "new": new});
    unwritten(&gate, &bob.bearer(), "POST /api/account/passphrase", &change);
    ended(&bobs_other);
    let reset = json!({"passphrase": new, "revoke_tokens": true});
    unwritten(&gate, &admin, "POST /api/users/eve/passphrase", &reset);
    ended(&eve);
    assert_eq!(whoami(&gate, &eves_token.header()), 401);
    let [kept, end2, end3, end4, bobs, end6, end7] = &mut streams;
    for stream in [end2, end3, end4, end6, end7] {
        assert_eq!(stream.close_code(), Some(4401));
    }
    for stream in [kept, bobs] {
        stream.echo("still here?");
    }
    for kept in [first.bearer(), bob.bearer(), bobs_token.header(), admin.clone()] {
        assert_eq!(whoami(&gate, &kept), 200);
    }
    // Once there is room, everything can be done again.
    gate.limit_files(None);
    let path = format!("DELETE /api/logins/{}", third.id);
    assert_eq!(gate.ask(&path, &first.bearer(), &none).status, 204);
    assert_eq!(gate.ask("POST /api/users/eve/passphrase", &admin, &reset).status, 200);
}

/// For [`Gate::started`]: as [`ignoring_full_disks`], and its log goes into a file.
fn logging_into(file: &Path) -> impl FnOnce(&mut Command) {
    let file = file.to_str().unwrap().to_owned();
    move |command| {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "log=$0; : >\"$log\"; tail --pid=$$ -n +1 -s 0.1 -f \"$log\" >&2 & exec \"$@\" 2>>\"$log\"",
            &file,
        ]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        *command = shell;
        ignoring_full_disks(command);
    }
}

#[test]
fn r46_a_log_that_cannot_be_written_keeps_nothing_from_ending_and_nobody_from_coming_in() {
    let upstream = WebSocketUpstream::echo();
    let home = Home::new();
    home.admin("root");
    let log = home.beside().join("log");
    let gate = Gate::started(home, &app(&upstream), logging_into(&log));
    let admin = gate.token_with("root", &["--scope", "admin"]).header();
    let (token, kept) = (gate.token("ada"), gate.token("ada"));
    let (mut stream, mut other) = (open(&gate, &token.secret), open(&gate, &kept.secret));
    assert_eq!(whoami(&gate, &token.header()), 200);
    gate.limit_files(Some(0));
    unwritten(&gate, &admin, &format!("DELETE /api/tokens/{}", token.id), &Value::Null);
    assert_eq!(stream.close_code(), Some(4401));
    assert_eq!(whoami(&gate, &token.header()), 401);
    other.echo("still here?");
    assert_eq!(whoami(&gate, &kept.header()), 200);
    assert!(!std::fs::read_to_string(&log).unwrap().contains("cannot write down"), "the log was written");
}

#[test]
fn what_a_stolen_root_key_opens_is_in_no_file_of_a_running_gate_once_its_rotation_is_confirmed() {
    let gate = Gate::start();
    let database = gate.path().join("fallgate.db");
    let read = |sql: &str| -> Vec<u8> {
        Connection::open(&database).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let signing = read("SELECT sealed FROM signing_key WHERE retired_at IS NULL");
    gate.fallgate(&["key", "rotate"]).ok();
    let successor = read("SELECT successor FROM root_key WHERE successor IS NOT NULL");
    let holders = |sealed: &[u8]| -> Vec<_> {
        let files = std::fs::read_dir(gate.path()).unwrap().map(|entry| entry.unwrap().path());
        let has =
            |file: &Path| std::fs::read(file).unwrap().windows(sealed.len()).any(|window| window == sealed);
        files.filter(|file| file.is_file() && has(file)).collect()
    };
    assert!(!holders(&successor).is_empty(), "this is not where it lies");
    let confirmed = gate.fallgate(&["key", "rotate", "--confirm"]).ok();
    assert!(confirmed.stderr.contains("opens nothing here any more"), "{}", confirmed.stderr);
    for sealed in [&successor, &signing] {
        assert_eq!(holders(sealed), Vec::<std::path::PathBuf>::new());
    }
}
