//! A rotation, of either kind of key, that ends at whatever step: nothing is lost, and it can be brought to its end.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::load::own_key;
use super::{VARIABLE, bytes, hex, key_file, root_keys};
use crate::support::steps::{Files, states};
use crate::support::{Client, Gate, Home, Jwks, Run, SignIn, Token, Worker};

const SCOPES: [&str; 1] = ["identity:read"];
const FILE: &str = "root.key";
const UNFINISHED: &str = "root.key.tmp";
const DATABASE: &str = "fallgate.db";
const LOG: &str = "fallgate.db-wal";
/// A page of the database with its head, as the log holds it.
const FRAME: usize = 4096 + 24;
/// How often a command is gone through until enough was seen of it.
const TRIES: usize = 20;
const OLD: u8 = 1;
const NEW: u8 = 2;

/// A home where people and programs have been, and what they hold.
struct Lived {
    files: Files,
    user: Token,
    login: SignIn,
    /// Two of one family, one of another, and one that was minted by a command and never used.
    workers: Vec<Token>,
    minter: Token,
    /// Whether the root key is in the variable.
    variable: bool,
}

/// What a command does to worker tokens that were minted before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spares {
    All,
    /// What is signed by any key until now ends.
    None,
}

impl Lived {
    fn in_file() -> Self {
        Self::with(false)
    }

    fn in_variable() -> Self {
        Self::with(true)
    }

    fn with(variable: bool) -> Self {
        let gate = Gate::started(super::home(), "", |command| keyed(command, variable.then_some(OLD)));
        let (one, other) = (worker(&gate), worker(&gate));
        let renewed = Worker::token_of(&gate.renew_worker(&one.token));
        let mut command = gate.command(&["agent", "token", "ada", "--json"]);
        keyed(&mut command, variable.then_some(OLD));
        let minted = Run::of(command, b"").ok().json();
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        let unused = Token { id: text("id"), secret: text("secret") };
        let (user, login) = (gate.token("ada"), gate.sign_in("ada"));
        let workers = vec![one.token, renewed, other.token, unused];
        let home = gate.kill();
        Self { files: Files::of(&home), user, login, workers, minter: one.minter, variable }
    }

    /// A command on that home, with the root key of that number if it is kept in the variable.
    fn command(&self, home: &Home, arguments: &[&str], key: u8) -> Command {
        let mut command = home.command(arguments);
        keyed(&mut command, self.variable.then_some(key));
        command
    }

    fn run(&self, home: &Home, arguments: &[&str], key: u8) -> Run {
        Run::of(self.command(home, arguments, key), b"")
    }

    /// A gate on that home.
    fn gate(&self, home: Home, key: u8) -> Gate {
        Gate::started(home, "", |command| keyed(command, self.variable.then_some(key)))
    }

    /// Every credential is taken at the gate, and every worker token by the published keys; or, when the key that
    /// signed them was dropped, all but those. Gives whether it was.
    fn check(&self, gate: &Gate, spares: Spares) -> bool {
        let address = gate.address();
        assert_eq!(status(gate, &self.user), 200);
        assert_eq!(status(gate, &self.minter), 200);
        let by_cookie = format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.login.cookie());
        assert_eq!(Client::exchange(address, by_cookie).status, 200);
        let keys = Jwks::of(gate);
        let taken: Vec<_> = self.workers.iter().map(|token| status(gate, token)).collect();
        let signed: Vec<_> = self.workers.iter().map(|token| keys.have_signed(&token.secret)).collect();
        let dropped = spares == Spares::None && taken[0] == 401;
        let wanted = if dropped { (401, false) } else { (200, true) };
        assert!(taken.iter().all(|taken| *taken == wanted.0), "{taken:?}");
        assert!(signed.iter().all(|signed| *signed == wanted.1), "{signed:?}");
        // And a new one is minted.
        let order = serde_json::json!({ "scopes": SCOPES });
        let fresh = Worker::token_of(&gate.mint_worker(&self.minter, "ada", &order));
        assert_eq!(status(gate, &fresh), 200);
        assert!(keys.have_signed(&fresh.secret));
        dropped
    }
}

fn keyed(command: &mut Command, key: Option<u8>) {
    if let Some(key) = key {
        command.env(VARIABLE, hex(&bytes(key)));
    }
}

fn worker(gate: &Gate) -> Worker {
    gate.worker("ada", &SCOPES, &["fallgate"])
}

fn status(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

fn signing_keys(home: &Home) -> usize {
    let listed = home.fallgate(&["key", "list", "--json"]).ok().json();
    listed["signing_keys"].as_array().unwrap().len()
}

/// What a command leaves that is killed at whatever step: what was seen of it, and what lies between, for calls that
/// write many pages at once.
fn steps(lived: &Lived, begun: &Files, arguments: &[&str]) -> Vec<Files> {
    // A machine that is busy may let all of a command run between two looks.
    for _ in 0..TRIES {
        let home = begun.placed();
        let seen = states(&home, lived.command(&home, arguments, OLD));
        let pairs =
            seen.windows(2).flat_map(|pair| [torn(&pair[0], &pair[1]), vec![pair[1].clone()]].concat());
        let steps: Vec<_> = [seen[0].clone()].into_iter().chain(pairs).collect();
        if seen.len() > 3 && steps.len() > seen.len() {
            eprintln!("{arguments:?}: {} states seen, {} in all", seen.len(), steps.len());
            return steps;
        }
    }
    panic!("too little is ever seen of {arguments:?}");
}

/// Half-written states between two: a log that ends within what was added to it, a database that the log was partly
/// moved into.
fn torn(before: &Files, after: &Files) -> Vec<Files> {
    let of = |files: &Files, name: &str| files.content(name).unwrap_or_default().to_vec();
    let (log, longer) = (of(before, LOG), of(after, LOG));
    let (old, new) = (of(before, DATABASE), of(after, DATABASE));
    if old == new && longer.len() > log.len() && longer.starts_with(&log) {
        let within_the_last = longer.len().saturating_sub(FRAME / 2).max(log.len());
        let ends = (log.len()..longer.len()).step_by(FRAME).chain([within_the_last]);
        return ends.map(|end| before.with(LOG, &longer[..end])).collect();
    }
    // Only then is all in the log that is moved.
    if old != new && log == longer && new.len() >= old.len() {
        let quarters = [1, 2, 3].map(|quarter| old.len() / 4 * quarter);
        let mixed = quarters.map(|at| before.with(DATABASE, &[&new[..at], &old[at..]].concat()));
        return mixed.to_vec();
    }
    Vec::new()
}

#[test]
fn r43_a_rotation_of_the_signing_key_that_is_killed_at_any_step_loses_nothing() {
    for (arguments, spares) in
        [(&["key", "rotate-signing"][..], Spares::All), (&["key", "rotate-signing", "--now"], Spares::None)]
    {
        let lived = Lived::in_file();
        let mut committed = Vec::new();
        for state in steps(&lived, &lived.files, arguments) {
            let gate = lived.gate(state.placed(), OLD);
            let keys = signing_keys(&gate);
            assert!(keys == 1 || keys == 2, "{keys}");
            assert_eq!(lived.check(&gate, spares), spares == Spares::None && keys == 2, "{arguments:?}");
            lived.run(&gate, arguments, OLD).ok();
            assert_eq!(signing_keys(&gate), keys + 1);
            assert_eq!(lived.check(&gate, spares), spares == Spares::None);
            gate.fallgate(&["audit", "verify"]).ok();
            committed.push(keys == 2);
        }
        assert!(committed.is_sorted() && committed.contains(&false) && committed.contains(&true));
    }
}

#[test]
fn r43_a_rotation_of_a_root_key_in_a_file_that_is_killed_at_any_step_loses_nothing() {
    let lived = Lived::in_file();
    let mut steps = steps(&lived, &lived.files, &["key", "rotate"]);
    // What one call after the other does to the file is over too soon to be seen each time.
    let done = steps.last().unwrap().clone();
    let (old, new) = (lived.files.content(FILE).unwrap(), done.content(FILE).unwrap());
    let kept = done.names().into_iter().find(|name| name.starts_with("root.key.")).unwrap().to_owned();
    let before = done.with(FILE, old).without(&kept);
    let linked = before.with(&kept, old);
    steps.extend([
        before.with(UNFINISHED, b""),
        before.with(UNFINISHED, &new[..40]),
        before.with(UNFINISHED, new),
        linked.with(UNFINISHED, new),
        linked,
        before,
    ]);
    let mut halfway = 0;
    for state in steps {
        let (home, held) = (state.placed(), state.content(FILE).unwrap());
        let committed = root_keys(&home).1 == 2;
        assert!(committed || held == old, "the file is replaced after the commit");
        halfway += usize::from(committed && held == old);
        let gate = lived.gate(home, OLD);
        lived.check(&gate, Spares::All);
        let again = lived.run(&gate, &["key", "rotate"], OLD);
        if committed {
            assert!(again.refused(1).contains("key rotate --confirm"));
        } else {
            again.ok();
        }
        lived.run(&gate, &["key", "rotate", "--confirm"], OLD).ok();
        assert_eq!(root_keys(&gate).1, 1);
        assert_eq!(fs::read(gate.path().join(&kept)).unwrap(), old, "for the backups until now");
        assert!(!gate.path().join(UNFINISHED).exists());
        lived.check(&gate, Spares::All);
        lived.check(&lived.gate(gate.kill(), OLD), Spares::All);
    }
    assert!(halfway > 6, "{halfway} times the commit was there and the file was not");
}

#[test]
fn r43_a_rotation_of_a_root_key_in_the_variable_that_is_killed_at_any_step_loses_nothing() {
    let lived = Lived::in_variable();
    let elsewhere = Home::new();
    let file = own_key(&elsewhere, NEW);
    let rotate = ["key", "rotate", "--new-key-file", file.to_str().unwrap()];
    for state in steps(&lived, &lived.files, &rotate) {
        let home = state.placed();
        let committed = root_keys(&home).1 == 2;
        let gate = lived.gate(home, OLD);
        lived.check(&gate, Spares::All);
        let again = lived.run(&gate, &rotate, OLD);
        assert_eq!(again.code, Some(i32::from(committed)), "{}", again.stderr);
        let gate = lived.gate(gate.kill(), NEW);
        lived.check(&gate, Spares::All);
        lived.run(&gate, &["key", "rotate", "--confirm"], NEW).ok();
        lived.check(&gate, Spares::All);
        assert!(!key_file(&gate).exists());
        lived.check(&lived.gate(gate.kill(), NEW), Spares::All);
    }
}

#[test]
fn r43_a_confirmation_that_is_killed_at_any_step_loses_nothing_and_ends_the_old_key_when_it_is_run_again() {
    let lived = Lived::in_file();
    let home = lived.files.placed();
    lived.run(&home, &["key", "rotate"], OLD).ok();
    let successor = rusqlite::Connection::open(home.path().join(DATABASE)).unwrap().query_row(
        "SELECT successor FROM root_key WHERE successor IS NOT NULL",
        [],
        |row| row.get(0),
    );
    let successor: Vec<u8> = successor.unwrap();
    let holds = |files: &Files| {
        let holds = |name: &&str| {
            let content = files.content(name).unwrap();
            content.windows(successor.len()).any(|window| window == successor)
        };
        files.names().iter().any(holds)
    };
    let begun = Files::of(&home);
    assert!(holds(&begun));
    for state in steps(&lived, &begun, &["key", "rotate", "--confirm"]) {
        let gate = lived.gate(state.placed(), OLD);
        lived.check(&gate, Spares::All);
        let home = gate.kill();
        lived.run(&home, &["key", "rotate", "--confirm"], OLD).ok();
        assert_eq!(root_keys(&home).1, 1);
        assert!(!holds(&Files::of(&home)), "the old key still opens the new one");
        lived.check(&lived.gate(home, OLD), Spares::All);
    }
}

#[test]
fn the_making_of_the_first_keys_that_is_killed_at_any_step_leaves_a_home_that_starts_with_one_root_key() {
    let home = super::home();
    let mut command = home.command(&["key", "rotate-signing"]);
    command.env_remove(VARIABLE);
    let states = states(&home, command);
    let done = states.last().unwrap();
    let key = done.content(FILE).unwrap();
    let new = &states[0];
    let by_hand = [
        new.with(UNFINISHED, b""),
        new.with(UNFINISHED, &key[..40]),
        new.with(UNFINISHED, key),
        new.with(FILE, key).with(UNFINISHED, key),
        new.with(FILE, key),
    ];
    for state in states.iter().chain(&by_hand) {
        let gate = Gate::on(state.placed(), "");
        let made = fs::read(key_file(&gate)).unwrap();
        assert!(state.content(FILE).is_none_or(|held| held == made), "it is what it was");
        assert_eq!(root_keys(&gate).1, 1);
        let worker = worker(&gate);
        let again = Gate::on(gate.kill(), "");
        assert_eq!(status(&again, &worker.token), 200);
        assert_eq!(fs::read(key_file(&again)).unwrap(), made);
    }
}

/// A random part of so many microseconds.
fn pause(most: u64) {
    thread::sleep(Duration::from_micros(RandomState::new().hash_one(0) % most));
}

#[test]
fn r43_a_gate_that_is_killed_while_another_process_rotates_loses_nothing() {
    const ROUNDS: usize = 24;
    let lived = Lived::in_file();
    let (mut home, mut killed) = (lived.files.placed(), 0);
    for round in 0..ROUNDS {
        let gate = lived.gate(home, OLD);
        let arguments: &[&str] = match round % 3 {
            0 => &["key", "rotate"],
            1 => &["key", "rotate", "--confirm"],
            _ => &["key", "rotate-signing"],
        };
        let mut rotation = lived.command(&gate, arguments, OLD).spawn().unwrap();
        pause(30_000);
        home = gate.kill();
        // Every other time the command goes too, and the next round finds what it has left.
        if round % 2 == 1 {
            pause(10_000);
            rotation.kill().unwrap();
        }
        let output = rotation.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none_or(|code| code == 0 || told.contains("--confirm")), "{told}");
        killed += usize::from(output.status.code().is_none());
        let gate = lived.gate(home, OLD);
        lived.check(&gate, Spares::All);
        home = gate.kill();
    }
    eprintln!("{ROUNDS} gates and {killed} commands were killed");
    lived.run(&home, &["key", "rotate", "--confirm"], OLD).ok();
    assert_eq!(root_keys(&home).1, 1);
    lived.check(&lived.gate(home, OLD), Spares::All);
}
