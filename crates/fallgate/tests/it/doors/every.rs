//! Every door, and every route, with every kind of credential.

use fallgate_domain::scope::PlainScope;
use fallgate_web::doors::{Access, rows};

use super::table::{FOR_NEWCOMERS, ORACLE, about, body_for, by_worker, is_for_admins};
use super::ways::{Caller, Fate, Presented, basic, bearer, in_cookies, peopled, presented};
use super::{CHALLENGE, whole};
use crate::support::{Client, Gate, Response, Upstream};

/// Whether a refusal is told as whoever asked expects it.
#[track_caller]
fn says_why(answer: &Response, is_oauth: bool, asked: &str) {
    let kind = if is_oauth { "application/json" } else { "application/problem+json" };
    assert_eq!(answer.header("content-type"), Some(kind), "{asked}");
    if is_oauth {
        assert!(answer.json()["error"].is_string(), "{asked}");
    } else {
        assert_eq!(answer.json()["status"], answer.status, "{asked}");
    }
}

#[test]
fn r8_r28_r38_r41_every_door_lets_in_whom_the_table_says_and_nobody_else() {
    let gate = Gate::configured("[workers]\nclock_skew = \"0s\"\n");
    let ended = peopled(&gate);
    gate.fallgate(&["agent", "create", "adas-helper", "--owner", "ada"]).ok();
    let table: Vec<_> = rows().iter().map(|row| (row.method.to_string(), row.path, row.access)).collect();
    let oracle: Vec<_> =
        ORACLE.iter().map(|(method, path, access, _)| ((*method).to_owned(), *path, *access)).collect();
    assert_eq!(table, oracle, "the doors and the table of this test differ");

    let mut user = Caller::of(&gate, Access::AnyCredential, &ended);
    let mut admin = Caller::of(&gate, Access::Scope(PlainScope::Admin), &ended);
    let mut refusals = Vec::new();
    for &(method, path, access, good) in ORACLE {
        let victim = if path.starts_with("/api/logins") || path.starts_with("/account/devices") {
            gate.sign_in("ada").id
        } else {
            gate.token("ada").id
        };
        let caller = if is_for_admins(access) { &mut admin } else { &mut user };
        caller.once = path.ends_with("/logout");
        let caller = caller.renewed();
        let mut by_cookie = in_cookies(caller);
        // Whoever comes from where matters also where anybody may come in; the rest does not.
        by_cookie.retain(|case| access != Access::Public || case.fate != Fate::Bad);
        let cases = presented(caller, access).into_iter().chain(by_cookie);
        let is_safe = method == "GET";
        for (number, case) in cases.enumerate() {
            let Presented { name, headers, query, fate } = case;
            let by_cookie = headers.contains("Cookie: ") && !headers.contains("Authorization: ");
            // Who comes in makes or deletes a user: another one each time.
            let user = if (method, path, fate) == ("DELETE", "/api/users/{u}", Fate::In) {
                let user = format!("gone-{number}");
                gate.user(&user);
                user
            } else {
                "bob".to_owned()
            };
            let agent = if (method, path, fate) == ("DELETE", "/api/agents/{name}", Fate::In) {
                let agent = format!("gone-{number}");
                gate.fallgate(&["agent", "create", &agent, "--owner", "ada"]).ok();
                agent
            } else {
                "adas-helper".to_owned()
            };
            let body = body_for(method, path, number);
            let path = about(path, &victim, &user, &agent);
            let length = body.len();
            let request = format!(
                "{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let mut client = Client::connect(gate.address());
            client.send(request);
            let answer = client.response_or_stream();
            let wanted = match (access, fate) {
                (_, Fate::Unreadable) => 400,
                // Whoever is signed in already is not asked again.
                (Access::Public, Fate::In | Fate::Foreign | Fate::Untold)
                    if (method, path.as_str()) == ("GET", "/login") && by_cookie =>
                {
                    303
                }
                (_, Fate::In) if name.starts_with("a worker token") => {
                    by_worker(method, &path).unwrap_or(good)
                }
                (Access::Public, Fate::Foreign) if FOR_NEWCOMERS.contains(&path.as_str()) && !is_safe => 403,
                (Access::Public, _) | (_, Fate::In) => good,
                // It makes a code, which a page that the browser says is another site's is not to have done.
                (_, Fate::Foreign)
                    if (method, path.as_str()) == ("GET", "/pair/new") && headers.contains("-site\r\n") =>
                {
                    303
                }
                (_, Fate::Foreign | Fate::Untold) => {
                    if is_safe {
                        good
                    } else {
                        403
                    }
                }
                (_, Fate::Nobody | Fate::Bad) => 401,
                (_, Fate::Beyond) => 403,
            };
            assert_eq!(answer.status, wanted, "{method} {path} with {name}: {}", answer.text());
            if wanted >= 400 {
                // But what cannot be read as a request no door has seen.
                let is_oauth = path.starts_with("/oauth/") && fate != Fate::Unreadable;
                says_why(&answer, is_oauth, &format!("{method} {path} with {name}"));
            }
            assert_eq!(answer.header("www-authenticate"), (wanted == 401).then_some(CHALLENGE));
            if wanted == 401 && fate == Fate::Bad {
                let said = (body.is_empty(), path.starts_with("/oauth/"));
                refusals.push((format!("{method} {path} with {name}"), said, whole(&answer)));
            }
        }
    }
    // R38: nothing in the answer tells a revoked token from one that never was. (Where a body was sent and not read
    // the connection is closed, which the answer says; and OAuth's doors have its words.)
    for alike in [(true, false), (false, false), (false, true)] {
        let mut alike = refusals.iter().filter(|(_, said, _)| *said == alike);
        let first = alike.next().unwrap();
        for other in alike {
            assert_eq!(other.2, first.2, "{} and {} are told apart", first.0, other.0);
        }
    }
}

#[test]
fn r8_r24_r28_routes_by_path_and_by_host_let_in_whoever_has_the_scope_and_nobody_else() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let gate = Gate::configured(&format!(
        "[workers]\nclock_skew = \"0s\"\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n\
         [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {url:?}\n"
    ));
    let ended = peopled(&gate);
    let mut refusals = Vec::new();
    let scope = Access::Scope(PlainScope::RoutesUse);
    let caller = Caller::of(&gate, scope, &ended);
    let mut let_in = 0;
    for (host, path) in [("localhost", "/app/x"), ("site.example", "/x")] {
        // Of what a browser, `fetch` and a WebSocket client say of themselves, only what a refusal looks like depends.
        for client in [
            "",
            "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ] {
            // No cookie opens a route by path, and none spoils anything there. (WebSockets are asked for by pages of
            // the route's host, which none of these is.)
            let (by_host, navigates, upgrades) =
                (host == "site.example", client.contains("navigate"), client.contains("Upgrade"));
            let by_cookie = in_cookies(&caller).into_iter().map(|mut case| {
                let shows_itself = matches!(case.fate, Fate::In | Fate::Foreign | Fate::Untold);
                case.fate = match (by_host, shows_itself) {
                    (false, _) => Fate::Nobody,
                    (true, true) if upgrades => Fate::Foreign,
                    (true, true) => Fate::In,
                    (true, false) => case.fate,
                };
                (case, true)
            });
            let on_purpose = presented(&caller, scope).into_iter().map(|case| (case, false));
            for (Presented { name, headers, query, fate }, is_cookie) in by_cookie.chain(on_purpose) {
                let request = format!("GET {path}{query} HTTP/1.1\r\nHost: {host}\r\n{client}{headers}\r\n");
                let answer = Client::exchange(gate.address(), request);
                let wanted = match fate {
                    Fate::Unreadable => 400,
                    Fate::Nobody if by_host && navigates => 303,
                    Fate::Bad if by_host && navigates && is_cookie => 303,
                    Fate::Nobody | Fate::Bad => 401,
                    Fate::Beyond | Fate::Foreign | Fate::Untold => 403,
                    Fate::In => 200,
                };
                assert_eq!(answer.status, wanted, "{host}{path} with {name}: {}", answer.text());
                assert_eq!(answer.header("www-authenticate"), (wanted == 401).then_some(CHALLENGE), "{name}");
                let_in += usize::from(fate == Fate::In);
                if fate == Fate::Bad && wanted == 401 {
                    refusals.push((name, client, whole(&answer)));
                }
            }
        }
    }
    // R38, among clients of a kind: some are shown a page, some are closed on.
    for (name, client, told) in &refusals {
        let (first, _, as_first) = refusals.iter().find(|(_, other, _)| other == client).unwrap();
        assert_eq!(told, as_first, "{first} and {name} are told apart");
    }
    assert_eq!(upstream.requests().len(), let_in, "the upstream saw more than was let in");
}

#[test]
fn r29_the_carrier_changes_neither_who_it_is_nor_what_it_may_do() {
    let gate = Gate::start();
    gate.user("ada");
    gate.user("ada-two");
    let token = gate.token_with("ada", &["--scope", "identity:read"]);
    let ask = |headers: String| {
        let request = format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        Client::exchange(gate.address(), request)
    };
    let by_bearer = ask(bearer(&token.secret));
    assert_eq!(by_bearer.json()["credential"]["id"], token.id);
    assert_eq!(by_bearer.json()["credential"]["scopes"], serde_json::json!(["identity:read"]));
    for headers in [basic("ada", &token.secret), basic("", &token.secret)] {
        assert_eq!(whole(&ask(headers)), whole(&by_bearer));
    }
    assert_eq!(ask(basic("ada-two", &token.secret)).status, 401);
}
