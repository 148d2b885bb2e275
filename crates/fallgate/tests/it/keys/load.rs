//! Both kinds of keys are rotated while everybody works: no request fails, no stream ends, and whatever was signed
//! before, meanwhile and after is taken at the gate, and by who has nothing but the published keys.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{VARIABLE, bytes, hex, home, key_file, root_keys};
use crate::support::{
    Client, Gate, Home, Jwks, PATIENCE, Response, Run, SignIn, Token, Upstream, WebSocket, WebSocketUpstream,
    Worker, wait_for, wait_up_to,
};

/// How often the rotations are gone through.
const ROUNDS: u8 = 2;
/// How much each client does between two steps, at least.
const ASKED_EACH: usize = 2;
const SCOPES: [&str; 2] = ["identity:read", "routes:use"];
const AUDIENCE: [&str; 3] = ["fallgate", "route:app", "route:ws"];

struct Load<'a> {
    gate: &'a Gate,
    user: Token,
    login: SignIn,
    worker: Worker,
    /// The root key in the variable, if it is kept there. Held while a command runs with it.
    variable: Option<RwLock<String>>,
    /// Every worker token that was minted and not revoked.
    minted: Mutex<Vec<Token>>,
    over: AtomicBool,
}

struct OverOnDrop<'a, 'b>(&'a Load<'b>);

impl Drop for OverOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// A gate before an upstream that tells back what it is told, and one that echoes over `WebSocket`.
fn gate(upstreams: &(Upstream, WebSocketUpstream), variable: Option<&str>) -> Gate {
    let config = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nidentity = \"assertion\"\n\
         [[route]]\nname = \"ws\"\npath = \"/ws\"\nupstream = {:?}\n",
        upstreams.0.url(),
        upstreams.1.url()
    );
    Gate::started(home(), &config, |command| {
        if let Some(key) = variable {
            command.env(VARIABLE, key);
        }
    })
}

fn upstreams() -> (Upstream, WebSocketUpstream) {
    (Upstream::echo(), WebSocketUpstream::echo())
}

impl<'a> Load<'a> {
    const CLIENTS: [fn(&Self, &AtomicUsize); 8] = [
        Self::ask_on_one_connection,
        Self::ask_anew_each_time,
        Self::mint,
        Self::renew,
        Self::mint_by_command,
        Self::hold_a_websocket,
        Self::check_assertions,
        Self::revoke,
    ];

    fn on(gate: &'a Gate, variable: Option<&str>) -> Self {
        let worker = gate.worker("ada", &SCOPES, &AUDIENCE);
        Self {
            gate,
            user: gate.token("ada"),
            login: gate.sign_in("ada"),
            minted: Mutex::new(vec![worker.token.clone()]),
            worker,
            variable: variable.map(|key| RwLock::new(key.to_owned())),
            over: AtomicBool::new(false),
        }
    }

    /// Rotates again and again by `rotate`, with all clients at work before, during and after each step.
    fn during(&self, rotate: impl Fn(&Self, u8, &dyn Fn())) {
        let counts = Self::CLIENTS.map(|_| AtomicUsize::new(0));
        thread::scope(|scope| {
            for (work, count) in Self::CLIENTS.into_iter().zip(&counts) {
                scope.spawn(move || {
                    // A client that fails ends it all.
                    let _over = OverOnDrop(self);
                    while !self.is_over() {
                        work(self, count);
                    }
                });
            }
            let _over = OverOnDrop(self);
            let all_have_asked = || {
                let before: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
                let on = |(count, before): (&AtomicUsize, &usize)| {
                    count.load(Ordering::SeqCst) >= before + ASKED_EACH
                };
                // Commands among them, on a machine that has others to run.
                wait_up_to(6 * PATIENCE, "everybody's next requests", || {
                    (self.is_over() || counts.iter().zip(&before).all(on)).then_some(())
                });
                assert!(!self.is_over(), "a client failed");
            };
            all_have_asked();
            for round in 0..ROUNDS {
                rotate(self, round, &all_have_asked);
            }
        });
        eprintln!("asked by each: {counts:?}");
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Runs a command with the root key that is in use.
    fn command(&self, arguments: &[&str]) -> Run {
        let mut command = self.gate.command(arguments);
        let key = self.variable.as_ref().map(|key| key.read().unwrap());
        if let Some(key) = &key {
            command.env(VARIABLE, &**key);
        }
        Run::of(command, b"").ok()
    }

    /// What was signed a moment ago is taken here, and by the keys that are published from then on.
    fn take(&self, token: Token) {
        self.assert_good(&token, &Jwks::of(self.gate));
        self.minted.lock().unwrap().push(token);
    }

    fn assert_good(&self, token: &Token, keys: &Jwks) {
        let told = Client::get(self.gate.address(), "/api/whoami", Some(token));
        assert_eq!(told.status, 200, "{}", told.text());
        assert!(keys.have_signed(&token.secret), "by the published keys: {keys:?}");
    }

    // === What each client does ===

    fn ask_on_one_connection(&self, count: &AtomicUsize) {
        let mut client = Client::connect(self.gate.address());
        while !self.is_over() {
            let (target, headers) = match count.load(Ordering::SeqCst) % 4 {
                0 => ("/app/x", self.worker.token.header()),
                1 => ("/api/whoami", self.user.header()),
                2 => ("/api/whoami", self.worker.token.header()),
                _ => ("/api/whoami", self.login.cookie()),
            };
            client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
            let answer = good(client.response(), target);
            count.fetch_add(1, Ordering::SeqCst);
            if answer.header("connection") == Some("close") {
                return;
            }
        }
    }

    fn ask_anew_each_time(&self, count: &AtomicUsize) {
        let (address, worker) = (self.gate.address(), &self.worker.token);
        for (target, token) in
            [("/app/x", worker), ("/api/whoami", &self.user), ("/api/whoami", worker), ("/health", worker)]
        {
            good(Client::get(address, target, Some(token)), target);
        }
        good(self.gate.ask("GET /api/whoami", &self.login.cookie(), &Value::Null), "the sign-in");
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks for what is written down: where others use the disk too, that may take longer than anything else.
    fn minted(&self, line: &str, by: &Token, order: &Value) -> Token {
        let body = order.to_string();
        let mut client = Client::connect(self.gate.address());
        client.wait_up_to(6 * PATIENCE);
        client.send(format!(
            "POST {line} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            by.header(),
            body.len()
        ));
        Worker::token_of(&client.response())
    }

    fn fresh(&self) -> Token {
        let order = json!({ "scopes": SCOPES, "audience": AUDIENCE });
        self.minted("/api/agents/ada/tokens", &self.worker.minter, &order)
    }

    fn mint(&self, count: &AtomicUsize) {
        self.take(self.fresh());
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn renew(&self, count: &AtomicUsize) {
        // One of each family: renewals of one are limited.
        self.take(self.minted("/api/workers/renew", &self.fresh(), &json!({})));
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn mint_by_command(&self, count: &AtomicUsize) {
        let minted = self.command(&["agent", "token", "ada", "--json"]).json();
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        self.take(Token { id: text("id"), secret: text("secret") });
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn hold_a_websocket(&self, count: &AtomicUsize) {
        let mut held = [&self.worker.token, &self.user]
            .map(|token| WebSocket::open(self.gate.address(), "/ws/", Some(token)));
        while !self.is_over() {
            for socket in &mut held {
                socket.as_mut().unwrap().echo("still here?");
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Of tokens that the gate has never seen, too: for each of those another one is signed.
    fn check_assertions(&self, count: &AtomicUsize) {
        for token in [&self.fresh(), &self.user] {
            let told = good(Client::get(self.gate.address(), "/app/x", Some(token)), "/app/x").text();
            let mut fields = told.split("\r\n").filter_map(|line| line.split_once(": "));
            let (_, assertion) =
                fields.find(|(name, _)| name.eq_ignore_ascii_case("fallgate-assertion")).unwrap();
            assert!(Jwks::of(self.gate).have_signed(assertion), "{assertion}");
        }
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn revoke(&self, count: &AtomicUsize) {
        let token = self.fresh();
        self.gate.revoke_worker(&token);
        assert_eq!(Client::get(self.gate.address(), "/api/whoami", Some(&token)).status, 401);
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[track_caller]
fn good(answer: Response, target: &str) -> Response {
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer
}

/// A file with a root key of that number.
pub(super) fn own_key(home: &Home, number: u8) -> PathBuf {
    let file = home.beside().join("mine.key");
    fs::write(&file, hex(&bytes(number))).unwrap();
    file
}

/// All that was minted is good, and goes on being so after a restart.
fn assert_all_good(load: &Load<'_>) -> Vec<Token> {
    let (keys, minted) = (Jwks::of(load.gate), load.minted.lock().unwrap().clone());
    eprintln!("{} worker tokens", minted.len());
    for token in &minted {
        load.assert_good(token, &keys);
    }
    let log = load.gate.log();
    assert!(!log.contains("ERROR") && !log.contains("opens nothing"), "{log}");
    minted
}

#[test]
fn r42_no_request_fails_while_the_signing_key_and_a_root_key_in_a_file_are_rotated() {
    let upstreams = upstreams();
    let gate = gate(&upstreams, None);
    let load = Load::on(&gate, None);
    load.during(|load, round, all_have_asked| {
        let own = own_key(load.gate, round + 1);
        for arguments in [
            &["key", "rotate-signing"][..],
            &["key", "rotate"],
            &["key", "rotate-signing"],
            &["key", "rotate", "--confirm"],
            &["key", "rotate", "--new-key-file", own.to_str().unwrap()],
            &["key", "rotate", "--confirm"],
        ] {
            load.command(arguments);
            all_have_asked();
        }
    });
    let minted = assert_all_good(&load);
    assert_eq!(root_keys(&gate).1, 1);
    assert_eq!(fs::read_to_string(key_file(&gate)).unwrap().trim_end(), hex(&bytes(ROUNDS)));
    let again = Gate::on(gate.kill(), "");
    let keys = Jwks::of(&again);
    assert_eq!(keys.kids().len(), 1 + 2 * usize::from(ROUNDS));
    for token in minted {
        assert_eq!(Client::get(again.address(), "/api/whoami", Some(&token)).status, 200);
        assert!(keys.have_signed(&token.secret));
    }
}

#[test]
fn r42_no_request_fails_while_the_signing_key_and_a_root_key_in_the_variable_are_rotated() {
    let first = hex(&bytes(100));
    let upstreams = upstreams();
    let gate = gate(&upstreams, Some(&first));
    let load = Load::on(&gate, Some(&first));
    load.during(|load, round, all_have_asked| {
        let own = own_key(load.gate, round + 1);
        load.command(&["key", "rotate-signing"]);
        load.command(&["key", "rotate", "--new-key-file", own.to_str().unwrap()]);
        // Both open: some commands have the one, some the other. The gate has the first one all the time.
        *load.variable.as_ref().unwrap().write().unwrap() = hex(&bytes(round + 1));
        load.command(&["key", "rotate", "--confirm"]);
        all_have_asked();
        load.command(&["key", "rotate-signing"]);
        all_have_asked();
    });
    assert_all_good(&load);
    assert_eq!(Jwks::of(&gate).kids().len(), 1 + 2 * usize::from(ROUNDS));
    assert!(!key_file(&gate).exists());
}

#[test]
fn a_gate_that_was_busy_during_a_rotation_is_let_look_before_it_is_confirmed() {
    let (old, new) = (hex(&bytes(1)), hex(&bytes(2)));
    let upstreams = upstreams();
    let gate = gate(&upstreams, Some(&old));
    let worker = gate.worker("ada", &SCOPES, &AUDIENCE);
    let file = own_key(&gate, 2);
    gate.signal(Signal::STOP);
    let keyed = |key: &str, arguments: &[&str]| {
        let mut command = gate.command(arguments);
        command.env(VARIABLE, key);
        command
    };
    Run::of(keyed(&old, &["key", "rotate", "--new-key-file", file.to_str().unwrap()]), b"").ok();
    let mut confirming = keyed(&new, &["key", "rotate", "--confirm"]).spawn().unwrap();
    // It asks the gate, which does not answer yet.
    wait_for("a client on the control socket", || {
        assert!(confirming.try_wait().unwrap().is_none(), "it does not wait for the gate");
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        let path = gate.path().join("control.sock");
        (sockets.lines().filter(|line| line.ends_with(path.to_str().unwrap())).count() > 1).then_some(())
    });
    gate.signal(Signal::CONT);
    assert!(confirming.wait().unwrap().success());
    assert_eq!(root_keys(&gate).1, 1);
    Worker::token_of(&gate.renew_worker(&worker.token));
    assert!(!gate.log().contains("opens nothing"), "{}", gate.log());
}
