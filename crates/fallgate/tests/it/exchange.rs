//! A token or a sign-in, exchanged for a narrower worker token (RFC 8693).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallgate_domain::token::{PlainToken, TokenKind};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::oauth::{error_of, form};
use crate::support::{Client, Gate, Response, Token, Upstream, wait_for};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The scopes of what is exchanged here, unless a test says otherwise.
const SCOPES: [&str; 6] = ["--scope", "agents:write", "--scope", "identity:read", "--scope", "routes:use"];

/// A gate with two routes, and with ada, bob and root.
fn gate(upstream: &Upstream) -> Gate {
    let url = upstream.url();
    let gate = Gate::configured(&format!(
        "[server]\npublic_url = \"https://box.example\"\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {url:?}\n"
    ));
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    gate
}

fn exchange(gate: &Gate, subject: &str, more: &[(&str, &str)]) -> Response {
    let mut fields =
        vec![("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    fields.extend_from_slice(more);
    form(gate, "/oauth/token", "", &fields)
}

/// The worker token that somebody was given.
#[track_caller]
fn given(answer: &Response) -> Token {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let secret = answer.json()["access_token"].as_str().unwrap().to_owned();
    Token { id: claims(&secret)["jti"].as_str().unwrap().to_owned(), secret }
}

fn claims(token: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn status(gate: &Gate, path: &str, token: &Token) -> u16 {
    Client::get(gate.address(), path, Some(token)).status
}

/// What is refused is a bad request by that name.
#[track_caller]
fn assert_refused(answer: &Response, name: &str, says: &str) {
    assert_eq!((answer.status, error_of(answer)), (400, name.to_owned()), "{}", answer.text());
    let told = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(told.contains(says), "{says:?} is not in {told:?}");
}

#[test]
fn r27_a_token_is_exchanged_for_a_narrower_worker_token_that_ends_with_it() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let subject = gate.token_with("ada", &SCOPES);
    let answer = exchange(
        &gate,
        &subject.secret,
        &[
            ("audience", "route:app"),
            ("audience", "fallgate"),
            ("audience", "route:app"),
            ("scope", "route:app identity:read"),
            ("expires_in", "600"),
            ("client_id", "whoever"),
        ],
    );
    let worker = given(&answer);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut told = answer.json();
    told.as_object_mut().unwrap().remove("access_token");
    let wanted = json!({
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "identity:read route:app",
    });
    assert_eq!(told, wanted);
    let said = claims(&worker.secret);
    assert_eq!((&said["sub"], &said["owner"]), (&json!("agent:ada"), &json!("ada")));
    assert_eq!(said["aud"], json!(["route:app", "fallgate"]));
    assert_eq!(said["anc"], json!([worker.id, subject.id]));
    assert_eq!(said["iss"], "https://box.example");

    assert_eq!((status(&gate, "/app/x", &worker), status(&gate, "/other/x", &worker)), (200, 401));
    let me = Client::get(gate.address(), "/api/whoami", Some(&worker)).json();
    assert_eq!((&me["username"], &me["credential"]["kind"]), (&json!("ada"), &json!("worker")));
    assert_eq!(status(&gate, "/api/agents", &worker), 403, "a scope that was not asked for");

    // Who asked, with what, for what; and that the token was used.
    let trail = gate.fallgate(&["audit", "list", "--json", "--action", "token.mint"]).ok().json();
    let events = trail["events"].as_array().unwrap();
    let minted = events.iter().find(|event| event["target"] == worker.id).unwrap();
    assert_eq!((&minted["actor"], &minted["credential"]), (&json!("ada"), &json!(subject.id)));
    assert_eq!((&minted["ip"], &minted["detail"]["kind"]), (&json!("127.0.0.1"), &json!("worker")));
    assert_eq!(minted["detail"]["audience"], "route:app fallgate", "{minted}");
    wait_for("the use of the token", || {
        let listed = gate.fallgate(&["token", "list", "--all", "--json"]).ok().json();
        let tokens = listed["tokens"].as_array().unwrap();
        tokens.iter().find(|token| token["id"] == subject.id && !token["last_used_at"].is_null()).map(drop)
    });

    // As the JWT that it is, with what is usual where nothing is asked for.
    let usual =
        exchange(&gate, &subject.secret, &[("requested_token_type", JWT), ("scope", ""), ("audience", "")]);
    let usual = (given(&usual), usual.json());
    assert_eq!((&usual.1["issued_token_type"], &usual.1["expires_in"]), (&json!(JWT), &json!(7_200)));
    assert_eq!(usual.1["scope"], "identity:read routes:use");
    assert_eq!(claims(&usual.0.secret)["aud"], json!(["fallgate"]));

    gate.fallgate(&["token", "revoke", &subject.id]).ok();
    for worker in [&worker, &usual.0] {
        assert_eq!(status(&gate, "/api/whoami", worker), 401, "its subject was revoked");
    }
    assert!(!gate.log().contains(&worker.secret) && !gate.log().contains(&subject.secret), "R61");
}

#[test]
fn r31_what_a_sign_in_is_exchanged_for_outlives_signing_out_and_no_cut_of_its_owner() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let login = gate.sign_in("ada");
    let worker = given(&exchange(&gate, &login.secret, &[("scope", "identity:read")]));
    assert_eq!(claims(&worker.secret)["anc"], json!([worker.id]), "a sign-in is never an ancestor");
    assert_eq!(gate.ask("POST /api/logout", &login.bearer(), &Value::Null).status, 204);
    assert_eq!(status(&gate, "/api/whoami", &worker), 200);
    assert_refused(&exchange(&gate, &login.secret, &[]), "invalid_request", "is not valid");

    let subject = gate.token_with("ada", &SCOPES);
    gate.fallgate(&["cut", "user:ada", "--reason", "a \"lost\" l\u{e4}ptop"]).ok();
    assert_eq!(status(&gate, "/api/whoami", &worker), 403);
    // Whoever is cut is told why, in the characters that there are for it.
    assert_refused(&exchange(&gate, &subject.secret, &[]), "invalid_request", "a 'lost' l'ptop");
    gate.fallgate(&["user", "disable", "ada"]).ok();
    assert_refused(&exchange(&gate, &subject.secret, &[]), "invalid_request", "is not valid");
    assert_eq!(status(&gate, "/api/whoami", &worker), 401);
}

#[test]
fn r27_nothing_is_exchanged_for_more_than_it_is() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let subject = gate.token_with("ada", &[&SCOPES[..], &["--expires", "1h"]].concat());
    let ask = |more: &[(&str, &str)]| exchange(&gate, &subject.secret, more);
    let week = (7 * 86_400 + 1).to_string();
    for (name, value, error, says) in [
        ("scope", "routes:use cut", "invalid_scope", "scope cut"),
        ("scope", "admin", "invalid_scope", "scope admin"),
        ("scope", "sessions:read", "invalid_scope", "sessions:read"),
        ("scope", "nonsense", "invalid_scope", "Name scopes"),
        ("scope", "route:", "invalid_scope", "Name scopes"),
        ("audience", "https://box.example", "invalid_target", "An audience is"),
        ("audience", "route:", "invalid_target", "An audience is"),
        ("audience", "route:none", "invalid_target", "An audience is"),
        ("audience", "fallgate egress", "invalid_target", "An audience is"),
        ("resource", "https://box.example/app", "invalid_target", "leave the resource out"),
        ("expires_in", "3601", "invalid_request", "cannot outlive"),
        ("expires_in", &week, "invalid_request", "7d at most"),
        ("expires_in", "99999999999999999999", "invalid_request", "whole number"),
        ("expires_in", "0", "invalid_request", "1s to"),
        ("expires_in", "-1", "invalid_request", "whole number"),
        ("expires_in", "1.5", "invalid_request", "whole number"),
        ("expires_in", "2h", "invalid_request", "whole number"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request", JWT),
        ("requested_token_type", "jwt", "invalid_request", JWT),
        ("actor_token", "fgt_x", "invalid_request", "leave the actor_token out"),
        ("actor_token_type", ACCESS_TOKEN, "invalid_request", "leave the actor_token out"),
        ("agent", "bob", "invalid_request", "no agent of that name"),
        ("agent", "nobody", "invalid_request", "no agent of that name"),
        ("agent", "No Body", "invalid_request", "no agent of that name"),
    ] {
        assert_refused(&ask(&[(name, value)]), error, says);
    }
    let both = [("resource", "https://a.example"), ("resource", "https://b.example")];
    assert_refused(&ask(&both), "invalid_target", "leave the resource out");
    let answer = ask(&[]);
    let life = answer.json()["expires_in"].as_u64().unwrap();
    assert!((3_500..=3_600).contains(&life), "the usual life is cut down to what is left: {life}");

    // An agent that was made limits it too, and only its owner's credentials are exchanged for it: an admin's would
    // speak for somebody else.
    let make = ["agent", "create", "ci", "--owner", "ada", "--scope", "routes:use", "--route", "app"];
    gate.fallgate(&make).ok();
    let by_agent = ask(&[("agent", "ci")]);
    let said = claims(&given(&by_agent).secret);
    assert_eq!((&said["sub"], &said["scope"]), (&json!("agent:ci"), &json!("routes:use")));
    assert_eq!(said["aud"], json!(["fallgate", "route:app"]));
    assert_refused(&ask(&[("agent", "ci"), ("scope", "identity:read")]), "invalid_scope", "identity:read");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    for agent in ["ci", "ada"] {
        let answer = exchange(&gate, &admin.secret, &[("agent", agent)]);
        assert_refused(&answer, "invalid_request", "no agent of that name");
    }
    gate.fallgate(&["agent", "disable", "ci"]).ok();
    assert_refused(&ask(&[("agent", "ci")]), "invalid_request", "disabled");

    // A demoted admin's token is exchanged for what it is worth now.
    gate.fallgate(&["user", "set-role", "bob", "admin"]).ok();
    let demoted = gate.token_with("bob", &["--scope", "admin"]);
    gate.fallgate(&["user", "set-role", "bob", "user"]).ok();
    assert_refused(&exchange(&gate, &demoted.secret, &[("scope", "admin")]), "invalid_scope", "admin");
}

#[test]
fn r27_only_tokens_and_sign_ins_that_may_mint_are_exchanged() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    let plain = gate.token_with("ada", &["--scope", "routes:use", "--scope", "tokens:write"]);
    let answer = exchange(&gate, &plain.secret, &[("scope", "routes:use")]);
    assert_refused(&answer, "invalid_request", "scope agents:write");
    let worker = gate.worker("ada", &["agents:write", "identity:read"], &["fallgate", "route:app"]);
    let elsewhere = gate.worker("ada", &["agents:write"], &["egress"]);
    let exchanged = given(&exchange(&gate, &worker.minter.secret, &[("scope", "agents:write")]));
    for secret in [&worker.token.secret, &elsewhere.token.secret, &exchanged.secret] {
        assert_refused(&exchange(&gate, secret, &[]), "invalid_request", "of the kind worker");
    }
    assert_refused(&exchange(&gate, &gate.internal_token(), &[]), "invalid_request", "of the kind internal");
    let legacy = gate.legacy_token().secret;
    assert_refused(&exchange(&gate, &legacy, &[]), "invalid_request", "of the kind legacy");
    // Whoever presents something else besides is still nobody but what is exchanged.
    let admin = gate.token_with("root", &["--scope", "admin"]).header();
    let fields =
        [("grant_type", GRANT), ("subject_token", &plain.secret), ("subject_token_type", ACCESS_TOKEN)];
    assert_refused(&form(&gate, "/oauth/token", &admin, &fields), "invalid_request", "scope agents:write");
}

#[test]
fn r38_unknown_expired_and_revoked_subjects_look_the_same_and_are_told_apart_in_the_trail() {
    let upstream = Upstream::echo();
    let mut gate = gate(&upstream);
    let revoked = gate.token_with("ada", &SCOPES);
    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    let expired = gate.token_with("ada", &[&SCOPES[..], &["--expires", "1s"]].concat());
    wait_for("the token's end", || (status(&gate, "/api/whoami", &expired) == 401).then_some(()));
    let disabled = gate.token_with("bob", &SCOPES);
    gate.fallgate(&["user", "disable", "bob"]).ok();
    let worker = gate.worker("ada", &["identity:read"], &["fallgate"]);
    gate.revoke_worker(&worker.token);
    let unknown = PlainToken::new(TokenKind::Token, &[0x5a; 32]).expose().to_owned();
    let told = exchange(&gate, "x", &[]);
    assert_refused(&told, "invalid_request", "The subject_token is not valid.");
    let code = PlainToken::new(TokenKind::DeviceCode, &[0x5a; 32]).expose().to_owned();
    for subject in [
        &revoked.secret,
        &expired.secret,
        &disabled.secret,
        &worker.token.secret,
        &unknown,
        &code,
        "fgt_",
        "eyJ.x.y",
    ] {
        let answer = exchange(&gate, subject, &[]);
        assert_eq!((answer.status, answer.text()), (told.status, told.text()), "{subject}");
        assert_eq!(answer.headers.len(), told.headers.len(), "{:?}", answer.headers);
    }
    gate.signal(Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    let home = gate.kill();
    let trail = home.fallgate(&["audit", "list", "--json", "--action", "access.refused"]).ok().json();
    let events = trail["events"].as_array().unwrap();
    for (reason, id) in [
        ("revoked", Some(&revoked.id)),
        ("expired", Some(&expired.id)),
        ("owner-disabled", Some(&disabled.id)),
        ("unknown", None),
        ("malformed", None),
    ] {
        let named = |event: &Value| id.is_none_or(|id| event.to_string().contains(id.as_str()));
        let found = events.iter().any(|event| event["detail"]["reason"] == reason && named(event));
        assert!(found, "no {reason}: {trail}");
    }
}

#[test]
fn r59_an_exchange_is_a_form_with_each_parameter_once() {
    let gate = Gate::start();
    gate.user("ada");
    let subject = gate.token_with("ada", &SCOPES);
    let fields =
        [("grant_type", GRANT), ("subject_token", &subject.secret), ("subject_token_type", ACCESS_TOKEN)];
    let send = |fields: &[(&str, &str)]| form(&gate, "/oauth/token", "", fields);
    given(&send(&fields));
    for (at, (name, _)) in fields.iter().enumerate() {
        let twice = [&fields[..], &fields[at..=at]].concat();
        assert_refused(&send(&twice), "invalid_request", "twice");
        let without: Vec<_> = fields.iter().filter(|field| field.0 != *name).copied().collect();
        assert_refused(&send(&without), "invalid_request", name);
        let empty: Vec<_> =
            fields.iter().map(|field| if field.0 == *name { (*name, "") } else { *field }).collect();
        assert_refused(&send(&empty), "invalid_request", name);
    }
    for name in ["scope", "expires_in", "agent", "actor_token"] {
        assert_refused(
            &exchange(&gate, &subject.secret, &[(name, "x"), (name, "x")]),
            "invalid_request",
            "twice",
        );
    }
    for other in ["urn:ietf:params:oauth:token-type:jwt", "access_token"] {
        let fields = [fields[0], fields[1], ("subject_token_type", other)];
        assert_refused(&send(&fields), "invalid_request", ACCESS_TOKEN);
    }
    let get = gate.ask("GET /oauth/token", "", &Value::Null);
    assert_eq!((get.status, error_of(&get)), (405, "invalid_request".to_owned()));
    let json = gate.ask("POST /oauth/token", "", &json!({ "grant_type": GRANT }));
    assert_refused(&json, "invalid_request", "x-www-form-urlencoded");
    let huge = exchange(&gate, &"x".repeat(70_000), &[]);
    assert_eq!((huge.status, error_of(&huge)), (413, "invalid_request".to_owned()));
    let long = exchange(&gate, &"x".repeat(60_000), &[]);
    assert_refused(&long, "invalid_request", "is not valid");
}

#[test]
fn guesses_at_what_is_exchanged_are_throttled_and_what_is_good_is_exchanged_all_the_same() {
    let gate = Gate::start();
    gate.user("ada");
    let subject = gate.token_with("ada", &SCOPES);
    let guess = || exchange(&gate, PlainToken::new(TokenKind::Token, &[0x5a; 32]).expose(), &[]);
    let mut last = guess();
    for _ in 0..500 {
        if last.status == 429 {
            break;
        }
        last = guess();
    }
    assert_eq!((last.status, error_of(&last)), (429, "temporarily_unavailable".to_owned()));
    assert!(last.header("retry-after").is_some());
    for _ in 0..100 {
        given(&exchange(&gate, &subject.secret, &[]));
    }
}
