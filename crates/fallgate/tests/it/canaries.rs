//! Secrets of a kind that cannot be overlooked, planted wherever a secret may stand, and wherever people put theirs
//! by mistake; then everything that was written is searched for them.
//!
//! A new door or command gets its line in [`REQUESTS`] or [`COMMANDS`].

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::{Client, Gate, Home, PASSPHRASE, Run, Token, Upstream, hex, wait_for};

/// Start line without the version, header lines, body. In each of them
///
/// - `{canary}` is a new canary each time, `{basic}` one as the password of `Basic`, `{name}` one as its username;
/// - `{live}` is the secret of a token that stands, `{live-basic}` the same as the password of `Basic`;
/// - `{signed-in}` is the secret of somebody's sign-in, while it lasts, and `{n}` another number each time.
const REQUESTS: &[(&str, &str, &str)] = &[
    // Where a credential belongs.
    ("GET /api/whoami", "Authorization: Bearer {live}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {live-basic}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {live}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer fgt_{canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {basic}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {name}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {canary}%%\r\n", ""),
    ("GET /api/whoami", "Authorization: {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Digest username=\"{canary}\", response=\"{canary}\"\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {canary}\r\nAuthorization: Bearer {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {live}, Bearer {canary}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {canary}\r\n", ""),
    ("GET /app/x", "Authorization: Basic {basic}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={live}; __Host-fallgate=fgl_{canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={canary}; fallgate=\"{canary}\"; other={canary}\r\n", ""),
    ("GET /api/whoami", "Proxy-Authorization: Bearer {canary}\r\nFallgate-Token: {canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={signed-in}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {signed-in}\r\n", ""),
    (
        "DELETE /api/logins",
        "Cookie: a={canary}; fallgate={signed-in}\r\nOrigin: http://{canary}.example\r\n",
        "",
    ),
    ("DELETE /api/logins/{canary}", "Cookie: fallgate={signed-in}\r\nSec-Fetch-Site: same-origin\r\n", ""),
    // Where none belongs.
    ("GET /api/whoami?token={canary}", "", ""),
    ("GET /api/whoami?token={live}", "", ""),
    ("GET /api/audit?user={canary}&limit={canary}", "", ""),
    ("GET /api/audit?before={canary}", "", ""),
    ("GET /app/x?token={canary}&access_token={canary}", "", ""),
    ("GET /nothing/{canary}?{canary}", "", ""),
    ("GET /app/a%2f{canary}", "", ""),
    ("GET /api/users/{canary}", "", ""),
    ("DELETE /api/users/{canary}", "", ""),
    ("DELETE /api/tokens/{canary}", "", ""),
    ("DELETE /api/tokens/{live}", "", ""),
    ("DELETE /api/tokens?username={canary}", "", ""),
    ("PATCH /api/tokens/{canary}", "", "{\"name\":\"x\"}"),
    ("PATCH /api/tokens/00000000-0000-7000-8000-000000000000", "", "{\"name\":[\"{canary}\"]}"),
    ("POST /api/whoami", "X-Api-Key: {canary}\r\n", "{canary}"),
    ("GET /health", "X-Auth: {canary}\r\nReferer: http://x.example/?t={canary}\r\n", ""),
    ("GET /api/version", "Origin: http://{canary}.example\r\nForwarded: for={canary}\r\n", ""),
    // Bodies: as they should be, and as they should not.
    ("POST /api/tokens/inspect", "", "{\"token\":\"{live}\"}"),
    ("POST /api/tokens/inspect", "", "{\"token\":\"fgt_{canary}\"}"),
    ("POST /api/tokens/inspect", "", "{\"token\":{\"x\":\"{canary}\"}}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{canary}\"}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{live}\"}"),
    ("POST /api/tokens/revoke", "", "{\"token\":[\"{canary}\"]}"),
    ("POST /api/tokens/revoke", "", "{\"token\":{\"{canary}\":\"{canary}\"}}"),
    ("POST /api/tokens/revoke", "", "[\"{canary}\"]"),
    ("POST /api/tokens/revoke", "", "{canary}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{canary}"),
    ("POST /api/tokens/revoke", "Content-Type: text/{canary}\r\n", "token={canary}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"username\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":{\"x\":\"{canary}\"}}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"expires_in\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"expires_at\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"scopes\":\"{canary}\"}"),
    ("POST /api/users", "", "{\"username\":\"made-{n}\",\"passphrase\":\"otter {canary} canyon\"}"),
    ("POST /api/users", "", "{\"username\":\"ada\",\"passphrase\":\"otter {canary} canyon\"}"),
    ("POST /api/users", "", "{\"username\":\"made-{n}\",\"passphrase\":[\"{canary}\"]}"),
    (
        "POST /api/users",
        "",
        "{\"username\":\"made-{n}\",\"passphrase\":\"{canary} slate canyon\",\"role\":\"{canary}\"}",
    ),
    ("POST /api/users", "", "{\"username\":\"{canary}!\",\"passphrase\":\"{canary} slate canyon\"}"),
    ("POST /api/users/ada/passphrase", "", "{\"passphrase\":\"slate {canary} canyon\"}"),
    (
        "POST /api/users/ada/passphrase",
        "",
        "{\"passphrase\":\"slate {canary}\",\"revoke_tokens\":\"{canary}\"}",
    ),
    ("POST /api/users/nobody/passphrase", "", "{\"passphrase\":\"slate {canary} canyon\"}"),
    ("PATCH /api/users/ada", "", "{\"disabled\":\"{canary}\"}"),
    ("POST /app/x", "Content-Type: text/plain\r\n", "{canary}"),
    ("POST /api/login", "", "{\"username\":\"ada\",\"passphrase\":\"{canary}\"}"),
    ("POST /api/login", "", "{\"username\":\"{canary}\",\"passphrase\":\"x\"}"),
    (
        "POST /api/login",
        "Origin: http://{canary}.example\r\n",
        "{\"username\":\"ada\",\"passphrase\":\"{canary}\"}",
    ),
    ("POST /api/login", "", "{\"username\":[\"{canary}\"],\"passphrase\":\"{canary}\"}"),
    ("POST /api/login", "", "{\"username\":\"ada\",\"passphrase\":{\"x\":\"{canary}\"}}"),
    ("POST /api/login?passphrase={canary}", "", "username=ada&passphrase={canary}"),
    ("PATCH /api/account", BY_PAGE, "{\"display_name\":{\"x\":\"{canary}\"}}"),
    ("POST /api/account/passphrase", BY_PAGE, "{\"current\":\"{canary}\",\"new\":\"slate {canary} canyon\"}"),
    (
        "POST /api/account/passphrase",
        BY_PAGE,
        "{\"current\":[\"{canary}\"],\"new\":\"slate {canary} canyon\"}",
    ),
    (
        "POST /api/account/passphrase",
        BY_PAGE,
        "{\"current\":\"{canary}\",\"new\":\"{canary}\",\"revoke_tokens\":1}",
    ),
    ("POST /api/logout", "Cookie: fallgate={signed-in}\r\nOrigin: null\r\n", "{canary}"),
    ("POST /api/logout", BY_PAGE, "{canary}"),
    // What is no request, and what is more than one.
    ("{canary}", "", ""),
    ("GET /app/{canary} {canary}", "", ""),
    ("GET /app/x", "Bad Header {canary}: {canary}\r\n", ""),
    ("GET /app/x", "X-Folded: {canary}\r\n {canary}\r\n", ""),
    ("GET /app/x", "Host: {canary}.example\r\n", ""),
    ("POST /api/tokens/revoke", "Transfer-Encoding: chunked\r\n", "{canary}\r\n{canary}\r\n0\r\n\r\n"),
    (
        "GET /app/x",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: bearer, {canary}\r\n",
        "",
    ),
];

/// As a page of ours asks.
const BY_PAGE: &str = "Cookie: fallgate={signed-in}\r\nSec-Fetch-Site: same-origin\r\n";

/// Arguments, and what is on stdin. `{live}` and `{canary}` as above.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["user", "create", "by-cli", "--passphrase-stdin"], "slate {canary} canyon"),
    (&["user", "create", "by-cli", "--passphrase-stdin"], "slate {canary} canyon again"),
    (&["user", "create", "too-short", "--passphrase-stdin"], "{canary}\u{0}"),
    (&["user", "create", "Not A Name", "--passphrase-stdin"], "slate {canary} canyon"),
    (&["user", "reset-passphrase", "ada", "--passphrase-stdin", "--revoke-tokens"], "otter {canary} canyon"),
    (&["token", "inspect"], "{live}"),
    (&["token", "inspect"], "fgt_{canary}"),
    (&["token", "inspect"], "{canary} {canary}\n{canary}"),
    (&["token", "revoke", "--stdin"], "{canary}"),
    (&["token", "revoke", "--stdin"], "{live}"),
    (&["token", "revoke", "{live}"], ""),
    (&["audit", "list", "--user", "{canary}", "--json"], ""),
    (&["audit", "list", "--json", "--limit", "1000"], ""),
    (&["audit", "verify"], ""),
    (&["key", "list", "--json"], ""),
    (&["token", "list", "--all", "--json"], ""),
    (&["user", "list", "--json"], ""),
    (&["config", "explain"], ""),
];

/// What was planted, and where.
#[derive(Default)]
struct Canaries(BTreeMap<String, String>);

impl Canaries {
    fn plant(&mut self, place: &str) -> String {
        let canary = format!("Canary{:05}Qz", self.0.len());
        self.note(&canary, place);
        canary
    }

    /// Something that is to be found nowhere, in this form and in those that it might be kept or sent in.
    fn note(&mut self, text: &str, place: &str) {
        let encoded = [STANDARD.encode(text), URL_SAFE_NO_PAD.encode(text), hex(text.as_bytes())];
        for form in encoded.into_iter().chain([text.to_owned()]) {
            self.0.insert(form, place.to_owned());
        }
    }

    /// Fills the places of a template.
    fn fill(&mut self, template: &str, live: &str, place: &str) -> String {
        let mut filled = template.replace("{live}", live);
        while filled.contains("{canary}") {
            filled = filled.replacen("{canary}", &self.plant(place), 1);
        }
        for (hole, username) in [("{basic}", Some("ada")), ("{name}", None)] {
            if filled.contains(hole) {
                let canary = self.plant(place);
                let pair = username.map_or_else(|| format!("{canary}:x"), |name| format!("{name}:{canary}"));
                self.note(&pair, place);
                filled = filled.replace(hole, &STANDARD.encode(pair));
            }
        }
        filled
            .replace("{live-basic}", &STANDARD.encode(format!("ada:{live}")))
            .replace("{n}", &self.0.len().to_string())
    }

    /// The search itself.
    #[track_caller]
    fn assert_absent(&self, bytes: &[u8], what: &str) {
        let text = String::from_utf8_lossy(bytes);
        for (canary, place) in &self.0 {
            assert!(
                !text.contains(canary),
                "what was planted in {place} is in {what}: {}",
                around(&text, canary)
            );
        }
    }
}

fn around(text: &str, canary: &str) -> String {
    let at = text.find(canary).unwrap_or_default();
    let before: String = text[..at].chars().rev().take(120).collect();
    before.chars().rev().chain(text[at..].chars().take(160)).collect()
}

/// Every file of the home folder, by name.
fn files(home: &Home) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                // What was there a moment ago may be gone.
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                found.insert(entry.path().display().to_string(), bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&home.path(), &mut found);
    found
}

/// Runs a command that says all it can, also on its way to failing.
fn run(home: &Home, arguments: &[&str], stdin: &str) -> Run {
    let mut command = home.command(arguments);
    command.env("FALLGATE_LOG", "trace");
    Run::of(command, stdin.as_bytes())
}

/// Sends every request, as a stranger and as somebody who may do it, and looks at the answers; gives back a token that
/// still stands.
fn send_all(gate: &Gate, admin: &Token, canaries: &mut Canaries) -> Token {
    let mut statuses = BTreeMap::<u16, usize>::new();
    let mut held = gate.token("ada");
    canaries.note(&held.secret, "a token in use");
    let signed_in = gate.sign_in("bob").secret;
    canaries.note(&signed_in, "a sign-in");
    for (line, headers, body) in REQUESTS {
        let place = format!("{line} {headers}{body}");
        for caller in ["", &admin.header()] {
            if !caller.is_empty() && ["Authorization:", "{signed-in}"].iter().any(|own| headers.contains(own))
            {
                continue;
            }
            let mut fill = |template: &str| {
                canaries.fill(&template.replace("{signed-in}", &signed_in), &held.secret, &place)
            };
            let (line, headers, body) = (fill(line), fill(headers), fill(body));
            let has = |name: &str| headers.contains(name);
            let host = if has("Host:") { "" } else { "Host: localhost\r\n" };
            let kind = if has("Content-Type:") { "" } else { "Content-Type: application/json\r\n" };
            let length = format!("Content-Length: {}\r\n", body.len());
            let length = if has("Transfer-Encoding:") { "" } else { &length };
            let answer = Client::exchange(
                gate.address(),
                format!(
                    "{line} HTTP/1.1\r\n{host}{caller}{headers}{kind}{length}Connection: close\r\n\r\n{body}"
                ),
            );
            *statuses.entry(answer.status).or_default() += 1;
            for (name, value) in &answer.headers {
                canaries
                    .assert_absent(format!("{name}: {value}").as_bytes(), &format!("a header of {place}"));
            }
            canaries.assert_absent(&answer.body, &format!("the answer to {place}"));
            if Client::get(gate.address(), "/api/whoami", Some(&held)).status != 200 {
                held = gate.token("ada");
                canaries.note(&held.secret, "a token in use");
            }
        }
    }
    // It went the ways that it was meant to go, not only the first one that refuses.
    for status in [200, 201, 204, 400, 401, 403, 404, 405, 409, 415, 421] {
        assert!(statuses.contains_key(&status), "none was answered {status}: {statuses:?}");
    }
    held
}

#[test]
fn r23_r61_what_is_planted_in_requests_and_commands_is_found_nowhere() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let gate = Gate::started(Home::new(), &config, |command| {
        command.env("FALLGATE_LOG", "trace");
    });
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    let admin = gate.token_with("root", &["--scope", "admin", "--name", "visible-marker"]);
    let mut canaries = Canaries::default();
    canaries.note(&admin.secret, "the admin's token");
    canaries.note(PASSPHRASE, "everybody's passphrase");

    let live = send_all(&gate, &admin, &mut canaries);
    for (arguments, stdin) in COMMANDS {
        let place = format!("`{}` with {stdin:?}", arguments.join(" "));
        let mut fill = |template: &str| canaries.fill(template, &live.secret, &place);
        let stdin = fill(stdin);
        let arguments: Vec<_> = arguments.iter().map(|argument| fill(argument)).collect();
        let run = run(&gate, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &stdin);
        canaries.assert_absent(run.stdout.as_bytes(), &format!("what {place} prints"));
        canaries.assert_absent(run.stderr.as_bytes(), &format!("what {place} says"));
    }

    wait_for("the use of a token", || {
        let listed = gate.fallgate(&["token", "list", "--all", "--json"]).ok().json();
        let tokens = listed["tokens"].as_array().unwrap().clone();
        tokens.iter().find(|held| held["id"] == *admin.id && !held["last_used_at"].is_null()).map(drop)
    });
    let log = gate.log();
    assert!(log.contains("DEBUG"), "the log says little: {log}");
    canaries.assert_absent(log.as_bytes(), "the log");
    let trail = gate.fallgate(&["audit", "list", "--json", "--limit", "1000"]).ok().stdout;
    canaries.assert_absent(trail.as_bytes(), "the audit trail");
    let held = files(&gate);
    for (name, bytes) in &held {
        canaries.assert_absent(bytes, name);
    }
    // The search does find what is there.
    let mut visible = Canaries::default();
    visible.note("visible-marker", "a token's name");
    let is_in = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("visible-marker");
    assert!(is_in(trail.as_bytes()) && held.values().any(|bytes| is_in(bytes)));
    assert!(held.keys().any(|name| name.ends_with("fallgate.db-wal")), "{:?}", held.keys());
    assert!(std::panic::catch_unwind(|| visible.assert_absent(trail.as_bytes(), "the audit trail")).is_err());
}
