//! Upstreams by https: they must prove who they are.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_tungstenite::tungstenite;

use crate::support::scripted::{Scripted, read_head};
use crate::support::tls::{Authority, Pair};
use crate::support::{Client, Gate, Home, WebSocket, wait_for};

/// A server that answers every request with the request's head, and counts its connections and requests.
#[derive(Clone, Default)]
struct Counts {
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Counts {
    fn serve(&self, pair: &Pair) -> Scripted {
        let counts = self.clone();
        pair.server(move |mut stream| {
            counts.connections.fetch_add(1, Ordering::SeqCst);
            while let Some((head, _)) = read_head(&mut stream) {
                counts.requests.fetch_add(1, Ordering::SeqCst);
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len()).unwrap();
            }
        })
    }

    fn now(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

fn route(name: &str, host: &str, port: u16, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"https://{host}:{port}\"\n{more}\n"
    )
}

fn upstream_ca(authority: &Authority) -> String {
    format!("upstream_ca = \"{}\"", authority.file().display())
}

#[test]
fn r66_an_https_upstream_is_spoken_to_by_tls_and_its_connection_is_kept() {
    let authority = Authority::new();
    let counts = Counts::default();
    let server = counts.serve(&authority.issue("app", &["localhost"]));
    let gate = Gate::configured(&route("app", "localhost", server.port(), &upstream_ca(&authority)));
    let token = gate.token("ada");
    for number in 1..=3 {
        let answer = Client::get(gate.address(), "/app/x", Some(&token));
        assert_eq!(answer.status, 200, "{}", gate.log());
        let head = answer.text();
        assert!(head.starts_with("GET /x HTTP/1.1\r\n") && !head.contains(&token.secret), "{head}");
        assert_eq!(counts.requests.load(Ordering::SeqCst), number);
    }
    // Each worker keeps its own.
    assert!(counts.now().0 <= 2, "{:?}", counts.now());
}

#[test]
fn an_upstream_that_does_not_prove_who_it_is_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let counts = Counts::default();
    let good = counts.serve(&authority.issue("good", &["localhost"]));
    let elsewhere = counts.serve(&authority.issue("elsewhere", &["app.example"]));
    let expired = counts.serve(&authority.issue_expired("expired", &["localhost"]));
    let unknown = counts.serve(&stranger.issue("unknown", &["localhost"]));
    let ca = upstream_ca(&authority);
    let config = [
        route("good", "localhost", good.port(), &ca),
        route("elsewhere", "localhost", elsewhere.port(), &ca),
        route("byaddress", "127.0.0.1", good.port(), &ca),
        route("expired", "localhost", expired.port(), &ca),
        route("unknown", "localhost", unknown.port(), &ca),
        // This machine's authorities do not know ours.
        route("machine", "localhost", good.port(), ""),
    ];
    let gate = Gate::configured(&config.concat());
    let token = gate.token("ada");
    for (name, reason) in [
        ("elsewhere", "not valid for name"),
        ("byaddress", "not valid for name"),
        ("expired", "expired"),
        ("unknown", "UnknownIssuer"),
        ("machine", "UnknownIssuer"),
    ] {
        let answer = Client::get(gate.address(), &format!("/{name}/x"), Some(&token));
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert!(!answer.text().contains("certificate"), "{}", answer.text());
        let line = wait_for("what the log says of it", || {
            let named = format!("route={name} ");
            gate.log().lines().find(|line| line.contains(&named)).map(str::to_owned)
        });
        assert!(line.contains("invalid peer certificate") && line.contains(reason), "{name}: {line}");
    }
    assert_eq!(counts.now(), (0, 0));
    assert_eq!(Client::get(gate.address(), "/good/x", Some(&token)).status, 200);
}

#[test]
fn an_upstream_that_speaks_no_tls_or_never_ends_its_handshake_is_an_answer_too() {
    let plain = Scripted::new(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    let silent = crate::support::Puppet::new();
    let silent_port = silent.url().rsplit(':').next().unwrap().parse().unwrap();
    let config =
        [route("plain", "localhost", plain.port(), ""), route("silent", "localhost", silent_port, "")];
    let gate = Gate::configured(&config.concat());
    let token = gate.token("ada");
    assert_eq!(Client::get(gate.address(), "/plain/x", Some(&token)).status, 502);
    wait_for("the log", || gate.log().contains("no TLS with it").then_some(()));
    assert_eq!(Client::get(gate.address(), "/silent/x", Some(&token)).status, 504);
}

#[test]
fn this_machines_authorities_vouch_where_a_route_names_none() {
    let authority = Authority::new();
    let counts = Counts::default();
    let server = counts.serve(&authority.issue("app", &["localhost"]));
    let config = route("app", "localhost", server.port(), "");
    let gate = Gate::started(Home::new(), &config, |command| {
        command.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", authority.file());
    });
    let token = gate.token("ada");
    assert_eq!(Client::get(gate.address(), "/app/x", Some(&token)).status, 200, "{}", gate.log());
}

#[test]
fn r46_a_websocket_to_an_https_upstream_is_cut_on_both_sides() {
    let authority = Authority::new();
    let open = Arc::new(AtomicUsize::new(0));
    let counter = open.clone();
    let server = authority.issue("app", &["localhost"]).server(move |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
        while let Ok(message) = socket.read() {
            let _ = socket.send(message);
        }
        counter.fetch_sub(1, Ordering::SeqCst);
    });
    let gate = Gate::configured(&route("app", "localhost", server.port(), &upstream_ca(&authority)));
    let token = gate.token("ada");
    let mut websocket = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    for size in [1, 1_000, 20_000, 300_000] {
        websocket.echo(&"x".repeat(size));
    }
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(websocket.close_code(), Some(4401));
    wait_for("the upstream's end", || (open.load(Ordering::SeqCst) == 0).then_some(()));
}

#[test]
fn an_answer_that_an_https_upstream_breaks_off_is_not_taken_for_the_whole() {
    let authority = Authority::new();
    let server = authority.issue("app", &["localhost"]).server(|mut stream| {
        let (head, _) = read_head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it?").unwrap();
        if head.contains("/whole") {
            stream.conn.send_close_notify();
        }
        stream.flush().unwrap();
    });
    let gate = Gate::configured(&route("app", "localhost", server.port(), &upstream_ca(&authority)));
    let token = gate.token("ada");
    let ask = |target: &str| {
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
            token.header()
        ));
        String::from_utf8(client.rest()).unwrap()
    };
    assert!(ask("/app/whole").ends_with("\r\na\r\nall of it?\r\n0\r\n\r\n"));
    let broken = ask("/app/broken");
    assert!(broken.ends_with("\r\na\r\nall of it?\r\n"), "{broken}");
}

#[test]
fn authorities_that_cannot_be_read_are_named_at_start_and_by_config_check() {
    let home = Home::new();
    let missing = home.beside().join("missing.pem");
    let config =
        home.write_config(&route("app", "localhost", 1, &format!("upstream_ca = \"{}\"", missing.display())));
    let config = config.to_str().unwrap();
    for command in [
        &["serve", "--listen", "127.0.0.1:0", "--config", config][..],
        &["config", "check", "--config", config],
    ] {
        let refused = home.fallgate(command).refused(1);
        assert!(
            refused.contains("route app")
                && refused.contains("cannot read")
                && refused.contains("missing.pem"),
            "{refused}"
        );
    }
}
