//! HTTP/2 as no library would send it, frame by frame: what the rules of HTTP/1.1 refuse is refused here too, and what
//! breaks HTTP/2 ends its stream or its connection. Nothing of it goes up.

use super::routes;
use crate::support::http2::{Frames, Outcome, block, frame, headers, settings};
use crate::support::{Gate, Upstream};

/// The fields of a good request for a path that is open to anybody.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/open/x"), (":authority", "localhost")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/open/x"), (":authority", "localhost")];

fn stage() -> (Upstream, Gate) {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    (upstream, gate)
}

/// What comes of these frames on stream 1.
fn outcome(gate: &Gate, frames: &[u8]) -> Outcome {
    let mut client = Frames::begin(gate.address(), &[]);
    client.send(frames);
    client.outcome(1)
}

#[track_caller]
fn nothing_went_up(upstream: &Upstream) {
    let seen = upstream.bytes();
    assert!(
        seen.iter().all(Vec::is_empty),
        "{:?}",
        seen.iter().map(|bytes| bytes.escape_ascii().to_string()).collect::<Vec<_>>()
    );
}

/// A good request with these fields more.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, true, &[&GET, more].concat())
}

/// A request whose pseudo-fields are these.
fn pseudo(method: &str, scheme: &str, path: &str, authority: &str) -> Vec<u8> {
    headers(1, true, &[(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)])
}

#[test]
fn what_is_good_goes_up() {
    let (upstream, gate) = stage();
    for (name, frames) in [
        ("nothing more", with(&[])),
        ("Host beside :authority", with(&[("host", "localhost")])),
        ("Host in its place", headers(1, true, &[&GET[..3], &[("host", "localhost")]].concat())),
        ("te: trailers", with(&[("te", "trailers")])),
        ("scheme https", pseudo("GET", "https", "/open/x", "localhost")),
        ("high bytes in a value", with(&[("x-name", "h\u{e9}")])),
        ("a method of its own", pseudo("PROPFIND", "http", "/open/x", "localhost")),
        ("in pieces", {
            let block = block(&GET);
            let (one, two) = block.split_at(7);
            [frame(1, 1, 1, one), frame(9, 0, 1, b""), frame(9, 4, 1, two)].concat()
        }),
        ("padded, with a priority", {
            let payload = [&[3, 0, 0, 0, 0, 16], &block(&GET)[..], &[0; 3]].concat();
            frame(1, 1 | 4 | 8 | 32, 1, &payload)
        }),
        ("behind what nobody knows", [frame(0xee, 0xff, 0, b"what"), with(&[])].concat()),
    ] {
        assert_eq!(outcome(&gate, &frames), Outcome::Status(200), "{name}");
    }
    assert_eq!(upstream.requests().len(), 10);
}

#[test]
fn r4_r12_r64_what_http1_refuses_is_refused_with_the_same_status() {
    let (upstream, gate) = stage();
    let many: Vec<(String, String)> =
        (0..100).map(|number| (format!("x-{number}"), "y".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let large = "y".repeat(14_000);
    let larger: Vec<_> = ["x-a", "x-b", "x-c", "x-d", "x-e"].map(|name| (name, large.as_str())).to_vec();
    for (name, frames, status) in [
        ("an underscore", with(&[("a_b", "c")]), 400),
        ("our own name with an underscore", with(&[("remote_user", "root")]), 400),
        ("Host against :authority", with(&[("host", "other.example")]), 400),
        ("Host with another port", with(&[("host", "localhost:1")]), 400),
        ("two Hosts, alike", with(&[("host", "localhost"), ("host", "localhost")]), 400),
        ("no host at all", headers(1, true, &GET[..3]), 400),
        ("an empty Host", headers(1, true, &[&GET[..3], &[("host", "")]].concat()), 400),
        ("userinfo", pseudo("GET", "http", "/open/x", "ada@localhost"), 400),
        ("userinfo in Host", headers(1, true, &[&GET[..3], &[("host", "ada@localhost")]].concat()), 400),
        ("another scheme", pseudo("GET", "ftp", "/open/x", "localhost"), 400),
        ("an unknown host", pseudo("GET", "http", "/open/x", "other.example"), 421),
        ("CONNECT", headers(1, true, &[(":method", "CONNECT"), (":authority", "localhost:80")]), 405),
        ("TRACE", pseudo("TRACE", "http", "/open/x", "localhost"), 405),
        ("a method in lower case", pseudo("get", "http", "/open/x", "localhost"), 400),
        ("a method with marks", pseudo("GE!T", "http", "/open/x", "localhost"), 400),
        ("OPTIONS *", pseudo("OPTIONS", "http", "*", "localhost"), 400),
        ("a query alone", pseudo("GET", "http", "?x", "localhost"), 400),
        ("dot segments", pseudo("GET", "http", "/open/../app/x", "localhost"), 400),
        ("encoded dot segments", pseudo("GET", "http", "/open/%2e%2e/app", "localhost"), 400),
        ("an encoded slash", pseudo("GET", "http", "/open/a%2fb", "localhost"), 400),
        ("two slashes", pseudo("GET", "http", "/open//x", "localhost"), 400),
        ("a backslash", pseudo("GET", "http", "/open/a\\b", "localhost"), 400),
        ("an encoded NUL", pseudo("GET", "http", "/open/%00", "localhost"), 400),
        ("a fragment", pseudo("GET", "http", "/open/x#evil", "localhost"), 400),
        ("a fragment in the query", pseudo("GET", "http", "/open/x?a=b#evil", "localhost"), 400),
        ("a fragment that is empty", pseudo("GET", "http", "/open/x#", "localhost"), 400),
        ("a malformed escape", pseudo("GET", "http", "/open/%zz", "localhost"), 400),
        (
            "a length with a zero in front",
            headers(1, false, &[&POST[..], &[("content-length", "04")]].concat()),
            400,
        ),
        ("an empty length", headers(1, false, &[&POST[..], &[("content-length", "")]].concat()), 400),
        ("two Authorizations", with(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), 400),
        ("an odd expectation", with(&[("expect", "the-unexpected")]), 417),
        ("a blank before a value", with(&[("x-a", " b")]), 400),
        ("a blank behind a value", with(&[("x-a", "b\t")]), 400),
        ("too many fields", with(&many), 431),
        (
            "too large a head",
            {
                let block = block(&[&GET[..], &larger[..]].concat());
                let mut parts: Vec<_> = block.chunks(16_000).map(|part| frame(9, 0, 1, part)).collect();
                parts[0] = frame(1, 1, 1, &block[..16_000]);
                parts.push(frame(9, 4, 1, b""));
                parts.concat()
            },
            431,
        ),
    ] {
        assert_eq!(outcome(&gate, &frames), Outcome::Status(status), "{name}");
    }
    nothing_went_up(&upstream);
}

#[test]
fn r64_what_breaks_http2_ends_its_stream() {
    let (upstream, gate) = stage();
    let protocol_error = 1;
    for (name, frames) in [
        ("an upper-case name", with(&[("X-Upper", "a")])),
        ("an empty name", with(&[("", "a")])),
        ("a blank in a name", with(&[("a b", "c")])),
        ("a colon in a name", with(&[("a:b", "c")])),
        ("a line break in a value", with(&[("x-a", "b\r\nx-evil: c")])),
        ("a bare LF in a value", with(&[("x-a", "b\nc")])),
        ("a NUL in a value", with(&[("x-a", "b\0c")])),
        ("Connection", with(&[("connection", "close")])),
        ("Connection: upgrade", with(&[("connection", "upgrade"), ("upgrade", "websocket")])),
        ("Upgrade", with(&[("upgrade", "websocket")])),
        ("Keep-Alive", with(&[("keep-alive", "5")])),
        ("Proxy-Connection", with(&[("proxy-connection", "keep-alive")])),
        ("Transfer-Encoding", headers(1, false, &[&POST[..], &[("transfer-encoding", "chunked")]].concat())),
        (
            "Transfer-Encoding and a length",
            headers(
                1,
                false,
                &[&POST[..], &[("transfer-encoding", "chunked"), ("content-length", "4")]].concat(),
            ),
        ),
        ("te: gzip", with(&[("te", "gzip")])),
        ("no method", headers(1, true, &GET[1..])),
        ("no scheme", headers(1, true, &[GET[0], GET[2], GET[3]])),
        ("no path", headers(1, true, &[GET[0], GET[1], GET[3]])),
        ("an empty path", pseudo("GET", "http", "", "localhost")),
        ("a blank in the path", pseudo("GET", "http", "/open/a b", "localhost")),
        ("a line break in the path", pseudo("GET", "http", "/open/a\r\nx: y", "localhost")),
        ("an absolute target", pseudo("GET", "http", "http://localhost/open/x", "localhost")),
        ("a blank in the method", pseudo("GE T", "http", "/open/x", "localhost")),
        ("a blank in the authority", pseudo("GET", "http", "/open/x", "local host")),
        ("a slash in the authority", pseudo("GET", "http", "/open/x", "localhost/evil")),
        ("two paths", headers(1, true, &[&GET[..], &[(":path", "/evil")]].concat())),
        ("two methods", headers(1, true, &[&[(":method", "POST")], &GET[..]].concat())),
        ("two authorities", headers(1, true, &[&GET[..], &[(":authority", "other.example")]].concat())),
        ("a pseudo-field behind a field", headers(1, true, &[&[("x-a", "b")], &GET[..]].concat())),
        ("a pseudo-field that is none", headers(1, true, &[&GET[..], &[(":evil", "x")]].concat())),
        ("an answer's pseudo-field", headers(1, true, &[&GET[..], &[(":status", "200")]].concat())),
        ("CONNECT with a path", pseudo("CONNECT", "http", "/open/x", "localhost")),
        (
            "a WebSocket, which was not offered",
            headers(
                1,
                false,
                &[
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", "http"),
                    (":path", "/open/x"),
                    (":authority", "localhost"),
                ],
            ),
        ),
        ("a length without a body", with(&[("content-length", "4")])),
        (
            "two lengths",
            headers(1, false, &[&POST[..], &[("content-length", "4"), ("content-length", "5")]].concat()),
        ),
        ("length +4", headers(1, false, &[&POST[..], &[("content-length", "+4")]].concat())),
        (
            "a stream that hangs on itself",
            frame(1, 1 | 4 | 32, 1, &[&[0, 0, 0, 1, 16], &block(&GET)[..]].concat()),
        ),
    ] {
        let outcome = outcome(&gate, &frames);
        let ended = matches!(outcome, Outcome::Reset(_) | Outcome::GoAway(_));
        assert!(ended && !matches!(outcome, Outcome::Reset(0) | Outcome::GoAway(0)), "{name}: {outcome:?}");
        if name.contains("path") {
            assert_eq!(outcome, Outcome::Reset(protocol_error), "{name}");
        }
    }
    nothing_went_up(&upstream);
}

#[test]
fn r64_what_breaks_the_framing_ends_its_connection() {
    let (upstream, gate) = stage();
    let (protocol, flow_control, closed, size, compression) = (1, 3, 5, 6, 9);
    let headless = frame(1, 1, 1, &block(&GET));
    for (name, frames, code) in [
        ("data on a stream that is none", frame(0, 1, 1, b"evil"), protocol),
        ("a request on a stream of ours", headers(2, true, &GET), protocol),
        ("a request on stream 0", headers(0, true, &GET), protocol),
        ("a stream before one that was", [headers(5, true, &GET), headers(3, true, &GET)].concat(), protocol),
        ("a frame that is too large", frame(0, 0, 1, &vec![0; 16_385]), size),
        ("CONTINUATION of nothing", frame(9, 4, 1, &block(&GET)), protocol),
        ("a ping amid a head", [headless.clone(), frame(6, 0, 0, &[0; 8])].concat(), protocol),
        ("another head amid a head", [headless.clone(), headers(3, true, &GET)].concat(), protocol),
        ("another's CONTINUATION", [headless, frame(9, 4, 3, b"")].concat(), protocol),
        ("SETTINGS on a stream", frame(4, 0, 1, b""), protocol),
        ("SETTINGS of five bytes", frame(4, 0, 0, b"12345"), size),
        ("an acknowledgement with settings", frame(4, 1, 0, &[0, 1, 0, 0, 0, 0]), size),
        ("a window beyond all", settings(&[(4, 1 << 31)]), flow_control),
        ("a frame size below all", settings(&[(5, 16)]), protocol),
        ("push neither on nor off", settings(&[(2, 2)]), protocol),
        ("a ping of seven bytes", frame(6, 0, 0, b"1234567"), size),
        ("a ping on a stream", frame(6, 0, 1, b"12345678"), protocol),
        ("a window raised by nothing", frame(8, 0, 0, &[0; 4]), protocol),
        ("a window raised beyond all", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), flow_control),
        ("a window of a stream that is none", frame(8, 0, 1, &[0, 0, 0, 1]), protocol),
        ("a reset of a stream that is none", frame(3, 0, 1, &[0, 0, 0, 8]), protocol),
        ("a reset of stream 0", frame(3, 0, 0, &[0, 0, 0, 8]), protocol),
        ("a promise", frame(5, 4, 1, &[&[0, 0, 0, 2], &block(&GET)[..]].concat()), protocol),
        ("a field that HPACK does not have", frame(1, 5, 1, &[0xff, 0x7f]), compression),
        ("a table beyond all", frame(1, 5, 1, &[0x3f, 0xff, 0xff, 0x7f, 0x82]), compression),
        ("a length that is cut short", frame(1, 5, 1, &[0x00, 0x7f]), compression),
        ("more padding than frame", frame(1, 1 | 4 | 8, 1, &[&[0xff], &block(&GET)[..]].concat()), protocol),
        ("GOAWAY on a stream", frame(7, 0, 1, &[0; 8]), protocol),
    ] {
        let mut client = Frames::begin(gate.address(), &[]);
        client.send(&frames);
        let outcome = client.find(|frame| (frame.kind == 7).then(|| frame.payload[7])).map(u32::from);
        let allowed = [code, protocol, size, closed, compression];
        assert!(outcome.is_some_and(|outcome| allowed.contains(&outcome)), "{name}: {outcome:?}");
        assert!(client.drain().is_ok(), "{name}: closed in good order");
    }
    nothing_went_up(&upstream);
}

#[test]
fn r64_a_body_is_as_long_as_was_said() {
    let (upstream, gate) = stage();
    let post = |length: &str| headers(1, false, &[&POST[..], &[("content-length", length)]].concat());
    for (name, frames) in [
        ("longer", [post("4"), frame(0, 1, 1, b"evils")].concat()),
        ("longer, by a piece", [post("4"), frame(0, 0, 1, b"good"), frame(0, 1, 1, b"evil")].concat()),
        ("shorter", [post("4"), frame(0, 1, 1, b"goo")].concat()),
        (
            "ended by trailers",
            [post("4"), frame(0, 0, 1, b"goo"), headers(1, true, &[("x-a", "b")])].concat(),
        ),
    ] {
        let outcome = outcome(&gate, &frames);
        assert!(matches!(outcome, Outcome::Reset(1) | Outcome::Status(400)), "{name}: {outcome:?}");
    }
    for request in upstream.requests() {
        assert!(!String::from_utf8_lossy(&request.bytes).contains("evil"));
    }
}

#[test]
fn r10_r64_trailers_keep_the_rules_of_trailers() {
    let (upstream, gate) = stage();
    let post = [headers(1, false, &POST), frame(0, 0, 1, b"body")].concat();
    let ended_by = |fields: &[(&str, &str)]| [&post[..], &headers(1, true, fields)].concat();
    for (name, frames) in [
        ("a length", ended_by(&[("content-length", "4")])),
        ("a coding", ended_by(&[("transfer-encoding", "chunked")])),
        ("a host", ended_by(&[("host", "evil.example")])),
        ("a credential", ended_by(&[("authorization", "Bearer evil")])),
        ("a cookie", ended_by(&[("cookie", "evil=1")])),
        ("an underscore", ended_by(&[("x_evil", "1")])),
        ("a path", ended_by(&[(":path", "/evil")])),
        ("a status and more", ended_by(&[(":status", "200"), ("x-a", "b")])),
        ("a pseudo-field in pieces", {
            let block = block(&[(":authority", "evil.example"), ("x-a", "b")]);
            let (one, two) = block.split_at(3);
            [&post[..], &frame(1, 1, 1, one), &frame(9, 4, 1, two)].concat()
        }),
        ("a second head that ends nothing", [&post[..], &headers(1, false, &[("x-evil", "1")])].concat()),
    ] {
        let outcome = outcome(&gate, &frames);
        assert!(
            matches!(outcome, Outcome::Reset(1) | Outcome::Status(400) | Outcome::GoAway(1)),
            "{name}: {outcome:?}"
        );
    }
    assert_eq!(outcome(&gate, &ended_by(&[("remote-user", "root"), ("x-good", "1")])), Outcome::Status(200));
    let seen = upstream.requests();
    assert_eq!(seen.len(), 1, "only the good one came to its end");
    assert!(
        seen[0].body().ends_with(b"0\r\nx-good: 1\r\n\r\n"),
        "{:?}",
        seen[0].body().escape_ascii().to_string()
    );
}
