//! The audit trail: listed, followed and checked, by the command line and the API alike.

use std::fs;
use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::{Client, Gate, Home, Token};

fn numbers(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// Six events by the command line.
fn lived_in() -> (Home, Token) {
    let home = Home::new();
    home.admin("root");
    home.user("ada");
    let token = home.token("ada");
    home.fallgate(&["user", "disable", "ada"]).ok();
    home.fallgate(&["token", "revoke", &token.id]).ok();
    let admin = home.token_with("root", &["--scope", "admin"]);
    (home, admin)
}

#[test]
fn the_trail_is_listed_alike_by_the_command_line_and_the_api() {
    let (home, admin) = lived_in();
    let gate = Gate::on(home, "");
    let get = |query: &str| Client::get(gate.address(), &format!("/api/audit{query}"), Some(&admin));
    let page = get("").json();
    // The last is the gate's own: its start made the internal token.
    assert_eq!(numbers(&page), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(page["next"], Value::Null);
    let actions: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    let by_commands =
        ["token.mint", "token.revoke", "user.disable", "token.mint", "user.create", "user.create"];
    assert_eq!(actions[1..], by_commands);
    assert_eq!(actions[0], "internal-token.make");
    let keys: Vec<_> = page["events"][0].as_object().unwrap().keys().cloned().collect();
    let mut wanted =
        ["seq", "at", "action", "actor", "credential", "target", "outcome", "ip", "detail", "prev", "hash"];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    for (query, arguments) in [
        ("", &[][..]),
        ("?limit=2", &["--limit", "2"]),
        ("?limit=2&before=3", &["--limit", "2", "--before", "3"]),
        ("?user=ada", &["--user", "ada"]),
        ("?action=token.mint&limit=1", &["--action", "token.mint", "--limit", "1"]),
        ("?user=nobody", &["--user", "nobody"]),
    ] {
        let typed = [&["audit", "list", "--json"], arguments].concat();
        assert_eq!(get(query).json(), gate.fallgate(&typed).ok().json(), "{query}");
    }
    assert_eq!((numbers(&get("?limit=2").json()), &get("?limit=2").json()["next"]), (vec![7, 6], &json!(6)));
    assert_eq!(numbers(&get("?limit=2&before=5").json()), [4, 3]);
    assert_eq!(get("?limit=2&before=3").json()["next"], Value::Null, "the last page, full though it is");
    assert_eq!(numbers(&get("?user=ada").json()), [4, 3, 2], "the token minted for her too");
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?before=-1", "?who=ada"] {
        assert_eq!(get(query).status, 400, "{query}");
    }
    let told = get("?limit=x").json()["detail"].as_str().unwrap().to_owned();
    assert!(told.starts_with("The query is not as it must be: limit: "), "{told}");
    for typed in [&["audit", "list", "--limit", "0"], &["audit", "list", "--limit", "1001"]] {
        assert_eq!(gate.fallgate(typed).code, Some(2), "{typed:?}");
    }
    let table = gate.fallgate(&["audit", "list", "--limit", "1"]).ok().stdout;
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["SEQ", "AT", "ACTION", "ACTOR", "TARGET", "IP", "DETAIL"]);
}

#[test]
fn a_whole_trail_verifies_and_a_forged_one_names_the_first_broken_link() {
    let (home, _) = lived_in();
    assert_eq!(home.fallgate(&["audit", "verify"]).ok().stdout, "6 events, an unbroken chain\n");
    // As somebody with a text editor would: one action becomes another of the same length.
    let database = home.path().join("fallgate.db");
    let mut bytes = fs::read(&database).unwrap();
    let forged = bytes.windows(12).position(|window| window == b"user.disable").unwrap();
    bytes[forged..forged + 12].copy_from_slice(b"user.rename!");
    fs::write(&database, bytes).unwrap();
    let refused = home.fallgate(&["audit", "verify"]).refused(1);
    assert!(refused.starts_with("event 4 was changed"), "{refused}");
}

#[test]
fn the_trail_is_followed_as_it_grows() {
    let (home, _) = lived_in();
    let mut follower = home.command(&["audit", "tail", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    for seq in 1..=6 {
        assert_eq!(next()["seq"], seq);
    }
    home.fallgate(&["user", "enable", "ada"]).ok();
    let came = next();
    assert_eq!((&came["seq"], &came["action"]), (&json!(7), &json!("user.enable")));
    follower.kill().unwrap();
    follower.wait().unwrap();
}
