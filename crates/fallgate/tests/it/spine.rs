//! The first whole thing: a token lets a client through to a real upstream, and revoking it cuts the client off.

use crate::support::{
    Client, Gate, Home, Request, Response, Token, Upstream, WebSocket, WebSocketUpstream, nobodys_address,
    wait_for,
};

fn get(gate: &Gate, target: &str, token: Option<&Token>) -> Response {
    Client::get(gate.address(), target, token)
}

#[test]
fn a_token_lets_a_client_through_until_another_process_revokes_it() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");

    let nobody = get(&gate, "/app/x", None);
    assert_eq!((nobody.status, nobody.header("www-authenticate").is_some()), (401, true));
    let through = get(&gate, "/app/some/file?a=b", Some(&token));
    assert_eq!(through.status, 200, "{}", through.text());
    let requests = upstream.wait_for_requests(1);
    assert_eq!((requests[0].method().as_str(), requests[0].target().as_str()), ("GET", "/some/file?a=b"));
    assert_eq!(requests[0].header("x-forwarded-prefix"), ["/app"]);
    assert!(!requests[0].head().contains(&token.secret), "the credential went up");

    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(get(&gate, "/app/x", Some(&token)).status, 401);
    assert_eq!(upstream.requests().len(), 1, "a refused request reached the upstream");
}

#[test]
fn bodies_go_both_ways_on_one_connection_and_methods_without_a_body_have_none() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let authorization = gate.token("ada").header();
    let mut client = Client::connect(gate.address());
    let head = |method: &str, more: &str| {
        format!("{method} /app/x HTTP/1.1\r\nHost: localhost\r\n{authorization}{more}\r\n")
    };
    client.send(head("POST", "Content-Length: 5\r\n") + "hello");
    assert_eq!(client.response().status, 200);
    client.send(head("POST", "Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send(head("HEAD", ""));
    assert_eq!(client.response_to_head().status, 200);
    client.send(head("GET", "Connection: close\r\n"));
    assert!(client.response().text().starts_with("GET /x HTTP/1.1\r\n"));
    client.finish();
    assert_eq!(client.rest(), b"", "bytes after the last answer");

    let requests = upstream.requests();
    let seen: Vec<_> = requests.iter().map(Request::method).collect();
    assert_eq!(seen, ["POST", "POST", "HEAD", "GET"]);
    assert_eq!(requests[0].body(), b"hello");
    assert!(requests[1].bytes.ends_with(b"0\r\n\r\n") && requests[1].body().len() > 5);
    let arrived: usize = upstream.bytes().iter().map(Vec::len).sum();
    assert_eq!(arrived, requests.iter().map(|request| request.bytes.len()).sum::<usize>());
}

#[test]
fn an_open_websocket_is_closed_with_4401_when_its_token_is_revoked() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    assert_eq!(WebSocket::open(gate.address(), "/app/", None).unwrap_err(), 401);
    let mut socket = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    socket.echo("there?");
    assert_eq!(upstream.open(), 1);

    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(socket.close_code(), Some(4401));
    wait_for("the upstream's side of the cut", || (upstream.open() == 0).then_some(()));
    assert_eq!(WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap_err(), 401);
}

#[test]
fn what_was_acknowledged_outlives_a_killed_gate() {
    let upstream =
        Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nstill here".to_vec());
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let gate = Gate::configured(&config);
    let (kept, ended) = (gate.token("ada"), gate.token("ada"));
    gate.fallgate(&["token", "revoke", &ended.id]).ok();
    let gate = Gate::on(gate.kill(), &config);
    assert_eq!(get(&gate, "/app/", Some(&kept)).text(), "still here");
    assert_eq!(get(&gate, "/app/", Some(&ended)).status, 401);
}

#[test]
fn our_own_doors_answer_beside_the_routes_and_an_upstream_that_is_down_is_502() {
    let gate = Gate::before("app", &format!("http://{}", nobodys_address()));
    let health = Client::exchange(gate.address(), "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")));
    let version = get(&gate, "/api/version", None).json();
    assert_eq!(version, Home::new().fallgate(&["version", "--json"]).ok().json());
    let token = gate.token("ada");
    let me = get(&gate, "/api/whoami", Some(&token)).json();
    assert_eq!((me["username"].as_str(), me["credential"]["id"].as_str()), (Some("ada"), Some(&*token.id)));
    assert_eq!(get(&gate, "/app/", Some(&token)).status, 502);
}

#[test]
fn the_command_line_and_the_api_show_a_token_alike() {
    let gate = Gate::start();
    gate.admin("ada");
    let token =
        gate.token_with("ada", &["--name", "laptop", "--scope", "identity:read", "--scope", "route:app"]);
    let listed = gate.fallgate(&["token", "list", "--json"]).ok().json();
    let mut shown = get(&gate, "/api/tokens", Some(&token)).json();
    let mut listed = listed["tokens"][0].clone();
    // Asking the API is the first use, which is written down a little later.
    for token in [&mut shown["tokens"][0], &mut listed] {
        token["last_used_at"].take();
        token["last_used_ip"].take();
    }
    assert_eq!(shown["tokens"][0], listed);
}
