//! Whatever is too long, too deep or too many is refused in so many words, and the gate goes on.

use crate::support::{Client, Gate, Response};

/// What it is, the request, and what it may be answered.
type Case = (&'static str, String, &'static [u16]);

fn ask(gate: &Gate, request: &str) -> Response {
    Client::exchange(gate.address(), request)
}

fn head(line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

fn bodies(admin: &str) -> Vec<Case> {
    let posted = |path: &str, body: &str| {
        let length = body.len();
        let more = format!("{admin}Content-Type: application/json\r\nContent-Length: {length}\r\n");
        head(&format!("POST {path}"), &more) + body
    };
    let deep = |open: &str, close: &str| {
        let depth = 30_000 / open.len();
        format!("{{\"name\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    let wide = format!("{{\"name\":\"x\",\"scopes\":[{}]}}", vec!["\"cut\""; 10_000].join(","));
    let many_fields: String =
        (0..4_000).fold("{".to_owned(), |body, n| body + &format!("\"f{n}\":0,")) + "\"z\":0}";
    let routes: Vec<_> = (0..65).map(|n| format!("\"route:r{n}\"")).collect();
    vec![
        ("lists in lists", posted("/api/tokens", &deep("[", "]")), &[400]),
        ("objects in objects", posted("/api/tokens", &deep("{\"a\":", "}")), &[400]),
        ("a deep secret", posted("/api/tokens/revoke", &deep("[", "]").replace("name", "token")), &[400]),
        (
            "a number of 60,000 digits",
            posted("/api/tokens", &format!("{{\"name\":\"x\",\"expires_in\":1{}}}", "0".repeat(60_000))),
            &[400],
        ),
        ("a huge exponent", posted("/api/tokens", "{\"name\":\"x\",\"expires_in\":1e999999999}"), &[400]),
        (
            "a name of 60,000 letters",
            posted("/api/tokens", &format!("{{\"name\":\"{}\"}}", "x".repeat(60_000))),
            &[400],
        ),
        (
            "a passphrase of 60,000 bytes",
            posted(
                "/api/users",
                &format!("{{\"username\":\"u\",\"passphrase\":\"{}\"}}", "x1 ".repeat(20_000)),
            ),
            &[400],
        ),
        ("10,000 times one scope", posted("/api/tokens", &wide), &[201, 413]),
        (
            "65 routes",
            posted("/api/tokens", &format!("{{\"name\":\"x\",\"scopes\":[{}]}}", routes.join(","))),
            &[400],
        ),
        ("4,000 fields", posted("/api/tokens", &many_fields), &[400]),
        ("a field twice", posted("/api/tokens", "{\"name\":\"x\",\"name\":\"y\"}"), &[400]),
        ("more than 64 KiB", posted("/api/tokens", &" ".repeat(65_537)), &[413]),
    ]
}

fn heads(admin: &str) -> Vec<Case> {
    let bare = head;
    let head = |line: &str, more: &str| head(line, &format!("{admin}{more}"));
    vec![
        (
            "a length beyond counting",
            head("POST /api/tokens", "Content-Length: 99999999999999999999\r\n"),
            &[400],
        ),
        ("an id of 4,000 letters", head(&format!("DELETE /api/tokens/{}", "a".repeat(4_000)), ""), &[404]),
        ("a username of 4,000 letters", head(&format!("GET /api/users/{}", "a".repeat(4_000)), ""), &[404]),
        ("1,000 parts of a path", head(&format!("GET /api{}", "/a".repeat(1_000)), ""), &[404]),
        (
            "a target of 100 KiB",
            head(&format!("GET /api/users/{}", "a".repeat(102_400)), ""),
            &[400, 414, 431],
        ),
        ("a query of 6 KiB", head(&format!("GET /api/audit?user={}", "a".repeat(6_000)), ""), &[200]),
        (
            "1,000 times one parameter",
            head(&format!("GET /api/audit?{}", "limit=1&".repeat(1_000)), ""),
            &[400],
        ),
        ("a parameter beyond counting", head("GET /api/audit?before=99999999999999999999", ""), &[400]),
        ("a negative parameter", head("GET /api/audit?limit=-1", ""), &[400]),
        (
            "a header of 100 KiB",
            head("GET /api/whoami", &format!("X-Long: {}\r\n", "a".repeat(102_400))),
            &[431],
        ),
        ("a name of 100 KiB", head("GET /api/whoami", &format!("{}: x\r\n", "a".repeat(102_400))), &[431]),
        ("1,000 headers", head("GET /api/whoami", &"X-Many: x\r\n".repeat(1_000)), &[431]),
        (
            "1,000 cookies",
            head("GET /api/whoami", &format!("Cookie: {}\r\n", "fallgate=x; ".repeat(1_000))),
            &[200],
        ),
        (
            "60 KiB of Basic",
            bare("GET /api/whoami", &format!("Authorization: Basic {}\r\n", "QUFB".repeat(15_000))),
            &[401],
        ),
        (
            "60 KiB of Bearer",
            bare("GET /api/whoami", &format!("Authorization: Bearer {}\r\n", "a".repeat(60_000))),
            &[401],
        ),
        (
            "a Host of 60 KiB",
            format!("GET /api/whoami HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(60_000)),
            &[400, 421],
        ),
    ]
}

#[test]
fn r59_what_is_too_deep_too_long_or_too_many_is_a_clean_refusal() {
    let gate = Gate::start();
    gate.admin("root");
    let admin = gate.token_with("root", &["--scope", "admin"]).header();
    for (what, request, statuses) in bodies(&admin).into_iter().chain(heads(&admin)) {
        let answer = ask(&gate, &request);
        assert!(statuses.contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
            assert_eq!(answer.json()["status"], answer.status, "{what}");
            assert!(answer.body.len() < 4_096, "{what} is answered with {} bytes", answer.body.len());
        }
    }
    assert_eq!(ask(&gate, &head("GET /api/whoami", &admin)).status, 200);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}
