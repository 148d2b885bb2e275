//! A gate behind a proxy that ends TLS and is trusted to say so: cookies are bound to https and to this host.

use serde_json::{Value, json};

use crate::support::{Gate, PASSPHRASE, Response};

const BY_HTTPS: &str = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";

fn gate(trusted: &str) -> Gate {
    let gate = Gate::configured(&format!("[server]\ntrusted_proxies = [{trusted}]\n"));
    gate.user("ada");
    gate
}

fn sign_in(gate: &Gate, headers: &str) -> Response {
    gate.ask("POST /api/login", headers, &json!({"username": "ada", "passphrase": PASSPHRASE}))
}

/// The name of the cookie that an answer sets, its value, and all behind it.
#[track_caller]
fn cookie(answer: &Response) -> (String, String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (name, rest) = answer.header("set-cookie").unwrap().split_once('=').unwrap();
    let (value, attributes) = rest.split_once("; ").unwrap();
    (name.to_owned(), value.to_owned(), attributes.to_owned())
}

#[test]
fn r19_where_a_trusted_proxy_ends_https_the_cookie_is_bound_to_the_host_and_no_other_is_taken() {
    let gate = gate("\"127.0.0.1\"");
    let (name, value, attributes) = cookie(&sign_in(&gate, BY_HTTPS));
    assert_eq!(name, "__Host-fallgate");
    assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure");
    let (plain, plain_value, _) = cookie(&sign_in(&gate, ""));
    assert_eq!(plain, "fallgate");
    let me = |headers: &str| gate.ask("GET /api/whoami", headers, &Value::Null).status;
    let host = format!("__Host-fallgate={value}");
    for (cookies, by_https, by_http) in [
        (host.clone(), 200, 401),
        (format!("fallgate={value}"), 401, 200),
        // Somebody on a name beside ours can set the plain one: it is not looked at.
        (format!("fallgate={plain_value}; {host}"), 200, 200),
        (format!("fallgate=tossed; {host}; fallgate=tossed"), 200, 401),
        (format!("{host}; {host}"), 401, 401),
        (format!("{host}; a=b; __Host-fallgate=tossed"), 401, 401),
        (format!("__host-fallgate={value}"), 401, 401),
        (format!("__Secure-fallgate={value}"), 401, 401),
    ] {
        let header = format!("Cookie: {cookies}\r\n");
        let masked = cookies.replace(&value, "V").replace(&plain_value, "P");
        assert_eq!(me(&(header.clone() + BY_HTTPS)), by_https, "{masked} by https");
        assert_eq!(me(&header), by_http, "{masked} by http");
    }
    let headers = format!("Cookie: {host}\r\nSec-Fetch-Site: same-origin\r\n{BY_HTTPS}");
    let out = gate.ask("POST /api/logout", &headers, &Value::Null);
    let cleared = "__Host-fallgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure";
    assert_eq!((out.status, out.header("set-cookie")), (204, Some(cleared)));
    assert_eq!(me(&(format!("Cookie: {host}\r\n") + BY_HTTPS)), 401);
}

#[test]
fn r19_whoever_is_not_trusted_cannot_say_that_it_was_https() {
    let gate = gate("\"10.0.0.0/8\"");
    let (name, value, attributes) = cookie(&sign_in(&gate, BY_HTTPS));
    assert_eq!(name, "fallgate");
    assert!(!attributes.contains("Secure"), "{attributes}");
    let headers = format!("Cookie: __Host-fallgate={value}\r\n{BY_HTTPS}");
    assert_eq!(gate.ask("GET /api/whoami", &headers, &Value::Null).status, 401);
}

#[test]
fn r21_behind_https_our_own_origin_is_an_https_one() {
    let gate = gate("\"127.0.0.1\"");
    for (origin, by_https, by_http) in [
        ("https://localhost", 200, 403),
        ("https://localhost:443", 200, 403),
        ("http://localhost", 403, 200),
        ("https://localhost:8443", 403, 403),
        ("https://localhost.evil.example", 403, 403),
        ("null", 403, 403),
    ] {
        for (way, wanted) in [(BY_HTTPS, by_https), ("", by_http)] {
            let origin = format!("Origin: {origin}\r\n");
            assert_eq!(sign_in(&gate, &format!("{way}{origin}")).status, wanted, "{origin} {way}");
            let (name, value, _) = cookie(&sign_in(&gate, way));
            let headers = format!("Cookie: {name}={value}\r\n{way}{origin}");
            let answer = gate.ask("DELETE /api/logins", &headers, &Value::Null);
            assert_eq!(answer.status, wanted, "{origin} {way}: {}", answer.text());
        }
    }
}
