//! OAuth's doors: introspection, revocation, and what is said of them.

use serde_json::{Value, json};

use crate::support::{Client, Gate, Response, encoded};

/// By which name the gate goes.
const ISSUER: &str = "https://box.example";

/// Posts a form with these header lines.
pub(crate) fn form(gate: &Gate, path: &str, headers: &str, fields: &[(&str, &str)]) -> Response {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let length = body.len();
    Client::exchange(
        gate.address(),
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// The name of a refusal, which is one of OAuth's.
#[track_caller]
pub(crate) fn error_of(answer: &Response) -> String {
    assert!(answer.status >= 400, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert!(!told["error_description"].as_str().unwrap().is_empty(), "{told}");
    told["error"].as_str().unwrap().to_owned()
}

#[test]
fn an_upstream_learns_whether_a_credential_of_any_kind_is_good() {
    let gate = Gate::configured(&format!("[server]\npublic_url = \"{ISSUER}\"\n"));
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    gate.user("eve");
    let legacy = gate.legacy_token();
    let service = gate.token_with("root", &["--scope", "introspect"]).header();
    let ask = |secret: &str| {
        let answer =
            form(&gate, "/oauth/introspect", &service, &[("token", secret), ("token_type_hint", "x")]);
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store")),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.json()
    };
    let token = gate.token_with("ada", &["--scope", "routes:use", "--scope", "identity:read"]);
    let listed = gate.ask("GET /api/whoami", &token.header(), &Value::Null).json();
    let told = ask(&token.secret);
    assert_eq!(told["active"], true);
    assert_eq!(told["scope"], "identity:read routes:use");
    assert_eq!(
        (&told["username"], &told["token_type"], &told["kind"]),
        (&json!("ada"), &json!("Bearer"), &json!("token"))
    );
    assert_eq!(told["jti"], token.id);
    assert_eq!(told["iss"], ISSUER);
    assert!(
        told["sub"].as_str().unwrap().len() == 36 && told["exp"].as_i64().unwrap() > 1_700_000_000,
        "{told}"
    );
    assert!(listed["credential"]["expires_at"].is_string());
    let login = gate.sign_in("ada");
    for (secret, kind, owner) in [
        (login.secret.as_str(), "login", json!("ada")),
        (&gate.internal_token(), "internal", Value::Null),
        (&legacy.secret, "legacy", Value::Null),
    ] {
        let told = ask(secret);
        assert_eq!((&told["active"], &told["kind"], &told["username"]), (&json!(true), &json!(kind), &owner));
    }

    // Whatever is not good is that, and nothing more is told.
    let dead = json!({"active": false});
    let (disabled, cut) = (gate.token("bob"), gate.token("eve"));
    gate.fallgate(&["user", "disable", "bob"]).ok();
    gate.fallgate(&["cut", "user:eve"]).ok();
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    gate.ask("POST /api/logout", &login.bearer(), &Value::Null);
    for secret in [&token.secret, &login.secret, &disabled.secret, &cut.secret, "x", "fgt_", "eyJ.x.y"] {
        assert_eq!(ask(secret), dead, "{secret}");
    }
    gate.fallgate(&["user", "enable", "bob"]).ok();
    gate.fallgate(&["user", "set-role", "bob", "admin"]).ok();
    assert_eq!(ask(&disabled.secret)["active"], true);

    let refused = |headers: &str, fields: &[(&str, &str)]| {
        let answer = form(&gate, "/oauth/introspect", headers, fields);
        (answer.status, error_of(&answer))
    };
    let asked = [("token", token.secret.as_str())];
    assert_eq!(refused("", &asked), (401, "invalid_token".to_owned()));
    assert_eq!(refused(&disabled.header(), &asked), (403, "insufficient_scope".to_owned()));
    assert_eq!(refused(&service, &[]), (400, "invalid_request".to_owned()));
}

/// A service account of a route is no admin: `introspect` is granted to it, with one token and for that alone.
#[test]
fn a_plain_users_token_may_ask_if_an_admin_or_the_command_line_gave_it_that() {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("wiki-svc");
    gate.user("ada");
    let ask = |headers: &str| form(&gate, "/oauth/introspect", headers, &[("token", "x")]).status;
    let mint = |headers: &str, body: &Value| gate.ask("POST /api/tokens", headers, body);
    let scopes = json!(["introspect", "tokens:write", "agents:write", "identity:read"]);
    let order = json!({ "name": "wiki", "username": "wiki-svc", "scopes": scopes });
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let by_admin = mint(&admin.header(), &order);
    assert_eq!(by_admin.status, 201, "{}", by_admin.text());
    let by_admin = format!("Authorization: Bearer {}\r\n", by_admin.json()["secret"].as_str().unwrap());
    let by_hand = gate.token_with("wiki-svc", &["--scope", "introspect"]);
    let by_page = mint(&gate.sign_in("root").sent_by_page(), &order).json();
    let by_page = format!("Authorization: Bearer {}\r\n", by_page["secret"].as_str().unwrap());
    for granted in [&by_admin, &by_hand.header(), &by_page] {
        assert_eq!(ask(granted), 200);
        let told = gate.ask("GET /api/whoami", granted, &Value::Null).json();
        assert_eq!(told["role"], "user");
        assert!(told["credential"]["scopes"].as_array().unwrap().contains(&json!("introspect")), "{told}");
    }

    // Nobody grants themselves, and what was granted is handed on to nobody.
    let login = gate.sign_in("wiki-svc");
    assert_eq!(ask(&login.bearer()), 403, "a sign-in has what its user's role has");
    for caller in [&login.bearer(), &by_admin] {
        let refused = mint(caller, &json!({ "name": "x", "scopes": ["introspect"] }));
        assert_eq!(refused.status, 403, "{}", refused.text());
        let usual = mint(caller, &json!({ "name": "x", "scopes": ["identity:read"] }));
        assert_eq!(usual.status, 201, "{}", usual.text());
        let worker =
            gate.ask("POST /api/agents/wiki-svc/tokens", caller, &json!({ "scopes": ["introspect"] }));
        assert_eq!(worker.status, 403, "{}", worker.text());
        let agent = json!({ "name": "asker", "scopes": ["introspect"] });
        assert_eq!(gate.ask("POST /api/agents", caller, &agent).status, 403);
    }
    assert_eq!(
        mint(&admin.header(), &json!({ "name": "x", "username": "ada", "scopes": ["admin"] })).status,
        403
    );
    let all = ["token", "create", "--username", "ada", "--scope", "admin"];
    assert!(gate.fallgate(&all).refused(1).contains("admin"));

    // What an admin had as an admin goes with the role, whoever minted it.
    gate.admin("eve");
    let own = mint(&gate.sign_in("eve").bearer(), &json!({ "name": "x", "scopes": ["introspect"] }));
    let own = format!("Authorization: Bearer {}\r\n", own.json()["secret"].as_str().unwrap());
    let order = json!({ "name": "x", "username": "eve", "scopes": ["introspect"] });
    let others = mint(&admin.header(), &order).json();
    let others = format!("Authorization: Bearer {}\r\n", others["secret"].as_str().unwrap());
    let by_hand = gate.token_with("eve", &["--scope", "introspect"]).header();
    for (role, status) in [("admin", 200), ("user", 403), ("admin", 200)] {
        gate.fallgate(&["user", "set-role", "eve", role]).ok();
        for token in [&own, &others, &by_hand] {
            assert_eq!(ask(token), status, "as {role}");
        }
    }
    // A grant is none of the role's, and stays what it was.
    for role in ["admin", "user"] {
        gate.fallgate(&["user", "set-role", "wiki-svc", role]).ok();
        assert_eq!(ask(&by_admin), 200, "as {role}");
    }

    // Whoever granted it takes it back, no admin any more.
    gate.fallgate(&["user", "set-role", "eve", "admin"]).ok();
    let eves = gate.token_with("eve", &["--scope", "admin", "--scope", "tokens:write"]);
    let granted =
        mint(&eves.header(), &json!({ "name": "x", "username": "ada", "scopes": ["introspect"] })).json();
    gate.fallgate(&["user", "set-role", "eve", "user"]).ok();
    let id = granted["id"].as_str().unwrap();
    let granted = format!("Authorization: Bearer {}\r\n", granted["secret"].as_str().unwrap());
    assert_eq!(ask(&granted), 200);
    assert_eq!(gate.ask(&format!("DELETE /api/tokens/{id}"), &eves.header(), &Value::Null).status, 204);
    assert_eq!(ask(&granted), 401);
}

#[test]
fn an_upstream_hears_of_what_is_good_however_much_rubbish_others_send_it() {
    let gate = Gate::start();
    gate.admin("root");
    let service = gate.token_with("root", &["--scope", "introspect"]).header();
    let ask = |secret: &str| form(&gate, "/oauth/introspect", &service, &[("token", secret)]);
    let mut last = ask("x");
    for _ in 0..5_000 {
        if last.status == 429 {
            break;
        }
        last = ask("x");
    }
    assert_eq!((last.status, error_of(&last)), (429, "temporarily_unavailable".to_owned()));
    assert!(last.header("retry-after").is_some());
    let good = gate.token("root");
    for _ in 0..20 {
        assert_eq!(ask(&good.secret).json()["active"], true);
    }
}

#[test]
fn r37_whoever_holds_a_credential_may_end_it_in_oauths_words_and_learns_nothing() {
    let gate = Gate::start();
    gate.user("ada");
    let (token, login) = (gate.token("ada"), gate.sign_in("ada"));
    let revoke = |secret: &str| {
        form(&gate, "/oauth/revoke", "", &[("token", secret), ("token_type_hint", "refresh_token")])
    };
    let stands = |secret: &str| {
        gate.ask("GET /api/whoami", &format!("Authorization: Bearer {secret}\r\n"), &Value::Null).status
            == 200
    };
    for secret in [token.secret.as_str(), &login.secret, &token.secret, "x", "fgt_", "eyJ.x.y"] {
        let answer = revoke(secret);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{secret}: {}", answer.text());
        assert!(!stands(secret), "{secret}");
    }
    assert_eq!(error_of(&form(&gate, "/oauth/revoke", "", &[])), "invalid_request");
    let json = gate.ask("POST /oauth/revoke", "", &json!({"token": "x"}));
    assert_eq!((json.status, error_of(&json)), (400, "invalid_request".to_owned()));
    let huge = form(&gate, "/oauth/revoke", "", &[("token", &"x".repeat(70_000))]);
    assert_eq!((huge.status, error_of(&huge)), (413, "invalid_request".to_owned()));
    let wrong_method = gate.ask("GET /oauth/revoke", "", &Value::Null);
    assert_eq!((wrong_method.status, error_of(&wrong_method)), (405, "invalid_request".to_owned()));

    // Too many tries are told so, and a real secret is ended all the same.
    let last = gate.token("ada");
    let mut answer = revoke("x");
    for _ in 0..500 {
        if answer.status == 429 {
            break;
        }
        answer = revoke("x");
    }
    assert_eq!((answer.status, error_of(&answer)), (429, "temporarily_unavailable".to_owned()));
    revoke(&last.secret);
    assert!(!stands(&last.secret));
}

#[test]
fn what_is_told_of_oauth_is_what_there_is() {
    let gate = Gate::configured(&format!("[server]\npublic_url = \"{ISSUER}\"\n"));
    gate.user("ada");
    let told = gate.ask("GET /.well-known/oauth-authorization-server", "", &Value::Null);
    assert_eq!((told.status, told.header("content-type")), (200, Some("application/json")));
    let told = told.json();
    assert_eq!(told["issuer"], ISSUER);
    assert_eq!(told["response_types_supported"], json!([]));
    let mut endpoints = 0;
    for (name, value) in told.as_object().unwrap() {
        let Some(path) =
            value.as_str().and_then(|value| value.strip_prefix(ISSUER)).filter(|path| !path.is_empty())
        else {
            continue;
        };
        endpoints += 1;
        let answer = if name == "jwks_uri" {
            gate.ask(&format!("GET {path}"), "", &Value::Null)
        } else {
            form(&gate, path, "", &[])
        };
        assert!([200, 400, 401].contains(&answer.status), "{name}: {}", answer.text());
    }
    assert_eq!(endpoints, 5, "{told}");
    let grants = told["grant_types_supported"].as_array().unwrap();
    for (grant, is_there) in grants.iter().map(|grant| (grant.as_str().unwrap(), true)).chain([
        ("authorization_code", false),
        ("refresh_token", false),
        ("client_credentials", false),
    ]) {
        let error = error_of(&form(&gate, "/oauth/token", "", &[("grant_type", grant)]));
        assert_eq!(error != "unsupported_grant_type", is_there, "{grant}: {error}");
    }
}

#[test]
fn r41_an_upstream_is_told_where_a_worker_token_may_be_used_and_as_which_agent() {
    let gate = Gate::start();
    gate.admin("root");
    let service = gate.token_with("root", &["--scope", "introspect"]).header();
    let ask = |secret: &str| form(&gate, "/oauth/introspect", &service, &[("token", secret)]).json();
    let worker = gate.worker("ada", &["routes:use"], &["route:notes", "route:wiki"]);
    let told = ask(&worker.token.secret);
    assert_eq!((&told["active"], &told["kind"]), (&json!(true), &json!("worker")));
    assert_eq!(told["aud"], json!(["route:notes", "route:wiki"]), "whoever is neither does not take it");
    assert_eq!(
        (&told["agent"], &told["username"], &told["jti"]),
        (&json!("ada"), &json!("ada"), &json!(worker.token.id))
    );
    let other = ask(&worker.minter.secret);
    assert_eq!((other.get("aud"), other.get("agent")), (None, None), "{other}");
    gate.revoke_worker(&worker.token);
    assert_eq!(ask(&worker.token.secret), json!({"active": false}));
    // RFC 7009 ends one, too.
    let another = gate.worker("ada", &["routes:use"], &["fallgate"]).token;
    assert_eq!(form(&gate, "/oauth/revoke", "", &[("token", &another.secret)]).status, 200);
    assert_eq!(ask(&another.secret), json!({"active": false}));
}
