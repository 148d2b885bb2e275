//! `/api/tokens`: what a mint, a list and a revocation answer, to good and to hostile bodies.

use serde_json::{Value, json};

use super::{bearer, token_with_scopes, whole};
use crate::support::{Client, Gate, Response, Token};
use fallgate_domain::scope::PlainScope;

/// A request with a JSON body.
pub(super) fn call(gate: &Gate, line: &str, token: &Token, body: &str) -> Response {
    call_with(gate, line, token, "Content-Type: application/json\r\n", body)
}

fn call_with(gate: &Gate, line: &str, token: &Token, headers: &str, body: &str) -> Response {
    let (authorization, length) = (bearer(&token.secret), body.len());
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{authorization}{headers}Content-Length: {length}\r\n\r\n"
    );
    Client::exchange(gate.address(), head + body)
}

fn mint(gate: &Gate, token: &Token, body: &Value) -> Response {
    call(gate, "POST /api/tokens", token, &body.to_string())
}

fn token_of(minted: &Response) -> Token {
    assert_eq!(minted.status, 201, "{}", minted.text());
    let minted = minted.json();
    let text = |key: &str| minted[key].as_str().unwrap().to_owned();
    Token { id: text("id"), secret: text("secret") }
}

fn list(gate: &Gate, token: &Token) -> Value {
    let listed = Client::get(gate.address(), "/api/tokens", Some(token));
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()
}

/// A gate with an admin and two users, and a token of each that may do all its owner may.
fn peopled() -> (Gate, Token, Token, Token) {
    let gate = Gate::start();
    gate.admin("root");
    let admin = token_with_scopes(&gate, "root", &[PlainScope::Admin]);
    let scopes = [PlainScope::IdentityRead, PlainScope::TokensWrite, PlainScope::RoutesUse];
    gate.user("ada");
    gate.user("bob");
    let (ada, bob) = (token_with_scopes(&gate, "ada", &scopes), token_with_scopes(&gate, "bob", &scopes));
    (gate, admin, ada, bob)
}

#[test]
fn r30_a_list_shows_a_user_their_own_tokens_and_an_admin_everybodys() {
    let (gate, admin, ada, bob) = peopled();
    let own = list(&gate, &ada);
    assert_eq!(own["me"], json!({"username": "ada", "role": "user"}));
    assert_eq!(own.get("users"), None);
    let ids = |list: &Value| -> Vec<String> {
        let tokens = list["tokens"].as_array().unwrap().iter();
        tokens.map(|token| token["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&own), [ada.id.as_str()]);
    let keys: Vec<_> = own["tokens"][0].as_object().unwrap().keys().cloned().collect();
    let mut wanted = [
        "id",
        "kind",
        "username",
        "name",
        "hint",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "last_used_ip",
        "status",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    assert_eq!(own["tokens"][0]["hint"], ada.secret[..8]);

    let all = list(&gate, &admin);
    assert_eq!(all["me"], json!({"username": "root", "role": "admin"}));
    for token in [&admin, &ada, &bob] {
        assert!(ids(&all).contains(&token.id));
    }
    let users = all["users"].as_array().unwrap().iter();
    let users: Vec<_> = users.map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(users, ["ada", "bob", "root"]);
    // An admin's narrower token is the admin's own only.
    let narrow = token_with_scopes(&gate, "root", &[PlainScope::IdentityRead]);
    let narrow = list(&gate, &narrow);
    assert_eq!((ids(&narrow).len(), narrow.get("users")), (2, None));
}

#[test]
fn a_minted_token_works_and_nothing_but_the_mints_answer_has_its_secret() {
    let (gate, admin, ada, _) = peopled();
    let minted = mint(&gate, &ada, &json!({"name": "laptop"}));
    let token = token_of(&minted);
    let answer = minted.json();
    assert_eq!((&answer["username"], &answer["name"]), (&json!("ada"), &json!("laptop")));
    assert_eq!((&answer["status"], &answer["kind"]), (&json!("active"), &json!("token")));
    assert_eq!(minted.header("cache-control"), Some("no-store"));
    let me = Client::get(gate.address(), "/api/whoami", Some(&token));
    assert_eq!((me.status, &me.json()["credential"]["id"]), (200, &json!(token.id)));

    for caller in [&ada, &admin, &token] {
        let answers = [
            Client::get(gate.address(), "/api/tokens", Some(caller)),
            Client::get(gate.address(), "/api/whoami", Some(caller)),
            call(&gate, &format!("DELETE /api/tokens/{}", token.id), caller, ""),
            mint(&gate, caller, &json!({"name": 1})),
        ];
        for answer in answers {
            let text = format!("{:?}{}", answer.headers, answer.text());
            // A hint is the first eight characters; no more of a secret stands anywhere, and no word for a hash.
            assert!(!text.contains("hash") && !text.contains("secret"), "{text}");
            for secret in [&token, &ada, &admin].map(|token| &token.secret) {
                assert!(!text.contains(&secret[..9]), "{text}");
            }
        }
    }
    assert!(!gate.log().contains(&token.secret[..9]));
}

#[test]
fn r27_a_token_mints_only_within_itself_and_its_children_end_with_it() {
    let (gate, _, ada, _) = peopled();
    for beyond in ["admin", "introspect", "sessions:read", "live:read"] {
        let refused = mint(&gate, &ada, &json!({"name": "x", "scopes": [beyond]}));
        assert_eq!(refused.status, 403, "{beyond}: {}", refused.text());
        assert!(refused.text().contains(beyond), "{}", refused.text());
    }
    // The defaults are cut down to fit.
    let child = mint(&gate, &ada, &json!({"name": "child"}));
    assert_eq!(child.json()["scopes"], json!(["identity:read", "routes:use"]));
    // The parent ends in 90 days.
    for (longer, status) in [(json!(null), 403), (json!(91 * 86_400), 403), (json!(60), 201)] {
        let answer = mint(&gate, &ada, &json!({"name": "x", "expires_in": longer}));
        assert_eq!(answer.status, status, "{longer}: {}", answer.text());
    }
    let child = token_of(&child);
    assert_eq!(call(&gate, &format!("DELETE /api/tokens/{}", ada.id), &ada, "").status, 204);
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&child)).status, 401);
}

/// Members have names; a list would give them by place.
#[test]
fn r8_a_list_is_no_object() {
    let (gate, _, ada, _) = peopled();
    let answer = mint(&gate, &ada, &json!(["x", null, ["identity:read"], 60]));
    assert_eq!(answer.status, 400, "{}", answer.text());
}

/// Every decision walks the whole lineage, so it must not grow at its owner's will.
#[test]
fn r59_a_line_of_tokens_each_minted_by_the_one_before_has_an_end() {
    let (gate, _, ada, _) = peopled();
    let (mut parent, mut minted) = (ada, 1);
    let refused = loop {
        let child = mint(&gate, &parent, &json!({"name": "x", "scopes": ["tokens:write", "identity:read"]}));
        if child.status != 201 {
            break child;
        }
        (parent, minted) = (token_of(&child), minted + 1);
        assert!(minted <= 32, "no end");
    };
    assert_eq!((refused.status, minted), (403, 16), "{}", refused.text());
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&parent)).status, 200);
}

#[test]
fn r30_a_mint_is_for_oneself_and_for_others_only_by_an_admin() {
    let (gate, admin, ada, _) = peopled();
    let minted = mint(&gate, &ada, &json!({"name": "x", "username": "root"}));
    assert_eq!((minted.status, &minted.json()["username"]), (201, &json!("ada")));
    let minted = mint(&gate, &ada, &json!({"name": "x", "username": "nobody-of-that-name"}));
    assert_eq!((minted.status, &minted.json()["username"]), (201, &json!("ada")));
    let minted = mint(&gate, &admin, &json!({"name": "x", "username": "bob"}));
    assert_eq!((minted.status, &minted.json()["username"]), (201, &json!("bob")));
    let unknown = mint(&gate, &admin, &json!({"name": "x", "username": "carol"}));
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    let beyond = mint(&gate, &admin, &json!({"name": "x", "username": "bob", "scopes": ["admin"]}));
    assert_eq!(beyond.status, 403, "{}", beyond.text());
    // An admin's narrower token mints for the admin only.
    let narrow = token_with_scopes(&gate, "root", &[PlainScope::TokensWrite]);
    let minted = mint(&gate, &narrow, &json!({"name": "x", "username": "bob"}));
    assert_eq!((minted.status, &minted.json()["username"]), (201, &json!("root")));
}

#[test]
fn r8_a_body_that_is_not_as_it_must_be_is_refused_in_words_that_name_the_fault() {
    let (gate, admin, _, _) = peopled();
    let before = list(&gate, &admin)["tokens"].as_array().unwrap().len();
    let nested = format!("{{\"name\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let long = "9".repeat(400);
    for (body, named) in [
        (r#"{"name":"x","colour":"red"}"#, "colour"),
        (r#"{"name":"x","secret":"fgt_mine"}"#, "secret"),
        (r#"{"name":"x","parent":null}"#, "parent"),
        (r#"{"name":"x","name":"y"}"#, "name"),
        ("{}", "name"),
        ("", ""),
        ("[]", ""),
        ("null", ""),
        ("{", ""),
        (r#"{"name":"x"} {}"#, "trailing"),
        (r#"{"name":1}"#, ""),
        (r#"{"name":null}"#, ""),
        (r#"{"name":""}"#, "name"),
        (r#"{"name":" \t "}"#, "name"),
        (r#"{"name":"a\u0000b"}"#, "control"),
        (r#"{"name":"a\nb"}"#, "control"),
        (r#"{"name":"a\u009bb"}"#, "control"),
        (r#"{"name":"\ud800"}"#, ""),
        (r#"{"name":"x","username":"NOT A NAME"}"#, ""),
        (r#"{"name":"x","scopes":"admin"}"#, ""),
        (r#"{"name":"x","scopes":["everything"]}"#, "everything"),
        (r#"{"name":"x","scopes":["route:../x"]}"#, "route"),
        (r#"{"name":"x","expires_in":0}"#, "future"),
        (r#"{"name":"x","expires_in":-1}"#, ""),
        (r#"{"name":"x","expires_in":1.5}"#, ""),
        (r#"{"name":"x","expires_in":1e-3}"#, ""),
        (r#"{"name":"x","expires_in":"60"}"#, ""),
        (r#"{"name":"x","expires_in":18446744073709551615}"#, "hundred years"),
        (r#"{"name":"x","expires_in":18446744073709551616}"#, ""),
        (&format!(r#"{{"name":"x","expires_in":{long}}}"#), ""),
        (&nested, ""),
        (&json!({ "name": "😀".repeat(81) }).to_string(), "80"),
    ] {
        let answer = call(&gate, "POST /api/tokens", &admin, body);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(named), "{shown}: {}", answer.text());
    }
    assert_eq!(call_bytes(&gate, &admin, b"{\"name\":\"\xff\xfe\"}").status, 400);
    assert_eq!(list(&gate, &admin)["tokens"].as_array().unwrap().len(), before, "something was minted");
}

fn call_bytes(gate: &Gate, token: &Token, body: &[u8]) -> Response {
    let (authorization, length) = (bearer(&token.secret), body.len());
    let head = format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    Client::exchange(gate.address(), [head.as_bytes(), body].concat())
}

#[test]
fn how_long_a_token_lasts_is_90_days_or_what_was_asked_for() {
    let (gate, admin, _, _) = peopled();
    let forever = gate.token_with("root", &["--scope", "admin", "--expires", "never"]);
    let ends = |body: Value| {
        let minted = mint(&gate, &forever, &body);
        assert_eq!(minted.status, 201, "{}", minted.text());
        minted.json()["expires_at"].clone()
    };
    assert_eq!(ends(json!({"name": "x", "expires_in": null})), Value::Null);
    assert!(ends(json!({"name": "x", "expires_in": 60})).is_string());
    assert!(ends(json!({"name": "x"})).is_string());
    assert!(ends(json!({"name": "x", "username": "bob", "expires_in": 3_000_000_000_u64})).is_string());
    drop(admin);
}

#[test]
fn names_come_back_as_they_went_in_and_are_always_good_json() {
    let (gate, admin, _, _) = peopled();
    for name in [
        "😀".repeat(80).as_str(),
        "\u{202e}gpj.exe",
        "a\u{200f}b",
        "<script>&\"'\\",
        "ünïcödé",
        "..",
        "%00",
        "' OR 1=1 --",
    ] {
        let minted = mint(&gate, &admin, &json!({ "name": format!("  {name}\u{a0}") }));
        assert_eq!((minted.status, &minted.json()["name"]), (201, &json!(name)), "{}", minted.text());
        assert!(minted.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
        let listed = list(&gate, &admin);
        let names = listed["tokens"].as_array().unwrap().iter().map(|token| &token["name"]);
        assert_eq!(names.filter(|held| *held == name).count(), 1, "{name}");
    }
}

#[test]
fn r59_a_body_has_64_kib_and_is_called_json() {
    let (gate, admin, _, _) = peopled();
    let padded = |length: usize| {
        let body = r#"{"name":"x"}"#;
        body.to_owned() + &" ".repeat(length - body.len())
    };
    assert_eq!(call(&gate, "POST /api/tokens", &admin, &padded(65_536)).status, 201);
    assert_eq!(call(&gate, "POST /api/tokens", &admin, &padded(65_537)).status, 413);
    // In chunks nobody knows the length beforehand.
    for (length, status) in [(65_536, 201), (65_537, 413), (300_000, 413)] {
        let mut client = Client::connect(gate.address());
        let authorization = bearer(&admin.secret);
        client.send(format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for chunk in padded(length).as_bytes().chunks(10_000) {
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send([chunk, b"\r\n"].concat());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().status, status, "{length} bytes in chunks");
    }
    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: text/json\r\n",
    ] {
        assert_eq!(
            call_with(&gate, "POST /api/tokens", &admin, kind, r#"{"name":"x"}"#).status,
            415,
            "{kind}"
        );
    }
    for kind in ["content-type: APPLICATION/JSON\r\n", "Content-Type: application/json; charset=utf-8\r\n"] {
        assert_eq!(
            call_with(&gate, "POST /api/tokens", &admin, kind, r#"{"name":"x"}"#).status,
            201,
            "{kind}"
        );
    }
}

#[test]
fn r30_a_token_is_revoked_by_its_owner_or_an_admin_as_often_as_one_likes() {
    let (gate, admin, ada, bob) = peopled();
    let revoke = |caller: &Token, id: &str| call(&gate, &format!("DELETE /api/tokens/{id}"), caller, "");
    let victim = gate.token("ada");
    assert_eq!(revoke(&bob, &victim.id).status, 403);
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&victim)).status, 200);
    let first = revoke(&ada, &victim.id);
    assert_eq!((first.status, first.body.len()), (204, 0));
    assert_eq!(whole(&revoke(&ada, &victim.id)), whole(&first));
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&victim)).status, 401);
    let status = list(&gate, &ada)["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["id"] == victim.id)
        .unwrap()["status"]
        .clone();
    assert_eq!(status, "revoked");

    let victim = gate.token("bob");
    assert_eq!(revoke(&admin, &victim.id).status, 204);
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&victim)).status, 401);
    // What is no token's may be the `jti` of another node's worker token: for an admin to say.
    assert_eq!(revoke(&admin, "01890000-0000-7000-8000-000000000000").status, 204);
    for id in ["01890000-0000-7000-8000-000000000001", "x", "%20", &victim.id[..35]] {
        assert_eq!(revoke(&ada, id).status, 404, "{id}");
    }
    // The one in use can go too.
    assert_eq!(revoke(&bob, &bob.id).status, 204);
    assert_eq!(revoke(&bob, &bob.id).status, 401);
}

#[test]
fn r30_a_token_is_renamed_by_its_owner_or_an_admin() {
    let (gate, admin, ada, bob) = peopled();
    let rename =
        |caller: &Token, id: &str, body: &str| call(&gate, &format!("PATCH /api/tokens/{id}"), caller, body);
    let token = gate.token("ada");
    for (caller, name) in [(&ada, "laptop"), (&admin, "the laptop"), (&ada, "the laptop")] {
        let renamed = rename(caller, &token.id, &json!({ "name": name }).to_string());
        assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!(name)));
        assert_eq!(renamed.json()["id"], token.id);
        assert_eq!(renamed.json().as_object().unwrap().len(), 11);
    }
    assert_eq!(rename(&bob, &token.id, r#"{"name":"mine"}"#).status, 403);
    for id in ["01890000-0000-7000-8000-000000000000", "x"] {
        assert_eq!(rename(&ada, id, r#"{"name":"x"}"#).status, 404, "{id}");
    }
    for body in [r#"{"name":""}"#, r#"{"name":"a\u0007"}"#, r#"{"name":"x","scopes":["admin"]}"#, "{}"] {
        assert_eq!(rename(&ada, &token.id, body).status, 400, "{body}");
    }
    let own = list(&gate, &ada);
    let kept = own["tokens"].as_array().unwrap().iter().find(|listed| listed["id"] == token.id).unwrap();
    assert_eq!(kept["name"], "the laptop");
}

#[test]
fn r30_all_tokens_of_ones_own_end_but_the_one_in_use_and_others_only_by_an_admin() {
    let (gate, admin, ada, bob) = peopled();
    let status = |token: &Token| Client::get(gate.address(), "/api/whoami", Some(token)).status;
    let (one, two) = (gate.token("ada"), gate.token("ada"));
    let ended = call(&gate, "DELETE /api/tokens", &ada, "");
    assert_eq!((ended.status, ended.json()), (200, json!({"revoked": 2})));
    assert_eq!([&ada, &bob, &one, &two].map(status), [200, 200, 401, 401]);
    assert_eq!(call(&gate, "DELETE /api/tokens", &ada, "").json(), json!({"revoked": 0}));
    assert_eq!(call(&gate, "DELETE /api/tokens?username=ada", &ada, "").json(), json!({"revoked": 0}));
    assert_eq!(call(&gate, "DELETE /api/tokens?username=bob", &ada, "").status, 403);
    assert_eq!(call(&gate, "DELETE /api/tokens?username=nobody", &ada, "").status, 403);
    assert_eq!(call(&gate, "DELETE /api/tokens?username=nobody", &admin, "").status, 404);
    for query in ["user=ada", "username=Ada!", "username=ada&username=bob"] {
        assert_eq!(call(&gate, &format!("DELETE /api/tokens?{query}"), &admin, "").status, 400, "{query}");
    }
    // An admin's narrower token manages the admin's own only.
    let narrow = token_with_scopes(&gate, "root", &[PlainScope::TokensWrite]);
    assert_eq!(call(&gate, "DELETE /api/tokens?username=bob", &narrow, "").status, 403);
    assert_eq!(call(&gate, "DELETE /api/tokens?username=bob", &admin, "").json(), json!({"revoked": 1}));
    assert_eq!([&ada, &bob, &admin].map(status), [200, 401, 200]);
}

#[test]
fn r30_whoever_minted_a_token_may_revoke_it() {
    let (gate, admin, _, bob) = peopled();
    let minted = token_of(&mint(&gate, &admin, &json!({"name": "x", "username": "ada"})));
    let narrow = token_with_scopes(&gate, "root", &[PlainScope::TokensWrite]);
    let revoke =
        |caller: &Token| call(&gate, &format!("DELETE /api/tokens/{}", minted.id), caller, "").status;
    assert_eq!(revoke(&bob), 403);
    assert_eq!(revoke(&narrow), 204, "not as an admin, but as the one who minted it");
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&minted)).status, 401);
}
