//! HTTP/2 by TLS, where both sides agree on it as they shake hands.

use std::fs;
use std::process::Command;

use http::Method;

use crate::support::http2::{Session, run};
use crate::support::servers::Server;
use crate::support::tls::{Authority, Pair};
use crate::support::{Client, Gate, Token, Upstream, WebSocketUpstream};

/// What curl says of an answer behind its body: the version, and the status.
fn curl(authority: &Authority, gate: &Gate, token: &Token, more: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10", "-w", "\n%{http_version} %{http_code}", "--cacert"])
        .arg(authority.file())
        .args(["-H", &format!("Authorization: Bearer {}", token.secret)])
        .args(more)
        .arg(format!("https://localhost:{}/app/x", gate.address().port()))
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn clients_agree_on_http2_or_on_http1() {
    let upstream = Upstream::echo();
    let authority = Authority::new();
    let pair = authority.issue("gate", &["localhost"]);
    let gate = Gate::configured(&format!(
        "[server]\ntls = {{ cert = {:?}, key = {:?} }}\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n",
        pair.cert,
        pair.key,
        upstream.url()
    ));
    let token = gate.token("ada");
    for (asks, told) in [("--http2", "\n2 200"), ("--http1.1", "\n1.1 200")] {
        let said = curl(&authority, &gate, &token, &[asks]);
        assert!(said.ends_with(told), "{asks}: {said}");
    }
    let body = "x".repeat(100_000);
    let said = curl(&authority, &gate, &token, &["--http2", "-d", &body]);
    assert!(said.ends_with(&format!("{body}\n2 200")));
    for request in upstream.requests() {
        assert_eq!(request.header("x-forwarded-proto"), ["https"]);
        assert_eq!(request.header("host"), [format!("localhost:{}", gate.address().port())]);
    }
    // Who has not agreed on it cannot begin with it.
    let mut client = Client::over(authority.client(gate.address(), "localhost"));
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 400);
}

/// A server that tells by which version it was asked.
fn caddy(pair: &Pair, protocols: &str) -> Server {
    Server::anywhere("caddy", |address, folder| {
        let config = format!(
            "{{\nadmin off\nauto_https off\nstorage file_system {folder}\nservers {{\nprotocols {protocols}\n}}\n}}\n\
             https://localhost:{port} {{\nbind 127.0.0.1\ntls {cert} {key}\nrespond \"{{http.request.proto}} {{http.request.host}}\"\n}}\n",
            folder = folder.display(),
            port = address.port(),
            cert = pair.cert.display(),
            key = pair.key.display(),
        );
        let file = folder.join("Caddyfile");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    })
}

#[test]
fn an_https_upstream_is_spoken_to_in_http2_if_it_agrees() {
    let authority = Authority::new();
    let pair = authority.issue("app", &["localhost"]);
    for (speaks, http2, told) in [
        ("h1 h2", true, "HTTP/2.0 localhost"),
        ("h1 h2", false, "HTTP/1.1 localhost"),
        ("h1", true, "HTTP/1.1 localhost"),
    ] {
        let server = caddy(&pair, speaks);
        let gate = Gate::configured(&format!(
            "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"https://localhost:{}\"\nupstream_ca = {:?}\nupstream_http2 = {http2}\nupstream_host = \"localhost\"\n",
            server.address().port(),
            authority.file()
        ));
        let token = gate.token("ada");
        for _ in 0..3 {
            let answer = Client::get(gate.address(), "/app/x", Some(&token));
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, told),
                "{speaks}, {http2}: {}",
                gate.log()
            );
        }
        run(async {
            let session = Session::open(gate.address()).await;
            for _ in 0..3 {
                let answer = session.ask(session.request(Method::GET, "/app/x", Some(&token)), b"").await;
                assert_eq!(
                    (answer.status.as_u16(), answer.text().as_str()),
                    (200, told),
                    "{speaks}, {http2}"
                );
            }
        });
    }
}

#[test]
fn an_https_upstream_that_does_not_prove_who_it_is_is_502_by_http2_too() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = caddy(&other.issue("app", &["localhost"]), "h1 h2");
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"https://localhost:{}\"\nupstream_ca = {:?}\nupstream_http2 = true\n",
        server.address().port(),
        authority.file()
    ));
    let answer = Client::get(gate.address(), "/app/x", Some(&gate.token("ada")));
    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn a_websocket_goes_by_http1_whatever_else_its_upstream_speaks() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nupstream_http2 = true\n",
        upstream.url()
    ));
    let token = gate.token("ada");
    let mut socket = crate::support::WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    socket.echo("hello");
}
