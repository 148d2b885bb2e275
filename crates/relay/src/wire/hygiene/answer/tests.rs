use super::*;
use crate::wire::http1::{HeadLimits, Progress};

const PLAIN: Downward<'static> =
    Downward { client: Version::Http11, close: false, own_origin: false, rewrite: None };

fn parse(text: &str, to_head: bool) -> AnswerHead {
    let mut head = AnswerHead::default();
    assert_eq!(
        head.parse(text.as_bytes(), &HeadLimits::default(), to_head),
        Ok(Progress::Complete),
        "{text}"
    );
    head
}

fn write_for(text: &str, down: &Downward<'_>, to_head: bool) -> (String, BodyKind) {
    let head = parse(text, to_head);
    let mut out = Vec::new();
    let body = write_answer(&mut out, &head, text.as_bytes(), down);
    let out = String::from_utf8(out).unwrap();
    let again = parse(&out, to_head);
    assert_eq!(again.len(), out.len());
    assert_eq!(again.body(), body, "the client reads what we mean: {out}");
    (out, body)
}

/// What is left of these fields.
fn passed(fields: &str, down: &Downward<'_>) -> String {
    let (out, _) = write_for(&format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\n\r\n"), down, false);
    let rest = out.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap();
    rest.strip_suffix("Content-Length: 1\r\n\r\n").unwrap().to_owned()
}

#[test]
fn an_answer_goes_down_in_order() {
    let (out, body) = write_for(
        "HTTP/1.0 404 Not Here\r\nDate: x\r\nX-A: 1\r\nSet-Cookie: a=b\r\nX-A: 2\r\nContent-Length: 5\r\n\r\n",
        &PLAIN,
        false,
    );
    assert_eq!(
        out,
        "HTTP/1.1 404 Not Here\r\nDate: x\r\nX-A: 1\r\nSet-Cookie: a=b\r\nX-A: 2\r\nContent-Length: 5\r\n\r\n"
    );
    assert_eq!(body, BodyKind::Length(5));
}

#[test]
fn r64_answers_are_framed_anew() {
    use BodyKind::*;
    let old = Downward { client: Version::Http10, ..PLAIN };
    let close = Downward { close: true, ..PLAIN };
    for (text, down, to_head, framing, body) in [
        ("200 OK\r\nContent-Length: 5\r\n", &PLAIN, false, "Content-Length: 5\r\n", Length(5)),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n",
            &PLAIN,
            false,
            "Transfer-Encoding: chunked\r\n",
            Chunked,
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, Set-Cookie\r\n",
            &PLAIN,
            false,
            "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n",
            Chunked,
        ),
        ("200 OK\r\n", &PLAIN, false, "Transfer-Encoding: chunked\r\n", Chunked),
        ("200 OK\r\n", &close, false, "Transfer-Encoding: chunked\r\nConnection: close\r\n", Chunked),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", &old, false, "Connection: close\r\n", UntilClose),
        ("200 OK\r\n", &old, false, "Connection: close\r\n", UntilClose),
        (
            "200 OK\r\nContent-Length: 5\r\n",
            &old,
            false,
            "Content-Length: 5\r\nConnection: keep-alive\r\n",
            Length(5),
        ),
        (
            "200 OK\r\nContent-Length: 5\r\n",
            &close,
            false,
            "Content-Length: 5\r\nConnection: close\r\n",
            Length(5),
        ),
        ("200 OK\r\nContent-Length: 5\r\n", &PLAIN, true, "Content-Length: 5\r\n", Empty),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", &PLAIN, true, "Transfer-Encoding: chunked\r\n", Empty),
        ("200 OK\r\n", &PLAIN, true, "", Empty),
        ("304 OK\r\nContent-Length: 5\r\n", &PLAIN, false, "Content-Length: 5\r\n", Empty),
        ("304 OK\r\n", &PLAIN, false, "", Empty),
        ("204 OK\r\nContent-Length: 5\r\n", &PLAIN, false, "", Empty),
        ("204 OK\r\nTransfer-Encoding: chunked\r\n", &PLAIN, false, "", Empty),
    ] {
        let status = text.get(..6).unwrap();
        let written = write_for(&format!("HTTP/1.1 {text}\r\n"), down, to_head);
        assert_eq!(written, (format!("HTTP/1.1 {status}\r\n{framing}\r\n"), body), "{text}");
    }
}

#[test]
fn r16_hop_by_hop_fields_of_an_answer_end_here() {
    for fields in [
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        "Connection: X-A, close\r\nX-A: 1\r\n",
        "Upgrade: h2c\r\nConnection: upgrade\r\n",
        "Proxy-Authenticate: Basic\r\n",
        "Trailer: X-A\r\n",
        "TE: trailers\r\n",
    ] {
        assert_eq!(passed(fields, &PLAIN), "", "{fields}");
    }
}

#[test]
fn r19_an_upstream_cannot_set_our_cookies() {
    for (value, passes) in [
        ("a=b; Path=/", true),
        ("a=fallgate", true),
        ("fallgate2=x", true),
        ("Fallgate=x", true),
        ("fallgate=x; Path=/", false),
        ("__Host-fallgate=x; Secure; PATH=/", false),
        ("  fallgate  =x", false),
        ("\tfallgate\t=x", false),
        ("fallgate=", false),
        ("fallgate", false),
        ("fallgate;a=b", false),
        ("=fallgate=x", false),
        ("=fallgate", false),
        ("= fallgate = x; a", false),
    ] {
        for name in ["Set-Cookie", "set-cookie"] {
            let field = format!("{name}: {value}\r\n");
            assert_eq!(!passed(&field, &PLAIN).is_empty(), passes, "{field}");
        }
    }
}

#[test]
fn our_own_origin_is_not_the_upstreams_to_command() {
    let fields = "Clear-Site-Data: \"*\"\r\nservice-worker-allowed: /\r\nStrict-Transport-Security: max-age=9\r\n\
        alt-svc: h3=\":1\"\r\nNEL: {}\r\nReport-To: {}\r\nReporting-Endpoints: a=\"/b\"\r\nPublic-Key-Pins: x\r\n\
        Public-Key-Pins-Report-Only: x\r\nExpect-CT: max-age=9\r\n";
    assert_eq!(passed(fields, &PLAIN), fields);
    assert_eq!(passed(fields, &Downward { own_origin: true, ..PLAIN }), "");
}

#[test]
fn addresses_of_the_upstream_become_addresses_of_the_route() {
    let up = "http://127.0.0.1:3030";
    let path_route =
        Rewrite { upstream_origin: up, told: Told::Public(b"box.example:8443"), prefix: Some("/app") };
    let renamed = Rewrite { told: Told::Internal("inner.example"), ..path_route };
    let host_route = Rewrite { prefix: None, ..path_route };
    let renamed_host = Rewrite { prefix: None, ..renamed };
    for (rewrite, value, wanted) in [
        (path_route, "/", "/app/"),
        (path_route, "/login?next=/x", "/app/login?next=/x"),
        (path_route, "/app", "/app"),
        (path_route, "/app/x", "/app/x"),
        (path_route, "/app?x", "/app?x"),
        (path_route, "/apple", "/app/apple"),
        (path_route, "//elsewhere.example/", "//elsewhere.example/"),
        (path_route, "login", "login"),
        (path_route, "../login", "../login"),
        (path_route, "?a", "?a"),
        (path_route, "", ""),
        (path_route, "http://127.0.0.1:3030/x", "/app/x"),
        (path_route, "HTTP://127.0.0.1:3030/x", "/app/x"),
        (path_route, "http://127.0.0.1:3030", "/app/"),
        (path_route, "http://127.0.0.1:3030?a", "/app?a"),
        (path_route, "http://127.0.0.1:3030/app/x", "/app/x"),
        (path_route, "http://127.0.0.1:30301/x", "http://127.0.0.1:30301/x"),
        (path_route, "http://127.0.0.1:3030@evil.example/", "http://127.0.0.1:3030@evil.example/"),
        (path_route, "http://127.0.0.1:3030.evil.example/", "http://127.0.0.1:3030.evil.example/"),
        (path_route, "https://127.0.0.1:3030/x", "https://127.0.0.1:3030/x"),
        (path_route, "https://elsewhere.example/x", "https://elsewhere.example/x"),
        (path_route, "http://box.example:8443/x", "http://box.example:8443/app/x"),
        (path_route, "https://BOX.example:8443//x", "https://BOX.example:8443/app//x"),
        (path_route, "https://box.example:8443/app/x", "https://box.example:8443/app/x"),
        (path_route, "https://box.example/x", "https://box.example/x"),
        (path_route, "ftp://box.example:8443/x", "ftp://box.example:8443/x"),
        (renamed, "http://inner.example/x?y", "/app/x?y"),
        (renamed, "https://inner.example/app/x", "/app/x"),
        (renamed, "http://box.example:8443/x", "http://box.example:8443/x"),
        (host_route, "/x", "/x"),
        (host_route, "https://box.example:8443/x", "https://box.example:8443/x"),
        (host_route, "http://127.0.0.1:3030/x", "/x"),
        (host_route, "http://127.0.0.1:3030", "/"),
        (host_route, "http://127.0.0.1:3030?a", "/?a"),
        (host_route, "http://127.0.0.1:3030//evil.example", "http://127.0.0.1:3030//evil.example"),
        (host_route, "http://127.0.0.1:3030/\\evil.example", "http://127.0.0.1:3030/\\evil.example"),
        (renamed_host, "http://inner.example/x", "/x"),
        (renamed_host, "http://inner.example:81/x", "http://inner.example:81/x"),
    ] {
        let down = Downward { rewrite: Some(rewrite), ..PLAIN };
        for name in ["Location", "content-location"] {
            let written = passed(&format!("{name}: {value}\r\n"), &down);
            assert_eq!(written, format!("{name}: {wanted}\r\n"), "{rewrite:?} {value}");
        }
    }
    assert_eq!(passed("Location: /x\r\n", &PLAIN), "Location: /x\r\n");
}

#[test]
fn r65_a_101_names_the_protocol_and_nothing_of_the_hop() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, X-A\r\nX-A: 1\r\nSec-WebSocket-Accept: s3p\r\nSet-Cookie: fallgate=x\r\nContent-Length: 0\r\n\r\n";
    let mut out = Vec::new();
    write_switching(&mut out, &parse(text, false), text.as_bytes(), &PLAIN);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3p\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    );
}

#[test]
fn a_reason_outside_ascii_is_left_out() {
    let text = "HTTP/1.1 200 caf\u{e9}\r\nContent-Length: 0\r\n\r\n";
    let (out, _) = write_for(text, &PLAIN, false);
    assert_eq!(out, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
}
