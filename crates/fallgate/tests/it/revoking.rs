//! Revoked means revoked: what happens on open connections when another process ends their token.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Close, Ended, Gate, Line, Puppet, Token, Upstream, WebSocketUpstream, WsFrame, wait_for,
};

/// From the exit of `fallgate token revoke` to the last byte of the end. The promise is 250 ms, which the bench holds
/// to; a machine that is busy with other tests gets more.
const AT_MOST: Duration = Duration::from_secs(2);
/// A client that neither reads nor closes has a second to read its close frame in.
const WITH_FAREWELL: Duration = Duration::from_secs(4);

/// A gate with a route before a puppet, and a token for it.
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

    /// An open WebSocket: the client's end and the upstream's.
    fn websocket(&self, token: &Token) -> (Line, Line) {
        let client = Line::ask_for_websocket(self.gate.address(), "/app/", token);
        let upstream = self.upstream.accept_websocket();
        (client.switched(), upstream)
    }

    /// A request on a connection of its own; what follows its start line is given whole.
    fn request(&self, start: &str, rest: &str) -> Line {
        let mut client = Line::connect(self.gate.address());
        client.send(format!("{start}\r\nHost: localhost\r\n{}{rest}", self.token.header()));
        client
    }

    /// Revokes by another process and gives the moment of its exit.
    fn revoke(&self, token: &Token) -> Instant {
        self.gate.fallgate(&["token", "revoke", &token.id]).ok();
        Instant::now()
    }
}

#[track_caller]
fn assert_soon(what: &str, ended: &Ended, revoked: Instant, at_most: Duration) {
    let after = ended.at.saturating_duration_since(revoked);
    eprintln!("{what}: {:.1} ms after the exit of the revoke", after.as_secs_f64() * 1_000.0);
    assert!(after < at_most, "{what}: {after:?}");
}

#[test]
fn r42_the_next_request_after_a_revoke_is_refused_on_old_connections_and_new_ones() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let (token, other) = (gate.token("ada"), gate.token("ada"));
    let request = |token: &Token| format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    let mut kept = Client::connect(gate.address());
    kept.send(request(&token));
    assert_eq!(kept.response().status, 200);
    gate.fallgate(&["token", "revoke", &token.id]).ok();

    kept.send(request(&token));
    let refused = kept.response();
    assert_eq!(refused.status, 401);
    let again = Client::get(gate.address(), "/app/", Some(&token));
    assert_eq!((again.status, &again.body), (401, &refused.body));
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&token)).status, 401);
    // The connection is not the token's: another may go on using it.
    kept.send(request(&other));
    assert_eq!(kept.response().status, 200);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn r46_a_silent_websocket_gets_4401_with_the_reason_and_its_upstream_is_closed_too() {
    let scene = Scene::set();
    let (client, upstream) = scene.websocket(&scene.token);
    let (client, upstream) = (client.watched(), upstream.watched());
    let revoked = scene.revoke(&scene.token);
    let (client, upstream) = (client.join().unwrap(), upstream.join().unwrap());
    client.assert_closed(4401, "token revoked");
    assert_eq!(client.frames().len(), 1);
    assert_eq!(upstream.bytes, b"", "the upstream got something at the end");
    assert_soon("client", &client, revoked, AT_MOST);
    assert_soon("upstream", &upstream, revoked, AT_MOST);
}

#[test]
fn r46_no_other_websocket_is_touched() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let (token, same_user, other_user) = (gate.token("ada"), gate.token("ada"), gate.token("bob"));
    let open = |token| Line::ask_for_websocket(gate.address(), "/app/", token).switched();
    let cut = open(&token).watched();
    let mut others = [open(&same_user), open(&other_user)];
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    cut.join().unwrap().assert_closed(4401, "token revoked");
    for other in &mut others {
        other.send(WsFrame::from_client("still here?"));
        let (frame, _) = WsFrame::read(&other.exactly(13)).unwrap();
        assert_eq!(frame.payload, b"still here?");
    }
    assert_eq!(upstream.open(), 2);
}

#[test]
fn r46_a_client_that_floods_gets_4401_all_the_same() {
    let scene = Scene::set();
    let (client, upstream) = scene.websocket(&scene.token);
    let flood = client.flood(WsFrame::from_client("and another thing: ").repeat(64));
    let (client, upstream) = (client.watched(), upstream.watched());
    let revoked = scene.revoke(&scene.token);
    let client = client.join().unwrap();
    // It goes on sending after the close frame, and the gate reads that for a second at most: then a reset.
    let frames = client.frames();
    assert_eq!(frames.last().map(|frame| &frame.payload[2..]), Some(&b"token revoked"[..]));
    assert_eq!(frames.len(), 1);
    assert_soon("client", &client, revoked, WITH_FAREWELL);
    let upstream = upstream.join().unwrap();
    assert_soon("upstream", &upstream, revoked, AT_MOST);
    assert!(!upstream.bytes.is_empty());
    assert!(flood.join().unwrap() > 0);
}

#[test]
fn r46_a_client_in_the_middle_of_its_own_frame_gets_4401() {
    let scene = Scene::set();
    let (mut client, mut upstream) = scene.websocket(&scene.token);
    client.send(&WsFrame::from_client("half of this")[..9]);
    upstream.exactly(9);
    let client = client.watched();
    scene.revoke(&scene.token);
    client.join().unwrap().assert_closed(4401, "token revoked");
}

#[test]
fn r46_an_upstream_in_the_middle_of_a_frame_means_a_reset_and_no_stray_bytes() {
    let scene = Scene::set();
    let (mut client, mut upstream) = scene.websocket(&scene.token);
    let half = &WsFrame::from_server(&[b'x'; 200])[..50];
    upstream.send(half);
    assert_eq!(client.exactly(half.len()), half);
    let client = client.watched();
    let revoked = scene.revoke(&scene.token);
    let client = client.join().unwrap();
    assert_eq!((client.close, client.text().as_str()), (Close::Reset, ""));
    assert_soon("client", &client, revoked, AT_MOST);
}

#[test]
fn r46_an_upstream_that_floods_is_cut_and_what_the_client_got_ends_well_or_breaks_off() {
    let scene = Scene::set();
    let (client, upstream) = scene.websocket(&scene.token);
    let flood = upstream.flood(WsFrame::from_server(&[b'x'; 1_000]).repeat(16));
    let (client, upstream) = (client.watched(), upstream.watched());
    let revoked = scene.revoke(&scene.token);
    let client = client.join().unwrap();
    assert_soon("client", &client, revoked, AT_MOST);
    assert_soon("upstream", &upstream.join().unwrap(), revoked, AT_MOST);
    assert!(flood.join().unwrap() > 0);
    // Between two frames there is a close frame; elsewhere a reset.
    if client.close == Close::Finished {
        client.assert_closed(4401, "token revoked");
    }
    let mut rest = client.bytes.as_slice();
    while let Some((frame, length)) = WsFrame::read(rest) {
        assert!(frame.opcode == 8 || frame.payload == [b'x'; 1_000], "{:?}", frame.opcode);
        rest = &rest[length..];
    }
}

#[test]
fn r48_clients_that_read_nothing_are_reset_and_hold_up_neither_the_revoke_nor_the_others() {
    let scene = Scene::set();
    let (well, _upstream) = scene.websocket(&scene.token);
    let well = well.watched();
    let stuck: Vec<_> = (0..4)
        .map(|_| {
            let (client, mut upstream) = scene.websocket(&scene.token);
            assert!(upstream.send_until_stuck(&WsFrame::from_server(&vec![b'x'; 60_000])) > 60_000);
            (client, upstream)
        })
        .collect();
    let begun = Instant::now();
    let revoked = scene.revoke(&scene.token);
    assert!(revoked - begun < Duration::from_secs(5), "the revoke waited for somebody");
    let well = well.join().unwrap();
    well.assert_closed(4401, "token revoked");
    assert_soon("the client that reads", &well, revoked, AT_MOST);
    for (client, upstream) in stuck {
        let ended = upstream.ended();
        assert_eq!(ended.close, Close::Reset);
        wait_for("the reset of a client that reads nothing", || client.was_reset().then_some(()));
        eprintln!("a client that reads nothing: reset {} ms after the exit", revoked.elapsed().as_millis());
        assert!(revoked.elapsed() < WITH_FAREWELL);
    }
}

#[test]
fn r46_bytes_that_come_after_the_cut_go_neither_up_nor_down() {
    let scene = Scene::set();
    let (mut client, mut upstream) = scene.websocket(&scene.token);
    client.send(WsFrame::from_client("before"));
    upstream.exactly(12);
    let (mut late_client, mut late_upstream) = (client.sender(), upstream.sender());
    let (client, upstream) = (client.watched(), upstream.watched());
    scene.revoke(&scene.token);
    // The daemon may not have noticed yet: what counts is what comes after it has.
    let upstream = upstream.join().unwrap();
    late_client.send(WsFrame::from_client("too late"));
    late_upstream.send(WsFrame::from_server(b"too late"));
    late_client.finish();
    assert_eq!(upstream.bytes, b"");
    let client = client.join().unwrap();
    client.assert_closed(4401, "token revoked");
    assert_eq!(client.frames().len(), 1, "something came down after the cut");
}

#[test]
fn r31_revoking_a_token_ends_the_sockets_of_those_it_minted() {
    let scene = Scene::set();
    let gate = &scene.gate;
    let parent = gate.token_with("ada", &["--scope", "tokens:write", "--scope", "routes:use"]);
    let mint = |by: &Token| {
        let body = r#"{"name":"child","scopes":["tokens:write","routes:use"]}"#;
        let minted = Client::exchange(
            gate.address(),
            format!(
                "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                by.header(),
                body.len()
            ),
        );
        assert_eq!(minted.status, 201, "{}", minted.text());
        let minted = minted.json();
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        Token { id: text("id"), secret: text("secret") }
    };
    let child = mint(&parent);
    let grandchild = mint(&child);
    let sockets: Vec<_> = [&child, &grandchild]
        .map(|token| {
            let (client, upstream) = scene.websocket(token);
            (client.watched(), upstream.watched())
        })
        .into_iter()
        .collect();
    let (mut bystander, mut bystanders_upstream) = scene.websocket(&scene.token);
    let revoked = scene.revoke(&parent);
    for (client, upstream) in sockets {
        let client = client.join().unwrap();
        client.assert_closed(4401, "the token's parent ended");
        assert_soon("a descendant", &client, revoked, AT_MOST);
        assert_soon("its upstream", &upstream.join().unwrap(), revoked, AT_MOST);
    }
    for token in [&child, &grandchild] {
        assert_eq!(Client::get(gate.address(), "/app/", Some(token)).status, 401);
    }
    bystander.send(WsFrame::from_client("still here"));
    bystanders_upstream.exactly(16);
}

#[test]
fn r46_a_flowing_answer_ends_without_its_last_chunk_and_closes() {
    let scene = Scene::set();
    for (start, head, close) in [
        ("GET /app/ HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Close::Finished),
        ("GET /app/ HTTP/1.1", "Content-Length: 1000000\r\n\r\nhello", Close::Finished),
        // Without chunks and length the end of the connection is the end of the answer: only a reset tells.
        ("GET /app/ HTTP/1.0", "Connection: close\r\n\r\nhello", Close::Reset),
    ] {
        let token = scene.gate.token("ada");
        let mut client = Line::connect(scene.gate.address());
        client.send(format!("{start}\r\nHost: localhost\r\n{}\r\n", token.header()));
        let mut upstream = scene.upstream.accept();
        upstream.head();
        upstream.send(format!("HTTP/1.1 200 OK\r\n{head}"));
        assert!(client.head().contains(" 200 "));
        let body = if head.contains("chunked") { "5\r\nhello\r\n" } else { "hello" };
        assert_eq!(client.exactly(body.len()), body.as_bytes());
        let mut late = upstream.sender();
        let (client, upstream) = (client.watched(), upstream.watched());
        let revoked = scene.revoke(&token);
        let (client, upstream) = (client.join().unwrap(), upstream.join().unwrap());
        late.send("5\r\nlater\r\n0\r\n\r\n");
        assert_eq!((client.text().as_str(), client.close), ("", close), "{start} {head}");
        assert_soon("the client of an answer", &client, revoked, AT_MOST);
        assert_soon("its upstream", &upstream, revoked, AT_MOST);
    }
}

#[test]
fn r46_a_request_that_waits_for_its_answer_gets_401_and_its_connection_closes() {
    let scene = Scene::set();
    let client = scene.request("GET /app/slow HTTP/1.1", "\r\n");
    let mut upstream = scene.upstream.accept();
    upstream.head();
    let (client, upstream) = (client.watched(), upstream.watched());
    let revoked = scene.revoke(&scene.token);
    let (client, upstream) = (client.join().unwrap(), upstream.join().unwrap());
    assert!(client.text().starts_with("HTTP/1.1 401 "), "{}", client.text());
    assert!(client.text().contains("www-authenticate: Bearer realm=\"fallgate\"\r\n"), "{}", client.text());
    assert!(client.text().contains("connection: close\r\n"), "{}", client.text());
    assert_eq!(client.close, Close::Finished);
    assert_soon("client", &client, revoked, AT_MOST);
    assert_soon("upstream", &upstream, revoked, AT_MOST);
}

#[test]
fn r46_an_upload_under_way_stops_going_up_and_is_answered_401() {
    let scene = Scene::set();
    for framing in ["Content-Length: 100000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186a0\r\n"] {
        let token = scene.gate.token("ada");
        let mut client = Line::connect(scene.gate.address());
        client.send(format!("POST /app/ HTTP/1.1\r\nHost: localhost\r\n{}{framing}", token.header()));
        client.send([b'a'; 10_000]);
        let mut upstream = scene.upstream.accept();
        upstream.head();
        upstream.exactly(10_000);
        let mut late = client.sender();
        let (client, upstream) = (client.watched(), upstream.watched());
        let revoked = scene.revoke(&token);
        let upstream = upstream.join().unwrap();
        late.send([b'z'; 10_000]);
        late.finish();
        let client = client.join().unwrap();
        assert!(client.text().starts_with("HTTP/1.1 401 "), "{}", client.text());
        assert_eq!(client.close, Close::Finished);
        assert!(!upstream.bytes.contains(&b'z'), "bytes went up after the cut");
        assert_soon("the client of an upload", &client, revoked, AT_MOST);
        assert_soon("its upstream", &upstream, revoked, AT_MOST);
    }
}

#[test]
fn r48_a_client_that_reads_nothing_of_an_answer_does_not_keep_the_upstream() {
    let scene = Scene::set();
    let client = scene.request("GET /app/big HTTP/1.1", "\r\n");
    let mut upstream = scene.upstream.accept();
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    upstream.send_until_stuck(&vec![b'x'; 60_000]);
    let upstream = upstream.watched();
    let revoked = scene.revoke(&scene.token);
    assert_soon("upstream", &upstream.join().unwrap(), revoked, AT_MOST);
    let client = client.ended();
    assert!(client.bytes.len() < 1_000_000_000);
}

#[test]
fn a_token_that_expires_ends_its_websocket_and_its_requests() {
    let scene = Scene::set();
    let token = scene.gate.token_with("ada", &["--expires", "3s"]);
    let (socket, _upstream) = scene.websocket(&token);
    let mut waiting = Line::connect(scene.gate.address());
    waiting.send(format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
    let _upstream = scene.upstream.accept();
    let (socket, waiting) = (socket.watched(), waiting.watched());
    socket.join().unwrap().assert_closed(4401, "token expired");
    assert!(waiting.join().unwrap().text().starts_with("HTTP/1.1 401 "));
    assert_eq!(Client::get(scene.gate.address(), "/app/", Some(&token)).status, 401);
}

#[test]
fn r46_two_hundred_websockets_on_one_token_all_get_4401() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let sockets: Vec<_> = (0..200)
        .map(|_| Line::ask_for_websocket(gate.address(), "/app/", &token))
        .collect::<Vec<_>>()
        .into_iter()
        .map(Line::switched)
        .collect();
    wait_for("all of them at the upstream", || (upstream.open() == 200).then_some(()));
    let sockets: Vec<_> = sockets.into_iter().map(Line::watched).collect();
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    let revoked = Instant::now();
    let ends: Vec<_> = sockets.into_iter().map(|socket| socket.join().unwrap()).collect();
    for ended in &ends {
        ended.assert_closed(4401, "token revoked");
    }
    let last = ends.iter().max_by_key(|ended| ended.at).unwrap();
    assert_soon("the last of 200", last, revoked, AT_MOST);
    wait_for("the ends at the upstream", || (upstream.open() == 0).then_some(()));
}

#[test]
fn r46_a_revoke_through_the_api_cuts_before_it_is_answered() {
    let scene = Scene::set();
    let gate = &scene.gate;
    let manager = gate.token_with("ada", &["--scope", "tokens:write"]);
    let (client, upstream) = scene.websocket(&scene.token);
    let (client, upstream) = (client.watched(), upstream.watched());
    let delete = |by: &Token, id: &str| {
        let request = format!("DELETE /api/tokens/{id} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", by.header());
        Client::exchange(gate.address(), request)
    };
    assert_eq!(delete(&manager, &scene.token.id).status, 204);
    let revoked = Instant::now();
    let (client, upstream) = (client.join().unwrap(), upstream.join().unwrap());
    client.assert_closed(4401, "token revoked");
    assert_soon("client", &client, revoked, AT_MOST);
    assert_soon("upstream", &upstream, revoked, AT_MOST);
    assert_eq!(Client::get(gate.address(), "/app/", Some(&scene.token)).status, 401);
    // A token that ends itself still hears that it is done.
    assert_eq!(delete(&manager, &manager.id).status, 204);
    assert_eq!(delete(&manager, &manager.id).status, 401);
}
