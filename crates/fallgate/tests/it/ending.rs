//! Every way in which something that is let in comes to an end: it closes what rests on it, of whatever kind, and nothing
//! else, by the gate's own API, by another process on its home folder, and by a config that is read again.

mod accounts;
mod routes;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http2::{Frames, Outcome, headers};
use crate::support::{Client, Close, Gate, Home, Line, Puppet, SignIn, Token, WsFrame};

/// From the answer, or the exit of the command, until all ends are read. The promise is 250 ms, which the bench holds to;
/// a machine that is busy with other tests gets more.
const AT_MOST: Duration = Duration::from_secs(2);

/// Who has something open, and on which route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Bob, by a token.
    Bob,
    /// The same token on the other route.
    BobElsewhere,
    /// A token that this token minted.
    Child,
    /// Bob, by another token.
    BobsOther,
    /// Bob, signed in.
    SignedIn,
    Eve,
    EveElsewhere,
    /// Nobody, on a public path.
    Nobody,
}
use Who::{Bob, BobElsewhere, BobsOther, Child, Eve, EveElsewhere, Nobody, SignedIn};

const EVERYBODY: [Who; 8] = [Bob, BobElsewhere, Child, BobsOther, SignedIn, Eve, EveElsewhere, Nobody];
/// All that is Bob's.
const BOBS: [Who; 5] = [Bob, BobElsewhere, Child, BobsOther, SignedIn];

/// What stays open for as long as both sides like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WebSocket,
    Events,
    Download,
    Http2,
}

const KINDS: [Kind; 4] = [Kind::WebSocket, Kind::Events, Kind::Download, Kind::Http2];

/// A gate with two routes, and everybody with something of each kind open.
struct Crowd {
    gate: Gate,
    upstream: Puppet,
    root: Token,
    bob: Token,
    other: Token,
    child: Token,
    eve: Token,
    login: SignIn,
    open: Vec<Stream>,
}

/// Something open, with both of its ends in the test's hands.
struct Stream {
    who: Who,
    kind: Kind,
    client: End,
    upstream: Line,
}

enum End {
    Line(Line),
    Frames(Frames),
}

/// How something is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Through the gate itself.
    Api,
    /// By another process on its home folder.
    CommandLine,
}

const BOTH: [By; 2] = [By::Api, By::CommandLine];

/// The two routes; `app` says more.
fn config(upstream: &str, more: &str) -> String {
    let public = "public = [\"/open\"]";
    format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\n{public}\n{more}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {upstream:?}\n{public}\n"
    )
}

impl Crowd {
    /// Everybody comes in; the route `app` says more, and Bob may be an admin.
    fn gather(more: &str, bob_is: &str) -> Self {
        let upstream = Puppet::new();
        let home = Home::new();
        home.admin("root");
        for (name, role) in [("bob", bob_is), ("eve", bob_is)] {
            if role == "admin" { home.admin(name) } else { home.user(name) }
        }
        let gate = Gate::on(home, &config(&upstream.url(), more));
        let bob = gate.token_with("bob", &["--scope", "tokens:write", "--scope", "routes:use"]);
        let body = json!({"name": "child", "scopes": ["routes:use"]});
        let minted = gate.ask("POST /api/tokens", &bob.header(), &body).json();
        let text = |key: &str| minted[key].as_str().unwrap().to_owned();
        let child = Token { id: text("id"), secret: text("secret") };
        let root = gate.token_with("root", &["--scope", "admin"]);
        let (other, eve, login) = (gate.token("bob"), gate.token("eve"), gate.sign_in("bob"));
        let mut crowd = Self { gate, upstream, root, bob, other, child, eve, login, open: Vec::new() };
        crowd.open = EVERYBODY
            .iter()
            .flat_map(|who| KINDS.map(|kind| (*who, kind)))
            .map(|(who, kind)| crowd.opened(who, kind))
            .collect();
        crowd
    }

    /// The secret that they come with, and where to.
    fn comes(&self, who: Who) -> (Option<&str>, &'static str) {
        match who {
            Bob => (Some(&self.bob.secret), "/app/x"),
            BobElsewhere => (Some(&self.bob.secret), "/other/x"),
            Child => (Some(&self.child.secret), "/app/x"),
            BobsOther => (Some(&self.other.secret), "/app/x"),
            SignedIn => (Some(&self.login.secret), "/app/x"),
            Eve => (Some(&self.eve.secret), "/app/x"),
            EveElsewhere => (Some(&self.eve.secret), "/other/x"),
            Nobody => (None, "/app/open"),
        }
    }

    fn opened(&self, who: Who, kind: Kind) -> Stream {
        let (secret, target) = self.comes(who);
        let authorization = secret.map(|secret| format!("Authorization: Bearer {secret}\r\n"));
        let header = authorization.unwrap_or_default();
        let address = self.gate.address();
        let (client, upstream) = match kind {
            Kind::WebSocket => {
                let line = Line::ask_for_websocket_with(address, target, &header);
                let upstream = self.upstream.accept_websocket();
                (End::Line(line.switched()), upstream)
            }
            Kind::Events | Kind::Download => {
                let mut line = Line::connect(address);
                line.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
                let mut upstream = self.upstream.accept();
                upstream.head();
                upstream.send(if kind == Kind::Events {
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"
                });
                assert!(line.head().starts_with("HTTP/1.1 200 "), "{who:?} {kind:?}");
                (End::Line(line), upstream)
            }
            Kind::Http2 => {
                let mut frames = Frames::begin(address, &[]);
                let authorization = secret.map(|secret| format!("Bearer {secret}"));
                let mut fields = vec![
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", target),
                    (":authority", "localhost"),
                ];
                fields.extend(authorization.iter().map(|value| ("authorization", value.as_str())));
                frames.send(headers(1, true, &fields));
                let mut upstream = self.upstream.accept();
                upstream.head();
                upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
                assert_eq!(frames.outcome(1), Outcome::Status(200), "{who:?}");
                (End::Frames(frames), upstream)
            }
        };
        let mut stream = Stream { who, kind, client, upstream };
        stream.assert_open();
        stream
    }

    /// Since `ended`, of all that is open exactly what these have is closed, each with the reason told of them, and what
    /// they ask for now is refused; what others have goes on.
    #[track_caller]
    fn assert_closed(mut self, ended: Instant, code: u16, closed: &[(Who, &str)]) {
        let mut stays = Vec::new();
        for stream in std::mem::take(&mut self.open) {
            match closed.iter().find(|(who, _)| *who == stream.who) {
                Some((_, reason)) => stream.assert_closed(ended, code, reason),
                None => stays.push(stream),
            }
        }
        for stream in &mut stays {
            stream.assert_open();
        }
        for who in EVERYBODY {
            if !closed.iter().any(|(closed, _)| *closed == who) {
                drop(self.opened(who, Kind::WebSocket));
                continue;
            }
            let (secret, target) = self.comes(who);
            let token = secret.map(|secret| Token { id: String::new(), secret: secret.to_owned() });
            let refused = Client::get(self.gate.address(), target, token.as_ref());
            assert!(matches!(refused.status, 401 | 403 | 404), "{who:?}: {}", refused.status);
        }
    }

    /// A request of root's that has to work.
    #[track_caller]
    fn root_asks(&self, line: &str, body: &Value) -> Instant {
        let answer = self.gate.ask(line, &self.root.header(), body);
        assert!(matches!(answer.status, 200 | 201 | 204), "{line}: {}", answer.text());
        Instant::now()
    }

    /// A command that has to work.
    #[track_caller]
    fn commands(&self, arguments: &[&str]) -> Instant {
        self.gate.fallgate(arguments).ok();
        Instant::now()
    }
}

impl Stream {
    /// Something goes through: both ways, where there are two.
    #[track_caller]
    fn assert_open(&mut self) {
        let what = format!("{:?}, {:?}", self.who, self.kind);
        match &mut self.client {
            End::Line(line) if self.kind == Kind::WebSocket => {
                line.send(WsFrame::from_client("still here?"));
                assert_eq!(self.upstream.exactly(17).len(), 17, "{what}");
                self.upstream.send(WsFrame::from_server(b"yes"));
                assert_eq!(line.exactly(7), WsFrame::from_server(b"yes"), "{what}");
            }
            End::Line(line) => {
                let bytes = if self.kind == Kind::Events { "3\r\nyes\r\n" } else { "yes" };
                self.upstream.send(bytes);
                assert_eq!(line.exactly(bytes.len()), bytes.as_bytes(), "{what}");
            }
            End::Frames(frames) => {
                self.upstream.send("yes");
                let data = frames.find(|frame| (frame.kind == 0).then(|| frame.payload.clone()));
                assert_eq!(data.as_deref(), Some(&b"yes"[..]), "{what}");
            }
        }
    }

    /// Both halves have ended, as this kind of thing does.
    #[track_caller]
    fn assert_closed(self, since: Instant, code: u16, reason: &str) {
        let Self { who, kind, client, upstream } = self;
        eprintln!("{who:?}, {kind:?}: {reason}");
        let at = match client {
            End::Line(line) => {
                let ended = line.ended();
                if kind == Kind::WebSocket {
                    ended.assert_closed(code, reason);
                } else {
                    // No last chunk, and not as many bytes as were promised.
                    assert_eq!((ended.text().as_str(), ended.close), ("", Close::Finished));
                }
                ended.at
            }
            End::Frames(mut frames) => {
                assert_eq!(frames.outcome(1), Outcome::Reset(8));
                Instant::now()
            }
        };
        assert_eq!(upstream.ended().bytes, b"", "{who:?}, {kind:?}: the upstream got something at the end");
        let after = at.saturating_duration_since(since);
        assert!(after < AT_MOST, "{who:?}, {kind:?}: {after:?}");
    }
}

/// Each of them, for this reason.
fn all<'r>(whose: &[Who], reason: &'r str) -> Vec<(Who, &'r str)> {
    whose.iter().map(|who| (*who, reason)).collect()
}
