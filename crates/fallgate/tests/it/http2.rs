//! HTTP/2 on both sides of the gate: the same rules, the same decisions, the same bytes at the upstream as by HTTP/1.1.

mod cutting;
mod floods;
mod hostile;
mod sealed;
mod upstreams;

use std::process::Command;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, Method};
use rustix::process::Signal;

use crate::support::http2::{Answer, Frames};
use crate::support::http2::{Outcome, QUIET, Session, frame, headers, more, run, send};
use crate::support::{Client, Gate, Puppet, Token, Upstream, wait_for};

fn routes(upstream: &str) -> Gate {
    Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\n\
         [[route]]\nname = \"open\"\npath = \"/open\"\nupstream = {upstream:?}\npublic = [\"/\"]\n"
    ))
}

#[test]
fn r3_doors_and_routes_answer_as_they_do_by_http1() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        for (method, target, token) in [
            ("GET", "/health", None),
            ("GET", "/api/whoami", Some(&token)),
            ("GET", "/api/whoami", None),
            ("GET", "/api/audit", Some(&token)),
            ("GET", "/app/x", None),
            ("GET", "/nothing", Some(&token)),
            ("DELETE", "/api/version", Some(&token)),
            ("PUT", "/app/%2e%2e/x", Some(&token)),
            ("HEAD", "/health", None),
            ("TRACE", "/app/x", Some(&token)),
            ("POST", "/api/tokens", Some(&token)),
        ] {
            let name = format!("{method} {target}");
            let asked = session.request(method.parse().unwrap(), target, token);
            let two = session.ask(asked, b"").await;
            let line = token.map(Token::header).unwrap_or_default();
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n");
            let mut client = Client::connect(gate.address());
            client.send(request);
            let one = if method == "HEAD" { client.response_to_head() } else { client.response() };
            assert_eq!((two.status.as_u16(), two.text()), (one.status, one.text()), "{name}");
            for field in ["content-type", "content-length", "www-authenticate", "allow", "cache-control"] {
                let told = two.headers.get(field).map(|value| value.to_str().unwrap());
                assert_eq!(told, one.header(field), "{field} of {name}");
            }
        }
    });
}

#[test]
fn r10_r16_what_goes_up_is_what_goes_up_by_http1() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let token = gate.token("ada");
    let fields = [
        ("accept", "text/html"),
        ("remote-user", "root"),
        ("x-forwarded-for", "203.0.113.1"),
        ("forwarded", "for=203.0.113.1"),
        ("x-real-ip", "203.0.113.1"),
        ("fallgate-assertion", "made up"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("cookie", "a=b; fallgate=mine; c=d"),
        ("x-twice", "one"),
        ("x-twice", "two"),
        ("content-type", "text/plain"),
        ("content-length", "4"),
        ("expect", "100-continue"),
    ];
    run(async {
        let session = Session::open(gate.address()).await;
        let mut request = session.request(Method::POST, "/app/a%7Eb?q=%2f#&x", Some(&token));
        for (name, value) in fields {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        // The library takes the fragment away by itself: `hostile` has one that does not.
        assert_eq!(session.ask(request, b"body").await.status, 200);
    });
    let lines: String = fields.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let mut client = Client::connect(gate.address());
    client.send(format!(
        "POST /app/a%7Eb?q=%2f HTTP/1.1\r\nHost: localhost\r\n{}{lines}\r\nbody",
        token.header()
    ));
    client.wait_for("200 OK");
    let seen = upstream.wait_for_requests(2);
    let sorted = |index: usize| {
        let head = seen[index].head().to_ascii_lowercase();
        let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(0), sorted(1));
    assert_eq!(seen[0].target(), "/a~b?q=%2f");
    assert_eq!(seen[0].body(), b"body");
    assert_eq!(seen[0].header("cookie"), ["a=b; c=d"]);
    assert_eq!(seen[0].header("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn r15_cookies_in_crumbs_are_one_field_without_ours() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    run(async {
        let session = Session::open(gate.address()).await;
        let mut request = session.request(Method::GET, "/open/x", None);
        for crumb in ["a=b", "fallgate=secret", "c=d; e=f"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        assert_eq!(session.ask(request, b"").await.status, 200);
    });
    assert_eq!(upstream.wait_for_requests(1)[0].header("cookie"), ["a=b; c=d; e=f"]);
}

#[test]
fn bodies_of_any_length_go_both_ways_as_they_come() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let token = gate.token("ada");
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
    run(async {
        let session = Session::open(gate.address()).await;
        for announced in [true, false] {
            let mut request = session.request(Method::POST, "/app/x", Some(&token));
            if announced {
                request.headers_mut().insert("content-length", body.len().into());
            }
            let answer = session.ask(request, &body).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body.len() > body.len(), "the echo has the head too");
            if announced {
                assert!(answer.body.ends_with(&body));
            }
        }
    });
    let seen = upstream.wait_for_requests(2);
    assert_eq!(seen[0].header("content-length"), ["3000000"]);
    assert!(seen[0].body() == body);
    assert_eq!(seen[1].header("transfer-encoding"), ["chunked"]);
}

#[test]
fn trailers_pass_both_ways() {
    let puppet = Puppet::new();
    let gate = routes(&puppet.url());
    let token = gate.token("ada");
    let answering = std::thread::spawn(move || {
        let mut line = puppet.accept();
        let head = line.head();
        let body = String::from_utf8(line.exactly(b"4\r\nbody\r\n0\r\nx-sum: 17\r\n\r\n".len())).unwrap();
        line.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end, host\r\n\r\n\
             3\r\nyes\r\n0\r\nX-End: 1\r\nHost: evil\r\nRemote-User: root\r\n\r\n",
        );
        (head, body)
    });
    run(async {
        let session = Session::open(gate.address()).await;
        let mut request = session.request(Method::POST, "/app/x", Some(&token));
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        request.headers_mut().insert("trailer", "x-sum, remote-user".parse().unwrap());
        let (answer, mut stream) = session.send(request, false).await;
        send(&mut stream, b"body").await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "17".parse().unwrap());
        trailers.insert("remote-user", "root".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        let answer = Answer::read(answer).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "yes"));
        assert_eq!(answer.headers.get("trailer").unwrap(), "x-end");
        let trailers = answer.trailers.unwrap();
        assert_eq!((trailers.len(), trailers.get("x-end").unwrap().as_bytes()), (1, &b"1"[..]));
    });
    let (head, body) = answering.join().unwrap();
    assert!(head.contains("\r\nTE: trailers\r\n") && head.contains("\r\nTrailer: x-sum\r\n"), "{head}");
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 17\r\n\r\n");
}

#[test]
fn an_event_stream_arrives_event_by_event() {
    let puppet = Puppet::new();
    let gate = routes(&puppet.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let (answer, _) = session.send(session.request(Method::GET, "/app/x", Some(&token)), true).await;
        let mut line = tokio::task::spawn_blocking(move || {
            let mut line = puppet.accept();
            line.head();
            line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            line
        })
        .await
        .unwrap();
        let (parts, mut body) = answer.await.unwrap().into_parts();
        assert_eq!(parts.headers.get("content-type").unwrap(), "text/event-stream");
        for event in ["data: one\n\n", "data: two\n\n"] {
            line.send(event);
            assert_eq!(more(&mut body).await.unwrap().unwrap(), event);
        }
        line.finish();
        assert!(more(&mut body).await.is_none());
    });
}

#[test]
fn an_upstream_that_breaks_off_is_seen_to_have() {
    let puppet = Puppet::new();
    let gate = routes(&puppet.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let (answer, _) = session.send(session.request(Method::GET, "/app/x", Some(&token)), true).await;
        tokio::task::spawn_blocking(move || {
            let mut line = puppet.accept();
            line.head();
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        });
        let error = Answer::read(answer).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
        assert_eq!(session.get("/health", None).await.status, 200, "the connection goes on");
    });
}

#[test]
fn a_client_that_gives_its_stream_up_ends_the_upstream_request() {
    let puppet = Puppet::new();
    let gate = routes(&puppet.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let (answer, mut stream) =
            session.send(session.request(Method::GET, "/app/x", Some(&token)), false).await;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = puppet.accept();
            line.head();
            line
        })
        .await
        .unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        tokio::task::spawn_blocking(move || line.ended()).await.unwrap();
        assert_eq!(session.get("/health", None).await.status, 200);
    });
}

#[test]
fn many_streams_of_many_people_go_on_one_connection() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let tokens = [gate.token("ada"), gate.token("bob"), gate.token("eve")];
    run(async {
        let session = Session::open(gate.address()).await;
        let asking = (0..100).map(|number: usize| {
            let (session, token) = (session.clone(), &tokens[number % 3]);
            async move {
                let told = session.get("/api/whoami", Some(token)).await.text();
                let name = ["ada", "bob", "eve"][number % 3];
                assert!(told.contains(&format!("\"username\":\"{name}\"")), "{told}");
                let echo = session.get(&format!("/app/{number}"), Some(token)).await;
                assert!(echo.text().starts_with(&format!("GET /{number} ")), "{}", echo.text());
            }
        });
        asking.collect::<FuturesUnordered<_>>().collect::<()>().await;
    });
}

#[test]
fn r65_an_http1_connection_does_not_turn_into_http2() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut client = Client::connect(gate.address());
    client.send(format!("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n{preface}"));
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    let mut client = Client::connect(gate.address());
    client.send(format!("GET /open/x HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n"));
    let answer = client.response();
    assert_eq!(answer.status, 200, "answered by HTTP/1.1");
    assert!(!answer.text().to_ascii_lowercase().contains("h2c"), "{}", answer.text());
    for almost in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\t",
        "PRI * HTTP/2.0\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
        "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = Client::connect(gate.address());
        client.send(almost);
        assert_eq!(client.response().status, 400, "{almost:?}");
    }
    let mut dripping = Frames::silent(gate.address());
    for byte in preface.bytes() {
        dripping.send([byte]);
    }
    dripping.send(frame(4, 0, 0, b""));
    dripping.send(headers(
        1,
        true,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "localhost")],
    ));
    assert_eq!(dripping.outcome(1), Outcome::Status(200));
}

#[test]
fn curl_speaks_http2_with_the_gate() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let token = gate.token("ada");
    let url = format!("http://{}", gate.address());
    let curl = |more: &[&str], path: &str| {
        let bearer = format!("authorization: Bearer {}", token.secret);
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "10", "--http2-prior-knowledge", "-H", &bearer])
            .args(["-w", "\n%{http_version} %{http_code}"])
            .args(more)
            .arg(format!("{url}{path}"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(curl(&[], "/app/x").ends_with("\n2 200"));
    assert!(curl(&["-d", "some=body"], "/app/x").contains("\r\n\r\nsome=body\n2 200"));
    assert!(curl(&[], "/api/whoami").contains("\"username\":\"ada\""));
    assert!(curl(&["-H", "a_b: c"], "/app/x").ends_with("\n2 400"));
}

#[test]
fn a_stopping_gate_says_so_and_lets_a_stream_under_way_end() {
    let puppet = Puppet::new();
    let mut gate = routes(&puppet.url());
    let token = gate.token("ada");
    let mut idle = Frames::begin(gate.address(), &[]);
    idle.send(headers(
        1,
        true,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "localhost")],
    ));
    assert_eq!(idle.outcome(1), Outcome::Status(200));
    let mut busy = Frames::begin(gate.address(), &[]);
    let bearer = format!("Bearer {}", token.secret);
    busy.send(headers(
        1,
        true,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/app/x"),
            (":authority", "localhost"),
            ("authorization", &bearer),
        ],
    ));
    let mut line = puppet.accept();
    line.head();
    gate.signal(Signal::TERM);
    let said = busy.find(|frame| (frame.kind == 7).then(|| frame.payload.clone())).unwrap();
    assert_eq!(said[4..8], [0; 4], "without blame");
    // A client that answers the ping is told the last stream that counts.
    busy.send(frame(6, 1, 0, &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54]));
    line.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
    let data = busy.find(|frame| (frame.kind == 0).then(|| frame.payload.clone())).unwrap();
    assert_eq!(data, b"yes");
    drop(idle);
    drop(busy);
    assert!(gate.ended().success());
}

#[test]
fn an_idle_connection_is_closed_with_a_word() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[limits]\nidle = \"1s\"\nhead_time = \"1s\"\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n",
        upstream.url()
    ));
    let mut frames = Frames::begin(gate.address(), &[]);
    assert!(frames.ends_with(0), "GOAWAY without an error, then an end");
    // A client that begins and says nothing more is not waited for either.
    let mut silent = Frames::silent(gate.address());
    silent.send(b"PRI * HTTP/2.0\r\n\r\nSM\r");
    assert!(silent.drain().is_ok_and(|bytes| bytes > 0), "answered 408 in the end");
}

#[test]
fn an_early_answer_ends_the_request_without_blame() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let mut frames = Frames::begin(gate.address(), &[]);
    frames.send(headers(
        1,
        false,
        &[(":method", "POST"), (":scheme", "http"), (":path", "/app/x"), (":authority", "localhost")],
    ));
    assert_eq!(frames.outcome(1), Outcome::Status(401));
    assert_eq!(frames.outcome(1), Outcome::Reset(0), "the rest of the body is not wanted");
    frames.send(frame(0, 0, 1, b"late"));
    frames.send(headers(
        3,
        true,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "localhost")],
    ));
    assert_eq!(frames.outcome(3), Outcome::Status(200));
    assert!(upstream.bytes().is_empty());
}

#[test]
fn a_slow_reader_holds_up_nobody_else_on_its_connection() {
    let upstream = Upstream::answering(|request| {
        let length = if request.target().contains("large") { 4_000_000 } else { 3 };
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]]
            .concat()
    });
    let gate = routes(&upstream.url());
    let token = gate.token("ada");
    run(async {
        let mut client = h2::client::Builder::new();
        client.initial_connection_window_size(16 * 1024 * 1024);
        let session = Session::open_with(gate.address(), &client).await;
        let mut unread = Vec::new();
        for _ in 0..8 {
            let request = session.request(Method::GET, "/app/large", Some(&token));
            let (answer, _) = session.send(request, true).await;
            unread.push(answer.await.unwrap().into_body());
        }
        assert_eq!(session.get("/app/x", Some(&token)).await.text(), "xxx");
        for mut body in unread {
            let mut count = 0;
            while let Some(data) = more(&mut body).await {
                count += data.unwrap().len();
            }
            assert_eq!(count, 4_000_000);
        }
    });
    wait_for("all requests", || (upstream.requests().len() == 9).then_some(()));
}

#[test]
fn uploads_are_held_back_when_the_upstream_takes_nothing() {
    let puppet = Puppet::new();
    let gate = routes(&puppet.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let request = session.request(Method::POST, "/app/x", Some(&token));
        let (_answer, mut stream) = session.send(request, false).await;
        let _line = tokio::task::spawn_blocking(move || {
            let mut line = puppet.accept();
            line.head();
            line
        })
        .await
        .unwrap();
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while tokio::time::timeout(QUIET, send(&mut stream, &piece)).await.is_ok() {
            sent += piece.len();
            assert!(sent < 64 * 1024 * 1024, "nothing holds it back");
        }
        assert_eq!(session.get("/health", None).await.status, 200, "others are not held up");
    });
    let memory = gate.memory_peak();
    assert!(memory < 200 * 1024 * 1024, "{memory}");
}
