//! What a worker token holds open, on every carrier, when another process ends its family.

use std::thread::JoinHandle;

use crate::support::http2::{Frames, Outcome, headers};
use crate::support::{Ended, Gate, Line, Puppet, Token, Worker, WsFrame};

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
const FIRST_EVENT: &[u8] = b"data: 1\n\n";

/// One token's streams, both ends of each: a `WebSocket`, an event stream, and one of HTTP/2.
struct Open {
    socket: (Line, Line),
    events: (Line, Line),
    stream: (Frames, Line),
}

impl Open {
    fn by(token: &Token, gate: &Gate, upstream: &Puppet) -> Self {
        let client = Line::ask_for_websocket(gate.address(), "/app/", token);
        let accepted = upstream.accept_websocket();
        let socket = (client.switched(), accepted);
        let mut client = Line::connect(gate.address());
        client.send(format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
        let events = (client, streaming(upstream));
        let mut client = Frames::begin(gate.address(), &[]);
        let bearer = format!("Bearer {}", token.secret);
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/app/"),
            (":authority", "localhost"),
            ("authorization", &bearer),
        ];
        client.send(headers(1, true, &fields));
        let stream = (client, streaming(upstream));
        let mut open = Self { socket, events, stream };
        assert!(open.events.0.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(open.events.0.exactly(14), [b"9\r\n", FIRST_EVENT, b"\r\n"].concat());
        assert_eq!(open.stream.0.outcome(1), Outcome::Status(200));
        assert_eq!(next_data(&mut open.stream.0), FIRST_EVENT);
        open
    }

    /// Something goes through on each.
    fn assert_open(&mut self) {
        self.socket.0.send(WsFrame::from_client("here?"));
        assert_eq!(self.socket.1.exactly(11), WsFrame::from_client("here?"));
        self.events.1.send(FIRST_EVENT);
        assert_eq!(self.events.0.exactly(14), [b"9\r\n", FIRST_EVENT, b"\r\n"].concat());
        self.stream.1.send(FIRST_EVENT);
        assert_eq!(next_data(&mut self.stream.0), FIRST_EVENT);
    }

    fn watched(self) -> Watched {
        Watched {
            socket: (self.socket.0.watched(), self.socket.1.watched()),
            events: (self.events.0.watched(), self.events.1.watched()),
            stream: (self.stream.0, self.stream.1.watched()),
        }
    }
}

/// The same, from when somebody waits for the end of each.
struct Watched {
    socket: (JoinHandle<Ended>, JoinHandle<Ended>),
    events: (JoinHandle<Ended>, JoinHandle<Ended>),
    stream: (Frames, JoinHandle<Ended>),
}

impl Watched {
    fn assert_closed(mut self) {
        self.socket.0.join().unwrap().assert_closed(4401, "token revoked");
        let events = self.events.0.join().unwrap();
        assert_eq!(events.bytes, b"", "it breaks off: the last chunk is not sent");
        assert_eq!(self.stream.0.outcome(1), Outcome::Reset(8));
        for upstream in [self.socket.1, self.events.1, self.stream.1] {
            assert_eq!(upstream.join().unwrap().bytes, b"", "nothing more goes up");
        }
    }
}

/// The upstream's end of what has just been asked for.
fn streaming(upstream: &Puppet) -> Line {
    let mut line = upstream.accept();
    line.head();
    line.send(EVENTS);
    line
}

fn next_data(client: &mut Frames) -> Vec<u8> {
    client.find(|frame| (frame.kind == 0 && frame.stream == 1).then(|| frame.payload.clone())).unwrap()
}

#[test]
fn r42_r46_what_a_family_holds_open_is_closed_on_every_carrier_by_any_jti_of_it() {
    let upstream = Puppet::new();
    let gate = Gate::before("app", &upstream.url());
    let worker = || gate.worker("ada", &["routes:use"], &["fallgate", "route:app"]);
    let (family, other) = (worker(), worker());
    let renewed = Worker::token_of(&gate.renew_worker(&family.token));
    let open = |token| Open::by(token, &gate, &upstream);
    let mut spared = [open(&other.token), open(&family.minter)];
    let mut ended = [open(&family.token), open(&renewed)];
    for open in ended.iter_mut().chain(&mut spared) {
        open.assert_open();
    }
    let ended = ended.map(Open::watched);
    gate.revoke_worker(&renewed);
    for watched in ended {
        watched.assert_closed();
    }
    for open in &mut spared {
        open.assert_open();
    }
    // And those by theirs.
    let [by_other, by_minter] = spared.map(Open::watched);
    gate.revoke_worker(&other.token);
    by_other.assert_closed();
    gate.revoke_worker(&family.minter);
    by_minter.assert_closed();
}
