//! Two servers that many lean on judge the same bytes: what both refuse, we refuse.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::framing::talks::TALKS;
use crate::framing::{BY_HOST, BY_PATH, Stage, corpus};
use crate::support::servers::Server;
use crate::support::{Verdict, verdict};

/// How long the two are waited for. Who waits longer has not refused, which only makes the test milder.
const THEIRS: Duration = Duration::from_millis(700);
/// How long we are waited for where we must refuse.
const OURS: Duration = Duration::from_secs(5);

/// Good requests, to be spoiled.
const SEEDS: [&[u8]; 4] = [
    b"GET {p}/x?q=1 HTTP/1.1\r\n{h}X-A: b\r\n\r\n",
    b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET {p}/x HTTP/1.0\r\n{h}Connection: keep-alive\r\n\r\n",
];

/// Where in a seed something is put: right behind the first occurrence of this.
const PLACES: [&[u8]; 10] = [
    b"",
    b"GET",
    b"POST",
    b"/x",
    b"HTTP/1.1",
    b"\r\n",
    b"Content-Length",
    b"Transfer-Encoding",
    b": chunked",
    b"\r\n\r\n",
];

/// What is put there.
const SPOILERS: [&[u8]; 14] =
    [b"\0", b"\t", b" ", b"\n", b"\r", b"\r\n", b"\x0b", b"\x7f", b"\xff", b":", b",", b";", b"{", b"\r\n "];

/// A good request with a bit of everything, into which every byte there is goes everywhere that `|` stands.
const SWEPT: &str = "P|OST| |{p}/x|?q|=1| |HTTP/1|.1|\r|\n|Host: site.example\r\n|X|-A|:| |b|c\r\nAuthorization: {bearer}\r\n\
                     Transfer-|Encoding|: |chun|ked|\r\nConnection: close\r\n|\r|\n|3|\r|\nab|c|\r|\n0|\r\nX-|Sum|: |1|\r\n|\r\n";

/// hyper as it comes, which answers 200 to whatever request it can read to its end.
fn hyper() -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Clients that send nonsense are what it is here for.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let read = request.into_body().collect().await;
    let status = if read.is_ok() { 200 } else { 400 };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

/// Every request, with a name that says how it was made.
fn requests() -> Vec<(String, Vec<u8>)> {
    let mut requests = Vec::new();
    let heads = corpus::HEADS.iter().map(|(name, bytes, _)| (*name, bytes.to_vec()));
    let good = corpus::GOOD.iter().map(|(name, bytes, _)| (*name, bytes.to_vec()));
    let bodies = corpus::BODIES.iter().map(|(name, body)| {
        let head = b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        (*name, [head.as_slice(), body].concat())
    });
    let talks = TALKS.iter().map(|talk| (talk.name, talk.bytes.to_vec()));
    requests
        .extend(heads.chain(good).chain(bodies).chain(talks).map(|(name, bytes)| (name.to_owned(), bytes)));
    for path in corpus::PATHS {
        let bytes = format!("GET {{p}}{path} HTTP/1.1\r\n{{h}}\r\n").into_bytes();
        requests.push(((*path).to_owned(), bytes));
    }
    for (number, seed) in SEEDS.iter().enumerate() {
        for place in PLACES {
            let Some(at) = seed.windows(place.len().max(1)).position(|window| window.starts_with(place))
            else {
                continue;
            };
            let at = at + place.len();
            for spoiler in SPOILERS {
                let name =
                    format!("seed {number} with {} behind {}", spoiler.escape_ascii(), place.escape_ascii());
                requests.push((name, [&seed[..at], spoiler, &seed[at..]].concat()));
            }
        }
        // Cut short by its line ends, and with each line given twice.
        let lines: Vec<_> = seed.split_inclusive(|byte| *byte == b'\n').collect();
        for line in 0..lines.len() {
            let twice = [&lines[..=line], &lines[line..]].concat().concat();
            requests.push((format!("seed {number} with line {line} twice"), twice));
            let without = [&lines[..line], &lines[line + 1..]].concat().concat();
            requests.push((format!("seed {number} without line {line}"), without));
        }
    }
    requests
}

/// The swept request with each byte in each place.
fn swept() -> Vec<(String, Vec<u8>)> {
    let pieces: Vec<_> = SWEPT.split('|').collect();
    let places = 1..pieces.len();
    let of = |place: usize| {
        let (before, after) = (pieces[..place].concat(), pieces[place..].concat());
        (0..=u8::MAX).map(move |byte| {
            let shown = before.rsplit("\r\n").next().unwrap_or_default().to_owned();
            let name = format!("the byte {byte:#04x} behind {shown:?}, place {place}");
            (name, [before.as_bytes(), &[byte], after.as_bytes()].concat())
        })
    };
    places.flat_map(of).collect()
}

#[test]
fn r64_what_both_hyper_and_nginx_refuse_is_refused_here() {
    let requests = requests();
    assert!(requests.len() >= 500, "{}", requests.len());
    what_both_refuse_is_refused(&requests, 100);
}

#[test]
fn r64_no_byte_in_any_place_of_a_request_is_taken_that_both_hyper_and_nginx_refuse() {
    let requests = swept();
    assert!(requests.len() >= 9_000, "{}", requests.len());
    what_both_refuse_is_refused(&requests, 2_000);
}

/// Each request that both refuse, at least so many of them, is refused here.
fn what_both_refuse_is_refused(requests: &[(String, Vec<u8>)], at_least: usize) {
    let stage = Stage::new();
    let (hyper, nginx) = (hyper(), Server::nginx("location / { return 200; }"));
    let (next, both) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (report, disagreements) = mpsc::channel();
    thread::scope(|scope| {
        // They mostly wait: for whoever wants more bytes than there are.
        for _ in 0..16 {
            let report = report.clone();
            let (stage, nginx, next, both) = (&stage, &nginx, &next, &both);
            scope.spawn(move || {
                while let Some((name, bytes)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The same bytes for all; on a route by host the path is as it is to them.
                    let bytes = stage.fill(BY_HOST, bytes);
                    let theirs = [verdict(hyper, &bytes, THEIRS), verdict(nginx.address(), &bytes, THEIRS)];
                    if !theirs.iter().all(|verdict| verdict.is_no()) {
                        continue;
                    }
                    both.fetch_add(1, Ordering::Relaxed);
                    let ours = verdict(stage.gate.address(), &bytes, OURS);
                    if !ours.is_no() {
                        report.send((name.clone(), theirs, ours)).unwrap();
                    }
                }
            });
        }
    });
    drop(report);
    let table: Vec<_> = disagreements
        .iter()
        .map(|(name, [hyper, nginx], ours)| {
            format!("{name}: hyper {hyper:?}, nginx {nginx:?}, and we {ours:?}\n")
        })
        .collect();
    assert!(table.is_empty(), "what both refuse is let through here:\n{}", table.concat());
    // Or the test would prove nothing.
    let both = both.into_inner();
    assert!(both > at_least, "{both} of {}", requests.len());
    assert!(matches!(
        verdict(stage.gate.address(), &stage.fill(BY_PATH, SEEDS[0]), OURS),
        Verdict::Taken(200)
    ));
}
