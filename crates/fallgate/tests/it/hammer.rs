//! Two processes mint and revoke while eight clients hammer the gate: no mint is lost, no dead token is taken, no client
//! gets another answer than the one that is due.
//!
//! One process is the daemon, by its API; the other is this one, by the registrar that the command line uses. A third
//! comes and goes: the command line itself.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::support::{Clerk, Client, Gate, Home, Token, Upstream};

const MINTS: usize = 2_000;
const CLIENTS: usize = 8;
/// How many tokens are in use at a time; of those that were revoked, as many of the last are tried again and again.
const IN_USE: usize = 40;

/// A token, from when its mint was acknowledged.
struct Held {
    token: Token,
    /// Set before its revocation is asked for: from here on a refusal is no fault.
    begun: AtomicBool,
    /// Set after that was acknowledged: no request that begins from here on may be let through.
    acknowledged: AtomicBool,
}

/// Who mints and revokes, one of them.
trait Writer {
    fn mint(&mut self) -> Token;
    fn revoke(&mut self, token: &Token);
}

/// By the API: the daemon writes.
struct Caller {
    client: Client,
    token: Token,
}

struct Commands<'a>(&'a Home);

/// What writers and clients share.
#[derive(Default)]
struct Pool {
    alive: RwLock<Vec<Arc<Held>>>,
    dead: RwLock<Vec<Arc<Held>>>,
    minted: AtomicUsize,
    over: AtomicBool,
    let_through: AtomicUsize,
    refused: AtomicUsize,
}

impl Writer for Clerk {
    fn mint(&mut self) -> Token {
        Self::mint(self, "ada")
    }

    fn revoke(&mut self, token: &Token) {
        Self::revoke(self, token);
    }
}

impl Writer for Caller {
    fn mint(&mut self) -> Token {
        let body = json!({ "name": "hammered" }).to_string();
        let minted = self.ask("POST /api/tokens", &body, 201);
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        Token { id: text("id"), secret: text("secret") }
    }

    fn revoke(&mut self, token: &Token) {
        self.ask(&format!("DELETE /api/tokens/{}", token.id), "", 204);
    }
}

impl Caller {
    fn ask(&mut self, line: &str, body: &str, status: u16) -> serde_json::Value {
        let (authorization, length) = (self.token.header(), body.len());
        self.client.send(format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        let answer = self.client.response();
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        if answer.body.is_empty() { json!(null) } else { answer.json() }
    }
}

impl Writer for Commands<'_> {
    fn mint(&mut self) -> Token {
        self.0.token_with("ada", &[])
    }

    fn revoke(&mut self, token: &Token) {
        self.0.fallgate(&["token", "revoke", &token.id]).ok();
    }
}

impl Pool {
    /// Mints and revokes, mostly in turns, until there were enough mints of all writers together.
    fn write(&self, mut writer: impl Writer) {
        while self.minted.load(Ordering::SeqCst) < MINTS && !self.is_over() {
            let token = writer.mint();
            let held = Held { token, begun: AtomicBool::new(false), acknowledged: AtomicBool::new(false) };
            self.minted.fetch_add(1, Ordering::SeqCst);
            let chosen = {
                let mut alive = self.alive.write().unwrap();
                alive.push(Arc::new(held));
                let place = random(alive.len());
                if alive.len() > IN_USE { Some(alive.swap_remove(place)) } else { None }
            };
            let Some(held) = chosen else { continue };
            // Clients may have it in hand already; from now on they find it among the dead.
            self.dead.write().unwrap().push(held.clone());
            held.begun.store(true, Ordering::SeqCst);
            writer.revoke(&held.token);
            held.acknowledged.store(true, Ordering::SeqCst);
        }
    }

    /// Sends one request after the other on one connection, with tokens that are alive and lately dead.
    fn hammer(&self, gate: SocketAddr, target: &str) {
        let mut client = Client::connect(gate);
        while !self.is_over() {
            let Some(held) = self.any() else { continue };
            let dead = held.acknowledged.load(Ordering::SeqCst);
            client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", held.token.header()));
            let answer = client.response();
            match (answer.status, dead, held.begun.load(Ordering::SeqCst)) {
                (200, false, _) => self.let_through.fetch_add(1, Ordering::SeqCst),
                (401, _, true) => self.refused.fetch_add(1, Ordering::SeqCst),
                (status, true, _) => {
                    panic!("{status} for a request that began after the revoke was acknowledged")
                }
                (status, ..) => panic!("{status} for a token that nobody had revoked: {}", answer.text()),
            };
            if answer.header("connection") == Some("close") {
                client = Client::connect(gate);
            }
        }
    }

    /// One of those in use, or of the last that died.
    fn any(&self) -> Option<Arc<Held>> {
        let place = random(2 * IN_USE);
        if place < IN_USE {
            return self.alive.read().unwrap().get(place).cloned();
        }
        self.dead.read().unwrap().iter().rev().nth(place - IN_USE).cloned()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Below `limit`.
fn random(limit: usize) -> usize {
    // The standard library seeds each of these anew.
    let limit = u64::try_from(limit).unwrap();
    usize::try_from(RandomState::new().hash_one(0) % limit).unwrap()
}

struct OverOnDrop<'a>(&'a Pool);

impl Drop for OverOnDrop<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn r42_two_processes_mint_and_revoke_while_eight_clients_hammer_and_nothing_is_lost_or_stale() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let home: &Home = &gate;
    let address = gate.address();
    let pool = Pool::default();
    let begun = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (pool, target) = (&pool, if number % 2 == 0 { "/app/" } else { "/api/whoami" });
            scope.spawn(move || {
                // A client that fails ends it all.
                let _over = OverOnDrop(pool);
                pool.hammer(address, target);
            });
        }
        let _over = OverOnDrop(&pool);
        let writers = [
            scope.spawn(|| pool.write(Clerk::of(home))),
            scope.spawn(|| {
                let token = home.token_with("ada", &["--scope", "tokens:write", "--scope", "routes:use"]);
                pool.write(Caller { client: Client::connect(address), token });
            }),
            scope.spawn(|| pool.write(Commands(home))),
        ];
        for writer in writers {
            writer.join().unwrap();
        }
    });
    let (alive, dead) = (pool.alive.into_inner().unwrap(), pool.dead.into_inner().unwrap());
    let (let_through, refused) = (pool.let_through.into_inner(), pool.refused.into_inner());
    eprintln!(
        "{} mints, {} revocations, {:.1} s: {let_through} requests let through, {refused} refused",
        pool.minted.load(Ordering::SeqCst),
        dead.len(),
        begun.elapsed().as_secs_f64(),
    );
    assert!(alive.len() + dead.len() >= MINTS);
    assert!(let_through > MINTS / 2 && refused > MINTS / 2, "hardly anything was asked");
    // Each as it must be, by the daemon and by the store.
    let mut client = Client::connect(address);
    for (held, status) in alive.iter().map(|held| (held, 200)).chain(dead.iter().map(|held| (held, 401))) {
        client.send(format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{}\r\n", held.token.header()));
        let answer = client.response();
        assert_eq!(answer.status, status, "{}: {}", held.token.id, answer.text());
        if answer.header("connection") == Some("close") {
            client = Client::connect(address);
        }
    }
    let listed = home.fallgate(&["token", "list", "--all", "--json"]).ok().json();
    let ids = |status: &str| -> BTreeSet<String> {
        let tokens = listed["tokens"].as_array().unwrap().iter();
        let tokens = tokens.filter(|token| token["status"] == status);
        tokens.map(|token| token["id"].as_str().unwrap().to_owned()).collect()
    };
    let (active, revoked) = (ids("active"), ids("revoked"));
    let of = |held: &[Arc<Held>]| held.iter().map(|held| held.token.id.clone()).collect::<BTreeSet<_>>();
    // Beside them there is only the caller's own.
    assert_eq!(active.difference(&of(&alive)).count(), 1, "a token that nobody was given");
    assert_eq!(of(&alive).difference(&active).count(), 0, "a lost mint");
    assert_eq!(of(&dead), revoked, "a lost revocation");
    home.fallgate(&["audit", "verify"]).ok();
}
