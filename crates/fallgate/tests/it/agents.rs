//! Agents: made, shown, disabled, cut and deleted, by API, command line and page.

use serde_json::{Value, json};

use crate::support::{Client, Gate, Home, PASSPHRASE, Response, Token, Upstream, Visitor};

/// A gate with an admin and two users, and a token of each that may manage agents.
struct House {
    gate: Gate,
    admin: Token,
    ada: Token,
    bob: Token,
}

impl House {
    fn new() -> Self {
        let gate = Gate::start();
        gate.admin("root");
        gate.user("ada");
        gate.user("bob");
        let admin = gate.token_with("root", &["--scope", "admin"]);
        let mint = |owner| {
            let scopes = ["agents:write", "identity:read", "routes:use", "cut"];
            let scopes: Vec<_> = scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
            gate.token_with(owner, &scopes)
        };
        let (ada, bob) = (mint("ada"), mint("bob"));
        Self { gate, admin, ada, bob }
    }

    fn call(&self, line: &str, token: &Token, body: &Value) -> Response {
        self.gate.ask(line, &token.header(), body)
    }

    #[track_caller]
    fn make(&self, token: &Token, body: &Value) -> Value {
        let made = self.call("POST /api/agents", token, body);
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()
    }

    fn names(&self, token: &Token) -> Vec<String> {
        let listed = self.call("GET /api/agents", token, &Value::Null).json();
        let agents = listed["agents"].as_array().unwrap().iter();
        agents.map(|agent| agent["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn an_agent_is_made_shown_disabled_and_deleted_and_the_command_line_shows_the_same() {
    let house = House::new();
    let body =
        json!({"name": "crawler", "scopes": ["routes:use", "agents:write"], "routes": ["llmux", "ci", "ci"]});
    let made = house.make(&house.ada, &body);
    assert_eq!(
        (&made["name"], &made["owner"], &made["scopes"], &made["routes"]),
        (&json!("crawler"), &json!("ada"), &json!(["routes:use", "agents:write"]), &json!(["ci", "llmux"]))
    );
    assert_eq!(
        (&made["disabled_at"], &made["owner_disabled"], &made["last_seen_at"]),
        (&Value::Null, &json!(false), &Value::Null)
    );
    let get = |path: &str| house.call(&format!("GET {path}"), &house.ada, &Value::Null);
    assert_eq!(get("/api/agents/crawler").json(), made);
    let listed = house.gate.fallgate(&["agent", "list", "--json"]).ok().json();
    assert_eq!(listed, json!({"agents": [made]}));
    assert_eq!(get("/api/agents").json(), listed);

    let patch = |body: &Value| house.call("PATCH /api/agents/crawler", &house.ada, body);
    assert_eq!(patch(&json!({})).json(), made, "nothing asked, nothing done");
    let disabled = patch(&json!({"disabled": true})).json();
    assert!(disabled["disabled_at"].is_string(), "{disabled}");
    assert_eq!(patch(&json!({"disabled": true})).json(), disabled, "it keeps its date");
    house.gate.fallgate(&["agent", "enable", "crawler"]).ok();
    assert_eq!(get("/api/agents/crawler").json(), made);
    house.gate.fallgate(&["user", "disable", "bob"]).ok();
    house.gate.fallgate(&["user", "disable", "ada"]).ok();
    let shown = house.call("GET /api/agents/crawler", &house.admin, &Value::Null).json();
    assert_eq!(shown["owner_disabled"], true, "{shown}");
    let enabled = house.gate.fallgate(&["agent", "enable", "crawler"]).ok().stderr;
    assert!(enabled.contains("its owner ada is disabled, which stops it still"), "{enabled}");
    house.gate.fallgate(&["user", "enable", "ada"]).ok();
    let refused = house.gate.fallgate(&["agent", "disable", "ada"]).refused(1);
    assert!(refused.contains("cut it (`fallgate cut agent:ada`), or disable the user"), "{refused}");

    let delete = || house.call("DELETE /api/agents/crawler", &house.ada, &Value::Null).status;
    assert_eq!((delete(), delete()), (204, 404));
    for nobodys in ["crawler", "Crawler", "%20", &"x".repeat(65)] {
        assert_eq!(get(&format!("/api/agents/{nobodys}")).status, 404, "{nobodys}");
    }
    // A new one of that name is another.
    assert_ne!(house.make(&house.ada, &json!({"name": "crawler"}))["id"], made["id"]);
    let trail = house.gate.fallgate(&["audit", "list", "--user", "ada", "--json"]).ok().json();
    let told: Vec<_> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["action"].as_str().unwrap(), event["target"].as_str().unwrap()))
        .filter(|(action, _)| action.starts_with("agent."))
        .collect();
    let crawler = |action| (action, "agent:crawler");
    assert_eq!(
        told,
        ["agent.create", "agent.delete", "agent.enable", "agent.disable", "agent.create"].map(crawler)
    );
}

#[test]
fn what_cannot_be_is_refused_in_words_that_name_the_rule() {
    let house = House::new();
    house.make(&house.bob, &json!({"name": "taken"}));
    let good = |name: &str, value: Value| {
        let mut body = json!({"name": "crawler"});
        body[name] = value;
        body
    };
    let routes: Vec<_> = (0..65).map(|number| format!("route-{number}")).collect();
    for (body, status, words) in [
        (good("name", json!("taken")), 409, "is an agent taken already"),
        (good("name", json!("ada")), 409, "whose own agent is called so"),
        (good("name", json!("bob")), 409, "whose own agent is called so"),
        (good("name", json!("Crawler")), 400, "a-z, 0-9, _ and -"),
        (good("name", json!("")), 400, "1 to 64"),
        (good("scopes", json!(["admin"])), 403, "more than the role of its owner allows"),
        (good("scopes", json!(["sessions:write"])), 403, "not one of the token that makes the agent"),
        (good("scopes", json!(["everything"])), 400, "no such scope"),
        (good("routes", json!(["a b"])), 400, "route's name"),
        (good("routes", json!(routes)), 400, "at most 64 routes"),
        (good("disabled", json!(true)), 400, "unknown field `disabled`"),
        (json!({}), 400, "name"),
    ] {
        let refused = house.call("POST /api/agents", &house.ada, &body);
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        assert!(refused.text().contains(words), "{body}: {}", refused.text());
    }
    let nobodys = house.call("POST /api/agents", &house.admin, &good("owner", json!("eve")));
    assert_eq!(nobodys.status, 404, "{}", nobodys.text());
    house.gate.fallgate(&["user", "disable", "bob"]).ok();
    let disabled = house.call("POST /api/agents", &house.admin, &good("owner", json!("bob")));
    assert_eq!(disabled.status, 409, "{}", disabled.text());
    // Without scopes those of a token, within what the caller has.
    let made = house.make(&house.ada, &json!({"name": "crawler"}));
    assert_eq!(made["scopes"], json!(["identity:read", "routes:use"]));
    assert_eq!(house.names(&house.ada), ["crawler"]);
}

#[test]
fn r28_owners_manage_their_own_agents_and_admins_everybodys() {
    let house = House::new();
    house.make(&house.ada, &json!({"name": "adas"}));
    // What a plain user asks for somebody else is made for themselves, as with tokens.
    assert_eq!(house.make(&house.bob, &json!({"name": "bobs", "owner": "ada"}))["owner"], "bob");
    assert_eq!(house.make(&house.admin, &json!({"name": "for-ada", "owner": "ada"}))["owner"], "ada");
    house.make(&house.admin, &json!({"name": "roots"}));
    assert_eq!(house.names(&house.ada), ["adas", "for-ada"]);
    assert_eq!(house.names(&house.bob), ["bobs"]);
    assert_eq!(house.names(&house.admin), ["adas", "bobs", "for-ada", "roots"]);
    let acts = |token: &Token, name: &str| {
        let path = format!("/api/agents/{name}");
        [
            house.call(&format!("GET {path}"), token, &Value::Null).status,
            house.call(&format!("PATCH {path}"), token, &json!({"disabled": true})).status,
            house.call("POST /api/cuts", token, &json!({"target": format!("agent:{name}")})).status,
            house.call(&format!("DELETE {path}"), token, &Value::Null).status,
        ]
    };
    assert_eq!(acts(&house.bob, "adas"), [403, 403, 403, 403]);
    assert_eq!(acts(&house.bob, "roots"), [403, 403, 403, 403]);
    assert_eq!(acts(&house.ada, "adas"), [200, 200, 201, 204]);
    assert_eq!(acts(&house.admin, "bobs"), [200, 200, 201, 204]);
    let narrow = house.gate.token_with("root", &["--scope", "agents:write"]);
    assert_eq!(house.names(&narrow), ["roots"], "an admin's narrower token manages their own only");
}

#[test]
fn no_user_and_no_agent_share_a_name() {
    let home = Home::new();
    home.user("ada");
    home.fallgate(&["agent", "create", "crawler", "--owner", "ada"]).ok();
    let refused =
        home.fallgate_with(&["user", "create", "crawler", "--passphrase-stdin"], PASSPHRASE).refused(1);
    assert!(refused.contains("there is an agent crawler"), "{refused}");
    let refused = home.fallgate(&["agent", "create", "ada", "--owner", "ada"]).refused(1);
    assert!(refused.contains("whose own agent is called so"), "{refused}");
    home.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    home.user("crawler");
}

#[test]
fn the_command_line_asks_for_an_owner_and_warns_of_routes_that_it_does_not_know() {
    let home = Home::new();
    home.user("ada");
    let refused = home.fallgate(&["agent", "create", "crawler"]).refused(2);
    assert!(refused.contains("--owner"), "{refused}");
    let unknown = home.fallgate(&["agent", "create", "crawler", "--owner", "ada", "--route", "llmux"]).ok();
    assert!(unknown.stderr.contains("warning: no config was found"), "{}", unknown.stderr);
    let config =
        home.write_config("[[route]]\nname = \"ci\"\npath = \"/ci\"\nupstream = \"http://127.0.0.1:1\"\n");
    let config = ["--config", config.to_str().unwrap()];
    let make = |name: &str, route: &str| {
        let words = ["agent", "create", name, "--owner", "ada", "--route", route];
        home.fallgate(&[&words[..], &config].concat()).ok().stderr
    };
    let warned = make("two", "llmux");
    assert!(warned.contains("warning: the config has no route llmux"), "{warned}");
    assert!(!make("three", "ci").contains("warning"));
    let refused = home.fallgate(&["agent", "delete", "two"]).refused(2);
    assert!(refused.contains("--yes"), "{refused}");
    let listed = home.fallgate(&["agent", "list"]).ok().stdout;
    let names: Vec<_> = listed.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["crawler", "three", "two"]);
}

#[test]
fn r31_a_cut_is_on_the_agent_and_not_on_its_name_and_whoever_is_deleted_leaves_nothing() {
    let house = House::new();
    house.make(&house.ada, &json!({"name": "crawler"}));
    for target in ["agent:crawler", "agent:ada"] {
        house.gate.fallgate(&["cut", target, "--reason", "runs wild"]).ok();
    }
    let cuts = |token: &Token| {
        let list = house.call("GET /api/cuts", token, &Value::Null).json();
        let cuts = list["cuts"].as_array().unwrap().iter();
        cuts.map(|cut| cut["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cuts(&house.ada), ["agent:crawler", "agent:ada"], "their own, whoever placed it");
    assert_eq!(cuts(&house.bob), [""; 0]);
    // Their own tokens are no agent's.
    assert_eq!(Client::get(house.gate.address(), "/api/whoami", Some(&house.ada)).status, 200);
    house.gate.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    house.make(&house.ada, &json!({"name": "crawler"}));
    assert_eq!(cuts(&house.admin), ["agent:ada"]);
    house.gate.fallgate(&["user", "delete", "ada", "--yes"]).ok();
    assert_eq!((cuts(&house.admin), house.names(&house.admin)), (Vec::new(), Vec::new()));
    house.make(&house.bob, &json!({"name": "crawler"}));
}

#[test]
fn a_route_for_an_agent_alone_does_not_admit_its_owner() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nallow = [\"agent:crawler\", \"agent:ada\"]\n",
        upstream.url()
    ));
    gate.user("ada");
    gate.fallgate(&["agent", "create", "crawler", "--owner", "ada"]).ok();
    let refused = Client::get(gate.address(), "/app/x", Some(&gate.token("ada")));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(upstream.requests().is_empty());
}

fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

#[track_caller]
fn signed_in(gate: &Gate, username: &str) -> Visitor {
    let mut visitor = Visitor::of(gate.address());
    let login = visitor.visit(&url("/login"));
    assert_eq!(visitor.sign_in(&login, username, PASSPHRASE).answer.status, 200);
    visitor
}

#[track_caller]
fn shows(answer: &Response, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "without {text:?}: {}", answer.text());
}

#[test]
fn on_the_page_owners_make_disable_cut_and_delete_their_own_agents() {
    let house = House::new();
    house.make(&house.bob, &json!({"name": "bobs"}));
    let mut ada = signed_in(&house.gate, "ada");
    shows(&ada.open(&url("/agents")), 200, "There is no agent yet.");
    let page = ada.visit(&url("/agents/new"));
    shows(&page.answer, 200, "name=\"owner\" disabled");
    let good = [("name", "crawler"), ("scope", "routes:use"), ("scope", "live:read")];
    for (fields, status, text) in [
        (&[("name", "Crawler"), ("scope", "routes:use")][..], 400, "id=\"name-trouble\" role=\"alert\""),
        (&[("name", "bobs"), ("scope", "routes:use")], 409, "value=\"bobs\""),
        (&[("name", "ada"), ("scope", "routes:use")], 409, "id=\"name-trouble\" role=\"alert\""),
        (&[("name", "crawler")], 400, "Choose at least one thing"),
        (&[("name", "crawler"), ("scope", "admin")], 403, "id=\"scope-trouble\" role=\"alert\""),
    ] {
        shows(&ada.send(&page.url, "/agents", fields), status, text);
    }
    // What the form says of another owner is not heard.
    let made = ada.submit(&page.url, "/agents", &[&good[..], &[("owner", "bob")]].concat());
    shows(&made.answer, 200, "The agent is made.");
    shows(&made.answer, 200, "Use all routes");
    assert!(!made.answer.text().contains("bobs") && !made.answer.text().contains(">Owner<"));
    let mine = house.call("GET /api/agents/crawler", &house.ada, &Value::Null).json();
    assert_eq!((&mine["owner"], &mine["scopes"]), (&json!("ada"), &json!(["routes:use", "live:read"])));

    for act in ["disable", "delete"] {
        let asked = ada.open(&url(&format!("/agents/crawler/{act}")));
        shows(&asked, 200, "No open connection will be cut.");
        shows(&ada.open(&url(&format!("/agents/bobs/{act}"))), 403, "only an admin");
        assert_eq!(ada.send(&url("/agents"), &format!("/agents/bobs/{act}"), &[]).status, 403);
    }
    let disabled = ada.submit(&url("/agents/crawler/disable"), "/agents/crawler/disable", &[]);
    shows(&disabled.answer, 200, ">Disabled<");
    shows(&ada.submit(&url("/agents"), "/agents/crawler/enable", &[]).answer, 200, ">Enabled<");
    let ask = ada.visit(&url("/live/cut?target=agent:crawler"));
    shows(&ask.answer, 200, "Cut agent crawler?");
    let fields = [("target", "agent:crawler"), ("reason", ""), ("lasts", "never")];
    assert_eq!(ada.send(&ask.url, "/live/cut", &fields).status, 303);
    shows(&ada.open(&url("/agents")), 200, ">Cut<");
    let deleted = ada.submit(&url("/agents/crawler/delete"), "/agents/crawler/delete", &[]);
    shows(&deleted.answer, 200, "The agent is deleted");
    assert_eq!(house.names(&house.admin), ["bobs"]);
}

#[test]
fn on_the_page_an_admin_sees_everybodys_agents_a_hundred_at_a_time() {
    let house = House::new();
    for number in 0..101 {
        house.make(&house.ada, &json!({"name": format!("agent-{number:03}"), "routes": ["llmux"]}));
    }
    let mut root = signed_in(&house.gate, "root");
    let first = root.open(&url("/agents")).text();
    assert!(first.contains("agent-099") && !first.contains("agent-100"), "{first}");
    assert!(first.contains("<td data-label=\"Owner\">ada</td>") && first.contains("/agents?after=agent-099"));
    let next = root.open(&url("/agents?after=agent-099")).text();
    assert!(next.contains("agent-100") && !next.contains("agent-099") && next.contains("Show the first"));
    shows(&root.open(&url("/agents/agent-100/delete")), 200, "Delete agent-100 of ada?");
    shows(&root.open(&url("/")), 200, "<a href=\"/agents\">Agents</a>");
}
