//! From nothing to listening, and from listening to nothing: what a start needs, what stops it, what a stop lets end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, Close, Gate, Home, Line, Puppet, Token, nobodys_address, wait_for};

/// A process that is killed when dropped.
struct Started(Child);

impl Started {
    fn of(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// The first line it says.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every file of a folder, by name, but the daemon's lock and its socket: they are no data.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files =
        entries.filter(|entry| entry.file_name() != "fallgate.lock" && entry.file_name() != "control.sock");
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn whoami(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

#[test]
fn r70_with_nothing_configured_it_would_listen_on_loopback_and_nobody_can_come_in() {
    let home = Home::new();
    let mut command = home.command(&["serve"]);
    command.env_remove("FALLGATE_HOME");
    let mut started = Started::of(command);
    let line = started.first_line();
    // Whether or not another program has that port at the moment, the line names it.
    let is_up = line.contains("is listening on http://127.0.0.1:7400\n");
    assert!(is_up || line.starts_with("error: cannot listen on 127.0.0.1:7400: another program"), "{line}");
    drop(started);
    let made = home.beside().join(".local/share/fallgate/fallgate.db");
    assert!(made.exists(), "no home at the usual place");
    for noun in ["user", "token"] {
        let mut list = home.command(&[noun, "list", "--json"]);
        list.env_remove("FALLGATE_HOME");
        let listed = crate::support::Run::of(list, b"").ok().json();
        assert_eq!(listed[format!("{noun}s")], serde_json::json!([]), "a fresh gate has a {noun}");
    }
}

#[test]
fn r70_only_loopback_is_listened_on() {
    let gate = Gate::start();
    let port = format!(":{:04X} ", gate.address().port());
    let listening = |table: &str| {
        let rows = fs::read_to_string(table).unwrap_or_default();
        // The fourth column is the state; 0A is LISTEN.
        let rows =
            rows.lines().filter(|row| row.contains(&port) && row.split_whitespace().nth(3) == Some("0A"));
        rows.map(|row| row.split_whitespace().nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let loopback = u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
    assert_eq!(listening("/proc/net/tcp"), [format!("{loopback:08X}{}", port.trim_end())]);
    assert!(listening("/proc/net/tcp6").is_empty());
}

#[test]
fn r43_what_was_revoked_before_the_start_is_refused_from_the_very_first_request() {
    let home = Home::new();
    home.user("ada");
    let (kept, ended) = (home.token("ada"), home.token("ada"));
    home.fallgate(&["token", "revoke", &ended.id]).ok();
    for _ in 0..5 {
        let address = nobodys_address();
        let _gate = Started::of(home.command(&["serve", "--listen", &address.to_string()]));
        // From before it listens until it does.
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (ended, kept) = (ended.clone(), kept.clone());
                thread::spawn(move || (first_answer(address, &ended), first_answer(address, &kept)))
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), (401, 200));
        }
    }
}

/// Tries until somebody listens, and gives the status of the first answer.
#[expect(clippy::disallowed_methods, reason = "this is the gate's client, before there is a gate")]
fn first_answer(gate: SocketAddr, token: &Token) -> u16 {
    let mut stream = wait_for("anybody who listens", || TcpStream::connect(gate).ok());
    let request =
        format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{}Connection: close\r\n\r\n", token.header());
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_database_that_cannot_be_served_stops_the_start_with_one_line_and_nothing_is_touched() {
    type Harm = fn(&mut Vec<u8>);
    let cases: [(&str, Harm, &str); 5] = [
        ("cut off in the middle", |bytes| bytes.truncate(bytes.len() / 2), "damaged"),
        ("cut off in its first page", |bytes| bytes.truncate(700), "damaged"),
        ("a page of noise", |bytes| bytes[4_096..8_192].fill(0xa5), "damaged"),
        (
            "another program's mark",
            |bytes| bytes[68..72].copy_from_slice(b"NOPE"),
            "is not a Fallgate database",
        ),
        ("something else altogether", |bytes| *bytes = b"%PDF-1.7 and so on\n".repeat(400), "fallgate.db"),
    ];
    let home = Home::new();
    home.token("ada");
    let database = home.path().join("fallgate.db");
    let whole = fs::read(&database).unwrap();
    for (what, harm, words) in cases {
        let mut bytes = whole.clone();
        harm(&mut bytes);
        fs::write(&database, bytes).unwrap();
        let before = contents(&home.path());
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"], &["user", "list"]] {
            let refused = home.fallgate(arguments).refused(1);
            assert!(refused.contains(words), "{what}: {refused}");
            assert!(refused.contains(database.to_str().unwrap()), "{what}: {refused}");
            assert!(contents(&home.path()) == before, "{what}: {arguments:?} has touched the files");
        }
    }
    fs::write(&database, whole).unwrap();
    assert_eq!(Gate::on(home, "").address().ip(), Ipv4Addr::LOCALHOST);
}

#[test]
fn a_start_that_fails_says_one_line_and_makes_no_home() {
    let home = Home::new();
    for (config, line, words) in [
        ("[server]\nlisten = \"everywhere\"\n", 2, "an IP address and a port"),
        (
            "[server]\npublic_url = \"http://0.0.0.0:1\"\n\n[[route]]\nname = \"a\"\n",
            4,
            "needs a place to come in",
        ),
        (
            "[[route]]\nname = \"a\"\npath = \"/api\"\nupstream = \"http://127.0.0.1:1\"\n",
            3,
            "Fallgate's own",
        ),
    ] {
        let file = home.write_config(config);
        let refused = home.fallgate(&["serve", "--config", file.to_str().unwrap()]).refused(1);
        assert!(refused.starts_with(&format!("{}:{line}: ", file.display())), "{refused}");
        assert!(refused.contains(words), "{refused}");
    }
    assert!(!home.path().exists());
}

#[test]
fn a_taken_port_leaves_the_home_free_for_the_next_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    home.user("ada");
    let address = taken.local_addr().unwrap().to_string();
    assert!(home.fallgate(&["serve", "--listen", &address]).refused(1).starts_with("cannot listen on "));
    let gate = Gate::on(home, "");
    assert_eq!(whoami(&gate, &gate.token("ada")), 200);
}

#[test]
fn a_second_gate_is_refused_though_the_first_was_killed_in_between() {
    let gate = Gate::start();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    assert!(gate.fallgate(&serve).refused(1).starts_with("another fallgate serves "));
    let gate = Gate::on(gate.kill(), "");
    assert!(gate.fallgate(&serve).refused(1).starts_with("another fallgate serves "));
}

/// Puts something else at the database's place, and waits until the gate refuses what it let in before.
fn refuses_after(replace: impl FnOnce(&Path)) {
    let gate = Gate::start();
    let token = gate.token("ada");
    assert_eq!(whoami(&gate, &token), 200);
    replace(&gate.path());
    let replaced = Instant::now();
    wait_for("a refusal", || (whoami(&gate, &token) == 503).then_some(()));
    eprintln!("refused {} ms after the replacement", replaced.elapsed().as_millis());
    // Once noticed, for good.
    for _ in 0..100 {
        assert_eq!(whoami(&gate, &token), 503);
    }
    assert_eq!(Client::get(gate.address(), "/health", None).status, 503);
    let nobody = Client::get(gate.address(), "/api/whoami", None);
    assert_eq!(nobody.status, 401, "nobody needs no store");
    assert!(gate.log().contains("cannot read the store"), "{}", gate.log());
}

#[test]
fn r9_a_database_replaced_under_a_running_gate_means_503_and_no_stale_yes() {
    refuses_after(|home| {
        let (database, copy) = (home.join("fallgate.db"), home.join("fallgate.copy"));
        fs::copy(&database, &copy).unwrap();
        fs::rename(&copy, &database).unwrap();
    });
}

#[test]
fn r9_a_database_that_is_gone_means_503() {
    refuses_after(|home| fs::remove_file(home.join("fallgate.db")).unwrap());
}

#[test]
fn r9_a_whole_home_replaced_under_a_running_gate_means_503() {
    refuses_after(|home| {
        let old = home.with_extension("old");
        fs::rename(home, &old).unwrap();
        fs::create_dir(home).unwrap();
        for (name, bytes) in contents(&old) {
            fs::write(home.join(name), bytes).unwrap();
        }
    });
}

#[test]
fn r9_a_revoke_on_a_replaced_database_is_not_answered_with_a_stale_yes() {
    let gate = Gate::start();
    let token = gate.token("ada");
    assert_eq!(whoami(&gate, &token), 200);
    let database = gate.path().join("fallgate.db");
    fs::copy(&database, database.with_extension("copy")).unwrap();
    fs::rename(database.with_extension("copy"), &database).unwrap();
    // Whatever the command makes of it: once it says it is done, the token is.
    let revoked = gate.fallgate(&["token", "revoke", &token.id]);
    let status = whoami(&gate, &token);
    assert!(revoked.code != Some(0) || status != 200, "{status} after a revoke that was acknowledged");
}

#[test]
fn a_stop_lets_a_request_under_way_end_well_closes_idle_connections_and_takes_no_new_ones() {
    let upstream = Puppet::new();
    let mut gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let request = format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header());
    let mut idle = Client::connect(gate.address());
    idle.send(format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
    assert_eq!(idle.response().status, 200);
    let never_used = Line::connect(gate.address());
    let mut waiting = Line::connect(gate.address());
    waiting.send(&request);
    let mut slow = upstream.accept();
    slow.head();
    let mut flowing = Line::connect(gate.address());
    flowing.send(&request);
    let mut stream = upstream.accept();
    stream.head();
    stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    flowing.head();
    flowing.exactly(8);

    gate.signal(Signal::TERM);
    assert_eq!(idle.rest(), b"");
    assert_eq!(never_used.ended().bytes, b"");
    wait_for("the end of the listening", || TcpListener::bind(gate.address()).ok().map(drop));
    slow.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    assert!(waiting.head().starts_with("HTTP/1.1 200 "));
    let waiting = waiting.ended();
    assert_eq!((waiting.text().as_str(), waiting.close), ("slow", Close::Finished));
    stream.send("3\r\ntwo\r\n0\r\n\r\n");
    let flowing = flowing.ended();
    assert_eq!((flowing.text().as_str(), flowing.close), ("3\r\ntwo\r\n0\r\n\r\n", Close::Finished));
    assert_eq!(gate.ended().code(), Some(0), "{}", gate.log());
    assert!(gate.log().contains("stopped"), "{}", gate.log());
}

#[test]
fn a_stop_tells_websockets_so_at_once() {
    let upstream = Puppet::new();
    let mut gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let client = Line::ask_for_websocket(gate.address(), "/app/", &token);
    let far = upstream.accept_websocket();
    let client = client.switched();
    gate.signal(Signal::TERM);
    let begun = Instant::now();
    client.ended().assert_closed(1001, "the gate is stopping");
    far.ended();
    assert_eq!(gate.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "the drain went on after its last connection");
}

#[test]
fn a_revoke_still_cuts_while_the_gate_stops() {
    let upstream = Puppet::new();
    let mut gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let mut flowing = Line::connect(gate.address());
    flowing.send(format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", token.header()));
    let mut stream = upstream.accept();
    stream.head();
    stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    flowing.head();
    flowing.exactly(8);
    gate.signal(Signal::TERM);
    wait_for("the stop", || gate.log().contains("stopping").then_some(()));
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    let begun = Instant::now();
    assert_eq!(flowing.ended().bytes, b"", "no last chunk");
    assert_eq!(gate.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "the drain went on after its last connection");
}

#[test]
fn after_a_clean_stop_the_database_stands_alone() {
    let home = Home::new();
    home.token("ada");
    let mut gate = Gate::on(home, "");
    gate.signal(Signal::TERM);
    gate.ended();
    // The write-ahead log is copied into it.
    let left: Vec<_> = contents(&gate.path()).into_keys().collect();
    assert_eq!(left, ["fallgate.db", "internal-token", "revision", "root.key"]);
    assert_eq!(
        gate.fallgate(&["token", "list", "--json"]).ok().json()["tokens"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn r43_a_log_that_was_only_begun_when_its_writer_was_killed_holds_nobody_up() {
    let home = Home::new();
    let token = home.token("ada");
    let gate = Gate::on(home, "");
    let (database, log, index) = (
        gate.path().join("fallgate.db"),
        gate.path().join("fallgate.db-wal"),
        gate.path().join("fallgate.db-shm"),
    );
    gate.user("bob");
    // Its header is written before its first frame; a power cut or SIGKILL may come between the two.
    let begun = fs::read(&log).unwrap()[..32].to_vec();
    let mut gate = gate;
    gate.signal(Signal::TERM);
    gate.ended();
    assert!(database.exists() && !log.exists());
    let home = gate.kill();
    fs::write(&log, begun).unwrap();
    fs::write(&index, vec![0; 32 * 1024]).unwrap();
    let asked = Instant::now();
    assert_eq!(home.usernames(), ["ada", "bob"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    let gate = Gate::on(home, "");
    assert_eq!(whoami(&gate, &token), 200);
}
