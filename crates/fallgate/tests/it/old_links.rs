//! Addresses of llmux with a token in them, opened in a browser.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::llmux::{LLMUX_PASSPHRASE, Llmux, anonymous_token, bound_token};
use crate::support::{Client, Gate, Home, Response, SignIn, Upstream, wait_for};

/// What a browser says when somebody opens an address.
const OPENED: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nAccept: text/html,*/*\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n";

fn open(gate: &Gate, target: &str, headers: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{OPENED}{headers}\r\n");
    Client::exchange(gate.address(), request)
}

fn whoami(gate: &Gate, cookie: &str) -> Response {
    let request = format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nCookie: fallgate={cookie}\r\n\r\n");
    Client::exchange(gate.address(), request)
}

/// The secret in the cookie that an answer sets.
#[track_caller]
fn cookie(answer: &Response) -> String {
    let cookie = answer.header("set-cookie").unwrap();
    let (secret, attributes) = cookie.strip_prefix("fallgate=").unwrap().split_once("; ").unwrap();
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{attributes}");
    assert!(secret.starts_with("fgl_"), "not a sign-in of ours");
    secret.to_owned()
}

/// It asks to sign in, to come back there.
#[track_caller]
fn asks_to_sign_in(answer: &Response, back_to: &str) {
    let location = format!("/login?returnTo={back_to}");
    assert_eq!((answer.status, answer.header("location")), (303, Some(location.as_str())));
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn r23_r61_a_page_opened_with_a_good_old_token_is_opened_again_without_it() {
    let upstream = Upstream::echo();
    let config = format!(
        "[[route]]\nname = \"old\"\npath = \"/old\"\nupstream = {:?}\nallow = [\"kind:legacy\"]\n",
        upstream.url()
    );
    let home = Home::new();
    home.user("ada");
    let gate = Gate::started(home, &config, |command| {
        command.env("FALLGATE_LOG", "trace").stdout(Stdio::null());
    });
    let old = gate.legacy_token();
    for (target, clean) in [
        ("/?token=SECRET", "/"),
        ("/s/7?x=1&token=SECRET&y=%2F2", "/s/7?x=1&y=%2F2"),
        ("/tokens?token=SECRET&", "/tokens"),
    ] {
        let answer = open(&gate, &target.replace("SECRET", &old.secret), "");
        assert_eq!((answer.status, answer.header("location")), (303, Some(clean)), "{target}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(!format!("{answer:?}").contains(&old.secret[4..]));
        let who = whoami(&gate, &cookie(&answer)).json();
        assert_eq!((&who["username"], &who["credential"]["kind"]), (&json!(null), &json!("login")));
        assert_eq!(who["credential"]["name"], "Firefox on Linux");
        assert_eq!(
            who["credential"]["scopes"],
            json!(["routes:use", "sessions:read", "sessions:attach", "sessions:write"])
        );
    }
    // A browser of before 2023 says only what it wants to see.
    let request =
        format!("GET /?token={} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*\r\n\r\n", old.secret);
    let login = cookie(&Client::exchange(gate.address(), request));
    // By its secret, since a path route takes no cookie: what it may use is what the old token may.
    let bearer = format!("GET /old/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {login}\r\n\r\n");
    assert_eq!(Client::exchange(gate.address(), &bearer).status, 200);
    // It hangs on the old token.
    gate.fallgate(&["token", "revoke", &old.id]).ok();
    assert_eq!(whoami(&gate, &login).status, 401);
    assert_eq!(Client::exchange(gate.address(), &bearer).status, 401);
    asks_to_sign_in(&open(&gate, &format!("/?token={}", old.secret), ""), "/");
    let log = wait_for("the refusal in the log", || Some(gate.log()).filter(|log| log.contains("DEBUG")));
    for secret in [&old.secret[4..], &login] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn whoever_is_somebody_already_or_brings_a_bad_token_is_asked_to_sign_in() {
    let gate = Gate::start();
    gate.user("ada");
    let old = gate.legacy_token().secret;
    let login = gate.sign_in("ada");
    let page = format!("/s/7?x=%26&token={old}");
    for cookie in
        [login.cookie(), "Cookie: fallgate=x\r\n".to_owned(), "Cookie: a=b; fallgate=\r\n".to_owned()]
    {
        asks_to_sign_in(&open(&gate, &page, &cookie), "/s/7%3Fx%3D%2526");
    }
    assert_eq!(whoami(&gate, &login.secret).status, 200, "it was ended");
    for (token, back_to) in [
        (anonymous_token('Z'), "/"),
        (format!("{old}L"), "/"),
        ("sas_".to_owned(), "/"),
        (format!("sas_{}", "x".repeat(5_000)), "/"),
        (format!("{old}&token={old}"), "/"),
        (format!("{}.{}", &old[..20], &old[4..]), "/"),
    ] {
        asks_to_sign_in(&open(&gate, &format!("/?token={token}"), ""), back_to);
    }
    // A cookie of another name is none of ours.
    assert_eq!(
        open(&gate, &page, "Cookie: llmux=1; __Host-fallgate=x\r\n").header("location"),
        Some("/s/7?x=%26")
    );
}

#[test]
fn r23_no_new_credential_and_no_other_request_is_taken_by_its_address() {
    let gate = Gate::start();
    let new = gate.token("ada").secret;
    let login = gate.sign_in("ada").secret;
    let (old, internal) = (gate.legacy_token().secret, gate.internal_token());
    for secret in [&new, &login, &internal] {
        let answer = open(&gate, &format!("/?token={secret}"), "");
        assert_eq!((answer.status, answer.header("set-cookie")), (303, None));
        let login = answer.header("location").unwrap();
        assert!(!login.contains(secret.as_str()), "it stands in {login}");
    }
    for path in ["/api/whoami", "/api", "/api/nothing"] {
        assert_eq!(open(&gate, &format!("{path}?token={old}"), "").status, 401, "{path}");
    }
    assert_eq!(open(&gate, &format!("/health?token={old}"), "").status, 200);
    let others = [
        ("POST", "navigate", 303),
        ("HEAD", "navigate", 303),
        ("GET", "cors", 401),
        ("GET", "websocket", 401),
    ];
    for (method, mode, status) in others {
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "{method} /?token={old} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: {mode}\r\n\
             Accept: text/html\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = if method == "HEAD" { client.response_to_head() } else { client.response() };
        assert_eq!((answer.status, answer.header("set-cookie")), (status, None), "{method} {mode}");
    }
    // What a program sends on purpose counts, and not the address.
    let header = format!("Authorization: Bearer {}\r\n", anonymous_token('Z'));
    asks_to_sign_in(&open(&gate, &format!("/?token={old}"), &header), "/");
}

#[test]
fn a_bound_token_in_an_address_signs_its_owner_in_with_no_more_than_the_token_has() {
    let gate = Gate::start();
    let (_, bound, _) = Llmux::peopled(&gate);
    gate.import_llmux(&[]).ok();
    assert_eq!(bound, bound_token('s'));
    let login = cookie(&open(&gate, &format!("/?token={bound}"), ""));
    let who = whoami(&gate, &login).json();
    assert_eq!((&who["username"], &who["role"]), (&json!("ada"), &json!("admin")));
    let scopes = who["credential"]["scopes"].as_array().unwrap();
    assert!(!scopes.iter().any(|scope| scope == "admin" || scope == "tokens:write"), "{scopes:?}");
    // It is no sign-in by passphrase: what only that may is not for it, though its owner may.
    let other = SignIn::of(&gate.try_sign_in("ada", LLMUX_PASSPHRASE));
    let bearer = format!("Authorization: Bearer {login}\r\n");
    for (line, body) in [
        ("GET /api/logins", Value::Null),
        ("DELETE /api/logins", Value::Null),
        (&*format!("DELETE /api/logins/{}", other.id), Value::Null),
        ("PATCH /api/account", json!({"display_name": "Somebody"})),
        ("POST /api/account/passphrase", json!({"current": LLMUX_PASSPHRASE, "new": "a long enough one"})),
    ] {
        let refused = gate.ask(line, &bearer, &body);
        assert_eq!(refused.status, 403, "{line}: {}", refused.text());
        assert!(refused.text().contains("signed in by passphrase"), "{line}: {}", refused.text());
    }
    assert_eq!(whoami(&gate, &other.secret).status, 200);
    gate.fallgate(&["user", "disable", "bob"]).ok();
    assert_eq!(whoami(&gate, &login).status, 200);
    gate.admin("root");
    gate.fallgate(&["user", "disable", "ada"]).ok();
    assert_eq!(whoami(&gate, &login).status, 401);
    asks_to_sign_in(&open(&gate, &format!("/?token={bound}"), ""), "/");
}

#[test]
fn r20_a_sign_in_by_an_old_address_ends_when_it_signs_out_whether_somebody_owns_it_or_not() {
    let gate = Gate::start();
    let (_, bound, _) = Llmux::peopled(&gate);
    gate.import_llmux(&[]).ok();
    let anonymous = gate.legacy_token().secret;
    for old in [bound, anonymous] {
        let login = cookie(&open(&gate, &format!("/?token={old}"), ""));
        let out = |headers: &str| gate.ask("POST /api/logout", headers, &Value::Null);
        let sent = format!("Cookie: fallgate={login}\r\n");
        assert_eq!(out(&sent).status, 403, "not from a page of ours");
        assert_eq!(whoami(&gate, &login).status, 200);
        let done = out(&format!("{sent}Sec-Fetch-Site: same-origin\r\n"));
        assert_eq!(done.status, 204, "{}", done.text());
        assert!(done.header("set-cookie").unwrap().contains("Max-Age=0"));
        assert_eq!(whoami(&gate, &login).status, 401);
        // The old token stands.
        cookie(&open(&gate, &format!("/?token={old}"), ""));
    }
    gate.fallgate(&["audit", "verify"]).ok();
}
