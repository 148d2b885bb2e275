//! Tunnels that carry any bytes, what never becomes one, and how old anything may grow that goes through a route.

use std::time::{Duration, Instant};

use crate::support::{Client, Close, Ended, Gate, Line, Puppet, Token, Upstream};

const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

fn gate(url: &str, more: &str) -> Gate {
    Gate::configured(&format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n{more}\n"))
}

fn listing(url: &str) -> Gate {
    gate(url, "upgrades = [\"tcp\", \"SPDY/3.1\"]")
}

fn ask(gate: &Gate, token: &Token, line: &str, more: &str) -> Line {
    let mut client = Line::connect(gate.address());
    client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}{more}\r\n", token.header()));
    client
}

/// Both sides of a tunnel that speaks no protocol we know.
fn tunnel(gate: &Gate, upstream: &Puppet, token: &Token, line: &str) -> (Line, Line) {
    let mut client = ask(gate, token, line, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
    let mut server = upstream.accept();
    let head = server.head();
    assert!(head.contains("\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"), "{head}");
    server.send(AGREES);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nUpgrade: tcp\r\n"), "{head}");
    (client, server)
}

#[test]
fn r65_a_protocol_that_the_route_lists_becomes_a_tunnel_of_any_bytes() {
    let upstream = Puppet::new();
    let gate = listing(&upstream.url());
    let token = gate.token("ada");
    for line in ["POST /app/attach", "GET /app/attach"] {
        let (mut client, mut server) = tunnel(&gate, &upstream, &token, line);
        // Nothing of it is taken for HTTP or for frames.
        let request = b"GET /app/evil HTTP/1.1\r\nHost: localhost\r\n\r\n\x88\x02\x03\xe8\x00\xff";
        client.send(request);
        assert_eq!(server.exactly(request.len()), request);
        server.send(request);
        assert_eq!(client.exactly(request.len()), request);
        server.finish();
        client.finish();
        assert_eq!(client.ended().close, Close::Finished);
        assert_eq!(server.ended().close, Close::Finished);
    }
    // As the client spells it; case makes no difference.
    let mut client = ask(&gate, &token, "GET /app/x", "Connection: upgrade\r\nUpgrade: spdy/3.1\r\n");
    let mut server = upstream.accept();
    assert!(server.head().contains("\r\nUpgrade: spdy/3.1\r\n"));
    server.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn r46_a_cut_resets_both_halves_of_a_tunnel_whose_protocol_nobody_knows() {
    let upstream = Puppet::new();
    let gate = listing(&upstream.url());
    let token = gate.token("ada");
    let (client, server) = tunnel(&gate, &upstream, &token, "POST /app/attach");
    let (client, server) = (client.watched(), server.watched());
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    let revoked = Instant::now();
    for side in [client, server] {
        let Ended { bytes, close, at } = side.join().unwrap();
        assert_eq!((bytes, close), (Vec::new(), Close::Reset));
        assert!(at.saturating_duration_since(revoked) < Duration::from_millis(250));
    }
}

#[test]
fn r65_what_the_route_does_not_list_never_goes_up_and_its_early_bytes_are_no_request() {
    let upstream = Upstream::echo();
    let gate = listing(&upstream.url());
    let token = gate.token("ada");
    for (line, more) in [
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: irc\r\n"),
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: tcp2\r\n"),
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: tcp, websocket\r\n"),
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: tcp\r\nUpgrade: tcp\r\n"),
        ("GET /app/x", "Upgrade: tcp\r\n"),
        ("GET /app/x", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n"),
        ("POST /app/x", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        ("DELETE /app/x", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        // A body would stand between the request and the protocol.
        ("POST /app/x", "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 1\r\n"),
        ("GET /app/x", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n"),
    ] {
        let body = if more.contains("Content-Length") { "b" } else { "" };
        let mut client = Client::connect(gate.address());
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}{more}\r\n{body}", token.header()));
        client.send(format!("GET /app/evil HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
        let answer = client.response();
        assert_eq!(answer.status, 200, "{line} {more}");
        let lower = answer.text().to_ascii_lowercase();
        for name in ["upgrade", "http2-settings"] {
            assert!(
                !lower.contains(&format!("\r\n{name}:")) && !lower.contains("connection: upgrade"),
                "{lower}"
            );
        }
        assert_eq!(
            (answer.header("connection"), client.rest()),
            (Some("close"), Vec::new()),
            "{line} {more}"
        );
    }
    assert!(upstream.requests().iter().all(|request| request.target() == "/x"));
    // Where nothing is listed, nothing but WebSockets.
    let plain = gate_without(&upstream);
    let mut client = Client::connect(plain.address());
    let token = plain.token("ada").header();
    client.send(format!(
        "GET /app/x HTTP/1.1\r\nHost: localhost\r\n{token}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    ));
    assert!(!client.response().text().contains("pgrade"));
}

fn gate_without(upstream: &Upstream) -> Gate {
    gate(&upstream.url(), "")
}

#[test]
fn r65_an_upstream_that_changes_to_another_protocol_than_was_asked_for_is_502() {
    let upstream = Puppet::new();
    let gate = listing(&upstream.url());
    let token = gate.token("ada");
    for other in ["websocket", "spdy/3.1", "h2c", ""] {
        let mut client = ask(&gate, &token, "GET /app/x", "Connection: Upgrade\r\nUpgrade: tcp\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {other}\r\n\r\nbytes"
        ));
        assert!(client.head().starts_with("HTTP/1.1 502 "), "{other}");
        client.send("GET /app/evil HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let rest = client.ended().text();
        assert!(!rest.contains("HTTP/1.1") && !rest.contains("bytes"), "{rest}");
    }
}

#[test]
fn h2c_and_tls_cannot_be_listed() {
    let home = crate::support::Home::new();
    for protocol in ["h2c", "H2C", "TLS/1.3", "tls/1.0", "HTTP/2.0"] {
        let config = home.write_config(&format!(
            "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:1\"\nupgrades = [{protocol:?}]\n"
        ));
        let refused = home.fallgate(&["config", "check", "--config", config.to_str().unwrap()]).refused(1);
        assert!(refused.contains("upgrades"), "{refused}");
    }
}

/// For how long something went on, at least and at most, when it may for one second.
fn assert_one_second(since: Instant, end: Instant) {
    let lasted = end.saturating_duration_since(since);
    assert!(lasted > Duration::from_millis(900) && lasted < Duration::from_secs(5), "{lasted:?}");
}

#[test]
fn r51_nothing_goes_on_for_longer_than_the_route_lets_it() {
    let upstream = Puppet::new();
    let gate = gate(&upstream.url(), "max_stream_age = \"1s\"\nupgrades = [\"tcp\"]\npublic = [\"/open\"]");
    let token = gate.token("ada");
    let websocket = {
        let since = Instant::now();
        let client = Line::ask_for_websocket(gate.address(), "/app/ws", &token);
        let server = upstream.accept_websocket();
        (since, client.switched().watched(), server.watched())
    };
    let opaque = {
        let since = Instant::now();
        let (client, server) = tunnel(&gate, &upstream, &token, "GET /app/raw");
        (since, client.watched(), server.watched())
    };
    // On a public path nobody's credential ends: its age does.
    let mut flowing = Vec::new();
    for line in ["GET /app/flow", "GET /app/open"] {
        let since = Instant::now();
        let mut client = ask(&gate, &token, line, "");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
        client.head();
        flowing.push((since, client.watched(), server.watched()));
    }
    let upload = {
        let since = Instant::now();
        let mut client = ask(&gate, &token, "POST /app/up", "Transfer-Encoding: chunked\r\n");
        client.send("2\r\nab\r\n");
        let mut server = upstream.accept();
        server.head();
        (since, client.watched(), server.watched())
    };

    let (since, client, server) = websocket;
    let client = client.join().unwrap();
    client.assert_closed(4401, "stream too old");
    assert_one_second(since, client.at);
    assert_one_second(since, server.join().unwrap().at);
    let (since, client, server) = opaque;
    for side in [client, server] {
        let side = side.join().unwrap();
        assert_eq!(side.close, Close::Reset);
        assert_one_second(since, side.at);
    }
    for (since, client, server) in flowing {
        let client = client.join().unwrap();
        assert_eq!(client.text(), "2\r\nab\r\n", "it came to a good end");
        assert_one_second(since, client.at);
        assert_one_second(since, server.join().unwrap().at);
    }
    let (since, client, server) = upload;
    let client = client.join().unwrap();
    assert!(client.text().starts_with("HTTP/1.1 401 "), "{}", client.text());
    assert_one_second(since, client.at);
    let server = server.join().unwrap();
    assert!(!server.text().ends_with("0\r\n\r\n"));
    // The connection's next request has its own time: what counts is how long each goes on.
    let mut client = ask(&gate, &token, "GET /app/next", "");
    let begun = Instant::now();
    let mut server = upstream.accept();
    while begun.elapsed() < Duration::from_millis(1_500) {
        server.head();
        server.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 204 "));
        std::thread::sleep(Duration::from_millis(50));
        client.send(format!("GET /app/next HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
    }
}

#[test]
fn an_upstream_may_send_some_interim_answers_and_not_without_end() {
    let upstream = Upstream::answering(|request| {
        let count = request.target().trim_start_matches('/').parse().unwrap();
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(count);
        format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").into_bytes()
    });
    let gate = gate_without(&upstream);
    let token = gate.token("ada");
    for (count, status) in [(0, 200), (1, 200), (32, 200), (33, 502), (5_000, 502)] {
        let answer = Client::get(gate.address(), &format!("/app/{count}"), Some(&token));
        assert_eq!(answer.status, status, "{count}");
    }
}
