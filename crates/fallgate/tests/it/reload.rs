//! Reading the config again while the gate runs (requirement R57).

mod changed;
mod files;

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Gate, Line, Token, WebSocketUpstream, WsFrame, wait_for};

/// The promise is 250 ms from the exit of `fallgate reload`; a machine that is busy with other tests gets more.
const AT_MOST: Duration = Duration::from_secs(2);

fn route(name: &str, upstream: &WebSocketUpstream, more: &str) -> String {
    format!("[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = {:?}\n{more}\n", upstream.url())
}

fn open(gate: &Gate, route: &str, token: &Token) -> Line {
    Line::ask_for_websocket(gate.address(), &format!("/{route}/"), token).switched()
}

#[track_caller]
fn assert_open(line: &mut Line, who: &str) {
    line.send(WsFrame::from_client("still here?"));
    let (frame, _) = WsFrame::read(&line.exactly(13)).unwrap();
    assert_eq!(frame.payload, b"still here?", "{who}");
}

fn status(gate: &Gate, path: &str, token: &Token) -> u16 {
    Client::get(gate.address(), path, Some(token)).status
}

fn reload(gate: &Gate) -> Value {
    gate.fallgate(&["reload", "--json"]).ok().json()
}

#[test]
fn r57_what_a_later_config_does_not_allow_is_closed_and_nothing_else() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::configured(
        &(route("app", &upstream, "") + &route("gone", &upstream, "") + &route("same", &upstream, "")),
    );
    let (ada, bob) = (gate.token("ada"), gate.token("bob"));
    let mut stays = [open(&gate, "app", &ada), open(&gate, "same", &ada), open(&gate, "same", &bob)];
    let (narrowed, removed) = (open(&gate, "app", &bob).watched(), open(&gate, "gone", &ada).watched());
    gate.write_config(&(route("app", &upstream, "allow = [\"user:ada\"]") + &route("same", &upstream, "")));
    let reloaded = reload(&gate);
    let exited = Instant::now();
    assert_eq!(reloaded["changed"], json!(["route app", "route gone (gone)"]));
    assert_eq!(reloaded["needs_restart"], json!([]));
    for (who, ended) in [("narrowed", narrowed), ("removed", removed)] {
        let ended = ended.join().unwrap();
        ended.assert_closed(4401, "no longer permitted");
        let after = ended.at.saturating_duration_since(exited);
        assert!(after < AT_MOST, "{who}: {after:?}");
    }
    for line in &mut stays {
        assert_open(line, "nothing has changed for it");
    }
    assert_eq!((status(&gate, "/app/", &bob), status(&gate, "/gone/", &ada)), (403, 404));
    // Widened again it lets in on the next request; a third time nothing has changed.
    gate.write_config(
        &(route("app", &upstream, "") + &route("gone", &upstream, "") + &route("same", &upstream, "")),
    );
    assert_eq!(reload(&gate)["changed"], json!(["route app", "route gone (new)"]));
    assert_open(&mut open(&gate, "app", &bob), "let in again");
    assert_open(&mut open(&gate, "gone", &ada), "there again");
    assert_eq!(reload(&gate)["changed"], json!([]));
    for line in &mut stays {
        assert_open(line, "nothing has changed for it");
    }
    let events = gate.fallgate(&["audit", "list", "--action", "config.reload", "--json"]).ok().json();
    let events = events["events"].as_array().unwrap().clone();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["detail"]["changed"], json!(["route app", "route gone (gone)"]));
    assert!(events[2]["actor"].as_str().unwrap().starts_with("cli:"), "{}", events[2]);
}

#[test]
fn r57_what_is_open_by_what_a_route_takes_in_no_more_is_closed() {
    let upstream = WebSocketUpstream::echo();
    let takes = |more: &str| route("app", &upstream, more);
    let all = takes("public = [\"/open\", \"/other\"]\nsame_origin = true");
    let gate = Gate::configured(&all);
    gate.user("ada");
    let (login, token) = (gate.sign_in("ada"), gate.token("ada"));
    let origin = format!("Origin: http://{}\r\n", gate.address());
    let open_with =
        |path: &str, headers: &str| Line::ask_for_websocket_with(gate.address(), path, headers).switched();
    let (public, other) = (open_with("/app/open/x", ""), open_with("/app/other", ""));
    let by_cookie = || open_with("/app/", &(login.cookie() + &origin));
    let (cookie, mut stays) = (by_cookie(), open(&gate, "app", &token));
    let mut lines = [public, other, cookie];
    for line in &mut lines {
        assert_open(line, "before");
    }
    let [public, mut other, mut cookie] = lines;
    gate.write_config(&takes("public = [\"/other\"]\nsame_origin = true"));
    assert_eq!(reload(&gate)["changed"], json!(["route app"]));
    public.ended().assert_closed(4401, "no longer permitted");
    for line in [&mut other, &mut cookie, &mut stays] {
        assert_open(line, "still public, and cookies still count");
    }
    gate.write_config(&takes("public = [\"/other\"]"));
    reload(&gate);
    cookie.ended().assert_closed(4401, "no longer permitted");
    for line in [&mut other, &mut stays] {
        assert_open(line, "needs no cookie");
    }
    // How long anything may last counts for what is open too.
    gate.write_config(&takes("public = [\"/other\"]\nmax_stream_age = \"1s\""));
    reload(&gate);
    for line in [other, stays] {
        line.ended().assert_closed(4401, "stream too old");
    }
    gate.write_config(&all);
    reload(&gate);
    assert_open(&mut by_cookie(), "taken in again");
}

#[test]
fn r57_a_thousand_websockets_are_closed_soon_after_the_reload() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::configured(&(route("app", &upstream, "") + &route("same", &upstream, "")));
    let token = gate.token("ada");
    let mut stays = open(&gate, "same", &token);
    let sockets: Vec<_> = (0..1_000).map(|_| open(&gate, "app", &token)).collect();
    gate.write_config(&(route("app", &upstream, "allow = [\"user:bob\"]") + &route("same", &upstream, "")));
    reload(&gate);
    let exited = Instant::now();
    for socket in sockets {
        socket.ended().assert_closed(4401, "no longer permitted");
    }
    let took = exited.elapsed();
    eprintln!("1,000 WebSockets: all ends read {} ms after the exit of the reload", took.as_millis());
    assert!(took < AT_MOST, "{took:?}");
    assert_open(&mut stays, "another route's");
}

#[test]
fn r9_r57_a_config_that_makes_no_sense_changes_nothing_and_says_where_and_why() {
    let upstream = WebSocketUpstream::echo();
    let good = route("app", &upstream, "");
    let gate = Gate::configured(&good);
    let token = gate.token("ada");
    let mut stays = open(&gate, "app", &token);
    for (bad, line, word) in [
        (
            format!("{good}[[route]]\nname = \"b\"\npath = \"/app\"\nupstream = \"http://127.0.0.1:1\"\n"),
            "fallgate.toml:8: ",
            "same place",
        ),
        (format!("{good}upstraem = \"x\"\n"), "fallgate.toml:6: ", "upstraem"),
        ("[server\n".to_owned(), "fallgate.toml:1: ", ""),
        (format!("{good}[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"), "fallgate.toml:7: ", "everybody"),
    ] {
        gate.write_config(&bad);
        let refused = gate.fallgate(&["reload"]).refused(1);
        assert!(refused.contains(line) && refused.contains(word), "{refused}");
        assert!(refused.contains("nothing has changed"), "{refused}");
        wait_for("the reason in the log", || gate.log().contains(line).then_some(()));
        assert_open(&mut stays, "nothing has changed");
        assert_ne!(status(&gate, "/app/", &token), 404, "the route is there");
    }
    let file = gate.beside().join("fallgate.toml");
    fs::remove_file(&file).unwrap();
    assert!(gate.fallgate(&["reload"]).refused(1).contains("fallgate.toml"));
    gate.write_config(&good);
    assert_eq!(reload(&gate)["changed"], json!([]));
    let refused = gate.fallgate(&["audit", "list", "--action", "config.refused", "--json"]).ok().json();
    assert_eq!(refused["events"].as_array().unwrap().len(), 5);
    assert_eq!(refused["events"][0]["outcome"], "refused");
}

#[test]
fn r57_a_hangup_reads_the_config_again() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::configured(&route("app", &upstream, ""));
    let token = gate.token("ada");
    let cut = open(&gate, "app", &token).watched();
    gate.write_config("");
    gate.signal(Signal::HUP);
    cut.join().unwrap().assert_closed(4401, "no longer permitted");
    gate.write_config("nonsense\n");
    gate.signal(Signal::HUP);
    wait_for("the reason in the log", || gate.log().contains("goes on to count: ").then_some(()));
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
    wait_for("its event", || {
        let events = gate.fallgate(&["audit", "list", "--action", "config.refused", "--json"]).ok().json();
        events["events"].as_array().unwrap().first().map(|event| assert_eq!(event["actor"], "internal"))
    });
}

#[test]
fn rules_count_at_once_and_what_needs_a_restart_is_named_until_there_is_one() {
    let gate = Gate::configured("[server]\nhosts = [\"a.example\"]\n");
    let admin = {
        gate.admin("root");
        gate.token_with("root", &["--scope", "admin"])
    };
    let mint = || {
        let body = json!({"name": "x", "expires_in": 864_000});
        gate.ask("POST /api/tokens", &admin.header(), &body).status
    };
    let at = |host: &str| {
        Client::exchange(gate.address(), format!("GET /api/version HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    assert_eq!((mint(), at("a.example"), at("b.example")), (201, 200, 421));
    gate.write_config(
        "[server]\nhosts = [\"b.example\"]\n[tokens]\nmax_lifetime = \"1d\"\n[logins]\nidle = \"1d\"\n",
    );
    let reloaded = reload(&gate);
    assert_eq!(reloaded["changed"], json!(["hosts", "tokens.max_lifetime"]));
    assert_eq!(reloaded["needs_restart"], json!(["logins.idle"]));
    assert_eq!((mint(), at("a.example"), at("b.example")), (403, 421, 200));
    let again = gate.fallgate(&["reload"]).ok().stdout;
    assert!(
        again.ends_with("fallgate.toml counts now\nchanged: nothing\nneeds a restart: logins.idle\n"),
        "{again}"
    );
}

#[test]
fn r23_a_secret_that_is_replaced_counts_and_is_told_of_by_no_more_than_its_route() {
    let upstream = WebSocketUpstream::echo();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "before-canary\n").unwrap();
    let inject = format!("inject = {{ x-app-key = \"${{file:{}}}\" }}", secret.path().display());
    let gate = Gate::configured(&route("app", &upstream, &inject));
    assert_eq!(reload(&gate)["changed"], json!([]));
    fs::write(secret.path(), "after-canary\n").unwrap();
    let told = gate.fallgate(&["reload"]).ok();
    assert!(told.stdout.contains("changed: route app\n"), "{}", told.stdout);
    let trail = gate.fallgate(&["audit", "list", "--json"]).ok().stdout;
    for text in [&told.stdout, &told.stderr, &trail, &gate.log()] {
        assert!(!text.contains("canary"), "{text}");
    }
}
