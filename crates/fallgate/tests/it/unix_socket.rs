//! A gate that listens on a unix socket: only those who may open the file come in, and nobody is believed for that.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::servers::Server;
use crate::support::{Client, Gate, Home, PATIENCE, Token, Upstream, WebSocket, WebSocketUpstream};

const TOLD: &str = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";

fn place(home: &Home) -> PathBuf {
    home.beside().join("gate.sock")
}

/// A gate on that socket, before an upstream at `/app`.
fn gate(home: Home, more: &str, upstream: &str) -> Gate {
    let config = format!(
        "[server]\nlisten = \"unix:{}\"\n{more}\n[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {upstream:?}\n",
        place(&home).display()
    );
    Gate::on(home, &config)
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(gate: &Gate, target: &str, token: Option<&Token>, more: &str) -> crate::support::Response {
    let authorization = token.map(Token::header).unwrap_or_default();
    let mut client = Client::over(connect(&place(gate)));
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}{more}\r\n"));
    client.response()
}

#[test]
fn r14_whoever_comes_by_the_unix_socket_is_nobody_until_they_show_a_credential() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), "", &upstream.url());
    let path = place(&gate);
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert!(gate.log().contains(&format!("listening on unix:{}", path.display())), "{}", gate.log());
    let token = gate.token("ada");
    let forged = format!("Remote-User: ada\r\n{TOLD}");
    for target in ["/app/x", "/api/whoami"] {
        assert_eq!(get(&gate, target, None, &forged).status, 401, "{target}");
    }
    let answer = get(&gate, "/app/x", Some(&token), TOLD);
    assert_eq!(answer.status, 200);
    // It has no address that could be told, and nobody's word on one is taken.
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.header("x-forwarded-for"), ["unknown"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
}

#[test]
fn r1_a_proxy_on_the_unix_socket_is_believed_where_the_operator_says_unix() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), "trusted_proxies = [\"unix\"]", &upstream.url());
    let token = gate.token("ada");
    assert_eq!(get(&gate, "/app/x", Some(&token), TOLD).status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.header("x-forwarded-for"), ["198.51.100.7"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
    let explained = gate.fallgate(&["config", "explain", "--json"]).stdout;
    assert!(!explained.contains("\"unix\""), "no config is named here");
    let config = gate.beside().join("fallgate.toml");
    let explained =
        gate.fallgate(&["config", "explain", "--json", "--config", config.to_str().unwrap()]).ok().json();
    assert_eq!(explained["trusted_proxies"]["value"], serde_json::json!(["unix"]));
}

#[test]
fn nginx_reaches_the_gate_by_its_unix_socket() {
    let upstream = Upstream::echo();
    let gate = gate(Home::new(), "trusted_proxies = [\"unix\"]", &upstream.url());
    let token = gate.token("ada");
    let nginx = Server::nginx(&format!(
        "location / {{ proxy_pass http://unix:{}; proxy_set_header Host localhost; \
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https; }}",
        place(&gate).display()
    ));
    assert_eq!(Client::get(nginx.address(), "/app/x", None).status, 401);
    assert_eq!(Client::get(nginx.address(), "/app/x", Some(&token)).status, 200);
    assert_eq!(upstream.requests()[0].header("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn r46_a_websocket_by_the_unix_socket_is_cut_as_any_other() {
    let upstream = WebSocketUpstream::echo();
    let gate = gate(Home::new(), "", &upstream.url());
    let token = gate.token("ada");
    let mut websocket = WebSocket::over(connect(&place(&gate)), "localhost", "/app/", Some(&token)).unwrap();
    websocket.echo("here");
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(websocket.close_code(), Some(4401));
}

#[test]
fn a_socket_left_behind_is_replaced_and_one_in_use_or_another_file_is_not() {
    let first = gate(Home::new(), "", "http://127.0.0.1:1");
    let path = place(&first);
    // A kill leaves the file.
    let home = first.kill();
    assert!(UnixStream::connect(&path).is_err() && path.exists());
    let mut second = gate(home, "", "http://127.0.0.1:1");
    assert_eq!(get(&second, "/health", None, "").status, 200);

    let other = Home::new();
    let listen = format!("unix:{}", path.display());
    let refused = other.fallgate(&["serve", "--listen", &listen]).refused(1);
    assert!(refused.contains("another program listens there"), "{refused}");
    assert_eq!(get(&second, "/health", None, "").status, 200);

    // A good end takes the file along.
    second.signal(Signal::TERM);
    assert!(second.ended().success());
    assert!(!path.exists());

    fs::write(&path, "precious").unwrap();
    let refused = other.fallgate(&["serve", "--listen", &listen]).refused(1);
    assert!(refused.contains("cannot listen on unix:"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = format!("unix:{}", path.with_extension("d").join("x.sock").display());
    assert!(other.fallgate(&["serve", "--listen", &nowhere]).refused(1).contains("cannot listen on unix:"));
}

#[test]
fn the_doctor_looks_at_a_unix_socket_too() {
    let home = Home::new();
    let listen = format!("unix:{}", place(&home).display());
    let found = |home: &Home| home.fallgate(&["doctor", "--listen", &listen]).stdout;
    assert!(found(&home).contains(&format!("{listen} is free")), "{}", found(&home));
    let gate = gate(home, "", "http://127.0.0.1:1");
    assert!(found(&gate).contains(&format!("a gate listens on {listen}, and is well")), "{}", found(&gate));
    let home = gate.kill();
    fs::remove_file(place(&home)).unwrap();
    let _other = UnixListener::bind(place(&home)).unwrap();
    assert!(found(&home).contains(&format!("another program listens on {listen}")), "{}", found(&home));
}
