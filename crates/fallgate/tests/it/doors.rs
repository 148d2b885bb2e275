//! Every door with every kind of credential, against one table; and the order in which a request is refused.

mod ends;
mod tokens;
mod users;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_domain::scope::PlainScope;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_web::doors::{Access, rows};

use crate::support::llmux::anonymous_token;
use crate::support::{Client, Gate, Home, PASSPHRASE, Response, SignIn, Token, Upstream, wait_for};

/// What each door needs, and what it answers to a good request of somebody who may come in. A door that is not in
/// here fails the walk.
const ORACLE: [(&str, &str, Access, u16); 26] = [
    ("GET", "/health", Access::Public, 200),
    ("GET", "/api/version", Access::Public, 200),
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
    ("GET", "/api/audit", Access::Scope(PlainScope::Admin), 200),
    ("GET", "/.well-known/jwks.json", Access::Public, 200),
];

const CHALLENGE: &str = "Bearer realm=\"fallgate\"";

/// What is to come of presenting something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing was presented: 401.
    Nobody,
    /// What was presented does not stand: 401, the same for all.
    Bad,
    /// The credential does not cover it: 403.
    Beyond,
    /// A good cookie, and a page of another site had the browser send it: 403 where anything would be changed.
    Foreign,
    /// A good cookie, and nothing says for whom: the same, but where one signs in.
    Untold,
    /// The request cannot be read: 400, whatever it is for.
    Unreadable,
    In,
}

/// A way to present something: header lines, what is put behind the path, and what is to come of it.
struct Presented {
    name: &'static str,
    headers: String,
    query: String,
    fate: Fate,
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

fn basic(username: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{username}:{secret}")))
}

/// Well-formed, with a good checksum, and nobody's.
fn unknown(kind: TokenKind) -> String {
    PlainToken::new(kind, &[0x5a; 32]).expose().to_owned()
}

/// The same token with its last character, which belongs to the checksum, changed.
fn wrong_checksum(secret: &str) -> String {
    let last = if secret.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &secret[..secret.len() - 1])
}

/// Mints a token that ends in a second and waits until it has.
fn expired(gate: &Gate, owner: &str) -> Token {
    let token = gate.token_with(owner, &["--expires", "1s"]);
    wait_for("the token's end", || {
        (Client::get(gate.address(), "/api/whoami", Some(&token)).status == 401).then_some(())
    });
    token
}

fn revoked(gate: &Gate, owner: &str) -> Token {
    let token = gate.token(owner);
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    token
}

/// A token with scope `admin` whose owner is no admin any more.
fn demoted(gate: &Gate) -> Token {
    if !gate.usernames().contains(&"eve".to_owned()) {
        gate.user("eve");
    }
    gate.fallgate(&["user", "set-role", "eve", "admin"]).ok();
    let token = gate.token_with("eve", &["--scope", "admin"]);
    gate.fallgate(&["user", "set-role", "eve", "user"]).ok();
    token
}

fn token_with_scopes(home: &Home, owner: &str, scopes: &[PlainScope]) -> Token {
    let arguments: Vec<_> = scopes.iter().flat_map(|scope| ["--scope", scope.name()]).collect();
    home.token_with(owner, &arguments)
}

/// Who is to come in.
struct Caller<'a> {
    gate: &'a Gate,
    owner: &'static str,
    /// A sign-in of theirs.
    login: SignIn,
    /// Whoever comes in uses up what they came in with.
    once: bool,
    /// Credentials of somebody that have ended.
    ended: &'a [(&'static str, String)],
}

impl<'a> Caller<'a> {
    fn of(gate: &'a Gate, access: Access, ended: &'a [(&'static str, String)]) -> Self {
        // Whose scope `admin` is to count must be an admin.
        let owner = if access == Access::Scope(PlainScope::Admin) { "root" } else { "ada" };
        Self { gate, owner, login: gate.sign_in(owner), once: false, ended }
    }

    /// Signs in anew, if the last door ended that.
    fn renewed(&mut self) -> &Self {
        if self.gate.ask("GET /api/whoami", &self.login.bearer(), &serde_json::Value::Null).status == 401 {
            self.login = self.gate.sign_in(self.owner);
        }
        self
    }
}

/// Every way there is to have a cookie, of somebody who is signed in.
fn in_cookies(caller: &Caller<'_>) -> Vec<Presented> {
    let Caller { gate, owner, login, ended, .. } = caller;
    let fresh = || if caller.once { gate.sign_in(owner) } else { login.clone() };
    let secret = &login.secret;
    let mut all = Vec::new();
    let mut case = |name, headers: String, fate| {
        all.push(Presented { name, headers, query: String::new(), fate });
    };
    let own = "Sec-Fetch-Site: same-origin\r\n";
    let cookie = |value: &str| format!("Cookie: {value}\r\n{own}");
    case(
        "a cookie of another name",
        cookie(&format!("Fallgate={secret}; fallgate-x={secret}")),
        Fate::Nobody,
    );
    case("the cookie of https", cookie(&format!("__Host-fallgate={secret}")), Fate::Nobody);
    case("a token in the cookie", cookie(&format!("fallgate={}", gate.token(owner).secret)), Fate::Bad);
    case("an empty cookie", cookie("fallgate="), Fate::Bad);
    case("a cookie without a value", cookie("fallgate"), Fate::Bad);
    case("percent signs in the cookie", cookie("fallgate=%66gl_%00%ff%"), Fate::Bad);
    case("a quoted cookie", cookie(&format!("fallgate=\"{secret}\"")), Fate::Bad);
    case("garbage in the cookie", cookie("fallgate=\u{fc}\u{202e},="), Fate::Bad);
    case("10 KiB in the cookie", cookie(&format!("fallgate={}", "x".repeat(10_240))), Fate::Bad);
    case(
        "a wrong checksum in the cookie",
        cookie(&format!("fallgate={}", wrong_checksum(secret))),
        Fate::Bad,
    );
    case("two cookies", cookie(&format!("fallgate={secret}; fallgate={secret}")), Fate::Bad);
    case(
        "two cookies in two fields",
        login.cookie() + &cookie(&format!("a=b; fallgate={secret}")),
        Fate::Bad,
    );
    case("a good cookie and an empty one", cookie(&format!("fallgate={secret}; fallgate=")), Fate::Bad);
    case("an unknown sign-in", cookie(&format!("fallgate={}", unknown(TokenKind::Login))), Fate::Bad);
    for (name, secret) in *ended {
        case(name, cookie(&format!("fallgate={secret}")), Fate::Bad);
    }
    for (name, says) in [
        ("a cookie from another site", "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n"),
        ("a cookie from another site of the same owner", "Sec-Fetch-Site: same-site\r\n"),
        ("a cookie from nowhere", "Sec-Fetch-Site: none\r\n"),
        ("a cookie from another origin", "Origin: http://evil.example\r\n"),
        ("a cookie from another scheme", "Origin: https://localhost\r\n"),
        ("a cookie from another port", "Origin: http://localhost:1\r\n"),
        ("a cookie from a page that hides", "Origin: null\r\n"),
    ] {
        case(name, login.cookie() + says, Fate::Foreign);
    }
    case("a cookie alone", login.cookie(), Fate::Untold);
    case("a cookie and a foreign referrer", login.cookie() + "Referer: http://localhost/\r\n", Fate::Untold);
    case("a cookie from a page of ours", fresh().sent_by_page(), Fate::In);
    case("a cookie from our origin", fresh().cookie() + "Origin: http://localhost\r\n", Fate::In);
    case("a cookie among others", format!("Cookie: a=b; fallgate={};c\r\n{own}", fresh().secret), Fate::In);
    all
}

/// Every way there is to say on purpose who one is, for something that needs `access`, or a route's scope.
fn presented(caller: &Caller<'_>, access: Access) -> Vec<Presented> {
    let Caller { gate, owner, login, ended, .. } = caller;
    let for_admins = access == Access::Scope(PlainScope::Admin);
    let every = PlainScope::ALL
        .into_iter()
        .filter(|scope| for_admins || !matches!(scope, PlainScope::Admin | PlainScope::Introspect));
    let (right, wrong): (Vec<_>, Vec<_>) = match access {
        Access::Scope(needed) => every.partition(|scope| *scope == needed),
        Access::Public | Access::AnyCredential => (vec![PlainScope::LiveRead], Vec::new()),
        // No scope makes a sign-in of a token.
        Access::Login => (Vec::new(), every.collect()),
    };
    let right = if access == Access::Login {
        login.secret.clone()
    } else {
        token_with_scopes(gate, owner, &right).secret
    };
    let other = gate.token("bob").secret;
    let unknown = unknown(TokenKind::Token);
    let mut all = Vec::new();
    let mut case = |name, headers: String, fate| {
        all.push(Presented { name, headers, query: String::new(), fate });
    };
    case("nothing", String::new(), Fate::Nobody);
    case("Fallgate-Token alone", format!("Fallgate-Token: {right}\r\n"), Fate::Nobody);
    case("Proxy-Authorization alone", format!("Proxy-{}", bearer(&right)), Fate::Nobody);
    case("an empty Authorization", "Authorization: \r\n".to_owned(), Fate::Bad);
    case("a scheme alone", "Authorization: Bearer\r\n".to_owned(), Fate::Bad);
    case("another scheme", format!("Authorization: Token {right}\r\n"), Fate::Bad);
    case("no scheme", format!("Authorization: {right}\r\n"), Fate::Bad);
    case("garbage", "Authorization: Bearer garbage\r\n".to_owned(), Fate::Bad);
    case("garbage that is no ASCII", "Authorization: Bearer \u{fc}\u{202e}\r\n".to_owned(), Fate::Bad);
    case("10 KiB of garbage", bearer(&"x".repeat(10_240)), Fate::Bad);
    case("two tokens in one field", format!("Authorization: Bearer {right}, Bearer {right}\r\n"), Fate::Bad);
    case("a token with a tail", bearer(&format!("{right}x")), Fate::Bad);
    case("a sign-in's form", bearer(&other.replacen("fgt_", "fgl_", 1)), Fate::Bad);
    case("a token's form", bearer(&login.secret.replacen("fgl_", "fgt_", 1)), Fate::Bad);
    case("a wrong checksum", bearer(&wrong_checksum(&right)), Fate::Bad);
    case("an unknown token", bearer(&unknown), Fate::Bad);
    case("Basic that is no base64", "Authorization: Basic %%%\r\n".to_owned(), Fate::Bad);
    case("Basic without a colon", format!("Authorization: Basic {}\r\n", STANDARD.encode(&right)), Fate::Bad);
    case("Basic with an unknown token", basic("ada", &unknown), Fate::Bad);
    case("Basic with another's username", basic("bob", &right), Fate::Bad);
    case("Basic with nobody's username", basic("ADA", &right), Fate::Bad);
    case("Basic with another's token", basic("ada", &other), Fate::Bad);
    case("a bad bearer and a good cookie", bearer(&unknown) + &login.sent_by_page(), Fate::Bad);
    case("a good cookie and an empty Authorization", login.sent_by_page() + "Authorization: \r\n", Fate::Bad);
    case("two Authorization fields", bearer(&right).repeat(2), Fate::Unreadable);
    case("a good one and a bad one", bearer(&right) + &basic("ada", &unknown), Fate::Unreadable);
    for (name, secret) in *ended {
        case(name, bearer(secret), Fate::Bad);
        case(name, basic("ada", secret), Fate::Bad);
    }
    if for_admins {
        let demoted = bearer(&demoted(gate).secret);
        case("the scope admin of an admin who was demoted", demoted, Fate::Beyond);
    }
    if !wrong.is_empty() {
        let wrong = token_with_scopes(gate, owner, &wrong).secret;
        case("every scope but the right one", bearer(&wrong), Fate::Beyond);
        case("the same by Basic", basic(owner, &wrong), Fate::Beyond);
    }
    // Neither may manage anything, nor use a route that does not name it.
    let ownerless = if matches!(access, Access::Scope(_) | Access::Login) { Fate::Beyond } else { Fate::In };
    case("the internal token", bearer(&gate.internal_token()), ownerless);
    case("the internal token by Basic", basic("hook", &gate.internal_token()), ownerless);
    case("an anonymous token of llmux", bearer(&anonymous_token('L')), ownerless);
    case("the same by Basic", basic("", &anonymous_token('L')), ownerless);
    let right = || if caller.once { gate.sign_in(owner).secret } else { right.clone() };
    case("the right scope", bearer(&right()), Fate::In);
    case(
        "the right scope, the scheme in capitals",
        format!("AUTHORIZATION: BEARER {}\r\n", right()),
        Fate::In,
    );
    case("the right scope by Basic", basic(owner, &right()), Fate::In);
    case("the right scope by Basic, no username", basic("", &right()), Fate::In);
    case("the right scope and a bad cookie", bearer(&right()) + "Cookie: fallgate=x\r\n", Fate::In);
    if access != Access::Login {
        case("a sign-in by its secret", bearer(&login.secret), Fate::In);
        case("the same by Basic", basic(owner, &login.secret), Fate::In);
    }
    all.push(Presented {
        name: "a token in the address",
        headers: String::new(),
        query: format!("?token={0}&access_token={0}", right()),
        fate: Fate::Nobody,
    });
    all
}

/// Users, and credentials that have ended, as every walk presents them.
fn peopled(gate: &Gate) -> Vec<(&'static str, String)> {
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    gate.legacy_token();
    let signed_out = gate.sign_in("ada");
    assert_eq!(gate.ask("POST /api/logout", &signed_out.bearer(), &serde_json::Value::Null).status, 204);
    vec![
        ("revoked", revoked(gate, "ada").secret),
        ("expired", expired(gate, "ada").secret),
        ("signed out", signed_out.secret),
    ]
}

fn whole(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    (response.status, response.headers.clone(), response.body.clone())
}

#[test]
fn r8_r28_r38_every_door_lets_in_whom_the_table_says_and_nobody_else() {
    let gate = Gate::start();
    let ended = peopled(&gate);
    let table: Vec<_> = rows().iter().map(|row| (row.method.to_string(), row.path, row.access)).collect();
    let oracle: Vec<_> =
        ORACLE.iter().map(|(method, path, access, _)| ((*method).to_owned(), *path, *access)).collect();
    assert_eq!(table, oracle, "the doors and the table of this test differ");

    let mut user = Caller::of(&gate, Access::AnyCredential, &ended);
    let mut admin = Caller::of(&gate, Access::Scope(PlainScope::Admin), &ended);
    let mut refusals = Vec::new();
    for (method, path, access, good) in ORACLE {
        let victim =
            if path.starts_with("/api/logins") { gate.sign_in("ada").id } else { gate.token("ada").id };
        let caller = if access == Access::Scope(PlainScope::Admin) { &mut admin } else { &mut user };
        caller.once = path == "/api/logout";
        let caller = caller.renewed();
        let mut by_cookie = in_cookies(caller);
        // Whoever comes from where matters also where anybody may come in; the rest does not.
        by_cookie.retain(|case| access != Access::Public || case.fate != Fate::Bad);
        let cases = presented(caller, access).into_iter().chain(by_cookie);
        let is_safe = method == "GET";
        for (number, case) in cases.enumerate() {
            let Presented { name, headers, query, fate } = case;
            // Who comes in makes or deletes a user: another one each time.
            let user = if (method, path, fate) == ("DELETE", "/api/users/{u}", Fate::In) {
                let user = format!("gone-{number}");
                gate.user(&user);
                user
            } else {
                "bob".to_owned()
            };
            let body = match (method, path) {
                ("POST", "/api/tokens/revoke" | "/api/tokens/inspect") => r#"{"token":"x"}"#.to_owned(),
                ("POST", "/api/login" | "/api/setup" | "/api/account/passphrase") => "{}".to_owned(),
                ("POST", "/api/tokens") | ("PATCH", "/api/tokens/{id}") => r#"{"name":"x"}"#.to_owned(),
                ("POST", "/api/users") => {
                    format!(r#"{{"username":"new-{number}","passphrase":"{PASSPHRASE}"}}"#)
                }
                ("POST", _) => format!(r#"{{"passphrase":"{PASSPHRASE}"}}"#),
                ("PATCH", _) => r#"{"display_name":"Bob"}"#.to_owned(),
                _ => String::new(),
            };
            let path = path.replace("{id}", &victim).replace("{u}", &user);
            let length = body.len();
            let request = format!(
                "{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let answer = Client::exchange(gate.address(), request);
            let wanted = match (access, fate) {
                (_, Fate::Unreadable) => 400,
                (Access::Public, Fate::Foreign) if ["/api/login", "/api/setup"].contains(&path.as_str()) => {
                    403
                }
                (Access::Public, _) | (_, Fate::In) => good,
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
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json"),
                    "{method} {path} with {name}"
                );
                assert_eq!(answer.json()["status"], wanted);
            }
            assert_eq!(answer.header("www-authenticate"), (wanted == 401).then_some(CHALLENGE));
            if wanted == 401 && fate == Fate::Bad {
                refusals.push((format!("{method} {path} with {name}"), body.is_empty(), whole(&answer)));
            }
        }
    }
    // R38: nothing in the answer tells a revoked token from one that never was. (Where a body was sent and not read
    // the connection is closed, which the answer says.)
    for bodiless in [true, false] {
        let mut alike = refusals.iter().filter(|(_, empty, _)| *empty == bodiless);
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
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n\
         [[route]]\nname = \"site\"\nhost = \"site.example\"\nupstream = {url:?}\n"
    ));
    let ended = peopled(&gate);
    let mut refusals = Vec::new();
    let scope = Access::Scope(PlainScope::RoutesUse);
    let caller = Caller::of(&gate, scope, &ended);
    let mut let_in = 0;
    for (host, path) in [("localhost", "/app/x"), ("site.example", "/x")] {
        // What a browser, `fetch` and a WebSocket client say of themselves makes no difference yet.
        for client in [
            "",
            "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ] {
            // No cookie opens a route yet, and none spoils anything.
            let mut cases = in_cookies(&caller);
            for case in &mut cases {
                case.fate = Fate::Nobody;
            }
            cases.extend(presented(&caller, scope));
            for Presented { name, headers, query, fate } in cases {
                let request = format!("GET {path}{query} HTTP/1.1\r\nHost: {host}\r\n{client}{headers}\r\n");
                let answer = Client::exchange(gate.address(), request);
                let wanted = match fate {
                    Fate::Unreadable => 400,
                    Fate::Nobody | Fate::Bad => 401,
                    Fate::Beyond | Fate::Foreign | Fate::Untold => 403,
                    Fate::In => 200,
                };
                assert_eq!(answer.status, wanted, "{host}{path} with {name}: {}", answer.text());
                assert_eq!(answer.header("www-authenticate"), (wanted == 401).then_some(CHALLENGE), "{name}");
                let_in += usize::from(fate == Fate::In);
                if fate == Fate::Bad {
                    refusals.push((name, client.contains("Upgrade"), whole(&answer)));
                }
            }
        }
    }
    for closes in [true, false] {
        let mut alike = refusals.iter().filter(|(_, closed, _)| *closed == closes);
        let first = alike.next().unwrap();
        alike.for_each(|other| assert_eq!(other.2, first.2, "{} and {} are told apart", first.0, other.0));
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
        "/",
        "/nothing",
        "/api",
        "/api/",
        "/api/nothing",
        "/api/tokens/",
        "/health/",
        "/health/x",
        "/.fallgate/x",
        "/login",
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
