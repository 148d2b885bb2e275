//! A gate that may have few open files: however many come, it can be asked, told and stopped, and says so once.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::http2::Http2Upstream;
use crate::support::scripted::{Scripted, read_head};
use crate::support::{Client, Gate, Home, PATIENCE, Token, WebSocket, WebSocketUpstream, wait_for};

/// Fewer than `limits.connections` by far, and enough to start with.
const FILES: &str = "256";
/// More than that in connections.
const CROWD: usize = 300;

/// For [`Gate::started`]: it may have so many open files, and no more.
fn with_few_files(command: &mut Command) {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", FILES]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(std::process::Stdio::null());
    limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    *command = limited;
}

/// A gate before an upstream that takes web sockets.
fn gate(upstream: &WebSocketUpstream) -> Gate {
    let config = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url());
    let home = Home::new();
    home.user("ada");
    Gate::started(home, &config, with_few_files)
}

/// Connects from that address of this machine's own network.
fn connect_from(from: &str, gate: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0).into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&gate.into()).unwrap();
    socket.into()
}

/// Whether the gate serves whoever comes from there.
fn is_served(from: &str, gate: SocketAddr) -> Option<Client> {
    let mut client = Client::over(connect_from(from, gate));
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.is_answered().then_some(client)
}

/// Asks for a WebSocket.
fn upgrade(token: &Token) -> String {
    format!(
        "GET /app/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        token.header()
    )
}

#[test]
fn r67_without_room_for_more_connections_the_gate_is_still_told_and_asked_and_others_still_come_in() {
    let upstream = WebSocketUpstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada");
    let mut stream = WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap();
    // They say nothing, and stay.
    let crowd: Vec<_> = (0..CROWD).map(|_| connect_from("127.0.0.1", gate.address())).collect();
    wait_for("no more room", || is_served("127.0.0.1", gate.address()).is_none().then_some(()));

    // Whose network has not taken what there is is let in.
    let _other = is_served("127.0.0.2", gate.address()).unwrap();
    // Several together take all that connections may have; the rest is not theirs.
    let more: Vec<_> = (0..CROWD).map(|_| connect_from("127.0.0.3", gate.address())).collect();
    wait_for("no more room for anybody", || is_served("127.0.0.4", gate.address()).is_none().then_some(()));
    let live = gate.fallgate(&["live", "--json"]).ok().json();
    assert_eq!(live["live"].as_array().unwrap().len(), 1, "{live}");
    let cut = gate.fallgate(&["cut", "user:ada", "--json"]).ok().json();
    assert_eq!(cut["closed"]["streams"], 1, "{cut}");
    assert_eq!(stream.close_code(), Some(4403));
    gate.fallgate(&["lift", cut["id"].as_str().unwrap()]).ok();
    gate.fallgate(&["reload"]).ok();
    let log = gate.log();
    assert_eq!(log.matches("further ones are closed at once").count(), 1, "{log}");
    assert!(!log.contains("cannot accept"), "{log}");

    drop((crowd, more));
    wait_for("room again", || is_served("127.0.0.1", gate.address()));
    WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap().echo("again");
}

#[test]
fn r67_without_room_for_upstreams_requests_are_told_so_and_whoever_leaves_makes_some() {
    let upstream = WebSocketUpstream::echo();
    let gate = gate(&upstream);
    let token = gate.token("ada");
    // They are all there before any of them needs an upstream.
    let clients: Vec<_> = std::iter::from_fn(|| is_served("127.0.0.1", gate.address())).take(CROWD).collect();
    let (mut open, mut refused) = (Vec::new(), 0);
    for mut client in clients {
        client.send(upgrade(&token));
        let answer = client.response();
        match answer.status {
            101 => open.push(client),
            503 => refused += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert!(open.len() > 40 && refused > 10, "{} are open, {refused} were refused", open.len());
    let live = gate.fallgate(&["live", "--json"]).ok().json();
    assert_eq!(live["live"].as_array().unwrap().len(), open.len());
    let log = gate.log();
    assert_eq!(log.matches("no room for more connections to upstreams").count(), 1, "{log}");
    assert!(!log.contains("upstream not reached"), "{log}");
    open.truncate(open.len() / 2);
    wait_for("room again", || is_served("127.0.0.1", gate.address()));
    WebSocket::open(gate.address(), "/app/", Some(&token)).unwrap().echo("there");
}

#[test]
fn r67_whether_an_upstream_is_up_is_not_looked_at_without_room_for_it() {
    let upstream = WebSocketUpstream::echo();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let other = Scripted::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let config = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {:?}\nallow = [\"role:admin\"]\n",
        upstream.url(),
        other.url()
    );
    let home = Home::new();
    home.user("ada");
    home.admin("root");
    let gate = Gate::started(home, &config, with_few_files);
    let (token, cookie) = (gate.token("ada"), gate.sign_in("root").cookie());
    let mut root = is_served("127.0.0.1", gate.address()).unwrap();
    let mut standing = || {
        root.send(format!("GET /admin/routes HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n"));
        let page = root.response().text();
        let (_, card) = page.split_once("id=\"route-other\"").unwrap_or_else(|| panic!("{page}"));
        card.split("</section>").next().unwrap().to_owned()
    };
    let mut clients: Vec<_> =
        std::iter::from_fn(|| is_served("127.0.0.1", gate.address())).take(CROWD).collect();
    for client in &mut clients {
        client.send(upgrade(&token));
        let _ = client.response();
    }
    let card = standing();
    assert!(card.contains("no answer yet") && asked.load(Ordering::SeqCst) == 0, "{card}");
    drop(clients);
    wait_for("room, and a look", || standing().contains(">up</span>").then_some(()));
    assert!(asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn r67_an_upstream_by_http2_has_the_room_of_connections_that_are_idle() {
    const IDLE: usize = 24;
    const MANY: usize = 80;
    // It answers nobody before they are all there: each has a connection of its own, which is kept.
    let came = Arc::new(AtomicUsize::new(0));
    let plain = Scripted::new(move |mut stream, _| {
        while read_head(&mut stream).is_some() {
            came.fetch_add(1, Ordering::SeqCst);
            wait_for("the others", || (came.load(Ordering::SeqCst) >= IDLE).then_some(()));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let upstream = Http2Upstream::at("0.0.0.0:0".parse().unwrap());
    let url = upstream.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    let app = format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", plain.url());
    // To the gate each is an upstream of its own.
    let others = (1..=MANY).map(|number| {
        format!(
            "[[route]]\nname = \"h{number}\"\npath = \"/h{number}\"\nupstream_http2 = true\n\
             upstream = \"http://127.0.1.{number}:{port}\"\n"
        )
    });
    let config = app + &others.collect::<Vec<_>>().concat();
    let home = Home::new();
    home.user("ada");
    let gate = Gate::started(home, &config, with_few_files);
    let token = gate.token("ada");
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    let mut clients: Vec<_> = (0..IDLE).map(|_| is_served("127.0.0.1", gate.address()).unwrap()).collect();
    for client in &mut clients {
        client.send(request("/app/"));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    // All that clients may have is taken; what is left is for upstreams, and is a quarter of all there is.
    for from in ["127.0.0.1", "127.0.0.3"] {
        clients.extend(std::iter::from_fn(|| is_served(from, gate.address())));
    }
    let left = (clients.len() + IDLE) / 3 + 1;
    let mut answers = (1..=MANY).map(|number| {
        clients[0].send(request(&format!("/h{number}/")));
        clients[0].response()
    });
    let refused = answers.find(|answer| answer.status != 200).unwrap();
    assert!(refused.status == 503 && refused.text().contains("no room"), "{}", refused.text());
    let served = upstream.seen().connections;
    assert!(served > left, "{served} of {left}: the idle ones stay");
}

#[test]
fn a_command_does_not_wait_for_ever_for_a_gate_that_does_not_answer() {
    let home = Home::new();
    home.user("ada");
    let path = home.path().join("control.sock");
    // One that accepts nobody; its queue is full already.
    let hung = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    hung.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    hung.listen(0).unwrap();
    let _queued = UnixStream::connect(&path).unwrap();
    let since = Instant::now();
    let refusal = home.fallgate(&["live"]).refused(1);
    assert!(refusal.contains("did not answer within 10 s"), "{refusal}");
    assert!(since.elapsed() < Duration::from_secs(20));
    // A cut stands all the same.
    home.fallgate(&["cut", "user:ada"]).ok();
    drop(hung);

    // One that takes the request, and says nothing.
    std::fs::remove_file(&path).unwrap();
    let _mute = UnixListener::bind(&path).unwrap();
    let refusal = home.fallgate(&["live"]).refused(1);
    assert!(refusal.contains("did not answer within 10 s"), "{refusal}");
}
