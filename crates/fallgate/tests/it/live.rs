//! What is open: who is shown it, who may close it, and what the trail tells of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http2::{Frame, Frames, Outcome, headers};
use crate::support::{Client, Gate, Home, Line, PATIENCE, Puppet, Token, WsFrame, wait_for};

/// A body is listed once it has flowed for longer than this.
const LISTED_AFTER: Duration = Duration::from_secs(5);

/// A gate with two routes before one puppet: `app`, and `site` with a public path.
struct Scene {
    upstream: Puppet,
    gate: Gate,
}

impl Scene {
    fn set() -> Self {
        let upstream = Puppet::new();
        let url = upstream.url();
        let gate = Gate::configured(&format!(
            "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\nallow = [\"role:user\", \"role:admin\", \"kind:internal\"]\n\
             [[route]]\nname = \"site\"\npath = \"/site\"\nupstream = {url:?}\npublic = [\"/open\"]\n"
        ));
        Self { upstream, gate }
    }

    /// A token of that user with these scopes besides the one that opens routes.
    fn token(&self, owner: &str, scopes: &[&str]) -> Token {
        let scopes = scopes.iter().chain(&["routes:use"]).flat_map(|scope| ["--scope", scope]);
        self.gate.token_with(owner, &scopes.collect::<Vec<_>>())
    }

    fn websocket(&self, token: &Token) -> (Line, Line) {
        let client = Line::ask_for_websocket(self.gate.address(), "/app/", token);
        let upstream = self.upstream.accept_websocket();
        (client.switched(), upstream)
    }

    /// A request on a connection of its own, whose head has come to the upstream.
    fn request(&self, start: &str, rest: &str) -> (Line, Line) {
        let mut client = Line::connect(self.gate.address());
        client.send(format!("{start} HTTP/1.1\r\nHost: localhost\r\n{rest}"));
        let mut upstream = self.upstream.accept();
        upstream.head();
        (client, upstream)
    }

    fn live(&self, token: &Token) -> Vec<Value> {
        let answer = Client::get(self.gate.address(), "/api/live", Some(token));
        assert_eq!(answer.status, 200, "{}", answer.text());
        rows(&answer.json())
    }

    /// The same by the command line on the home folder.
    fn all(&self) -> Vec<Value> {
        rows(&self.gate.fallgate(&["live", "--json"]).ok().json())
    }

    fn close(&self, id: &Value, token: &Token) -> u16 {
        let id = id.as_str().unwrap();
        self.gate.ask(&format!("DELETE /api/live/{id}"), &token.header(), &Value::Null).status
    }

    /// The events of that action, newest first, once there are so many.
    fn events(&self, action: &str, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} events of {action}"), || {
            let page =
                self.gate.fallgate(&["audit", "list", "--limit", "1000", "--action", action, "--json"]);
            Some(page.ok().json()["events"].as_array().unwrap().clone())
                .filter(|events| events.len() >= count)
        })
    }
}

fn rows(list: &Value) -> Vec<Value> {
    list["live"].as_array().unwrap().clone()
}

fn ids(rows: &[Value]) -> Vec<&Value> {
    rows.iter().map(|row| &row["id"]).collect()
}

#[test]
fn r46_a_websocket_is_listed_with_whose_it_is_and_what_went_through() {
    let scene = Scene::set();
    let token = scene.token("ada", &["live:read"]);
    assert_eq!(scene.live(&token), [] as [Value; 0]);
    let (mut client, mut upstream) = scene.websocket(&token);
    client.send(WsFrame::from_client("hello"));
    upstream.exactly(11);
    upstream.send(WsFrame::from_server(b"a longer answer"));
    client.exactly(19);
    let row = wait_for("its counts", || {
        let rows = scene.live(&token);
        assert_eq!(rows.len(), 1);
        Some(rows[0].clone()).filter(|row| row["bytes_out"] == 19)
    });
    let mut keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let wanted =
        ["agent", "bytes_in", "bytes_out", "credential", "id", "ip", "kind", "route", "since", "username"];
    assert_eq!(keys, wanted);
    assert_eq!(
        (&row["kind"], &row["username"], &row["agent"], &row["credential"], &row["route"]),
        (&json!("websocket"), &json!("ada"), &Value::Null, &json!(token.id), &json!("app"))
    );
    assert_eq!((&row["bytes_in"], &row["ip"]), (&json!(11), &json!("127.0.0.1")));
    drop((client, upstream));
    wait_for("the end of the row", || scene.live(&token).is_empty().then_some(()));
    // Opening and closing are events, with what went through.
    let opened = &scene.events("stream.open", 1)[0];
    assert_eq!((&opened["actor"], &opened["target"]), (&json!("ada"), &json!("app")));
    assert_eq!((&opened["credential"], &opened["ip"]), (&json!(token.id), &json!("127.0.0.1")));
    assert_eq!(opened["detail"], json!({"stream": row["id"], "kind": "websocket"}));
    let closed = &scene.events("stream.close", 1)[0];
    let detail = &closed["detail"];
    assert_eq!((&detail["stream"], &detail["reason"]), (&row["id"], &json!("done")));
    assert_eq!((&detail["bytes_in"], &detail["bytes_out"]), (&json!(11), &json!(19)));
    assert_eq!(scene.gate.fallgate(&["audit", "verify"]).ok().code, Some(0));
}

#[test]
fn r46_everybody_sees_their_own_and_an_admins_admin_token_sees_all() {
    let scene = Scene::set();
    let (ada, bob) = (scene.token("ada", &["live:read"]), scene.token("bob", &["live:read"]));
    scene.gate.admin("root");
    let (root, narrow) = (scene.token("root", &["admin"]), scene.token("root", &["live:read"]));
    let open: Vec<_> = [&ada, &bob, &narrow].map(|token| scene.websocket(token)).into_iter().collect();
    let internal = Token { id: String::new(), secret: scene.gate.internal_token() };
    let (_its_client, _its_upstream) = scene.websocket(&internal);
    let owners = |token: &Token| {
        let mut owners: Vec<_> =
            scene.live(token).iter().map(|row| row["username"].as_str().map(str::to_owned)).collect();
        owners.sort();
        owners
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(owners(&ada), [named("ada")]);
    assert_eq!(owners(&bob), [named("bob")]);
    assert_eq!(
        owners(&narrow),
        [named("root")],
        "an admin's narrower token manages the admin's own things only"
    );
    assert_eq!(owners(&internal), [None], "what it opened itself");
    assert_eq!(owners(&root), [None, named("ada"), named("bob"), named("root")]);
    // On the home folder file access is the authority; and both ways print the same.
    let by_http =
        scene.gate.command(&["live", "--json", "--server", &format!("http://{}", scene.gate.address())]);
    let mut by_http = by_http;
    by_http.env("FALLGATE_TOKEN", &root.secret);
    let by_http = crate::support::Run::of(by_http, b"").ok();
    assert_eq!(by_http.json(), scene.gate.fallgate(&["live", "--json"]).ok().json());
    let table = scene.gate.fallgate(&["live"]).ok().stdout;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["ID", "KIND", "USER", "AGENT", "CREDENTIAL", "ROUTE", "SINCE", "IN", "OUT", "FROM"]);
    assert_eq!(table.lines().count(), 5);
    drop(open);
    for (line, scope) in [("GET /api/live", "cut"), ("DELETE /api/live/x", "live:read")] {
        let token = scene.token("ada", &[scope]);
        assert_eq!(scene.gate.ask(line, &token.header(), &Value::Null).status, 403, "{line} with {scope}");
    }
}

#[test]
fn r46_whoever_may_closes_one_stream_and_no_other() {
    let scene = Scene::set();
    let ada = scene.token("ada", &["live:read", "cut"]);
    let bob = scene.token("bob", &["cut"]);
    scene.gate.admin("root");
    let root = scene.token("root", &["admin"]);
    let (first, first_upstream) = scene.websocket(&ada);
    let (mut second, mut second_upstream) = scene.websocket(&ada);
    let (third, _third_upstream) = scene.websocket(&ada);
    let rows = scene.live(&ada);
    let [one, _, three] = ids(&rows)[..] else { panic!("{rows:?}") };
    assert_eq!(scene.close(one, &bob), 404, "another's");
    assert_eq!(scene.close(&json!("0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"), &ada), 404);
    assert_eq!(scene.close(&json!("nonsense"), &ada), 404);
    let (first, first_upstream) = (first.watched(), first_upstream.watched());
    assert_eq!(scene.close(one, &ada), 204);
    first.join().unwrap().assert_closed(4403, "closed by an operator");
    assert_eq!(first_upstream.join().unwrap().bytes, b"");
    let third = third.watched();
    assert_eq!(scene.close(three, &root), 204);
    third.join().unwrap().assert_closed(4403, "closed by an operator");
    wait_for("their rows' end", || (scene.live(&ada).len() == 1).then_some(()));
    assert_eq!(scene.close(one, &ada), 404, "it is closed already");
    second.send(WsFrame::from_client("still here"));
    assert_eq!(second_upstream.exactly(16).len(), 16);
    let acts = scene.events("live.close", 2);
    assert_eq!((&acts[1]["actor"], &acts[1]["target"]), (&json!("ada"), one));
    assert_eq!((&acts[0]["actor"], &acts[0]["detail"]["owner"]), (&json!("root"), &json!("ada")));
    let mut reasons: Vec<_> =
        scene.events("stream.close", 2).iter().map(|event| event["detail"]["reason"].clone()).collect();
    reasons.sort_by_key(Value::to_string);
    assert_eq!(reasons, ["closed by ada", "closed by root"]);
}

#[test]
fn r46_event_streams_are_listed_at_once_and_bodies_once_they_have_flowed_for_a_while() {
    let scene = Scene::set();
    let token = scene.token("ada", &["live:read", "cut"]);
    let header = token.header();
    let (mut events, mut events_upstream) = scene.request("GET /app/events", &format!("{header}\r\n"));
    events_upstream.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n",
    );
    events.head();
    let kinds = || -> Vec<_> { scene.all().iter().map(|row| row["kind"].clone()).collect() };
    wait_for("the event stream's row", || (kinds() == ["events"]).then_some(()));
    let (mut download, mut download_upstream) = scene.request("GET /app/large", &format!("{header}\r\n"));
    let begun = Instant::now();
    download_upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    download.head();
    let (mut upload, mut upload_upstream) =
        scene.request("POST /app/large", &format!("{header}Content-Length: 1000\r\n\r\nabcde"));
    // A request that nobody answers yet is no stream, however long that takes.
    let (_waiting, _waiting_upstream) = scene.request("GET /app/slow", &format!("{header}\r\n"));
    let (_public, mut public_upstream) = scene.request("GET /site/open/x", "\r\n");
    public_upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(kinds(), ["events"], "the others are young");
    let rows = wait_for("the rows of bodies", || Some(scene.all()).filter(|rows| rows.len() == 4));
    assert!(begun.elapsed() >= LISTED_AFTER, "listed after {:?}", begun.elapsed());
    let row = |kind: &str, route: &str| {
        let is = |row: &&Value| row["kind"] == kind && row["route"] == route;
        rows.iter().find(is).unwrap_or_else(|| panic!("no {kind} of {route} in {rows:?}"))
    };
    assert_eq!(
        (&row("download", "app")["bytes_in"], &row("download", "app")["bytes_out"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(
        (&row("upload", "app")["bytes_in"], &row("upload", "app")["bytes_out"]),
        (&json!(5), &json!(0))
    );
    let public = row("download", "site");
    assert_eq!((&public["username"], &public["credential"]), (&Value::Null, &Value::Null));
    assert_eq!(public["ip"], "127.0.0.1");
    assert_eq!(scene.live(&token).len(), 3, "the public one is nobody's");
    // What is closed while it flows breaks off; what was not answered yet is.
    let (closing_download, closing_upload) = (row("download", "app"), row("upload", "app"));
    assert_eq!(scene.close(&closing_download["id"], &token), 204);
    assert_eq!(download.ended().text(), "abc");
    assert_eq!(scene.close(&closing_upload["id"], &token), 204);
    assert!(upload.head().starts_with("HTTP/1.1 403 "));
    assert_eq!(upload_upstream.exactly(5), b"abcde");
    // One that ends by itself is gone, and the connection's next request is another one.
    events_upstream.send("0\r\n\r\n");
    events.exactly(16);
    wait_for("the rows' end", || (kinds() == ["download"]).then_some(()));
}

#[test]
fn r46_streams_that_share_a_connection_are_listed_and_closed_one_by_one() {
    let scene = Scene::set();
    let (ada, bob) = (scene.token("ada", &["live:read", "cut"]), scene.token("bob", &["live:read"]));
    let mut client = Frames::begin(scene.gate.address(), &[]);
    let mut ask = |stream: u32, token: &Token| {
        let bearer = format!("Bearer {}", token.secret);
        let path = (":path", "/app/events");
        let fields = [(":method", "GET"), (":scheme", "http"), path, (":authority", "localhost")];
        client.send(headers(stream, true, &[&fields[..], &[("authorization", &bearer)]].concat()));
        let mut line = scene.upstream.accept();
        line.head();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        line
    };
    let (_closed, mut spared) = (ask(1, &ada), ask(3, &bob));
    let rows = wait_for("both rows", || Some(scene.all()).filter(|rows| rows.len() == 2));
    assert!(rows.iter().all(|row| row["kind"] == "events" && row["route"] == "app"), "{rows:?}");
    let own = scene.live(&ada);
    assert_eq!((own.len(), &own[0]["username"]), (1, &json!("ada")));
    assert_eq!(client.outcome(1), Outcome::Status(200));
    assert_eq!(scene.close(&own[0]["id"], &ada), 204);
    assert_eq!(client.outcome(1), Outcome::Reset(8));
    spared.send("data: 2\n\n");
    let mut said = Vec::new();
    while !said.ends_with(b"data: 2\n\n") {
        let data = |frame: &Frame| (frame.kind == 0 && frame.stream == 3).then(|| frame.payload.clone());
        said.extend(client.find(data).unwrap());
    }
    wait_for("the end of one row", || (scene.all().len() == 1).then_some(()));
}

#[test]
fn r46_a_flood_of_streams_is_summed_up_in_the_trail_and_hides_nobody_elses() {
    /// As many of one holder get events of their own.
    const BURST: usize = 1_000;
    let upstream = crate::support::WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    for _ in 0..BURST + 50 {
        drop(Line::ask_for_websocket(gate.address(), "/app/", &token).switched());
    }
    let other = gate.token("bob");
    drop(Line::ask_for_websocket(gate.address(), "/app/", &other).switched());
    let listed = |action: &str, actor: &str| {
        let arguments = ["audit", "list", "--limit", "1000", "--action", action, "--user", actor, "--json"];
        gate.fallgate(&arguments).ok().json()["events"].as_array().unwrap().len()
    };
    wait_for("bob's events", || (listed("stream.close", "bob") == 1).then_some(()));
    assert_eq!(listed("stream.open", "bob"), 1);
    wait_for("the end of all", || {
        rows(&gate.fallgate(&["live", "--json"]).ok().json()).is_empty().then_some(())
    });
    let mut gate = gate;
    gate.signal(rustix::process::Signal::TERM);
    assert_eq!(gate.ended().code(), Some(0));
    // What was only counted is written down at the latest when the gate stops; no stream is missing.
    let page = gate.fallgate(&["audit", "list", "--limit", "1000", "--user", "ada", "--json"]).ok().json();
    let counted = |action: &str| {
        let events = page["events"].as_array().unwrap().iter();
        let counts = events.filter(|event| event["action"] == action && event["target"] == "*");
        counts.map(|event| event["detail"]["count"].as_u64().unwrap()).sum::<u64>()
    };
    let (opened, closed) = (counted("stream.open"), counted("stream.close"));
    assert!((1..=50).contains(&opened), "{opened}");
    assert_eq!(opened, closed, "whose opening has no event of its own, neither has its closing");
}

#[test]
fn r46_a_cut_by_the_command_line_tells_what_a_running_gate_closed_for_it() {
    let scene = Scene::set();
    let (ada, bob) = (scene.token("ada", &[]), scene.token("bob", &[]));
    let (first, second) = (scene.websocket(&ada), scene.websocket(&ada));
    let (mut others, mut others_upstream) = scene.websocket(&bob);
    let (waiting, _waiting_upstream) = scene.request("GET /app/slow", &format!("{}\r\n", ada.header()));
    let watched = [first.0, second.0, waiting].map(Line::watched);
    let placed = scene.gate.fallgate(&["cut", "user:ada", "--json"]).ok().json();
    assert_eq!(placed["closed"], json!({"streams": 2, "requests": 1}));
    assert!(placed["took_ms"].as_u64().unwrap() < 2_000, "{placed}");
    for line in watched {
        line.join().unwrap();
    }
    others.send(WsFrame::from_client("still here"));
    assert_eq!(others_upstream.exactly(16).len(), 16);
    // Without a gate it is placed all the same, and nothing is said of what nobody can know.
    let home = scene.gate.kill();
    let placed = home.fallgate(&["cut", "user:bob", "--json"]).ok().json();
    assert!(placed["closed"].is_null() && placed["id"].is_string(), "{placed}");
}

#[test]
fn only_a_running_gate_can_tell_what_is_open() {
    let home = Home::new();
    home.user("ada");
    for verb in ["live", "reload"] {
        let refused = home.fallgate(&[verb]).refused(1);
        assert!(refused.starts_with("no gate runs on ") && refused.contains("fallgate serve"), "{refused}");
    }
    let gate = Gate::on(home, "");
    assert_eq!(gate.fallgate(&["live"]).ok().stderr, "Nothing is open.\n");
    let socket = gate.path().join("control.sock");
    let found = fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    // One that was killed leaves its socket behind, which is no gate, and keeps none from starting.
    let home = gate.kill();
    assert!(socket.exists());
    assert!(home.fallgate(&["live"]).refused(1).starts_with("no gate runs on "));
    let mut gate = Gate::on(home, "");
    gate.fallgate(&["live"]).ok();
    gate.signal(rustix::process::Signal::TERM);
    gate.ended();
    assert!(!socket.exists(), "a gate that ends takes its socket along");
}

#[test]
fn r59_the_control_socket_answers_requests_and_bears_with_everything_else() {
    let gate = Gate::start();
    let path = gate.path().join("control.sock");
    let connect = || {
        let socket = UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let answer = |text: &str| -> Option<Value> {
        let mut socket = connect();
        let _ = socket.write_all(text.as_bytes());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer.lines().next().map(|line| serde_json::from_str(line).unwrap())
    };
    assert_eq!(answer("{\"do\":\"live\"}\n"), Some(json!({"done": {"live": []}})));
    for nonsense in [
        "\n",
        "{}\n",
        "{\"do\":\"revoke\"}\n",
        "{\"do\":\"live\",\"more\":1}\n",
        "GET / HTTP/1.1\r\n\r\n",
        "{",
    ] {
        let told = answer(nonsense).map(|told| told["failed"].is_string());
        assert_eq!(told, Some(true), "{nonsense:?}");
    }
    assert!(
        answer(&format!("{{\"do\":\"{}\"}}\n", "x".repeat(8 * 1024)))
            .is_none_or(|told| told["failed"].is_string())
    );
    // Whoever holds connections open keeps nobody out for longer than their patience; and never the gate itself.
    let idle: Vec<_> = (0..20).map(|_| connect()).collect();
    assert_eq!(Client::get(gate.address(), "/health", None).status, 200);
    drop(idle);
    wait_for("an answer", || (gate.fallgate(&["live"]).code == Some(0)).then_some(()));
}

#[test]
fn a_home_folder_deep_down_has_a_control_socket_too() {
    let home = Home::deep();
    let gate = Gate::on(home, "");
    assert!(gate.path().as_os_str().len() > 108, "longer than a socket's address");
    assert_eq!(gate.fallgate(&["live"]).ok().stderr, "Nothing is open.\n");
}
