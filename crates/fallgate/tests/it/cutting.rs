//! Cut and lift: what is stopped at once, for whom, until when, and what comes back.

mod everything;
mod rights;
mod streams;

use serde_json::{Value, json};

use crate::support::{Clerk, Client, Gate, Home, Response, Token, Upstream, WebSocketUpstream, wait_for};

/// What is told to whoever is refused by a cut for this reason.
fn told(reason: &str) -> String {
    format!("This was cut off, and stays so until the cut is lifted: {reason}")
}

/// A gate with two routes, both with a public path, and an admin.
fn gate_before(upstream: &str) -> Gate {
    let home = Home::new();
    home.admin("root");
    Gate::on(home, &config(upstream))
}

fn config(upstream: &str) -> String {
    ["app", "other"]
        .map(|name| {
            format!(
                "[[route]]\nname = {name:?}\npath = \"/{name}\"\nupstream = {upstream:?}\npublic = [\"/open\"]\n"
            )
        })
        .concat()
}

impl Gate {
    /// `POST /api/cuts`, by whoever these header lines present.
    fn try_cut(&self, headers: &str, target: &str, reason: &str) -> Response {
        self.ask("POST /api/cuts", headers, &json!({"target": target, "reason": reason}))
    }

    /// The same, which must work.
    #[track_caller]
    fn cut(&self, headers: &str, target: &str, reason: &str) -> Value {
        let answer = self.try_cut(headers, target, reason);
        assert_eq!(answer.status, 201, "{target}: {}", answer.text());
        answer.json()
    }

    /// `DELETE /api/cuts/{id}`, whatever comes of it.
    fn try_lift(&self, headers: &str, id: &str) -> Response {
        self.ask(&format!("DELETE /api/cuts/{id}"), headers, &Value::Null)
    }

    fn status(&self, target: &str, token: &Token) -> u16 {
        Client::get(self.address(), target, Some(token)).status
    }
}

fn id_of(cut: &Value) -> String {
    cut["id"].as_str().unwrap().to_owned()
}

#[test]
fn r49_a_cut_is_told_to_whoever_it_stops_and_lifting_it_restores_what_was_not_revoked() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    let (kept, revoked) = (gate.token("bob"), gate.token("bob"));
    let eve = gate.token("eve");
    let sign_in = gate.sign_in("bob");
    let placed = gate.cut(&root, "user:bob", "lost laptop, call me");
    for token in [&kept, &revoked] {
        for target in ["/app/", "/other/x", "/api/whoami", "/api/tokens"] {
            let refused = Client::get(gate.address(), target, Some(token));
            assert_eq!(refused.status, 403, "{target}");
            assert_eq!(refused.header("content-type"), Some("application/problem+json"));
            assert_eq!(refused.json()["detail"], told("lost laptop, call me"), "{target}");
        }
    }
    assert_eq!(gate.ask("GET /api/logins", &sign_in.cookie(), &Value::Null).status, 403);
    // Not even by the right passphrase; whoever does not know it is told nothing.
    let again = gate.try_sign_in("bob", crate::support::PASSPHRASE);
    assert_eq!((again.status, again.header("set-cookie")), (403, None));
    assert_eq!(again.json()["detail"], told("lost laptop, call me"));
    assert_eq!(gate.try_sign_in("bob", "some other passphrase").status, 401);
    assert_eq!((gate.status("/app/", &eve), gate.status("/api/whoami", &eve)), (200, 200));
    assert_eq!(upstream.requests().len(), 1);

    gate.fallgate(&["token", "revoke", &revoked.id]).ok();
    assert_eq!(gate.try_lift(&root, &id_of(&placed)).status, 204);
    assert_eq!((gate.status("/app/", &kept), gate.status("/app/", &revoked)), (200, 401));
    assert_eq!(gate.ask("GET /api/logins", &sign_in.cookie(), &Value::Null).status, 200);
    gate.sign_in("bob");
    assert_eq!(gate.try_lift(&root, &id_of(&placed)).status, 404, "it was lifted already");
}

#[test]
fn r31_a_cut_credential_cuts_what_hangs_on_it_and_nothing_beside() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let parent = gate.token_with("bob", &["--scope", "tokens:write", "--scope", "routes:use"]);
    let body = json!({"name": "child", "scopes": ["routes:use"]});
    let minted = gate.ask("POST /api/tokens", &parent.header(), &body).json();
    let text = |key: &str| minted[key].as_str().unwrap().to_owned();
    let child = Token { id: text("id"), secret: text("secret") };
    let beside = gate.token("bob");
    let cut = gate.fallgate(&["cut", &format!("credential:{}", parent.id), "--json"]).ok().json();
    assert_eq!((gate.status("/app/", &parent), gate.status("/app/", &child)), (403, 403));
    assert_eq!(gate.status("/app/", &beside), 200);
    gate.fallgate(&["lift", &id_of(&cut)]).ok();
    let on_child = gate.fallgate(&["cut", &format!("credential:{}", child.id), "--json"]).ok().json();
    assert_eq!((gate.status("/app/", &parent), gate.status("/app/", &child)), (200, 403));
    gate.fallgate(&["lift", &id_of(&on_child)]).ok();
    assert_eq!(gate.status("/app/", &child), 200);
}

#[test]
fn a_cut_route_is_closed_to_all_and_on_its_public_paths_too() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let bob = gate.token("bob");
    let open = |target| Client::get(gate.address(), target, None);
    assert_eq!((open("/app/open").status, open("/other/open").status), (200, 200));
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    let placed = gate.cut(&root, "route:app", "under repair");
    for refused in [open("/app/open"), Client::get(gate.address(), "/app/", Some(&bob))] {
        assert_eq!((refused.status, refused.json()["detail"].clone()), (403, told("under repair").into()));
    }
    assert_eq!((gate.status("/other/", &bob), open("/other/open").status), (200, 200));
    assert_eq!(gate.status("/api/whoami", &bob), 200);
    assert_eq!(gate.try_lift(&root, &id_of(&placed)).status, 204);
    assert_eq!((gate.status("/app/", &bob), open("/app/open").status), (200, 200));
}

#[test]
fn r49_a_cut_survives_a_kill_and_a_restart() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let root = gate.token_with("root", &["--scope", "admin"]);
    let (bob, eve) = (gate.token("bob"), gate.token("eve"));
    gate.cut(&root.header(), "user:bob", "lost laptop");
    gate.cut(&root.header(), "route:other", "under repair");
    let home = gate.kill();
    let gate = Gate::on(home, &config(&upstream.url()));
    assert_eq!((gate.status("/app/", &bob), gate.status("/app/", &eve)), (403, 200));
    assert_eq!((gate.status("/other/", &eve), gate.status("/other/", &root)), (403, 403));
    let listed = gate.fallgate(&["cuts", "--json"]).ok().json();
    let targets: Vec<_> = listed["cuts"].as_array().unwrap().iter().map(|cut| &cut["target"]).collect();
    assert_eq!(targets, ["user:bob", "route:other"]);
    for cut in listed["cuts"].as_array().unwrap() {
        gate.fallgate(&["lift", cut["id"].as_str().unwrap()]).ok();
    }
    assert_eq!((gate.status("/app/", &bob), gate.status("/other/", &root)), (200, 200));
}

#[test]
fn a_cut_with_an_end_is_over_by_itself() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let bob = gate.token("bob");
    gate.fallgate(&["cut", "user:bob", "--for", "2s"]).ok();
    let refused = Client::get(gate.address(), "/app/", Some(&bob));
    let listed = gate.fallgate(&["cuts", "--json"]).ok().json();
    // Told to the second.
    let (end, _) = listed["cuts"][0]["expires_at"].as_str().unwrap().split_once('.').unwrap();
    let told = format!("This was cut off, and stays so until {end}Z or until the cut is lifted.");
    assert_eq!((refused.status, refused.json()["detail"].as_str()), (403, Some(told.as_str())));
    wait_for("the end of the cut", || (gate.status("/app/", &bob) == 200).then_some(()));
    assert_eq!(gate.fallgate(&["cuts", "--json"]).ok().json(), json!({"cuts": []}));
    let id = id_of(&listed["cuts"][0]);
    let refused = gate.fallgate(&["lift", &id]).refused(1);
    assert_eq!(refused, format!("there is no cut {id} that stands: `fallgate cuts` shows those that do"));
}

#[test]
fn of_two_cuts_on_the_same_each_has_to_be_lifted() {
    let gate = gate_before("http://127.0.0.1:9");
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    let bob = gate.token("bob");
    let cuts = ["first", "second"].map(|reason| id_of(&gate.cut(&root, "user:bob", reason)));
    let detail = || Client::get(gate.address(), "/api/whoami", Some(&bob)).json()["detail"].clone();
    assert_eq!(detail(), told("first"));
    let lifted = gate.fallgate(&["lift", &cuts[0]]).ok().stderr;
    assert!(lifted.contains("another on it still stands"), "{lifted}");
    assert!(lifted.contains(&format!("lift {}", cuts[1])), "{lifted}");
    assert_eq!(detail(), told("second"));
    assert_eq!(gate.try_lift(&root, &cuts[1]).status, 204);
    assert_eq!(gate.status("/api/whoami", &bob), 200);
}

#[test]
fn whoever_gets_the_name_of_a_cut_user_is_not_cut() {
    let gate = gate_before("http://127.0.0.1:9");
    gate.user("bob");
    gate.fallgate(&["cut", "user:bob"]).ok();
    gate.fallgate(&["user", "delete", "bob", "--yes"]).ok();
    let other = gate.token("bob");
    assert_eq!(gate.status("/api/whoami", &other), 200);
    assert_eq!(gate.fallgate(&["cuts", "--json"]).ok().json(), json!({"cuts": []}));
}

#[test]
fn r49_placing_and_lifting_are_audited_by_api_and_command_line() {
    let gate = gate_before("http://127.0.0.1:9");
    let root = gate.token_with("root", &["--scope", "admin"]);
    gate.user("bob");
    let placed = gate.cut(&root.header(), "user:bob", "lost laptop");
    gate.fallgate(&["lift", &id_of(&placed)]).ok();
    let events = gate.fallgate(&["audit", "list", "--limit", "2", "--json"]).ok().json();
    let [lifted, cut] = [&events["events"][0], &events["events"][1]];
    for (event, action) in [(lifted, "cut.lift"), (cut, "cut.place")] {
        assert_eq!((&event["action"], &event["target"]), (&json!(action), &json!("user:bob")));
        assert_eq!(event["detail"]["cut"], placed["id"]);
    }
    assert_eq!((&cut["actor"], &cut["credential"]), (&json!("root"), &json!(root.id)));
    assert_eq!(cut["detail"]["reason"], "lost laptop");
    assert!(lifted["actor"].as_str().unwrap().starts_with("cli:"), "{lifted}");
    gate.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn what_is_asked_of_the_trail_by_user_has_the_cuts_on_them_and_on_what_is_theirs() {
    let gate = gate_before("http://127.0.0.1:9");
    let (bob, eve) = (gate.token("bob"), gate.token("eve"));
    let sign_in = gate.sign_in("bob");
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    gate.fallgate(&["agent", "create", "crawler", "--owner", "bob"]).ok();
    let targets = [
        "user:bob".to_owned(),
        format!("credential:{}", bob.id),
        format!("credential:{}", sign_in.id),
        "agent:crawler".to_owned(),
        "agent:bob".to_owned(),
    ];
    let beside = [
        "user:eve".to_owned(),
        format!("credential:{}", eve.id),
        "agent:eve".to_owned(),
        "route:app".to_owned(),
    ];
    for (number, target) in targets.iter().chain(&beside).enumerate() {
        if number % 2 == 0 {
            let placed = gate.cut(&root, target, "x");
            gate.fallgate(&["lift", &id_of(&placed)]).ok();
        } else {
            let placed = gate.fallgate(&["cut", target, "--json"]).ok().json();
            assert_eq!(gate.try_lift(&root, &id_of(&placed)).status, 204);
        }
    }
    for action in ["cut.place", "cut.lift"] {
        let arguments = ["audit", "list", "--user", "bob", "--action", action, "--json"];
        let listed = gate.fallgate(&arguments).ok().json();
        let asked = gate.ask(&format!("GET /api/audit?user=bob&action={action}"), &root, &Value::Null).json();
        for events in [&listed["events"], &asked["events"]] {
            let mut found: Vec<_> =
                events.as_array().unwrap().iter().map(|event| event["target"].as_str().unwrap()).collect();
            found.reverse();
            assert_eq!(found, targets, "{action}");
        }
    }
    gate.fallgate(&["audit", "verify"]).ok();
}

#[test]
fn what_cannot_be_cut_is_refused_in_words_and_nothing_is_done() {
    let gate = gate_before("http://127.0.0.1:9");
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    let nobody = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    for (target, detail) in [
        ("user:nobody", "There is no user nobody."),
        ("agent:claude", "There is no agent claude."),
        ("route:nowhere", "There is no route nowhere."),
        (&format!("credential:{nobody}"), &format!("There is no credential {nobody}.")),
    ] {
        let refused = gate.try_cut(&root, target, "x");
        assert_eq!((refused.status, refused.json()["detail"].as_str()), (404, Some(detail)), "{target}");
    }
    for body in [
        json!({}),
        json!({"target": "bob"}),
        json!({"target": "user:Bob"}),
        json!({"target": "everything", "reason": "two\nlines"}),
        json!({"target": "everything", "reason": ""}),
        json!({"target": "everything", "reason": "x".repeat(201)}),
        json!({"target": "everything", "expires_in": 0}),
        json!({"target": "everything", "expires_in": "1h"}),
        json!({"target": "everything", "expires_at": "2030-01-01T00:00:00Z"}),
    ] {
        let refused = gate.ask("POST /api/cuts", &root, &body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
    // A worker token has no row.
    let refused = gate.fallgate(&["cut", &format!("credential:{nobody}")]).refused(1);
    assert!(refused.contains(&format!("`fallgate token revoke {nobody}` ends it")), "{refused}");
    assert_eq!(gate.try_lift(&root, nobody).status, 404);
    assert_eq!(gate.try_lift(&root, "7").status, 404);
    let listed = gate.ask("GET /api/cuts", &root, &Value::Null);
    assert_eq!((listed.status, listed.json()), (200, json!({"cuts": []})));
    // No reason has to be given.
    let body = json!({"target": "route:app", "reason": null});
    assert_eq!(gate.ask("POST /api/cuts", &root, &body).status, 201);
    let refused = Client::get(gate.address(), "/app/open", None);
    assert_eq!(refused.json()["detail"], "This was cut off, and stays so until the cut is lifted.");
}

#[test]
fn what_comes_before_a_cut_in_the_order_of_refusals_is_told_first() {
    let gate = gate_before("http://127.0.0.1:9");
    let bob = gate.token("bob");
    let sign_in = gate.sign_in("bob");
    gate.fallgate(&["cut", "user:bob"]).ok();
    let status = |line: &str, headers: &str| gate.ask(line, headers, &Value::Null).status;
    assert_eq!(status("GET /api/whoami", "Authorization: Bearer fgt_no\r\n"), 401);
    assert_eq!(status("GET /api/nothing", &bob.header()), 404);
    assert_eq!(status("PUT /api/whoami", &bob.header()), 405);
    let foreign = sign_in.cookie() + "Sec-Fetch-Site: cross-site\r\n";
    let refused = gate.ask("POST /api/tokens", &foreign, &json!({"name": "x"}));
    assert!(refused.text().contains("one of Fallgate's own pages"), "{}", refused.text());
    // And before the body: 400 and 415 come after it.
    assert_eq!(status("POST /api/tokens", &bob.header()), 403);
}

#[test]
fn r49_r47_no_request_that_begins_after_a_cut_was_acknowledged_is_let_through() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let gate = gate_before(&upstream.url());
    let clerk = Clerk::of(&gate);
    let bob = gate.token("bob");
    let mut kept = Client::connect(gate.address());
    let request = format!("GET /app/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bob.header());
    let mut ask = move || {
        kept.send(&request);
        let answer = kept.response();
        if answer.header("connection") == Some("close") {
            kept = Client::connect(gate.address());
        }
        answer.status
    };
    for round in 0..200 {
        assert_eq!(ask(), 200, "round {round}");
        let cut = clerk.cut("user:bob");
        assert_eq!(ask(), 403, "round {round}");
        clerk.lift(&cut);
    }
}

#[test]
fn a_command_on_the_home_folder_knows_the_routes_of_its_config_and_doctor_names_what_is_cut() {
    let home = Home::new();
    home.admin("root");
    let config = home.write_config(&config("http://127.0.0.1:9"));
    let config = config.to_str().unwrap();
    let refused = home.fallgate(&["cut", "route:nowhere", "--config", config]).refused(1);
    assert_eq!(refused, "there is no route nowhere: `fallgate config explain` shows the routes");
    let run = home.fallgate(&["cut", "route:app", "--config", config, "--json"]).ok();
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(run.json()["target"], "route:app");
    assert!(run.json().get("closed").is_none(), "no gate runs: {}", run.stdout);
    // Where there is no config nobody can tell; the cut stands all the same.
    let run = home.fallgate(&["cut", "route:other"]).ok();
    assert!(run.stderr.contains("whether there is a route other is not known here"), "{}", run.stderr);
    home.fallgate(&["cut", "everything", "--for", "1h"]).ok();
    let listed = home.fallgate(&["cuts", "--json"]).ok().json();
    let (end, _) = listed["cuts"][2]["expires_at"].as_str().unwrap().split_once('.').unwrap();
    let report = home.fallgate(&["doctor", "--json", "--config", config]).json();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "cuts").unwrap();
    let found = format!("refused until lifted: route:app, route:other, everything (at most until {end}Z)");
    assert_eq!(check["found"], found);
}
