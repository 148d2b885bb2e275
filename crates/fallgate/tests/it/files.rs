//! A gate that may have few open files: however many come, it can be asked, told and stopped, and says so once.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{Client, Gate, Home, PATIENCE, WebSocket, WebSocketUpstream, wait_for};

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
    let upgrade = format!(
        "GET /app/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        token.header()
    );
    let (mut open, mut refused) = (Vec::new(), 0);
    for mut client in clients {
        client.send(&upgrade);
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
