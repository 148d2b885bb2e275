//! Secrets of a kind that cannot be overlooked, planted wherever a secret may stand, and wherever people put theirs
//! by mistake; then everything that was written is searched for them.
//!
//! A new door or command gets its line in [`REQUESTS`] or [`COMMANDS`].

mod commands;
mod requests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use self::commands::{COMMANDS, OVER_HTTP};
use self::requests::{BEFORE_SETUP, REQUESTS};
use crate::support::llmux::{
    LLMUX_PASSPHRASE, Llmux, SCRYPT, anonymous_token, bound_entry, bound_token, user,
};
use crate::support::{Client, Gate, Home, PASSPHRASE, Response, Run, Token, Upstream, hex, wait_for};

/// The root key, as the surroundings tell it.
const ROOT_KEY: &str = "5ec2e7000102030405060708090a0b0c0d0e0f10111213141516171819c0ffee";

/// Where a hash of a passphrase was planted.
const HASH: &str = "a hash of llmux";

/// What was planted, and where; and what stands in the holes of templates.
#[derive(Default)]
struct Canaries {
    planted: BTreeMap<String, String>,
    holes: BTreeMap<&'static str, String>,
}

impl Canaries {
    fn plant(&mut self, place: &str) -> String {
        let canary = format!("Canary{:05}Qz", self.planted.len());
        self.note(&canary, place);
        canary
    }

    /// Something that is to be found nowhere, in this form and in those that it might be kept or sent in.
    fn note(&mut self, text: &str, place: &str) {
        let encoded = [STANDARD.encode(text), URL_SAFE_NO_PAD.encode(text), hex(text.as_bytes())];
        for form in encoded.into_iter().chain([text.to_owned()]) {
            self.planted.insert(form, place.to_owned());
        }
    }

    /// A secret that templates name.
    fn hold(&mut self, hole: &'static str, secret: &str) {
        self.note(secret, hole);
        self.holes.insert(hole, secret.to_owned());
    }

    /// Fills the holes of a template.
    fn fill(&mut self, template: &str, place: &str) -> String {
        let mut filled = template.to_owned();
        for (hole, value) in &self.holes {
            filled = filled.replace(hole, value);
        }
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
        if filled.contains("{live-basic}") {
            filled =
                filled.replace("{live-basic}", &STANDARD.encode(format!("ada:{}", self.holes["{live}"])));
        }
        filled.replace("{n}", &self.planted.len().to_string())
    }

    /// The new secrets that an answer shows to whoever asked, and that nobody else is to see.
    fn note_given(&mut self, answer: &Response, place: &str) {
        let cookie = answer.header("set-cookie").unwrap_or_default();
        let text = format!("{cookie} {}", answer.text());
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        for word in
            words.filter(|word| word.len() == 53 && (word.starts_with("fgt_") || word.starts_with("fgl_")))
        {
            self.note(word, &format!("the answer to {place}"));
        }
        if let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&answer.body)
            && let Some(token) = answer["access_token"].as_str()
        {
            self.note(token, &format!("the answer to {place}"));
        }
    }

    /// The search itself.
    #[track_caller]
    fn assert_absent(&self, bytes: &[u8], what: &str) {
        let text = String::from_utf8_lossy(bytes);
        for (canary, place) in &self.planted {
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
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                // What was there a moment ago may be gone.
                let bytes = fs::read(entry.path()).unwrap_or_default();
                found.insert(entry.path().display().to_string(), bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&home.path(), &mut found);
    found
}

/// Runs a command that says all it can, also on its way to failing.
fn run(home: &Home, change: impl FnOnce(&mut Command), arguments: &[&str], stdin: &str) -> Run {
    let mut command = home.command(arguments);
    command.env("FALLGATE_LOG", "trace").env("FALLGATE_ENCRYPTION_KEY", ROOT_KEY);
    change(&mut command);
    Run::of(command, stdin.as_bytes())
}

/// Sends a request, and looks at its answer.
fn send(
    gate: &Gate,
    (line, headers, body): (&str, &str, &str),
    caller: &str,
    canaries: &mut Canaries,
) -> Response {
    let place = format!("{line} {headers}{body}");
    let [line, headers, body] = [line, headers, body].map(|template| canaries.fill(template, &place));
    let has = |name: &str| headers.contains(name);
    let host = if has("Host:") { "" } else { "Host: localhost\r\n" };
    let kind = if has("Content-Type:") { "" } else { "Content-Type: application/json\r\n" };
    let length = format!("Content-Length: {}\r\n", body.len());
    let length = if has("Transfer-Encoding:") { "" } else { &length };
    let answer = Client::exchange(
        gate.address(),
        format!("{line} HTTP/1.1\r\n{host}{caller}{headers}{kind}{length}Connection: close\r\n\r\n{body}"),
    );
    for (name, value) in &answer.headers {
        canaries.assert_absent(format!("{name}: {value}").as_bytes(), &format!("a header of {place}"));
    }
    canaries.assert_absent(&answer.body, &format!("the answer to {place}"));
    canaries.note_given(&answer, &place);
    answer
}

/// Makes the first admin with the setup token, after tries that fail.
fn set_up(gate: &Gate, canaries: &mut Canaries) {
    let setup = fs::read_to_string(gate.path().join("setup-token")).unwrap();
    canaries.hold("{setup}", setup.trim_end());
    let statuses: Vec<_> =
        BEFORE_SETUP.iter().map(|request| send(gate, *request, "", canaries).status).collect();
    assert_eq!(statuses, [503, 503, 401, 400, 400, 201]);
}

/// Sends every request, as a stranger and as somebody who may do it.
fn send_all(gate: &Gate, admin: &Token, canaries: &mut Canaries) {
    let mut statuses = BTreeMap::<u16, usize>::new();
    canaries.hold("{signed-in}", &gate.sign_in("bob").secret);
    for request in REQUESTS {
        for caller in ["", &admin.header()] {
            let own = ["Authorization:", "{signed-in}"].iter().any(|own| request.1.contains(own));
            if own && !caller.is_empty() {
                continue;
            }
            let answer = send(gate, *request, caller, canaries);
            *statuses.entry(answer.status).or_default() += 1;
            if status_of(gate, &canaries.holes["{live}"]) != 200 {
                canaries.hold("{live}", &gate.token("ada").secret);
            }
        }
    }
    // It went the ways that it was meant to go, not only the first one that refuses.
    for status in [200, 201, 204, 303, 400, 401, 403, 404, 405, 409, 415, 421] {
        assert!(statuses.contains_key(&status), "none was answered {status}: {statuses:?}");
    }
}

fn status_of(gate: &Gate, secret: &str) -> u16 {
    let token = Token { id: String::new(), secret: secret.to_owned() };
    Client::get(gate.address(), "/api/whoami", Some(&token)).status
}

/// The files that commands name: root keys, and what is left of llmux.
fn lay_out_files(gate: &Gate, canaries: &mut Canaries) {
    let at = |name: &str| gate.beside().join(name);
    let write = |hole, name: &str, text: &str, canaries: &mut Canaries| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), canaries.fill(text, name)).unwrap();
        // llmux' files are named by their folder.
        let named = at(name.split_once('/').map_or(name, |(folder, _)| folder));
        canaries.holes.insert(hole, named.display().to_string());
    };
    let new_key = ROOT_KEY.replace("c0ffee", "decade");
    canaries.note(&new_key, "the new root key");
    write("{new-key}", "new.key", &new_key, canaries);
    write("{garbled-key}", "garbled.key", "{canary}", canaries);
    let half = r#"{"version":2,"tokens":[{"id":"x","hash":"{canary}","name":"{canary}"#;
    write("{half-written}", "half/auth.json", half, canaries);
    let misshapen = r#"{"version":2,"tokens":[{"id":"x","hash":["{canary}"],"{canary}":1}]}"#;
    write("{misshapen}", "misshapen/auth.json", misshapen, canaries);
    canaries.holes.insert("{backup}", at("backup.db").display().to_string());

    let llmux = Llmux::beside(gate);
    canaries.note(SCRYPT.rsplit_once('$').unwrap().1, HASH);
    let (bound, plain) = (bound_token('s'), anonymous_token('M'));
    for (secret, place) in [(&bound, "a bound token of llmux"), (&plain, "llmux' token in plain text")] {
        canaries.note(secret, place);
    }
    llmux.write("users.json", &json!([user("carl", false)]));
    llmux.write("tokens.json", &json!([bound_entry(&bound, "carl")]));
    llmux.write(
        "auth.json",
        &json!({"version": 1, "tokens": [{"token": plain, "createdAt": 1_704_164_645_678_u64}]}),
    );
}

/// Runs every command here, and over HTTP.
fn run_all(gate: &Gate, canaries: &mut Canaries) {
    let mut codes = BTreeMap::<_, usize>::new();
    let url = format!("http://{}", gate.address());
    let here = COMMANDS.iter().map(|(arguments, stdin)| (*arguments, *stdin, None));
    let there = OVER_HTTP.iter().map(|(arguments, stdin, token)| (*arguments, *stdin, Some(*token)));
    for (arguments, stdin, token) in there.chain(here) {
        if status_of(gate, &canaries.holes["{live}"]) != 200 {
            canaries.hold("{live}", &gate.token("ada").secret);
        }
        let place = format!("`{}` with {stdin:?}", arguments.join(" "));
        let mut fill = |template: &str| canaries.fill(template, &place);
        let (stdin, token) = (fill(stdin), token.map(&mut fill));
        let arguments: Vec<_> = arguments.iter().map(|argument| fill(argument)).collect();
        let at_gate = |command: &mut Command| {
            if let Some(token) = token {
                command.env_remove("FALLGATE_HOME").args(["--server", &url]);
                if !token.is_empty() {
                    command.env("FALLGATE_TOKEN", token);
                }
            }
        };
        let run = run(gate, at_gate, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &stdin);
        *codes.entry(run.code).or_default() += 1;
        canaries.assert_absent(run.stdout.as_bytes(), &format!("what {place} prints"));
        canaries.assert_absent(run.stderr.as_bytes(), &format!("what {place} says"));
    }
    assert!(codes[&Some(0)] > 20 && codes[&Some(1)] > 10, "{codes:?}");
}

#[test]
fn r23_r61_what_is_planted_in_requests_and_commands_is_found_nowhere() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let gate = Gate::started(Home::new(), &config, |command| {
        command.env("FALLGATE_LOG", "trace").env("FALLGATE_ENCRYPTION_KEY", ROOT_KEY);
    });
    let mut canaries = Canaries::default();
    canaries.note(ROOT_KEY, "the root key");
    canaries.note(
        &STANDARD.encode(fallgate_domain::hex::decode::<32>(ROOT_KEY.as_bytes()).unwrap()),
        "the root key",
    );
    canaries.hold("{passphrase}", PASSPHRASE);
    set_up(&gate, &mut canaries);
    gate.user("ada");
    gate.user("bob");
    let admin = gate.token_with("root", &["--scope", "admin", "--name", "visible-marker"]);
    canaries.note(&admin.secret, "the admin's token");
    canaries.hold("{live}", &gate.token("ada").secret);
    canaries.hold("{internal}", &gate.internal_token());
    canaries.hold("{legacy}", &gate.legacy_token().secret);
    lay_out_files(&gate, &mut canaries);

    send_all(&gate, &admin, &mut canaries);
    run_all(&gate, &mut canaries);
    canaries.hold("{passphrase}", LLMUX_PASSPHRASE);
    let by_carl = ("POST /api/login", "", r#"{"username":"carl","passphrase":"{passphrase}"}"#);
    assert_eq!(send(&gate, by_carl, "", &mut canaries).status, 200);
    canaries.note(&gate.internal_token(), "this machine's token after a rotation");

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
    let mut held = files(&gate);
    // What is meant to be there, readable by its owner alone; and a hash, which stands for the passphrase in it until
    // its first use.
    held.retain(|name, _| !name.ends_with("/internal-token"));
    canaries.planted.retain(|_, place| place != HASH);
    for (name, bytes) in &held {
        canaries.assert_absent(bytes, name);
    }
    // The search does find what is there.
    let mut visible = Canaries::default();
    visible.note("visible-marker", "a token's name");
    assert!(trail.contains("\"worker\""), "nothing was exchanged");
    let is_in = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("visible-marker");
    assert!(is_in(trail.as_bytes()) && held.values().any(|bytes| is_in(bytes)));
    assert!(held.keys().any(|name| name.ends_with("fallgate.db-wal")), "{:?}", held.keys());
    assert!(std::panic::catch_unwind(|| visible.assert_absent(trail.as_bytes(), "the audit trail")).is_err());
}
