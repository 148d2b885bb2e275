//! A cut on everything: who is spared, and for what.

use super::*;
use crate::support::{PASSPHRASE, SignIn};

#[test]
fn r49_everything_spares_an_admins_sign_in_for_the_cuts_and_nothing_and_nobody_else() {
    let upstream = Upstream::echo();
    let gate = gate_before(&upstream.url());
    let admins_token = gate.token_with("root", &["--scope", "admin"]);
    let bob = gate.token_with("bob", &["--scope", "cut", "--scope", "routes:use"]);
    let (before, bobs) = (gate.sign_in("root"), gate.sign_in("bob"));
    let placed = gate.cut(&before.bearer(), "everything", "all hands");
    let id = id_of(&placed);
    let refused = |line: &str, headers: &str| {
        let answer = gate.ask(line, headers, &Value::Null);
        assert_eq!(answer.status, 403, "{line}: {}", answer.text());
        assert_eq!(answer.json()["detail"], told("all hands"), "{line}");
    };
    for headers in [admins_token.header(), bob.header(), bobs.cookie()] {
        for line in ["GET /app/", "GET /other/open", "GET /api/whoami", "GET /api/cuts", "GET /api/users"] {
            if !(line == "GET /app/" && headers.starts_with("Cookie")) {
                refused(line, &headers);
            }
        }
    }
    let internal = format!("Authorization: Bearer {}\r\n", gate.internal_token());
    refused("GET /api/whoami", &internal);
    refused("GET /app/open", "");
    for line in ["GET /app/", "GET /api/whoami", "GET /api/tokens", "GET /api/users", "GET /api/audit"] {
        refused(line, &before.bearer());
    }
    refused(&format!("DELETE /api/cuts/{id}"), &admins_token.header());
    refused(&format!("DELETE /api/cuts/{id}"), &bobs.bearer());
    // What is the gate's own and nobody's stays.
    for target in ["/health", "/api/version", "/api/openapi.json", "/.well-known/jwks.json"] {
        assert_eq!(Client::get(gate.address(), target, None).status, 200, "{target}");
    }
    // An admin can come to lift it, others cannot come in.
    let bobs_try = gate.try_sign_in("bob", PASSPHRASE);
    assert_eq!((bobs_try.status, bobs_try.header("set-cookie")), (403, None));
    let since = gate.sign_in("root");
    for login in [&before, &since] {
        let listed = gate.ask("GET /api/cuts", &login.cookie(), &Value::Null).json();
        assert_eq!(
            (&listed["cuts"][0]["id"], &listed["cuts"][0]["target"]),
            (&json!(id), &json!("everything"))
        );
    }
    // Streams are theirs to see and to close; there is none of that name.
    assert_eq!(gate.ask("GET /api/live", &since.bearer(), &Value::Null).status, 200);
    let none = "DELETE /api/live/0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    assert_eq!(gate.ask(none, &since.bearer(), &Value::Null).status, 404);
    // Whoever is signed in can sign in anew, and sign out, cut or not.
    let location = |line: &str, login: &SignIn| {
        let answer = gate.ask(line, &login.sent_by_page(), &Value::Null);
        (answer.status, answer.header("location").map(str::to_owned))
    };
    assert_eq!(location("GET /login", &since), (303, Some("/".to_owned())));
    assert_eq!(location("GET /login?fresh=1", &since), (200, None));
    for login in [&before, &bobs] {
        assert_eq!(location("POST /logout", login), (303, Some("/login".to_owned())));
        assert_eq!(gate.ask("GET /api/whoami", &login.bearer(), &Value::Null).status, 401);
    }
    let more = gate.cut(&since.sent_by_page(), "user:bob", "him too");
    assert_eq!(gate.try_lift(&since.sent_by_page(), &id).status, 204);
    assert_eq!((gate.status("/app/", &admins_token), gate.status("/app/", &bob)), (200, 403));
    assert_eq!(Client::get(gate.address(), "/app/open", None).status, 200);
    assert_eq!(gate.try_lift(&since.bearer(), &id_of(&more)).status, 204);
    assert_eq!(gate.status("/app/", &bob), 200);
}

#[test]
fn a_demoted_admins_sign_in_is_spared_no_more() {
    let gate = gate_before("http://127.0.0.1:9");
    gate.admin("ada");
    let ada = gate.sign_in("ada");
    let cut = gate.fallgate(&["cut", "everything", "--json"]).ok().json();
    let status = || gate.ask("GET /api/cuts", &ada.bearer(), &Value::Null).status;
    assert_eq!(status(), 200);
    gate.fallgate(&["user", "set-role", "ada", "user"]).ok();
    assert_eq!(status(), 403);
    // And with a cut of their own no admin is.
    gate.fallgate(&["user", "set-role", "ada", "admin"]).ok();
    gate.fallgate(&["cut", "user:ada"]).ok();
    assert_eq!(status(), 403);
    gate.fallgate(&["lift", &id_of(&cut)]).ok();
    assert_eq!(status(), 403);
}
