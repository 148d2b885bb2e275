//! What somebody tries who has a little and wants more: a worker token, a narrow token, an account beside an admin's, or
//! nothing but the network.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::oauth::form;
use crate::support::{Client, Gate, Token, Upstream, Worker};

fn whoami(gate: &Gate, token: &Token) -> u16 {
    Client::get(gate.address(), "/api/whoami", Some(token)).status
}

fn claims(token: &Token) -> Value {
    let part = token.secret.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The token with other claims, under the signature that there was.
fn forged(token: &Token, claims: &Value) -> String {
    let mut parts: Vec<_> = token.secret.split('.').map(str::to_owned).collect();
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    parts.join(".")
}

#[test]
fn what_was_not_signed_here_ends_nothing_by_the_command_line_either() {
    let gate = Gate::start();
    gate.user("ada");
    let (worker, victim) = (gate.worker("ada", &["identity:read"], &["fallgate"]), gate.token("ada"));
    let other = gate.worker("ada", &["identity:read"], &["fallgate"]);
    for id in [&victim.id, &other.token.id] {
        let mut claims = claims(&worker.token);
        claims["jti"] = json!(id);
        claims["anc"] = json!([id]);
        let forged = forged(&worker.token, &claims);
        gate.fallgate_with(&["token", "revoke", "--stdin"], forged.clone()).refused(1);
        let shown = gate.fallgate_with(&["token", "inspect"], forged).ok();
        assert!(
            shown.stdout.contains("status    not-ours") && !shown.stderr.contains(id),
            "{}",
            shown.stderr
        );
    }
    assert_eq!([&victim, &other.token].map(|token| whoami(&gate, token)), [200, 200]);
}

#[test]
fn nobody_takes_the_name_by_which_a_route_lets_an_agent_in() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\nallow = [\"agent:crawler\"]\n",
        upstream.url()
    ));
    gate.admin("root");
    gate.user("mallory");
    gate.fallgate(&["agent", "create", "crawler", "--owner", "root"]).ok();
    gate.fallgate(&["agent", "delete", "crawler", "--yes"]).ok();
    let mallory = gate.token_with("mallory", &["--scope", "agents:write", "--scope", "routes:use"]);
    let made = gate.ask(
        "POST /api/agents",
        &mallory.header(),
        &json!({"name": "crawler", "scopes": ["routes:use"]}),
    );
    // Before it is asked what was answered: whether it helps.
    let minted = gate.mint_worker(&mallory, "crawler", &json!({"audience": ["route:app"]}));
    if minted.status == 201 {
        let answer = Client::get(gate.address(), "/app/", Some(&Worker::token_of(&minted)));
        assert_ne!(answer.status, 200, "came in by a name that was free");
    }
    assert_eq!(made.status, 403, "{}", made.text());
    assert!(made.text().contains("route"), "{}", made.text());
    let admin = gate.token_with("root", &["--scope", "admin"]);
    assert_eq!(gate.ask("POST /api/agents", &admin.header(), &json!({"name": "crawler"})).status, 201);
    assert!(upstream.requests().is_empty());
}

#[test]
fn r41_what_an_upstream_is_told_of_a_worker_token_says_where_it_may_be_used() {
    let upstream = Upstream::echo();
    let gate = Gate::configured(&format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {:?}\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = {:?}\n",
        upstream.url(),
        upstream.url()
    ));
    gate.admin("root");
    let service = |more: &[&str]| gate.token_with("root", &[&["--scope", "introspect"], more].concat());
    let ask = |service: &Token, secret: &str| {
        form(&gate, "/oauth/introspect", &service.header(), &[("token", secret)]).json()
    };
    let worker = |audience: &[&str]| gate.worker("ada", &["routes:use"], audience).token;
    let (app, here) = (worker(&["route:app"]), worker(&["fallgate"]));
    let any = service(&[]);
    let told = ask(&any, &app.secret);
    assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(["route:app"])), "{told}");
    assert_eq!(told["exp"], claims(&app)["exp"]);
    assert_eq!(ask(&any, &here.secret)["aud"], json!(["fallgate"]));
    let of_app = service(&["--scope", "route:app"]);
    assert_eq!(ask(&of_app, &app.secret)["active"], true);
    for elsewhere in [&here, &worker(&["route:other"])] {
        assert_eq!(ask(&of_app, &elsewhere.secret), json!({"active": false}));
    }
}
