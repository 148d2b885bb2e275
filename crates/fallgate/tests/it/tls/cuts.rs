//! Revoked means revoked, by TLS as without it.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use super::Scene;
use crate::support::scripted::{Scripted, read_head};
use crate::support::{Puppet, WebSocketUpstream, WsFrame, wait_for};

#[test]
fn r46_a_revoked_tls_websocket_gets_4401_with_the_reason_and_a_goodbye() {
    let upstream = WebSocketUpstream::echo();
    let scene = Scene::before(&upstream.url());
    let other = scene.gate.token("ada");
    let (mut cut, mut spared) = (scene.websocket(&scene.token), scene.websocket(&other));
    cut.echo("here");
    scene.gate.fallgate(&["token", "revoke", &scene.token.id]).ok();
    assert_eq!(cut.close_code(), Some(4401));
    wait_for("the upstream's end", || (upstream.open() == 1).then_some(()));
    spared.echo("still here");
}

#[test]
fn r46_a_revoked_tls_download_breaks_off_and_shows_it() {
    let upstream = Scripted::new(|mut stream, _| {
        read_head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        // Nothing more comes; the end does.
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    });
    let scene = Scene::before(&upstream.url());
    let mut stream = scene.connect();
    write!(stream, "GET /app/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n", scene.token.header()).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while !text.ends_with(b"5\r\nfirst\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0);
        text.extend(&buffer[..count]);
    }
    scene.gate.fallgate(&["token", "revoke", &scene.token.id]).ok();
    // Neither a last chunk nor TLS's own goodbye: nobody can take it for the whole.
    let ended = stream.read(&mut buffer).unwrap_err();
    assert!(matches!(ended.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{ended}");
}

#[test]
fn r48_a_tls_client_that_reads_nothing_is_reset_and_not_waited_for() {
    let puppet = Puppet::new();
    let scene = Scene::before(&puppet.url());
    let mut client = scene.connect();
    write!(
        client,
        "GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        scene.token.header()
    )
    .unwrap();
    let mut upstream = puppet.accept_websocket();
    let (head, _) = read_head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let stuck = upstream.send_until_stuck(&WsFrame::from_server(&vec![7; 60_000]));
    assert!(stuck > 100_000, "{stuck}");
    let watched = upstream.watched();
    scene.gate.fallgate(&["token", "revoke", &scene.token.id]).ok();
    watched.join().unwrap();
    wait_for("the reset", || client.sock.take_error().unwrap());
}

#[test]
fn what_is_said_in_a_tls_tunnel_arrives_though_the_other_direction_is_stuck() {
    let puppet = Puppet::new();
    let scene = Scene::before(&puppet.url());
    let mut client = scene.connect();
    write!(
        client,
        "GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        scene.token.header()
    )
    .unwrap();
    let mut upstream = puppet.accept_websocket();
    let (_, early) = read_head(&mut client).unwrap();
    assert_eq!(early, b"");
    // The client sends more than anybody takes, and meanwhile the upstream speaks.
    let mut socket = client.sock.try_clone().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let filler = vec![7; 16 * 1024];
    wait_for("the way up to be full", || {
        while client.conn.wants_write() {
            if client.conn.write_tls(&mut socket).is_err() {
                return (sent > 1_000_000).then_some(());
            }
        }
        sent += client.conn.writer().write(&filler).unwrap();
        None
    });
    socket.set_nonblocking(false).unwrap();
    upstream.send(WsFrame::from_server(&vec![1; 60_000]));
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        while got.len() < 60_004 {
            client.conn.read_tls(&mut client.sock).unwrap();
            client.conn.process_new_packets().unwrap();
            let mut buffer = vec![0; 64 * 1024];
            if let Ok(count) = client.conn.reader().read(&mut buffer) {
                got.extend(&buffer[..count]);
            }
        }
        got
    });
    assert!(reader.join().unwrap().ends_with(&[1; 1000]));
}
