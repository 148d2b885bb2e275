//! What goes wrong, early or oddly on the upstream's side, and `Expect: 100-continue`, which is ours to answer.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;

use crate::support::scripted::{Scripted, read_head};
use crate::support::{Client, Gate, PATIENCE, Token, Upstream, nobodys_address};

fn request(token: &Token, line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}{more}\r\n", token.header())
}

/// The request for `name` went up once, and nothing after it on the same connection: nobody may get the rest of it.
#[track_caller]
fn bad_one_was_the_last(upstream: &Upstream, name: &str) {
    let connections = upstream.bytes();
    let line = format!("GET /{name} HTTP/1.1\r\n");
    let seen: Vec<_> = connections
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .filter(|text| text.contains(&line))
        .collect();
    assert_eq!(seen.len(), 1, "{name}");
    let (_, after) = seen[0].split_once(&line).unwrap();
    assert!(!after.contains(" HTTP/1.1\r\n"), "the connection was used again after {name}: {after}");
}

/// An upstream that answers a target's last segment with these bytes, its connection kept open.
fn answering(answers: &'static [(&'static str, &'static [u8])]) -> Upstream {
    Upstream::answering(move |request| {
        let target = request.target();
        let (_, answer) = answers.iter().find(|(name, _)| target == format!("/{name}")).unwrap();
        answer.to_vec()
    })
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

#[test]
fn r66_an_answer_that_cannot_be_read_is_502_and_its_connection_is_not_used_again() {
    const ANSWERS: &[(&str, &[u8])] = &[
        (
            "two-lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        ),
        ("list-of-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
        ("bad-length", b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
        (
            "length-and-coding",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("odd-coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (
            "two-codings",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("coding-in-1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bad-version", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("bad-status", b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n"),
        ("no-status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status-099", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
        ("no-http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("blank-first", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("bare-lf", b"HTTP/1.1 200 OK\nContent-Length: 0\n\r\n\r\n"),
        ("folded", b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("blank-before-colon", b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n"),
        ("nul", b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"),
        ("split", b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: fallgate=x\r\nContent-Length: 0\r\n\r\n"),
        (
            "switched",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        ("good", GOOD),
    ];
    let upstream = answering(ANSWERS);
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for (name, _) in ANSWERS.iter().filter(|(name, _)| *name != "good") {
        let mut client = Client::connect(gate.address());
        client.send(request(&token, &format!("GET /app/{name}"), ""));
        let answer = client.response();
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(!answer.text().contains("127.0.0.1"), "the upstream's address is told: {}", answer.text());
        assert_eq!(Client::get(gate.address(), "/app/good", Some(&token)).text(), "good", "after {name}");
        bad_one_was_the_last(&upstream, name);
    }
}

#[test]
fn r66_an_answer_that_breaks_off_or_runs_over_ends_as_such_and_its_connection_is_not_used_again() {
    const ANSWERS: &[(&str, &[u8])] = &[
        ("bad-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"),
        ("long-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n"),
        ("lf-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n"),
        ("short", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nok"),
        ("short-chunks", b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        ("long", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("long-chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("no-content", b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("good", GOOD),
    ];
    let upstream = answering(ANSWERS);
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for (name, _) in ANSWERS.iter().filter(|(name, _)| *name != "good") {
        let mut client = Client::connect(gate.address());
        client.send(request(&token, &format!("GET /app/{name}"), ""));
        let over = name.starts_with("long") || *name == "no-content";
        if over && *name != "long-chunk" {
            let answer = client.response();
            assert!(answer.status < 300 && !answer.text().contains("evil"), "{name}");
            // The client's own connection is as good as before.
            client.send(request(&token, "GET /app/good", ""));
            assert_eq!(client.response().text(), "good", "{name}");
        } else {
            // Cut short: no last chunk, or fewer bytes than were told; and the end.
            let rest = String::from_utf8(client.rest()).unwrap();
            assert!(rest.starts_with("HTTP/1.1 200 ") || rest.starts_with("HTTP/1.1 502 "), "{name}: {rest}");
            let whole = rest.ends_with("\r\n0\r\n\r\n");
            assert!(!whole, "{name} came to a good end: {rest}");
        }
        assert_eq!(Client::get(gate.address(), "/app/good", Some(&token)).text(), "good", "after {name}");
        bad_one_was_the_last(&upstream, name);
    }
}

#[test]
fn heads_204_304_and_answers_by_close_are_framed_as_they_must_be() {
    const ANSWERS: &[(&str, &[u8])] = &[
        ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nX-A: b\r\n\r\n"),
        ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("none", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("204", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        ("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9999\r\nETag: \"x\"\r\n\r\n"),
        ("by-close", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"),
        ("old", b"HTTP/1.0 200 Fine\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold"),
        ("interim", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast"),
        ("no-reason", b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"),
        ("extended", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n002 ;a=b\r\nok\r\n000\r\nX-Sum: 1\r\nSet-Cookie: fallgate=x\r\nRemote-User: root\r\n\r\n"),
    ];
    let upstream = answering(ANSWERS);
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    for (name, length, coding) in [
        ("length", Some("9999"), None),
        ("chunked", None, Some("chunked")),
        ("none", None, None),
        ("304", Some("9999"), None),
        ("204", None, None),
    ] {
        client.send(request(&token, &format!("HEAD /app/{name}"), ""));
        let answer = client.response_to_head();
        assert_eq!(
            (answer.header("content-length"), answer.header("transfer-encoding")),
            (length, coding),
            "HEAD {name}"
        );
        assert_eq!(answer.header("connection"), None, "HEAD {name}");
    }
    for (name, status, length) in [("204", 204, None), ("304", 304, Some("9999"))] {
        client.send(request(&token, &format!("GET /app/{name}"), ""));
        let answer = client.response();
        assert_eq!(
            (answer.status, answer.header("content-length"), answer.header("transfer-encoding")),
            (status, length, None)
        );
    }
    for (name, body) in [
        ("by-close", "until the end"),
        ("old", "old"),
        ("interim", "last"),
        ("no-reason", ""),
        ("extended", "ok"),
    ] {
        client.send(request(&token, &format!("GET /app/{name}"), ""));
        let answer = client.response();
        assert_eq!(answer.text(), body, "{name}");
        assert_eq!(
            answer.header("transfer-encoding").is_some(),
            matches!(name, "by-close" | "extended"),
            "{name}"
        );
        if name == "extended" {
            assert_eq!(answer.header("trailer"), Some("X-Sum"));
        }
    }
    // What an HTTP/1.0 client cannot read in chunks ends with its connection.
    for (name, body, more) in [
        ("by-close", "until the end", ""),
        ("extended", "ok", "Connection: keep-alive\r\n"),
        ("interim", "last", ""),
    ] {
        let mut client = Client::connect(gate.address());
        let request = format!("GET /app/{name} HTTP/1.0\r\nHost: localhost\r\n{}{more}\r\n", token.header());
        client.send(request);
        let answer = client.response();
        assert_eq!(
            (answer.text().as_str(), answer.header("transfer-encoding"), answer.header("connection")),
            (body, None, Some("close")),
            "{name}"
        );
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn an_http_1_0_client_may_keep_its_connection_where_the_length_is_told() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    for _ in 0..3 {
        client.send(format!(
            "GET /app/x HTTP/1.0\r\nHost: localhost\r\n{}Connection: Keep-Alive\r\n\r\n",
            token.header()
        ));
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    client.send(format!("GET /app/x HTTP/1.0\r\nHost: localhost\r\n{}\r\n", token.header()));
    assert_eq!(client.response().header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn r66_an_early_answer_reaches_the_client_and_neither_connection_is_used_again() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        while let Some((head, early)) = read_head(&mut stream) {
            if head.starts_with("GET") {
                let _ = stream.write_all(GOOD);
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
            let mut rest = early;
            let _ = stream.read_to_end(&mut rest);
            tell.send(String::from_utf8(rest).unwrap()).unwrap();
            return;
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for _ in 0..4 {
        let mut client = Client::connect(gate.address());
        client.send(request(&token, "POST /app/x", "Content-Length: 1000000\r\n") + "some of it");
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
        assert_eq!(client.rest(), b"");
        for _ in 0..4 {
            assert_eq!(Client::get(gate.address(), "/app/y", Some(&token)).text(), "good");
        }
        // Nothing came behind the part of the body that was there, but the end.
        let rest = told.recv_timeout(PATIENCE).unwrap();
        assert!("some of it".starts_with(&rest), "the connection was used again: {rest}");
    }
}

/// Behind more bytes than are read ahead, a client's end cannot be read; it is noticed all the same.
#[test]
fn r67_a_client_that_leaves_behind_unread_bytes_ends_its_request() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        read_head(&mut stream).unwrap();
        // Never answers; learns that the request has ended by the end of its connection.
        let _ = stream.read_to_end(&mut Vec::new());
        tell.send(()).unwrap();
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "GET /app/x", ""));
    client.send("X".repeat(60_000));
    drop(client);
    told.recv_timeout(PATIENCE).expect("the request goes on without its client");
}

/// The body of the first request, taken by its upstream for a request of its own, is answered to nobody else.
#[test]
fn r66_a_connection_whose_answer_began_before_the_body_came_is_not_used_again() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, number| {
        while let Some((head, _)) = read_head(&mut stream) {
            if head.starts_with("POST") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe").unwrap();
                // It does not read the body as one: the next head that it sees is the body.
                let (smuggled, _) = read_head(&mut stream).unwrap();
                stream.write_all(b"en").unwrap();
                tell.send(smuggled).unwrap();
                continue;
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let body = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "POST /app/x", &format!("Content-Length: {}\r\n", body.len())));
    client.wait_for("be");
    client.send(body);
    assert_eq!(client.response().text(), "been");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), body);
    // Kept open, so that every worker gets some.
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut other = Client::connect(gate.address());
        other.send(request(&token, "GET /app/y", ""));
        assert_ne!(other.response().text(), "0", "the connection was used again");
        others.push(other);
    }
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_502_and_a_stale_connection_is_tried_again() {
    let upstream = Scripted::new(|mut stream, number| {
        let Some((head, _)) = read_head(&mut stream) else { return };
        if head.contains("/closes") {
            return;
        }
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
        // The second request on it is read and not answered, as by a server that has just decided to close.
        read_head(&mut stream);
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "GET /app/1", ""));
    assert_eq!(client.response().text(), "0");
    client.send(request(&token, "GET /app/2", ""));
    assert_eq!(client.response().text(), "1", "a request that can be repeated is");
    client.send(request(&token, "POST /app/3", "Content-Length: 1\r\n") + "x");
    assert_eq!(client.response().status, 502, "a request that cannot be repeated is not");
    assert_eq!(Client::get(gate.address(), "/app/closes", Some(&token)).status, 502);
}

#[test]
fn a_100_continue_is_sent_once_the_caller_is_let_in_and_the_upstream_is_there() {
    let upstream = Upstream::echo();
    let down = nobodys_address();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"down\"\npath = \"/down\"\nupstream = \"http://{down}\"\n",
        upstream.url()
    ));
    let token = gate.token("ada");
    let expect = "Expect: 100-Continue\r\nContent-Length: 3\r\n";
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "POST /app/x", expect));
    let interim = client.response();
    assert_eq!((interim.status, interim.headers.len()), (100, 0));
    client.send("abc");
    assert_eq!(client.response().status, 200);
    let seen = upstream.requests();
    assert_eq!((seen[0].body(), seen[0].header("expect").len()), (b"abc".as_slice(), 0));

    // Who sends the body at once needs no 100, and gets none.
    client.send(request(&token, "POST /app/x", expect) + "abc");
    assert_eq!(client.response().status, 200);
    // Nor does who has no body.
    client.send(request(&token, "GET /app/x", "Expect: 100-continue\r\n"));
    assert_eq!(client.response().status, 200);

    for (line, token, status) in [
        ("POST /app/x", None, 401),
        ("POST /down/x", Some(&token), 502),
        ("POST /app/a%2fb", Some(&token), 400),
        ("POST /nothing", Some(&token), 404),
    ] {
        let header = token.map(Token::header).unwrap_or_default();
        let mut client = Client::connect(gate.address());
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{header}{expect}\r\n"));
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{line}");
        assert_eq!(client.rest(), b"");
    }
    // Our own doors ask for a body too, once they want it.
    let body = r#"{"name":"x"}"#;
    let writer = gate.token_with("ada", &["--scope", "tokens:write"]);
    let json = format!(
        "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut client = Client::connect(gate.address());
    client.send(request(&writer, "POST /api/tokens", &json));
    assert_eq!(client.response().status, 100);
    client.send(body);
    assert_eq!(client.response().status, 201);
    for (token, status) in [(&token, 403), (&writer, 413)] {
        let mut client = Client::connect(gate.address());
        client.send(request(
            token,
            "POST /api/tokens",
            "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n",
        ));
        assert_eq!(client.response().status, status);
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn r65_only_after_the_upstreams_101_do_early_bytes_go_up_and_never_as_a_request() {
    let (tell, seen) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        while let Some((head, early)) = read_head(&mut stream) {
            let agrees = head.contains("/agrees");
            tell.send((head.lines().next().unwrap().to_owned(), early)).unwrap();
            let answer: &[u8] = match agrees {
                true => {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
                }
                false if head.contains("/other") => {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
                }
                false => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            };
            let _ = stream.write_all(answer);
            if agrees && let Some((echo, _)) = read_head(&mut stream) {
                let _ = stream.write_all(echo.as_bytes());
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let evil = request(&token, "GET /app/evil", "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

    let mut client = Client::connect(gate.address());
    client.send(request(&token, "GET /app/agrees", upgrade) + &evil);
    let switched = client.response();
    assert_eq!((switched.status, switched.header("upgrade")), (101, Some("WebSocket")));
    // In the tunnel they are bytes like others.
    assert_eq!(String::from_utf8(client.rest()).unwrap(), evil);

    for (line, status) in [("GET /app/refuses", 200), ("GET /app/other", 502)] {
        let mut client = Client::connect(gate.address());
        client.send(request(&token, line, upgrade) + &evil);
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{line}");
        assert_eq!(client.rest(), b"", "{line}");
    }
    // Our own doors switch to nothing.
    for (line, status) in
        [("GET /api/whoami", 200), ("GET /health", 200), ("GET /nothing", 404), ("PUT /api/tokens", 405)]
    {
        let mut client = Client::connect(gate.address());
        client.send(request(&token, line, upgrade) + &evil);
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{line}");
        assert_eq!(client.rest(), b"", "{line}");
    }
    // A switch that nobody asked for.
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "GET /app/agrees", ""));
    assert_eq!(client.response().status, 502);
    let seen: Vec<_> = seen.try_iter().collect();
    let lines = ["/agrees", "/refuses", "/other", "/agrees"].map(|target| format!("GET {target} HTTP/1.1"));
    assert_eq!(seen, lines.map(|line| (line, Vec::new())), "something else went up, or too early");
}

#[test]
fn r66_an_answer_to_nobodys_question_goes_to_nobody() {
    let (tell, told) = mpsc::channel();
    let upstream = Scripted::new(move |mut stream, number| {
        while read_head(&mut stream).is_some() {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
            if number == 0 {
                // Later, on its own, while the connection is kept for the next request.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                tell.send(()).unwrap();
            }
        }
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    client.send(request(&token, "GET /app/1", ""));
    assert_eq!(client.response().text(), "0");
    told.recv().unwrap();
    for _ in 0..3 {
        client.send(request(&token, "GET /app/2", ""));
        assert_eq!(client.response().text(), "1");
    }
}

#[test]
fn r66_a_body_that_an_answer_must_not_have_is_nobodys_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (line, status) in [("HEAD /app/1", 200), ("GET /app/1", 304)] {
        let upstream = Scripted::new(move |mut stream, number| {
            while read_head(&mut stream).is_some() {
                if number > 0 {
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                    continue;
                }
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", evil.len());
                // On its own, when the next request may have come.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let _ = stream.write_all(evil.as_bytes());
            }
        });
        let gate = Gate::before("app", &upstream.url());
        let token = gate.token("ada");
        let mut client = Client::connect(gate.address());
        client.send(request(&token, line, "") + &request(&token, "GET /app/2", ""));
        assert_eq!(client.response_to_head().status, status, "{line}");
        assert_eq!(client.response().text(), "1", "{line}");
    }
}

#[test]
fn r59_an_answers_head_may_have_100_fields_and_64_kib() {
    let upstream = Upstream::answering(|request| {
        let target = request.target();
        let (fields, length) = target[1..].split_once('/').unwrap();
        let (fields, length): (usize, usize) = (fields.parse().unwrap(), length.parse().unwrap());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}X-B: ", "X-A: 1\r\n".repeat(fields));
        let value = "v".repeat(length.saturating_sub(head.len() + 4));
        format!("{head}{value}\r\n\r\n").into_bytes()
    });
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for (fields, length, status) in
        [(98, 0, 200), (99, 0, 502), (5_000, 0, 502), (0, 65_536, 200), (0, 65_537, 502), (0, 5_000_000, 502)]
    {
        let answer = Client::get(gate.address(), &format!("/app/{fields}/{length}"), Some(&token));
        assert_eq!(answer.status, status, "{fields} fields, {length} bytes");
    }
}
