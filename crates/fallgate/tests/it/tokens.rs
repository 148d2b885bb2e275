//! Tokens from the command line, once they are there: renamed, given another end, inspected, ended all at once.

use fallgate_domain::clock::Timestamp;
use serde_json::Value;

use crate::support::{Client, Gate, Home, Line, WebSocketUpstream};

fn statuses(home: &Home) -> Vec<(String, String)> {
    let listed = home.fallgate(&["token", "list", "--all", "--json"]).ok().json();
    let text = |token: &Value, key: &str| token[key].as_str().unwrap().to_owned();
    let tokens = listed["tokens"].as_array().unwrap().iter();
    tokens.map(|token| (text(token, "username"), text(token, "status"))).collect()
}

#[test]
fn a_token_is_renamed_and_given_another_end() {
    let home = Home::new();
    let token = home.token("ada");
    let renamed = home.fallgate(&["token", "rename", &token.id, " the laptop ", "--json"]).ok();
    assert_eq!(renamed.json()["name"], "the laptop");
    let dated = home.fallgate(&["token", "expire", &token.id, "--at", "2099-12-31T23:59:59Z", "--json"]).ok();
    assert_eq!(dated.json()["expires_at"], "2099-12-31T23:59:59Z");
    assert_eq!(dated.stderr, format!("{} ends at 2099-12-31T23:59:59Z\n", token.id));
    assert_eq!(home.fallgate(&["token", "list", "--json"]).ok().json()["tokens"][0], dated.json());
    let never = home.fallgate(&["token", "expire", &token.id, "--at", "never"]).ok();
    assert_eq!((never.stdout.as_str(), never.stderr), ("", format!("{} never ends by itself\n", token.id)));

    let refused = home.fallgate(&["token", "expire", &token.id, "--at", "2001-01-01T00:00:00Z"]).refused(1);
    assert!(refused.contains("must lie in the future") && refused.contains("token revoke"), "{refused}");
    home.fallgate(&["token", "revoke", &token.id]).ok();
    let refused = home.fallgate(&["token", "expire", &token.id, "--at", "1d"]).refused(1);
    assert!(refused.contains("has ended, for good"), "{refused}");
    let unknown = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    for command in [&["rename", unknown, "x"][..], &["expire", unknown, "--at", "1d"]] {
        let refused = home.fallgate(&[&["token"], command].concat()).refused(1);
        assert!(refused.starts_with(&format!("there is no token {unknown}")), "{refused}");
    }
}

#[test]
fn r33_another_end_counts_on_open_connections_too() {
    let upstream = WebSocketUpstream::echo();
    let gate = Gate::before("app", &upstream.url());
    let token = gate.token("ada");
    let socket = Line::ask_for_websocket(gate.address(), "/app/", &token).switched().watched();
    let dated = gate.fallgate(&["token", "expire", &token.id, "--at", "1s", "--json"]).ok().json();
    let end = Timestamp::parse(dated["expires_at"].as_str().unwrap()).unwrap();
    assert!(end.since(Timestamp::parse(dated["created_at"].as_str().unwrap()).unwrap()).as_secs() < 60);
    socket.join().unwrap().assert_closed(4401, "token expired");
    assert_eq!(Client::get(gate.address(), "/api/whoami", Some(&token)).status, 401);
}

#[test]
fn a_secret_is_inspected_and_nothing_of_it_or_its_hash_is_shown() {
    let home = Home::new();
    let token = home.token("ada");
    let shown = home.fallgate_with(&["token", "inspect"], format!("{}\nmore", token.secret)).ok();
    let lines: Vec<_> = shown.stdout.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["kind", "id", "owner", "name", "scopes", "expires", "status", "uses"]);
    assert_eq!((lines[1].1.trim(), lines[2].1.trim(), lines[6].1.trim()), (&*token.id, "ada", "active"));
    assert!(!shown.stdout.contains(&token.secret[..9]));
    let mut json = home.fallgate_with(&["token", "inspect", "--json"], &token.secret).ok().json();
    assert_eq!(json.as_object_mut().unwrap().remove("uses"), Some(Value::from(0)));
    assert_eq!(json, home.fallgate(&["token", "list", "--json"]).ok().json()["tokens"][0]);

    home.fallgate(&["user", "disable", "ada"]).ok();
    let shown = home.fallgate_with(&["token", "inspect"], &token.secret).ok().stdout;
    assert!(shown.contains("ada, who is disabled"), "{shown}");
    home.admin("root");
    home.fallgate(&["user", "delete", "ada", "--yes"]).ok();
    let shown = home.fallgate_with(&["token", "inspect"], &token.secret).ok().stdout;
    assert!(shown.contains("somebody who was deleted") && shown.contains("revoked"), "{shown}");

    let other = if token.secret.ends_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{other}", &token.secret[..52]);
    for (secret, words) in [("", "no secret on stdin"), ("hello", "is no secret"), (&mistyped, "mistyped")] {
        let refused = home.fallgate_with(&["token", "inspect"], secret).refused(1);
        assert!(refused.contains(words) && !refused.contains("hello"), "{refused}");
        assert!(!refused.contains(&token.secret[..9]), "{refused}");
    }
    let elsewhere = Home::new().token("ada");
    let refused = home.fallgate_with(&["token", "inspect"], &elsewhere.secret).refused(1);
    assert!(refused.contains("nothing in this home folder"), "{refused}");
}

#[test]
fn r37_a_token_is_revoked_by_its_secret() {
    let home = Home::new();
    let token = home.token("ada");
    let revoked = home.fallgate_with(&["token", "revoke", "--stdin"], &token.secret).ok();
    assert_eq!((revoked.stdout.as_str(), revoked.stderr), ("", format!("{} revoked\n", token.id)));
    let again = home.fallgate_with(&["token", "revoke", "--stdin"], &token.secret).ok();
    assert_eq!(again.stderr, format!("{} was revoked before\n", token.id));
    home.fallgate_with(&["token", "revoke", "--stdin"], "x").refused(1);
}

#[test]
fn all_tokens_of_a_user_or_of_everybody_are_revoked_when_that_is_confirmed() {
    let home = Home::new();
    for owner in ["ada", "ada", "bob"] {
        home.token(owner);
    }
    let refused = home.fallgate(&["token", "revoke", "--all"]).refused(2);
    assert!(refused.contains("--yes"), "{refused}");
    let refused = home.fallgate(&["token", "revoke", "--all", "--user", "eve", "--yes"]).refused(1);
    assert!(refused.contains("there is no user eve"), "{refused}");
    assert!(statuses(&home).iter().all(|(_, status)| status == "active"));
    let revoked = home.fallgate(&["token", "revoke", "--all", "--user", "ada", "--yes"]).ok();
    assert_eq!(revoked.stderr, "Revoked 2 tokens of ada, and all worker tokens of theirs\n");
    let owned = |owner: &str, status: &str| (owner.to_owned(), status.to_owned());
    assert_eq!(statuses(&home), [owned("ada", "revoked"), owned("ada", "revoked"), owned("bob", "active")]);
    let revoked = home.fallgate(&["token", "revoke", "--all", "--yes"]).ok();
    assert_eq!(revoked.stderr, "Revoked 1 token of everybody, and all worker tokens\n");
    assert!(statuses(&home).iter().all(|(_, status)| status == "revoked"));
}

#[test]
fn a_token_can_be_shown_as_a_qr_code_beside_its_text() {
    let home = Home::new();
    home.user("ada");
    let run = home.fallgate(&["token", "create", "--username", "ada", "--qr"]).ok();
    // On stdout the secret stands alone, as ever.
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.stdout.starts_with("fgt_"));
    let code: Vec<_> = run.stderr.lines().filter(|line| line.contains(['█', '▀', '▄'])).collect();
    assert!(code.len() >= 16, "{}", run.stderr);
    assert!(!run.stderr.contains(run.stdout.trim()), "the secret is on stderr as text");
}
