use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 64 * 1024, max_fields: 100 };

fn parse(text: &[u8]) -> Result<RequestHead, Malformed> {
    let mut head = RequestHead::default();
    match head.parse(text, &LIMITS)? {
        Progress::Complete => Ok(head),
        Progress::Partial => panic!("the head has not ended: {:?}", String::from_utf8_lossy(text)),
    }
}

fn status_of(text: &[u8]) -> u16 {
    parse(text).map_or_else(|malformed| malformed.status, |_| 200)
}

#[test]
fn a_head_is_told_in_offsets() {
    let text =
        b"POST /a/b?c=d HTTP/1.1\r\nHost: Box.example:7400\r\ncontent-length: 5\r\nX-Empty:\r\n\r\nhello";
    let head = parse(text).unwrap();
    assert_eq!(head.len(), text.len() - 5);
    assert_eq!(head.method().of(text), b"POST");
    assert_eq!(head.target().of(text), b"/a/b?c=d");
    assert_eq!(head.host().of(text), b"Box.example:7400");
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.body(), BodyKind::Length(5));
    assert!(head.keep_alive() && !head.expects_continue() && !head.is_head());
    assert_eq!(head.fields().len(), 3);
    assert_eq!(head.field(FieldId::ContentLength).map(|value| value.of(text)), Some(&b"5"[..]));
    assert_eq!(head.field(FieldId::Cookie), None);
    let last = head.fields()[2];
    assert_eq!((last.name.of(text), last.value.of(text)), (&b"X-Empty"[..], &b""[..]));
}

#[test]
fn a_span_of_a_shorter_buffer_is_empty() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = parse(text).unwrap();
    assert_eq!(head.host().of(&text[..10]), b"");
}

#[test]
fn r64_request_lines_other_than_ours_are_refused() {
    for (line, status) in [
        ("GET / HTTP/1.1", 200),
        ("GET / HTTP/1.0", 200),
        ("M-SEARCH / HTTP/1.1", 200),
        ("GET /a?b=%zz//.. HTTP/1.1", 200),
        ("ge!t / HTTP/1.1", 400),
        ("get / HTTP/1.1", 400),
        ("GEt / HTTP/1.1", 400),
        ("GET1 / HTTP/1.1", 400),
        ("G_T / HTTP/1.1", 400),
        ("-GET / HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1", 200),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", 400),
        ("CONNECT a:80 HTTP/1.1", 405),
        ("CONNECT / HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("GET http://a/ HTTP/1.1", 400),
        ("GET http://user@a/ HTTP/1.1", 400),
        ("GET a:80 HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET /#a HTTP/1.1", 400),
        ("GET /a?b#c HTTP/1.1", 400),
        ("GET /é HTTP/1.1", 400),
        ("GET /a\tb HTTP/1.1", 400),
        ("GET /a\u{7f}b HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET / HTTP/2.0", 400),
        ("PRI * HTTP/2.0", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / HTTP/0.9", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTPS/1.1", 400),
        ("HTTP/1.1 200 OK", 400),
    ] {
        assert_eq!(status_of(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), status, "{line}");
    }
}

#[test]
fn r64_framing_that_can_be_read_in_two_ways_is_refused() {
    for (fields, status) in [
        ("Content-Length: 4", 200),
        ("Content-Length:4", 200),
        ("Content-Length:   4  ", 200),
        ("Content-Length: 0", 200),
        ("Content-Length: 9223372036854775807", 200),
        ("Content-Length: 9223372036854775808", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: 0004", 400),
        ("Content-Length: 00", 400),
        ("Content-Length: +4", 400),
        ("Content-Length: -0", 400),
        ("Content-Length: 0x4", 400),
        ("Content-Length: 4, 4", 400),
        ("Content-Length: 4;4", 400),
        ("Content-Length: 4 4", 400),
        ("Content-Length: 4a", 400),
        ("Content-Length: 4.0", 400),
        ("Content-Length:", 400),
        ("Content-Length: 4\r\nContent-Length: 4", 400),
        ("Content-Length: 4\r\ncontent-length: 5", 400),
        ("Transfer-Encoding: chunked", 200),
        ("Transfer-Encoding: CHUNKED", 200),
        ("Transfer-Encoding: gzip, chunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked,", 400),
        ("Transfer-Encoding: ,chunked", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: identity, chunked", 400),
        ("Transfer-Encoding: chunked;q=1", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: chunked\u{b}", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", 400),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 4\r\nTransfer-Encoding: x", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Transfer_Encoding: chunked", 400),
        ("Content_Length: 4", 400),
    ] {
        assert_eq!(
            status_of(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes()),
            status,
            "{fields}"
        );
    }
    assert_eq!(status_of(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(status_of(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\n"), 200);
}

#[test]
fn r64_line_ends_other_than_crlf_and_folds_are_refused() {
    for text in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
    ] {
        assert_eq!(status_of(text), 400, "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn r12_field_names_outside_the_grammar_are_refused() {
    for (field, status) in [
        ("X-Name: y", 200),
        ("x!#$%&'*+-.^`|~9: y", 200),
        ("X-Name:y", 200),
        ("X-Name:", 200),
        ("X-Name: caf\u{e9}", 200),
        ("X-Name: a\tb", 200),
        ("X_Name: y", 400),
        ("Remote_User: y", 400),
        ("_: y", 400),
        (": y", 400),
        ("X-Name : y", 400),
        ("X-Name\t: y", 400),
        ("X Name: y", 400),
        ("X-N\u{e9}me: y", 400),
        ("X(Name): y", 400),
        ("\"X\": y", 400),
        ("X-Name", 400),
        ("X-Name y", 400),
        ("X-Name: a\0b", 400),
        ("X-Name: a\u{1}b", 400),
        ("X-Name: a\u{7f}b", 400),
        ("X-Na\0me: b", 400),
    ] {
        assert_eq!(
            status_of(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").as_bytes()),
            status,
            "{field:?}"
        );
    }
}

#[test]
fn r6_there_is_one_host_and_it_is_one() {
    for (fields, status) in [
        ("Host: a", 200),
        ("hOST: a.example.:80", 200),
        ("Host: [::1]:80", 200),
        ("X: y", 400),
        ("Host:", 400),
        ("Host: a\r\nHost: a", 400),
        ("Host: a\r\nX: y\r\nhost: b", 400),
        ("Host: a, b", 400),
        ("Host: a b", 400),
        ("Host: user@a", 400),
        ("Host: http://a", 400),
        ("Host: a/b", 400),
        ("Host: a:b", 400),
        ("Host: a%2eb", 400),
        ("Host: ::1", 400),
    ] {
        for version in ["1.1", "1.0"] {
            let text = format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n");
            assert_eq!(status_of(text.as_bytes()), status, "{text}");
        }
    }
}

#[test]
fn only_one_expectation_is_met() {
    let head = |fields: &str| parse(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes());
    assert!(head("Content-Length: 4\r\nExpect: 100-Continue").unwrap().expects_continue());
    assert!(head("Transfer-Encoding: chunked\r\nExpect: 100-continue").unwrap().expects_continue());
    assert!(!head("Expect: 100-continue").unwrap().expects_continue(), "nothing follows");
    assert!(!head("Content-Length: 4").unwrap().expects_continue());
    for field in ["Expect: 200-ok", "Expect:", "Expect: 100-continue, x", "Expect: 100-continue\r\nExpect: x"]
    {
        assert_eq!(head(&format!("Content-Length: 4\r\n{field}")).unwrap_err().status, 417, "{field}");
    }
    let old =
        parse(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert!(!old.expects_continue());
}

#[test]
fn two_credentials_are_none() {
    assert_eq!(status_of(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\n\r\n"), 200);
    assert_eq!(status_of(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nauthorization: x\r\n\r\n"), 400);
}

#[test]
fn a_connection_stays_open_as_its_version_has_it() {
    for (version, fields, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Foo, CLOSE\r\n", false),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = parse(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
        assert_eq!(head.keep_alive(), stays, "{version} {fields}");
    }
}

#[test]
fn an_upgrade_is_asked_for_by_two_fields() {
    for (version, fields, asked) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", Some("websocket")),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", Some("WebSocket")),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n", Some("websocket, h2c")),
        ("1.1", "Upgrade: websocket\r\n", None),
        ("1.1", "Connection: upgrade\r\n", None),
        ("1.1", "Connection: upgrade\r\nUpgrade:\r\n", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n", None),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", None),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let head = parse(text.as_bytes()).unwrap();
        let upgrade = head.upgrade().map(|value| value.of(text.as_bytes()));
        assert_eq!(upgrade, asked.map(str::as_bytes), "{text}");
    }
}

#[test]
fn r59_heads_beyond_the_limits_are_refused_before_they_end() {
    let mut head = RequestHead::default();
    let limits = HeadLimits { max_bytes: 64, max_fields: 2 };
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(64));
    assert_eq!(head.parse(long.as_bytes(), &limits).unwrap_err().status, 431);
    head.clear();
    assert_eq!(head.parse(&[b'A'; 64], &limits).unwrap_err().status, 431);
    head.clear();
    assert_eq!(head.parse(&[b'A'; 63], &limits), Ok(Progress::Partial));
    head.clear();
    let many = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n";
    assert_eq!(head.parse(many.as_bytes(), &limits).unwrap_err().status, 431);
    head.clear();
    let enough = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    assert_eq!(head.parse(enough.as_bytes(), &limits), Ok(Progress::Complete));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!(status_of(fields(100).as_bytes()), 200);
    assert_eq!(status_of(fields(101).as_bytes()), 431);
    let options =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "x,".repeat(count));
    assert_eq!((status_of(options(32).as_bytes()), status_of(options(33).as_bytes())), (200, 400));
    // Exactly as long as there may be.
    let exact = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(64 - 32));
    head.clear();
    assert_eq!((exact.len(), head.parse(exact.as_bytes(), &limits)), (64, Ok(Progress::Complete)));
}

#[test]
fn what_is_no_request_is_refused_at_its_first_byte() {
    for text in [&b"\x16\x03\x01"[..], b"\r", b"\n", b" ", b"g", b"\0"] {
        assert_eq!(RequestHead::default().parse(text, &LIMITS).unwrap_err().status, 400);
    }
    assert_eq!(RequestHead::default().parse(b"", &LIMITS), Ok(Progress::Partial));
}

#[test]
fn one_head_serves_a_connection() {
    let mut head = RequestHead::default();
    let first = b"POST /a HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\nConnection: keep-alive, upgrade\r\nAuthorization: x\r\n\r\n";
    let second = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(head.parse(first, &LIMITS), Ok(Progress::Complete));
    assert_eq!(head.parse(second, &LIMITS), Ok(Progress::Complete));
    assert_eq!((head.body(), head.version(), head.len()), (BodyKind::Empty, Version::Http11, second.len()));
    assert_eq!((head.fields().len(), head.field(FieldId::Authorization)), (1, None));
    assert!(!head.connection.upgrade);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_head_that_drips_in_is_the_same_head(cuts in prop::collection::vec(0usize..200, 0..20)) {
        let text = b"POST /a?b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 12\r\nCookie: a=b; c=d\r\nX: y\r\n\r\nbody";
        let whole = parse(text).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < whole.len()).collect();
        cuts.sort_unstable();
        let mut head = RequestHead::default();
        for cut in cuts {
            prop_assert_eq!(head.parse(&text[..cut], &LIMITS), Ok(Progress::Partial));
        }
        prop_assert_eq!(head.parse(text, &LIMITS), Ok(Progress::Complete));
        prop_assert_eq!(head.len(), whole.len());
        prop_assert_eq!(head.fields().len(), whole.fields().len());
        prop_assert_eq!(head.target().of(text), whole.target().of(text));
    }

    #[test]
    fn r59_no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut start = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        start.extend_from_slice(&text);
        let _ = RequestHead::default().parse(&text, &LIMITS);
        let _ = RequestHead::default().parse(&start, &LIMITS);
    }
}
