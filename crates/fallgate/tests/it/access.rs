//! Signing in to a gate from a command line: what is asked, what is saved, what it is good for, and how it ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::support::terminal::{Answer, on_terminal};
use crate::support::{Client, Gate, Home, PASSPHRASE, Run, Token, nobodys_address};

const ANOTHER: &str = "heron copper lantern drift 57";

/// A gate with an admin and a plain user.
fn gate() -> Gate {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    gate
}

fn url(gate: &Gate) -> String {
    format!("http://{}", gate.address())
}

/// A machine that is not the gate's.
struct Machine(Home);

impl Machine {
    fn new() -> Self {
        Self(Home::new())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.0.command(words);
        command.env_remove("FALLGATE_HOME");
        command
    }

    fn run_with(&self, words: &[&str], stdin: &str) -> Run {
        Run::of(self.command(words), stdin.as_bytes())
    }

    fn run(&self, words: &[&str]) -> Run {
        self.run_with(words, "")
    }

    fn login(&self, gate: &Gate, name: &str) -> Run {
        let words = ["login", "--server", &url(gate), "--username", name, "--passphrase-stdin"];
        self.run_with(&words, PASSPHRASE)
    }

    fn file(&self) -> PathBuf {
        self.0.beside().join(".config/fallgate/credentials.toml")
    }

    /// What is saved: the only sign-in.
    fn saved(&self) -> Token {
        let text = fs::read_to_string(self.file()).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = \""))).unwrap();
            line.strip_suffix('"').unwrap().to_owned()
        };
        Token { id: value("id"), secret: value("secret") }
    }
}

fn stands(gate: &Gate, token: &Token) -> bool {
    Client::get(gate.address(), "/api/whoami", Some(token)).status == 200
}

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_sign_in_is_saved_used_replaced_and_ended() {
    let (gate, machine) = (gate(), Machine::new());
    let url = url(&gate);
    let words = [
        "login",
        "--server",
        &url,
        "--username",
        "ada",
        "--passphrase-stdin",
        "--device-name",
        "the laptop",
        "--json",
    ];
    let signed_in = machine.run_with(&words, PASSPHRASE).ok();
    assert!(
        signed_in.stderr.starts_with(&format!("Signed in to {url} as ada, until ")),
        "{}",
        signed_in.stderr
    );
    let me = signed_in.json();
    assert_eq!((me["username"].as_str(), me["credential"]["kind"].as_str()), (Some("ada"), Some("login")));
    assert_eq!(me["credential"]["name"], "the laptop");
    let first = machine.saved();
    assert_eq!(first.id, me["credential"]["id"]);
    assert!(!signed_in.stdout.contains(&first.secret) && !signed_in.stderr.contains(&first.secret));
    assert_eq!(mode(&machine.file()), 0o600);

    let mut command = machine.command(&["status"]);
    command.env("FALLGATE_TOKEN", "fgt_nobodys");
    assert!(Run::of(command, b"").refused(1).contains("FALLGATE_TOKEN"), "it goes before what is saved");

    // It is what other commands use, where they are told to.
    let minted = machine.run(&["token", "create", "--server", &url, "--json"]).ok().json();
    assert_eq!(minted["username"], "ada");
    let token = Token {
        id: minted["id"].as_str().unwrap().into(),
        secret: minted["secret"].as_str().unwrap().into(),
    };
    let status = machine.run(&["status"]).ok().stdout;
    for (name, value) in [("server", &*url), ("username", "ada"), ("role", "user"), ("credential", "login")] {
        assert!(status.lines().any(|line| line.starts_with(name) && line.contains(value)), "{status}");
    }
    assert_eq!(machine.run(&["status", "--json"]).ok().json(), me);
    let elsewhere = machine.run(&["token", "list"]).refused(1);
    assert!(elsewhere.contains("there is no "), "without --server it is the home folder's: {elsewhere}");

    // Another takes its place, and it ends; what goes before it is told.
    let mut command =
        machine.command(&["login", "--server", &url, "--username", "ada", "--passphrase-stdin"]);
    command.env("FALLGATE_TOKEN", &token.secret);
    let signed_in = Run::of(command, PASSPHRASE.as_bytes()).ok();
    assert!(signed_in.stderr.contains("warning: FALLGATE_TOKEN is set"), "{}", signed_in.stderr);
    let second = machine.saved();
    assert!(first.secret != second.secret && !stands(&gate, &first) && stands(&gate, &second));

    let signed_out = machine.run(&["logout"]).ok();
    assert_eq!(signed_out.stderr, format!("Signed out of {url}\n"));
    assert!(!stands(&gate, &second) && !machine.file().exists());
    assert!(stands(&gate, &token), "a token outlives the sign-in that made it");
    assert!(machine.run(&["logout"]).refused(1).contains("not signed in"));
    let refused = machine.run(&["token", "list", "--server", &url]).refused(1);
    assert!(refused.contains(&format!("fallgate login --server {url}")), "{refused}");
}

#[test]
fn a_sign_in_that_ended_elsewhere_is_told_and_can_be_put_away() {
    let (gate, machine) = (gate(), Machine::new());
    machine.login(&gate, "ada").ok();
    gate.fallgate_with(&["user", "reset-passphrase", "ada", "--passphrase-stdin"], ANOTHER).ok();
    for words in [&["status"][..], &["token", "list", "--server", &url(&gate)]] {
        let refused = machine.run(words).refused(1);
        assert!(refused.contains("has ended: sign in again with `fallgate login --server http"), "{refused}");
    }
    machine.run(&["logout"]).ok();
    assert!(!machine.file().exists());
}

#[test]
fn a_wrong_passphrase_saves_nothing_and_a_sign_in_that_was_there_stays() {
    let (gate, machine) = (gate(), Machine::new());
    let words = ["login", "--server", &url(&gate), "--username", "ada", "--passphrase-stdin"];
    let mut command = machine.command(&words);
    command.env("FALLGATE_TOKEN", "whatever");
    let refused = Run::of(command, ANOTHER.as_bytes()).refused(1);
    assert!(refused.contains("passphrase is wrong") && !refused.contains("heron"), "{refused}");
    assert!(!machine.file().exists());
    machine.login(&gate, "ada").ok();
    let before = machine.saved();
    machine.run_with(&words, ANOTHER).refused(1);
    assert_eq!(machine.saved().secret, before.secret);
    assert!(stands(&gate, &before));
    assert!(
        machine
            .run(&["login", "--server", &url(&gate), "--username", "ada"])
            .refused(2)
            .contains("no terminal")
    );
}

#[test]
fn nobody_is_asked_for_a_passphrase_by_what_is_no_gate() {
    let machine = Machine::new();
    let down = format!("http://{}", nobodys_address());
    let command = machine.command(&["login", "--server", &down]);
    let (code, shown) = on_terminal(&command, &[]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("cannot be asked") && !shown.contains("Passphrase"), "{shown}");
}

#[test]
fn sign_ins_to_several_gates_are_kept_apart() {
    let (one, two, machine) = (gate(), gate(), Machine::new());
    machine.login(&one, "ada").ok();
    machine.login(&two, "root").ok();
    for words in [&["status"][..], &["logout"], &["passwd", "--passphrase-stdin"]] {
        let refused = machine.run(words).refused(2);
        assert!(refused.contains(&url(&one)) && refused.contains(&url(&two)), "{refused}");
    }
    assert!(machine.run(&["status", "--server", &url(&one)]).ok().stdout.contains("ada"));
    machine.run(&["user", "list", "--server", &url(&two)]).ok();
    machine.run(&["logout", "--server", &url(&one)]).ok();
    assert!(machine.run(&["status"]).ok().stdout.contains("root"));
}

#[test]
fn at_once_several_sign_ins_lose_none() {
    let (gates, machine) = ([gate(), gate(), gate()], Machine::new());
    std::thread::scope(|scope| {
        for gate in &gates {
            scope.spawn(|| machine.login(gate, "ada").ok());
        }
    });
    for gate in &gates {
        machine.run(&["status", "--server", &url(gate)]).ok();
    }
}

#[test]
fn one_who_changes_their_passphrase_keeps_this_sign_in_and_their_tokens_alone() {
    let (gate, machine, other) = (gate(), Machine::new(), Machine::new());
    machine.login(&gate, "ada").ok();
    other.login(&gate, "ada").ok();
    let token = gate.token("ada");
    let change = |words: &[&str], stdin: &str| {
        // A token of the surroundings will not do, and is not tried.
        let mut command = machine.command(&[&["passwd", "--passphrase-stdin"], words].concat());
        command.env("FALLGATE_TOKEN", &token.secret);
        Run::of(command, stdin.as_bytes())
    };
    for (stdin, says) in [
        (format!("{ANOTHER}\n{PASSPHRASE}"), "current passphrase is wrong"),
        (format!("{PASSPHRASE}\n{PASSPHRASE}"), "take another"),
        (format!("{PASSPHRASE}\nshort"), "12 to 1024 bytes"),
        (PASSPHRASE.to_owned(), "no new passphrase on stdin: write it as the second line"),
        (format!("\n{ANOTHER}"), "no passphrase as it is on stdin: write it as the first line"),
    ] {
        let refused = change(&[], &stdin).refused(1);
        assert!(refused.contains(says), "{refused}");
    }
    let changed = change(&["--json"], &format!("{PASSPHRASE}\n{ANOTHER}\n")).ok();
    assert_eq!(changed.stderr, "You have a new passphrase; revoked 1 sign-in; your tokens stay\n");
    assert_eq!(changed.json(), serde_json::json!({ "revoked_logins": 1, "revoked_tokens": 0 }));
    assert!(stands(&gate, &machine.saved()) && stands(&gate, &token) && !stands(&gate, &other.saved()));
    machine.login(&gate, "ada").refused(1);
    let changed = change(&["--revoke-tokens"], &format!("{ANOTHER}\n{PASSPHRASE}")).ok();
    assert_eq!(changed.stderr, "You have a new passphrase; revoked 1 token, and all worker tokens\n");
    assert!(!stands(&gate, &token));
}

#[test]
fn on_a_terminal_passphrases_are_asked_for_and_never_shown() {
    use Answer::{Hidden, Shown};
    let (gate, machine) = (gate(), Machine::new());
    let url = url(&gate);
    let login = machine.command(&["login", "--server", &url]);
    let asked = format!("Passphrase for root at {url}: ");
    let (code, shown) =
        on_terminal(&login, &[Shown(&format!("Username at {url}: "), "root"), Hidden(&asked, PASSPHRASE)]);
    assert_eq!(code, Some(0), "{shown}");
    let mut all = shown;

    let create = machine.command(&["user", "create", "eve", "--server", &url]);
    let (first, again) = ("Passphrase for eve: ", "The same again: ");
    let (code, shown) = on_terminal(&create, &[Hidden(first, "")]);
    assert!(code == Some(1) && shown.contains("no passphrase was typed"), "{shown}");
    let (code, shown) = on_terminal(&create, &[Hidden(first, ANOTHER), Hidden(again, PASSPHRASE)]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the two passphrases differ"), "{shown}");
    all += &shown;
    let (code, shown) = on_terminal(&create, &[Hidden(first, ANOTHER), Hidden(again, ANOTHER)]);
    assert_eq!(code, Some(0), "{shown}");
    all += &shown;
    // Nobody thinks one up for a name that is taken.
    let (code, shown) = on_terminal(&create, &[]);
    assert!(code == Some(1) && shown.contains("there is a user eve already"), "{shown}");

    let (code, shown) = on_terminal(
        &machine.command(&["passwd"]),
        &[
            Hidden("Passphrase as it is: ", PASSPHRASE),
            Hidden("New passphrase: ", ANOTHER),
            Hidden(again, ANOTHER),
        ],
    );
    assert_eq!(code, Some(0), "{shown}");
    all += &shown;
    let delete = machine.command(&["user", "delete", "eve", "--server", &url]);
    let question = "Delete the user eve and end every credential of theirs for good? [y/N] ";
    let (code, shown) = on_terminal(&delete, &[Shown(question, "n")]);
    assert!(code == Some(1) && shown.contains("nothing was done"), "{shown}");
    let (code, shown) = on_terminal(&delete, &[Shown(question, "y")]);
    assert!(code == Some(0) && shown.contains("Deleted the user eve"), "{shown}");
    for secret in [PASSPHRASE, ANOTHER] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn the_file_is_repaired_or_named_and_never_overwritten_when_it_is_not_understood() {
    let (gate, machine) = (gate(), Machine::new());
    machine.login(&gate, "ada").ok();
    let file = machine.file();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let status = machine.run(&["status"]).ok();
    assert!(
        status.stderr.starts_with("warning: ") && status.stderr.contains("had mode 0644; it is 0600 now"),
        "{}",
        status.stderr
    );
    assert_eq!(mode(&file), 0o600);
    assert_eq!(machine.run(&["status"]).ok().stderr, "");

    let good = fs::read_to_string(&file).unwrap();
    let secret = machine.saved().secret;
    let bad = good.replace("secret = \"fgl_", "secret = \"fgx_");
    fs::write(&file, &bad).unwrap();
    let login = ["login", "--server", &url(&gate), "--username", "ada", "--passphrase-stdin"];
    for words in [&["status"][..], &["logout"], &login] {
        let refused = machine.run_with(words, PASSPHRASE).refused(1);
        assert!(refused.contains(file.to_str().unwrap()) && refused.contains("in line "), "{refused}");
        assert!(!refused.contains(&secret[4..20]), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }

    let elsewhere = machine.0.beside().join("elsewhere.toml");
    fs::write(&elsewhere, &good).unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&elsewhere, &file).unwrap();
    for words in [&["status"][..], &login] {
        assert!(machine.run_with(words, PASSPHRASE).refused(1).contains("is a link"));
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), good);
}

#[test]
fn a_gate_that_is_down_keeps_the_sign_in_until_it_can_be_ended() {
    let (gate, machine) = (gate(), Machine::new());
    machine.login(&gate, "ada").ok();
    let _home = gate.kill();
    let refused = machine.run(&["logout"]).refused(1);
    assert!(refused.contains("still signed in") && refused.contains("credentials.toml"), "{refused}");
    assert!(machine.file().exists());
}
