//! A signature is checked once and remembered. What that spares is nothing but the signature: where a token is used, by
//! which policy, under which keys and by whom is asked each time (requirement R45).

use serde_json::json;

use super::whoami;
use crate::support::{Client, Gate, Home, Token, Upstream, Worker};

/// A config with two routes; what comes behind each.
fn config(upstream: &Upstream, app: &str, other: &str) -> String {
    let url = upstream.url();
    format!(
        "[workers]\nclock_skew = \"0s\"\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n{app}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {url:?}\n{other}\n"
    )
}

fn ask(gate: &Gate, path: &str, token: &Token) -> u16 {
    Client::get(gate.address(), path, Some(token)).status
}

/// At the gate's doors and on both routes, in whatever order: being known at one says nothing at another.
fn everywhere(gate: &Gate, token: &Token) -> [u16; 3] {
    let paths = ["/api/whoami", "/app/x", "/other/x"];
    let first = paths.map(|path| ask(gate, path, token));
    for order in [[2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        for at in order {
            assert_eq!(ask(gate, paths[at], token), first[at], "{}", paths[at]);
        }
    }
    first
}

fn reload(gate: &Gate, config: &str) {
    gate.write_config(config);
    gate.fallgate(&["reload"]).ok();
}

#[test]
fn r45_a_token_that_is_known_at_one_door_is_asked_for_its_audience_at_each() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&config(&upstream, "", ""));
    let scopes = ["identity:read", "routes:use"];
    for (audience, answers) in [
        (&["fallgate", "route:app", "route:other"][..], [200, 200, 200]),
        (&["fallgate", "route:app"], [200, 200, 401]),
        (&["route:other"], [401, 401, 200]),
        (&["fallgate"], [200, 401, 401]),
        (&["egress"], [401, 401, 401]),
    ] {
        let token = gate.worker("ada", &scopes, audience).token;
        assert_eq!(everywhere(&gate, &token), answers, "{audience:?}");
    }
}

#[test]
fn r45_a_known_token_is_judged_by_the_policy_and_the_routes_of_now() {
    let upstream = Upstream::echo();
    let open = config(&upstream, "", "");
    let gate = Gate::configured(&open);
    gate.user("bob");
    let token = gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]).token;
    assert_eq!(everywhere(&gate, &token), [200, 200, 401]);
    reload(&gate, &config(&upstream, "allow = [\"user:bob\"]", ""));
    assert_eq!(everywhere(&gate, &token), [200, 403, 401], "narrowed");
    reload(&gate, &config(&upstream, "allow = [\"agent:ada\"]", ""));
    assert_eq!(everywhere(&gate, &token), [200, 200, 401], "widened again");
    // The routes change their names, and the paths stay: an audience names a route, and no place.
    reload(
        &gate,
        &open.replace("\"app\"", "\"x\"").replace("\"other\"", "\"app\"").replace("\"x\"", "\"other\""),
    );
    assert_eq!(everywhere(&gate, &token), [200, 401, 200], "swapped");
    reload(&gate, &open);
    assert_eq!(everywhere(&gate, &token), [200, 200, 401]);
    assert_eq!(gate.fallgate(&["user", "disable", "ada"]).ok().code, Some(0));
    assert_eq!(everywhere(&gate, &token), [401, 401, 401]);
    gate.fallgate(&["user", "enable", "ada"]).ok();
    assert_eq!(everywhere(&gate, &token), [200, 200, 401]);
}

#[test]
fn r45_a_known_token_may_what_its_owners_role_allows_now() {
    let gate = Gate::start();
    gate.admin("root");
    gate.admin("ada");
    let token = gate.worker("ada", &["admin"], &["fallgate"]).token;
    let audit = || ask(&gate, "/api/audit", &token);
    assert_eq!(audit(), 200);
    gate.fallgate(&["user", "set-role", "ada", "user"]).ok();
    assert_eq!(audit(), 403);
    gate.fallgate(&["user", "set-role", "ada", "admin"]).ok();
    assert_eq!(audit(), 200);
}

#[test]
fn r45_a_known_token_goes_with_the_key_that_signed_it() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&config(&upstream, "", ""));
    let worker = || gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]);
    let old = worker();
    assert_eq!(everywhere(&gate, &old.token), [200, 200, 401]);
    gate.fallgate(&["key", "rotate-signing"]).ok();
    assert_eq!(everywhere(&gate, &old.token), [200, 200, 401], "it verifies what it has signed");
    let renewed = Worker::token_of(&gate.renew_worker(&old.token));
    assert_eq!(everywhere(&gate, &renewed), [200, 200, 401]);
    gate.fallgate(&["key", "rotate-signing", "--now"]).ok();
    for dead in [&old.token, &renewed] {
        assert_eq!(everywhere(&gate, dead), [401, 401, 401]);
    }
    assert_eq!(everywhere(&gate, &worker().token), [200, 200, 401]);
    // Another gate has other keys, whoever it says it is: nothing of what this one knows counts there.
    let other = Gate::on(Home::new(), &config(&upstream, "", ""));
    other.user("ada");
    assert_eq!(everywhere(&other, &worker().token), [401, 401, 401]);
}

#[test]
fn r45_one_byte_of_a_known_token_makes_another_one() {
    let gate = Gate::start();
    let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
    let good = worker.token.secret.as_bytes();
    assert_eq!(whoami(&gate, &worker.token).status, 200);
    let bystander = Worker::token_of(&gate.mint_worker(&worker.minter, "ada", &json!({})));
    let changed = |place: usize| {
        let mut text = good.to_vec();
        // Another letter of the alphabet; next to it, so that in the last one nothing but the unused bits differ.
        text[place] = match text[place] {
            b'A' => b'B',
            b'.' => b'_',
            letter => {
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let at = alphabet.iter().position(|one| *one == letter).unwrap();
                alphabet[at ^ 1]
            }
        };
        Token { id: String::new(), secret: String::from_utf8(text).unwrap() }
    };
    for place in (0..good.len()).step_by(3).chain(good.len() - 90..good.len()) {
        assert_eq!(whoami(&gate, &changed(place)).status, 401, "{place} of {}", good.len());
    }
    for token in [&worker.token, &bystander] {
        assert_eq!(whoami(&gate, token).status, 200);
    }
}
