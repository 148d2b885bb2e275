//! A route of the same name that leads elsewhere, or tells its upstream something else, is another route.

use tokio_tungstenite::tungstenite;

use super::*;
use crate::support::tls::Authority;
use crate::support::{Close, Puppet, WebSocket};

/// What is open by the old route has to end, and whoever reads its end is told so.
const TOLD: &str = "the route has changed";

/// A route as it is before it changes: as much is said of it as can be.
const BEFORE: [(&str, &str); 9] = [
    ("path", "\"/app\""),
    ("strip", "true"),
    ("upstream_host", "\"app.internal\""),
    ("identity", "\"none\""),
    ("authorization", "\"ours\""),
    ("upgrades", "[\"tcp\", \"irc\"]"),
    ("inject", "{ x-app-key = \"one\", x-app-name = \"n\" }"),
    ("max_stream_age", "\"12h\""),
    ("public", "[\"/open\"]"),
];

/// The route `app`, with some of it said otherwise, and one beside it.
fn config(upstream: &str, changed: &[(&str, &str)]) -> String {
    let mut keys: Vec<_> = BEFORE.to_vec();
    for (name, value) in changed {
        keys.retain(|(known, _)| known != name);
        keys.push((name, value));
    }
    let keys: Vec<_> = keys.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!("[[route]]\nname = \"app\"\nupstream = {upstream:?}\n{}", keys.concat())
}

#[test]
fn r57_a_route_that_leads_elsewhere_or_tells_its_upstream_something_else_closes_what_the_old_one_let_in() {
    let (upstream, elsewhere) = (WebSocketUpstream::echo(), WebSocketUpstream::echo());
    let beside = route("same", &upstream, "");
    let gate = Gate::configured(&(config(&upstream.url(), &[]) + &beside));
    let token = gate.token("ada");
    let mut stays = open(&gate, "same", &token);
    for (to, changed) in [
        (&elsewhere, None),
        (&upstream, Some(("path", "\"/other\""))),
        (&upstream, Some(("strip", "false"))),
        (&upstream, Some(("upstream_host", "\"other.internal\""))),
        (&upstream, Some(("upstream_http2", "true"))),
        (&upstream, Some(("identity", "\"headers\""))),
        (&upstream, Some(("identity", "\"assertion\""))),
        (&upstream, Some(("authorization", "\"pass\""))),
        (&upstream, Some(("upgrades", "[\"tcp\"]"))),
        (&upstream, Some(("inject", "{ x-app-key = \"two\", x-app-name = \"n\" }"))),
        (&upstream, Some(("inject", "{ x-app-key = \"one\" }"))),
    ] {
        let lines = [open(&gate, "app", &token), by_nobody(&gate)].map(Line::watched);
        gate.write_config(&(config(&to.url(), changed.as_slice()) + &beside));
        assert_eq!(reload(&gate)["changed"], json!(["route app"]), "{changed:?}");
        let exited = Instant::now();
        for line in lines {
            let ended = line.join().unwrap();
            ended.assert_closed(4401, TOLD);
            let after = ended.at.saturating_duration_since(exited);
            assert!(after < AT_MOST, "{changed:?}: {after:?}");
        }
        assert_open(&mut stays, "its route is the same");
        // And back again: what the other one lets in ends as well, and what comes then goes on.
        let is_found = changed.is_none_or(|(key, _)| !["path", "authorization"].contains(&key));
        let other = is_found.then(|| open(&gate, "app", &token));
        gate.write_config(&(config(&upstream.url(), &[]) + &beside));
        reload(&gate);
        if let Some(other) = other {
            other.ended().assert_closed(4401, TOLD);
        }
        assert_open(&mut open(&gate, "app", &token), "let in by what counts now");
        assert_open(&mut stays, "its route is the same");
    }
}

/// A WebSocket on the route's public path.
fn by_nobody(gate: &Gate) -> Line {
    Line::ask_for_websocket_with(gate.address(), "/app/open", "").switched()
}

#[test]
fn r57_what_changes_neither_where_a_route_leads_nor_what_is_told_there_closes_nothing() {
    let upstream = WebSocketUpstream::echo();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "one\n").unwrap();
    let from_file =
        format!("{{ x-app-name = \"n\", x-app-key = \"${{file:{}}}\" }}", secret.path().display());
    let gate = Gate::configured(&config(&upstream.url(), &[]));
    let token = gate.token("ada");
    let mut lines = [open(&gate, "app", &token), by_nobody(&gate)];
    let log = format!("[log]\naccess = {:?}\n", gate.beside().join("access.log"));
    let limits = "[limits]\nconnections = 500\nidle = \"1m\"\n[tokens]\nmax_lifetime = \"1d\"\n".to_owned();
    for (more, changed) in [
        (String::new(), ("upgrades", "[\"irc\", \"TCP\"]")),
        (String::new(), ("inject", from_file.as_str())),
        (String::new(), ("max_stream_age", "\"24h\"")),
        (String::new(), ("allow", "[\"user:ada\"]")),
        (String::new(), ("public", "[\"/open\", \"/more\"]")),
        (route("first", &upstream, ""), ("path", "\"/app\"")),
        (limits, ("path", "\"/app\"")),
        (log, ("path", "\"/app\"")),
    ] {
        gate.write_config(&(more + &config(&upstream.url(), &[changed])));
        reload(&gate);
        for line in &mut lines {
            assert_open(line, &format!("{changed:?}"));
        }
    }
}

#[test]
fn r57_a_host_that_is_another_closes_and_an_upstream_by_tls_that_is_the_same_does_not() {
    let plain = WebSocketUpstream::echo();
    let authority = Authority::new();
    let sealed = authority.issue("app", &["localhost"]).server(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            let _ = socket.send(message);
        }
    });
    let config = |host: &str| {
        format!(
            "[[route]]\nname = \"plain\"\nhost = {host:?}\nupstream = {:?}\n[[route]]\nname = \"sealed\"\npath = \"/sealed\"\n\
             upstream = \"https://localhost:{}\"\nupstream_ca = {:?}\n",
            plain.url(),
            sealed.port(),
            authority.file(),
        )
    };
    let gate = Gate::configured(&config("one.example"));
    let token = gate.token("ada");
    let open_at = |host: &str, target: &str| WebSocket::open_at(gate.address(), host, target, Some(&token));
    let mut one = open_at("one.example", "/").unwrap();
    let mut through_tls = open_at("localhost", "/sealed/").unwrap();
    for socket in [&mut one, &mut through_tls] {
        socket.echo("before");
    }
    gate.write_config(&(config("one.example") + "[limits]\nconnections = 500\n"));
    reload(&gate);
    one.echo("nothing has changed for it");
    through_tls.echo("nor here, though its authorities were read again");
    gate.write_config(&config("two.example"));
    reload(&gate);
    assert_eq!(one.close_code(), Some(4401));
    through_tls.echo("still nothing");
    open_at("two.example", "/").unwrap().echo("here it is now");
}

#[test]
fn r57_a_request_that_a_changed_route_has_not_answered_is_refused_and_goes_no_further() {
    let (upstream, elsewhere) = (Puppet::new(), Puppet::new());
    let config = |upstream: &Puppet| {
        format!("[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n", upstream.url())
    };
    let gate = Gate::configured(&config(&upstream));
    let token = gate.token("ada");
    let ask = |line: &str, more: &str| {
        let mut client = Line::connect(gate.address());
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{}{more}", token.header()));
        client
    };
    let waiting = ask("GET /app/waiting", "\r\n");
    let mut waitings = upstream.accept();
    waitings.head();
    let mut flowing = ask("GET /app/flowing", "\r\n");
    let mut flowings = upstream.accept();
    flowings.head();
    flowings.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert!(flowing.head().contains(" 200 "));
    flowing.exactly(10);
    gate.write_config(&config(&elsewhere));
    reload(&gate);
    let waiting = waiting.ended();
    assert!(waiting.text().starts_with("HTTP/1.1 401 "), "{}", waiting.text());
    assert!(waiting.text().contains("The route was changed while this was under way"), "{}", waiting.text());
    let flowing = flowing.ended();
    assert_eq!((flowing.text().as_str(), flowing.close), ("", Close::Finished));
    for line in [waitings, flowings] {
        assert_eq!(line.ended().bytes, b"");
    }
    let mut next = ask("GET /app/next", "\r\n");
    let mut nexts = elsewhere.accept();
    nexts.head();
    nexts.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(next.head().starts_with("HTTP/1.1 204 "));
}
