//! What was acknowledged stays, whoever is killed when; and no secret is kept where it could be found.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fallgate_domain::audit::{Event, FIRST_PREV};
use fallgate_domain::clock::{Clock, SystemClock};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_store::{CredentialFilter, Listed};
use serde_json::Value;

use crate::support::{Clerk, Client, Gate, Home, Token, wait_for};

/// What is known of a token from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its mint was acknowledged, and no revoke has begun.
    Alive,
    /// A revoke had begun when its process was killed: either is right, but it must stay so.
    Open,
    /// Its revoke was acknowledged, or it was refused once.
    Dead,
}

/// All tokens that anybody was told of.
#[derive(Default)]
struct Ledger {
    tokens: BTreeMap<String, (Token, Known)>,
    killed_mints: usize,
    killed_revokes: usize,
    done: usize,
}

/// A command under way.
struct Act {
    child: Child,
    /// Of a revoke.
    target: Option<String>,
}

impl Act {
    fn mint(home: &Home) -> Self {
        let child = home.command(&["token", "create", "--username", "ada", "--json"]).spawn().unwrap();
        Self { child, target: None }
    }

    fn revoke(home: &Home, id: &str) -> Self {
        Self { child: home.command(&["token", "revoke", id]).spawn().unwrap(), target: Some(id.to_owned()) }
    }

    /// Kills it, unless it has ended by itself, and writes down what it had acknowledged.
    fn kill(mut self, ledger: &mut Ledger) {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        let (mut said, mut told) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(status.success() || status.code().is_none(), "a command failed: {told}");
        ledger.done += usize::from(status.success());
        match self.target {
            // A secret that was printed is a promise, whether or not the process came to its end.
            None => {
                if let Ok(minted) = serde_json::from_str::<Value>(&said) {
                    let text = |key: &str| minted[key].as_str().unwrap().to_owned();
                    let token = Token { id: text("id"), secret: text("secret") };
                    ledger.tokens.insert(token.id.clone(), (token, Known::Alive));
                } else {
                    assert!(!status.success(), "done, and no token: {said}");
                    ledger.killed_mints += 1;
                }
            }
            Some(id) => {
                let (_, known) = ledger.tokens.get_mut(&id).unwrap();
                if status.success() || told.contains("revoked\n") {
                    *known = Known::Dead;
                } else if *known == Known::Alive {
                    *known = Known::Open;
                    ledger.killed_revokes += 1;
                }
            }
        }
    }
}

impl Ledger {
    /// Some token that lives, and is not in `but`.
    fn living(&self, but: &[String]) -> Option<String> {
        let living = self.tokens.iter().filter(|(id, (_, known))| *known != Known::Dead && !but.contains(id));
        let living: Vec<_> = living.map(|(id, _)| id).collect();
        (!living.is_empty()).then(|| living[below(living.len())].clone())
    }

    /// Presents every token to the gate.
    fn check(&mut self, gate: &Gate) {
        let mut client = Client::connect(gate.address());
        for (id, (token, known)) in &mut self.tokens {
            client.send(format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
            match (client.response().status, *known) {
                (200, Known::Alive | Known::Open) | (401, Known::Dead) => {}
                (401, Known::Open) => *known = Known::Dead,
                (status, known) => panic!("{status} for the token {id}, which is {known:?}"),
            }
        }
    }
}

/// A random number below `limit`.
fn below(limit: usize) -> usize {
    let random = usize::try_from(RandomState::new().hash_one(0) & 0xffff_ffff).unwrap();
    random % limit
}

/// The whole audit trail, oldest first, every hash of it computed anew.
fn checked_trail(clerk: &Clerk) -> Vec<Event> {
    let mut events = clerk.read(async |store| store.events(None, u32::MAX).await.unwrap());
    events.reverse();
    let mut prev = FIRST_PREV.to_owned();
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!((event.seq, &event.prev), (seq, &prev));
        assert_eq!(event.computed_hash(), event.hash, "event {seq}");
        prev.clone_from(&event.hash);
    }
    events
}

fn all_tokens(clerk: &Clerk) -> Vec<Listed> {
    let kinds = vec![CredentialKind::Token];
    let filter = CredentialFilter { owner: None, kinds, with_ended: true, now: SystemClock.now() };
    clerk.read(async |store| store.credentials(&filter).await.unwrap())
}

/// The trail and the tables say the same, and are whole.
fn assert_consistent(home: &Home) {
    let clerk = Clerk::of(home);
    let (trail, tokens) = (checked_trail(&clerk), all_tokens(&clerk));
    let count = |action: &str| trail.iter().filter(|event| event.action == action).count();
    assert_eq!(count("token.mint"), tokens.len(), "an act without its event, or the other way round");
    let revoked = tokens.iter().filter(|listed| listed.credential.revoked.is_some()).count();
    assert_eq!(count("token.revoke"), revoked);
}

#[test]
fn r43_nothing_acknowledged_is_lost_and_nothing_revoked_comes_back_when_processes_are_killed() {
    const ROUNDS: usize = 120;
    let home = Home::new();
    home.user("ada");
    // Within so many microseconds each command of a round is killed.
    let mut most = 40_000;
    let mut ledger = Ledger::default();
    let mut gate = Some(Gate::on(home, ""));
    let mut killed_gates = 0;
    for round in 0..ROUNDS {
        let home: &Home = gate.as_ref().unwrap();
        let mut acts = vec![Act::mint(home), Act::mint(home)];
        let mut targets = Vec::new();
        for _ in 0..2 {
            if let Some(id) = ledger.living(&targets) {
                acts.push(Act::revoke(home, &id));
                targets.push(id);
            }
        }
        // On whatever machine: about as many are to end by themselves as are killed.
        let killed = ledger.killed_mints + ledger.killed_revokes;
        most = if ledger.done > killed { most * 4 / 5 } else { most * 5 / 4 }.clamp(2_000, 500_000);
        let kills_gate = round % 8 == 0;
        if kills_gate {
            thread::sleep(Duration::from_micros(below(most) as u64) / 2);
            let home = gate.take().unwrap().kill();
            killed_gates += 1;
            kill_all(acts, most / 2, &mut ledger);
            gate = Some(Gate::on(home, ""));
        } else {
            kill_all(acts, most, &mut ledger);
        }
        ledger.check(gate.as_ref().unwrap());
        if round % 30 == 0 {
            assert_consistent(gate.as_ref().unwrap());
        }
    }
    let mut gate = Gate::on(gate.take().unwrap().kill(), "");
    ledger.check(&gate);
    assert_consistent(&gate);
    gate.signal(rustix::process::Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    eprintln!(
        "{ROUNDS} rounds: {} commands ended by themselves, {} mints and {} revokes were killed, the gate {killed_gates} times",
        ledger.done, ledger.killed_mints, ledger.killed_revokes
    );
    let killed = ledger.killed_mints + ledger.killed_revokes;
    assert!(killed >= 20 && ledger.done >= 20, "the kills came too early or too late to show anything");
}

/// Kills each at a random moment within `most` microseconds.
fn kill_all(acts: Vec<Act>, most: usize, ledger: &mut Ledger) {
    let mut acts: Vec<_> = acts.into_iter().map(|act| (below(most), act)).collect();
    acts.sort_by_key(|(moment, _)| *moment);
    let begun = Instant::now();
    for (moment, act) in acts {
        let moment = Duration::from_micros(moment as u64);
        thread::sleep(moment.saturating_sub(begun.elapsed()));
        act.kill(ledger);
    }
}

#[test]
fn processes_that_mint_and_revoke_at_once_lose_nothing_and_each_act_counts_from_its_end() {
    const EACH: usize = 25;
    let gate = Gate::start();
    gate.user("ada");
    let status = |token: &Token| Client::get(gate.address(), "/api/whoami", Some(token)).status;
    let kept: Vec<Token> = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut kept = Vec::new();
                    for turn in 0..EACH {
                        let token = gate.token_with("ada", &[]);
                        assert_eq!(status(&token), 200, "a mint that was acknowledged");
                        if turn % 2 == 0 {
                            gate.fallgate(&["token", "revoke", &token.id]).ok();
                            assert_eq!(status(&token), 401, "a revoke that was acknowledged");
                        } else {
                            kept.push(token);
                        }
                    }
                    kept
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(kept.len(), 3 * (EACH / 2));
    assert!(kept.iter().all(|token| status(token) == 200));
    assert_eq!(all_tokens(&Clerk::of(&gate)).len(), 3 * EACH);
    assert_consistent(&gate);
}

/// Every file of the home folder, by name, but the one that a secret belongs into.
fn files(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(home.path()).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "internal-token")
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn r23_r26_r61_secrets_are_neither_in_the_home_folder_nor_in_the_log() {
    let home = Home::new();
    let passphrase = "canary passphrase 4711 quartz";
    home.fallgate_with(&["user", "create", "ada", "--admin", "--passphrase-stdin"], passphrase).ok();
    let gate = Gate::started(home, "", |command| {
        command.env("FALLGATE_LOG", "trace").stdout(Stdio::null());
    });
    let token = gate.token_with("ada", &["--scope", "identity:read", "--scope", "tokens:write"]);
    let ended = gate.token_with("ada", &[]);
    gate.fallgate(&["token", "revoke", &ended.id]).ok();
    let body = r#"{"name":"child"}"#;
    let minted = Client::exchange(
        gate.address(),
        format!(
            "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            token.header(),
            body.len()
        ),
    );
    assert_eq!(minted.status, 201, "{}", minted.text());
    let child = minted.json()["secret"].as_str().unwrap().to_owned();
    // Presented well, and in every way that is refused.
    let mut wrong = token.secret.clone();
    wrong.replace_range(10..14, "XXXX");
    let secrets = [&token.secret, &ended.secret, &child, &wrong];
    for secret in secrets {
        for request in [
            format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"),
            format!("GET /api/whoami?token={secret} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nCookie: fallgate={secret}\r\n\r\n"),
            format!("GET /api/{secret} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {secret}\r\n\r\n"),
            format!("GET /{secret}/../x HTTP/1.1\r\nHost: {secret}\r\nX-Token: {secret}\r\n\r\n"),
            format!(
                "DELETE /api/tokens/{secret} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
            ),
            format!("{secret}\r\n\r\n"),
        ] {
            let answer = Client::exchange(gate.address(), &request);
            if !request.starts_with("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer") {
                assert!(answer.status >= 400, "{request}");
                assert!(!answer.text().contains(secret), "{}", answer.text());
            }
        }
    }
    let refused = gate.fallgate(&["token", "revoke", &token.secret]);
    assert!(!refused.stderr.contains(&token.secret));
    // Uses are written down a little later; what is looked through is to have them.
    wait_for("the use of the token", || {
        let listed = gate.fallgate(&["token", "list", "--json"]).ok().json();
        let tokens = listed["tokens"].as_array().unwrap().clone();
        tokens.iter().find(|held| held["id"] == *token.id && !held["last_used_at"].is_null()).map(drop)
    });

    let log = gate.log();
    assert!(log.contains("DEBUG"), "the log says little: {log}");
    let held = files(&gate);
    assert!(held.contains_key("fallgate.db-wal"), "{:?}", held.keys());
    for secret in secrets.into_iter().map(String::as_str).chain([passphrase]) {
        // The part that is hard to guess, too: the rest could be written apart from it.
        let core = &secret[secret.len() - 14..secret.len() - 6];
        for canary in [secret, core] {
            assert!(!log.contains(canary), "a secret is in the log");
            for (name, bytes) in &held {
                let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "a secret is in {name}");
            }
        }
    }

    // Nothing that could be read in the files opens a door (r26).
    let strings = held
        .values()
        .flat_map(|bytes| bytes.split(|byte| !byte.is_ascii_graphic()).filter(|run| run.len() >= 4));
    let mut strings: Vec<_> = strings.map(|run| String::from_utf8(run.to_vec()).unwrap()).collect();
    let hash = *PlainToken::parse(TokenKind::Token, token.secret.as_bytes()).unwrap().hash().bytes();
    let is_in = |bytes: &Vec<u8>| bytes.windows(32).any(|window| window == hash);
    assert!(held.values().any(is_in), "this is not where the token is kept");
    let hex = hash.map(|byte| format!("{byte:02x}")).concat();
    strings.extend([format!("fgt_{}", &hex[..49]), hex]);
    let mut client = Client::connect(gate.address());
    let tried = strings.len();
    for string in strings {
        client.send(format!(
            "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {string}\r\n\r\n"
        ));
        let answer = client.response();
        assert!(matches!(answer.status, 400 | 401), "{string} opens a door");
        if answer.header("connection") == Some("close") {
            client = Client::connect(gate.address());
        }
    }
    assert!(tried > 20, "{tried} strings");
}
