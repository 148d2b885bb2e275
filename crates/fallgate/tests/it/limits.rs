//! What a client may ask for, and how long it may take: `[limits]`, with small values.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::http2::{Frames, Outcome, frame, headers};
use crate::support::scripted::{Scripted, read_head};
use crate::support::{Client, Close, Gate, Line, Upstream, nobodys_address, wait_for};

fn config(limits: &str, url: &str) -> String {
    format!(
        "[limits]\n{limits}\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\npublic = [\"/open\"]\n"
    )
}

fn gate(limits: &str, url: &str) -> Gate {
    Gate::configured(&config(limits, url))
}

/// It took about a second, as was configured.
fn assert_a_second(since: Instant, end: Instant) {
    let lasted = end.saturating_duration_since(since);
    assert!(lasted > Duration::from_millis(900) && lasted < Duration::from_secs(6), "{lasted:?}");
}

#[test]
fn r67_a_head_has_so_many_bytes_and_fields_and_so_much_time() {
    let upstream = Upstream::echo();
    let gate = gate("head_bytes = 1024\nhead_fields = 16\nhead_time = \"1s\"", &upstream.url());
    for (more, status) in [
        ("X-A: b\r\n".repeat(15), 200),
        ("X-A: b\r\n".repeat(16), 431),
        (format!("X-A: {}\r\n", "b".repeat(900)), 200),
        (format!("X-A: {}\r\n", "b".repeat(1_000)), 431),
    ] {
        let mut client = Client::connect(gate.address());
        client.send(format!("GET /app/open HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"));
        assert_eq!(client.response().status, status, "{more}");
    }
    for begun in
        ["G", "GET /app/open HTTP/1.1\r\n", "GET /app/open HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"]
    {
        let since = Instant::now();
        let mut client = Line::connect(gate.address());
        client.send(begun);
        let ended = client.ended();
        assert!(ended.text().starts_with("HTTP/1.1 408 "), "{begun}: {}", ended.text());
        assert_eq!(ended.close, Close::Finished);
        assert_a_second(since, ended.at);
    }
    // Byte by byte it takes no longer.
    let since = Instant::now();
    let client = Line::connect(gate.address());
    let mut sender = client.sender();
    let watched = client.watched();
    let dripping = thread::spawn(move || {
        for byte in "GET /app/open HTTP/1.1\r\nHost: localhost\r\nX-Long: ".bytes().cycle().take(100) {
            sender.send([byte]);
            thread::sleep(Duration::from_millis(50));
        }
    });
    let ended = watched.join().unwrap();
    assert!(ended.text().starts_with("HTTP/1.1 408 "), "{}", ended.text());
    assert_a_second(since, ended.at);
    dripping.join().unwrap();
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn r57_r67_other_limits_count_from_the_next_head_on_also_where_nobody_has_asked_for_a_while() {
    let upstream = Upstream::echo();
    let gate = gate("", &upstream.url());
    let mut idle = Client::connect(gate.address());
    let mut ask = || {
        let fields = "X-A: b\r\n".repeat(16);
        idle.send(format!("GET /app/open HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        idle.response().status
    };
    assert_eq!(ask(), 200);
    gate.write_config(&config("head_fields = 16", &upstream.url()));
    gate.fallgate(&["reload"]).ok();
    assert_eq!(ask(), 431);
}

#[test]
fn r67_whoever_asks_for_nothing_or_does_not_go_on_is_closed_and_streams_are_not() {
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = Scripted::new(move |mut stream, _| {
        while let Some((head, _)) = read_head(&mut stream) {
            if head.contains(" /endless") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                let piece = vec![b'x'; 64 * 1024];
                while stream.write_all(&piece).is_ok() {}
                tell.send(Instant::now()).unwrap();
                return;
            }
            if head.contains(" /slow") {
                // The upstream may take longer than any client.
                thread::sleep(Duration::from_millis(2_500));
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gate = gate("idle = \"1s\"", &upstream.url());
    let token = gate.token("ada").header();
    let request =
        |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{token}{more}\r\n");

    let since = Instant::now();
    let never_asks = Line::connect(gate.address()).watched();
    let mut asks_once = Client::connect(gate.address());
    asks_once.send(request("/app/x", ""));
    assert_eq!(asks_once.response().status, 200);
    let mut uploads = Line::connect(gate.address());
    uploads.send(request("/app/slow", "Content-Length: 10\r\n") + "some");
    let uploads = uploads.watched();
    let mut reads_nothing = Line::connect(gate.address());
    reads_nothing.send(request("/app/endless", ""));
    let mut waits = Client::connect(gate.address());
    waits.send(request("/app/slow", ""));

    let ended = never_asks.join().unwrap();
    assert_eq!((ended.bytes.len(), ended.close), (0, Close::Finished));
    assert_a_second(since, ended.at);
    assert_eq!(asks_once.rest(), b"");
    assert_a_second(since, Instant::now());
    let ended = uploads.join().unwrap();
    assert!(ended.text().starts_with("HTTP/1.1 408 "), "{}", ended.text());
    assert_a_second(since, ended.at);
    let upstream_ended = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_a_second(since, upstream_ended);
    assert_eq!(waits.response().status, 200, "who waits for an upstream owes nothing");
    drop(reads_nothing);
}

/// Connects, and tells whether the gate serves it.
fn is_served(address: SocketAddr) -> Option<Client> {
    let mut client = Client::connect(address);
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.is_answered().then_some(client)
}

#[test]
fn r67_no_network_takes_all_connections_and_whoever_leaves_makes_room() {
    let upstream = Upstream::echo();
    for (limits, most) in
        [("connections_per_network = 5", 5), ("connections = 16\nconnections_per_network = 100", 16)]
    {
        let gate = gate(limits, &upstream.url());
        let mut inside: Vec<Client> = (0..most).map(|_| is_served(gate.address()).unwrap()).collect();
        for _ in 0..3 {
            assert!(is_served(gate.address()).is_none(), "{limits}");
        }
        // Said once: strangers must not fill the log.
        let said = || gate.log().matches("further ones are closed at once").count();
        wait_for("the log's word on it", || (said() > 0).then_some(()));
        assert_eq!(said(), 1, "{}", gate.log());
        // Those inside are as good as before.
        for client in &mut inside {
            client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(client.response().status, 200);
        }
        drop(inside.pop());
        inside.push(wait_for("room for one more", || is_served(gate.address())));
    }
    let gate = Gate::configured(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nconnections_per_network = 5\n",
    );
    let many: Vec<_> = (0..20).map(|_| is_served(gate.address())).collect();
    assert!(many.iter().all(Option::is_some), "a trusted proxy stands for many");
}

#[test]
fn r67_streams_are_counted_as_connections_are_and_those_beyond_are_refused() {
    const REFUSED: Outcome = Outcome::Reset(7);
    let asks = |stream, method: &str, path: &str, fields: &[(&str, &str)]| {
        let head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        headers(stream, method == "GET", &[&head, fields].concat())
    };
    let fields = [("content-type", "application/json"), ("content-length", "60")];
    let upstream = Upstream::echo();
    for (limits, most) in
        [("connections_per_network = 5", 5), ("connections = 16\nconnections_per_network = 100", 16)]
    {
        let gate = gate(limits, &upstream.url());
        let mut clients = [Frames::begin(gate.address(), &[]), Frames::begin(gate.address(), &[])];
        let [first, second] = &mut clients;
        // Bodies that never come hold their streams; what is refused was all there was no room for.
        for number in 0..most + 3 {
            first.send(asks(1 + 2 * number, "POST", "/api/login", &fields));
        }
        for number in most..most + 3 {
            assert_eq!(first.outcome(1 + 2 * number), REFUSED, "{limits}");
        }
        second.send(asks(1, "GET", "/health", &[]));
        assert_eq!(second.outcome(1), REFUSED, "{limits}: another connection, and as many");
        // One is given up.
        first.send(frame(3, 0, 1, &8_u32.to_be_bytes()));
        let mut stream = 1;
        wait_for("room for one more", || {
            stream += 2;
            second.send(asks(stream, "GET", "/health", &[]));
            (second.outcome(stream) == Outcome::Status(200)).then_some(())
        });
    }
}

#[test]
fn an_upstream_that_takes_no_connection_is_504_within_five_seconds_and_one_that_is_not_there_is_502() {
    // Who listens and never accepts: once its queue is full, the system lets those who knock wait.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
    }
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"full\"\npath = \"/full\"\nupstream = \"http://{address}\"\n\
         [[route]]\nname = \"gone\"\npath = \"/gone\"\nupstream = \"http://{}\"\n",
        nobodys_address()
    ));
    let token = gate.token("ada");
    let since = Instant::now();
    let answer = Client::get(gate.address(), "/full/x", Some(&token));
    assert_eq!(answer.status, 504, "{}", answer.text());
    let lasted = since.elapsed();
    assert!(lasted > Duration::from_millis(4_900) && lasted < Duration::from_secs(8), "{lasted:?}");
    let answer = Client::get(gate.address(), "/gone/x", Some(&token));
    assert_eq!(answer.status, 502, "{}", answer.text());
    for answer in [answer, Client::get(gate.address(), "/nothing", None)] {
        assert!(
            answer.header("date").is_some_and(|date| date.ends_with(" GMT")),
            "own answers tell the date"
        );
    }
}
