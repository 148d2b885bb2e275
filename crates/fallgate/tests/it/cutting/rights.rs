//! Who may cut and lift what.

use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::support::SignIn;

#[test]
fn r28_a_plain_user_cuts_themselves_and_their_own_and_lifts_what_they_placed() {
    let gate = gate_before("http://127.0.0.1:9");
    let root = gate.token_with("root", &["--scope", "admin"]);
    let narrow = gate.token_with("root", &["--scope", "cut"]);
    let (bob, others) = (gate.token_with("bob", &["--scope", "cut"]), gate.token("bob"));
    let eve = gate.token_with("eve", &["--scope", "cut"]);
    let without = gate.token("eve");
    let credential = |token: &Token| format!("credential:{}", token.id);
    for (by, target, status) in [
        (&bob, "user:eve".to_owned(), 403),
        (&bob, "user:nobody".to_owned(), 403),
        (&bob, credential(&eve), 403),
        (&bob, credential(&root), 403),
        (&bob, "credential:0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b".to_owned(), 404),
        (&bob, "route:app".to_owned(), 403),
        (&bob, "route:nowhere".to_owned(), 403),
        (&bob, "everything".to_owned(), 403),
        // An admin's narrower token manages the admin's own things only.
        (&narrow, "user:bob".to_owned(), 403),
        (&narrow, "everything".to_owned(), 403),
        (&without, "user:eve".to_owned(), 403),
    ] {
        let refused = gate.try_cut(&by.header(), &target, "x");
        assert_eq!(refused.status, status, "{target}: {}", refused.text());
    }
    let internal = format!("Authorization: Bearer {}\r\n", gate.internal_token());
    assert_eq!(gate.try_cut(&internal, "everything", "x").status, 403);
    assert_eq!(gate.ask("GET /api/cuts", &without.header(), &Value::Null).status, 403);
    assert_eq!(gate.fallgate(&["cuts", "--json"]).ok().json(), json!({"cuts": []}));

    let own = id_of(&gate.cut(&bob.header(), &credential(&others), "lost"));
    let admins = id_of(&gate.cut(&root.header(), &credential(&others), "found"));
    let eves = id_of(&gate.cut(&eve.header(), &credential(&without), "x"));
    let route = id_of(&gate.cut(&root.header(), "route:app", "x"));
    let seen = |by: &Token| {
        let listed = gate.ask("GET /api/cuts", &by.header(), &Value::Null).json();
        let listed = listed["cuts"].as_array().unwrap().clone();
        listed.iter().map(id_of).collect::<Vec<_>>()
    };
    assert_eq!(seen(&root), [own.as_str(), &admins, &eves, &route]);
    assert_eq!(seen(&bob), [own.as_str(), &admins]);
    assert_eq!(seen(&eve), [eves.as_str()]);
    assert_eq!(seen(&narrow), [admins.as_str(), &route], "what they placed, whatever it is on");

    assert_eq!(gate.try_lift(&bob.header(), &admins).status, 403, "another placed it");
    assert_eq!(gate.try_lift(&bob.header(), &eves).status, 404, "they may not know of it");
    assert_eq!(gate.try_lift(&bob.header(), &route).status, 404);
    assert_eq!(gate.try_lift(&without.header(), &eves).status, 403);
    assert_eq!(gate.try_lift(&bob.header(), &own).status, 204);
    assert_eq!(gate.try_lift(&narrow.header(), &admins).status, 204);
    for id in [&eves, &route] {
        assert_eq!(gate.try_lift(&root.header(), id).status, 204);
    }
    assert_eq!(gate.status("/api/whoami", &others), 200);
}

/// As if somebody had signed in so long ago.
fn age(gate: &Gate, login: &SignIn, by: Duration) {
    let id = login.id.parse::<fallgate_domain::id::CredentialId>().unwrap();
    let database = Connection::open(gate.path().join("fallgate.db")).unwrap();
    let millis = i64::try_from(by.as_millis()).unwrap();
    let aged = database
        .execute("UPDATE credential SET created_at = created_at - ?2 WHERE id = ?1", (id.bytes(), millis))
        .unwrap();
    assert_eq!(aged, 1);
}

#[test]
fn r49_in_a_browser_lifting_takes_a_sign_in_of_the_last_ten_minutes() {
    let gate = gate_before("http://127.0.0.1:9");
    gate.user("bob");
    let cut = || id_of(&gate.fallgate(&["cut", "user:bob", "--json"]).ok().json());
    let login = gate.sign_in("root");
    assert_eq!(gate.try_lift(&login.sent_by_page(), &cut()).status, 204);
    age(&gate, &login, Duration::from_secs(9 * 60));
    assert_eq!(gate.try_lift(&login.sent_by_page(), &cut()).status, 204);
    age(&gate, &login, Duration::from_secs(61));
    let id = cut();
    let refused = gate.try_lift(&login.sent_by_page(), &id);
    assert_eq!(refused.status, 403);
    let detail =
        "You signed in more than ten minutes ago: sign in again at /login?fresh=1, then lift the cut.";
    assert_eq!(refused.json()["detail"], detail);
    // Placing needs nothing of the kind, nor does whoever presents it on purpose.
    let more = gate.cut(&login.sent_by_page(), "user:bob", "x");
    assert_eq!(gate.try_lift(&login.bearer(), &id_of(&more)).status, 204);
    let again = gate.sign_in("root");
    assert_eq!(gate.try_lift(&again.sent_by_page(), &id).status, 204);
}

#[test]
fn r9_a_cut_that_cannot_be_written_down_is_kept_to_all_the_same() {
    let home = Home::new();
    home.admin("root");
    let upstream = Upstream::echo();
    let gate = Gate::started(home, &config(&upstream.url()), crate::support::ignoring_full_disks);
    let root = gate.token_with("root", &["--scope", "admin"]).header();
    let bob = gate.token("bob");
    assert_eq!(gate.status("/app/", &bob), 200);
    gate.limit_files(Some(0));
    let answer = gate.try_cut(&root, "user:bob", "lost laptop");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("could not be written down"), "{}", answer.text());
    let refused = Client::get(gate.address(), "/app/", Some(&bob));
    assert_eq!((refused.status, refused.json()["detail"].clone()), (403, told("lost laptop").into()));
    gate.limit_files(None);
    // Done again, it is written down, and can be lifted.
    let placed = gate.cut(&root, "user:bob", "lost laptop");
    assert_eq!(gate.try_lift(&root, &id_of(&placed)).status, 204);
    assert_eq!(gate.status("/app/", &bob), 200);
}
