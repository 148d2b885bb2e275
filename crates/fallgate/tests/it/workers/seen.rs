//! What is done with a worker token is shown as its agent's: what is open, the access log, the audit trail, `/agents`.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Client, Gate, Home, Line, PASSPHRASE, Response, Token, Visitor, WebSocketUpstream, Worker, wait_for,
};

/// A gate that logs, with the agent `crawler` of ada's.
struct Scene {
    gate: Gate,
    _upstream: WebSocketUpstream,
}

impl Scene {
    fn set() -> Self {
        let (home, upstream) = (Home::new(), WebSocketUpstream::echo());
        home.admin("root");
        home.user("ada");
        home.user("bob");
        for (agent, owner) in [("crawler", "ada"), ("bobs-own", "bob")] {
            home.fallgate(&["agent", "create", agent, "--owner", owner, "--route", "app"]).ok();
        }
        let config = format!(
            "[log]\naccess = \"{}\"\n[server]\ntrusted_proxies = [\"127.0.0.1\"]\nforward_auth = true\n\
             [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n",
            home.beside().join("access.log").display(),
            upstream.url()
        );
        Self { gate: Gate::on(home, &config), _upstream: upstream }
    }

    /// A token of the agent's, on its routes.
    fn token(&self) -> Token {
        let minted = self.gate.fallgate(&["agent", "token", "crawler", "--json"]).ok().json();
        let text = |name: &str| minted[name].as_str().unwrap().to_owned();
        Token { id: text("id"), secret: text("secret") }
    }

    fn websocket(&self, token: &Token) -> Line {
        Line::ask_for_websocket(self.gate.address(), "/app/", token).switched()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gate.address())
    }

    #[track_caller]
    fn visitor(&self, name: &str) -> Visitor {
        let mut visitor = Visitor::of(self.gate.address());
        let login = visitor.visit(&self.url("/login"));
        assert_eq!(visitor.sign_in(&login, name, PASSPHRASE).answer.status, 200);
        visitor
    }

    fn page(&self, visitor: &mut Visitor, path: &str) -> String {
        let page: Response = visitor.open(&self.url(path));
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        page.text()
    }

    /// The events of an action, newest first, once there is one.
    fn events(&self, action: &str) -> Vec<Value> {
        wait_for(&format!("an event {action}"), || {
            let list = self.gate.fallgate(&["audit", "list", "--action", action, "--json"]).ok().json();
            Some(list["events"].as_array().unwrap().clone()).filter(|events| !events.is_empty())
        })
    }

    /// The lines of the access log with that credential, once there is one.
    fn logged(&self, token: &Token) -> Vec<Value> {
        let path = self.gate.beside().join("access.log");
        wait_for("a line of the access log", || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            Some(lines.filter(|line| line["credential"] == token.id.as_str()).collect::<Vec<_>>())
                .filter(|lines| !lines.is_empty())
        })
    }
}

#[test]
fn r46_what_an_agent_has_open_is_listed_as_its_own_everywhere() {
    let scene = Scene::set();
    let token = scene.token();
    let mut line = scene.websocket(&token);
    let row = wait_for("its row", || {
        let list = scene.gate.fallgate(&["live", "--json"]).ok().json();
        list["live"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&row["agent"], &row["username"]), (&json!("crawler"), &json!("ada")));
    assert_eq!(row["credential"], json!(token.id));
    let (ada, root) = (
        scene.gate.token_with("ada", &["--scope", "live:read"]),
        scene.gate.token_with("root", &["--scope", "admin"]),
    );
    for caller in [&ada, &root] {
        let listed = Client::get(scene.gate.address(), "/api/live", Some(caller)).json();
        assert_eq!(listed["live"][0]["agent"], json!("crawler"), "{listed}");
    }
    let table = scene.gate.fallgate(&["live"]).ok().stdout;
    let cells: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((cells[0][3], cells[1][3]), ("AGENT", "crawler"), "{table}");

    // By name where people look; and what they can cut is what there is.
    for (name, path) in [("ada", "/live"), ("root", "/admin/live")] {
        let page = scene.page(&mut scene.visitor(name), path);
        assert!(page.contains("worker token of crawler"), "{path}: {page}");
        assert!(page.contains("/live/cut?target=agent%3Acrawler"), "{path}: {page}");
        assert!(!page.contains("/live/cut?target=credential"), "{path}: {page}");
    }
    let mut ada = scene.visitor("ada");
    let asked = ada.open(&scene.url("/live/cut?target=agent:crawler")).text();
    assert!(asked.contains("Cut agent crawler?") && asked.contains("1 open connection"), "{asked}");
    let id = row["id"].as_str().unwrap();
    let asked = ada.open(&scene.url(&format!("/live/streams/{id}/close"))).text();
    assert!(asked.contains("Cut the WebSocket to app of ada, by the agent crawler?"), "{asked}");

    // One that is closed by hand, and one that ends by itself.
    let cut = scene.gate.token_with("ada", &["--scope", "cut"]);
    let closed = scene.gate.ask(&format!("DELETE /api/live/{id}"), &cut.header(), &Value::Null);
    assert_eq!(closed.status, 204, "{}", closed.text());
    line = {
        drop(line);
        scene.websocket(&token)
    };
    drop(line);
    wait_for("both ends", || (scene.events("stream.close").len() == 2).then_some(()));
    for action in ["stream.open", "stream.close", "live.close"] {
        for event in scene.events(action) {
            assert_eq!(event["detail"]["agent"], json!("crawler"), "{event}");
        }
    }
    // Of what is no agent's, no agent is told.
    let own = scene.gate.token("ada");
    drop(scene.websocket(&own));
    let event = wait_for("its event", || {
        scene.events("stream.open").into_iter().find(|event| event["credential"] == own.id.as_str())
    });
    assert_eq!(event["detail"].get("agent"), None, "{event}");
}

#[test]
fn the_access_log_and_the_trail_name_the_agent_whatever_it_asked_for() {
    let scene = Scene::set();
    let token = scene.token();
    let minted = &scene.events("token.mint")[0];
    assert_eq!((&minted["detail"]["agent"], &minted["target"]), (&json!("crawler"), &json!(token.id)));
    let told = |line: &Value| {
        ["username", "agent", "route", "method", "path", "status"].map(|name| line[name].clone()).to_vec()
    };
    drop(scene.websocket(&token));
    assert_eq!(
        told(&scene.logged(&token)[0]),
        [json!("ada"), json!("crawler"), json!("app"), json!("GET"), json!("/app/"), json!(101)]
    );
    for (request, line) in [
        ("GET /api/whoami", ["GET", "/api/whoami", "200"]),
        ("POST /api/workers/renew", ["POST", "/api/workers/renew", "201"]),
        ("GET /api/audit", ["GET", "/api/audit", "403"]),
    ] {
        let token = scene.token();
        scene.gate.ask(request, &token.header(), &Value::Null);
        let logged = scene.logged(&token);
        let status: u16 = line[2].parse().unwrap();
        assert_eq!(
            told(&logged[0]),
            [json!("ada"), json!("crawler"), Value::Null, json!(line[0]), json!(line[1]), json!(status)]
        );
    }
    // What another proxy asks about.
    let asked = scene.token();
    let headers =
        format!("{}X-Original-Method: GET\r\nX-Original-URL: http://localhost/app/x\r\n", asked.header());
    assert_eq!(scene.gate.ask("GET /auth/nginx", &headers, &Value::Null).status, 200);
    assert_eq!(told(&scene.logged(&asked)[0])[..3], [json!("ada"), json!("crawler"), json!("app")]);
    let renewal = &scene.events("token.mint")[0];
    assert_eq!(renewal["detail"]["agent"], json!("crawler"), "{renewal}");
    // Nobody's agent: the field is there and empty.
    let own = scene.gate.token("ada");
    Client::get(scene.gate.address(), "/api/whoami", Some(&own));
    assert_eq!(scene.logged(&own)[0]["agent"], Value::Null);
}

#[test]
fn r42_a_cut_on_an_agent_closes_and_lifting_lets_in_again() {
    let scene = Scene::set();
    let token = scene.token();
    let (open, own) = (scene.websocket(&token).watched(), scene.gate.token("ada"));
    let cut = scene.gate.fallgate(&["cut", "agent:crawler", "--reason", "runs wild", "--json"]).ok().json();
    assert_eq!((&cut["target"], &cut["closed"]["streams"]), (&json!("agent:crawler"), &json!(1)));
    open.join().unwrap().assert_closed(4403, "cut: runs wild");
    let refused = Client::get(scene.gate.address(), "/app/", Some(&token));
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("runs wild"), "{}", refused.text());
    assert_eq!(Client::get(scene.gate.address(), "/api/whoami", Some(&own)).status, 200);
    assert!(scene.page(&mut scene.visitor("ada"), "/agents").contains(">Cut</span>"));
    scene.gate.fallgate(&["lift", cut["id"].as_str().unwrap()]).ok();
    drop(scene.websocket(&token));
}

#[test]
fn the_page_of_agents_shows_what_lives_what_is_open_and_when_each_was_last_seen() {
    let scene = Scene::set();
    let row = |page: &str, agent: &str| {
        let (_, behind) = page.split_once(&format!("<th scope=\"row\">{agent}</th>")).unwrap();
        behind.split_once("</tr>").unwrap().0.to_owned()
    };
    let cell = |row: &str, name: &str| {
        let (_, behind) = row.split_once(&format!("<td data-label=\"{name}\">")).unwrap();
        behind.split_once("</td>").unwrap().0.to_owned()
    };
    let mut ada = scene.visitor("ada");
    let page = scene.page(&mut ada, "/agents");
    assert!(!page.contains("bobs-own"), "one's own alone: {page}");
    let unused = row(&page, "crawler");
    assert_eq!((cell(&unused, "Tokens live"), cell(&unused, "Open")), ("0".to_owned(), "0".to_owned()));
    assert!(cell(&unused, "Last seen").contains("never"), "{unused}");
    assert!(unused.contains("/live/cut?target=agent:crawler"), "{unused}");

    let (one, two) = (scene.token(), scene.token());
    let line = scene.websocket(&one);
    assert_eq!(Client::get(scene.gate.address(), "/api/whoami", Some(&two)).status, 200);
    let renewed = Worker::token_of(&scene.gate.renew_worker(&two));
    assert_eq!(Client::get(scene.gate.address(), "/api/whoami", Some(&renewed)).status, 200);
    let mut root = scene.visitor("root");
    for visitor in [&mut ada, &mut root] {
        let seen = wait_for("what is open", || {
            let row = row(&scene.page(visitor, "/agents"), "crawler");
            (cell(&row, "Open") == "1").then_some(row)
        });
        assert_eq!(cell(&seen, "Tokens live"), "3");
        assert!(cell(&seen, "Last seen").contains("<time datetime="), "{seen}");
    }
    let page = scene.page(&mut root, "/agents");
    assert!(page.contains("bobs-own") && cell(&row(&page, "crawler"), "Owner") == "ada", "{page}");
    // A family ends whole.
    scene.gate.revoke_worker(&two);
    drop(line);
    wait_for("what is left", || {
        let row = row(&scene.page(&mut ada, "/agents"), "crawler");
        ((cell(&row, "Tokens live"), cell(&row, "Open")) == ("1".to_owned(), "0".to_owned())).then_some(())
    });
    // When it was seen is written down, and outlives the gate.
    let written = |home: &Home| {
        let list = home.fallgate(&["agent", "list", "--owner", "ada", "--json"]).ok().json();
        list["agents"][0]["last_seen_at"].as_str().map(str::to_owned)
    };
    let seen = wait_for("its row", || written(&scene.gate));
    let again = Gate::on(scene.gate.kill(), "");
    let token = again.token_with("ada", &["--scope", "agents:write"]);
    let shown = again.ask("GET /api/agents/crawler", &token.header(), &Value::Null).json();
    assert_eq!(shown["last_seen_at"], json!(seen));
    let table = again.fallgate(&["agent", "list"]).ok().stdout;
    assert!(table.contains("LAST SEEN") && table.contains("never"), "{table}");
    let mut ada = Visitor::of(again.address());
    let url = |path: &str| format!("http://{}{path}", again.address());
    let login = ada.visit(&url("/login"));
    assert_eq!(ada.sign_in(&login, "ada", PASSPHRASE).answer.status, 200);
    let row = row(&ada.open(&url("/agents")).text(), "crawler");
    assert_eq!(cell(&row, "Tokens live"), "0");
    assert!(cell(&row, "Last seen").contains("<time datetime="), "{row}");
}
