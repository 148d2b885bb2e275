//! The table of doors: each mounts a handler *and* becomes a row that tests walk.
//!
//! Who may come in is not written here: it is read off the handler's type (requirement R28). A handler's first
//! argument is a [`Permit`] of an action, a [`Principal`], a [`SignedIn`], [`AnySignIn`] or [`SigningOut`], a [`Newcomer`], a [`Passerby`], or [`Public`]; one that takes
//! none of them does not compile as a door. How to add one: `docs/adding-a-door.md`.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use fallgate_authority::{
    Action, AnySignIn, Newcomer, Passerby, Permit, Principal, SignedIn, SigningOut, Somebody,
};
use fallgate_domain::scope::PlainScope;
use http::Method;
use http::request::Parts;

use crate::api::{
    self, account, agents, audit, cuts, gate, identity, keys, live, logins, oauth, pairings, tokens, users,
    workers,
};
use crate::app::App;
use crate::error::WebError;
use crate::openapi::{self, Described, Description, Draft};
use crate::pages::{self, assets, device, enter, home, login, pair, pairing, setup};

/// Who may come in by a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever has any credential that stands.
    AnyCredential,
    /// Whoever is signed in: whose credential is a sign-in.
    Login,
    /// Whoever's credential has this scope.
    Scope(PlainScope),
}

/// One door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path, with `{id}` where a part of it varies.
    pub path: &'static str,
    /// Who may come in.
    pub access: Access,
    /// Whether it answers with a page for people, and is no part of the API.
    pub is_page: bool,
}

/// Every door, in the order of the documentation.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| all().1);
    &ROWS
}

/// The table. After the handler: what it does in a sentence, and the refusals that only its own work can bring about.
/// All else that the API's description says is read off the handler's type.
pub(crate) fn all() -> (Router<App>, Vec<Row>, Description) {
    let doors = pages(api_of_what_is_open(api(Doors::default())));
    let router = doors.router.method_not_allowed_fallback(wrong_method).fallback(no_such_door);
    (router, doors.rows, doors.description)
}

fn api(doors: Doors) -> Doors {
    doors
        .door(Method::GET, "/health", gate::health, "Tells whether the store can be read.", &[])
        .door(Method::GET, "/api/version", gate::version, "Tells the gate's version.", &[])
        .door(Method::GET, "/api/openapi.json", openapi::document, "This description.", &[])
        .door(Method::GET, "/api/whoami", identity::whoami, "Tells who one is, and by which credential.", &[])
        .door(Method::POST, "/api/login", logins::login, "Signs in; the answer sets the cookie.", &[401, 429])
        .door(Method::POST, "/api/logout", logins::logout, "Ends the sign-in in use.", &[])
        .door(Method::POST, "/api/setup", api::setup::setup, "Makes the first admin, once.", &[401, 409])
        .door(Method::GET, "/api/tokens", tokens::list, "Lists one's own tokens; for an admin all.", &[])
        .door(Method::POST, "/api/tokens", tokens::mint, "Mints a token, and shows its secret.", &[404, 409])
        .door(Method::DELETE, "/api/tokens", tokens::revoke_all, "Ends all one's other tokens.", &[404])
        .door(Method::PATCH, "/api/tokens/{id}", tokens::change, "Changes a token's name or end.", &[409])
        .door(
            Method::DELETE,
            "/api/tokens/{id}",
            tokens::revoke,
            "Ends a token and all minted from it.",
            &[429],
        )
        .door(Method::POST, "/api/tokens/inspect", tokens::inspect, "Finds a token by its secret.", &[404])
        .door(Method::POST, "/api/tokens/revoke", tokens::revoke_held, "Ends the token that is sent.", &[429])
        .door(
            Method::POST,
            "/api/agents/{name}/tokens",
            workers::mint,
            "Mints a worker token for an agent, and shows it.",
            &[409],
        )
        .door(Method::POST, "/api/workers/renew", workers::renew, "Renews the worker token in use.", &[429])
        .door(Method::GET, "/api/logins", logins::list, "Lists one's own sign-ins that stand.", &[])
        .door(Method::DELETE, "/api/logins", logins::end_others, "Ends all sign-ins but the one in use.", &[])
        .door(Method::DELETE, "/api/logins/{id}", logins::end, "Ends one of one's own sign-ins.", &[])
        .door(Method::GET, "/api/users", users::list, "Lists everybody.", &[])
        .door(Method::POST, "/api/users", users::create, "Makes an account.", &[409])
        .door(Method::GET, "/api/users/{u}", users::show, "Shows an account.", &[])
        .door(Method::PATCH, "/api/users/{u}", users::change, "Changes an account.", &[409])
        .door(Method::DELETE, "/api/users/{u}", users::delete, "Deletes an account.", &[409])
        .door(Method::POST, "/api/users/{u}/passphrase", users::reset_passphrase, "Sets a passphrase.", &[])
        .door(Method::PATCH, "/api/account", account::change, "Changes one's own account.", &[])
        .door(
            Method::POST,
            "/api/account/passphrase",
            account::change_passphrase,
            "Sets one's passphrase.",
            &[429],
        )
        .door(Method::GET, "/api/agents", agents::list, "Lists one's own agents; for an admin all.", &[])
        .door(Method::POST, "/api/agents", agents::create, "Makes an agent.", &[404, 409])
        .door(Method::GET, "/api/agents/{name}", agents::show, "Shows an agent.", &[])
        .door(Method::PATCH, "/api/agents/{name}", agents::change, "Disables or enables an agent.", &[])
        .door(Method::DELETE, "/api/agents/{name}", agents::delete, "Deletes an agent.", &[])
}

fn api_of_what_is_open(doors: Doors) -> Doors {
    doors
        .door(Method::GET, "/api/live", live::list, "Lists one's own open streams; for an admin all.", &[])
        .door(Method::DELETE, "/api/live/{id}", live::close, "Closes an open stream.", &[])
        .door(Method::GET, "/api/cuts", cuts::list, "Lists the cuts that stand.", &[])
        .door(Method::POST, "/api/cuts", cuts::place, "Cuts somebody, something or everything.", &[404, 409])
        .door(Method::DELETE, "/api/cuts/{id}", cuts::lift, "Lifts a cut.", &[])
        .door(Method::GET, "/api/audit", audit::list, "Lists what was done, newest first.", &[])
        .door(
            Method::POST,
            "/api/pair",
            pairings::pair,
            "Signs a device in by a pairing code, once it is let in.",
            &[401, 403, 404, 409, 410, 429],
        )
        .door(Method::POST, "/api/pairings", pairings::start, "Makes a pairing code, shown this once.", &[])
        .door(Method::GET, "/api/pairings/{id}", pairings::show, "Tells what became of a pairing code.", &[])
        .door(
            Method::POST,
            "/api/pairings/{id}",
            pairings::answer,
            "Lets the device in that used a code, or refuses it.",
            &[409, 410, 429],
        )
        .door(Method::DELETE, "/api/pairings/{id}", pairings::withdraw, "Takes a pairing code back.", &[])
        .door(Method::GET, "/.well-known/jwks.json", keys::jwks, "Shows the public keys.", &[])
        .door(
            Method::GET,
            "/.well-known/oauth-authorization-server",
            oauth::metadata,
            "Tells what there is of OAuth (RFC 8414).",
            &[],
        )
        .door(
            Method::POST,
            "/oauth/introspect",
            oauth::introspect,
            "Tells whether a credential is good (RFC 7662).",
            &[429],
        )
        .door(
            Method::POST,
            "/oauth/revoke",
            oauth::revoke,
            "Ends the credential that is sent (RFC 7009).",
            &[429],
        )
        .door(
            Method::POST,
            "/oauth/device",
            oauth::device,
            "Begins to sign in a device without a browser (RFC 8628).",
            &[429],
        )
        .door(
            Method::POST,
            "/oauth/token",
            oauth::token,
            "Signs such a device in once approved (RFC 8628), or exchanges a token (RFC 8693).",
            &[429],
        )
}

fn pages(doors: Doors) -> Doors {
    doors
        .page(Method::GET, "/", home::home)
        .page(Method::GET, "/setup", setup::show)
        .page(Method::POST, "/setup", setup::set_up)
        .page(Method::GET, "/login", login::show)
        .page(Method::POST, "/login", login::sign_in)
        .page(Method::POST, "/logout", login::sign_out)
        .page(Method::GET, "/tokens", pages::tokens::list)
        .page(Method::POST, "/tokens", pages::tokens::create::mint)
        .page(Method::GET, "/tokens/new", pages::tokens::create::show)
        .page(Method::GET, "/tokens/revoke-all", pages::tokens::change::ask_revoke_all)
        .page(Method::POST, "/tokens/revoke-all", pages::tokens::change::revoke_all)
        .page(Method::GET, "/tokens/{id}/rename", pages::tokens::change::ask_rename)
        .page(Method::POST, "/tokens/{id}/rename", pages::tokens::change::rename)
        .page(Method::GET, "/tokens/{id}/revoke", pages::tokens::change::ask_revoke)
        .page(Method::POST, "/tokens/{id}/revoke", pages::tokens::change::revoke)
        .page(Method::GET, "/agents", pages::agents::list)
        .page(Method::POST, "/agents", pages::agents::create::create)
        .page(Method::GET, "/agents/new", pages::agents::create::show)
        .page(Method::GET, "/agents/{name}/disable", pages::agents::change::ask_disable)
        .page(Method::POST, "/agents/{name}/disable", pages::agents::change::disable)
        .page(Method::POST, "/agents/{name}/enable", pages::agents::change::enable)
        .page(Method::GET, "/agents/{name}/delete", pages::agents::change::ask_delete)
        .page(Method::POST, "/agents/{name}/delete", pages::agents::change::delete)
        .page(Method::GET, "/account", pages::account::show)
        .page(Method::POST, "/account", pages::account::rename)
        .page(Method::POST, "/account/passphrase", pages::account::change_passphrase)
        .page(Method::GET, "/account/devices/sign-out", pages::account::devices::ask_sign_out_others)
        .page(Method::POST, "/account/devices/sign-out", pages::account::devices::sign_out_others)
        .page(Method::GET, "/account/devices/{id}/sign-out", pages::account::devices::ask_sign_out)
        .page(Method::POST, "/account/devices/{id}/sign-out", pages::account::devices::sign_out)
        .page(Method::GET, "/admin/users", pages::users::list)
        .page(Method::POST, "/admin/users", pages::users::create::create)
        .page(Method::GET, "/admin/new-user", pages::users::create::show)
        .page(Method::GET, "/admin/users/{u}", pages::users::show)
        .page(Method::POST, "/admin/users/{u}", pages::users::change::rename)
        .page(Method::GET, "/admin/users/{u}/role", pages::users::change::ask_role)
        .page(Method::POST, "/admin/users/{u}/role", pages::users::change::change_role)
        .page(Method::GET, "/admin/users/{u}/disable", pages::users::change::ask_disable)
        .page(Method::POST, "/admin/users/{u}/disable", pages::users::change::disable)
        .page(Method::POST, "/admin/users/{u}/enable", pages::users::change::enable)
        .page(Method::GET, "/admin/users/{u}/delete", pages::users::change::ask_delete)
        .page(Method::POST, "/admin/users/{u}/delete", pages::users::change::delete)
        .page(Method::GET, "/admin/users/{u}/passphrase", pages::users::passphrase::ask_reset)
        .page(Method::POST, "/admin/users/{u}/passphrase", pages::users::passphrase::reset)
        .page(Method::GET, "/live", pages::live::own)
        .page(Method::GET, "/live/events", pages::live::own_events)
        .page(Method::GET, "/live/streams/{id}/close", pages::live::ask_close)
        .page(Method::POST, "/live/streams/{id}/close", pages::live::close)
        .page(Method::GET, "/live/cut", pages::live::ask_cut)
        .page(Method::POST, "/live/cut", pages::live::cut)
        .page(Method::GET, "/live/cuts/{id}/lift", pages::live::ask_lift)
        .page(Method::POST, "/live/cuts/{id}/lift", pages::live::lift)
        .page(Method::GET, "/admin/live", pages::live::all)
        .page(Method::GET, "/admin/live/events", pages::live::all_events)
        .page(Method::GET, "/admin/audit", pages::audit::show)
        .page(Method::GET, "/admin/audit/events", pages::audit::events)
        .page(Method::POST, "/admin/audit/verify", pages::audit::verify)
        .page(Method::GET, "/admin/routes", pages::routes::show)
        .page(Method::GET, "/pair", pair::show)
        .page(Method::POST, "/pair", pair::submit)
        .page(Method::GET, "/pair/wait", pair::wait)
        .page(Method::POST, "/pair/wait", pair::collect)
        .page(Method::GET, "/pair/wait/status", pair::status)
        .page(Method::GET, "/pair/new", pairing::start)
        .page(Method::GET, "/pair/new/{id}", pairing::show)
        .page(Method::POST, "/pair/new/{id}", pairing::answer)
        .page(Method::GET, "/device", device::show)
        .page(Method::POST, "/device", device::answer)
        .page(Method::GET, "/favicon.svg", assets::favicon)
        .page(Method::GET, "/manifest.webmanifest", assets::manifest)
        .page(Method::GET, "/static/{file}", assets::file)
        .page(Method::GET, "/.fallgate/enter", enter::enter)
        .page(Method::POST, "/.fallgate/logout", login::sign_out)
        .page(Method::GET, "/.fallgate/static/{file}", assets::file)
}

/// The API's description (OpenAPI 3.1), as JSON.
pub(crate) fn description() -> String {
    all().2.finish()
}

#[derive(Default)]
struct Doors {
    router: Router<App>,
    rows: Vec<Row>,
    description: Description,
}

impl Doors {
    fn door<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        handler: H,
        says: &'static str,
        also_refuses: &[u16],
    ) -> Self
    where
        H: Handler<T, App> + Described<T>,
        T: Guarded + 'static,
    {
        let mut draft = Draft::new(path, std::any::type_name::<H>(), says);
        draft.admits(T::ACCESS);
        H::describe(&mut draft);
        draft.refuses(also_refuses);
        self.description.add(&method, path, draft);
        self.mount(method, path, handler, false)
    }

    /// A door that shows a page to people, or is a way to one.
    fn page<H, T>(self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: Guarded + 'static,
    {
        self.mount(method, path, handler, true)
    }

    fn mount<H, T>(mut self, method: Method, path: &'static str, handler: H, is_page: bool) -> Self
    where
        H: Handler<T, App>,
        T: Guarded + 'static,
    {
        // A method that axum cannot filter by would be a mistake in the table above; every test would see it.
        if let Ok(filter) = MethodFilter::try_from(method.clone()) {
            self.router = self.router.route(path, on(filter, handler));
            self.rows.push(Row { method, path, access: T::ACCESS, is_page });
        }
        self
    }
}

/// The first argument of a door that anybody may come in by.
#[derive(Debug)]
pub(crate) struct Public;

impl<S: Sync> FromRequestParts<S> for Public {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self)
    }
}

/// A handler's arguments, of which the first says who may come in.
trait Guarded {
    const ACCESS: Access;
}

macro_rules! guarded {
    ($($rest:ident),*) => {
        impl<M, $($rest),*> Guarded for (M, Public, $($rest),*) {
            const ACCESS: Access = Access::Public;
        }

        impl<M, $($rest),*> Guarded for (M, Newcomer, $($rest),*) {
            const ACCESS: Access = Access::Public;
        }

        impl<M, $($rest),*> Guarded for (M, Passerby, $($rest),*) {
            const ACCESS: Access = Access::Public;
        }

        impl<M, $($rest),*> Guarded for (M, SignedIn, $($rest),*) {
            const ACCESS: Access = Access::Login;
        }

        impl<M, $($rest),*> Guarded for (M, AnySignIn, $($rest),*) {
            const ACCESS: Access = Access::Login;
        }

        impl<M, $($rest),*> Guarded for (M, SigningOut, $($rest),*) {
            const ACCESS: Access = Access::Login;
        }

        impl<M, $($rest),*> Guarded for (M, Principal, $($rest),*) {
            const ACCESS: Access = Access::AnyCredential;
        }

        impl<M, A: Action, $($rest),*> Guarded for (M, Permit<A>, $($rest),*) {
            const ACCESS: Access = Access::Scope(A::SCOPE);
        }
    };
}

guarded!();
guarded!(T1);
guarded!(T1, T2);
guarded!(T1, T2, T3);
guarded!(T1, T2, T3, T4);
guarded!(T1, T2, T3, T4, T5);

/// Only a caller with a credential learns which doors there are: 401 comes before 404, and 404 before any other 403.
async fn no_such_door(_caller: Somebody) -> WebError {
    WebError::NotFound("There is nothing here.".to_owned())
}

/// 401 comes before 405 too, but where the door is public anyway.
async fn wrong_method(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let public = rows().iter().any(|row| row.access == Access::Public && row.path == parts.uri.path());
    if !public && let Err(refusal) = Somebody::from_request_parts(&mut parts, &app).await {
        return refusal.into_response();
    }
    WebError::MethodNotAllowed.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r28_each_door_shows_the_scope_that_its_handlers_type_names() {
        let access = |method: Method, path: &str| {
            rows().iter().find(|row| row.method == method && row.path == path).map(|row| row.access)
        };
        assert_eq!(access(Method::GET, "/health"), Some(Access::Public));
        assert_eq!(access(Method::POST, "/api/login"), Some(Access::Public));
        assert_eq!(access(Method::POST, "/api/logout"), Some(Access::Login));
        assert_eq!(access(Method::GET, "/api/whoami"), Some(Access::AnyCredential));
        assert_eq!(access(Method::GET, "/api/tokens"), Some(Access::Scope(PlainScope::IdentityRead)));
        assert_eq!(access(Method::POST, "/api/tokens"), Some(Access::Scope(PlainScope::TokensWrite)));
        assert_eq!(access(Method::DELETE, "/api/users/{u}"), Some(Access::Scope(PlainScope::Admin)));
    }
}
