//! `/api/users`: what an admin is answered, and what it means for others.

use serde_json::{Value, json};

use super::token_with_scopes;
use super::tokens::call;
use crate::support::{Client, Gate, PASSPHRASE, Response, Token};
use fallgate_domain::scope::PlainScope;

/// A gate with an admin and a user, and a token of each.
fn peopled() -> (Gate, Token, Token) {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    let admin = token_with_scopes(&gate, "root", &[PlainScope::Admin]);
    let ada = gate.token("ada");
    (gate, admin, ada)
}

fn post(gate: &Gate, admin: &Token, body: &Value) -> Response {
    call(gate, "POST /api/users", admin, &body.to_string())
}

fn patch(gate: &Gate, admin: &Token, user: &str, body: &Value) -> Response {
    call(gate, &format!("PATCH /api/users/{user}"), admin, &body.to_string())
}

fn delete(gate: &Gate, admin: &Token, user: &str) -> Response {
    call(gate, &format!("DELETE /api/users/{user}"), admin, "")
}

fn me(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

#[test]
fn an_account_is_made_shown_changed_and_deleted_and_the_command_line_shows_the_same() {
    let (gate, admin, _) = peopled();
    let body =
        json!({"username": "bob", "display_name": " Bob B. ", "role": "user", "passphrase": PASSPHRASE});
    let made = post(&gate, &admin, &body);
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["username"], &made["display_name"], &made["role"]),
        (&json!("bob"), &json!("Bob B."), &json!("user"))
    );
    assert_eq!(made["disabled_at"], Value::Null);
    let get = |path: &str| Client::get(gate.address(), path, Some(&admin));
    assert_eq!(get("/api/users/bob").json(), made);
    let listed = gate.fallgate(&["user", "list", "--json"]).ok().json();
    assert_eq!(get("/api/users").json(), listed);
    assert_eq!(listed["users"].as_array().unwrap().len(), 3);

    let changed =
        patch(&gate, &admin, "bob", &json!({"display_name": "B", "role": "admin", "disabled": true}));
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!((&changed["display_name"], &changed["role"]), (&json!("B"), &json!("admin")));
    assert!(changed["disabled_at"].is_string());
    assert_eq!(patch(&gate, &admin, "bob", &json!({})).json(), changed, "nothing asked, nothing done");
    let minimal = json!({"username": "eve", "passphrase": PASSPHRASE});
    let made = post(&gate, &admin, &minimal).json();
    assert_eq!((&made["display_name"], &made["role"]), (&json!("eve"), &json!("user")));

    assert_eq!(delete(&gate, &admin, "bob").status, 204);
    for answer in
        [delete(&gate, &admin, "bob"), get("/api/users/bob"), patch(&gate, &admin, "bob", &json!({}))]
    {
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    for nobodys in ["Ada!", "%20", &"x".repeat(40)] {
        assert_eq!(get(&format!("/api/users/{nobodys}")).status, 404, "{nobodys}");
    }
}

#[test]
fn what_cannot_be_is_refused_in_words_that_name_the_rule() {
    let (gate, admin, _) = peopled();
    let good = |name: &str, value: Value| {
        let mut body = json!({"username": "bob", "passphrase": PASSPHRASE});
        body[name] = value;
        body
    };
    for (body, status, words) in [
        (good("username", json!("ada")), 409, "is a user ada already"),
        (good("username", json!("Bob")), 400, "a-z, 0-9, _ and -"),
        (good("username", json!("b\u{202e}ob")), 400, "a-z, 0-9, _ and -"),
        (good("display_name", json!("")), 400, "1 to 80 characters"),
        (good("display_name", json!("a\u{7}")), 400, "no control characters"),
        (good("display_name", json!("a\u{9b}b")), 400, "no control characters"),
        (good("display_name", json!("😀".repeat(81))), 400, "1 to 80 characters"),
        (good("role", json!("owner")), 400, "`admin` or `user`"),
        (good("passphrase", json!("short")), 400, "12 to 1024 bytes"),
        (good("passphrase", json!("x".repeat(1_025))), 400, "12 to 1024 bytes"),
        (good("passphrase", json!("bobbobbobbob")), 400, "too easy to guess"),
        (good("passphrase", json!(4_711_081_500_u64)), 400, "must be text"),
        (good("admin", json!(true)), 400, "unknown field `admin`"),
        (json!({"username": "bob"}), 400, "passphrase"),
    ] {
        let refused = post(&gate, &admin, &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
        assert!(
            !refused.text().contains("4711081500") && !refused.text().contains(PASSPHRASE),
            "{}",
            refused.text()
        );
    }
    for (body, words) in [
        (json!({"username": "eve"}), "unknown field `username`"),
        (json!({"role": "Admin"}), "`admin` or `user`"),
        (json!({"disabled": "yes"}), "boolean"),
        (json!({"display_name": " "}), "1 to 80 characters"),
    ] {
        let refused = patch(&gate, &admin, "ada", &body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
    }
    assert_eq!(gate.usernames(), ["ada", "root"]);
    assert!(!gate.log().contains(PASSPHRASE));
}

#[test]
fn the_last_admin_stays_in_office() {
    let (gate, admin, _) = peopled();
    for body in
        [json!({"role": "user"}), json!({"disabled": true}), json!({"role": "user", "display_name": "x"})]
    {
        let refused = patch(&gate, &admin, "root", &body);
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("the last enabled admin"), "{}", refused.text());
    }
    assert_eq!(delete(&gate, &admin, "root").status, 409);
    let root = Client::get(gate.address(), "/api/users/root", Some(&admin)).json();
    assert_eq!(
        (&root["role"], &root["display_name"]),
        (&json!("admin"), &json!("root")),
        "nothing of it was done"
    );
    // With another one, the first may step down; and hears so.
    assert_eq!(patch(&gate, &admin, "ada", &json!({"role": "admin"})).status, 200);
    assert_eq!(patch(&gate, &admin, "root", &json!({"role": "user"})).status, 200);
    assert_eq!(patch(&gate, &admin, "root", &json!({"role": "admin"})).status, 403);
}

#[test]
fn r57_what_is_done_to_an_account_counts_on_the_next_request() {
    let (gate, admin, ada) = peopled();
    assert_eq!(me(&gate, &ada), 200);
    assert_eq!(patch(&gate, &admin, "ada", &json!({"disabled": true})).status, 200);
    assert_eq!(me(&gate, &ada), 401);
    assert_eq!(patch(&gate, &admin, "ada", &json!({"disabled": false})).status, 200);
    assert_eq!(me(&gate, &ada), 200);
    assert_eq!(delete(&gate, &admin, "ada").status, 204);
    assert_eq!(me(&gate, &ada), 401);
    let again = json!({"username": "ada", "passphrase": PASSPHRASE});
    assert_eq!(post(&gate, &admin, &again).status, 201);
    assert_eq!(me(&gate, &ada), 401, "a new one of that name inherits nothing");
}

#[test]
fn another_passphrase_ends_tokens_only_when_asked_and_says_how_many() {
    let (gate, admin, ada) = peopled();
    let reset = |body: Value| call(&gate, "POST /api/users/ada/passphrase", &admin, &body.to_string());
    let kept = reset(json!({"passphrase": PASSPHRASE}));
    assert_eq!((kept.status, kept.json()), (200, json!({"revoked_logins": 0, "revoked_tokens": 0})));
    assert_eq!(me(&gate, &ada), 200);
    for (passphrase, words) in [("adaadaadaada", "too easy"), ("short", "12 to 1024 bytes")] {
        let refused = reset(json!({"passphrase": passphrase}));
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    gate.token("ada");
    let ended = reset(json!({"passphrase": PASSPHRASE, "revoke_tokens": true}));
    assert_eq!((ended.status, ended.json()), (200, json!({"revoked_logins": 0, "revoked_tokens": 2})));
    assert_eq!(me(&gate, &ada), 401);
    let nobody = call(&gate, "POST /api/users/nobody/passphrase", &admin, r#"{"passphrase":"x"}"#);
    assert_eq!(nobody.status, 404);
}

#[test]
fn r53_a_flood_of_passphrases_is_refused_with_a_time_to_come_again_and_tokens_are_checked_meanwhile() {
    const FLOOD: usize = 120;
    let (gate, admin, ada) = peopled();
    let body = json!({"passphrase": PASSPHRASE}).to_string();
    let request = format!(
        "POST /api/users/ada/passphrase HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        admin.header(),
        body.len()
    );
    let clients: Vec<_> = (0..FLOOD)
        .map(|_| {
            let mut client = Client::connect(gate.address());
            client.send(&request);
            client
        })
        .collect();
    assert_eq!(me(&gate, &ada), 200);
    let first_refused =
        clients.into_iter().rev().map(|mut client| client.response()).find(|answer| answer.status != 200);
    let refused = first_refused.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{}", refused.text());
}
