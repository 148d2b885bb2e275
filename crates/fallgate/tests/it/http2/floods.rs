//! What costs its sender nothing and us work is bounded (requirement R67), and who reads or writes nothing is not waited
//! for for ever.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::routes;
use crate::support::http2::{Frames, Http2Upstream, Outcome, Session, block, frame, headers, run};
use crate::support::scripted::{Scripted, read_head};
use crate::support::{Gate, Puppet, Upstream, wait_for};

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/open/x"), (":authority", "localhost")];

/// Sends `piece` of each round until the gate has had enough, and gives how many rounds that took.
#[track_caller]
fn flood(gate: &Gate, begin: &[u8], most: u32, piece: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut client = Frames::begin(gate.address(), &[]);
    client.send(begin);
    for round in 0..most {
        if !client.sends(&piece(round)) {
            return round;
        }
    }
    panic!("the gate took all {most}");
}

#[track_caller]
fn still_serves(gate: &Gate) {
    run(async {
        assert_eq!(Session::open(gate.address()).await.get("/health", None).await.status, 200);
    });
    let memory = gate.memory_peak();
    assert!(memory < 150 * 1024 * 1024, "{memory}");
}

#[test]
fn r67_rapid_resets_end_the_connection() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    flood(&gate, b"", 2_000_000, |round| {
        let stream = 2 * round + 1;
        [headers(stream, true, &GET), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    });
    let asked = upstream.requests().len();
    assert!(asked < 500, "{asked} of them went up");
    still_serves(&gate);
    // It is told why, if it listens.
    let mut client = Frames::begin(gate.address(), &[]);
    let resets: Vec<_> = (0..300_u32)
        .flat_map(|round| {
            [headers(2 * round + 1, true, &GET), frame(3, 0, 2 * round + 1, &[0, 0, 0, 8])].concat()
        })
        .collect();
    client.send(resets);
    assert!(client.ends_with(11), "ENHANCE_YOUR_CALM");
}

#[test]
fn r67_streams_given_up_one_batch_after_the_other_end_the_connection() {
    let upstream = Http2Upstream::start();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"open\"\npath = \"/open\"\nupstream = {:?}\nupstream_http2 = true\npublic = [\"/\"]\n",
        upstream.url()
    ));
    let mut client = Frames::begin(gate.address(), &[]);
    let silent =
        [(":method", "GET"), (":scheme", "http"), (":path", "/open/silent"), (":authority", "localhost")];
    let mut given_up = 0;
    for batch in 0..100_u32 {
        let streams: Vec<_> = (0..20).map(|place| 2 * (20 * batch + place) + 1).collect();
        client.send(streams.iter().flat_map(|stream| headers(*stream, true, &silent)).collect::<Vec<_>>());
        // What went before the ping has been read when it comes back.
        client.send(frame(6, 0, 0, &[7; 8]));
        if client.find(|frame| (frame.kind == 6 && frame.flags == 1).then_some(())).is_none() {
            break;
        }
        client
            .send(streams.iter().flat_map(|stream| frame(3, 0, *stream, &[0, 0, 0, 8])).collect::<Vec<_>>());
        given_up += 20;
    }
    assert!((180..600).contains(&given_up), "{given_up}");
    let asked = upstream.seen().requests.len();
    assert!(asked < 600, "{asked}");
    still_serves(&gate);
}

#[test]
fn a_client_that_gives_up_some_streams_is_no_flood() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let mut client = Frames::begin(gate.address(), &[]);
    for round in 0..100_u32 {
        client.send(headers(2 * round + 1, true, &GET));
        client.send(frame(3, 0, 2 * round + 1, &[0, 0, 0, 8]));
    }
    client.send(headers(1001, true, &GET));
    assert_eq!(client.find(|frame| (frame.stream == 1001 && frame.kind == 1).then_some(())), Some(()));
}

#[test]
fn r67_frames_that_carry_nothing_end_the_connection() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let open = headers(1, false, &[&[(":method", "POST")], &GET[1..]].concat());
    for (name, begin, piece) in [
        ("pings", &b""[..], frame(6, 0, 0, &[0; 8])),
        ("settings", b"", frame(4, 0, 0, b"")),
        ("settings that change", b"", frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("priorities", b"", frame(2, 0, 3, &[0, 0, 0, 0, 16])),
        ("windows", b"", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("what nobody knows", b"", frame(0xbb, 0, 0, b"")),
        ("data without data", &open, frame(0, 0, 1, b"")),
        ("padding", &open, frame(0, 8, 1, &[0])),
    ] {
        let hundred = piece.repeat(100);
        let rounds = flood(&gate, begin, 100_000, |_| hundred.clone());
        eprintln!("{name}: closed after {rounds} hundred");
    }
    still_serves(&gate);
}

#[test]
fn r67_a_head_without_end_ends_the_connection() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let begin = frame(1, 1, 1, &block(&GET));
    flood(&gate, &begin, 100_000, |_| frame(9, 0, 1, &block(&[("x-a", &"b".repeat(8_000))])));
    flood(&gate, &begin, 100_000, |_| frame(9, 0, 1, b"").repeat(100));
    assert!(upstream.requests().is_empty());
    still_serves(&gate);
}

#[test]
fn r67_a_small_head_that_grows_large_is_refused() {
    let upstream = Upstream::echo();
    let gate = routes(&upstream.url());
    let mut client = Frames::begin(gate.address(), &[]);
    // One large field into HPACK's memory, then a reference to it over and over.
    let value = "v".repeat(3_900);
    let mut bomb = block(&GET);
    bomb.extend([0x40, 3]);
    bomb.extend(b"x-a");
    bomb.extend([0x7f, 0xbd, 0x1d]);
    bomb.extend(value.as_bytes());
    bomb.extend([0xbe; 12_000]);
    client.send(frame(1, 5, 1, &bomb));
    let outcome = client.outcome(1);
    assert!(matches!(outcome, Outcome::Status(431) | Outcome::GoAway(_) | Outcome::Closed), "{outcome:?}");
    still_serves(&gate);
}

/// A gate that waits a second for whoever is slow.
fn impatient(upstream: &str) -> Gate {
    Gate::configured(&format!(
        "[limits]\nidle = \"1s\"\nhead_time = \"1s\"\n[[route]]\nname = \"open\"\npath = \"/open\"\nupstream = {upstream:?}\npublic = [\"/\"]\n"
    ))
}

#[test]
fn r67_a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let upstream = Upstream::echo();
    let gate = impatient(&upstream.url());
    let mut client = Frames::begin(gate.address(), &[]);
    let begun = Instant::now();
    client.send(frame(1, 1, 1, &block(&GET)));
    while client.next().is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(upstream.requests().is_empty());
}

#[test]
fn r67_nor_is_it_beside_a_stream_that_goes_on() {
    let upstream = Puppet::new();
    let gate = impatient(&upstream.url());
    for head in [frame(1, 1, 3, &block(&GET)), headers(3, true, &GET)[..40].to_vec()] {
        let mut client = Frames::begin(gate.address(), &[]);
        client.send(headers(1, true, &GET));
        let mut line = upstream.accept();
        line.head();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        assert_eq!(client.outcome(1), Outcome::Status(200));
        client.send(head);
        while client.next().is_some() {}
        line.ended();
    }
}

#[test]
fn r67_who_opens_no_window_is_not_waited_for() {
    let upstream = Puppet::new();
    let gate = impatient(&upstream.url());
    let mut client = Frames::begin(gate.address(), &[(4, 0)]);
    client.send(headers(1, true, &GET));
    let mut line = upstream.accept();
    line.head();
    line.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    assert_eq!(client.outcome(1), Outcome::Status(200));
    let outcome = client.outcome(1);
    assert!(matches!(outcome, Outcome::Reset(_)), "{outcome:?}");
    line.ended();
}

#[test]
fn r67_who_sends_no_body_is_not_waited_for() {
    let upstream = Puppet::new();
    let gate = impatient(&upstream.url());
    let mut client = Frames::begin(gate.address(), &[]);
    client.send(headers(
        1,
        false,
        &[&[(":method", "POST")], &GET[1..], &[("content-length", "10")]].concat(),
    ));
    let mut line = upstream.accept();
    line.head();
    client.send(frame(0, 0, 1, b"some"));
    assert_eq!(line.exactly(4), b"some");
    assert_eq!(client.outcome(1), Outcome::Status(408));
    line.ended();
}

#[test]
fn r67_who_reads_nothing_fills_no_memory() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let upstream = Scripted::new(move |mut stream, _| {
        let Some(_) = read_head(&mut stream) else { return };
        counter.fetch_add(1, Ordering::SeqCst);
        let piece = vec![b'x'; 64 * 1024];
        let mut answer = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while answer.is_ok() {
            answer = stream.write_all(&piece);
        }
        counter.fetch_sub(1, Ordering::SeqCst);
    });
    let gate = impatient(&upstream.url());
    let clients: Vec<_> = (0..2)
        .map(|_| {
            // Windows as wide as they can be, and a socket that is never read.
            let mut client = Frames::begin(gate.address(), &[(4, 0x7fff_ffff)]);
            client.send(frame(8, 0, 0, &[0x7f, 0xff, 0, 0]));
            for stream in 0..100_u32 {
                client.send(headers(2 * stream + 1, true, &GET));
            }
            client
        })
        .collect();
    wait_for("all answers to flow", || (asked.load(Ordering::SeqCst) == 200).then_some(()));
    still_serves(&gate);
    wait_for("the end of patience", || (asked.load(Ordering::SeqCst) == 0).then_some(()));
    drop(clients);
}
