//! Thousands of clients that do nothing, and some that are slow or rude: whoever has a request meanwhile does not wait
//! for them, and none of them takes much of the daemon's memory.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http2::{Frames, frame, headers};
use crate::support::scripted::{Scripted, read_head};
use crate::support::servers::Server;
use crate::support::{Client, Gate, Line, Token, Upstream, WsFrame, connect};

/// How many connections are kept alive and say nothing. Fewer, down to [`IDLE_AT_LEAST`], where the system does not
/// let the daemon have as many files as they would need beside the web sockets.
const IDLE: usize = 10_000;
const IDLE_AT_LEAST: usize = 9_500;
const WEBSOCKETS: usize = 5_000;
/// How many there are of each kind that keeps a thread busy.
const SLOW: usize = 40;
/// Files of the daemon for all else: two for each slow one, two for each that is measured, and what it keeps from
/// connections for its own work.
const SPARE: usize = 500;

/// Of the daemon, for each idle WebSocket (30-gate).
const WEBSOCKET_BYTES: u64 = 20 * 1024;
/// Of the daemon, for each slow one: a buffer for either direction and what the system's are not.
const SLOW_BYTES: u64 = 512 * 1024;

/// How many reset streams by HTTP/2, and how many each on one connection.
const RESETTERS: usize = 4;
const RESETS: u32 = 400;
const RST_STREAM: u8 = 3;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// Who is measured, and for how long each time.
const CLIENTS: usize = 4;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
const PACE: Duration = Duration::from_millis(4);

/// How much longer one request of a hundred may take than on the idle gate; and what is no wait at all.
const FACTOR: u32 = 3;
// A machine that does something else besides, and a build for debugging, make waits of their own.
const NO_WAIT: Duration = Duration::from_millis(20);

/// As many open files as the system allows; how many idle connections the daemon can have then.
fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let needed = IDLE_AT_LEAST + 2 * WEBSOCKETS + SPARE;
    assert!(
        most >= needed,
        "this test needs {needed} open files for the daemon, and the hard limit is {most}: raise it with `ulimit -Hn 32768`"
    );
    // The daemon does this by itself; here are the clients' ends.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    IDLE.min(most - 2 * WEBSOCKETS - SPARE)
}

/// What a gate for all of them is told. They all come from one address.
fn config(app: &Upstream, slow: &Scripted, websockets: &Server) -> String {
    let route = |name: &str, upstream: &str| {
        format!("[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = {upstream:?}\n")
    };
    format!(
        "[limits]\nconnections = 40000\nconnections_per_network = 40000\n{}{}{}",
        route("app", &app.url()),
        route("slow", &slow.url()),
        route("ws", &websockets.url()),
    )
}

/// Sends bodies without end, and reads them.
fn endless() -> Scripted {
    Scripted::new(|mut stream, _| {
        let Some((head, _)) = read_head(&mut stream) else { return };
        stream.set_read_timeout(None).unwrap();
        let mut block = vec![b'.'; 64 * 1024];
        if head.starts_with("POST") {
            while stream.read(&mut block).is_ok_and(|count| count > 0) {}
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            while stream.write_all(&block).is_ok() {}
        }
    })
}

/// Makes so many of something, on a few threads.
fn many<T: Send>(count: usize, make: impl Fn() -> T + Sync) -> Vec<T> {
    const THREADS: usize = 4;
    thread::scope(|scope| {
        let makers: Vec<_> = (0..THREADS)
            .map(|number| {
                let make = &make;
                let share = count / THREADS + usize::from(number < count % THREADS);
                scope.spawn(move || (0..share).map(|_| make()).collect::<Vec<_>>())
            })
            .collect();
        makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
    })
}

/// One request of a hundred takes at least this long: the median of several rounds.
fn slowest_of_a_hundred(gate: SocketAddr, token: &Token) -> Duration {
    let mut rounds: Vec<_> = (0..ROUNDS).map(|_| round(gate, token)).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn round(gate: SocketAddr, token: &Token) -> Duration {
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| steady(gate, token))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// A request now and then, on one connection: how long each took.
fn steady(gate: SocketAddr, token: &Token) -> Vec<Duration> {
    let mut client = Client::connect(gate);
    let request = format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < ROUND {
        let asked = Instant::now();
        client.send(&request);
        assert_eq!(client.response().status, 200);
        times.push(asked.elapsed());
        // The pace is part of the measure: a client that never rests would measure itself.
        thread::sleep(PACE.saturating_sub(asked.elapsed()));
    }
    times
}

/// Takes an answer without end a byte at a time.
fn slow_reader(gate: SocketAddr, token: &Token, over: &AtomicBool) {
    let mut stream = connect(gate);
    let request = format!("GET /slow/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    stream.write_all(request.as_bytes()).unwrap();
    while !over.load(Ordering::Relaxed) {
        stream.read_exact(&mut [0]).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a body a byte at a time.
fn slow_writer(gate: SocketAddr, token: &Token, over: &AtomicBool) {
    let mut stream = connect(gate);
    let head = format!(
        "POST /slow/x HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 1000000\r\n\r\n",
        token.header()
    );
    stream.write_all(head.as_bytes()).unwrap();
    while !over.load(Ordering::Relaxed) {
        stream.write_all(b".").unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends heads that never end, a byte at a time, for as long as it is let; then it comes again.
fn slow_head(gate: SocketAddr, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut stream = connect(gate);
        let mut sent = stream.write_all(b"GET /app/x HTTP/1.1\r\nHost: localhost\r\nX-A: ");
        while sent.is_ok() && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
            sent = stream.write_all(b".");
        }
    }
}

/// Asks and is gone before the answer comes, again and again.
fn leaver(gate: SocketAddr, token: &Token, over: &AtomicBool) {
    let request = format!("GET /slow/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    while !over.load(Ordering::Relaxed) {
        let _ = connect(gate).write_all(request.as_bytes());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Opens streams by HTTP/2 and resets each at once, more than it is let; then it comes again.
fn resetter(gate: SocketAddr, token: &Token, over: &AtomicBool) {
    let bearer = format!("Bearer {}", token.secret);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/app/x"),
        (":authority", "localhost"),
        ("authorization", &bearer),
    ];
    let streams = (0..RESETS).flat_map(|number| {
        let stream = 2 * number + 1;
        [headers(stream, true, &fields), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    // In one go: the clients here share their processors with the gate.
    let streams: Vec<u8> = streams.collect();
    while !over.load(Ordering::Relaxed) {
        let mut session = Frames::begin(gate, &[]);
        session.sends(&streams);
        while session.next().is_some() {}
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ends what goes on, however the test does.
struct OverOnDrop<'a>(&'a AtomicBool);

impl Drop for OverOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn r67_a_crowd_of_idle_slow_and_rude_clients_keeps_nobody_waiting_and_takes_little_memory() {
    let idle = room();
    let app = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let (slow, websockets) = (endless(), Server::script("websocket_echo", &[]));
    let gate = Gate::configured(&config(&app, &slow, &websockets));
    let token = gate.token("ada");
    let address = gate.address();

    round(address, &token);
    let alone = slowest_of_a_hundred(address, &token);
    let bare = gate.memory();

    let began = Instant::now();
    let request = format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    let ask = |line: &mut Line| {
        line.send(&request);
        let head = line.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(line.exactly(2), b"ok");
    };
    // Lines, for they have one file each.
    let mut kept = many(idle, || {
        let mut line = Line::connect(address);
        ask(&mut line);
        line
    });
    let with_idle = gate.memory();
    let mut open = many(WEBSOCKETS, || Line::ask_for_websocket(address, "/ws/", &token).switched());
    let with_websockets = gate.memory();
    let websocket = with_websockets.saturating_sub(with_idle) / WEBSOCKETS as u64;
    eprintln!(
        "{idle} idle connections, {} bytes each; {WEBSOCKETS} idle WebSockets, {websocket} bytes each; all there after {:.1} s",
        with_idle.saturating_sub(bare) / idle as u64,
        began.elapsed().as_secs_f64()
    );

    let over = AtomicBool::new(false);
    let (crowded, with_slow) = thread::scope(|scope| {
        let _over = OverOnDrop(&over);
        for _ in 0..SLOW {
            scope.spawn(|| slow_reader(address, &token, &over));
            scope.spawn(|| slow_writer(address, &token, &over));
            scope.spawn(|| slow_head(address, &over));
        }
        for _ in 0..RESETTERS {
            scope.spawn(|| resetter(address, &token, &over));
        }
        scope.spawn(|| leaver(address, &token, &over));
        round(address, &token);
        (slowest_of_a_hundred(address, &token), gate.memory())
    });
    eprintln!(
        "one request of a hundred takes {:.2} ms alone, {:.2} ms in the crowd",
        alone.as_secs_f64() * 1e3,
        crowded.as_secs_f64() * 1e3
    );
    assert!(crowded <= NO_WAIT.max(alone * FACTOR), "{crowded:?} in the crowd, {alone:?} alone");
    assert!(websocket <= WEBSOCKET_BYTES, "{websocket} bytes for an idle WebSocket");
    let slow = with_slow.saturating_sub(with_websockets) / (3 * SLOW) as u64;
    assert!(slow <= SLOW_BYTES, "{slow} bytes for a slow client");

    // They were there all the time, and still are.
    for socket in open.iter_mut().step_by(WEBSOCKETS / 50) {
        socket.send(WsFrame::from_client("hello"));
        assert_eq!(socket.exactly(7), b"\x81\x05hello");
    }
    for line in kept.iter_mut().step_by(idle / 50) {
        ask(line);
    }
}
