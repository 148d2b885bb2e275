use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::wire::http1::{HeadLimits, Progress};

const PLAIN: Upward<'static> = Upward {
    path: "/x",
    query: None,
    host: None,
    client: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
    proto: "http",
    forwarded_host: b"a",
    prefix: None,
    strip_authorization: true,
    identity: None,
    assertion: None,
    inject: &[],
    body: BodyKind::Empty,
    upgrade: None,
};

/// What `PLAIN` adds to every request.
const OURS: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n";

fn write(fields: &str, up: &Upward<'_>) -> String {
    let text = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut head = RequestHead::default();
    assert_eq!(head.parse(text.as_bytes(), &HeadLimits::default()), Ok(Progress::Complete), "{text}");
    let mut out = Vec::new();
    write_request(&mut out, &head, text.as_bytes(), up);
    let mut again = RequestHead::default();
    assert_eq!(
        again.parse(&out, &HeadLimits { max_bytes: 1 << 20, max_fields: 200 }),
        Ok(Progress::Complete)
    );
    assert_eq!(again.len(), out.len());
    String::from_utf8(out).unwrap()
}

/// What is left of these fields.
fn passed(fields: &str) -> String {
    let out = write(fields, &PLAIN);
    let rest = out.strip_prefix("POST /x HTTP/1.1\r\nHost: a\r\n").unwrap();
    rest.strip_suffix("\r\n").unwrap().replace(OURS, "")
}

#[test]
fn the_clients_fields_go_up_in_order_and_ours_follow() {
    let up = Upward { path: "/y", query: Some("b=c&d"), prefix: Some("/app"), ..PLAIN };
    assert_eq!(
        write("Accept: */*\r\nX-A: 1\r\nx-a:  2 \r\n", &up),
        format!(
            "POST /y?b=c&d HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-A: 1\r\nx-a: 2\r\n{OURS}X-Forwarded-Prefix: /app\r\n\r\n"
        )
    );
}

#[test]
fn r10_names_in_our_namespace_never_pass() {
    for name in [
        "Remote-User",
        "remote-groups",
        "REMOTE-ANYTHING",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "x-forwarded-user",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Original-Anything",
        "X-Rewrite-URL",
        "Fallgate-Token",
        "fallgate-assertion",
    ] {
        assert_eq!(passed(&format!("{name}: evil\r\nA: b\r\n{name}: evil\r\n")), "A: b\r\n", "{name}");
        assert_eq!(passed(&format!("Connection: {name}\r\n{name}: evil\r\n")), "", "{name}");
    }
    for name in
        ["Remote", "X-Forwarded", "X-Forward-For", "Forwarded-For", "X-Real-IPs", "Fallgate", "X-Remote-User"]
    {
        let field = format!("{name}: fine\r\n");
        assert_eq!(passed(&field), field);
    }
}

#[test]
fn r16_a_client_cannot_name_our_fields_away() {
    let up = Upward {
        identity: Some(Identity { user: "alice", name: "Alice", groups: "user", email: "" }),
        body: BodyKind::Length(3),
        ..PLAIN
    };
    let out = write(
        "Connection: close, host, content-length, remote-user, x-forwarded-for, remote-email, X-Mine\r\nX-Mine: 1\r\nContent-Length: 3\r\n",
        &up,
    );
    assert_eq!(
        out,
        format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{OURS}Remote-User: alice\r\nRemote-Name: Alice\r\nRemote-Groups: user\r\nRemote-Email: \r\nContent-Length: 3\r\n\r\n"
        )
    );
}

#[test]
fn r16_hop_by_hop_fields_end_here() {
    for fields in [
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        "Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\n",
        "Connection: X-A\r\nConnection: X-B\r\nx-a: 1\r\nx-b: 2\r\n",
        "TE: gzip\r\n",
        "Trailer: X-A\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Proxy-Authorization: Basic x\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Anything: x\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 7\r\n",
        "Expect: 100-continue\r\n",
    ] {
        assert_eq!(passed(fields), "", "{fields}");
    }
}

#[test]
fn r15_our_credential_does_not_pass_and_the_apps_own_does() {
    assert_eq!(passed("Authorization: Bearer fgt_x\r\n"), "");
    let up = Upward { strip_authorization: false, ..PLAIN };
    assert!(write("Authorization: Basic x\r\n", &up).contains("Authorization: Basic x\r\n"));
}

#[test]
fn r15_our_cookies_are_taken_out_and_the_others_are_not_touched() {
    for (value, left) in [
        ("a=b; c=\"d e\";f = g", Some("a=b; c=\"d e\";f = g")),
        ("__Host-fallgate=x", None),
        ("fallgate=x", None),
        ("fallgate", None),
        ("fallgate=x; __Host-fallgate=y", None),
        ("fallgate=x; a=b", Some("a=b")),
        ("a=b; fallgate=x", Some("a=b")),
        ("a=b; fallgate=x; c=d", Some("a=b; c=d")),
        ("a=b;__Host-fallgate=x;c=d", Some("a=b;c=d")),
        ("a=b;  fallgate = x;  c=d", Some("a=b;  c=d")),
        ("fallgate=x; fallgate=y; a=fallgate", Some("a=fallgate")),
        ("notfallgate=x; fallgate2=y; Fallgate=z", Some("notfallgate=x; fallgate2=y; Fallgate=z")),
        ("", Some("")),
    ] {
        let wanted = left.map_or_else(String::new, |left| format!("Cookie: {left}\r\n"));
        assert_eq!(passed(&format!("Cookie: {value}\r\n")), wanted, "{value}");
    }
    assert_eq!(passed("cookie: fallgate=x\r\nCookie: a=b\r\n"), "Cookie: a=b\r\n");
}

#[test]
fn r64_bodies_are_framed_anew() {
    for (fields, body, framing) in [
        ("", BodyKind::Empty, ""),
        ("Content-Length: 0\r\n", BodyKind::Length(0), "Content-Length: 0\r\n"),
        ("Content-Length: 7\r\n", BodyKind::Length(7), "Content-Length: 7\r\n"),
        ("Transfer-Encoding: chunked\r\n", BodyKind::Chunked, "Transfer-Encoding: chunked\r\n"),
        (
            "Transfer-Encoding: chunked\r\nTrailer: X-A, Host, remote-user, , x b, X-B\r\nTrailer: X-C\r\n",
            BodyKind::Chunked,
            "Transfer-Encoding: chunked\r\nTrailer: X-A, X-B, X-C\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n",
            BodyKind::Chunked,
            "Transfer-Encoding: chunked\r\n",
        ),
        ("Trailer: X-A\r\n", BodyKind::Empty, ""),
    ] {
        let out = write(fields, &Upward { body, ..PLAIN });
        assert_eq!(out, format!("POST /x HTTP/1.1\r\nHost: a\r\n{OURS}{framing}\r\n"), "{fields}");
    }
}

#[test]
fn connection_speaks_for_us() {
    for (fields, upgrade, wanted) in [
        ("TE: trailers\r\n", None, "TE: trailers\r\nConnection: TE\r\n"),
        ("TE: deflate;q=0.5, Trailers\r\n", None, "TE: trailers\r\nConnection: TE\r\n"),
        (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            Some("websocket"),
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        ),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", None, ""),
        (
            "TE: trailers\r\n",
            Some("websocket"),
            "TE: trailers\r\nUpgrade: websocket\r\nConnection: Upgrade, TE\r\n",
        ),
    ] {
        let out = write(fields, &Upward { upgrade, ..PLAIN });
        assert_eq!(out, format!("POST /x HTTP/1.1\r\nHost: a\r\n{OURS}{wanted}\r\n"), "{fields}");
    }
}

#[test]
fn hosts_and_addresses_are_told_as_they_are() {
    let up =
        Upward { host: Some("inner.example"), forwarded_host: b"Box.example:7400", proto: "https", ..PLAIN };
    let out = write("", &up);
    assert!(
        out.contains("\r\nHost: inner.example\r\n")
            && out.contains("\r\nX-Forwarded-Host: Box.example:7400\r\n")
    );
    assert!(out.contains("\r\nX-Forwarded-Proto: https\r\n"));
    for (client, wanted) in [
        (None, "unknown"),
        (Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), "::1"),
        (Some(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())), "127.0.0.1"),
    ] {
        let out = write("", &Upward { client, ..PLAIN });
        assert!(out.contains(&format!("\r\nX-Forwarded-For: {wanted}\r\n")), "{out}");
    }
}

proptest! {
    #[test]
    fn r10_no_name_breaks_the_line(name in "\\PC{0,20}", more in ".{0,10}") {
        let name = format!("{name}\r\nRemote-Groups: admin\r\n{more}");
        let identity = Identity { user: "alice", name: &name, groups: "user", email: "" };
        let out = write("", &Upward { identity: Some(identity), ..PLAIN });
        prop_assert_eq!(out.matches("Remote-Groups: ").count() , 1 + name.matches("Remote-Groups: ").count());
        prop_assert_eq!(out.matches("\r\nRemote-Groups: ").count(), 1);
        let line = out.lines().find_map(|line| line.strip_prefix("Remote-Name: ")).unwrap();
        let mut bytes = line.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                decoded.push(byte);
            }
        }
        prop_assert_eq!(decoded, name.as_bytes());
    }

    #[test]
    fn what_is_written_says_the_same_when_read_and_written_again(
        fields in prop::collection::vec(("[a-zA-Z-]{1,12}", "[!-~]{0,12}"), 0..8),
    ) {
        let text: String = fields
            .iter()
            .filter(|(name, _)| !["host", "expect"].iter().any(|one| name.eq_ignore_ascii_case(one)))
            .flat_map(|(name, value)| [name.as_str(), ": ", value.as_str(), "\r\n"])
            .collect();
        let once = passed(&text);
        prop_assert_eq!(passed(&once), once);
    }
}
