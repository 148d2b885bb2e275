//! What each door needs and answers, by which the walks go.

use fallgate_domain::scope::PlainScope;
use fallgate_web::doors::Access;

use crate::support::PASSPHRASE;

/// What each door needs, and what it answers to a good request of somebody who may come in. A door that is not in
/// here fails the walk.
pub(super) const ORACLE: &[(&str, &str, Access, u16)] = &[
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
pub(super) fn by_worker(method: &str, path: &str) -> Option<u16> {
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
pub(super) fn is_for_admins(access: Access) -> bool {
    matches!(access, Access::Scope(PlainScope::Admin | PlainScope::Introspect))
}

/// The id of nothing.
pub(super) const NOBODYS: &str = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";

/// Whoever is not signed in yet posts here, and must come from a page of ours.
pub(super) const FOR_NEWCOMERS: &[&str] =
    &["/api/login", "/api/setup", "/api/pair", "/login", "/setup", "/pair", "/pair/wait"];

/// The address of a door where it is about these.
pub(super) fn about(path: &str, id: &str, user: &str, agent: &str) -> String {
    path.replace("{id}", id).replace("{u}", user).replace("{name}", agent).replace("{file}", "fallgate.css")
}

/// A good body, or one that is refused only behind whatever may refuse the caller.
pub(super) fn body_for(method: &str, path: &str, number: usize) -> String {
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
