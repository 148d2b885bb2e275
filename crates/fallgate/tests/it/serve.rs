//! `fallgate serve`: what it needs, what stops it, what it leaves.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Client, Gate, Home, Upstream, WebSocket, WebSocketUpstream, wait_for};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_fresh_gate_needs_nothing_and_says_what_listens_and_how_to_make_the_first_user() {
    let gate = Gate::start();
    let banner = gate.log();
    assert!(banner.contains(&format!("listening on http://{}", gate.address())), "{banner}");
    assert!(banner.contains(&gate.path().display().to_string()), "{banner}");
    let command = banner.split_once("or here: ").unwrap().1.lines().next().unwrap().to_owned();
    let wanted = format!("fallgate user create NAME --admin --home {}", gate.path().display());
    assert_eq!(command, wanted);
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
}

#[test]
fn a_gate_that_has_users_says_nothing_of_a_first_one() {
    let home = Home::new();
    home.user("ada");
    let gate = Gate::on(
        home,
        "[[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = \"http://127.0.0.1:1\"\n",
    );
    assert!(!gate.log().contains("first"), "{}", gate.log());
    assert!(gate.log().contains("app: app.example to http://127.0.0.1:1"), "{}", gate.log());
}

#[test]
fn the_home_folder_and_all_in_it_are_its_owners_alone() {
    let gate = Gate::start();
    gate.user("ada");
    assert_eq!(mode(&gate.path()), 0o700);
    for entry in fs::read_dir(gate.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn wrong_modes_are_repaired_with_a_warning_that_names_file_and_mode() {
    let home = Home::new();
    home.user("ada");
    let database = home.path().join("fallgate.db");
    let loosen = || fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
    loosen();
    let listed = home.fallgate(&["user", "list"]).ok();
    let warning = format!("warning: {} had mode 0644; it is 0600 now\n", database.display());
    assert_eq!(listed.stderr, warning);
    assert_eq!(mode(&database), 0o600);
    loosen();
    let gate = Gate::on(home, "");
    assert!(gate.log().contains("fallgate.db had mode 0644; it is 0600 now"), "{}", gate.log());
    assert_eq!(mode(&database), 0o600);
}

#[test]
fn a_taken_port_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Home::new().fallgate(&["serve", "--listen", &address]).refused(1);
    assert_eq!(
        refused,
        format!(
            "cannot listen on {address}: another program listens there; stop it, or choose another address with --listen"
        )
    );
}

#[test]
fn a_second_gate_on_one_home_is_refused_and_the_first_lives_on() {
    let gate = Gate::start();
    let refused = gate.fallgate(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(refused.starts_with("another fallgate serves "), "{refused}");
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
}

#[test]
fn a_damaged_database_stops_the_start_with_one_line_and_is_not_touched() {
    let home = Home::new();
    home.user("ada");
    let database = home.path().join("fallgate.db");
    fs::write(
        &database,
        "this is no database at all, but it is long enough to be looked at as one".repeat(20),
    )
    .unwrap();
    let before = fs::read(&database).unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"]] {
        let refused = home.fallgate(arguments).refused(1);
        assert!(refused.contains(&database.display().to_string()), "{refused}");
        assert!(refused.contains("damaged"), "{refused}");
    }
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[test]
fn a_database_of_a_newer_version_stops_the_start_with_one_line_and_is_not_touched() {
    let home = Home::new();
    home.user("ada");
    let database = home.path().join("fallgate.db");
    let mut bytes = fs::read(&database).unwrap();
    // Where SQLite keeps `user_version` (<https://www.sqlite.org/fileformat2.html>, 1.3).
    bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    fs::write(&database, &bytes).unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["user", "list"]] {
        let refused = home.fallgate(arguments).refused(1);
        assert!(refused.contains("schema 9999, newer"), "{refused}");
    }
    assert_eq!(fs::read(&database).unwrap(), bytes);
}

#[test]
fn a_home_that_is_no_folder_is_refused() {
    let home = Home::new();
    fs::write(home.path(), "").unwrap();
    assert!(home.fallgate(&["serve"]).refused(1).contains("is not a folder"));
}

#[test]
fn a_signal_ends_the_gate_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gate = Gate::start();
        gate.signal(signal);
        assert_eq!(gate.ended().code(), Some(0), "{}", gate.log());
        assert!(gate.log().contains("stopped"), "{}", gate.log());
    }
}

#[test]
fn a_second_signal_ends_the_gate_at_once() {
    let upstream = WebSocketUpstream::echo();
    let mut gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    // It holds up the drain.
    let mut socket = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    socket.echo("there?");
    gate.signal(Signal::TERM);
    wait_for("the first signal's effect", || gate.log().contains("stopping").then_some(()));
    gate.signal(Signal::TERM);
    assert_eq!(gate.ended().code(), Some(1), "{}", gate.log());
    assert!(!gate.log().contains("stopped"), "{}", gate.log());
}

#[test]
fn a_log_filter_that_makes_no_sense_is_refused() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("FALLGATE_LOG", "a=b=c");
    assert!(crate::support::Run::of(command, b"").refused(1).starts_with("FALLGATE_LOG is not a log filter"));
}

#[test]
fn however_much_is_logged_no_secret_header_or_query_is() {
    let upstream = Upstream::echo();
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let mut gate = Gate::started(Home::new(), &config, |command| {
        command.env("FALLGATE_LOG", "trace");
    });
    let token = gate.token("ada");
    for credential in [token.secret.as_str(), "fgt_canary-of-a-guess", "canary-that-is-no-token"] {
        for target in ["/app/x?canary-in-a-query", "/api/whoami?canary-in-a-query", "/nowhere/canary%2fpath"]
        {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {credential}\r\n\
                 Cookie: a=canary-cookie\r\nX-Canary: canary-header\r\n\r\n"
            );
            assert!(Client::exchange(gate.address(), request).status >= 200);
        }
    }
    gate.signal(Signal::TERM);
    gate.ended();
    let log = wait_for("the log's end", || Some(gate.log()).filter(|log| log.contains("stopped")));
    assert!(!log.contains("canary"), "{log}");
    assert!(!log.contains(&token.secret), "{log}");
}
