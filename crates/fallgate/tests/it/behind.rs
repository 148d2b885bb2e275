//! Servers that others wrote, behind the gate as people put them there: nginx, `haproxy`, Caddy, and what is written in
//! Python.

mod grpc;
mod mcp;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::servers::Server;
use crate::support::{Client, Gate, WebSocket, wait_for};

#[test]
fn proxies_behind_the_gate_pass_on_what_the_gate_passes_on() {
    let app = Server::script("echo", &[]);
    let nginx = Server::nginx(&format!(
        "access_log /dev/stdout seen;\nlocation / {{ proxy_pass http://{}; proxy_http_version 1.1; }}",
        app.address()
    ));
    let haproxy = Server::haproxy(&format!("server app {}", app.address()));
    let caddy = Server::caddy(&format!("reverse_proxy {}", app.address()));
    for proxy in [&nginx, &haproxy, &caddy] {
        let gate = Gate::before("app", &proxy.url());
        let token = gate.token("ada");
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "POST /app/x?a=b HTTP/1.1\r\nHost: localhost\r\n{}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            token.header()
        ));
        let answer = client.response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = answer.json();
        let told = ["method", "target", "body"].map(|key| seen[key].as_str().unwrap());
        assert_eq!(told, ["POST", "/x?a=b", "abc"]);
        let header = |wanted: &str| {
            let headers = seen["headers"].as_array().unwrap().iter();
            let named = headers.filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(wanted));
            named.map(|header| header[1].clone()).collect::<Vec<Value>>()
        };
        assert_eq!(header("authorization").len(), 0, "the credential went up");
    }
    for proxy in [&nginx, &haproxy] {
        wait_for("the proxy's own account", || {
            let wanted = json!({ "method": "POST", "target": "/x?a=b", "status": 200 });
            (proxy.account() == [wanted]).then_some(())
        });
    }
}

#[test]
fn r46_pythons_websockets_are_passed_both_ways_and_cut_with_their_token() {
    let upstream = Server::script("websocket_echo", &[]);
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut socket = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    socket.echo("hello");
    let long = "x".repeat(300_000);
    socket.echo(&long);
    socket.send(Message::binary(vec![0, 255, 7]));
    assert_eq!(socket.read(), Message::binary(vec![0, 255, 7]));
    socket.send(Message::Ping("are you there".into()));
    assert_eq!(socket.read(), Message::Pong("are you there".into()));
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(socket.close_code(), Some(4401));
}

#[test]
fn r46_r48_an_event_source_flows_until_its_token_ends_and_is_told_when_nobody_listens() {
    let upstream = Server::script("events", &["20"]);
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let open = || {
        let mut client = Client::connect(gate.address());
        client.send(format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
        client.wait_for("data: event 5\n\n");
        client
    };
    let count = |word: &str| upstream.log().lines().filter(|line| *line == word).count();
    let (mut cut, leaves) = (open(), open());
    assert_eq!((count("came"), count("left")), (2, 0));
    drop(leaves);
    wait_for("the source to learn that one left", || (count("left") == 1).then_some(()));
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    let rest = String::from_utf8(cut.rest()).unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "the answer came to a good end");
    wait_for("the source to learn that the other was cut", || (count("left") == 2).then_some(()));
}
