//! In which order a request is refused, what strangers learn of what there is, and that a connection stays in step.

use fallgate_domain::token::TokenKind;

use super::ways::{bearer, unknown};
use crate::support::{Client, Gate, Upstream};

#[test]
fn an_unknown_address_and_a_wrong_method_say_nothing_to_strangers() {
    let gate = Gate::start();
    let token = bearer(&gate.token("ada").secret);
    let ask = |line: &str, headers: &str| {
        Client::exchange(gate.address(), format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
    };
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/nothing",
        "/api/tokens/",
        "/health/",
        "/health/x",
        "/.fallgate/x",
        "/login/x",
        "/api/tokens/a/b",
    ] {
        assert_eq!(ask(&format!("GET {path}"), "").status, 401, "{path}");
        assert_eq!(ask(&format!("GET {path}"), &bearer(&unknown(TokenKind::Token))).status, 401, "{path}");
        assert_eq!(ask(&format!("GET {path}"), &token).status, 404, "{path}");
    }
    for (line, allowed) in [
        ("PUT /api/tokens", "GET,HEAD,POST,DELETE"),
        ("POST /api/whoami", "GET,HEAD"),
        ("GET /api/tokens/x", "PATCH,DELETE"),
        ("PUT /api/users/ada", "GET,HEAD,PATCH,DELETE"),
    ] {
        let stranger = ask(line, "");
        assert_eq!((stranger.status, stranger.header("allow")), (401, None), "{line}");
        let known = ask(line, &token);
        assert_eq!(known.status, 405, "{line}");
        assert_eq!(
            known.header("allow").map(|allow| allow.replace(' ', "")).as_deref(),
            Some(allowed),
            "{line}"
        );
        assert_eq!(known.header("content-type"), Some("application/problem+json"));
    }
    for line in ["POST /health", "DELETE /api/version", "OPTIONS /health"] {
        for headers in ["", &bearer(&unknown(TokenKind::Token)), &token] {
            let answer = ask(line, headers);
            assert_eq!(answer.status, 405, "{line}");
            assert_eq!(
                answer.header("allow").map(|allow| allow.replace(' ', "")).as_deref(),
                Some("GET,HEAD"),
                "{line}"
            );
        }
    }
}

/// Each request breaks two neighbouring rules; the status is that of the first.
#[test]
fn r8_refusals_come_in_the_order_that_leaks_nothing() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let right =
        bearer(&gate.token_with("ada", &["--scope", "tokens:write", "--scope", "identity:read"]).secret);
    let reader = bearer(&gate.token_with("ada", &["--scope", "identity:read"]).secret);
    let bad = bearer(&unknown(TokenKind::Token));
    let json = "Content-Type: application/json\r\n";
    let huge = "Content-Length: 65537\r\n";
    let cases = [
        (
            "framing before host",
            format!("GET /x HTTP/1.1\r\nHost: elsewhere.example\r\nX Y: z\r\n{right}\r\n"),
            400,
        ),
        ("host before path", format!("GET /a%2fb HTTP/1.1\r\nHost: elsewhere.example\r\n{right}\r\n"), 421),
        (
            "host before credential",
            format!("GET /app/x HTTP/1.1\r\nHost: elsewhere.example\r\n{bad}\r\n"),
            421,
        ),
        ("path before credential", format!("GET /app/a%2fb HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"), 400),
        (
            "path before credential, own door",
            "GET /api/../api HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        (
            "credential before unknown address",
            format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        (
            "unknown address before method",
            format!("BREW /nothing HTTP/1.1\r\nHost: localhost\r\n{right}\r\n"),
            404,
        ),
        (
            "credential before method",
            format!("PUT /api/tokens HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        ("method before scope", format!("PUT /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}\r\n"), 405),
        (
            "credential before scope",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{bad}{json}{huge}\r\n"),
            401,
        ),
        (
            "scope before size",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}{json}{huge}\r\n"),
            403,
        ),
        (
            "scope before media type",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}Content-Length: 1\r\n\r\n{{"),
            403,
        ),
        (
            "size before media type",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}{huge}\r\n"),
            413,
        ),
        (
            "media type before content",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}Content-Length: 1\r\n\r\n{{"),
            415,
        ),
        (
            "content",
            format!(
                "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}{json}Content-Length: 1\r\n\r\n{{"
            ),
            400,
        ),
        (
            "credential before scope, route",
            format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        ("scope, route", format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{reader}\r\n"), 403),
    ];
    for (name, request, status) in cases {
        let answer = Client::exchange(gate.address(), request);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert_eq!(upstream.bytes(), Vec::<Vec<u8>>::new());
}

#[test]
fn health_answers_under_any_host_and_nothing_else_does() {
    let gate = Gate::start();
    let ask = |path: &str, host: &str| {
        Client::exchange(gate.address(), format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    assert_eq!(ask("/health", "probe.example"), 200);
    for path in ["/health/", "/health/x", "/api/version", "/", "/%68ealth"] {
        assert_eq!(ask(path, "probe.example"), 421, "{path}");
    }
    assert_eq!(ask("/%68ealth", "localhost"), 200);
}

#[test]
fn our_doors_keep_a_connection_in_step_whatever_the_method_and_the_body() {
    let gate = Gate::start();
    gate.user("ada");
    let token =
        bearer(&gate.token_with("ada", &["--scope", "identity:read", "--scope", "tokens:write"]).secret);
    let mut client = Client::connect(gate.address());
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{token}{more}\r\n");
    for (path, status) in
        [("/health", 200), ("/api/whoami", 200), ("/api/tokens", 200), ("/nothing", 404), ("/a%2fb", 400)]
    {
        client.send(head(&format!("GET {path}"), ""));
        let whole = client.response();
        client.send(head(&format!("HEAD {path}"), ""));
        let answer = client.response_to_head();
        assert_eq!((answer.status, whole.status), (status, status), "HEAD {path}");
        let (kind, told) = (answer.header("content-type"), answer.header("content-length"));
        assert_eq!(kind, whole.header("content-type"), "HEAD {path}");
        assert!(told.is_none_or(|told| told == whole.body.len().to_string()), "HEAD {path} tells {told:?}");
    }
    let json = "Content-Type: application/json\r\n";
    client.send(
        head("POST /api/tokens", &format!("{json}Transfer-Encoding: chunked\r\n"))
            + "5\r\n{\"nam\r\n7\r\ne\":\"x\"}\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(client.response().status, 201);
    client.send(
        head("POST /api/tokens", &format!("{json}Content-Length: 12\r\n"))
            + "{\"name\":\"x\"}"
            + &head("GET /health", ""),
    );
    assert_eq!((client.response().status, client.response().status), (201, 200));
    // A body that the door does not read ends the connection, and is nobody's request.
    for framing in ["Content-Length: 30\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = Client::connect(gate.address());
        client.send(head("GET /health", framing) + &head("GET /api/whoami", ""));
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(client.rest(), b"");
    }
    // Bad chunks are a 400 that a door answers.
    let mut client = Client::connect(gate.address());
    client.send(
        head("POST /api/tokens", &format!("{json}Transfer-Encoding: chunked\r\n")) + "0x5\r\n{\"nam\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert_eq!(client.rest(), b"");
}
