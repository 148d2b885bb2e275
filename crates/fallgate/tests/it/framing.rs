//! What the wire takes, what it refuses, and what the upstream sees of it: byte by byte, through a route by path and a
//! route by host.

pub(crate) mod corpus;
pub(crate) mod talks;
mod upstreams;
mod witnesses;

use std::io::Write;

use fallgate_domain::path::CanonicalPath;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Client, Gate, Token, Upstream};

/// A gate with both kinds of route before one upstream that echoes.
pub(crate) struct Stage {
    pub(crate) gate: Gate,
    pub(crate) token: Token,
    upstream: Upstream,
}

/// One way in: the host, the prefix of the path, and the line that tells the upstream of the prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance {
    host: &'static str,
    prefix: &'static str,
    told: &'static str,
}

pub(crate) const BY_PATH: Entrance =
    Entrance { host: "localhost", prefix: "/app", told: "X-Forwarded-Prefix: /app\r\n" };
pub(crate) const BY_HOST: Entrance = Entrance { host: "site.example", prefix: "", told: "" };

impl Stage {
    pub(crate) fn new() -> Self {
        let upstream = Upstream::echo();
        let gate = gate(&upstream.url());
        let token = gate.token("ada");
        Self { gate, token, upstream }
    }

    /// Bytes of the corpus, with their placeholders filled in.
    pub(crate) fn fill(&self, entrance: Entrance, bytes: &[u8]) -> Vec<u8> {
        fill(&self.token, entrance, bytes)
    }

    fn client(&self) -> Client {
        Client::connect(self.gate.address())
    }

    /// A good request on this connection is answered: it is open, and in step.
    #[track_caller]
    fn still_works(&self, client: &mut Client, name: &str) {
        client.send(self.fill(BY_PATH, b"GET {p}/next HTTP/1.1\r\n{h}\r\n"));
        let answer = client.response();
        assert_eq!(answer.status, 200, "after {name}");
        assert!(answer.text().starts_with("GET /next "), "after {name}: {}", answer.text());
    }

    /// Not one byte has reached the upstream.
    #[track_caller]
    fn nothing_went_up(&self) {
        let bytes: Vec<_> = self.upstream.bytes().into_iter().filter(|bytes| !bytes.is_empty()).collect();
        assert!(
            bytes.is_empty(),
            "the upstream saw {:?}",
            bytes.iter().map(|bytes| bytes.escape_ascii().to_string()).collect::<Vec<_>>()
        );
    }
}

/// A gate with both kinds of route before that upstream.
fn gate(upstream: &str) -> Gate {
    Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\n\
         [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {upstream:?}\n"
    ))
}

/// Bytes of the corpus, with their placeholders filled in.
fn fill(token: &Token, entrance: Entrance, bytes: &[u8]) -> Vec<u8> {
    let Entrance { host, prefix, told } = entrance;
    let bearer = format!("Bearer {}", token.secret);
    let good = format!("Host: {host}\r\nAuthorization: {bearer}\r\n");
    let forwarded = format!(
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\n{told}"
    );
    let fillings =
        [("{p}", prefix), ("{host}", host), ("{h}", &good), ("{f}", &forwarded), ("{bearer}", &bearer)];
    fillings
        .iter()
        .fold(bytes.to_vec(), |bytes, (mark, text)| replace(&bytes, mark.as_bytes(), text.as_bytes()))
}

fn replace(bytes: &[u8], mark: &[u8], text: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        replaced.extend(&rest[..at]);
        replaced.extend(text);
        rest = &rest[at + mark.len()..];
    }
    replaced.extend(rest);
    replaced
}

fn both() -> [Entrance; 2] {
    [BY_PATH, BY_HOST]
}

#[test]
fn r12_r64_r65_a_head_that_is_not_beyond_doubt_is_refused_and_ends_the_connection() {
    let stage = Stage::new();
    for entrance in both() {
        for (name, request, status) in corpus::HEADS {
            let mut client = stage.client();
            client.send(stage.fill(entrance, request));
            let answer = client.response();
            assert_eq!(answer.status, *status, "{name} on {}: {}", entrance.host, answer.text());
            assert_eq!(answer.header("connection"), Some("close"), "{name}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
            assert_eq!(answer.header("allow").is_some(), *status == 405, "{name}");
            assert_eq!(client.rest(), b"", "{name}: something followed the last answer");
        }
    }
    stage.nothing_went_up();
}

#[test]
fn r4_a_path_that_can_be_read_in_two_ways_is_refused_and_the_connection_lives() {
    let stage = Stage::new();
    for entrance in both() {
        let mut client = stage.client();
        for path in corpus::PATHS {
            for query in ["", "?a=b"] {
                client.send(
                    stage.fill(entrance, format!("GET {{p}}{path}{query} HTTP/1.1\r\n{{h}}\r\n").as_bytes()),
                );
                let answer = client.response();
                assert_eq!(
                    (answer.status, answer.header("connection")),
                    (400, None),
                    "{path} on {}",
                    entrance.host
                );
            }
        }
        stage.nothing_went_up();
        // Its body would have to be read first, so this one ends the connection.
        client.send(stage.fill(entrance, b"POST {p}/a%2fb HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabc"));
        assert_eq!(client.response().header("connection"), Some("close"));
        assert_eq!(client.rest(), b"");
    }
    stage.nothing_went_up();
}

#[test]
fn r64_a_body_that_breaks_the_framing_is_refused_and_no_whole_request_goes_up() {
    let stage = Stage::new();
    for entrance in both() {
        for (name, body) in corpus::BODIES {
            let head = b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n";
            let mut client = stage.client();
            client.send(stage.fill(entrance, &[head.as_slice(), body].concat()));
            let answer = client.response();
            assert_eq!(
                (answer.status, answer.header("connection")),
                (400, Some("close")),
                "{name} on {}",
                entrance.host
            );
            assert_eq!(client.rest(), b"", "{name}");
        }
    }
    // The same when the head has long gone up.
    for (name, body) in corpus::BODIES {
        let mut client = stage.client();
        client.send(
            stage.fill(BY_PATH, b"POST {p}/late HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n1\r\nz\r\n"),
        );
        client.send(stage.fill(BY_PATH, body));
        assert_eq!(client.response().status, 400, "{name}");
        assert_eq!(client.rest(), b"", "{name}");
    }
    assert_eq!(stage.upstream.requests().len(), 0);
    for bytes in stage.upstream.bytes() {
        let bytes = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!bytes.contains("evil") && !bytes.contains("\r\n0\r\n"), "the upstream saw {bytes:?}");
    }
    stage.still_works(&mut stage.client(), "all of them");
}

#[test]
fn r5_r10_r16_r64_what_is_good_goes_up_re_framed_and_not_a_byte_otherwise() {
    let stage = Stage::new();
    for entrance in both() {
        for (name, request, wanted) in corpus::GOOD {
            let before = stage.upstream.requests().len();
            let mut client = stage.client();
            client.send(stage.fill(entrance, request));
            let answer = client.response();
            assert_eq!(answer.status, 200, "{name} on {}: {}", entrance.host, answer.text());
            let seen = stage.upstream.wait_for_requests(before + 1)[before..].to_vec();
            let wanted = stage.fill(entrance, wanted);
            assert_eq!(seen.len(), 1, "{name}");
            assert_eq!(
                seen[0].bytes.escape_ascii().to_string(),
                wanted.escape_ascii().to_string(),
                "{name} on {}",
                entrance.host
            );
            if answer.header("connection") == Some("close") {
                assert_eq!(client.rest(), b"", "{name}");
            } else {
                stage.still_works(&mut client, name);
            }
        }
    }
    // Nothing but whole requests has arrived.
    let arrived: usize = stage.upstream.bytes().iter().map(Vec::len).sum();
    assert_eq!(arrived, stage.upstream.requests().iter().map(|request| request.bytes.len()).sum::<usize>());
}

#[test]
fn r4_the_path_decided_on_is_the_path_that_goes_up_byte_for_byte() {
    let stage = Stage::new();
    // Mostly what is special to somebody; `%` stands before digits more often than chance would have it.
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["/", "a", "b", ";", ".", "..", "%2e", "%2f", "%41", "%25", "~", "-"]),
        2 => prop::sample::select(vec!["%5c", "\\", "//", "%", "%7", "%7e", "%c3%a9", "%C3", "%3b", "%23", "%3f", "@", ":", "="]),
        1 => prop::sample::select(vec!["%00", "%2541", "%252e", "%2525", "%20", "+", "*", "\u{e9}", "%0A", "'", "|", "\"", "^"]),
    ];
    let paths = prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()));
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let refused_or_exact = |path: String| {
        for entrance in both() {
            let full = format!("{}{path}", entrance.prefix);
            let before = stage.upstream.requests().len();
            let request = format!("GET {full} HTTP/1.1\r\n{{h}}Connection: close\r\n\r\n");
            let answer = Client::exchange(stage.gate.address(), stage.fill(entrance, request.as_bytes()));
            let seen = stage.upstream.requests()[before..].to_vec();
            let prefix =
                CanonicalPath::parse(if entrance.prefix.is_empty() { b"/" } else { b"/app" }).unwrap();
            if let Ok(canonical) = CanonicalPath::parse(full.as_bytes()) {
                prop_assert_eq!(answer.status, 200, "{}: {}", full, answer.text());
                prop_assert_eq!(seen.len(), 1);
                let stripped = canonical.strip_prefix(&prefix).unwrap();
                prop_assert_eq!(seen[0].target(), stripped.as_str());
            } else {
                prop_assert_eq!(answer.status, 400, "{}", full);
                prop_assert_eq!(seen.len(), 0);
            }
        }
        Ok(())
    };
    TestRunner::new(config).run(&paths, refused_or_exact).unwrap();
}

#[test]
fn r6_a_hosts_case_dot_and_port_make_no_difference_and_unknown_hosts_are_421() {
    let stage = Stage::new();
    let token = stage.token.header();
    let ask = |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}\r\n");
        Client::exchange(stage.gate.address(), request)
    };
    for host in ["site.example", "SITE.example", "site.example.", "site.example:80", "Site.Example.:7400"] {
        let answer = ask(host, "/app/x");
        assert!(answer.text().starts_with("GET /app/x "), "{host}: {}", answer.text());
        assert!(answer.text().contains(&format!("Host: {host}\r\n")), "{host} is not what went up");
    }
    for host in ["localhost", "LOCALHOST.:1", "127.0.0.1", "[::1]:7400", "10.1.2.3"] {
        assert!(ask(host, "/app/x").text().starts_with("GET /x "), "{host}");
    }
    let before = stage.upstream.requests().len();
    for host in [
        "evil.example",
        "site.example.evil",
        "xsite.example",
        "www.site.example",
        "localhost.evil",
        "127.0.0.1.evil",
        "2130706433",
        "127.1",
        "0x7f.0.0.1",
    ] {
        for path in ["/app/x", "/x", "/api/whoami", "/.fallgate/x"] {
            assert_eq!(ask(host, path).status, 421, "{host}{path}");
        }
    }
    assert_eq!(stage.upstream.requests().len(), before);
}

#[test]
fn r5_a_query_decides_nothing() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\npublic = [\"/open\"]\n",
        upstream.url()
    ));
    let status = |target: &str| Client::get(gate.address(), target, None).status;
    for target in
        ["/app/open", "/app/open/", "/app/open/x?/secret", "/app/open;v=1", "/app/open/a;b/c", "/app/%6fpen"]
    {
        assert_eq!(status(target), 200, "{target}");
    }
    for target in [
        "/app/x?/open",
        "/app/x?/app/open",
        "/app?/open",
        "/app/opened",
        "/app/ope",
        "/app/OPEN",
        "/app/x/open",
        "/app/o;pen",
        "/app/",
        "/app;/open",
    ] {
        // `/app;/open` is `/open` under `/app`, whose segment ends at its `;`.
        let wanted = if target == "/app;/open" { 200 } else { 401 };
        assert_eq!(status(target), wanted, "{target}");
    }
    for target in [
        "/app/open/../x",
        "/app/open/%2e%2e/x",
        "/app/open/..;/x",
        "/app/open%2f..%2fx",
        "/app/x/..%2fopen",
        "/app//open",
        "/app/open\\..\\x",
    ] {
        assert_eq!(status(target), 400, "{target}");
    }
}

#[test]
fn r64_requests_in_one_go_are_answered_in_their_order_and_none_follows_a_refused_framing() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send(stage.fill(BY_PATH, b"GET {p}/1 HTTP/1.1\r\n{h}\r\nPOST {p}/2 HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabcPOST {p}/3 HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\nHEAD {p}/4 HTTP/1.1\r\n{h}\r\nGET /api/whoami HTTP/1.1\r\n{h}\r\nGET {p}/6 HTTP/1.1\r\nHost: localhost\r\n\r\nGET {p}/7 HTTP/1.1\r\n{h}\r\n"));
    for (number, start) in [(1, "GET /1"), (2, "POST /2"), (3, "POST /3")] {
        assert!(client.response().text().starts_with(start), "{number}");
    }
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.response().json()["username"], "ada");
    // Refused, and whole: the next one counts again.
    assert_eq!(client.response().status, 401);
    assert!(client.response().text().starts_with("GET /7"));

    let before = stage.upstream.requests().len();
    for first in [
        b"GET {p}/x HTTP/1.1\r\n{h}X-A : b\r\n\r\n".as_slice(),
        b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST {p}/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        b"POST {p}/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET {p}/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET {p}/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = stage.client();
        client.send(stage.fill(BY_PATH, &[first, b"GET {p}/evil HTTP/1.1\r\n{h}\r\n"].concat()));
        assert!(client.response().status >= 400);
        assert_eq!(client.rest(), b"", "{}", first.escape_ascii());
    }
    assert_eq!(stage.upstream.requests().len(), before);
}

#[test]
fn r67_a_head_may_have_100_fields_and_64_kib() {
    let stage = Stage::new();
    // Two fields and the request line are there already.
    for (more, status) in [(98, 200), (99, 431), (5_000, 431)] {
        let fields = "X-A: 1\r\n".repeat(more);
        let request = format!("GET {{p}}/x HTTP/1.1\r\n{{h}}{fields}\r\n");
        let mut client = stage.client();
        client.send(stage.fill(BY_HOST, request.as_bytes()));
        assert_eq!(client.response().status, status, "{more} more fields");
    }
    let empty = stage.fill(BY_HOST, b"GET {p}/x HTTP/1.1\r\n{h}X-A: \r\n\r\n").len();
    for (length, status) in [(65_536, 200), (65_537, 431), (100 * 1024, 431), (1024 * 1024, 431)] {
        let value = "v".repeat(length - empty);
        let mut client = stage.client();
        client.send(
            stage.fill(BY_HOST, format!("GET {{p}}/x HTTP/1.1\r\n{{h}}X-A: {value}\r\n\r\n").as_bytes()),
        );
        let answer = client.response();
        assert_eq!(answer.status, status, "{length} bytes");
        if status == 431 {
            assert_eq!(client.rest(), b"", "{length} bytes");
        }
    }
    // A request line that never ends is refused as well, and not waited for.
    let mut client = stage.client();
    client.send(format!("GET /{}", "a".repeat(70_000)));
    assert_eq!(client.response().status, 431);
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[test]
fn r67_a_request_that_drips_in_byte_by_byte_is_one_request() {
    let stage = Stage::new();
    let request = b"POST {p}/x HTTP/1.1\r\n{h}X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n";
    let mut client = stage.client();
    for byte in stage.fill(BY_PATH, request) {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
    let seen = stage.upstream.requests();
    assert_eq!(seen.len(), 1);
    // In what pieces it goes up is not told; put together it is the same.
    let text = String::from_utf8(seen[0].bytes.clone()).unwrap();
    assert!(text.starts_with("POST /x HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\nX-Forwarded-For: "), "{text}");
    assert!(text.ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"), "{text}");
    let pieces = text.split_once("\r\n\r\n").unwrap().1.split("\r\n").skip(1).step_by(2);
    assert_eq!(pieces.collect::<String>(), "abc0123456789abcdefX-Sum: 1");
    stage.still_works(&mut client, "a drip");
}

#[test]
fn bytes_that_are_no_request_at_all_are_a_clean_400_and_the_gate_lives() {
    let stage = Stage::new();
    for seed in 0_u64..40 {
        let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[0]
        })
        .take(500)
        .collect();
        bytes.write_all(b"\r\n\r\n").unwrap();
        let mut client = stage.client();
        client.send(&bytes);
        client.finish();
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{seed}: {rest}");
    }
    stage.nothing_went_up();
    stage.still_works(&mut stage.client(), "noise");
}
