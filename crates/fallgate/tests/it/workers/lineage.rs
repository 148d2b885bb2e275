//! What hangs on a link ends with it, open streams too; what does not goes on.

use serde_json::{Value, json};

use super::{gate, whoami};
use crate::support::{
    Client, Gate, Line, Puppet, SignIn, Token, Upstream, WebSocketUpstream, Worker, WsFrame,
};

/// Everything that ada and bob hold, each with a WebSocket of its own.
struct Street {
    gate: Gate,
    login: SignIn,
    one: Token,
    two: Token,
    held: Vec<(&'static str, Token, Line)>,
}

const ROUTE: &str = "route:app";

impl Street {
    fn settled(upstream: &WebSocketUpstream) -> Self {
        let gate = Gate::before("app", &upstream.url());
        gate.user("ada");
        gate.user("bob");
        for agent in ["crawler", "other"] {
            gate.fallgate(&["agent", "create", agent, "--owner", "ada"]).ok();
        }
        let scopes = ["--scope", "agents:write", "--scope", "routes:use", "--scope", "identity:read"];
        let (one, two) = (gate.token_with("ada", &scopes), gate.token_with("ada", &scopes));
        let order = json!({ "scopes": ["routes:use", "identity:read"], "audience": ["fallgate", ROUTE] });
        let mint = |minter: &Token, agent: &str| Worker::token_of(&gate.mint_worker(minter, agent, &order));
        let first = mint(&one, "crawler");
        let renewed = Worker::token_of(&gate.renew_worker(&first));
        let all = vec![
            ("crawler by one", first),
            ("its renewal", renewed),
            ("crawler by one, another family", mint(&one, "crawler")),
            ("crawler by two", mint(&two, "crawler")),
            ("other by two", mint(&two, "other")),
            ("ada by two", mint(&two, "ada")),
            ("one", one.clone()),
            ("two", two.clone()),
            ("bob's", gate.worker("bob", &["routes:use", "identity:read"], &["fallgate", ROUTE]).token),
        ];
        let open = |token: &Token| Line::ask_for_websocket(gate.address(), "/app/", token).switched();
        let held = all.into_iter().map(|(name, token)| (name, token.clone(), open(&token))).collect();
        let login = gate.sign_in("ada");
        Self { gate, login, one, two, held }
    }

    fn token(&self, name: &str) -> &Token {
        &self.held.iter().find(|(held, ..)| *held == name).unwrap().1
    }
}

type Kill = fn(&Street);

type End = fn(&Gate, &Worker);

/// What is done, why it is said that a stream is closed, and whose are.
const KILLS: [(Kill, &str, &[&str]); 6] = [
    (
        |street| street.gate.revoke_worker(street.token("crawler by one")),
        "token revoked",
        &["crawler by one", "its renewal"],
    ),
    (
        |street| street.gate.revoke_worker(street.token("its renewal")),
        "token revoked",
        &["crawler by one", "its renewal"],
    ),
    (
        |street| street.gate.revoke_worker(&street.two),
        "the token's parent ended",
        &["crawler by two", "other by two", "ada by two"],
    ),
    (
        |street| drop(street.gate.fallgate(&["agent", "disable", "crawler"]).ok()),
        "agent disabled",
        &["crawler by one", "its renewal", "crawler by one, another family", "crawler by two"],
    ),
    (
        |street| drop(street.gate.fallgate(&["agent", "delete", "other", "--yes"]).ok()),
        "agent deleted",
        &["other by two"],
    ),
    (|street| drop(street.gate.fallgate(&["user", "disable", "bob"]).ok()), "user disabled", &["bob's"]),
];

#[test]
fn r31_r42_ending_a_link_closes_what_hangs_on_it_and_leaves_all_else_open() {
    let upstream = WebSocketUpstream::echo();
    for (kill, reason, closed) in KILLS {
        let street = Street::settled(&upstream);
        kill(&street);
        let Street { gate, login, one, two, held } = street;
        for (name, token, mut line) in held {
            let place = format!("{name}, {reason}");
            if closed.contains(&name) {
                line.ended().assert_closed(4401, reason);
                assert_eq!(whoami(&gate, &token).status, 401, "{place}");
            } else if token.id == two.id && reason.contains("parent") {
                line.ended().assert_closed(4401, "token revoked");
            } else {
                line.send(WsFrame::from_client("still here?"));
                let (frame, _) = WsFrame::read(&line.exactly(13)).unwrap();
                assert_eq!(frame.payload, b"still here?", "{place}");
                assert_eq!(whoami(&gate, &token).status, 200, "{place}");
            }
        }
        assert_eq!(gate.ask("GET /api/whoami", &login.bearer(), &Value::Null).status, 200, "{reason}");
        assert_eq!(whoami(&gate, &one).status, 200, "{reason}");
    }
}

#[test]
fn r42_r46_event_streams_of_a_worker_token_end_with_it_ours_and_a_routes() {
    let upstream = Puppet::new();
    let gate = Gate::before("app", &upstream.url());
    let ends: [End; 3] = [
        |gate, worker| gate.revoke_worker(&worker.token),
        |gate, worker| gate.revoke_worker(&worker.minter),
        |gate, _| drop(gate.fallgate(&["cut", "agent:ada"]).ok()),
    ];
    for end in ends {
        let worker = gate.worker("ada", &["routes:use", "live:read"], &["fallgate", ROUTE]);
        let ask = |target: &str| {
            let mut client = Client::connect(gate.address());
            let header = worker.token.header();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
            client
        };
        let (mut ours, mut routes) = (ask("/live/events"), ask("/app/events"));
        assert_eq!(ours.response_or_stream().status, 200);
        let mut source = upstream.accept();
        source.head();
        source.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
             9\r\ndata: 1\n\n\r\n",
        );
        assert_eq!(routes.response_or_stream().status, 200);
        routes.wait_for("data: 1");
        end(&gate, &worker);
        for client in [&mut ours, &mut routes] {
            let told = client.rest();
            assert!(!told.ends_with(b"0\r\n\r\n"), "cut off, and not at an end of its own");
        }
        source.ended();
    }
}

#[test]
fn r31_an_agent_that_is_recreated_under_another_owner_inherits_nothing() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    for user in ["ada", "bob"] {
        gate.user(user);
    }
    let make = |owner: &str| gate.fallgate(&["agent", "create", "crawler", "--owner", owner]).ok();
    make("ada");
    let scopes = ["--scope", "agents:write", "--scope", "identity:read"];
    let (adas, bobs) = (gate.token_with("ada", &scopes), gate.token_with("bob", &scopes));
    let order = json!({ "scopes": ["identity:read"] });
    let token = Worker::token_of(&gate.mint_worker(&adas, "crawler", &order));
    assert_eq!(whoami(&gate, &token).json()["username"], "ada");
    gate.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    make("bob");
    assert_eq!((whoami(&gate, &token).status, gate.renew_worker(&token).status), (401, 401));
    assert_eq!(gate.mint_worker(&adas, "crawler", &order).status, 403, "it is another's now");
    let theirs = Worker::token_of(&gate.mint_worker(&bobs, "crawler", &order));
    assert_eq!(whoami(&gate, &theirs).json()["username"], "bob");
    let inspected = gate.fallgate_with(&["token", "inspect"], token.secret.clone()).ok();
    assert!(inspected.stdout.contains("status    agent-gone\n"), "{}", inspected.stdout);
}

/// Disabled is not over: what stood before stands again, as a user's credentials do; what was ended meanwhile does not.
#[test]
fn r42_an_agent_that_is_enabled_again_has_the_tokens_that_nobody_ended() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.user("ada");
    gate.fallgate(&["agent", "create", "crawler", "--owner", "ada"]).ok();
    let minter = gate.token_with("ada", &["--scope", "agents:write", "--scope", "identity:read"]);
    let mint = || Worker::token_of(&gate.mint_worker(&minter, "crawler", &json!({})));
    let (kept, revoked, brief) = (mint(), mint(), json!({ "ttl": "2s" }));
    let brief = Worker::token_of(&gate.mint_worker(&minter, "crawler", &brief));
    let standing = || [&kept, &revoked, &brief].map(|token| whoami(&gate, token).status);
    assert_eq!(standing(), [200, 200, 200]);
    let told = gate.fallgate(&["agent", "disable", "crawler"]).ok().stderr;
    assert!(told.contains("`fallgate agent enable crawler") && told.contains("lets it in again"), "{told}");
    assert_eq!(standing(), [401, 401, 401]);
    assert_eq!(gate.renew_worker(&kept).status, 401);
    assert_eq!(gate.mint_worker(&minter, "crawler", &json!({})).status, 409);
    gate.revoke_worker(&revoked);
    crate::support::wait_for("the end of the brief one", || {
        let inspected = gate.fallgate_with(&["token", "inspect", "--json"], brief.secret.clone()).ok().json();
        let ends = inspected["claims"]["exp"].as_i64().unwrap() * 1_000;
        (fallgate_domain::clock::Clock::now(&fallgate_domain::clock::SystemClock).millis() > ends)
            .then_some(())
    });
    let told = gate.fallgate(&["agent", "enable", "crawler"]).ok().stderr;
    assert!(told.contains("what was revoked stays revoked"), "{told}");
    assert_eq!(standing(), [200, 401, 401]);
}
