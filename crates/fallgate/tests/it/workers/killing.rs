//! The kill switch: whatever link ends, it ends what hangs on it, at once, and nothing else.

use serde_json::{Value, json};

use super::{claims, gate, whoami};
use crate::support::{Client, Gate, Line, Token, Upstream, WebSocketUpstream, Worker, WsFrame};

type Kill = fn(&Gate, &Worker);

/// The same worker token twice, of two families, and a bystander of the same owner.
struct Three {
    first: Worker,
    second: Worker,
}

impl Three {
    fn of(gate: &Gate) -> Self {
        let worker = || gate.worker("ada", &["identity:read"], &["fallgate"]);
        Self { first: worker(), second: worker() }
    }
}

#[test]
fn r42_any_member_of_a_family_ends_all_of_it_and_nothing_else() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    for named in 0..3 {
        let Three { first, second } = Three::of(&gate);
        let renewed = Worker::token_of(&gate.renew_worker(&first.token));
        let again = Worker::token_of(&gate.renew_worker(&renewed));
        let family = [&first.token, &renewed, &again];
        gate.revoke_worker(family[named]);
        for member in family {
            assert_eq!(whoami(&gate, member).status, 401, "{named}");
            assert_eq!(gate.renew_worker(member).status, 401, "{named}");
        }
        for other in [&first.minter, &second.token, &second.minter] {
            assert_eq!(whoami(&gate, other).status, 200, "{named}");
        }
        let next = gate.mint_worker(&first.minter, "ada", &json!({ "scopes": ["identity:read"] }));
        assert_eq!(whoami(&gate, &Worker::token_of(&next)).status, 200);
    }
}

#[test]
fn r42_a_worker_token_ends_with_the_token_that_minted_it_and_what_that_hangs_on() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let top = gate.token_with(
        "ada",
        &["--scope", "agents:write", "--scope", "tokens:write", "--scope", "identity:read"],
    );
    let child = gate.ask(
        "POST /api/tokens",
        &top.header(),
        &json!({ "name": "child", "scopes": ["agents:write", "identity:read"] }),
    );
    let child = Worker::token_of(&child);
    let order = json!({ "scopes": ["identity:read"] });
    let (by_top, by_child) = (
        Worker::token_of(&gate.mint_worker(&top, "ada", &order)),
        Worker::token_of(&gate.mint_worker(&child, "ada", &order)),
    );
    assert_eq!(claims(&by_child)["anc"], json!([by_child.id, child.id, top.id]));
    let standing = || [&by_top, &by_child].map(|token| whoami(&gate, token).status);
    assert_eq!(standing(), [200, 200]);
    gate.revoke_worker(&child);
    assert_eq!(standing(), [200, 401]);
    gate.revoke_worker(&top);
    assert_eq!(standing(), [401, 401]);
}

#[test]
fn signing_out_does_not_stop_an_agent_that_was_started_from_a_page() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.user("ada");
    let login = gate.sign_in("ada");
    let order = json!({ "scopes": ["identity:read"] });
    let token = Worker::token_of(&gate.ask("POST /api/agents/ada/tokens", &login.bearer(), &order));
    assert_eq!(claims(&token)["anc"], json!([token.id]));
    assert_eq!(gate.ask("POST /api/logout", &login.bearer(), &Value::Null).status, 204);
    assert_eq!(whoami(&gate, &token).status, 200);
    gate.admin("root");
    gate.fallgate(&["user", "disable", "ada"]).ok();
    assert_eq!(whoami(&gate, &token).status, 401);
    gate.fallgate(&["user", "enable", "ada"]).ok();
    assert_eq!(whoami(&gate, &token).status, 200);
}

#[test]
fn r42_what_an_admin_minted_for_somebody_ends_with_either() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.admin("root");
    gate.admin("boss");
    gate.user("ada");
    let order = json!({ "scopes": ["identity:read"] });
    let minted = || {
        let admin = gate.token_with("boss", &["--scope", "admin"]);
        let token = Worker::token_of(&gate.mint_worker(&admin, "ada", &order));
        assert_eq!(whoami(&gate, &token).status, 200);
        (admin, token)
    };
    let (admin, token) = minted();
    gate.revoke_worker(&admin);
    assert_eq!(whoami(&gate, &token).status, 401);
    let (_, token) = minted();
    for user in ["boss", "ada"] {
        gate.fallgate(&["user", "disable", user]).ok();
        assert_eq!(whoami(&gate, &token).status, 401, "{user}");
        assert_eq!(gate.renew_worker(&token).status, 401, "{user}");
        gate.fallgate(&["user", "enable", user]).ok();
        assert_eq!(whoami(&gate, &token).status, 200, "{user}");
    }
}

#[test]
fn r42_cuts_of_the_owner_the_parent_the_route_and_everything_stop_a_worker_token() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]);
    let ask = |path: &str| Client::get(gate.address(), path, Some(&worker.token)).status;
    for (target, here) in [
        ("user:ada".to_owned(), 403),
        (format!("credential:{}", worker.minter.id), 403),
        ("route:app".to_owned(), 200),
        ("everything".to_owned(), 403),
    ] {
        assert_eq!((ask("/api/whoami"), ask("/app/")), (200, 200), "{target}");
        let config = gate.beside().join("fallgate.toml");
        let cut = gate.fallgate(&["cut", &target, "--json", "--config", config.to_str().unwrap()]);
        let id = cut.ok().json()["id"].as_str().unwrap().to_owned();
        assert_eq!((ask("/api/whoami"), ask("/app/")), (here, 403), "{target}");
        gate.fallgate(&["lift", &id]).ok();
    }
}

#[test]
fn r42_a_websocket_held_by_a_worker_token_is_closed_when_any_of_its_links_ends() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let open = |token: &Token| Line::ask_for_websocket(gate.address(), "/app/", token).switched();
    let worker = || gate.worker("ada", &["routes:use", "identity:read"], &["fallgate", "route:app"]);
    let bystander = worker();
    let mut still = open(&bystander.token);
    gate.admin("root");
    let kills: [(&str, Kill); 4] = [
        ("token revoked", |gate, worker| gate.revoke_worker(&worker.token)),
        ("token revoked", |gate, worker| {
            // The one that it was renewed to.
            let renewed = Worker::token_of(&gate.renew_worker(&worker.token));
            gate.revoke_worker(&renewed);
        }),
        ("the token's parent ended", |gate, worker| gate.revoke_worker(&worker.minter)),
        ("token revoked", |gate, worker| {
            let held = json!({ "token": worker.token.secret });
            assert_eq!(gate.ask("POST /api/tokens/revoke", "", &held).status, 204);
        }),
    ];
    for (reason, kill) in kills {
        let worker = worker();
        let held = open(&worker.token).watched();
        kill(&gate, &worker);
        held.join().unwrap().assert_closed(4401, reason);
    }
    still.send(WsFrame::from_client("still here?"));
    let (frame, _) = WsFrame::read(&still.exactly(13)).unwrap();
    assert_eq!(frame.payload, b"still here?");
    // The owner goes, and all that is theirs.
    let held = still.watched();
    gate.fallgate(&["user", "disable", "ada"]).ok();
    held.join().unwrap().assert_closed(4401, "user disabled");
}

#[test]
fn r39_a_stolen_signing_key_is_dropped_with_all_that_it_has_signed() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let worker = || gate.worker("ada", &["routes:use", "identity:read"], &["fallgate", "route:app"]);
    let old = worker();
    gate.fallgate(&["key", "rotate-signing"]).ok();
    assert_eq!(whoami(&gate, &old.token).status, 200, "the old key verifies until its last token is dead");
    let new = worker();
    let (held, later) = (
        Line::ask_for_websocket(gate.address(), "/app/", &old.token).switched().watched(),
        Line::ask_for_websocket(gate.address(), "/app/", &new.token).switched().watched(),
    );
    let rotated = gate.fallgate(&["key", "rotate-signing", "--now"]).ok().stderr;
    assert!(rotated.contains("every worker token minted so far is dead"), "{rotated}");
    held.join().unwrap().assert_closed(4401, "credential no longer valid");
    later.join().unwrap().assert_closed(4401, "credential no longer valid");
    for dead in [&old, &new] {
        assert_eq!(whoami(&gate, &dead.token).status, 401);
        assert_eq!(whoami(&gate, &dead.minter).status, 200, "nothing else is touched");
        let shown = gate.fallgate_with(&["token", "inspect"], dead.token.secret.clone()).ok();
        assert!(shown.stdout.contains("status    not-ours\n"), "{}", shown.stdout);
        assert!(shown.stderr.contains("signed by a key of this gate that was dropped"), "{}", shown.stderr);
        let (text, _) = dead.token.secret.rsplit_once('.').unwrap();
        let forged = format!("{text}.{}", "A".repeat(86));
        let shown = gate.fallgate_with(&["token", "inspect"], forged).ok();
        assert!(shown.stderr.contains("anybody can have written"), "{}", shown.stderr);
    }
    assert_eq!(whoami(&gate, &worker().token).status, 200);
}

#[test]
fn r43_a_start_knows_every_revocation_before_it_listens() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let (dead, good) = (Three::of(&gate).first, Three::of(&gate).second);
    gate.revoke_worker(&dead.token);
    let home = gate.kill();
    let unknown = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    // With no gate running, and of a token that nobody here has ever seen.
    home.fallgate(&["token", "revoke", unknown]).ok();
    let again = Gate::on(home, "[workers]\nclock_skew = \"0s\"\n");
    assert_eq!(whoami(&again, &dead.token).status, 401);
    assert_eq!(whoami(&again, &good.token).status, 200);
}

#[test]
fn r43_a_restored_backup_brings_no_worker_token_back() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let Three { first, second } = Three::of(&gate);
    let backup = gate.beside().join("backup.db");
    gate.fallgate(&["store", "backup", backup.to_str().unwrap()]).ok();
    gate.revoke_worker(&first.token);
    let home = gate.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(home.path().join(format!("fallgate.db{suffix}")));
    }
    std::fs::copy(&backup, home.path().join("fallgate.db")).unwrap();
    home.fallgate(&["store", "restore", "--accept"]).ok();
    let again = Gate::on(home, "");
    for token in [&first.token, &second.token] {
        assert_eq!(whoami(&again, token).status, 401);
    }
}

#[test]
fn a_revocation_says_how_long_it_must_be_remembered() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let Three { first, second } = Three::of(&gate);
    let revoke = |more: &[&str]| gate.fallgate(&[&["token", "revoke"], more].concat());
    for bad in ["", " ", "x", "0193a5b2", &first.token.secret] {
        revoke(&[bad]).refused(2);
    }
    let soon = "2999-01-01T00:00:00Z";
    let earlier =
        fallgate_domain::clock::Timestamp::parse(claims_end(&first.token).as_str()).unwrap().to_string();
    let refused = revoke(&[&first.token.id, "--expires-at", &earlier]).refused(1);
    assert!(refused.contains("force"), "{refused}");
    assert_eq!(whoami(&gate, &first.token).status, 200);
    let past = revoke(&[&first.token.id, "--expires-at", "2001-01-01T00:00:00Z", "--force"]).refused(1);
    assert!(!past.contains("warning"), "{past}");
    assert_eq!(whoami(&gate, &first.token).status, 200, "that would be no revocation");
    let forced = revoke(&[&first.token.id, "--expires-at", &earlier, "--force"]).ok();
    assert!(forced.stderr.contains("warning"), "{}", forced.stderr);
    assert_eq!(whoami(&gate, &first.token).status, 401);
    revoke(&[&second.token.id, "--expires-at", soon]).ok();
    assert_eq!(whoami(&gate, &second.token).status, 401);
    let ordinary = revoke(&[&second.minter.id, "--expires-at", soon]).ok().stderr;
    assert!(ordinary.contains("is no worker token, so --expires-at has no effect on it"), "{ordinary}");
    assert!(revoke(&[&second.token.id]).ok().stderr.contains("revoked before"));
    let swept = gate.fallgate(&["store", "sweep"]).ok();
    assert!(swept.stderr.contains("0 ends of worker tokens"), "{}", swept.stderr);
}

fn claims_end(token: &Token) -> String {
    let seconds = claims(token)["exp"].as_i64().unwrap();
    fallgate_domain::clock::Timestamp::from_millis(seconds * 1_000).to_string()
}

#[test]
fn r30_over_http_a_worker_token_is_ended_by_its_owner_and_by_admins() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.admin("root");
    let Three { first, second } = Three::of(&gate);
    for token in [&first.token, &second.token] {
        assert_eq!(whoami(&gate, token).status, 200, "it was seen here");
    }
    let may = |owner| gate.token_with(owner, &["--scope", "tokens:write"]);
    let delete = |token: &Token, caller: &Token| {
        gate.ask(&format!("DELETE /api/tokens/{}", token.id), &caller.header(), &Value::Null).status
    };
    assert_eq!(delete(&first.token, &may("bob")), 403);
    assert_eq!(whoami(&gate, &first.token).status, 200);
    assert_eq!(delete(&first.token, &may("ada")), 204);
    assert_eq!(whoami(&gate, &first.token).status, 401);
    assert_eq!(delete(&first.token, &may("ada")), 204, "twice is once");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    assert_eq!(delete(&second.token, &admin), 204);
    assert_eq!(whoami(&gate, &second.token).status, 401);
    // One that nobody has ever seen may be another node's.
    let unknown = Token { id: "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b".to_owned(), ..first.token.clone() };
    assert_eq!((delete(&unknown, &may("ada")), delete(&unknown, &admin)), (404, 204));
}

#[test]
fn r31_r42_a_worker_token_ends_with_its_agent_and_a_recreated_one_inherits_nothing() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let make = || {
        let scopes = ["--scope", "routes:use", "--scope", "identity:read"];
        gate.fallgate(
            &[&["agent", "create", "crawler", "--owner", "ada", "--route", "app"][..], &scopes].concat(),
        )
        .ok();
    };
    let mint = |name: &str| {
        let minted = gate.fallgate(&["agent", "token", name, "--ttl", "1h"]).ok();
        let secret = minted.stdout.trim_end().to_owned();
        assert!(minted.stdout.ends_with('\n') && !minted.stderr.contains(&secret), "{}", minted.stderr);
        let token = Token { id: String::new(), secret };
        Token { id: claims(&token)["jti"].as_str().unwrap().to_owned(), ..token }
    };
    make();
    let (token, own) = (mint("crawler"), mint("ada"));
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["owner"]), (&json!("agent:crawler"), &json!("ada")));
    assert_eq!((&said["aud"], &said["anc"]), (&json!(["fallgate", "route:app"]), &json!([token.id])));
    let held = |token: &Token| Line::ask_for_websocket(gate.address(), "/app/", token).switched().watched();
    let standing = || [&token, &own].map(|token| whoami(&gate, token).status);

    let open = held(&token);
    gate.fallgate(&["agent", "disable", "crawler"]).ok();
    open.join().unwrap().assert_closed(4401, "agent disabled");
    assert_eq!(standing(), [401, 200]);
    gate.fallgate(&["agent", "token", "crawler"]).refused(1);
    gate.fallgate(&["agent", "enable", "crawler"]).ok();
    assert_eq!(standing(), [200, 200]);

    let open = held(&token);
    let cut =
        gate.fallgate(&["cut", "agent:crawler", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    open.join().unwrap().assert_closed(4403, "cut");
    assert_eq!(standing(), [403, 200]);
    assert_eq!(gate.renew_worker(&token).status, 403);
    gate.fallgate(&["lift", &cut]).ok();
    assert_eq!(standing(), [200, 200]);

    let open = held(&token);
    gate.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    open.join().unwrap().assert_closed(4401, "agent deleted");
    make();
    assert_eq!(standing(), [401, 200]);
    assert_eq!(gate.renew_worker(&token).status, 401);
    assert_eq!(whoami(&gate, &mint("crawler")).status, 200);
    let inspected = gate.fallgate_with(&["token", "inspect"], token.secret.clone()).ok();
    assert!(inspected.stdout.contains("status    agent-gone\n"), "{}", inspected.stdout);
}
