//! A cut on a connection that many share: its stream is reset, the others go on; and where the client takes nothing in, the
//! connection goes with it.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::support::http2::{Frames, Http2Upstream, Outcome, Session, frame, headers, more, run, send};
use crate::support::{Client, Gate, Line, Puppet, Token, wait_for};

/// The promise is 250 ms; a machine that is busy with other tests gets more.
const AT_MOST: Duration = Duration::from_secs(2);

struct Scene {
    upstream: Puppet,
    gate: Gate,
    token: Token,
}

impl Scene {
    fn set() -> Self {
        let upstream = Puppet::new();
        let gate = Gate::before("app", &upstream.url());
        let token = gate.token("ada");
        Self { upstream, gate, token }
    }

    /// A request on that stream, and the upstream's end of it.
    fn ask(&self, client: &mut Frames, stream: u32, method: &str, token: &Token) -> Line {
        let bearer = format!("Bearer {}", token.secret);
        client.send(headers(
            stream,
            method == "GET",
            &[
                (":method", method),
                (":scheme", "http"),
                (":path", "/app/x"),
                (":authority", "localhost"),
                ("authorization", &bearer),
            ],
        ));
        let mut line = self.upstream.accept();
        line.head();
        line
    }

    fn revoke(&self) -> Instant {
        self.gate.fallgate(&["token", "revoke", &self.token.id]).ok();
        Instant::now()
    }
}

#[track_caller]
fn soon(what: &str, revoked: Instant) {
    let after = revoked.elapsed();
    eprintln!("{what}: {:.1} ms after the exit of the revoke", after.as_secs_f64() * 1_000.0);
    assert!(after < AT_MOST, "{what}: {after:?}");
}

/// The next data of a stream.
fn data(client: &mut Frames, stream: u32) -> Vec<u8> {
    client.find(|frame| (frame.kind == 0 && frame.stream == stream).then(|| frame.payload.clone())).unwrap()
}

#[test]
fn r46_a_flowing_answer_is_reset_and_others_on_its_connection_go_on() {
    let scene = Scene::set();
    let other = scene.gate.token("bob");
    let mut client = Frames::begin(scene.gate.address(), &[]);
    let mut cut = scene.ask(&mut client, 1, "GET", &scene.token);
    let mut spared = scene.ask(&mut client, 3, "GET", &other);
    for line in [&mut cut, &mut spared] {
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    }
    assert_eq!(client.outcome(1), Outcome::Status(200));
    let cut = cut.watched();
    let revoked = scene.revoke();
    assert_eq!(client.outcome(1), Outcome::Reset(8));
    soon("the reset", revoked);
    assert_eq!(cut.join().unwrap().bytes, b"", "nothing more went up");
    spared.send("data: 2\n\n");
    let mut said = Vec::new();
    while !said.ends_with(b"data: 2\n\n") {
        said.extend(data(&mut client, 3));
    }
    // And the connection takes new requests.
    client.send(headers(
        5,
        true,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "localhost")],
    ));
    assert!(client.find(|frame| (frame.stream == 5 && frame.kind == 1).then_some(())).is_some());
}

#[test]
fn r46_a_request_not_yet_answered_gets_401_and_its_body_stops_going_up() {
    let scene = Scene::set();
    let mut client = Frames::begin(scene.gate.address(), &[]);
    let mut line = scene.ask(&mut client, 1, "POST", &scene.token);
    client.send(frame(0, 0, 1, b"before"));
    assert_eq!(line.exactly(11), b"6\r\nbefore\r\n");
    let line = line.watched();
    let revoked = scene.revoke();
    assert_eq!(client.outcome(1), Outcome::Status(401));
    soon("the refusal", revoked);
    client.send(frame(0, 0, 1, b"after"));
    assert_eq!(client.outcome(1), Outcome::Reset(0), "the rest is not wanted");
    client.send(frame(0, 1, 1, b"long after"));
    assert_eq!(line.join().unwrap().bytes, b"", "nothing more went up");
}

#[test]
fn r48_a_closed_window_does_not_hold_a_reset_up() {
    let scene = Scene::set();
    let mut client = Frames::begin(scene.gate.address(), &[(4, 0)]);
    let mut line = scene.ask(&mut client, 1, "GET", &scene.token);
    line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: never read\n\n");
    assert_eq!(client.outcome(1), Outcome::Status(200));
    let line = line.watched();
    let revoked = scene.revoke();
    assert_eq!(client.outcome(1), Outcome::Reset(8));
    soon("the reset", revoked);
    line.join().unwrap();
    soon("the upstream's end", revoked);
    // What it opens now lets nothing more through.
    client.send(frame(8, 0, 0, &[0, 1, 0, 0]));
    client.send(headers(
        3,
        true,
        &[(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "localhost")],
    ));
    let next = client.find(|frame| (frame.kind < 2).then_some((frame.kind, frame.stream)));
    assert_eq!(next, Some((1, 3)));
}

#[test]
fn r48_a_closed_window_does_not_hold_a_refusal_up() {
    let scene = Scene::set();
    let mut client = Frames::begin(scene.gate.address(), &[(4, 0)]);
    let line = scene.ask(&mut client, 1, "GET", &scene.token).watched();
    let revoked = scene.revoke();
    assert_eq!(client.outcome(1), Outcome::Status(401));
    let end = client
        .find(|frame| (frame.stream == 1).then_some((frame.kind, frame.flags & 1, frame.payload.len())));
    assert_eq!(end, Some((0, 1, 0)), "it ends without the body that there is no room for");
    soon("the refusal", revoked);
    line.join().unwrap();
}

#[test]
fn r48_a_client_that_reads_nothing_loses_its_connection() {
    let scene = Scene::set();
    let mut client = Frames::begin(scene.gate.address(), &[(4, 0x7fff_ffff)]);
    client.send(frame(8, 0, 0, &[0x7f, 0xff, 0, 0]));
    let mut line = scene.ask(&mut client, 1, "GET", &scene.token);
    line.send("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n");
    let stuck = line.send_until_stuck(&vec![b'x'; 64 * 1024]);
    assert!(stuck > 64 * 1024);
    let line = line.watched();
    let revoked = scene.revoke();
    line.join().unwrap();
    soon("the upstream's end", revoked);
    // The reset that would end the stream finds no way out: the connection is closed instead.
    wait_for("the connection's end", || client.was_reset().then_some(()));
    soon("the connection's end", revoked);
}

#[test]
fn r46_a_stream_is_listed_as_live_and_closed_by_its_number() {
    let scene = Scene::set();
    let mut client = Frames::begin(scene.gate.address(), &[]);
    let mut line = scene.ask(&mut client, 1, "GET", &scene.token);
    line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    assert_eq!(client.outcome(1), Outcome::Status(200));
    scene.gate.admin("root");
    let admin = scene.gate.token_with("root", &["--scope", "admin"]);
    let listed = wait_for("the stream's row", || {
        let answer = Client::get(scene.gate.address(), "/api/live", Some(&admin)).json();
        answer["live"].as_array().unwrap().first().cloned()
    });
    assert_eq!((listed["username"].as_str(), listed["route"].as_str()), (Some("ada"), Some("app")));
    assert_eq!(listed["ip"].as_str(), Some("127.0.0.1"));
    let path = format!("DELETE /api/live/{}", listed["id"].as_str().unwrap());
    assert_eq!(scene.gate.ask(&path, &admin.header(), &Value::Null).status, 204);
    assert_eq!(client.outcome(1), Outcome::Reset(8));
    line.ended();
}

#[test]
fn r46_a_stream_of_an_http2_upstream_is_reset_and_its_neighbours_go_on() {
    let upstream = Http2Upstream::start();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nupstream_http2 = true\n",
        upstream.url()
    ));
    let (token, other) = (gate.token("ada"), gate.token("bob"));
    run(async {
        let session = Session::open(gate.address()).await;
        let mut streams = Vec::new();
        for token in [&token, &other] {
            let asked = session.request(Method::POST, "/app/x", Some(token));
            let (answer, mut up) = session.send(asked, false).await;
            send(&mut up, b"hello").await;
            let mut down = answer.await.unwrap().into_body();
            assert_eq!(more(&mut down).await.unwrap().unwrap(), "hello");
            streams.push((up, down));
        }
        let (id, gate) = (token.id.clone(), &gate);
        gate.fallgate(&["token", "revoke", &id]).ok();
        let revoked = Instant::now();
        let (_, cut) = &mut streams[0];
        let error = more(cut).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        soon("the reset", revoked);
        let (up, down) = &mut streams[1];
        send(up, b"still here").await;
        assert_eq!(more(down).await.unwrap().unwrap(), "still here");
        let (up, _) = &mut streams[0];
        let _ = up.send_data("after".into(), true);
    });
    let seen = upstream.wait_for("the broken stream", |seen| seen.broken_off >= 1);
    assert_eq!(seen.connections, 1);
    assert!(seen.body_bytes <= 20, "{}", seen.body_bytes);
}
