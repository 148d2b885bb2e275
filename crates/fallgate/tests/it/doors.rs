//! Every door with every kind of credential, against one table; and the order in which a request is refused.

mod ends;
mod tokens;
mod users;
mod ways;

use fallgate_domain::scope::PlainScope;
use fallgate_domain::token::TokenKind;
use fallgate_web::doors::{Access, rows};

use self::ways::{
    Caller, Fate, Presented, basic, bearer, in_cookies, peopled, presented, token_with_scopes, unknown,
    wrong_checksum,
};
use crate::support::{Client, Gate, PASSPHRASE, Response, Upstream};

/// What each door needs, and what it answers to a good request of somebody who may come in. A door that is not in
/// here fails the walk.
const ORACLE: &[(&str, &str, Access, u16)] = &[
    ("GET", "/health", Access::Public, 200),
    ("GET", "/api/version", Access::Public, 200),
    ("GET", "/api/openapi.json", Access::Public, 200),
    ("GET", "/api/whoami", Access::AnyCredential, 200),
    // Wherever it is 400 the body is refused, which is past whatever may refuse the caller, and takes no hash.
    ("POST", "/api/login", Access::Public, 400),
    ("POST", "/api/logout", Access::Login, 204),
    ("POST", "/api/setup", Access::Public, 400),
    ("GET", "/api/tokens", Access::Scope(PlainScope::IdentityRead), 200),
    ("POST", "/api/tokens", Access::Scope(PlainScope::TokensWrite), 201),
    ("DELETE", "/api/tokens", Access::Scope(PlainScope::TokensWrite), 200),
    ("PATCH", "/api/tokens/{id}", Access::Scope(PlainScope::TokensWrite), 200),
    ("DELETE", "/api/tokens/{id}", Access::Scope(PlainScope::TokensWrite), 204),
    // Whoever asks about a secret that is nobody's comes in, and hears that it is.
    ("POST", "/api/tokens/inspect", Access::Scope(PlainScope::IdentityRead), 404),
    ("POST", "/api/tokens/revoke", Access::Public, 204),
    ("POST", "/api/agents/{name}/tokens", Access::Scope(PlainScope::AgentsWrite), 201),
    // Only a worker token comes further: see `by_worker`.
    ("POST", "/api/workers/renew", Access::AnyCredential, 403),
    ("GET", "/api/logins", Access::Login, 200),
    ("DELETE", "/api/logins", Access::Login, 200),
    ("DELETE", "/api/logins/{id}", Access::Login, 204),
    ("GET", "/api/users", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/api/users", Access::Scope(PlainScope::Admin), 201),
    ("GET", "/api/users/{u}", Access::Scope(PlainScope::Admin), 200),
    ("PATCH", "/api/users/{u}", Access::Scope(PlainScope::Admin), 200),
    ("DELETE", "/api/users/{u}", Access::Scope(PlainScope::Admin), 204),
    ("POST", "/api/users/{u}/passphrase", Access::Scope(PlainScope::Admin), 200),
    ("PATCH", "/api/account", Access::Login, 200),
    ("POST", "/api/account/passphrase", Access::Login, 400),
    ("GET", "/api/agents", Access::Scope(PlainScope::AgentsWrite), 200),
    ("POST", "/api/agents", Access::Scope(PlainScope::AgentsWrite), 201),
    ("GET", "/api/agents/{name}", Access::Scope(PlainScope::AgentsWrite), 200),
    ("PATCH", "/api/agents/{name}", Access::Scope(PlainScope::AgentsWrite), 200),
    ("DELETE", "/api/agents/{name}", Access::Scope(PlainScope::AgentsWrite), 204),
    ("GET", "/api/live", Access::Scope(PlainScope::LiveRead), 200),
    // No id in here is an open stream's: whoever comes in hears that.
    ("DELETE", "/api/live/{id}", Access::Scope(PlainScope::Cut), 404),
    ("GET", "/api/cuts", Access::Scope(PlainScope::Cut), 200),
    // Whoever names nothing that there is comes in, and hears that; cutting itself is tried in `cutting`.
    ("POST", "/api/cuts", Access::Scope(PlainScope::Cut), 404),
    ("DELETE", "/api/cuts/{id}", Access::Scope(PlainScope::Cut), 404),
    ("GET", "/api/audit", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/api/pair", Access::Public, 400),
    ("POST", "/api/pairings", Access::Login, 201),
    // No id in here is a pairing's.
    ("GET", "/api/pairings/{id}", Access::Login, 404),
    ("POST", "/api/pairings/{id}", Access::Login, 400),
    ("DELETE", "/api/pairings/{id}", Access::Login, 404),
    ("GET", "/.well-known/jwks.json", Access::Public, 200),
    ("GET", "/.well-known/oauth-authorization-server", Access::Public, 200),
    // What is sent here is no form, which is 400 in OAuth's words.
    ("POST", "/oauth/introspect", Access::Scope(PlainScope::Introspect), 400),
    ("POST", "/oauth/revoke", Access::Public, 400),
    ("POST", "/oauth/device", Access::Public, 400),
    ("POST", "/oauth/token", Access::Public, 400),
    ("GET", "/", Access::Login, 200),
    // Somebody is there already.
    ("GET", "/setup", Access::Public, 404),
    ("POST", "/setup", Access::Public, 415),
    ("GET", "/login", Access::Public, 200),
    // The body is none of a form.
    ("POST", "/login", Access::Public, 415),
    ("POST", "/logout", Access::Login, 303),
    // What is sent here is none of a form either.
    ("GET", "/tokens", Access::Scope(PlainScope::IdentityRead), 200),
    ("POST", "/tokens", Access::Scope(PlainScope::TokensWrite), 415),
    ("GET", "/tokens/new", Access::Scope(PlainScope::TokensWrite), 200),
    ("GET", "/tokens/revoke-all", Access::Scope(PlainScope::TokensWrite), 200),
    ("POST", "/tokens/revoke-all", Access::Scope(PlainScope::TokensWrite), 415),
    ("GET", "/tokens/{id}/rename", Access::Scope(PlainScope::TokensWrite), 200),
    ("POST", "/tokens/{id}/rename", Access::Scope(PlainScope::TokensWrite), 415),
    ("GET", "/tokens/{id}/revoke", Access::Scope(PlainScope::TokensWrite), 200),
    ("POST", "/tokens/{id}/revoke", Access::Scope(PlainScope::TokensWrite), 415),
    ("GET", "/agents", Access::Scope(PlainScope::AgentsWrite), 200),
    ("POST", "/agents", Access::Scope(PlainScope::AgentsWrite), 415),
    ("GET", "/agents/new", Access::Scope(PlainScope::AgentsWrite), 200),
    ("GET", "/agents/{name}/disable", Access::Scope(PlainScope::AgentsWrite), 200),
    ("POST", "/agents/{name}/disable", Access::Scope(PlainScope::AgentsWrite), 415),
    ("POST", "/agents/{name}/enable", Access::Scope(PlainScope::AgentsWrite), 415),
    ("GET", "/agents/{name}/delete", Access::Scope(PlainScope::AgentsWrite), 200),
    ("POST", "/agents/{name}/delete", Access::Scope(PlainScope::AgentsWrite), 415),
    ("GET", "/account", Access::Login, 200),
    ("POST", "/account", Access::Login, 415),
    ("POST", "/account/passphrase", Access::Login, 415),
    ("GET", "/account/devices/sign-out", Access::Login, 200),
    ("POST", "/account/devices/sign-out", Access::Login, 415),
    ("GET", "/account/devices/{id}/sign-out", Access::Login, 200),
    ("POST", "/account/devices/{id}/sign-out", Access::Login, 415),
    ("GET", "/admin/users", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/admin/new-user", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/admin/users/{u}", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users/{u}", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/admin/users/{u}/role", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users/{u}/role", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/admin/users/{u}/disable", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users/{u}/disable", Access::Scope(PlainScope::Admin), 415),
    ("POST", "/admin/users/{u}/enable", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/admin/users/{u}/delete", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users/{u}/delete", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/admin/users/{u}/passphrase", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/users/{u}/passphrase", Access::Scope(PlainScope::Admin), 415),
    ("GET", "/live", Access::Scope(PlainScope::LiveRead), 200),
    ("GET", "/live/events", Access::Scope(PlainScope::LiveRead), 200),
    // No id in here is an open stream's or a cut's: the page before says so.
    ("GET", "/live/streams/{id}/close", Access::Scope(PlainScope::Cut), 303),
    ("POST", "/live/streams/{id}/close", Access::Scope(PlainScope::Cut), 303),
    // What is to be cut is not said.
    ("GET", "/live/cut", Access::Scope(PlainScope::Cut), 400),
    ("POST", "/live/cut", Access::Scope(PlainScope::Cut), 415),
    ("GET", "/live/cuts/{id}/lift", Access::Scope(PlainScope::Cut), 303),
    ("POST", "/live/cuts/{id}/lift", Access::Scope(PlainScope::Cut), 303),
    ("GET", "/admin/live", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/admin/live/events", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/admin/audit", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/admin/audit/events", Access::Scope(PlainScope::Admin), 200),
    ("POST", "/admin/audit/verify", Access::Scope(PlainScope::Admin), 303),
    ("GET", "/admin/routes", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/pair", Access::Public, 200),
    ("POST", "/pair", Access::Public, 415),
    // Nobody here waits to be let in.
    ("GET", "/pair/wait", Access::Public, 404),
    ("POST", "/pair/wait", Access::Public, 404),
    ("GET", "/pair/wait/status", Access::Public, 200),
    ("GET", "/pair/new", Access::Login, 200),
    ("GET", "/pair/new/{id}", Access::Login, 404),
    ("POST", "/pair/new/{id}", Access::Login, 415),
    ("GET", "/device", Access::Login, 200),
    ("POST", "/device", Access::Login, 415),
    ("GET", "/favicon.svg", Access::Public, 200),
    ("GET", "/manifest.webmanifest", Access::Public, 200),
    ("GET", "/static/{file}", Access::Public, 200),
    // Not on the host of a route.
    ("GET", "/.fallgate/enter", Access::Public, 404),
    ("POST", "/.fallgate/logout", Access::Login, 303),
    ("GET", "/.fallgate/static/{file}", Access::Public, 200),
];

/// What a door answers to a worker token where that is something else: it is renewed, and mints nothing.
fn by_worker(method: &str, path: &str) -> Option<u16> {
    match (method, path) {
        ("POST", "/api/workers/renew") => Some(201),
        ("POST", "/api/tokens") => Some(403),
        ("POST", path) if path.starts_with("/api/agents/") => Some(403),
        // Whoever came in before has ended all other tokens, and with them the one that it hangs on.
        ("DELETE", "/api/tokens") => Some(401),
        _ => None,
    }
}

/// Whether only an admin can have what this needs.
fn is_for_admins(access: Access) -> bool {
    matches!(access, Access::Scope(PlainScope::Admin | PlainScope::Introspect))
}

/// The id of nothing.
const NOBODYS: &str = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";

const CHALLENGE: &str = "Bearer realm=\"fallgate\"";

/// All that was answered, but when.
fn whole(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = response.headers.iter().filter(|(name, _)| name != "date");
    (response.status, headers.cloned().collect(), response.body.clone())
}

/// Whoever is not signed in yet posts here, and must come from a page of ours.
const FOR_NEWCOMERS: &[&str] =
    &["/api/login", "/api/setup", "/api/pair", "/login", "/setup", "/pair", "/pair/wait"];

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

/// The address of a door where it is about these.
fn about(path: &str, id: &str, user: &str, agent: &str) -> String {
    path.replace("{id}", id).replace("{u}", user).replace("{name}", agent).replace("{file}", "fallgate.css")
}

/// A good body, or one that is refused only behind whatever may refuse the caller.
fn body_for(method: &str, path: &str, number: usize) -> String {
    match (method, path) {
        ("POST", "/api/tokens/revoke" | "/api/tokens/inspect") => r#"{"token":"x"}"#.to_owned(),
        (
            "POST",
            "/api/login"
            | "/api/setup"
            | "/api/account/passphrase"
            | "/api/pair"
            | "/api/pairings/{id}"
            | "/api/agents/{name}/tokens",
        ) => "{}".to_owned(),
        ("POST", "/api/workers/renew") => String::new(),
        ("POST", "/api/cuts") => format!(r#"{{"target":"credential:{NOBODYS}"}}"#),
        ("POST", "/api/tokens") | ("PATCH", "/api/tokens/{id}") => r#"{"name":"x"}"#.to_owned(),
        ("POST", "/api/agents") => format!(r#"{{"name":"helper-{number}"}}"#),
        ("PATCH", "/api/agents/{name}") => r#"{"disabled":true}"#.to_owned(),
        ("POST", "/api/users") => {
            format!(r#"{{"username":"new-{number}","passphrase":"{PASSPHRASE}"}}"#)
        }
        ("POST", _) => format!(r#"{{"passphrase":"{PASSPHRASE}"}}"#),
        ("PATCH", _) => r#"{"display_name":"Bob"}"#.to_owned(),
        _ => String::new(),
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

#[test]
fn an_unknown_address_and_a_wrong_method_say_nothing_to_strangers() {
    let gate = Gate::start();
    let token = bearer(&gate.token("ada").secret);
    let ask = |line: &str, headers: &str| {
        Client::exchange(gate.address(), format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
    };
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/nothing",
        "/api/tokens/",
        "/health/",
        "/health/x",
        "/.fallgate/x",
        "/login/x",
        "/api/tokens/a/b",
    ] {
        assert_eq!(ask(&format!("GET {path}"), "").status, 401, "{path}");
        assert_eq!(ask(&format!("GET {path}"), &bearer(&unknown(TokenKind::Token))).status, 401, "{path}");
        assert_eq!(ask(&format!("GET {path}"), &token).status, 404, "{path}");
    }
    for (line, allowed) in [
        ("PUT /api/tokens", "GET,HEAD,POST,DELETE"),
        ("POST /api/whoami", "GET,HEAD"),
        ("GET /api/tokens/x", "PATCH,DELETE"),
        ("PUT /api/users/ada", "GET,HEAD,PATCH,DELETE"),
    ] {
        let stranger = ask(line, "");
        assert_eq!((stranger.status, stranger.header("allow")), (401, None), "{line}");
        let known = ask(line, &token);
        assert_eq!(known.status, 405, "{line}");
        assert_eq!(
            known.header("allow").map(|allow| allow.replace(' ', "")).as_deref(),
            Some(allowed),
            "{line}"
        );
        assert_eq!(known.header("content-type"), Some("application/problem+json"));
    }
    for line in ["POST /health", "DELETE /api/version", "OPTIONS /health"] {
        for headers in ["", &bearer(&unknown(TokenKind::Token)), &token] {
            let answer = ask(line, headers);
            assert_eq!(answer.status, 405, "{line}");
            assert_eq!(
                answer.header("allow").map(|allow| allow.replace(' ', "")).as_deref(),
                Some("GET,HEAD"),
                "{line}"
            );
        }
    }
}

/// Each request breaks two neighbouring rules; the status is that of the first.
#[test]
fn r8_refusals_come_in_the_order_that_leaks_nothing() {
    let upstream = Upstream::echo();
    let gate = Gate::before("app", &upstream.url());
    gate.user("ada");
    let right =
        bearer(&gate.token_with("ada", &["--scope", "tokens:write", "--scope", "identity:read"]).secret);
    let reader = bearer(&gate.token_with("ada", &["--scope", "identity:read"]).secret);
    let bad = bearer(&unknown(TokenKind::Token));
    let json = "Content-Type: application/json\r\n";
    let huge = "Content-Length: 65537\r\n";
    let cases = [
        (
            "framing before host",
            format!("GET /x HTTP/1.1\r\nHost: elsewhere.example\r\nX Y: z\r\n{right}\r\n"),
            400,
        ),
        ("host before path", format!("GET /a%2fb HTTP/1.1\r\nHost: elsewhere.example\r\n{right}\r\n"), 421),
        (
            "host before credential",
            format!("GET /app/x HTTP/1.1\r\nHost: elsewhere.example\r\n{bad}\r\n"),
            421,
        ),
        ("path before credential", format!("GET /app/a%2fb HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"), 400),
        (
            "path before credential, own door",
            "GET /api/../api HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
        ),
        (
            "credential before unknown address",
            format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        (
            "unknown address before method",
            format!("BREW /nothing HTTP/1.1\r\nHost: localhost\r\n{right}\r\n"),
            404,
        ),
        (
            "credential before method",
            format!("PUT /api/tokens HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        ("method before scope", format!("PUT /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}\r\n"), 405),
        (
            "credential before scope",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{bad}{json}{huge}\r\n"),
            401,
        ),
        (
            "scope before size",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}{json}{huge}\r\n"),
            403,
        ),
        (
            "scope before media type",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{reader}Content-Length: 1\r\n\r\n{{"),
            403,
        ),
        (
            "size before media type",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}{huge}\r\n"),
            413,
        ),
        (
            "media type before content",
            format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}Content-Length: 1\r\n\r\n{{"),
            415,
        ),
        (
            "content",
            format!(
                "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\n{right}{json}Content-Length: 1\r\n\r\n{{"
            ),
            400,
        ),
        (
            "credential before scope, route",
            format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{bad}\r\n"),
            401,
        ),
        ("scope, route", format!("GET /app/x HTTP/1.1\r\nHost: localhost\r\n{reader}\r\n"), 403),
    ];
    for (name, request, status) in cases {
        let answer = Client::exchange(gate.address(), request);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert_eq!(upstream.bytes(), Vec::<Vec<u8>>::new());
}

#[test]
fn health_answers_under_any_host_and_nothing_else_does() {
    let gate = Gate::start();
    let ask = |path: &str, host: &str| {
        Client::exchange(gate.address(), format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    assert_eq!(ask("/health", "probe.example"), 200);
    for path in ["/health/", "/health/x", "/api/version", "/", "/%68ealth"] {
        assert_eq!(ask(path, "probe.example"), 421, "{path}");
    }
    assert_eq!(ask("/%68ealth", "localhost"), 200);
}

#[test]
fn our_doors_keep_a_connection_in_step_whatever_the_method_and_the_body() {
    let gate = Gate::start();
    gate.user("ada");
    let token =
        bearer(&gate.token_with("ada", &["--scope", "identity:read", "--scope", "tokens:write"]).secret);
    let mut client = Client::connect(gate.address());
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{token}{more}\r\n");
    for (path, status) in
        [("/health", 200), ("/api/whoami", 200), ("/api/tokens", 200), ("/nothing", 404), ("/a%2fb", 400)]
    {
        client.send(head(&format!("GET {path}"), ""));
        let whole = client.response();
        client.send(head(&format!("HEAD {path}"), ""));
        let answer = client.response_to_head();
        assert_eq!((answer.status, whole.status), (status, status), "HEAD {path}");
        let (kind, told) = (answer.header("content-type"), answer.header("content-length"));
        assert_eq!(kind, whole.header("content-type"), "HEAD {path}");
        assert!(told.is_none_or(|told| told == whole.body.len().to_string()), "HEAD {path} tells {told:?}");
    }
    let json = "Content-Type: application/json\r\n";
    client.send(
        head("POST /api/tokens", &format!("{json}Transfer-Encoding: chunked\r\n"))
            + "5\r\n{\"nam\r\n7\r\ne\":\"x\"}\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(client.response().status, 201);
    client.send(
        head("POST /api/tokens", &format!("{json}Content-Length: 12\r\n"))
            + "{\"name\":\"x\"}"
            + &head("GET /health", ""),
    );
    assert_eq!((client.response().status, client.response().status), (201, 200));
    // A body that the door does not read ends the connection, and is nobody's request.
    for framing in ["Content-Length: 30\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = Client::connect(gate.address());
        client.send(head("GET /health", framing) + &head("GET /api/whoami", ""));
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(client.rest(), b"");
    }
    // Bad chunks are a 400 that a door answers.
    let mut client = Client::connect(gate.address());
    client.send(
        head("POST /api/tokens", &format!("{json}Transfer-Encoding: chunked\r\n")) + "0x5\r\n{\"nam\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert_eq!(client.rest(), b"");
}
