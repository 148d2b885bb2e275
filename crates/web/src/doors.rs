//! The table of doors: each mounts a handler *and* becomes a row that tests walk.
//!
//! Who may come in is not written here: it is read off the handler's type (requirement R28). A handler's first
//! argument is a [`Permit`] of an action, a [`Principal`], a [`SignedIn`], a [`Newcomer`], or [`Public`]; one that takes
//! none of them does not compile as a door. How to add one: `docs/adding-a-door.md`.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use fallgate_authority::{Action, Newcomer, Permit, Principal, SignedIn, Somebody};
use fallgate_domain::scope::PlainScope;
use http::Method;
use http::request::Parts;

use crate::api::{account, audit, gate, identity, keys, logins, setup, tokens, users};
use crate::app::App;
use crate::error::WebError;

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
}

/// Every door, in the order of the documentation.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| all().1);
    &ROWS
}

pub(crate) fn all() -> (Router<App>, Vec<Row>) {
    let doors = Doors::default()
        .door(Method::GET, "/health", gate::health)
        .door(Method::GET, "/api/version", gate::version)
        .door(Method::GET, "/api/whoami", identity::whoami)
        .door(Method::POST, "/api/login", logins::login)
        .door(Method::POST, "/api/logout", logins::logout)
        .door(Method::POST, "/api/setup", setup::setup)
        .door(Method::GET, "/api/tokens", tokens::list)
        .door(Method::POST, "/api/tokens", tokens::mint)
        .door(Method::DELETE, "/api/tokens", tokens::revoke_all)
        .door(Method::PATCH, "/api/tokens/{id}", tokens::change)
        .door(Method::DELETE, "/api/tokens/{id}", tokens::revoke)
        .door(Method::POST, "/api/tokens/inspect", tokens::inspect)
        .door(Method::POST, "/api/tokens/revoke", tokens::revoke_held)
        .door(Method::GET, "/api/logins", logins::list)
        .door(Method::DELETE, "/api/logins", logins::end_others)
        .door(Method::DELETE, "/api/logins/{id}", logins::end)
        .door(Method::GET, "/api/users", users::list)
        .door(Method::POST, "/api/users", users::create)
        .door(Method::GET, "/api/users/{u}", users::show)
        .door(Method::PATCH, "/api/users/{u}", users::change)
        .door(Method::DELETE, "/api/users/{u}", users::delete)
        .door(Method::POST, "/api/users/{u}/passphrase", users::reset_passphrase)
        .door(Method::PATCH, "/api/account", account::change)
        .door(Method::POST, "/api/account/passphrase", account::change_passphrase)
        .door(Method::GET, "/api/audit", audit::list)
        .door(Method::GET, "/.well-known/jwks.json", keys::jwks);
    let router = doors.router.method_not_allowed_fallback(wrong_method).fallback(no_such_door);
    (router, doors.rows)
}

#[derive(Default)]
struct Doors {
    router: Router<App>,
    rows: Vec<Row>,
}

impl Doors {
    fn door<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: Guarded + 'static,
    {
        // A method that axum cannot filter by would be a mistake in the table above; every test would see it.
        if let Ok(filter) = MethodFilter::try_from(method.clone()) {
            self.router = self.router.route(path, on(filter, handler));
            self.rows.push(Row { method, path, access: T::ACCESS });
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

        impl<M, $($rest),*> Guarded for (M, SignedIn, $($rest),*) {
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
