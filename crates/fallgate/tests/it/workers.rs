//! Worker tokens: signed, short-lived, and ended at once all the same.

mod all;
mod forged;
mod killing;
mod lineage;
mod ordered;
mod remembered;
mod seen;
mod settings;
mod streams;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Client, Gate, PASSPHRASE, Response, Token, Upstream, Worker, wait_for};

/// One of the three parts, decoded.
fn part(token: &str, at: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

pub(crate) fn claims(token: &Token) -> Value {
    part(&token.secret, 1)
}

fn whoami(gate: &Gate, token: &Token) -> Response {
    Client::get(gate.address(), "/api/whoami", Some(token))
}

/// A gate with a route before an upstream, and no allowance for clocks.
fn gate(upstream: &Upstream) -> Gate {
    Gate::configured(&format!(
        "[server]\npublic_url = \"https://box.example\"\n[workers]\nclock_skew = \"0s\"\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {:?}\n",
        upstream.url(),
        upstream.url()
    ))
}

#[test]
fn r39_r40_a_worker_token_says_what_the_documentation_says() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read", "routes:use"], &["fallgate", "route:app"]);
    let header = part(&worker.token.secret, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("fallgate-worker+jwt")));
    let keys = Client::get(gate.address(), "/.well-known/jwks.json", None).json();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(header.as_object().unwrap().len(), 3);

    let mut claims = claims(&worker.token);
    let take = |claims: &mut Value, name: &str| claims.as_object_mut().unwrap().remove(name).unwrap();
    let (issued, before, ends) =
        (take(&mut claims, "iat"), take(&mut claims, "nbf"), take(&mut claims, "exp"));
    assert_eq!((&issued, ends.as_i64()), (&before, issued.as_i64().map(|at| at + 7_200)));
    let owner_id = take(&mut claims, "owner_id");
    assert_eq!(take(&mut claims, "agent_id"), owner_id, "the agent that everybody has");
    let wanted = json!({
        "iss": "https://box.example",
        "sub": "agent:ada",
        "aud": ["fallgate", "route:app"],
        "owner": "ada",
        "jti": worker.token.id,
        "scope": "identity:read routes:use",
        "anc": [worker.token.id, worker.minter.id],
    });
    assert_eq!(claims, wanted);

    let told = whoami(&gate, &worker.token).json();
    assert_eq!((&told["username"], &told["role"]), (&json!("ada"), &json!("user")));
    let credential = &told["credential"];
    assert_eq!((&credential["id"], &credential["kind"]), (&json!(worker.token.id), &json!("worker")));
    assert_eq!(credential["scopes"], json!(["identity:read", "routes:use"]));
    let passed = Client::get(gate.address(), "/app/x", Some(&worker.token));
    assert_eq!(passed.status, 200);
    assert!(!passed.text().contains(&worker.token.secret), "R15: it goes no further");
}

#[test]
fn r41_an_audience_names_where_a_worker_token_may_be_used_and_nowhere_else() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let scopes = ["identity:read", "routes:use"];
    for (audience, here, app, other) in [
        (&["fallgate"][..], 200, 401, 401),
        (&["route:app"], 401, 200, 401),
        (&["route:app", "route:other"], 401, 200, 200),
        (&["egress"], 401, 401, 401),
        (&["route:none", "fallgate"], 200, 401, 401),
    ] {
        let token = gate.worker("ada", &scopes, audience).token;
        let ask = |path: &str| Client::get(gate.address(), path, Some(&token)).status;
        assert_eq!((ask("/api/whoami"), ask("/app/"), ask("/other/")), (here, app, other), "{audience:?}");
        // Nor does it learn which doors there are, or renew itself at one that is not for it.
        assert_eq!(ask("/api/nothing"), if here == 200 { 404 } else { 401 }, "{audience:?}");
        assert_eq!(gate.renew_worker(&token).status, if here == 200 { 201 } else { 401 }, "{audience:?}");
    }
}

#[test]
fn r41_a_worker_token_is_no_other_kind_of_credential_nor_any_other_one() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let scopes = ["identity:read", "tokens:write", "agents:write", "routes:use"];
    let worker = gate.worker("ada", &scopes, &["fallgate", "route:app"]);
    let token = &worker.token;
    let ask = |line: &str, headers: &str, body: &Value| gate.ask(line, headers, body).status;
    // Not in a cookie, not as the token of a sign-in, not to mint what would outlive it.
    let own = "Sec-Fetch-Site: same-origin\r\n";
    let cookie = format!("Cookie: fallgate={}\r\n{own}", token.secret);
    assert_eq!(ask("GET /api/whoami", &cookie, &Value::Null), 401);
    assert_eq!(ask("GET /api/logins", &token.header(), &Value::Null), 403);
    assert_eq!(ask("POST /api/tokens", &token.header(), &json!({"name": "x"})), 403);
    assert_eq!(ask("POST /api/agents/ada/tokens", &token.header(), &json!({})), 403);
    let later = json!({ "expires_in": 86_400 });
    assert_eq!(ask(&format!("PATCH /api/tokens/{}", worker.minter.id), &token.header(), &later), 403);
    // Only a worker token is renewed.
    for other in [gate.token("ada").header(), gate.sign_in("ada").bearer()] {
        assert_eq!(ask("POST /api/workers/renew", &other, &Value::Null), 403);
    }
    // R29: by whatever carrier that it may come.
    let basic = |username: &str| {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", token.secret));
        format!("Authorization: Basic {encoded}\r\n")
    };
    for (username, status) in [("", 200), ("ada", 200), ("root", 401)] {
        assert_eq!(ask("GET /api/whoami", &basic(username), &Value::Null), status, "{username:?}");
    }
}

#[test]
fn r27_a_worker_token_can_do_no_more_than_who_mints_it_and_ends_no_later() {
    let gate = Gate::start();
    gate.user("ada");
    gate.user("bob");
    let minter =
        gate.token_with("ada", &["--scope", "agents:write", "--scope", "identity:read", "--expires", "1h"]);
    let mint = |order: Value| gate.mint_worker(&minter, "ada", &order);
    for (order, status) in [
        (json!({ "scopes": ["routes:use"] }), 403),
        (json!({ "scopes": ["admin"] }), 403),
        (json!({ "ttl": "2h" }), 403),
        (json!({ "ttl": 7_200 }), 403),
        (json!({ "ttl": 0 }), 400),
        (json!({ "ttl": "8d" }), 400),
        (json!({ "ttl": -1 }), 400),
        (json!({ "ttl": 1.5 }), 400),
        (json!({ "ttl": "never" }), 400),
        (json!({ "audience": [] }), 400),
        (json!({ "audience": ["everything"] }), 400),
        (json!({ "audience": (0..70).map(|at| format!("route:r{at}")).collect::<Vec<_>>() }), 400),
        (json!({ "audience": "fallgate" }), 400),
        (json!({ "agent": "ada" }), 400),
    ] {
        let refused = mint(order.clone());
        assert_eq!(refused.status, status, "{order}: {}", refused.text());
    }
    // What is not asked for is cut down to fit.
    let usual = mint(json!({}));
    assert_eq!(usual.json()["scopes"], json!(["identity:read"]), "{}", usual.text());
    let token = Worker::token_of(&usual);
    let said = claims(&token);
    let life = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
    assert!((3_500..=3_600).contains(&life), "{life}");
    assert_eq!(gate.mint_worker(&minter, "bob", &json!({})).status, 403, "another's");
    assert_eq!(gate.mint_worker(&minter, "carol", &json!({})).status, 404);
    let without = gate.token_with("ada", &["--scope", "identity:read"]);
    assert_eq!(gate.mint_worker(&without, "ada", &json!({})).status, 403);
    // An admin's, for somebody else: never more than they may.
    gate.admin("root");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    assert_eq!(gate.mint_worker(&admin, "bob", &json!({ "scopes": ["admin"] })).status, 403);
    assert_eq!(gate.mint_worker(&admin, "bob", &json!({ "scopes": ["cut"] })).status, 201);
}

#[test]
fn r31_a_renewal_is_bound_as_the_old_one_was() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
    let renewed = Worker::token_of(&gate.renew_worker(&worker.token));
    let again = Worker::token_of(&gate.renew_worker(&renewed));
    let mut ids = vec![worker.token.id.clone()];
    for token in [&renewed, &again] {
        let (mut old, mut new) = (claims(&worker.token), claims(token));
        for name in ["jti", "iat", "nbf", "exp"] {
            let (old, new) = (old.as_object_mut().unwrap(), new.as_object_mut().unwrap());
            assert!(old.remove(name).is_some() && new.remove(name).is_some());
        }
        assert_eq!(new, old);
        assert!(!ids.contains(&token.id));
        ids.push(token.id.clone());
        assert_eq!(whoami(&gate, token).status, 200);
    }
    assert_eq!(whoami(&gate, &worker.token).status, 200, "the old one is good until its end");
}

#[test]
fn r40_a_worker_token_is_refused_at_its_end_and_with_it_all_that_it_renews() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
    let short = gate.mint_worker(&worker.minter, "ada", &json!({ "ttl": "2s", "scopes": ["identity:read"] }));
    let short = Worker::token_of(&short);
    assert_eq!(whoami(&gate, &short).status, 200);
    wait_for("its end", || (whoami(&gate, &short).status == 401).then_some(()));
    assert_eq!(gate.renew_worker(&short).status, 401);
    assert_eq!(whoami(&gate, &worker.token).status, 200);
}

#[test]
fn a_config_says_how_long_worker_tokens_last_and_how_far_clocks_may_differ() {
    for (config, line) in [
        ("clock_skew = \"-30s\"", "write a duration from 0s to 5m, such as 30s"),
        ("clock_skew = \"301s\"", "write a duration from 0s to 5m, such as 30s"),
        ("clock_skew = \"never\"", "write a duration from 0s to 5m, such as 30s"),
        ("clock_skew = -1", "clock_skew must be a string in quotes, and is an integer"),
        ("ttl = \"0s\"", "write a duration from 1s to 7d, such as 2h"),
        ("ttl = \"8d\"", "write a duration from 1s to 7d, such as 2h"),
        ("skew = \"1s\"", "there can be ttl, clock_skew"),
    ] {
        let home = crate::support::Home::new();
        let config = home.write_config(&format!("[workers]\n{config}\n"));
        let refused = home.fallgate(&["serve", "--config", config.to_str().unwrap()]).refused(1);
        assert!(refused.contains("fallgate.toml:2: ") && refused.contains(line), "{refused}");
    }
    let gate = Gate::configured("[workers]\nttl = \"10m\"\nclock_skew = \"5m\"\n");
    let minter = gate.token_with("ada", &["--scope", "agents:write"]);
    let said = claims(&Worker::token_of(&gate.mint_worker(&minter, "ada", &json!({}))));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
}

#[test]
fn whoever_finds_a_worker_token_learns_by_what_name_to_end_it() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read"], &["fallgate", "route:app"]);
    let inspect = || gate.fallgate_with(&["token", "inspect"], format!("{}\n", worker.token.secret)).ok();
    let shown = inspect();
    for said in [
        format!("jti       {}\n", worker.token.id),
        "kind      worker\n".to_owned(),
        "scopes    identity:read\n".to_owned(),
        "audience  fallgate route:app\n".to_owned(),
        format!("lineage   {} {}\n", worker.token.id, worker.minter.id),
        "status    active\n".to_owned(),
    ] {
        assert!(shown.stdout.contains(&said), "{said:?} is not in {}", shown.stdout);
    }
    assert!(shown.stderr.contains(&format!("token revoke {}", worker.token.id)), "{}", shown.stderr);
    let json = gate.fallgate_with(&["token", "inspect", "--json"], worker.token.secret.clone()).ok().json();
    assert_eq!((&json["jti"], &json["claims"]), (&json!(worker.token.id), &claims(&worker.token)));

    // Over HTTP it is shown to its owner and to admins.
    gate.admin("root");
    let ask = |caller: &Token| {
        gate.ask("POST /api/tokens/inspect", &caller.header(), &json!({ "token": worker.token.secret }))
    };
    let admin = gate.token_with("root", &["--scope", "admin"]);
    for caller in [&admin, &gate.token("ada")] {
        let answer = ask(caller);
        assert_eq!((answer.status, &answer.json()["jti"]), (200, &json!(worker.token.id)));
    }
    assert_eq!(ask(&gate.token("bob")).status, 404);

    gate.revoke_worker(&worker.token);
    let ended = inspect();
    assert!(ended.stdout.contains("status    revoked\n") && ended.stderr.is_empty(), "{}", ended.stderr);
    let other = Gate::start();
    other.user("ada");
    let elsewhere = other.fallgate_with(&["token", "inspect"], worker.token.secret.clone()).ok();
    assert!(elsewhere.stdout.contains("status    not-ours\n"), "{}", elsewhere.stdout);
    assert!(!gate.log().contains(&worker.token.secret), "R61");
}

#[test]
fn r31_a_recreated_user_inherits_nothing() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
    assert_eq!(whoami(&gate, &worker.token).status, 200);
    gate.admin("root");
    gate.fallgate(&["user", "delete", "ada", "--yes"]).ok();
    assert_eq!(whoami(&gate, &worker.token).status, 401);
    gate.fallgate_with(&["user", "create", "ada", "--passphrase-stdin"], PASSPHRASE).ok();
    assert_eq!(whoami(&gate, &worker.token).status, 401);
    assert_eq!(gate.renew_worker(&worker.token).status, 401);
}

/// The page's own lines, on the gate's own keys.
#[test]
fn r39_an_upstream_checks_a_worker_token_offline_as_the_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/workers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, behind) = page.split_once("\n```python\n").unwrap();
    let snippet = behind.split_once("\n```").unwrap().0;
    let lines = snippet.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 10, "{lines} lines");
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let snippet = snippet
        .replace("https://box.example/.well-known", &format!("http://{}/.well-known", gate.address()))
        .replace("route:notes", "route:app");
    let program = format!(
        "{snippet}\nimport sys\nfor line in sys.stdin:\n    try:\n        print(claims(line.strip())[\"jti\"])\n    \
         except Exception as refused:\n        print(type(refused).__name__)\n"
    );
    let worker = gate.worker("ada", &["routes:use"], &["fallgate", "route:app"]);
    let renewed = Worker::token_of(&gate.renew_worker(&worker.token));
    let elsewhere = gate.worker("ada", &["routes:use"], &["route:other"]).token;
    let (text, signature) = worker.token.secret.rsplit_once('.').unwrap();
    let (_, other) = elsewhere.secret.rsplit_once('.').unwrap();
    let swapped = format!("{text}.{other}");
    gate.fallgate(&["key", "rotate-signing"]).ok();
    let newer = gate.worker("ada", &["routes:use"], &["route:app"]).token;
    assert_ne!(signature, other);
    let input = [&worker.token.secret, &renewed.secret, &newer.secret, &elsewhere.secret, &swapped]
        .map(|line| format!("{line}\n"));
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python/bin/python");
    assert!(python.is_file(), "no {}: `cargo xtask install` makes it", python.display());
    let mut child = Command::new(python)
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.concat().as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let said: Vec<_> = said.lines().collect();
    let wanted = [&worker.token.id, &renewed.id, &newer.id, "InvalidAudienceError", "InvalidSignatureError"];
    assert_eq!(said, wanted);
}
