//! `PATCH /api/tokens/{id}` with another end, and `POST /api/tokens/inspect`.

use fallgate_domain::token::TokenKind;
use serde_json::{Value, json};

use super::tokens::call;
use crate::support::{Client, Gate, Response, Token};

const END: &str = "2099-12-31T23:59:59Z";
const MANAGING: [&str; 4] = ["--scope", "identity:read", "--scope", "tokens:write"];

fn redate(gate: &Gate, by: &Token, id: &str, body: &Value) -> Response {
    call(gate, &format!("PATCH /api/tokens/{id}"), by, &body.to_string())
}

fn inspect(gate: &Gate, by: &Token, secret: &str) -> Response {
    call(gate, "POST /api/tokens/inspect", by, &json!({ "token": secret }).to_string())
}

/// A token that manages its owner's, and lasts that long.
fn managing(gate: &Gate, owner: &str, expires: &str) -> Token {
    gate.token_with(owner, &[&MANAGING[..], &["--expires", expires]].concat())
}

#[test]
fn a_token_is_given_another_end_as_a_time_a_while_or_never() {
    let gate = Gate::start();
    let (by, token) = (managing(&gate, "ada", "never"), gate.token("ada"));
    let dated = |body: Value| {
        let answer = redate(&gate, &by, &token.id, &body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.json()["expires_at"].clone()
    };
    assert_eq!(dated(json!({ "expires_at": END })), END);
    assert_eq!(dated(json!({ "expires_at": "2099-12-31T23:59:59+02:00" })), "2099-12-31T21:59:59Z");
    assert!(dated(json!({ "expires_in": 3600 })).is_string());
    assert_eq!(dated(json!({ "expires_in": null })), Value::Null);
    assert_eq!(dated(json!({ "expires_at": END })), END);
    assert_eq!(dated(json!({ "expires_at": null })), Value::Null);
    let minted = call(&gate, "POST /api/tokens", &by, &json!({ "name": "x", "expires_at": END }).to_string());
    assert_eq!((minted.status, &minted.json()["expires_at"]), (201, &json!(END)));
    for body in [
        json!({}),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "expires_at": 1 }),
        json!({ "expires_in": 0 }),
        json!({ "expires_in": -1 }),
        json!({ "expires_in": 1e300 }),
        json!({ "expires_in": u64::MAX }),
        json!({ "expires_in": 60, "expires_at": END }),
        json!({ "expires_in": null, "expires_at": null }),
        json!({ "name": "x", "expires_in": 60 }),
    ] {
        let answer = redate(&gate, &by, &token.id, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    assert_eq!(redate(&gate, &by, &by.id, &json!({ "name": "renamed" })).json()["name"], "renamed");
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(redate(&gate, &by, &token.id, &json!({ "expires_at": END })).status, 409);
}

#[test]
fn another_end_counts_on_the_next_request() {
    let gate = Gate::start();
    let (by, token) = (managing(&gate, "ada", "never"), gate.token("ada"));
    assert_eq!(redate(&gate, &by, &token.id, &json!({ "expires_in": 1 })).status, 200);
    crate::support::wait_for("the token's end", || {
        (Client::get(gate.address(), "/api/whoami", Some(&token)).status == 401).then_some(())
    });
}

#[test]
fn r27_no_token_gives_itself_or_another_a_longer_life_than_its_own_or_its_parents() {
    let gate = Gate::start();
    let (short, long) = (managing(&gate, "ada", "1h"), managing(&gate, "ada", "never"));
    let other = gate.token("ada");
    for id in [&other.id, &short.id] {
        for body in
            [json!({ "expires_in": null }), json!({ "expires_in": 7200 }), json!({ "expires_at": END })]
        {
            let answer = redate(&gate, &short, id, &body);
            assert_eq!(answer.status, 403, "{body}: {}", answer.text());
            assert!(answer.text().contains("cannot outlive"), "{}", answer.text());
        }
        assert_eq!(redate(&gate, &short, id, &json!({ "expires_in": 600 })).status, 200);
    }
    // A child stays within its parent, whoever dates it.
    let child = call(&gate, "POST /api/tokens", &short, r#"{"name":"child","expires_in":60}"#).json();
    let child = child["id"].as_str().unwrap();
    assert_eq!(redate(&gate, &long, child, &json!({ "expires_in": null })).status, 403);
    let refused = gate.fallgate(&["token", "expire", child, "--at", "never"]).refused(1);
    assert!(refused.contains("cannot outlive"), "{refused}");
    assert_eq!(redate(&gate, &long, child, &json!({ "expires_in": 120 })).status, 200);
}

#[test]
fn r30_a_token_is_dated_by_its_owner_or_an_admin() {
    let gate = Gate::start();
    gate.admin("root");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let (ada, bob) = (managing(&gate, "ada", "never"), managing(&gate, "bob", "never"));
    let body = json!({ "expires_at": END });
    assert_eq!(redate(&gate, &bob, &ada.id, &body).status, 403);
    // An admin's own token ends in 90 days; what it does for others hangs on nothing.
    assert_eq!(redate(&gate, &admin, &ada.id, &body).status, 200);
    assert_eq!(redate(&gate, &admin, &admin.id, &body).status, 403);
    assert_eq!(redate(&gate, &admin, "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b", &body).status, 404);
    assert_eq!(redate(&gate, &admin, "x", &body).status, 404);
    let events = gate.fallgate(&["audit", "list", "--action", "token.expire", "--json"]).ok().json();
    assert_eq!(events["events"].as_array().unwrap().len(), 1);
}

#[test]
fn r30_r38_a_secret_is_told_about_to_its_owner_and_admins_and_is_nobodys_to_others() {
    let gate = Gate::start();
    gate.admin("root");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let (ada, bob) = (gate.token("ada"), gate.token("bob"));
    let ended = gate.token("ada");
    gate.fallgate(&["token", "revoke", &ended.id]).ok();
    for by in [&ada, &admin] {
        for (token, status) in [(&ada, "active"), (&ended, "revoked")] {
            let told = inspect(&gate, by, &token.secret);
            assert_eq!(
                (told.status, &told.json()["id"], &told.json()["status"]),
                (200, &json!(token.id), &json!(status))
            );
            assert!(!told.text().contains(&token.secret[..9]), "{}", told.text());
        }
    }
    let unknown = super::unknown(TokenKind::Token);
    let nobodys = inspect(&gate, &bob, &unknown);
    assert_eq!(nobodys.status, 404);
    for secret in [&ada.secret, &ended.secret, "x", ""] {
        assert_eq!(super::whole(&inspect(&gate, &bob, secret)), super::whole(&nobodys), "told from nobody's");
    }
    let refused = call(&gate, "POST /api/tokens/inspect", &ada, r#"{"token":5}"#);
    assert!(refused.status == 400 && refused.text().contains("must be text"), "{}", refused.text());
}
