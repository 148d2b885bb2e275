//! The first run: nobody is there, and whoever reads the home folder makes the first admin.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use crate::support::terminal::{Answer, on_terminal};
use crate::support::{Client, Gate, Home, PASSPHRASE, Response, SignIn, Visitor, nobodys_address, wait_for};

fn file(home: &Home) -> PathBuf {
    home.path().join("setup-token")
}

fn token(gate: &Gate) -> String {
    fs::read_to_string(file(gate)).unwrap().trim_end().to_owned()
}

fn set_up(gate: &Gate, headers: &str, token: &str, username: &str, passphrase: &str) -> Response {
    let body = json!({"setup_token": token, "username": username, "passphrase": passphrase});
    gate.ask("POST /api/setup", headers, &body)
}

#[test]
fn r23_whoever_has_the_setup_token_makes_the_first_admin_once() {
    let gate = Gate::start();
    let token = token(&gate);
    assert!(token.len() == 43 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");
    assert_eq!(fs::metadata(file(&gate)).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(gate.log().contains(file(&gate).to_str().unwrap()), "{}", gate.log());
    assert!(!gate.log().contains(&token));

    let foreign = "Origin: http://evil.example\r\n";
    let mut other = token.clone().into_bytes();
    other[7] = if other[7] == b'0' { b'1' } else { b'0' };
    let other = String::from_utf8(other).unwrap();
    for (headers, token, username, passphrase, status, words) in [
        ("", "", "ada", PASSPHRASE, 401, "setup token is wrong"),
        ("", other.as_str(), "ada", PASSPHRASE, 401, "setup token is wrong"),
        ("", &token, "Ada", PASSPHRASE, 400, "a-z, 0-9, _ and -"),
        ("", &token, "ada", "short", 400, "12 to 1024 bytes"),
        ("", &token, "ada", "adaadaadaada", 400, "too easy to guess"),
        (foreign, &token, "ada", PASSPHRASE, 403, "own pages"),
        ("Origin: null\r\n", &token, "ada", PASSPHRASE, 403, "own pages"),
        ("Sec-Fetch-Site: same-site\r\n", &token, "ada", PASSPHRASE, 403, "own pages"),
    ] {
        let refused = set_up(&gate, headers, token, username, passphrase);
        assert_eq!(refused.status, status, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
        assert_eq!(refused.header("set-cookie"), None);
    }
    let made = set_up(&gate, "", &token, "ada", PASSPHRASE);
    assert_eq!(made.status, 201, "{}", made.text());
    let told = made.json();
    assert_eq!((&told["username"], &told["role"]), (&json!("ada"), &json!("admin")));
    assert_eq!((&told["display_name"], &told["credential"]["kind"]), (&json!("ada"), &json!("login")));
    let made = SignIn::of(&Response { status: 200, ..made });
    assert_eq!(gate.ask("GET /api/users", &made.cookie(), &Value::Null).status, 200);
    wait_for("the end of the file", || (!file(&gate).exists()).then_some(()));
    assert_eq!(set_up(&gate, "", &token, "bob", PASSPHRASE).status, 409);
    assert_eq!(gate.usernames(), ["ada"]);
    let events = gate.fallgate(&["audit", "list", "--json"]).ok();
    assert_eq!(events.json()["events"][0]["action"], "setup");
    assert!(!events.stdout.contains(&token) && !gate.log().contains(&token));
}

#[test]
fn r9_while_there_is_no_user_the_api_says_so_and_only_what_is_public_works() {
    let gate = Gate::start();
    let bearer = "Authorization: Bearer x\r\n";
    for (line, headers) in [
        ("GET /api/whoami", ""),
        ("GET /api/whoami", bearer),
        ("GET /api/whoami", "Cookie: fallgate=x\r\n"),
        ("POST /api/tokens", ""),
        ("POST /api/logout", ""),
        ("GET /nothing", ""),
        ("PUT /api/tokens", bearer),
    ] {
        let answer = gate.ask(line, headers, &Value::Null);
        assert_eq!(answer.status, 503, "{line}: {}", answer.text());
        assert!(answer.text().contains("Setup needed"), "{}", answer.text());
    }
    let sign_in = gate.try_sign_in("ada", PASSPHRASE);
    assert!(sign_in.status == 503 && sign_in.text().contains("Setup needed"), "{}", sign_in.text());
    for line in ["GET /health", "GET /api/version"] {
        assert_eq!(gate.ask(line, "", &Value::Null).status, 200, "{line}");
    }
    assert_eq!(gate.ask("POST /api/tokens/revoke", "", &json!({"token": "x"})).status, 204);
}

#[test]
fn the_first_user_ends_the_setup_by_whatever_way_and_no_start_brings_it_back() {
    let gate = Gate::start();
    let token = token(&gate);
    gate.user("ada");
    assert_eq!(gate.ask("GET /api/whoami", "", &Value::Null).status, 401);
    assert_eq!(set_up(&gate, "", &token, "bob", PASSPHRASE).status, 409);
    wait_for("the end of the file", || (!file(&gate).exists()).then_some(()));
    let home = gate.kill();
    fs::write(file(&home), "left behind").unwrap();
    let gate = Gate::on(home, "");
    assert!(!file(&gate).exists());
    assert!(!gate.log().contains("is waiting"), "{}", gate.log());
}

#[test]
fn every_start_makes_another_token_and_follows_no_link_to_write_it() {
    let gate = Gate::start();
    let first = token(&gate);
    let home = gate.kill();
    let elsewhere = home.path().join("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    let _ = fs::remove_file(file(&home));
    std::os::unix::fs::symlink(&elsewhere, file(&home)).unwrap();
    let gate = Gate::on(home, "");
    assert_ne!(token(&gate), first);
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "untouched");
    assert_eq!(set_up(&gate, "", &first, "ada", PASSPHRASE).status, 401);
}

#[test]
fn two_setups_at_once_make_one_admin() {
    let gate = Gate::start();
    let token = token(&gate);
    let statuses: Vec<_> = thread::scope(|scope| {
        let ways: Vec<_> = ["ada", "bob", "eve"]
            .into_iter()
            .map(|name| scope.spawn(|| set_up(&gate, "", &token, name, PASSPHRASE).status))
            .collect();
        ways.into_iter().map(|way| way.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(gate.usernames().len(), 1);
}

#[test]
fn whoever_opens_a_page_is_led_to_the_setup_and_makes_the_first_admin_without_a_script() {
    let gate = Gate::start();
    let token = token(&gate);
    let url = |path: &str| format!("http://{}{path}", gate.address());
    let mut ada = Visitor::of(gate.address());
    for path in ["/", "/tokens", "/pair", "/nothing", "/login?returnTo=%2Fx"] {
        let page = ada.visit(&url(path));
        assert_eq!((page.url, page.answer.status), (url("/setup"), 200), "{path}");
        assert!(page.answer.text().contains("setup-token"), "{}", page.answer.text());
    }
    // So is whoever has had the sign-in page open since before.
    let fields = [("username", "ada"), ("passphrase", PASSPHRASE), ("returnTo", "/")];
    let page = ada.submit(&url("/login"), "/login", &fields);
    assert_eq!((page.url, page.answer.status), (url("/setup"), 200));
    let name = "<b>\u{202e}Ada</b>";
    let sent = |ada: &mut Visitor, token: &str, username: &str, passphrase: &str| {
        let fields = [
            ("setup_token", token),
            ("username", username),
            ("display_name", name),
            ("passphrase", passphrase),
        ];
        ada.send(&url("/setup"), "/setup", &fields)
    };
    for (token, username, passphrase, status, says) in [
        ("wrong", "ada", PASSPHRASE, 401, "The setup token is wrong"),
        (&token, "A da", PASSPHRASE, 400, "The username is not right"),
        (&token, "ada", "short", 400, "12 to 1024 bytes"),
    ] {
        let refused = sent(&mut ada, token, username, passphrase);
        let html = refused.text();
        assert_eq!(refused.status, status, "{html}");
        assert!(html.contains(says) && html.contains("aria-invalid"), "{html}");
        // What was typed is there again, as text, and no secret of it.
        assert!(html.contains("&#60;b&#62;") && !html.contains("<b>"), "{html}");
        assert!(!html.contains(passphrase) && !html.contains(token.get(..20).unwrap_or("wrong\"")), "{html}");
        assert_eq!(refused.header("set-cookie"), None);
    }
    let foreign = Client::exchange(
        gate.address(),
        format!(
            "POST /setup HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n",
            gate.address()
        ),
    );
    assert_eq!(foreign.status, 403);
    let page = {
        let made = sent(&mut ada, &format!(" {token}\n"), "ada", PASSPHRASE);
        assert_eq!((made.status, made.header("location")), (303, Some("/")), "{}", made.text());
        ada.visit(&url("/"))
    };
    assert!(page.answer.text().contains("Sign out"), "{}", page.answer.text());
    let gone = ada.open(&url("/setup"));
    assert_eq!(gone.status, 404, "{}", gone.text());
    assert_eq!(sent(&mut ada, &token, "bob", PASSPHRASE).status, 404);
    assert_eq!(gate.usernames(), ["ada"]);
}

#[test]
fn r23_the_setup_link_is_shown_on_a_terminal_and_nowhere_else() {
    let home = Home::new();
    let command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    let (code, shown) = on_terminal(&command, &[Answer::Shown("/setup#", "\u{3}")]);
    assert_eq!(code, Some(0), "{shown}");
    let link = shown.split_whitespace().find(|word| word.contains("/setup#")).unwrap();
    let (base, token) = link.split_once("/setup#").unwrap();
    assert!(base.starts_with("http://127.0.0.1:") && !base.ends_with(":0"), "{shown}");
    assert_eq!(token.len(), 43, "{shown}");
    assert!(shown.contains('█') || shown.contains('▀'), "no code: {shown}");
    // There is no config yet: this is where it would be found.
    let looked = home.fallgate(&["config", "check"]).ok().stdout;
    let place = looked.split_once("no config file at ").unwrap().1.split_once(';').unwrap().0;
    assert!(shown.contains(&format!("  config  no config file at {place}; all settings")), "{shown}");
    let home = Home::new();
    let config = home.write_config("[server]\npublic_url = \"http://box.example\"\n");
    let words = ["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let (_, shown) =
        on_terminal(&home.command(&words), &[Answer::Shown("http://box.example/setup#", "\u{3}")]);
    assert!(shown.contains('█') || shown.contains('▀'), "no code: {shown}");
    let words = [&words[..], &["--no-qr"]].concat();
    let (_, shown) = on_terminal(&home.command(&words), &[Answer::Shown("setup   is waiting", "\u{3}")]);
    assert!(!shown.contains("/setup#"), "{shown}");
}

#[test]
fn the_environment_makes_the_first_admin_and_nobody_after_them() {
    let (file, other) = (tempfile::NamedTempFile::new().unwrap(), "FALLGATE_INIT_USERNAME");
    fs::write(file.path(), format!("{PASSPHRASE}\n")).unwrap();
    let file = file.path().to_str().unwrap();
    let first = |command: &mut std::process::Command| {
        command
            .env(other, "ada")
            .env("FALLGATE_INIT_DISPLAY_NAME", "Ada L.")
            .env("FALLGATE_INIT_PASSPHRASE_FILE", file);
    };
    let gate = Gate::started(Home::new(), "", first);
    assert!(!gate.log().contains("is waiting"), "{}", gate.log());
    let made = gate.sign_in("ada");
    let users = gate.ask("GET /api/users", &made.cookie(), &Value::Null).json();
    assert_eq!(
        (&users["users"][0]["display_name"], &users["users"][0]["role"]),
        (&json!("Ada L."), &json!("admin"))
    );
    assert!(!gate.log().contains(PASSPHRASE));
    let gate = Gate::at_home(gate.kill(), nobodys_address(), "", |command| {
        command.env(other, "eve").env("FALLGATE_INIT_PASSPHRASE", "another passphrase of eve's");
    });
    assert!(gate.log().contains("users already"), "{}", gate.log());
    assert!(!gate.log().contains("another passphrase"), "{}", gate.log());
    assert_eq!(gate.usernames(), ["ada"]);
}

#[test]
fn half_of_a_first_admin_in_the_environment_stops_the_start() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[("USERNAME", "ada")], "FALLGATE_INIT_PASSPHRASE_FILE is not set"),
        (&[("PASSPHRASE", PASSPHRASE)], "FALLGATE_INIT_USERNAME is not set"),
        (&[("DISPLAY_NAME", "Ada")], "FALLGATE_INIT_USERNAME is not set"),
        (&[("USERNAME", "A"), ("PASSPHRASE", PASSPHRASE)], "FALLGATE_INIT_USERNAME: "),
        (&[("USERNAME", "ada"), ("PASSPHRASE", "short")], "FALLGATE_INIT_PASSPHRASE: "),
        (&[("USERNAME", "ada"), ("PASSPHRASE_FILE", "/nowhere")], "/nowhere cannot be read"),
        (&[("USERNAME", "ada"), ("PASSPHRASE_FILE", "/x"), ("PASSPHRASE", PASSPHRASE)], "are both set"),
    ];
    for (variables, says) in cases {
        let home = Home::new();
        let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
        for (name, value) in variables {
            command.env(format!("FALLGATE_INIT_{name}"), value);
        }
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(!said.contains(PASSPHRASE), "{said}");
    }
}
