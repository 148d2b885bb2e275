//! The root key's spellings and places, its rotation, the signing keys, and what they vouch for.

mod halfway;
mod load;
mod sealed;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fallgate_domain::audit::{Action, Event, FIRST_PREV, NewEvent};
use fallgate_domain::clock::Timestamp;
use rusqlite::Connection;

use crate::support::{Clerk, Client, Gate, Home, Jwks, Run};

const VARIABLE: &str = "FALLGATE_ENCRYPTION_KEY";
const JWKS: &str = "/.well-known/jwks.json";

/// 32 bytes that no spelling hides: none is the same twice.
fn bytes(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first.wrapping_add(u8::try_from(i).unwrap().wrapping_mul(7)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn key_file(home: &Home) -> PathBuf {
    home.path().join("root.key")
}

fn database(home: &Home) -> PathBuf {
    home.path().join("fallgate.db")
}

/// A home with a user and no keys yet.
fn home() -> Home {
    let home = Home::new();
    home.user("ada");
    home
}

fn with_variable(home: &Home, key: &str, arguments: &[&str]) -> Run {
    let mut command = home.command(arguments);
    command.env(VARIABLE, key);
    Run::of(command, b"")
}

/// The key that everything is sealed under, as the store calls it, and how many open it.
fn root_keys(home: &Home) -> (String, usize) {
    let listed = home.fallgate(&["key", "list", "--json"]).ok().json();
    let keys = listed["root_keys"].as_array().unwrap();
    let current = keys.iter().find(|key| key["current"] == true).unwrap();
    (current["id"].as_str().unwrap().to_owned(), keys.len())
}

fn jwks(gate: &Gate) -> Vec<String> {
    Jwks::of(gate).kids()
}

/// What is no root key, and a word of what is said about it.
fn refused_spellings() -> Vec<(String, &'static str)> {
    let long: Vec<u8> = (1..=48).collect();
    let whole = hex(&bytes(1));
    // Its 43rd character has four bits of the last byte and two that must be zero.
    let base64 = STANDARD.encode(bytes(1));
    let (head, last) = (&base64[..42], base64.as_bytes()[42]);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let place = alphabet.iter().position(|character| *character == last).unwrap();
    let other = char::from(alphabet[place + 1]);
    let mixed = STANDARD.encode([0xfb_u8; 32]).replacen('+', "-", 1);
    assert!(mixed.contains('-') && mixed.contains('+'));
    vec![
        (String::new(), "is empty"),
        (hex(&long[..31]), "62 characters"),
        (hex(&long[..33]), "66 characters"),
        (hex(&long), "96 characters"),
        (STANDARD.encode(&long[..31]), "base64"),
        (STANDARD.encode(&long[..33]), "base64"),
        (STANDARD.encode(&long), "hex digits"),
        (URL_SAFE_NO_PAD.encode(&long[..31]), "42 characters"),
        (URL_SAFE_NO_PAD.encode(&long[..33]), "base64"),
        (URL_SAFE_NO_PAD.encode(&long), "hex digits"),
        (whole[..63].to_owned(), "63 characters"),
        (format!("{whole}0"), "65 characters"),
        (format!("0x{whole}"), "0x"),
        (format!("0X{}", &whole[2..]), "0x"),
        (format!(" {whole}"), "blank"),
        (format!("{whole} "), "blank"),
        (format!("{} {}", &whole[..32], &whole[32..]), "blank"),
        (format!("{whole}\t"), "blank"),
        (format!("{whole}\r\n"), "blank"),
        (format!("{whole}\n\n"), "blank"),
        (format!("\n{whole}"), "blank"),
        (format!("{}g", &whole[..63]), "hex digits"),
        (mixed.clone(), "base64"),
        (mixed.trim_end_matches('=').to_owned(), "base64url"),
        (format!("{head}{other}="), "base64"),
        (format!("{head}{other}"), "base64url"),
        (format!("{head}=="), "base64"),
        (base64.replace('=', "A"), "base64"),
        ("0".repeat(64), "all zeros"),
        (STANDARD.encode([0; 32]), "all zeros"),
        (URL_SAFE_NO_PAD.encode([0; 32]), "all zeros"),
        ("correct horse battery staple".to_owned(), "blank"),
        ("correct-horse-battery-staple".to_owned(), "28 characters"),
        ("pässwörd".repeat(4), "characters"),
    ]
}

/// No run of six characters of the value stands in what is said about it, but for what every such line has.
#[track_caller]
fn assert_tells_nothing(line: &str, value: &str) {
    let characters: Vec<char> = value.chars().collect();
    for part in characters.windows(6) {
        let part: String = part.iter().collect();
        assert!(!line.contains(&part) || part.trim().is_empty(), "{line:?} tells {part:?}");
    }
}

#[test]
fn every_spelling_of_the_root_key_is_the_same_key_in_the_variable_and_in_the_file() {
    let key = [0xfb_u8, 0xff].repeat(16);
    let (plain, padded, url) = (hex(&key), STANDARD.encode(&key), URL_SAFE_NO_PAD.encode(&key));
    assert!(padded.contains('+') && padded.contains('/') && url.contains('-') && url.contains('_'));
    let home = home();
    with_variable(&home, &plain, &["key", "rotate-signing"]).ok();
    let mut mixed_case = plain.to_uppercase();
    mixed_case.replace_range(..32, &plain[..32]);
    for spelling in [&plain, &plain.to_uppercase(), &mixed_case, &padded, &url] {
        with_variable(&home, spelling, &["key", "rotate-signing"]).ok();
        for end in ["", "\n"] {
            fs::write(key_file(&home), format!("{spelling}{end}")).unwrap();
            fs::set_permissions(key_file(&home), Permissions::from_mode(0o600)).unwrap();
            let run = home.fallgate(&["key", "rotate-signing"]).ok();
            assert!(!run.stderr.contains("warning"), "{}", run.stderr);
            // In both places, in whatever spelling, it is one key.
            with_variable(&home, &padded, &["key", "rotate-signing"]).ok();
        }
        fs::remove_file(key_file(&home)).unwrap();
    }
    // And the daemon takes it.
    let gate = Gate::started(home, "", |command| {
        command.env(VARIABLE, &url);
    });
    assert_eq!(jwks(&gate).len(), 27, "one for each of the commands above, and the first");
    assert!(!key_file(&gate).exists(), "no file is made beside the variable");
}

#[test]
fn what_is_no_root_key_in_the_variable_stops_the_start_with_one_line_that_tells_nothing() {
    let home = Home::new();
    let newline = (format!("{}\n", hex(&bytes(1))), "line end");
    for (value, word) in refused_spellings().into_iter().chain([newline]) {
        let line = with_variable(&home, &value, &["serve", "--listen", "127.0.0.1:0"]).refused(1);
        assert!(line.starts_with(&format!("{VARIABLE} holds no root key: ")), "{line}");
        assert!(line.contains(word), "{value:?}: {line}");
        assert!(line.ends_with("`openssl rand -hex 32`"), "{line}");
        assert_tells_nothing(&line, &value);
    }
    assert!(!home.path().exists(), "nothing was made");
}

#[test]
fn what_is_no_root_key_in_the_file_stops_the_start_with_one_line_that_tells_nothing() {
    let home = home();
    let file = key_file(&home);
    for (value, word) in refused_spellings() {
        fs::write(&file, &value).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let line = home.fallgate(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
        assert!(line.starts_with(&format!("{} holds no root key: ", file.display())), "{line}");
        assert!(line.contains(word), "{value:?}: {line}");
        assert!(line.ends_with("`openssl rand -hex 32`"), "{line}");
        assert_tells_nothing(&line, &value);
        assert_eq!(fs::read_to_string(&file).unwrap(), value, "it is left as it was");
    }
}

#[test]
fn the_file_must_be_a_regular_file_and_its_mode_is_repaired() {
    let home = home();
    let file = key_file(&home);
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    fs::create_dir(&file).unwrap();
    assert!(home.fallgate(&serve).refused(1).contains("root.key is not a regular file"));
    fs::remove_dir(&file).unwrap();
    let elsewhere = home.beside().join("elsewhere.key");
    fs::write(&elsewhere, hex(&bytes(1))).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(home.fallgate(&serve).refused(1).contains("root.key is not a regular file"));
    fs::remove_file(&file).unwrap();

    fs::write(&file, hex(&bytes(1))).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let gate = Gate::on(home, "");
    assert!(gate.log().contains("root.key had mode 0644; it is 0600 now"), "{}", gate.log());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn r70_the_first_start_makes_a_root_key_and_a_signing_key_of_this_home_alone() {
    let (one, other) = (Gate::start(), Gate::start());
    let read = |gate: &Gate| fs::read_to_string(key_file(gate)).unwrap();
    let key = read(&one);
    let metadata = fs::metadata(key_file(&one)).unwrap();
    assert_eq!((metadata.mode() & 0o7777, key.len()), (0o600, 65));
    assert!(key.ends_with('\n') && key.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()), "its form");
    assert_ne!(key, read(&other));
    assert_ne!(root_keys(&one).0, root_keys(&other).0);
    assert_ne!(jwks(&one), jwks(&other));
    assert_tells_nothing(&one.log(), key.trim_end());
    let kids = jwks(&one);
    let again = Gate::on(one.kill(), "");
    assert_eq!((read(&again), jwks(&again)), (key, kids), "a start changes neither");
}

#[test]
fn another_key_than_the_stores_is_found_at_the_start() {
    let gate = Gate::start();
    let (own, _) = root_keys(&gate);
    let home = gate.kill();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let (key, other) = (fs::read_to_string(key_file(&home)).unwrap(), hex(&bytes(1)));
    let both = with_variable(&home, &other, &serve).refused(1);
    assert!(both.contains("hold different root keys"), "{both}");
    fs::remove_file(key_file(&home)).unwrap();
    for (line, place) in [
        (home.fallgate(&serve).refused(1), "there is no "),
        (with_variable(&home, &other, &serve).refused(1), VARIABLE),
        (
            {
                fs::write(key_file(&home), &other).unwrap();
                fs::set_permissions(key_file(&home), Permissions::from_mode(0o600)).unwrap();
                home.fallgate(&serve).refused(1)
            },
            "root.key does not fit",
        ),
    ] {
        assert!(line.contains(place) && line.contains(&own), "{line}");
        assert_tells_nothing(&line, &other);
        assert_tells_nothing(&line, key.trim_end());
    }
    // What needs no key goes on: a revocation must not wait for one.
    let token = home.token("ada");
    home.fallgate(&["token", "revoke", &token.id]).ok();
    fs::write(key_file(&home), key).unwrap();
    let _gate = Gate::on(home, "");
}

#[test]
fn processes_that_begin_at_once_agree_on_one_key() {
    for _ in 0..5 {
        let home = home();
        let begun: Vec<_> =
            (0..6).map(|_| home.command(&["key", "rotate-signing"]).spawn().unwrap()).collect();
        for process in begun {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let listed = home.fallgate(&["key", "list", "--json"]).ok().json();
        assert_eq!(listed["root_keys"].as_array().unwrap().len(), 1);
        assert_eq!(listed["signing_keys"].as_array().unwrap().len(), 7);
        home.fallgate(&["key", "rotate-signing"]).ok();
        assert_eq!(left_over(&home), ["fallgate.db", "revision", "root.key"]);
    }
}

fn left_over(home: &Home) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "fallgate.lock")
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_signing_keys_are_published_and_rotated_while_the_gate_runs() {
    let gate = Gate::start();
    let answer = Client::get(gate.address(), JWKS, None);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let key = answer.json()["keys"][0].clone();
    for (name, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig")] {
        assert_eq!(key[name], value);
    }
    assert_eq!(URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!(key.as_object().unwrap().len(), 6, "nothing of the private half: {key}");
    assert_eq!(Client::get(gate.address(), "/api/version", None).header("cache-control"), Some("no-store"));

    let first = jwks(&gate);
    let rotated = gate.fallgate(&["key", "rotate-signing"]).ok().stderr;
    assert!(rotated.contains("for 7 days and 5 minutes at most"), "{rotated}");
    let both = jwks(&gate);
    assert_eq!((both.len(), &both[1]), (2, &first[0]));
    gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    let stolen = jwks(&gate);
    assert_eq!(stolen.len(), 1);
    assert!(!both.contains(&stolen[0]));

    let listed = gate.fallgate(&["key", "list", "--json"]).ok().json();
    let states: Vec<_> = listed["signing_keys"].as_array().unwrap().iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["signs", "dropped", "dropped"]);
    assert_eq!(listed["signing_keys"][0]["kid"], stolen[0].as_str());
    let table = gate.fallgate(&["key", "list"]).ok().stdout;
    assert!(table.starts_with("KEY ") && table.contains(&stolen[0]), "{table}");
    let events = gate.fallgate(&["audit", "list", "--json", "--action", "key.rotate-signing"]).ok().json();
    assert_eq!(events["events"][0]["target"], stolen[0].as_str());
    assert_eq!(events["events"][0]["detail"]["at_once"], true);
}

#[test]
fn a_root_key_in_a_file_is_replaced_under_a_running_gate_and_no_request_fails() {
    let gate = Gate::start();
    let token = gate.token("ada");
    let (kids, old) = (jwks(&gate), fs::read_to_string(key_file(&gate)).unwrap());
    let own = gate.beside().join("mine.key");
    let mine = STANDARD.encode(bytes(9));
    fs::write(&own, &mine).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::Acquire) {
                assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&token)).status, 200);
                assert_eq!(jwks(&gate), kids, "the signing keys stay");
                asked += 1;
            }
            asked
        });
        let said = gate.fallgate(&["key", "rotate"]).ok();
        assert_eq!(said.stdout, "");
        let new = fs::read_to_string(key_file(&gate)).unwrap();
        assert_ne!(new, old);
        for secret in [&old, &new] {
            assert_tells_nothing(&said.stderr, secret.trim_end());
        }
        assert_eq!(root_keys(&gate).1, 2);
        let unconfirmed = gate.fallgate(&["key", "rotate"]).refused(1);
        assert!(unconfirmed.contains("key rotate --confirm"), "{unconfirmed}");
        gate.fallgate(&["key", "rotate", "--confirm"]).ok();
        assert_eq!(root_keys(&gate).1, 1);
        assert!(gate.fallgate(&["key", "rotate", "--confirm"]).ok().stderr.contains("no rotation"));
        gate.fallgate(&["key", "rotate", "--new-key-file", own.to_str().unwrap()]).ok();
        gate.fallgate(&["key", "rotate", "--confirm"]).ok();
        assert_eq!(fs::read_to_string(key_file(&gate)).unwrap(), format!("{}\n", hex(&bytes(9))));
        done.store(true, Ordering::Release);
        assert!(client.join().unwrap() > 0);
    });
    assert!(!gate.log().contains("opens nothing"), "{}", gate.log());
    let (home, other) = (gate.kill(), hex(&bytes(1)));
    let usage = home.fallgate(&["key", "rotate", "--confirm", "--new-key-file", own.to_str().unwrap()]);
    assert_eq!(usage.code, Some(2));
    for content in ["", &other[..63]] {
        fs::write(&own, content).unwrap();
        let line = home.fallgate(&["key", "rotate", "--new-key-file", own.to_str().unwrap()]).refused(1);
        assert!(line.contains("mine.key holds no root key"), "{line}");
    }
    fs::write(&own, hex(&bytes(9))).unwrap();
    let same = home.fallgate(&["key", "rotate", "--new-key-file", own.to_str().unwrap()]).refused(1);
    assert!(same.contains("in use already"), "{same}");
    // The first one is worth nothing any more.
    fs::write(key_file(&home), old).unwrap();
    let line = home.fallgate(&["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(line.contains("does not fit"), "{line}");
}

#[test]
fn a_root_key_in_the_variable_opens_until_its_successor_is_confirmed() {
    let home = home();
    let (old, new) = (hex(&bytes(1)), hex(&bytes(2)));
    let keyed = |key: &str| {
        let key = key.to_owned();
        move |command: &mut Command| {
            command.env(VARIABLE, key);
        }
    };
    let gate = Gate::started(home, "", keyed(&old));
    let kids = jwks(&gate);
    let file = gate.beside().join("new.key");
    fs::write(&file, format!("{new}\n")).unwrap();
    let needs = with_variable(&gate, &old, &["key", "rotate"]).refused(1);
    assert!(needs.contains("--new-key-file"), "{needs}");
    let rotate = ["key", "rotate", "--new-key-file", file.to_str().unwrap()];
    with_variable(&gate, &old, &rotate).ok();
    assert!(!key_file(&gate).exists());
    let early = with_variable(&gate, &old, &["key", "rotate", "--confirm"]);
    assert_eq!(early.code, Some(1));
    assert!(early.stderr.contains("still the old one"), "{}", early.stderr);
    // Both open.
    let gate = Gate::started(gate.kill(), "", keyed(&old));
    assert!(gate.log().contains("holds the old root key"), "{}", gate.log());
    assert_eq!(jwks(&gate), kids);
    let gate = Gate::started(gate.kill(), "", keyed(&new));
    assert!(!gate.log().contains("old root key"), "{}", gate.log());
    with_variable(&gate, &new, &["key", "rotate", "--confirm"]).ok();
    let home = gate.kill();
    let line = with_variable(&home, &old, &["serve", "--listen", "127.0.0.1:0"]).refused(1);
    assert!(line.contains("does not fit"), "{line}");
    let gate = Gate::started(home, "", keyed(&new));
    assert_eq!(jwks(&gate), kids);
    // In both places at once, whoever starts next could not tell which one is meant.
    fs::write(key_file(&gate), &new).unwrap();
    fs::write(&file, &old).unwrap();
    let both = with_variable(&gate, &new, &rotate);
    assert_eq!(both.code, Some(1));
    assert!(both.stderr.contains("take one of them away"), "{}", both.stderr);
}

#[test]
fn a_rotation_that_broke_off_before_the_file_was_replaced_is_finished_by_whoever_comes_next() {
    let home = Gate::start().kill();
    let old = fs::read(key_file(&home)).unwrap();
    home.fallgate(&["key", "rotate"]).ok();
    let new = fs::read(key_file(&home)).unwrap();
    // The commit is there, the file is not; and the one that was being written was cut off.
    fs::write(key_file(&home), &old).unwrap();
    fs::write(home.path().join("root.key.tmp"), "00").unwrap();
    let gate = Gate::on(home, "");
    assert_eq!(fs::read(key_file(&gate)).unwrap(), new);
    assert!(gate.log().contains("it holds the new one now"), "{}", gate.log());
    assert!(!gate.path().join("root.key.tmp").exists());
    fs::write(key_file(&gate), &old).unwrap();
    gate.fallgate(&["key", "rotate", "--confirm"]).ok();
    assert_eq!(fs::read(key_file(&gate)).unwrap(), new);
    let _gate = Gate::on(gate.kill(), "");
}

#[test]
fn a_rotation_whose_file_cannot_be_replaced_loses_nothing_and_is_finished_later() {
    let home = Gate::start().kill();
    let old = fs::read(key_file(&home)).unwrap();
    // Where the new file would be written there is something that cannot be taken away.
    let unfinished = home.path().join("root.key.tmp");
    fs::create_dir(&unfinished).unwrap();
    let said = home.fallgate(&["key", "rotate"]).refused(1);
    assert!(said.contains("root.key cannot be written") && said.contains("--confirm"), "{said}");
    assert_eq!(fs::read(key_file(&home)).unwrap(), old);
    assert_eq!(root_keys(&home).1, 2);
    let gate = Gate::on(home, "");
    assert!(gate.log().contains("holds the old root key of a rotation still"), "{}", gate.log());
    let confirmed = gate.fallgate(&["key", "rotate", "--confirm"]);
    assert_eq!(confirmed.code, Some(1));
    assert!(confirmed.stderr.contains("the key in use is still the old one"), "{}", confirmed.stderr);
    fs::remove_dir(&unfinished).unwrap();
    gate.fallgate(&["key", "rotate", "--confirm"]).ok();
    assert_ne!(fs::read(key_file(&gate)).unwrap(), old);
    assert_eq!(root_keys(&gate).1, 1);
    let _gate = Gate::on(gate.kill(), "");
}

#[test]
fn a_rotation_that_is_killed_at_any_moment_leaves_a_home_that_opens() {
    let gate = Gate::start();
    let kids = jwks(&gate);
    let mut done = 0;
    for step in 0..40 {
        let before = root_keys(&gate).0;
        let mut rotation = gate.command(&["key", "rotate"]).spawn().unwrap();
        // Another moment each time, through all of a rotation's life.
        thread::sleep(Duration::from_micros(step * 700));
        rotation.kill().unwrap();
        rotation.wait().unwrap();
        let (current, _) = root_keys(&gate);
        done += usize::from(current != before);
        gate.fallgate(&["key", "rotate", "--confirm"]).ok();
        assert_eq!(root_keys(&gate), (current, 1));
        gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    }
    eprintln!("{done} of 40 rotations were committed before they were killed");
    let kept = jwks(&gate);
    assert!(kept.len() == 1 && kept != kids);
    assert!(!gate.log().contains("opens nothing"), "{}", gate.log());
    assert_eq!(jwks(&Gate::on(gate.kill(), "")), kept);
}

/// Puts events into the trail that are older than any is kept.
pub(crate) fn with_a_past(home: &Home, count: u64) {
    // The schema is the store's own affair.
    Clerk::of(home).read(async |store| store.ping().await).unwrap();
    let database = Connection::open(database(home)).unwrap();
    database.execute("DELETE FROM audit", []).unwrap();
    let mut prev = FIRST_PREV.to_owned();
    for seq in 1..=count {
        let new = NewEvent {
            at: Timestamp::parse("2020-02-29T12:00:00Z").unwrap(),
            action: Action::UserRename,
            actor: "ada".to_owned(),
            credential: None,
            target: "ada".to_owned(),
            ip: None,
            detail: std::collections::BTreeMap::new(),
            author: None,
        };
        let event = Event::link(seq, prev, new);
        let row = (
            i64::try_from(seq).unwrap(),
            event.at.millis(),
            event.action,
            event.actor,
            event.target,
            event.outcome,
            event.prev,
            event.hash.clone(),
        );
        let insert = "INSERT INTO audit (seq, at, action, actor, target, outcome, detail, prev, hash)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, '{}', ?7, ?8)";
        database.execute(insert, row).unwrap();
        prev = event.hash;
    }
}

#[test]
fn events_that_are_too_old_give_way_to_a_signed_checkpoint() {
    let home = home();
    with_a_past(&home, 50);
    home.user("bob");
    assert_eq!(home.fallgate(&["audit", "verify"]).ok().stdout, "51 events, an unbroken chain\n");
    let gate = Gate::on(home, "");
    crate::support::wait_for("the deletion", || gate.log().contains("deleted").then_some(()));
    let today = |home: &Home| home.fallgate(&["audit", "verify"]).ok();
    let verified = today(&gate);
    assert!(
        verified.stdout.starts_with("2 events, an unbroken chain since the checkpoint of 20"),
        "{}",
        verified.stdout
    );
    assert_eq!(verified.stderr, "");
    let listed = gate.fallgate(&["audit", "list", "--json"]).ok().json();
    // The start of the gate made the internal token.
    assert_eq!((&listed["events"][0]["seq"], &listed["events"][1]["seq"]), (&52.into(), &51.into()));
    assert_eq!(listed["events"].as_array().unwrap().len(), 2);
    gate.user("eve");
    gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    gate.fallgate(&["key", "rotate"]).ok();
    assert!(today(&gate).stdout.starts_with("5 events, an unbroken chain since the checkpoint of 20"));

    // Without the root key the signature is checked all the same, and what is not checked is said.
    let home = gate.kill();
    let aside = home.beside().join("aside.key");
    fs::rename(key_file(&home), &aside).unwrap();
    let blind = today(&home);
    assert!(blind.stdout.starts_with("5 events, ") && blind.stderr.contains("without the root key"));
    fs::rename(&aside, key_file(&home)).unwrap();
    let forge = |sql: &str| {
        Connection::open(database(&home)).unwrap().execute(sql, []).unwrap();
        home.fallgate(&["audit", "verify"]).refused(1)
    };
    let forged = forge("UPDATE audit_checkpoint SET at = at - 86400000");
    assert!(
        forged.starts_with("the checkpoint after event 50 was not signed by a key of this store"),
        "{forged}"
    );
    let missing = forge("DELETE FROM audit_checkpoint");
    assert!(missing.starts_with("event 1 is missing"), "{missing}");
}

#[test]
fn r26_neither_the_root_key_nor_a_private_half_lies_in_the_database() {
    let home = home();
    let key = bytes(1);
    let keyed = |arguments: &[&str]| with_variable(&home, &hex(&key), arguments);
    keyed(&["key", "rotate-signing"]).ok();
    let new = home.beside().join("new.key");
    fs::write(&new, hex(&bytes(2))).unwrap();
    keyed(&["key", "rotate", "--new-key-file", new.to_str().unwrap()]).ok();
    let stored = fs::read(database(&home)).unwrap();
    for secret in [key, bytes(2)] {
        for spelling in [secret.to_vec(), hex(&secret).into_bytes(), STANDARD.encode(secret).into_bytes()] {
            assert!(!stored.windows(spelling.len()).any(|window| window == spelling));
        }
    }
    // What the old key opened is not left behind where it was deleted.
    let successor: Vec<u8> = Connection::open(database(&home))
        .unwrap()
        .query_row("SELECT successor FROM root_key WHERE successor IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    let holds = || {
        let stored = fs::read(database(&home)).unwrap();
        stored.windows(successor.len()).any(|window| window == successor)
    };
    assert!(holds());
    with_variable(&home, &hex(&bytes(2)), &["key", "rotate", "--confirm"]).ok();
    assert!(!holds(), "the new root key, sealed under the old one, is still in the file");
}
