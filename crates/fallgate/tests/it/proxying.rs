//! What a proxy is for: real servers behind the gate, large bodies, streams, tunnels, many clients at once.

mod streams;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::scripted::{Scripted, read_head};
use crate::support::servers::Server;
use crate::support::{Client, Gate, Response, Token, Upstream, WebSocket, WebSocketUpstream, wait_for};

/// A request without a body.
fn ask(gate: &Gate, line: &str, host: &str, headers: &str) -> Response {
    let mut client = Client::connect(gate.address());
    client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"));
    if line.starts_with("HEAD") { client.response_to_head() } else { client.response() }
}

fn both_routes(url: &str) -> Gate {
    Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n\
         [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {url:?}\n"
    ))
}

const ENTRANCES: [(&str, &str); 2] = [("localhost", "/app"), ("site.example", "")];

/// What any web server does with files, seen through the gate.
fn serves_files(upstream: &str, ranges: bool) {
    let gate = both_routes(upstream);
    let token = gate.token("ada").header();
    for (host, prefix) in ENTRANCES {
        let whole = ask(&gate, &format!("GET {prefix}/a.txt"), host, &token);
        assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
        let kind = whole.header("content-type").unwrap().to_owned();
        assert!(
            kind.starts_with("text/plain")
                && whole.header("last-modified").is_some()
                && whole.header("date").is_some()
        );
        let head = ask(&gate, &format!("HEAD {prefix}/a.txt"), host, &token);
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
        if ranges {
            let part =
                ask(&gate, &format!("GET {prefix}/a.txt"), host, &format!("{token}Range: bytes=2-4\r\n"));
            assert_eq!((part.status, part.text().as_str()), (206, "234"));
            assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
            let beyond =
                ask(&gate, &format!("GET {prefix}/a.txt"), host, &format!("{token}Range: bytes=20-\r\n"));
            assert_eq!(beyond.status, 416);
        }
        let since = format!("{token}If-Modified-Since: {}\r\n", whole.header("last-modified").unwrap());
        assert_eq!(ask(&gate, &format!("GET {prefix}/a.txt"), host, &since).status, 304);
        let missing = ask(&gate, &format!("GET {prefix}/none"), host, &token);
        assert_eq!(missing.status, 404);
        assert!(!missing.text().contains("fallgate"), "the upstream's own 404 comes through");
        assert_eq!(ask(&gate, &format!("GET {prefix}/with%20blank"), host, &token).text(), "blank");
        // A folder without its slash is a redirect, which must stay on the route.
        let folder = ask(&gate, &format!("GET {prefix}/folder"), host, &token);
        assert_eq!(folder.status, 301);
        let location = folder.header("location").unwrap();
        assert!(location.ends_with(&format!("{prefix}/folder/")), "{location}");
    }
}

fn fill(folder: &std::path::Path) {
    fs::write(folder.join("a.txt"), "0123456789").unwrap();
    fs::write(folder.join("with blank"), "blank").unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    fs::write(folder.join("folder/index.html"), "index").unwrap();
}

#[test]
fn nginx_behind_the_gate_serves_its_files() {
    let files = tempfile::tempdir().unwrap();
    fill(files.path());
    // nginx's workers may run as another user.
    let site =
        format!("root {};\ntypes {{ text/plain txt; }}\nabsolute_redirect off;", files.path().display());
    let upstream = Server::nginx(&site);
    serves_files(&upstream.url(), true);
}

#[test]
fn pythons_web_server_behind_the_gate_serves_its_files() {
    let files = tempfile::tempdir().unwrap();
    fill(files.path());
    serves_files(&Server::python(files.path()).url(), false);
}

#[test]
fn an_upstream_that_was_away_is_502_and_good_again_when_it_is_back() {
    let site = "location / { return 200 \"here\"; }";
    let upstream = Server::nginx(site);
    let address = upstream.address();
    let gate = both_routes(&upstream.url());
    let token = gate.token("ada").header();
    let mut client = Client::connect(gate.address());
    let mut ask = || {
        client.send(format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{token}\r\n"));
        let answer = client.response();
        if answer.header("connection") == Some("close") {
            client = Client::connect(gate.address());
        }
        (answer.status, answer.text())
    };
    assert_eq!(ask(), (200, "here".to_owned()));
    drop(upstream);
    for _ in 0..3 {
        let (status, text) = ask();
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("not reachable") && !text.contains(&address.port().to_string()), "{text}");
    }
    let upstream = Server::nginx_at(address, site);
    assert_eq!(ask(), (200, "here".to_owned()));
    // Restarted between two requests, without a failed one: the kept connection is stale.
    drop(upstream);
    let _upstream = Server::nginx_at(address, site);
    assert_eq!(ask(), (200, "here".to_owned()));
}

#[test]
fn one_upstream_connection_serves_a_client_for_as_long_as_it_stays() {
    let upstream = Upstream::echo();
    let gate = both_routes(&upstream.url());
    let token = gate.token("ada").header();
    let mut client = Client::connect(gate.address());
    for number in 0..50 {
        // Two routes to one address share its connections.
        let (host, prefix) = ENTRANCES[number % 2];
        client.send(format!(
            "POST {prefix}/{number} HTTP/1.1\r\nHost: {host}\r\n{token}Content-Length: 1\r\n\r\nx"
        ));
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(upstream.bytes().len(), 1);
    // Nothing in the second request is left over from the first.
    assert!(upstream.requests()[1].head().starts_with("POST /1 HTTP/1.1\r\nHost: site.example\r\n"));
}

#[test]
fn r55_a_hundred_clients_at_once_each_get_their_own_answers() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\nidentity = \"headers\"\n"
    ));
    let people = ["ada", "bob", "carol", "dan"];
    let tokens: Vec<Token> = people.iter().map(|name| gate.token(name)).collect();
    let address = gate.address();
    thread::scope(|scope| {
        for number in 0..100 {
            let (name, token) = (people[number % 4], &tokens[number % 4]);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for round in 0..20 {
                    let body = format!("{number}-{round}-").repeat(1 + (number * round) % 700);
                    let (header, length) = (token.header(), body.len());
                    client.send(format!("POST /app/{number}/{round} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {length}\r\n\r\n{body}"));
                    let text = client.response().text();
                    assert!(text.starts_with(&format!("POST /{number}/{round} HTTP/1.1\r\n")), "{number} got {text}");
                    assert!(text.contains(&format!("\r\nRemote-User: {name}\r\n")), "{number} is not {name}");
                    assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{number} got another's body");
                }
            });
        }
    });
    assert_eq!(upstream.requests().len(), 2_000);
}

#[test]
fn a_route_is_for_those_whom_its_list_and_their_scopes_name() {
    let upstream = Upstream::echo();
    let route = |name: &str, allow: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = {:?}\n{allow}\n",
            upstream.url()
        )
    };
    let gate = Gate::configured(
        &[
            route("all", ""),
            route("admins", "allow = [\"role:admin\"]"),
            route("users", "allow = [\"role:user\"]"),
            route("bobs", "allow = [\"user:bob\"]"),
            route("some", "allow = [\"user:bob\", \"role:admin\"]"),
            route("machines", "allow = [\"kind:internal\", \"kind:legacy\"]"),
            route("nobodys", "allow = [\"user:carol\"]"),
        ]
        .concat(),
    );
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    let token = |owner, scopes: &[&str]| {
        let arguments: Vec<_> = scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
        gate.token_with(owner, &arguments)
    };
    let routes = ["all", "admins", "users", "bobs", "some", "machines", "nobodys"];
    for (name, token, open) in [
        ("root, all routes", token("root", &["routes:use"]), vec!["all", "admins", "some"]),
        ("root, everything", token("root", &["admin"]), vec!["all", "admins", "some"]),
        ("ada, all routes", token("ada", &["routes:use"]), vec!["all", "users"]),
        ("bob, all routes", token("bob", &["routes:use"]), vec!["all", "users", "bobs", "some"]),
        ("bob, one route", token("bob", &["route:some"]), vec!["some"]),
        ("bob, two routes", token("bob", &["route:all", "route:users"]), vec!["all", "users"]),
        ("bob, a route of that beginning", token("bob", &["route:al"]), vec![]),
        ("bob, a route that is not for him", token("bob", &["route:admins"]), vec![]),
        ("bob, other scopes", token("bob", &["identity:read", "tokens:write", "live:read"]), vec![]),
    ] {
        for route in routes {
            let wanted = if open.contains(&route) { 200 } else { 403 };
            let answer = Client::get(gate.address(), &format!("/{route}/x"), Some(&token));
            assert_eq!(answer.status, wanted, "{name} on {route}: {}", answer.text());
        }
    }
    let sent: Vec<_> = upstream.requests().iter().map(crate::support::Request::method).collect();
    assert_eq!(sent.len(), 3 + 3 + 2 + 4 + 1 + 2);
}

#[test]
fn r6_on_a_routes_host_only_the_gates_own_corner_is_ours() {
    let upstream = Upstream::echo();
    let gate = both_routes(&upstream.url());
    let token = gate.token("ada").header();
    for path in
        ["/", "/api/whoami", "/health", "/login", "/app/x", "/fallgate", "/x/.fallgate/y", "/.fallgatex"]
    {
        let answer = ask(&gate, &format!("GET {path}"), "site.example", &token);
        assert!(answer.text().starts_with(&format!("GET {path} ")), "{path}: {}", answer.text());
    }
    let before = upstream.requests().len();
    for path in ["/.fallgate", "/.fallgate/", "/.fallgate/nothing?code=x", "/%2efallgate/x", "/.fallgate;x/y"]
    {
        let answer = ask(&gate, &format!("GET {path}"), "site.example", &token);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("application/problem+json")),
            "{path}"
        );
        assert_eq!(ask(&gate, &format!("GET {path}"), "site.example", "").status, 401, "{path}");
    }
    assert_eq!(ask(&gate, "GET /x", "other.example", &token).status, 421);
    assert_eq!(upstream.requests().len(), before);
}

#[test]
fn the_longest_prefix_wins_by_whole_segments_and_a_host_beats_a_path() {
    let upstreams = ["short", "long", "host"].map(|name| {
        Upstream::answering(move |_| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into_bytes()
        })
    });
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"short\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"long\"\npath = \"/app/deep\"\nupstream = {:?}\n\
         [[route]]\nname = \"host\"\nhost = \"site.example\"\nupstream = {:?}\n",
        upstreams[0].url(),
        upstreams[1].url(),
        upstreams[2].url()
    ));
    let token = gate.token("ada").header();
    for (host, path, wanted) in [
        ("localhost", "/app", "short"),
        ("localhost", "/app/", "short"),
        ("localhost", "/app/x", "short"),
        ("localhost", "/app/deeper", "short"),
        ("localhost", "/app/deep", "long"),
        ("localhost", "/app/deep/x", "long"),
        ("localhost", "/app/deep;v=1/x", "long"),
        ("localhost", "/%61pp/d%65ep", "long"),
        ("site.example", "/app/deep", "host"),
        ("site.example", "/", "host"),
    ] {
        assert_eq!(ask(&gate, &format!("GET {path}"), host, &token).text(), wanted, "{host}{path}");
    }
    for path in ["/ap", "/apple", "/App/x", "/x/app"] {
        assert_eq!(ask(&gate, &format!("GET {path}"), "localhost", &token).status, 404, "{path}");
    }
}

#[test]
fn an_upstream_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 16 * 1024];
            let count = stream.read(&mut buffer).unwrap();
            // One request to a connection: whatever is asked later needs a new one.
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {count}\r\n\r\n")
                .unwrap();
            stream.write_all(&buffer[..count]).unwrap();
        }
    });
    let gate = both_routes(&format!("unix:{}", path.display()));
    let token = gate.token("ada").header();
    for (host, prefix) in ENTRANCES {
        let answer = ask(&gate, &format!("GET {prefix}/x"), host, &token);
        assert!(answer.text().starts_with("GET /x HTTP/1.1\r\nHost: "), "{}", answer.text());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(ask(&gate, "GET /app/x", "localhost", &token).status, 502);
}

#[test]
fn a_websocket_carries_texts_and_bytes_of_any_size_in_any_number_of_frames() {
    let upstream = WebSocketUpstream::echo();
    let gate = both_routes(&upstream.url());
    let token = gate.token("ada");
    for (host, prefix) in ENTRANCES {
        let mut socket =
            WebSocket::open_at(gate.address(), host, &format!("{prefix}/ws?x=1"), Some(&token)).unwrap();
        socket.echo("hello");
        socket.echo("");
        socket.echo(&"\u{fc}\u{1f600}".repeat(50_000));
        for length in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
            let bytes: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
            socket.send(Message::binary(bytes.clone()));
            assert_eq!(socket.read(), Message::binary(bytes));
        }
        // In pieces, with a ping between them.
        let piece = |text: &str, code: Data, last| {
            Message::Frame(Frame::message(text.to_owned(), OpCode::Data(code), last))
        };
        socket.send(piece("in ", Data::Text, false));
        socket.send(piece("three ", Data::Continue, false));
        socket.send(Message::Ping("between".into()));
        socket.send(piece("pieces", Data::Continue, true));
        // The upstream echoes the ping as well as answering it.
        let mut got = Vec::new();
        while !got.last().is_some_and(Message::is_text) {
            got.push(socket.read());
        }
        assert_eq!(got.last(), Some(&Message::text("in three pieces")));
        assert!(got.contains(&Message::Pong("between".into())), "{got:?}");
        socket.close();
        wait_for("the upstream's end", || (upstream.open() == 0).then_some(()));
    }
    // A client that just goes leaves nothing behind.
    drop(WebSocket::open(gate.address(), "/app/ws", Some(&token)).unwrap());
    wait_for("the upstream's end", || (upstream.open() == 0).then_some(()));
}

#[test]
fn an_upgrade_that_the_upstream_refuses_closes_the_connection_with_its_answer() {
    let upstream = Scripted::new(|mut stream, _| {
        while let Some((head, _)) = read_head(&mut stream) {
            let upgrade = head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n");
            let status = if upgrade { "426 Upgrade Required" } else { "200 OK" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let gate = both_routes(&upstream.url());
    let token = gate.token("ada");
    assert_eq!(WebSocket::open(gate.address(), "/app/ws", Some(&token)).unwrap_err(), 426);
    let mut client = Client::connect(gate.address());
    client.send(format!(
        "GET /app/ws HTTP/1.1\r\nHost: localhost\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        token.header()
    ));
    let refused = client.response();
    assert_eq!((refused.status, refused.header("connection")), (426, Some("close")));
    assert_eq!(client.rest(), b"");
    // Others are not passed on at all; what a client may have sent behind them is taken for nothing.
    for protocol in ["h2c", "TLS/1.2", "websocket, h2c", "foo"] {
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "GET /app/x HTTP/1.1\r\nHost: localhost\r\n{}Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\nGET ",
            token.header()
        ));
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{protocol}");
        assert_eq!(client.rest(), b"", "{protocol}");
    }
}

#[test]
fn r65_whoever_asks_for_two_protocols_at_once_has_nothing_taken_that_was_sent_early() {
    let gate = Gate::start();
    for target in ["/health", "/nothing"] {
        let mut client = Client::connect(gate.address());
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nUpgrade: websocket\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        assert_eq!(client.response().header("connection"), Some("close"), "{target}");
        assert_eq!(client.rest(), b"", "{target}");
    }
}
