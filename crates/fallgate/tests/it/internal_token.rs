//! The token by which this machine's own programs come in, and the file that it lies in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{Client, Gate, Home, Response, Run, Upstream, wait_for};

/// A gate with a route for everybody who is a user, and one for this machine's programs.
const ROUTES: [&str; 2] = ["", "allow = [\"kind:internal\"]\n"];

fn file(home: &Home) -> PathBuf {
    home.path().join("internal-token")
}

#[track_caller]
fn read(home: &Home) -> String {
    let text = fs::read_to_string(file(home)).unwrap();
    let token = text.strip_suffix('\n').unwrap().to_owned();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token:?}");
    token
}

fn ask(gate: &Gate, path: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    Client::exchange(gate.address(), request)
}

fn with(gate: &Gate, token: &str) -> Response {
    ask(gate, "/api/whoami", &format!("Authorization: Bearer {token}\r\n"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Does something to the file at this path, which held this token.
type Spoil<'a> = Box<dyn Fn(&Path, &str) + 'a>;

/// A home where somebody is: before that all but what is public answers 503.
fn lived_in() -> Home {
    let home = Home::new();
    home.admin("root");
    home
}

/// A gate that nothing is configured of.
fn gate() -> Gate {
    Gate::on(lived_in(), "")
}

/// A home that was served once, so that it has a token; and the token.
fn served() -> (Home, String) {
    let home = gate().kill();
    let token = read(&home);
    (home, token)
}

#[test]
fn r14_loopback_is_no_login_and_the_internal_token_is_one_for_little() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let routes = ROUTES.iter().zip(["app", "machine"]).map(|(allow, name)| {
        format!("[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = {url:?}\n{allow}")
    });
    let gate = Gate::on(lived_in(), &routes.collect::<String>());
    for headers in ["", "X-Forwarded-For: 127.0.0.1\r\n", "Remote-User: root\r\nX-Real-IP: ::1\r\n"] {
        for path in ["/api/whoami", "/app/x", "/machine/x"] {
            assert_eq!(ask(&gate, path, headers).status, 401, "{path} {headers}");
        }
    }
    let token = read(&gate);
    let who = with(&gate, &token);
    assert_eq!(who.status, 200, "{}", who.text());
    let who = who.json();
    assert_eq!((&who["username"], &who["role"]), (&json!(null), &json!("internal")));
    assert_eq!(who["credential"]["kind"], "internal");
    let mut scopes = who["credential"]["scopes"].as_array().unwrap().clone();
    scopes.sort_by_key(ToString::to_string);
    assert_eq!(
        json!(scopes),
        json!(["live:read", "routes:use", "sessions:attach", "sessions:read", "sessions:write"])
    );
    let header = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask(&gate, "/machine/x", &header).status, 200);
    assert!(upstream.requests().iter().all(|seen| !String::from_utf8_lossy(&seen.bytes).contains(&token)));
    for path in ["/app/x", "/api/tokens", "/api/users", "/api/audit"] {
        assert_eq!(ask(&gate, path, &header).status, 403, "{path}");
    }
    for (line, body) in [
        ("POST /api/tokens", r#"{"name":"x","username":"ada"}"#),
        ("DELETE /api/tokens", ""),
        ("POST /api/users", r#"{"username":"eve","passphrase":"otter slate canyon vivid"}"#),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(Client::exchange(gate.address(), request).status, 403, "{line}");
    }
}

#[test]
fn r23_the_internal_token_in_an_address_is_not_handed_on_to_the_login_page() {
    let upstream = Upstream::echo();
    let gate = Gate::on(
        lived_in(),
        &format!(
            "[server]\npublic_url = \"http://box.example\"\n\
             [[route]]\nname = \"app\"\nhost = \"app.example\"\nupstream = {:?}\n",
            upstream.url()
        ),
    );
    let token = read(&gate);
    let (coded, upper) = (token.replace('0', "%30"), token.to_ascii_uppercase());
    // As an upstream names what it stores by its digest.
    let digest = "0Aa9".repeat(16);
    let site = "http%3A%2F%2Fapp.example";
    for (target, wanted) in [
        (format!("/x?token={token}"), "%2Fx".to_owned()),
        (format!("/x?a=b&t={coded}"), "%2Fx".to_owned()),
        (format!("/x/{upper}/y?a=b"), "%2F".to_owned()),
        (format!("/x/{digest}?a=b"), format!("%2Fx%2F{digest}%3Fa%3Db")),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: app.example\r\nSec-Fetch-Mode: navigate\r\n\r\n");
        let sent = Client::exchange(gate.address(), request);
        let login = sent.header("location").unwrap();
        let wanted = format!("http://box.example/login?returnTo={site}{wanted}&enter=");
        assert!(login.starts_with(&wanted), "{login}");
    }
}

#[test]
fn r8_r36_only_the_64_digits_in_either_case_are_the_internal_token() {
    let gate = gate();
    let token = read(&gate);
    assert_eq!(with(&gate, &token).status, 200);
    assert_eq!(with(&gate, &token.to_ascii_uppercase()).status, 200);
    let basic = |username: &str| {
        let text = STANDARD.encode(format!("{username}:{token}"));
        ask(&gate, "/api/whoami", &format!("Authorization: Basic {text}\r\n")).status
    };
    assert_eq!([basic(""), basic("hook"), basic("root")], [200; 3], "nobody owns it, so any name will do");
    let mut other = token.clone();
    other.replace_range(..1, if token.starts_with('0') { "1" } else { "0" });
    let refusal = with(&gate, &other);
    assert_eq!(refusal.status, 401);
    for wrong in [
        token[1..].to_owned(),
        format!("{token}0"),
        format!("0x{}", &token[2..]),
        format!("{}g", &token[1..]),
        format!("{}\u{e9}", &token[2..]),
        format!("{}\u{ff10}", &token[3..]),
        token.repeat(100),
        "0".repeat(64),
    ] {
        let answer = with(&gate, &wrong);
        assert_eq!((answer.status, answer.text()), (401, refusal.text()), "{wrong}");
    }
    assert_eq!(ask(&gate, &format!("/api/whoami?token={token}"), "").status, 401);
    assert_eq!(ask(&gate, "/api/whoami", &format!("Cookie: fallgate={token}\r\n")).status, 401);
}

#[test]
fn r70_each_home_has_another_token_which_outlasts_restarts_as_it_stands() {
    let (home, token) = served();
    assert_ne!(served().1, token);
    assert_eq!(mode(&file(&home)), 0o600);
    // As some program may have put it there.
    fs::write(file(&home), format!("  {}\r\n\n", token.to_ascii_uppercase())).unwrap();
    let before = fs::metadata(file(&home)).unwrap();
    let mut home = home;
    for _ in 0..2 {
        let gate = Gate::on(home, "");
        assert_eq!(with(&gate, &token).status, 200);
        assert!(!gate.log().contains("WARN"), "{}", gate.log());
        home = gate.kill();
    }
    let after = fs::metadata(file(&home)).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()), "it was rewritten");
    let events = home.fallgate(&["audit", "list", "--json"]).json();
    let actions: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    assert_eq!(
        actions,
        ["internal-token.make", "user.create"],
        "a start that changes nothing records nothing"
    );
}

#[test]
fn a_file_that_cannot_be_the_token_is_replaced_with_a_warning_that_says_why() {
    let elsewhere = tempfile::tempdir().unwrap();
    let linked = elsewhere.path().join("linked");
    let text = |text: fn(&str) -> String| -> Spoil<'_> {
        Box::new(move |path, token| fs::write(path, text(token)).unwrap())
    };
    let mut cases: Vec<(&str, Spoil<'_>)> = vec![
        ("has not 64 hex digits", text(|_| String::new())),
        ("has not 64 hex digits", text(|token| token[1..].to_owned())),
        ("has not 64 hex digits", text(|token| format!("{token}0\n"))),
        ("has not 64 hex digits", text(|token| format!("{} {}", &token[..32], &token[32..]))),
        ("has not 64 hex digits", text(|_| "a".repeat(10_000_000))),
        ("something else than hex digits", text(|token| format!("{}g\n", &token[1..]))),
        ("something else than hex digits", text(|token| format!("{}\u{e9}", &token[2..]))),
        (
            "is a symbolic link",
            Box::new(|path, token| {
                fs::write(&linked, token).unwrap();
                fs::remove_file(path).unwrap();
                symlink(&linked, path).unwrap();
            }),
        ),
        (
            "is not a regular file",
            Box::new(|path, _| {
                fs::remove_file(path).unwrap();
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            }),
        ),
    ];
    if is_root() {
        cases.push(("belongs to another user", Box::new(|path, _| chown(path, Some(12_345), None).unwrap())));
    }
    let (mut home, mut token) = served();
    for (why, spoil) in cases {
        spoil(&file(&home), &token);
        let gate = Gate::on(home, "");
        let log = gate.log();
        let warning =
            log.lines().find(|line| line.contains("WARN")).unwrap_or_else(|| panic!("{why}: {log}"));
        assert!(warning.contains(why) && warning.contains("home/internal-token"), "{why}: {warning}");
        let new = read(&gate);
        assert_ne!(new, token, "{why}");
        assert_eq!((with(&gate, &token).status, with(&gate, &new).status), (401, 200), "{why}");
        let metadata = fs::symlink_metadata(file(&gate)).unwrap();
        assert!(metadata.is_file() && metadata.mode() & 0o7777 == 0o600, "{why}");
        assert!(![&token, &new].iter().any(|secret| log.contains(&secret[..16])), "{why}: {log}");
        (home, token) = (gate.kill(), new);
    }
    assert!(linked.exists(), "what a link led to was touched");
}

#[test]
fn a_wrong_mode_is_repaired_and_the_token_kept() {
    let (home, token) = served();
    fs::set_permissions(file(&home), Permissions::from_mode(0o644)).unwrap();
    let gate = Gate::on(home, "");
    let log = gate.log();
    assert!(log.contains("internal-token had mode 0644; it is 0600 now"), "{log}");
    assert_eq!((mode(&file(&gate)), with(&gate, &token).status), (0o600, 200));
}

#[test]
fn where_the_file_cannot_be_written_the_gate_starts_all_the_same() {
    let (home, token) = served();
    fs::remove_file(file(&home)).unwrap();
    fs::create_dir_all(file(&home).join("in the way")).unwrap();
    let user = home.token("ada");
    let gate = Gate::on(home, "");
    let log = gate.log();
    assert!(log.contains("is not a regular file") && log.contains("will not survive a restart"), "{log}");
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&user)).status, 200);
    assert_eq!(with(&gate, &token).status, 401, "the old one counts no more");
    let left: Vec<_> = fs::read_dir(gate.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".new")), "{left:?}");
    for verb in ["show", "rotate"] {
        let refused = gate.fallgate(&["internal-token", verb]).refused(1);
        assert!(refused.contains("internal-token"), "{refused}");
    }
}

#[test]
fn r42_after_a_rotation_by_another_process_the_old_token_is_refused_on_the_next_request() {
    let gate = gate();
    let mut old = gate.fallgate(&["internal-token", "show"]).ok().stdout.trim_end().to_owned();
    for _ in 0..5 {
        assert_eq!(with(&gate, &old).status, 200);
        let rotated = gate.fallgate(&["internal-token", "rotate"]).ok();
        let new = read(&gate);
        assert_eq!(with(&gate, &old).status, 401);
        assert_eq!(with(&gate, &new).status, 200);
        assert!(rotated.stdout.is_empty() && !rotated.stderr.contains(&new), "{}", rotated.stderr);
        assert_eq!(gate.fallgate(&["internal-token", "show"]).ok().stdout, format!("{new}\n"));
        old = new;
    }
    let home = gate.kill();
    let gate = Gate::on(home, "");
    assert_eq!((read(&gate), with(&gate, &old).status), (old.clone(), 200), "{}", gate.log());
}

#[test]
fn processes_that_rotate_at_once_agree_on_one_token() {
    let gate = gate();
    let first = read(&gate);
    let running: Vec<_> =
        (0..8).map(|_| gate.command(&["internal-token", "rotate"]).spawn().unwrap()).collect();
    for child in running {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!((with(&gate, &first).status, with(&gate, &read(&gate)).status), (401, 200));
    let home = gate.kill();
    let token = read(&home);
    let gate = Gate::on(home, "");
    assert_eq!(with(&gate, &token).status, 200, "{}", gate.log());
}

#[test]
fn gates_and_rotations_that_start_at_once_on_a_new_home_agree_on_one_token() {
    let home = Home::new();
    home.user("ada");
    let commands = (0..6).map(|number| match number % 2 {
        0 => home.command(&["serve", "--listen", "127.0.0.1:0"]),
        _ => home.command(&["internal-token", "rotate"]),
    });
    let mut running: Vec<_> = commands.map(|mut command| command.spawn().unwrap()).collect();
    // One of the gates serves the home; all others end.
    wait_for("all but one to end", || {
        let left = running.iter_mut().filter_map(|child| child.try_wait().unwrap().is_none().then_some(()));
        (left.count() <= 1).then_some(())
    });
    for child in &mut running {
        let _ = child.kill();
        child.wait().unwrap();
    }
    let token = read(&home);
    let gate = Gate::on(home, "");
    assert_eq!((read(&gate), with(&gate, &token).status), (token, 200), "{}", gate.log());
}

#[test]
fn it_is_no_token_of_a_list_but_can_be_asked_about_and_ended() {
    let gate = gate();
    let token = read(&gate);
    let listed = gate.fallgate(&["token", "list", "--all", "--json"]).json();
    assert_eq!(listed["tokens"], json!([]));
    let inspected = gate.fallgate_with(&["token", "inspect"], &token).ok().stdout;
    assert!(inspected.contains("internal\n") && inspected.contains("status  active"), "{inspected}");
    // Given as an id by mistake it is not repeated.
    assert!(!gate.fallgate(&["token", "revoke", &token]).refused(2).contains(&token));

    gate.fallgate_with(&["token", "revoke", "--stdin"], &token).ok();
    assert_eq!(with(&gate, &token).status, 401);
    let shown = gate.fallgate(&["internal-token", "show"]).ok();
    assert!(shown.stderr.contains("was revoked"), "{}", shown.stderr);
    let gate = Gate::on(gate.kill(), "");
    assert!(gate.log().contains("was revoked"), "{}", gate.log());
    let new = read(&gate);
    assert_eq!((with(&gate, &token).status, with(&gate, &new).status), (401, 200));
}

#[test]
fn without_a_home_or_a_file_there_is_nothing_to_show() {
    let home = Home::new();
    assert!(home.fallgate(&["internal-token", "show"]).refused(1).contains("there is no"));
    home.user("ada");
    assert!(home.fallgate(&["internal-token", "show"]).refused(1).contains("internal-token rotate"));
    home.fallgate(&["internal-token", "rotate"]).ok();
    let token = read(&home);
    // A home that has nothing but the file is taken for what it is.
    let bare = Home::new();
    fs::create_dir(bare.path()).unwrap();
    fs::write(file(&bare), format!("{token}\n")).unwrap();
    let gate = Gate::on(bare, "");
    assert_eq!(with(&gate, &token).status, 200, "{}", gate.log());
    let unfinished = Run::of(gate.command(&["internal-token"]), b"");
    assert_eq!(unfinished.code, Some(2), "{}", unfinished.stderr);
}
