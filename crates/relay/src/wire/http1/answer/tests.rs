use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 64 * 1024, max_fields: 100 };

fn parse_for(text: &[u8], to_head: bool) -> Result<AnswerHead, Malformed> {
    let mut head = AnswerHead::default();
    match head.parse(text, &LIMITS, to_head)? {
        Progress::Complete => Ok(head),
        Progress::Partial => panic!("the head has not ended: {:?}", String::from_utf8_lossy(text)),
    }
}

fn parse(text: &[u8]) -> Result<AnswerHead, Malformed> {
    parse_for(text, false)
}

#[test]
fn an_answer_is_told_in_offsets() {
    let text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nset_cookie: a\r\n\r\nhello";
    let head = parse(text).unwrap();
    assert_eq!((head.status(), head.reason().of(text)), (404, &b"Not Found"[..]));
    assert_eq!(head.len(), text.len() - 5);
    assert_eq!(head.body(), BodyKind::Length(5));
    assert!(head.keep_alive() && !head.is_interim());
    assert_eq!(head.fields()[1].id, FieldId::Other);
}

#[test]
fn the_end_of_a_body_is_known_as_the_rfc_has_it() {
    use BodyKind::*;
    for (status, fields, to_head, body, told) in [
        ("200", "Content-Length: 5", false, Length(5), Length(5)),
        ("200", "Content-Length: 0", false, Length(0), Length(0)),
        ("200", "Transfer-Encoding: Chunked", false, Chunked, Chunked),
        ("200", "X: y", false, UntilClose, Empty),
        ("404", "X: y", false, UntilClose, Empty),
        ("200", "Content-Length: 5", true, Empty, Length(5)),
        ("200", "Transfer-Encoding: chunked", true, Empty, Chunked),
        ("200", "X: y", true, Empty, Empty),
        ("304", "Content-Length: 5", false, Empty, Length(5)),
        ("304", "X: y", false, Empty, Empty),
        ("204", "X: y", false, Empty, Empty),
        ("204", "Content-Length: 5", false, Empty, Length(5)),
        ("100", "X: y", false, Empty, Empty),
        ("103", "X: y", false, Empty, Empty),
        ("101", "Connection: upgrade\r\nUpgrade: websocket", false, Empty, Empty),
    ] {
        let text = format!("HTTP/1.1 {status} Reason\r\n{fields}\r\n\r\n");
        let head = parse_for(text.as_bytes(), to_head).unwrap();
        assert_eq!((head.body(), head.told_body()), (body, told), "{text}");
    }
}

#[test]
fn r64_answers_that_can_be_read_in_two_ways_are_the_upstreams_fault() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\u{1}K\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>",
    ] {
        assert_eq!(parse(text.as_bytes()).map_err(|malformed| malformed.status).err(), Some(502), "{text:?}");
    }
}

#[test]
fn a_reason_may_be_missing() {
    for text in ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"] {
        assert!(parse(text.as_bytes()).unwrap().reason().is_empty());
    }
}

#[test]
fn r66_a_connection_is_kept_only_where_the_end_is_known() {
    for (text, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().keep_alive(), kept, "{text}");
    }
}

#[test]
fn r65_only_a_101_changes_the_protocol() {
    for (text, protocol) in [
        ("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Some("websocket")),
        ("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", None),
        ("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n", None),
        ("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n", None),
        ("HTTP/1.0 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", None),
        ("HTTP/1.1 200 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", None),
        ("HTTP/1.1 426 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", None),
    ] {
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(
            head.upgrade().map(|value| value.of(text.as_bytes())),
            protocol.map(str::as_bytes),
            "{text}"
        );
    }
}

#[test]
fn r59_answers_beyond_the_limits_are_refused() {
    let limits = HeadLimits { max_bytes: 40, max_fields: 1 };
    let mut head = AnswerHead::default();
    assert_eq!(head.parse(&[b'H'; 40], &limits, false).unwrap_err().status, 502);
    head.clear();
    let many = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n";
    assert_eq!(head.parse(many, &limits, false).unwrap_err().status, 502);
}

proptest! {
    #[test]
    fn r59_no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200), to_head in any::<bool>()) {
        let mut start = b"HTTP/1.1 200 OK\r\n".to_vec();
        start.extend_from_slice(&text);
        let _ = AnswerHead::default().parse(&text, &LIMITS, to_head);
        let _ = AnswerHead::default().parse(&start, &LIMITS, to_head);
    }
}
