//! The access log: a line for each request, whatever became of it; and nothing in it that nobody is to read.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Gate, Home, Line, Puppet, Upstream, WsFrame, ignoring_full_disks, wait_for};

/// A gate that logs into a file beside its home, with a route `app` for ada.
struct Scene {
    gate: Gate,
    log: PathBuf,
}

impl Scene {
    fn before(upstream: &str) -> Self {
        let home = Home::new();
        let log = home.beside().join("access.log");
        let gate = Gate::on(home, &config(&log, upstream));
        Self { gate, log }
    }

    /// The lines, once there are so many.
    fn lines(&self, count: usize) -> Vec<Value> {
        lines(&self.log, count)
    }

    fn request(&self, line: &str, headers: &str) -> u16 {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        Client::exchange(self.gate.address(), request).status
    }
}

fn config(log: &Path, upstream: &str) -> String {
    format!(
        "[log]\naccess = \"{}\"\n[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforward_auth = true\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\nallow = [\"user:ada\"]\npublic = [\"/open\"]\n\
         [[route]]\nname = \"raw\"\nhost = \"raw.example\"\nupstream = {upstream:?}\npaths = \"raw\"\n",
        log.display()
    )
}

fn lines(log: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines of the access log"), || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Vec<_> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Some(lines).filter(|lines| lines.len() >= count)
    })
}

#[test]
fn each_request_leaves_a_line_that_says_who_asked_for_what_and_what_came_of_it() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec());
    let scene = Scene::before(&upstream.url());
    let (ada, bob) = (scene.gate.token("ada"), scene.gate.token("bob"));
    let body = "Content-Length: 3\r\n\r\nabc";
    let from = "X-Forwarded-For: 203.0.113.9\r\n";
    // A line comes when its request is over, which may be after the answer was read: one after the other.
    let mut count = 0;
    let mut told_after = |status: u16, wanted: u16| {
        assert_eq!(status, wanted);
        count += 1;
        scene.lines(count);
    };
    told_after(scene.request("GET /app/a%7Eb?secret=query", &(ada.header() + from)), 200);
    let exchanged = Client::exchange(
        scene.gate.address(),
        format!("POST /app/x HTTP/1.1\r\nHost: localhost\r\n{}{body}", ada.header()),
    );
    told_after(exchanged.status, 200);
    told_after(scene.request("GET /app/x", &bob.header()), 403);
    told_after(scene.request("GET /app/x", ""), 401);
    told_after(scene.request("GET /app/open/x", &ada.header()), 200);
    told_after(scene.request("GET /api/whoami", &ada.header()), 200);
    told_after(scene.request("GET /app/a%2fb", &ada.header()), 400);
    told_after(scene.request("G{T /x", ""), 400);
    let lines = scene.lines(8);
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().cloned().collect();
    let mut wanted = [
        "at",
        "credential",
        "username",
        "agent",
        "route",
        "method",
        "path",
        "status",
        "bytes_in",
        "bytes_out",
        "ms",
        "ip",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    let told = |line: &Value| {
        let names = ["username", "route", "method", "path", "status", "bytes_in"];
        names.map(|name| line[name].clone()).to_vec()
    };
    let local = "127.0.0.1";
    for (line, (wanted, credential, ip)) in lines.iter().zip([
        (json!(["ada", "app", "GET", "/app/a~b", 200, 0]), Some(&ada.id), "203.0.113.9"),
        (json!(["ada", "app", "POST", "/app/x", 200, 3]), Some(&ada.id), local),
        (json!(["bob", "app", "GET", "/app/x", 403, 0]), Some(&bob.id), local),
        (json!([null, "app", "GET", "/app/x", 401, 0]), None, local),
        (json!([null, "app", "GET", "/app/open/x", 200, 0]), None, local),
        (json!(["ada", null, "GET", "/api/whoami", 200, 0]), Some(&ada.id), local),
        // What was not decided on is not written down as if it had been.
        (json!([null, null, "GET", null, 400, 0]), None, local),
        (json!([null, null, null, null, 400, 0]), None, local),
    ]) {
        assert_eq!(told(line), *wanted.as_array().unwrap(), "{line}");
        assert_eq!(
            (line["credential"].as_str(), line["ip"].as_str()),
            (credential.map(String::as_str), Some(ip))
        );
        assert!(line["ms"].is_u64() && line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert_eq!((&lines[0]["bytes_out"], &lines[1]["bytes_out"]), (&json!(5), &json!(5)));
    assert!(lines[2]["bytes_out"].as_u64().unwrap() > 20, "the problem is content too: {}", lines[2]);
    assert_eq!(fs::metadata(&scene.log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_another_proxy_asks_about_and_acts_on_oneself_leave_lines_too() {
    let upstream = Upstream::echo();
    let scene = Scene::before(&upstream.url());
    let ada = scene.gate.token_with("ada", &["--scope", "routes:use", "--scope", "tokens:write"]);
    let asked = format!(
        "{}X-Original-Method: DELETE\r\nX-Original-URL: http://localhost/app/thing?x=y\r\nX-Forwarded-For: 203.0.113.9\r\n",
        ada.header()
    );
    assert_eq!(scene.request("GET /auth/nginx", &asked), 200);
    scene.lines(1);
    // Whoever ends their own credential is still whoever did it.
    assert_eq!(scene.request(&format!("DELETE /api/tokens/{}", ada.id), &ada.header()), 204);
    let lines = scene.lines(2);
    assert_eq!(
        ["username", "route", "method", "path", "status", "ip"].map(|name| lines[0][name].clone()),
        [json!("ada"), json!("app"), json!("DELETE"), json!("/app/thing"), json!(200), json!("203.0.113.9")]
    );
    assert_eq!((&lines[1]["username"], &lines[1]["status"]), (&json!("ada"), &json!(204)));
    assert_eq!(lines[1]["credential"], json!(ada.id));
}

#[test]
fn a_stream_leaves_its_line_when_it_ends_with_all_that_went_through() {
    let upstream = Puppet::new();
    let scene = Scene::before(&upstream.url());
    let token = scene.gate.token("ada");
    let client = Line::ask_for_websocket(scene.gate.address(), "/app/socket", &token);
    let mut above = upstream.accept_websocket();
    let mut client = client.switched();
    client.send(WsFrame::from_client("hello"));
    above.exactly(11);
    above.send(WsFrame::from_server(b"a longer answer"));
    client.exactly(19);
    assert!(fs::read_to_string(&scene.log).unwrap().is_empty());
    let client = client.watched();
    scene.gate.fallgate(&["token", "revoke", &token.id]).ok();
    client.join().unwrap().assert_closed(4401, "token revoked");
    let line = &scene.lines(1)[0];
    assert_eq!(
        ["username", "path", "status", "bytes_in", "bytes_out"].map(|name| line[name].clone()),
        [json!("ada"), json!("/app/socket"), json!(101), json!(11), json!(19)]
    );
    // Whoever leaves before an answer came was answered nothing.
    let bob = scene.gate.token("ada");
    let mut leaving = Line::connect(scene.gate.address());
    leaving.send(format!("GET /app/slow HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bob.header()));
    let mut above = upstream.accept();
    above.head();
    drop(leaving);
    assert_eq!(scene.lines(2)[1]["status"], Value::Null);
}

#[test]
fn r23_r61_no_query_header_body_or_secret_is_ever_in_a_line() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nX-Answer: canary-answer\r\nContent-Length: 11\r\n\r\ncanary-body".to_vec()
    });
    let scene = Scene::before(&upstream.url());
    let token = scene.gate.token("ada");
    let headers = format!(
        "{}Cookie: a=canary-cookie\r\nUser-Agent: canary-agent\r\nReferer: http://x.example/canary-referer\r\n",
        token.header()
    );
    for target in ["/app/x?canary-query", "/api/whoami?canary-query", "/nothing?canary-query"] {
        scene.request(&format!("GET {target}"), &headers);
    }
    scene.lines(3);
    // What people paste where it does not belong.
    scene.request(&format!("DELETE /api/tokens/{}", token.secret), &headers);
    scene.lines(4);
    scene.request(&format!("GET /app/{}/x", scene.gate.internal_token()), &headers);
    scene.lines(5);
    scene.request("GET /app/fgl_canary-half", &headers);
    // And what would begin another line, or end this one's text.
    let hostile = "GET /a\"}\\%0a{\"\u{2028}b";
    let request = format!("{hostile} HTTP/1.1\r\nHost: raw.example\r\nConnection: close\r\n{headers}\r\n");
    Client::exchange(scene.gate.address(), request);
    scene.lines(7);
    scene.request(&format!("GET /app/{}", "x".repeat(20_000)), &headers);
    scene.lines(8);
    // Inside of a segment, and encoded on a route that takes paths as they come.
    let internal = scene.gate.internal_token();
    let encoded = token.secret.replacen('_', "%5F", 1);
    for (count, target) in [
        format!("/api/x;t={}/x-{}", token.secret, token.secret),
        format!("/cb/token={internal}/x"),
        format!("/dl;token={encoded}/%2e/{encoded}-x"),
        "/a/x-sas%255fcanary".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: raw.example\r\nConnection: close\r\n{headers}\r\n");
        Client::exchange(scene.gate.address(), request);
        scene.lines(9 + count);
    }
    let lines = scene.lines(12);
    let text = fs::read_to_string(&scene.log).unwrap();
    let digits = token.secret.split_once('_').unwrap().1;
    for secret in ["canary", digits, &internal] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(lines[3]["path"], "/api/tokens/…");
    assert_eq!(lines[4]["path"], "/app/…/x");
    let paths: Vec<_> = lines[8..].iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/api/…/…", "/cb/…/x", "/…/%2e/…", "/a/…"]);
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(lines[7]["path"].as_str().unwrap().len() < 2_100);
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_on_a_hangup() {
    let upstream = Upstream::echo();
    let scene = Scene::before(&upstream.url());
    scene.request("GET /health", "");
    assert_eq!(scene.lines(1).len(), 1);
    let moved = scene.log.with_extension("1");
    fs::rename(&scene.log, &moved).unwrap();
    scene.gate.signal(Signal::HUP);
    wait_for("a new file", || scene.log.exists().then_some(()));
    scene.request("GET /health", "");
    assert_eq!((scene.lines(1).len(), lines(&moved, 1).len()), (1, 1));
}

#[test]
fn on_stdout_there_are_lines_and_nothing_else_and_without_a_word_there_is_no_log() {
    let mut gate = Gate::configured("[log]\naccess = \"stdout\"\n");
    let mut stdout = BufReader::new(gate.stdout()).lines();
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
    let line: Value = serde_json::from_str(&stdout.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["path"], &line["status"]), (&json!("/health"), &json!(200)));
    gate.signal(Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    assert!(stdout.next().is_none());

    let mut silent = Gate::start();
    let stdout = BufReader::new(silent.stdout());
    assert_eq!(Client::get(silent.address(), "/health", None).status, 200);
    silent.signal(Signal::TERM);
    silent.ended();
    assert_eq!(stdout.lines().count(), 0);
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_holds_nobody_up() {
    let home = Home::new();
    home.user("ada");
    let log = home.beside().join("access.log");
    let gate = Gate::started(home, &format!("[log]\naccess = {log:?}\n"), ignoring_full_disks);
    let health = || assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
    health();
    lines(&log, 1);
    gate.limit_files(Some(0));
    for _ in 0..50 {
        health();
    }
    let complaints = || gate.log().matches("cannot write the access log").count();
    wait_for("the complaint", || (complaints() == 1).then_some(()));
    gate.limit_files(None);
    let count = lines(&log, 1).len();
    wait_for("lines again", || {
        health();
        (lines(&log, 1).len() > count).then_some(())
    });
    assert_eq!(complaints(), 1);
}

#[test]
fn a_log_that_cannot_be_made_keeps_the_gate_from_starting_and_says_why() {
    let home = Home::new();
    let nowhere = home.beside().join("no/such/folder/access.log");
    let config = home.write_config(&format!("[log]\naccess = {nowhere:?}\n"));
    let refused =
        home.fallgate(&["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]).refused(1);
    assert!(refused.contains("access.log") && refused.contains("No such file"), "{refused}");
}
