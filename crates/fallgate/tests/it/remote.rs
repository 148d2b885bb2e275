//! Commands on a gate over HTTP: they print what they print on a home folder, and say what went wrong when it did.

mod failures;
mod tls;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Clerk, Client, Gate, Home, PASSPHRASE, Run, Token};

const ANOTHER: &str = "heron copper lantern drift 57";
const NOBODYS: &str = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";

/// A gate with an admin, and a way to work on it.
struct Side {
    gate: Gate,
    admin: Token,
    over_http: bool,
}

impl Side {
    fn new(over_http: bool) -> Self {
        let gate = Gate::start();
        gate.admin("root");
        let admin = gate.token_with("root", &["--scope", "admin"]);
        Self { gate, admin, over_http }
    }

    fn url(&self) -> String {
        format!("http://{}", self.gate.address())
    }

    /// A command that works on this gate this way.
    fn command(&self, over_http: bool, words: &[&str]) -> Command {
        let mut command = self.gate.command(words);
        if over_http {
            command.env_remove("FALLGATE_HOME").env("FALLGATE_TOKEN", &self.admin.secret);
            command.args(["--server", &self.url()]);
        }
        command
    }

    fn run_with(&self, words: &[&str], stdin: impl AsRef<[u8]>) -> Run {
        Run::of(self.command(self.over_http, words), stdin.as_ref())
    }

    fn run(&self, words: &[&str]) -> Run {
        self.run_with(words, "")
    }

    /// The same both ways on this one gate, which the command does not change. What is noted of uses meanwhile may
    /// come in between: then it is asked again.
    fn assert_read_alike(&self, words: &[&str], stdin: &str) -> Run {
        let read = |over_http| Run::of(self.command(over_http, words), stdin.as_bytes());
        let (mut home, mut gate) = (read(false), read(true));
        if home.stdout != gate.stdout {
            (home, gate) = (read(false), read(true));
        }
        assert_eq!((home.code, &home.stdout), (gate.code, &gate.stdout), "{words:?}: {}", gate.stderr);
        let home_said = home.stderr.replace(&format!("--home {}", self.gate.path().display()), "PLACE");
        // A home folder has to be told whose a token will be; a gate knows.
        let home_said = home_said.replace("token create --username NAME", "token create --name NAME");
        assert_eq!(home_said, gate.stderr.replace(&format!("--server {}", self.url()), "PLACE"), "{words:?}");
        gate
    }
}

/// What differs between two gates, in one form: ids and secrets by the order of their appearance, times, addresses.
#[derive(Default)]
struct Plain(HashMap<String, String>);

impl Plain {
    fn text(&mut self, text: &str, side: &Side) -> String {
        let text = text
            .replace(&format!("--home {}", side.gate.path().display()), "PLACE")
            .replace(&format!("--server {}", side.url()), "PLACE")
            .replace(&format!("in {}", side.gate.path().display()), "THERE")
            .replace(&format!("at {}", side.url()), "THERE");
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
        let mut plain = String::new();
        for piece in text.split_inclusive(|c: char| !is_part(c)) {
            let word = piece.trim_end_matches(|c: char| !is_part(c));
            let rest = &piece[word.len()..];
            plain += &self.word(word);
            plain += rest;
        }
        plain
    }

    fn word(&mut self, word: &str) -> String {
        if let Some(id) = word.strip_prefix("credential:") {
            return format!("credential:{}", self.word(id));
        }
        let bare = word.trim_end_matches('.');
        let is_id = bare.len() == 36 && bare.split('-').count() == 5;
        let is_secret = bare.starts_with("fgt_");
        if bare.len() >= 20 && bare.starts_with("20") && bare.ends_with('Z') && bare.contains('T') {
            word.replace(bare, "TIME")
        } else if is_id || is_secret {
            let kind = if is_id { "ID" } else { "SECRET" };
            let number = self.0.len();
            let name = self.0.entry(bare.to_owned()).or_insert_with(|| format!("{kind}-{number}"));
            word.replace(bare, name)
        } else {
            word.to_owned()
        }
    }
}

/// Without the number between these two.
fn in_no_time(text: &str, before: &str, after: &str) -> String {
    let Some((start, rest)) = text.split_once(before) else { return text.to_owned() };
    match rest.split_once(after) {
        Some((number, rest)) if number.parse::<u64>().is_ok() => format!("{start}{before}0{after}{rest}"),
        _ => text.to_owned(),
    }
}

/// The part of the story that is about cuts; `id` is a token's.
fn cut_and_lift(tell_with: &mut impl FnMut(&[&str], &str) -> String, id: &str) {
    let cut = tell_with(&["cut", "user:ada", "--reason", "lost laptop", "--for", "12h"], "");
    tell_with(&["cut", &format!("credential:{id}"), "--json"], "");
    for target in ["user:eve", "agent:eve", &format!("credential:{NOBODYS}"), "eve", "user:Eve"] {
        tell_with(&["cut", target], "");
    }
    tell_with(&["cut", "user:bob", "--for", "never"], "");
    tell_with(&["cut", "user:bob", "--for", "0s"], "");
    tell_with(&["cut", "user:bob", "--reason", "a\nb"], "");
    // Its JSON says who placed it, who is another here and there.
    tell_with(&["lift", cut.trim()], "");
    tell_with(&["lift", cut.trim()], "");
    tell_with(&["lift", "x"], "");
}

/// The part of the story that is about agents.
fn agents(tell_with: &mut impl FnMut(&[&str], &str) -> String) {
    let make = ["agent", "create", "helper", "--owner", "ada"];
    tell_with(&make, "");
    tell_with(&make, "");
    tell_with(&["agent", "create", "ci", "--owner", "ada", "--scope", "routes:use", "--json"], "");
    for more in [
        &["ada", "--owner", "ada"][..],
        &["root", "--owner", "ada"],
        &["other", "--owner", "eve"],
        &["other", "--owner", "ada", "--scope", "admin"],
        &["other", "--owner", "ada", "--scope", "everything"],
        &["Other", "--owner", "ada"],
        &["other", "--owner", "ada", "--route", "No Route"],
    ] {
        tell_with(&[&["agent", "create"], more].concat(), "");
    }
    tell_with(&["agent", "disable", "helper"], "");
    tell_with(&["agent", "disable", "ci", "--json"], "");
    tell_with(&["agent", "enable", "helper"], "");
    tell_with(&["cut", "agent:helper", "--json"], "");
    tell_with(&["agent", "delete", "helper", "--yes"], "");
    tell_with(&["agent", "delete", "ci"], "");
    for verb in [&["agent", "disable"][..], &["agent", "enable"], &["agent", "delete", "--yes"]] {
        tell_with(&[verb, &["nobody"]].concat(), "");
    }
}

/// Every verb that changes something, well used and ill; what each came to, in one form.
fn story(side: &Side) -> Vec<(String, Option<i32>, String, String)> {
    let mut told = Vec::new();
    let mut plain = Plain::default();
    let mut tell_with = |words: &[&str], stdin: &str| -> String {
        let run = side.run_with(words, stdin);
        let said = run.stderr.replace("; revoked all that was theirs", "");
        // How many that were only the home folder tells.
        let said = said.replace("; revoked 2 tokens", "");
        // How long it took to close nothing.
        let said = in_no_time(&said, " in ", " ms");
        let stdout = in_no_time(&run.stdout, "\"took_ms\": ", "\n");
        let line = plain.text(&words.join(" "), side);
        told.push((line, run.code, plain.text(&stdout, side), plain.text(&said, side)));
        run.stdout
    };
    let create = ["user", "create", "ada", "--passphrase-stdin"];
    tell_with(&create, PASSPHRASE);
    tell_with(&create, PASSPHRASE);
    agents(&mut tell_with);
    tell_with(
        &["user", "create", "bob", "--display-name", " Bob B. ", "--admin", "--passphrase-stdin", "--json"],
        ANOTHER,
    );
    tell_with(&["user", "create", "eve", "--passphrase-stdin"], "short");
    tell_with(&["user", "create", "eve", "--passphrase-stdin"], "passwordpassword");
    tell_with(&["user", "create", "eve", "--passphrase-stdin"], "");
    tell_with(&["user", "create", "eve"], "");
    tell_with(&["user", "create", "Eve", "--passphrase-stdin"], PASSPHRASE);

    let secret = tell_with(&["token", "create", "--username", "ada"], "");
    let json = [
        "token",
        "create",
        "--username",
        "ada",
        "--name",
        "ci",
        "--scope",
        "tokens:write",
        "--expires",
        "never",
        "--json",
    ];
    let minted: Value = serde_json::from_str(&tell_with(&json, "")).unwrap();
    let id = minted["id"].as_str().unwrap();
    for more in [
        &["--username", "eve"][..],
        &["--username", "ada", "--scope", "admin"],
        &["--username", "ada", "--scope", "everything"],
        &["--username", "ada", "--expires", "2001-01-01T00:00:00Z"],
        &["--username", "ada", "--expires", "soon"],
        &["--username", "ada", "--expires", "2090-01-02T03:04:05Z", "--json"],
        &["--username", "ada", "--expires", "45s"],
    ] {
        tell_with(&[&["token", "create"], more].concat(), "");
    }
    tell_with(&["token", "rename", id, " the laptop ", "--json"], "");
    tell_with(&["token", "rename", id, "the laptop"], "");
    tell_with(&["token", "rename", NOBODYS, "x"], "");
    tell_with(&["token", "rename", id, "\u{7}"], "");
    tell_with(&["token", "expire", id, "--at", "12h", "--json"], "");
    tell_with(&["token", "expire", id, "--at", "2090-01-02T03:04:05+01:00", "--json"], "");
    tell_with(&["token", "expire", id, "--at", "never"], "");
    tell_with(&["token", "expire", id, "--at", "2001-01-01T00:00:00Z"], "");
    tell_with(&["token", "expire", NOBODYS, "--at", "1d"], "");
    tell_with(&["token", "revoke", id, NOBODYS], "");
    tell_with(&["token", "expire", id, "--at", "1d"], "");
    tell_with(&["token", "revoke", "x"], "");
    tell_with(&["token", "revoke", "--stdin"], &secret);
    tell_with(&["token", "revoke", "--stdin"], "hello");
    tell_with(&["token", "revoke", "--stdin"], "");
    tell_with(&["token", "revoke", "--all", "--user", "ada"], "");
    tell_with(&["token", "revoke", "--all", "--user", "eve", "--yes"], "");
    tell_with(&["token", "revoke", "--all", "--user", "ada", "--yes"], "");

    cut_and_lift(&mut tell_with, id);

    tell_with(&["user", "set-role", "bob", "user", "--json"], "");
    tell_with(&["user", "set-role", "root", "user"], "");
    tell_with(&["user", "set-role", "eve", "user"], "");
    tell_with(&["user", "set-role", "bob", "owner"], "");
    tell_with(&["user", "disable", "root"], "");
    tell_with(&["user", "disable", "ada", "--json"], "");
    tell_with(&["token", "create", "--username", "ada"], "");
    tell_with(&["user", "enable", "ada"], "");
    tell_with(&["user", "enable", "eve"], "");
    let reset = ["user", "reset-passphrase", "ada", "--passphrase-stdin"];
    tell_with(&reset, ANOTHER);
    tell_with(&reset, "adaadaadaada");
    tell_with(&[&reset[..], &["--revoke-tokens", "--json"]].concat(), PASSPHRASE);
    tell_with(&["user", "reset-passphrase", "eve", "--passphrase-stdin"], ANOTHER);
    tell_with(&["token", "create", "--username", "bob"], "");
    tell_with(&["token", "create", "--username", "bob"], "");
    tell_with(&["user", "delete", "bob"], "");
    tell_with(&["user", "delete", "bob", "--yes"], "");
    tell_with(&["user", "delete", "bob", "--yes"], "");
    tell_with(&["user", "delete", "root", "--yes"], "");
    told
}

#[test]
fn what_changes_something_comes_to_the_same_on_a_home_folder_and_on_a_gate() {
    let (home, gate) = (Side::new(false), Side::new(true));
    let (home, gate) = std::thread::scope(|scope| {
        let home = scope.spawn(|| story(&home));
        let gate = story(&gate);
        (home.join().unwrap(), gate)
    });
    assert_eq!(home.len(), gate.len());
    for (home, gate) in home.iter().zip(&gate) {
        assert_eq!(home, gate);
    }
    let codes = |code| home.iter().filter(|told| told.1 == Some(code)).count();
    assert!(codes(0) > 15 && codes(1) > 15 && codes(2) > 5, "{} {} {}", codes(0), codes(1), codes(2));
}

#[test]
fn what_is_read_is_the_same_byte_for_byte_on_a_home_folder_and_on_a_gate() {
    let side = Side::new(true);
    side.run_with(&["user", "create", "ada", "--passphrase-stdin"], PASSPHRASE).ok();
    let (ada, ended) = (side.gate.token("ada"), side.gate.token("ada"));
    side.run(&["token", "revoke", &ended.id]).ok();
    let gone = side.gate.token("bob");
    side.run(&["user", "delete", "bob", "--yes"]).ok();
    side.run(&["agent", "create", "ci", "--owner", "root", "--route", "a", "--route", "b"]).ok();
    side.run(&["agent", "create", "helper", "--owner", "ada", "--scope", "live:read"]).ok();
    side.run(&["agent", "disable", "ci"]).ok();
    side.run(&["cut", "user:ada", "--reason", "lost laptop", "--for", "90d"]).ok();
    side.run(&["cut", &format!("credential:{}", ended.id)]).ok();
    for words in [
        &["cuts"][..],
        &["cuts", "--json"],
        &["agent", "list"],
        &["agent", "list", "--json"],
        &["agent", "list", "--owner", "ada", "--json"],
        &["agent", "list", "--owner", "eve"],
        &["user", "list"],
        &["user", "list", "--json"],
        &["token", "list"],
        &["token", "list", "--json"],
        &["token", "list", "--all"],
        &["token", "list", "--all", "--json"],
        &["token", "list", "--user", "ada"],
        &["token", "list", "--user", "ada", "--all", "--json"],
        &["token", "list", "--user", "eve"],
        &["audit", "list"],
        &["audit", "list", "--json"],
        &["audit", "list", "--limit", "2", "--before", "4", "--json"],
        &["audit", "list", "--user", "ada", "--action", "token.mint"],
        &["audit", "list", "--user", "no&body=x"],
        &["audit", "list", "--limit", "0"],
        &["audit", "verify"],
    ] {
        side.assert_read_alike(words, "");
    }
    for secret in [&ada.secret, &ended.secret, &gone.secret, &side.admin.secret] {
        side.assert_read_alike(&["token", "inspect"], secret);
        side.assert_read_alike(&["token", "inspect", "--json"], secret);
    }
    assert!(side.assert_read_alike(&["token", "inspect"], &ended.secret).stdout.contains("revoked"));
    assert!(
        side.assert_read_alike(&["token", "inspect"], &gone.secret)
            .stdout
            .contains("somebody who was deleted")
    );
    side.assert_read_alike(&["token", "inspect"], "hello");
    side.run(&["user", "disable", "ada"]).ok();
    assert!(
        side.assert_read_alike(&["token", "inspect"], &ada.secret).stdout.contains("ada, who is disabled")
    );
    side.run(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok();
    assert_eq!(side.assert_read_alike(&["token", "list", "--user", "ada"], "").stdout, "");
}

#[test]
fn the_trail_is_followed_alike_on_a_home_folder_and_on_a_gate() {
    struct Tail(Child);
    impl Drop for Tail {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let side = Side::new(true);
    let mut tails = [false, true].map(|over_http| {
        let mut command = side.command(over_http, &["audit", "tail", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (Tail(child), lines)
    });
    side.gate.user("ada");
    side.gate.token("ada");
    for seq in 1..=4 {
        let [home, gate] = tails.each_mut().map(|(_, lines)| lines.next().unwrap().unwrap());
        assert_eq!(home, gate);
        assert!(home.contains(&format!("\"seq\":{seq},")), "{home}");
    }
}

#[test]
fn a_trail_of_several_pages_is_verified_over_http() {
    let side = Side::new(true);
    let clerk = Clerk::of(&side.gate);
    for _ in 0..1_100 {
        clerk.mint("root");
    }
    let verified = side.assert_read_alike(&["audit", "verify"], "").ok();
    assert_eq!(verified.stdout, "1103 events, an unbroken chain\n");
    side.assert_read_alike(&["audit", "list", "--limit", "1000", "--json"], "");
}

#[test]
fn a_forged_trail_is_seen_over_http_too() {
    let home = Home::new();
    home.admin("root");
    home.user("ada");
    home.fallgate(&["user", "disable", "ada"]).ok();
    let admin = home.token_with("root", &["--scope", "admin"]);
    let database = home.path().join("fallgate.db");
    let mut bytes = fs::read(&database).unwrap();
    let forged = bytes.windows(12).position(|window| window == b"user.disable").unwrap();
    bytes[forged..forged + 12].copy_from_slice(b"user.rename!");
    fs::write(&database, bytes).unwrap();
    let side = Side { gate: Gate::on(home, ""), admin, over_http: true };
    let refused = side.assert_read_alike(&["audit", "verify"], "").refused(1);
    assert!(refused.starts_with("event 3 was changed"), "{refused}");
}

#[test]
fn everybodys_tokens_end_at_a_gate_too_the_one_in_use_among_them() {
    let side = Side::new(true);
    let (ada, bob) = (side.gate.token("ada"), side.gate.token("bob"));
    let another = side.gate.token("root");
    let refused = side.run(&["token", "revoke", "--all"]).refused(2);
    assert!(refused.contains("--yes"), "{refused}");
    let revoked = side.run(&["token", "revoke", "--all", "--yes"]).ok();
    assert_eq!(revoked.stderr, "Revoked 4 tokens of everybody, and all worker tokens\n");
    for token in [&ada, &bob, &another, &side.admin] {
        assert_eq!(Client::get(side.gate.address(), "/api/whoami", Some(token)).status, 401);
    }
    let refused = side.run(&["token", "list"]).refused(1);
    assert!(refused.contains("does not take what FALLGATE_TOKEN says"), "{refused}");
}

#[test]
fn a_plain_user_works_on_their_own_things_at_a_gate_and_hears_why_not_on_others() {
    let gate = Gate::start();
    gate.admin("root");
    gate.token("root");
    let own = gate.token_with("ada", &["--scope", "identity:read", "--scope", "tokens:write"]);
    let run = |words: &[&str]| {
        let mut command = gate.command(words);
        command
            .env("FALLGATE_TOKEN", &own.secret)
            .env("FALLGATE_SERVER", format!("http://{}/", gate.address()));
        Run::of(command, b"")
    };
    let mine = run(&["token", "create", "--json"]).ok();
    assert_eq!(mine.json()["username"], "ada");
    // The server is named by the surroundings, so that it need not be in what is to be pasted.
    assert!(!mine.stderr.contains("--server"), "{}", mine.stderr);
    assert_eq!(run(&["token", "list"]).ok().stdout.lines().count(), 3);
    assert_eq!(run(&["token", "list", "--user", "ada"]).ok().stdout.lines().count(), 3);
    for (words, says) in [
        (&["token", "list", "--user", "root"][..], "only an admin"),
        (&["token", "create", "--username", "root", "--json"], "only an admin can make tokens for others"),
        (&["user", "list"], "needs the scope admin"),
        (&["audit", "list"], "needs the scope admin"),
        (&["token", "revoke", "--all", "--yes"], "only an admin can revoke everybody's"),
        (&["token", "revoke", "--all", "--user", "root", "--yes"], "only an admin"),
        (&["token", "expire", &own.id, "--at", "never"], "cannot outlive"),
    ] {
        let refused = run(words).refused(1);
        assert!(refused.contains(says), "{words:?}: {refused}");
    }
    // The one in use stays, but its children end with the rest.
    let revoked = run(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok();
    assert_eq!(revoked.stderr, "Revoked 1 token of ada, and all worker tokens of theirs\n");
    assert_eq!(run(&["token", "list"]).ok().stdout.lines().count(), 2);
}

#[test]
fn where_a_command_works_is_said_once() {
    let side = Side::new(true);
    let gate = &side.gate;
    let url = side.url();
    let home = gate.path();
    let home = home.to_str().unwrap();
    let both = gate.fallgate(&["user", "list", "--home", home, "--server", &url]).refused(2);
    assert!(both.contains("two places"), "{both}");
    // A flag beats what the surroundings say.
    let mut command = gate.command(&["user", "list", "--home", home]);
    command.env("FALLGATE_SERVER", "https://gate.invalid");
    assert!(Run::of(command, b"").ok().stdout.contains("root"));
    for words in [&["serve"][..], &["config", "check"], &["version"]] {
        let refused = gate.fallgate(&[words, &["--server", &url]].concat()).refused(2);
        assert!(refused.contains("this machine only"), "{refused}");
        let mut command = gate.command(&["version"]);
        command.env("FALLGATE_SERVER", "https://gate.invalid");
        Run::of(command, b"").ok();
    }
    for (address, says) in [
        ("gate.example", "must begin with http://"),
        ("https://ada:hunter2@gate.example", "password"),
        ("https://gate.example/fallgate", "no path"),
        ("ftp://gate.example", "no scheme"),
    ] {
        let refused = gate.fallgate(&["user", "list", "--server", address]).refused(2);
        assert!(refused.contains(says) && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_token_that_nobody_could_read_is_not_made() {
    let side = Side::new(true);
    let count =
        || side.gate.fallgate(&["token", "list", "--json"]).ok().json()["tokens"].as_array().unwrap().len();
    let before = count();
    for over_http in [false, true] {
        let mut command = side.command(over_http, &["token", "create", "--username", "root"]);
        command.stdout(Stdio::from(OpenOptions::new().write(true).open("/dev/null").unwrap()));
        let refused = Run::of(command, b"").refused(1);
        assert!(refused.contains("stdout goes nowhere"), "{refused}");
        // Closed, as `>&-` does.
        let command = side.command(over_http, &["token", "create", "--username", "root"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let refused = Run::of(shell, b"").refused(1);
        assert!(refused.contains("stdout goes nowhere"), "{refused}");
    }
    assert_eq!(count(), before);
}
