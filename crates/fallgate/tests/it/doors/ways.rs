//! Every way to say who one is, good and bad.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_domain::scope::PlainScope;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_web::doors::Access;

use super::table::is_for_admins;
use crate::support::llmux::anonymous_token;
use crate::support::{Client, Gate, Home, SignIn, Token, Worker, wait_for};

/// What is to come of presenting something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
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
pub(super) struct Presented {
    pub(super) name: &'static str,
    pub(super) headers: String,
    pub(super) query: String,
    pub(super) fate: Fate,
}

pub(super) fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

pub(super) fn basic(username: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{username}:{secret}")))
}

/// Well-formed, with a good checksum, and nobody's.
pub(super) fn unknown(kind: TokenKind) -> String {
    PlainToken::new(kind, &[0x5a; 32]).expose().to_owned()
}

/// The same token with its last character, which belongs to the checksum, changed.
pub(super) fn wrong_checksum(secret: &str) -> String {
    let last = if secret.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &secret[..secret.len() - 1])
}

/// Mints a token that ends in a second and waits until it has.
pub(super) fn expired(gate: &Gate, owner: &str) -> Token {
    let token = gate.token_with(owner, &["--expires", "1s"]);
    wait_for("the token's end", || {
        (Client::get(gate.address(), "/api/whoami", Some(&token)).status == 401).then_some(())
    });
    token
}

pub(super) fn revoked(gate: &Gate, owner: &str) -> Token {
    let token = gate.token(owner);
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    token
}

/// A token with scope `admin` whose owner is no admin any more.
pub(super) fn demoted(gate: &Gate) -> Token {
    if !gate.usernames().contains(&"eve".to_owned()) {
        gate.user("eve");
    }
    gate.fallgate(&["user", "set-role", "eve", "admin"]).ok();
    let token = gate.token_with("eve", &["--scope", "admin"]);
    gate.fallgate(&["user", "set-role", "eve", "user"]).ok();
    token
}

pub(super) fn token_with_scopes(home: &Home, owner: &str, scopes: &[PlainScope]) -> Token {
    let arguments: Vec<_> = scopes.iter().flat_map(|scope| ["--scope", scope.name()]).collect();
    home.token_with(owner, &arguments)
}

/// Who is to come in.
pub(super) struct Caller<'a> {
    pub(super) gate: &'a Gate,
    pub(super) owner: &'static str,
    /// A sign-in of theirs.
    pub(super) login: SignIn,
    /// Whoever comes in uses up what they came in with.
    pub(super) once: bool,
    /// Credentials of somebody that have ended.
    pub(super) ended: &'a [(&'static str, String)],
}

impl<'a> Caller<'a> {
    pub(super) fn of(gate: &'a Gate, access: Access, ended: &'a [(&'static str, String)]) -> Self {
        // Whose scope `admin` is to count must be an admin.
        let owner = if is_for_admins(access) { "root" } else { "ada" };
        Self { gate, owner, login: gate.sign_in(owner), once: false, ended }
    }

    /// Signs in anew, if the last door ended that.
    pub(super) fn renewed(&mut self) -> &Self {
        if self.gate.ask("GET /api/whoami", &self.login.bearer(), &serde_json::Value::Null).status == 401 {
            self.login = self.gate.sign_in(self.owner);
        }
        self
    }
}

/// Every way there is to have a cookie, of somebody who is signed in.
pub(super) fn in_cookies(caller: &Caller<'_>) -> Vec<Presented> {
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
pub(super) fn presented(caller: &Caller<'_>, access: Access) -> Vec<Presented> {
    let Caller { gate, owner, login, ended, .. } = caller;
    let for_admins = is_for_admins(access);
    let every = PlainScope::ALL
        .into_iter()
        .filter(|scope| for_admins || !matches!(scope, PlainScope::Admin | PlainScope::Introspect));
    let (right, wrong): (Vec<_>, Vec<_>) = match access {
        // The scope admin is every scope's.
        Access::Scope(needed) => every
            .filter(|scope| *scope == needed || *scope != PlainScope::Admin)
            .partition(|scope| *scope == needed),
        Access::Public | Access::AnyCredential => (vec![PlainScope::LiveRead], Vec::new()),
        // No scope makes a sign-in of a token.
        Access::Login => (Vec::new(), every.collect()),
    };
    let right_scopes = right;
    let right = if access == Access::Login {
        login.secret.clone()
    } else {
        token_with_scopes(gate, owner, &right_scopes).secret
    };
    let scopes: Vec<_> = right_scopes.iter().map(|scope| scope.name()).collect();
    let worker = gate.worker(owner, &scopes, &["fallgate", "route:app", "route:site"]).token.secret;
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
    // Where anybody may come in, a few are enough: one such door counts tries.
    for (name, secret) in
        ended.iter().filter(|(name, _)| access != Access::Public || !name.contains("worker"))
    {
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
    // Neither may manage anything, nor use a route that does not name it; the machine's own programs may see what they
    // have opened.
    let ownerless = if matches!(access, Access::Scope(_) | Access::Login) { Fate::Beyond } else { Fate::In };
    let internal = if access == Access::Scope(PlainScope::LiveRead) { Fate::In } else { ownerless };
    case("the internal token", bearer(&gate.internal_token()), internal);
    case("the internal token by Basic", basic("hook", &gate.internal_token()), internal);
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
    // The last to come in: it may end its own parent, and itself with it.
    if !matches!(access, Access::Login | Access::Public) {
        case("a worker token and a bad cookie", bearer(&worker) + "Cookie: fallgate=x\r\n", Fate::In);
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
pub(super) fn peopled(gate: &Gate) -> Vec<(&'static str, String)> {
    gate.admin("root");
    gate.user("ada");
    gate.user("bob");
    gate.legacy_token();
    let signed_out = gate.sign_in("ada");
    assert_eq!(gate.ask("POST /api/logout", &signed_out.bearer(), &serde_json::Value::Null).status, 204);
    let mut ended = ended_workers(gate);
    ended.extend([
        ("revoked", revoked(gate, "ada").secret),
        ("expired", expired(gate, "ada").secret),
        ("signed out", signed_out.secret),
    ]);
    ended
}

/// Worker tokens, each without one thing that it needs.
fn ended_workers(gate: &Gate) -> Vec<(&'static str, String)> {
    let all = ["fallgate", "route:app", "route:site"];
    let worker = |audience: &[&str]| gate.worker("ada", &["identity:read", "routes:use"], audience);
    let revoked = worker(&all).token;
    gate.revoke_worker(&revoked);
    let family = worker(&all).token;
    gate.revoke_worker(&Worker::token_of(&gate.renew_worker(&family)));
    let orphan = worker(&all);
    gate.revoke_worker(&orphan.minter);
    let fellow = worker(&all);
    let short = serde_json::json!({ "ttl": "1s", "audience": all });
    let short = Worker::token_of(&gate.mint_worker(&fellow.minter, "ada", &short));
    wait_for("the worker token's end", || {
        (Client::get(gate.address(), "/api/whoami", Some(&short)).status == 401).then_some(())
    });
    let last = fellow.token.secret.rsplit_once('.').unwrap().0.to_owned();
    vec![
        ("a revoked worker token", revoked.secret),
        ("a worker token whose renewal was revoked", family.secret),
        ("an orphaned worker token", orphan.token.secret),
        ("an expired worker token", short.secret),
        ("a worker token for nowhere here", worker(&["egress", "route:none"]).token.secret),
        ("a worker token without its signature", last),
    ]
}
