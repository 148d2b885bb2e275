//! Pairing from a terminal: `fallgate pair`, and the code that `serve` shows as it starts.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::Site;
use crate::support::terminal::Terminal;
use crate::support::{Client, Gate, Home, PASSPHRASE, Response, nobodys_address, wait_for};

fn pair(gate: SocketAddr, body: &Value) -> Response {
    let (body, length) = (body.to_string(), body.to_string().len());
    Client::exchange(
        gate,
        format!(
            "POST /api/pair HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// The daemon on a terminal of its own, which shows all that it writes.
fn serve(home: &Home, address: SocketAddr, public_url: bool, more: &[&str]) -> Terminal {
    let port = address.port();
    let config = if public_url {
        format!("[server]\npublic_url = \"http://box.example:{port}\"\n")
    } else {
        String::new()
    };
    let (config, listen) = (home.write_config(&config), address.to_string());
    let mut words = vec!["serve", "--config", config.to_str().unwrap(), "--listen", &listen];
    words.extend(more);
    Terminal::open(&home.command(&words))
}

/// What there is in the store that somebody could come in by, but this machine's own programs.
fn credentials(home: &Home) -> i64 {
    let database = rusqlite::Connection::open(home.path().join("fallgate.db")).unwrap();
    let count = "SELECT count(*) FROM credential WHERE kind <> 'internal'";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn r23_the_code_at_start_asks_for_the_passphrase_and_a_restart_leaves_nothing_behind() {
    let (home, address) = (Home::new(), nobodys_address());
    home.user("ada");
    home.admin("root");
    home.admin("zoe");
    for _ in 0..2 {
        let mut terminal = serve(&home, address, true, &[]);
        terminal.shows("Later, `fallgate pair` shows another code");
        assert!(terminal.shown().contains("\u{1b}[30;107m"), "no QR: {}", terminal.shown());
    }
    assert_eq!(credentials(&home), 0);

    let mut terminal = serve(&home, address, true, &[]);
    terminal.shows("Pair a phone as root: ");
    let code = terminal.shows("/pair#");
    assert_eq!(terminal.shown().matches(&code).count(), 1, "the log has it too: {}", terminal.shown());
    let told = pair(address, &json!({"code": code}));
    assert_eq!(told.status, 400, "{}", told.text());
    let wrong = pair(address, &json!({"code": code, "passphrase": "not the passphrase"}));
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None), "{}", wrong.text());
    assert_eq!(credentials(&home), 0);
    let right = pair(address, &json!({"code": code, "passphrase": PASSPHRASE, "device_name": "phone"}));
    assert_eq!(right.status, 200, "{}", right.text());
    assert_eq!(
        (&right.json()["username"], &right.json()["credential"]["name"]),
        (&json!("root"), &json!("phone"))
    );
    assert_eq!(pair(address, &json!({"code": code, "passphrase": PASSPHRASE})).status, 409, "used twice");
    let events = home.fallgate(&["audit", "list", "--json"]).ok();
    assert!(events.stdout.contains("pair.redeem") && !events.stdout.contains(&code));
    drop(terminal);

    // Five wrong passphrases end a code.
    let mut terminal = serve(&home, address, true, &["--qr-owner", "ada"]);
    terminal.shows("Pair a phone as ada: ");
    let code = terminal.shows("/pair#");
    let answers: Vec<_> =
        (0..5).map(|_| pair(address, &json!({"code": code, "passphrase": "wrong"})).status).collect();
    assert_eq!(answers, [401, 401, 401, 401, 429]);
    assert_eq!(pair(address, &json!({"code": code, "passphrase": PASSPHRASE})).status, 429);
}

#[test]
fn a_terminal_is_shown_a_code_only_where_a_phone_could_use_it() {
    let (home, address) = (Home::new(), nobodys_address());
    home.user("ada");
    home.user("gone");
    home.fallgate(&["user", "disable", "gone"]).ok();
    for (public_url, more, says) in [
        (false, &[][..], "set server.public_url"),
        (true, &["--qr-owner", "nobody"][..], "there is no user nobody"),
        (true, &["--qr-owner", "gone"][..], "the user gone is disabled"),
        (true, &[][..], "there is no enabled admin"),
    ] {
        let mut terminal = serve(&home, address, public_url, more);
        terminal.shows(says);
        assert!(!terminal.shown().contains("/pair#"), "{}", terminal.shown());
    }
    let mut terminal = serve(&home, address, true, &["--qr-owner", "ada", "--no-qr"]);
    terminal.shows("cannot be used with");
    assert_eq!(terminal.ended(), Some(2));
    home.admin("root");
    let silent = serve(&home, address, true, &["--no-qr"]);
    wait_for("the gate", || {
        let asked = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        silent.shown().contains("listening on").then(|| Client::exchange(address, asked))
    });
    assert!(!silent.shown().contains("/pair#"), "{}", silent.shown());
    drop(silent);
    // Where nobody looks, nothing is shown.
    let mut gate = Gate::at_home(home, address, "[server]\npublic_url = \"http://box.example\"\n", |_| ());
    let mut stdout = gate.stdout();
    gate.signal(rustix::process::Signal::TERM);
    gate.ended();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut said).unwrap();
    assert_eq!(said, "");
    assert!(!gate.log().contains("/pair#"), "{}", gate.log());
}

#[test]
fn a_command_asks_on_the_terminal_whether_the_phone_is_let_in() {
    let site = Site::new();
    let ask = |body: &Value| pair(site.gate.address(), body);
    for (typed, status, code) in [("y\n", 200, 0), ("n\n", 403, 1)] {
        let mut terminal = Terminal::open(&site.gate.command(&["pair", "--username", "ada"]));
        let secret = terminal.shows(&site.url("/pair#"));
        let claim = ask(&json!({"code": secret, "device_name": "Pixel 8"})).json();
        let number = claim["number"].as_u64().unwrap();
        terminal.asks("Let it in? [y/N] ");
        let says = format!("\"Pixel 8\" wants to pair, from 127.0.0.1. It must show the number {number}.");
        assert!(terminal.shown().contains(&says), "{says}: {}", terminal.shown());
        let collect = json!({"claim": claim["claim"]});
        assert_eq!(ask(&collect).status, 202);
        terminal.type_in(typed);
        let answer = wait_for("an answer", || Some(ask(&collect)).filter(|answer| answer.status != 202));
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(terminal.ended(), Some(code), "{}", terminal.shown());
    }
    // Ctrl+C ends the code.
    let mut terminal = Terminal::open(&site.gate.command(&["pair", "--username", "ada", "--json"]));
    let secret = terminal.shows(&site.url("/pair#"));
    let secret = secret.split('"').next().unwrap();
    terminal.type_in("\u{3}");
    assert_eq!(terminal.ended(), Some(1), "{}", terminal.shown());
    assert_eq!(ask(&json!({"code": secret})).status, 410);

    let no_terminal = site.gate.fallgate(&["pair", "--username", "ada"]).refused(2);
    assert!(no_terminal.contains("no terminal"), "{no_terminal}");
    let mut unknown = Terminal::open(&site.gate.command(&["pair", "--username", "nobody"]));
    assert_eq!(unknown.ended(), Some(1), "{}", unknown.shown());
    assert!(unknown.shown().contains("there is no user nobody"), "{}", unknown.shown());
}

#[test]
fn over_http_one_pairs_for_oneself_by_the_saved_sign_in() {
    let site = Site::new();
    let machine = Home::new();
    let server = format!("http://{}", site.gate.address());
    let on_server = |words: &[&str]| {
        let mut command = machine.command(words);
        command.env_remove("FALLGATE_HOME").args(["--server", &server]);
        command
    };
    let login = on_server(&["login", "--username", "ada", "--passphrase-stdin"]);
    crate::support::Run::of(login, PASSPHRASE.as_bytes()).ok();
    let mut terminal = Terminal::open(&on_server(&["pair"]));
    let secret = terminal.shows(&site.url("/pair#"));
    let claim = pair(site.gate.address(), &json!({"code": secret, "device_name": "Pixel 8"})).json();
    terminal.asks("Let it in? [y/N] ");
    terminal.type_in("y\n");
    let collect = json!({"claim": claim["claim"]});
    let answer = wait_for("an answer", || {
        Some(pair(site.gate.address(), &collect)).filter(|answer| answer.status != 202)
    });
    assert_eq!((answer.status, &answer.json()["username"]), (200, &json!("ada")), "{}", answer.text());
    assert_eq!(terminal.ended(), Some(0), "{}", terminal.shown());
    assert!(terminal.shown().contains("\"Pixel 8\" is signed in as ada"), "{}", terminal.shown());
    let mut other = Terminal::open(&on_server(&["pair", "--username", "bob"]));
    assert_eq!(other.ended(), Some(1), "{}", other.shown());
    assert!(other.shown().contains("which is ada and not bob"), "{}", other.shown());
}
