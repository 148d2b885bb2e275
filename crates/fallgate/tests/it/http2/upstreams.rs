//! Upstreams that speak HTTP/2, for clients that do and for clients that do not.

use http::{HeaderMap, Method};

use crate::support::http2::{Http2Upstream, QUIET, Session, more, run, send};
use crate::support::{Client, Gate, Line, Token};

fn gate(upstream: &str) -> Gate {
    Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\nupstream_http2 = true\n"
    ))
}

fn ask(gate: &Gate, line: &str, token: &Token, rest: &str) -> crate::support::Response {
    let mut client = Client::connect(gate.address());
    client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}{rest}", token.header()));
    client.response()
}

#[test]
fn r10_r15_an_http1_client_reaches_an_http2_upstream() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let answer = ask(
        &gate,
        "POST /app/a%7Eb?q=1",
        &token,
        "Remote-User: root\r\nConnection: x-mine\r\nX-Mine: 1\r\nX-Passes: 2\r\nKeep-Alive: 5\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let asked = &upstream.seen().requests[0];
    assert_eq!(asked.uri.to_string(), "http://localhost/a~b?q=1");
    assert_eq!(asked.method, Method::POST);
    let names = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(names("content-length").as_deref(), Some("4"));
    assert_eq!(names("x-passes").as_deref(), Some("2"));
    assert_eq!(names("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    for gone in ["authorization", "remote-user", "connection", "x-mine", "keep-alive", "host", "te"] {
        assert_eq!(names(gone), None, "{gone}");
    }
}

#[test]
fn r66_exchanges_share_one_connection_and_find_a_new_one_when_it_is_gone() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    let mut ask = || {
        client.send(format!("GET /app/grpc HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
        client.response().status
    };
    for _ in 0..5 {
        assert_eq!(ask(), 200);
    }
    assert_eq!(upstream.seen().connections, 1);
    let address = upstream.stop();
    let upstream = Http2Upstream::at(address);
    assert_eq!(ask(), 200, "asked again on a new connection");
    assert_eq!(upstream.seen().connections, 1);
}

#[test]
fn r66_a_connection_that_says_goodbye_is_not_used_again() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    assert_eq!(ask(&gate, "GET /app/leave", &token, "\r\n").status, 200);
    assert_eq!(ask(&gate, "GET /app/x", &token, "\r\n").status, 200);
    let seen = upstream.seen();
    assert_eq!((seen.connections, seen.requests.len()), (2, 2));
}

#[test]
fn r66_what_is_under_way_goes_on_after_a_goodbye_and_new_requests_go_elsewhere() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let post = |target: &str| session.request(Method::POST, target, Some(&token));
        let (answer, mut up) = session.send(post("/app/x"), false).await;
        send(&mut up, b"one").await;
        let mut down = answer.await.unwrap().into_body();
        assert_eq!(more(&mut down).await.unwrap().unwrap(), "one");
        for target in ["/app/leave", "/app/y", "/app/z"] {
            assert_eq!(session.ask(post(target), b"body").await.text(), "body", "{target}");
        }
        send(&mut up, b"two").await;
        assert_eq!(more(&mut down).await.unwrap().unwrap(), "two");
    });
    assert_eq!(upstream.seen().connections, 2);
}

#[test]
fn a_stream_that_is_refused_is_502_and_the_connection_goes_on() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    // One connection to the gate is one worker's, and so is its connection to the upstream.
    run(async {
        let session = Session::open(gate.address()).await;
        for (target, status) in [("/app/refuse", 502), ("/app/x", 200), ("/app/refuse", 502), ("/app/x", 200)]
        {
            let asked = session.request(Method::POST, target, Some(&token));
            assert_eq!(session.ask(asked, b"").await.status, status, "{target}");
        }
    });
    assert_eq!(upstream.seen().connections, 1);
}

#[test]
fn an_upstream_that_does_not_speak_http2_is_502() {
    let upstream = crate::support::Upstream::answering(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let answer = ask(&gate, "GET /app/x", &token, "\r\n");
    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn a_grpc_shaped_call_talks_both_ways_and_ends_with_trailers() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    run(async {
        let session = Session::open(gate.address()).await;
        let mut request = session.request(Method::POST, "/app/grpc.Service/Call", Some(&token));
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let (answer, mut up) = session.send(request, false).await;
        let (parts, mut down) = answer.await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        for message in ["one", "two", "three"] {
            send(&mut up, message.as_bytes()).await;
            assert_eq!(more(&mut down).await.unwrap().unwrap(), message);
        }
        up.send_trailers(HeaderMap::from_iter([("x-last".parse().unwrap(), "word".parse().unwrap())]))
            .unwrap();
        assert!(more(&mut down).await.is_none());
        let trailers = down.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        assert_eq!(trailers.get("grpc-message").unwrap(), "fine");
        let alone = session.get("/app/alone", Some(&token)).await;
        assert_eq!(alone.headers.get("grpc-status").unwrap(), "7");
        assert!(alone.body.is_empty() && alone.trailers.is_none());
    });
    let seen = upstream.seen();
    assert_eq!(seen.requests[0].headers.get("te").unwrap(), "trailers");
    assert_eq!(seen.trailers[0].get("x-last").unwrap(), "word");
}

#[test]
fn large_bodies_go_both_ways() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    run(async {
        let session = Session::open(gate.address()).await;
        let answer = session.ask(session.request(Method::POST, "/app/x", Some(&token)), &body).await;
        assert!(answer.body == body);
    });
    let mut line = Line::connect(gate.address());
    line.send(format!(
        "POST /app/y HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        token.header()
    ));
    let flood = line.flood(body);
    let head = line.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    while line.exactly(1_000).len() < 1_000 {}
    upstream.wait_for("the body", |seen| seen.body_bytes >= 5_500_000);
    drop(line);
    drop(flood);
}

#[test]
fn a_slow_reader_holds_up_nobody_else_on_the_upstream_connection() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    // Each goes on for ever and is read by nobody.
    let unread: Vec<_> = (0..20)
        .map(|_| {
            let mut line = Line::connect(gate.address());
            line.send(format!("GET /app/events HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
            line
        })
        .collect();
    upstream.wait_for("all streams", |seen| seen.requests.len() == 20);
    std::thread::sleep(QUIET);
    for _ in 0..10 {
        assert_eq!(ask(&gate, "POST /app/x", &token, "Content-Length: 4\r\n\r\nbody").text(), "body");
    }
    let memory = gate.memory_peak();
    assert!(memory < 150 * 1024 * 1024, "{memory}");
    drop(unread);
    upstream.wait_for("their ends", |seen| seen.broken_off == 20);
}

#[test]
fn more_streams_than_a_connection_takes_get_another() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let lines: Vec<_> = (0..260)
        .map(|_| {
            let mut line = Line::connect(gate.address());
            line.send(format!("GET /app/events HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
            line
        })
        .collect();
    let seen = upstream.wait_for("all streams", |seen| seen.requests.len() == 260);
    assert!(seen.connections <= 8, "{}", seen.connections);
    drop(lines);
}

#[test]
fn trailers_of_an_http2_upstream_reach_an_http1_client() {
    let upstream = Http2Upstream::start();
    let gate = gate(&upstream.url());
    let token = gate.token("ada");
    let mut client = Client::connect(gate.address());
    client.send(format!(
        "POST /app/grpc HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{}\r\n\
         2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
        token.header()
    ));
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(
        text.ends_with("2\r\nhi\r\n0\r\ngrpc-message: fine\r\ngrpc-status: 0\r\n\r\n")
            || text.ends_with("2\r\nhi\r\n0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n"),
        "{text}"
    );
    assert_eq!(upstream.seen().trailers[0].get("x-t").unwrap(), "1");
}
