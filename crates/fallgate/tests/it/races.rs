//! Requests and upgrades racing against mints and revocations by other processes.
//!
//! A request *starts* when its first byte is sent; a revocation is *acknowledged* when the command has ended, or the
//! registrar's call has returned. What starts after the one must not be let through by the other.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Clerk, Client, Gate, Home, Line, Token, Upstream, WebSocketUpstream, wait_for};

/// A token from its mint until all have seen that it is dead.
struct Round {
    token: Token,
    /// Set before the revocation begins: from here on a refusal is no fault.
    begun: AtomicBool,
    /// Set after it was acknowledged: from here on nothing may start and be let through.
    acknowledged: AtomicBool,
    /// How many requests started after that.
    after: AtomicUsize,
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Requests under way while a revocation was, or the first of a client after one.
    races: AtomicUsize,
    let_through: AtomicUsize,
    refused: AtomicUsize,
}

/// What is shared by clients and whoever revokes.
struct Track {
    round: RwLock<Arc<Round>>,
    over: AtomicBool,
    seen: Seen,
}

impl Round {
    fn of(token: Token) -> Arc<Self> {
        let flag = || AtomicBool::new(false);
        Arc::new(Self { token, begun: flag(), acknowledged: flag(), after: AtomicUsize::new(0) })
    }

    /// Waits a random moment, revokes, and returns when each client has tried once more.
    fn run(&self, revoke: impl FnOnce(&Token), clients: usize) {
        spin(random() % 1_500);
        self.begun.store(true, Ordering::SeqCst);
        revoke(&self.token);
        self.acknowledged.store(true, Ordering::SeqCst);
        wait_for_quickly("a try of each client after the revoke", || {
            self.after.load(Ordering::SeqCst) >= clients
        });
    }
}

impl Track {
    fn new(token: Token) -> Arc<Self> {
        let round = RwLock::new(Round::of(token));
        Arc::new(Self { round, over: AtomicBool::new(false), seen: Seen::default() })
    }

    fn now(&self) -> Arc<Round> {
        self.round.read().unwrap().clone()
    }

    fn next(&self, token: Token) -> Arc<Round> {
        let round = Round::of(token);
        *self.round.write().unwrap() = round.clone();
        round
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn races(&self) -> usize {
        self.seen.races.load(Ordering::SeqCst)
    }

    /// Sends one request after the other on one connection, with whichever token it is the turn of.
    fn hammer(&self, gate: std::net::SocketAddr, target: &str) {
        let mut client = Client::connect(gate);
        let mut last = None;
        while !self.is_over() {
            let round = self.now();
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", round.token.header());
            let dead = round.acknowledged.load(Ordering::SeqCst);
            client.send(request);
            let answer = client.response();
            let dying = round.begun.load(Ordering::SeqCst);
            match (answer.status, dead, dying) {
                (200, false, _) => self.seen.let_through.fetch_add(1, Ordering::SeqCst),
                (401, _, true) => self.seen.refused.fetch_add(1, Ordering::SeqCst),
                (status, true, _) => {
                    panic!("{status} for a request that started after the revoke was acknowledged")
                }
                (status, ..) => panic!("{status} before any revoke had begun: {}", answer.text()),
            };
            let first_after = dead && last.replace(round.token.id.clone()) != Some(round.token.id.clone());
            if first_after {
                round.after.fetch_add(1, Ordering::SeqCst);
            }
            if first_after || (dying && !dead) {
                self.seen.races.fetch_add(1, Ordering::SeqCst);
            }
            if answer.header("connection") == Some("close") {
                client = Client::connect(gate);
            }
        }
    }
}

fn random() -> u64 {
    // The standard library seeds each of these anew.
    RandomState::new().hash_one(0)
}

/// Busy for so many microseconds: sleeping is too coarse to hit every moment of a request.
fn spin(micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn wait_for_quickly(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + crate::support::PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::yield_now();
    }
}

/// An upstream that answers at once, and the gate before it.
fn gate_before_a_fast_upstream() -> (Gate, Upstream) {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    (gate, upstream)
}

/// Lets clients race against `rounds` until `enough`; half of them through a route, half at a door of our own.
fn race(
    gate: &Gate,
    first: Token,
    mut rounds: impl FnMut(&Track, usize) + Send,
    enough: impl Fn(&Track) -> bool,
) {
    const CLIENTS: usize = 4;
    let track = Track::new(first);
    let begun = Instant::now();
    let mut revocations = 0;
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (track, address) = (track.clone(), gate.address());
            let target = if number % 2 == 0 { "/app/" } else { "/api/whoami" };
            scope.spawn(move || {
                // A client that fails ends the race.
                let _over = OverOnDrop(&track);
                track.hammer(address, target);
            });
        }
        let _over = OverOnDrop(&track);
        while !enough(&track) && !track.is_over() {
            rounds(&track, CLIENTS);
            revocations += 1;
        }
    });
    let seen = &track.seen;
    eprintln!(
        "{} races in {revocations} revocations, {:.1} s: {} requests let through, {} refused",
        track.races(),
        begun.elapsed().as_secs_f64(),
        seen.let_through.load(Ordering::SeqCst),
        seen.refused.load(Ordering::SeqCst)
    );
    assert!(seen.let_through.load(Ordering::SeqCst) > revocations, "hardly anything was let through");
    assert!(enough(&track));
}

struct OverOnDrop<'a>(&'a Track);

impl Drop for OverOnDrop<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn r42_ten_thousand_races_let_nothing_through_that_started_after_the_revoke_was_acknowledged() {
    let (gate, _upstream) = gate_before_a_fast_upstream();
    let clerk = Clerk::of(&gate);
    let first = clerk.mint("ada");
    let mut current = None;
    race(
        &gate,
        first,
        move |track, clients| {
            let round = current.take().unwrap_or_else(|| track.now());
            round.run(|token| clerk.revoke(token), clients);
            current = Some(track.next(clerk.mint("ada")));
        },
        |track| track.races() >= 10_000,
    );
}

#[test]
fn r42_races_against_the_command_line_itself_let_nothing_through_either() {
    let (gate, _upstream) = gate_before_a_fast_upstream();
    let home: &Home = &gate;
    let mut left = 200;
    let done = AtomicUsize::new(0);
    race(
        &gate,
        home.token_with("ada", &[]),
        |track, clients| {
            let revoke = |token: &Token| {
                home.fallgate(&["token", "revoke", &token.id]).ok();
            };
            track.now().run(revoke, clients);
            left -= 1;
            done.store(200 - left, Ordering::SeqCst);
            track.next(home.token_with("ada", &[]));
        },
        |_| done.load(Ordering::SeqCst) >= 200,
    );
}

#[test]
fn r47_a_websocket_that_opens_during_a_revoke_does_not_outlive_it() {
    const ROUNDS: usize = 150;
    const CLIENTS: usize = 4;
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let clerk = Clerk::of(&gate);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let round = Round::of(clerk.mint("ada"));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (round, address) = (round.clone(), gate.address());
                    scope.spawn(move || open_until_refused(&round, address))
                })
                .collect();
            round.run(|token| clerk.revoke(token), 0);
            for client in clients {
                opened += client.join().unwrap();
                refused += 1;
            }
        });
    }
    eprintln!("{opened} WebSockets opened before or during {ROUNDS} revocations, {refused} refused");
    assert!(opened > ROUNDS, "the races were not close");
    wait_for("the last ends at the upstream", || (upstream.open() == 0).then_some(()));
}

/// Opens one after the other until one is refused, and then waits for the end of every one. Gives how many were opened.
fn open_until_refused(round: &Round, gate: std::net::SocketAddr) -> usize {
    let mut open = Vec::new();
    loop {
        let dead = round.acknowledged.load(Ordering::SeqCst);
        let mut line = Line::ask_for_websocket(gate, "/app/", &round.token);
        let head = line.head();
        if !head.starts_with("HTTP/1.1 101 ") {
            assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
            assert!(round.begun.load(Ordering::SeqCst), "refused before the revoke began");
            break;
        }
        assert!(!dead, "opened after the revoke was acknowledged");
        open.push(line);
    }
    let count = open.len();
    for line in open {
        line.ended().assert_closed(4401, "token revoked");
    }
    count
}

/// Asks for the same again and again on some connections of its own, until told that it may not.
fn insist(
    gate: &Gate,
    line: &str,
    token: &Token,
    body: &str,
    clients: usize,
) -> Vec<thread::JoinHandle<usize>> {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.header(),
        body.len()
    );
    let address = gate.address();
    let one = |request: String| {
        move || {
            for done in 0..20_000 {
                match Client::exchange(address, &request).status {
                    200 | 201 => {}
                    401 => return done,
                    status => panic!("{status}"),
                }
            }
            panic!("it goes on and on")
        }
    };
    (0..clients).map(|_| thread::spawn(one(request.clone()))).collect()
}

#[test]
fn r9_r57_whoever_is_shut_out_cannot_let_themselves_in_again_by_what_is_under_way() {
    let gate = Gate::start();
    gate.admin("root");
    gate.admin("ada");
    for _ in 0..4 {
        let token = gate.token_with("ada", &["--scope", "admin"]);
        let clients = insist(&gate, "PATCH /api/users/ada", &token, r#"{"disabled":false}"#, 8);
        spin(random() % 20_000);
        gate.fallgate(&["user", "disable", "ada"]).ok();
        let done: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        let users = gate.fallgate(&["user", "list", "--json"]).ok().json();
        let ada = users["users"].as_array().unwrap().iter().find(|user| user["username"] == "ada").unwrap();
        assert!(!ada["disabled_at"].is_null(), "enabled again, by one of {done} requests");
        gate.fallgate(&["user", "enable", "ada"]).ok();
    }
}

#[test]
fn r9_r31_what_is_under_way_mints_nothing_after_the_one_who_mints_was_ended() {
    let gate = Gate::start();
    gate.user("bob");
    for _ in 0..4 {
        let sign_in = gate.sign_in("bob");
        let login = Token { id: sign_in.id.clone(), secret: sign_in.secret.clone() };
        let clients = insist(&gate, "POST /api/tokens", &login, r#"{"name":"x","scopes":[]}"#, 8);
        spin(random() % 20_000);
        let arguments = ["user", "reset-passphrase", "bob", "--passphrase-stdin", "--revoke-tokens"];
        gate.fallgate_with(&arguments, crate::support::PASSPHRASE).ok();
        for client in clients {
            client.join().unwrap();
        }
        let tokens = gate.fallgate(&["token", "list", "--user", "bob", "--json"]).ok().json();
        assert_eq!(tokens["tokens"].as_array().unwrap().len(), 0, "{tokens}");
    }
}
