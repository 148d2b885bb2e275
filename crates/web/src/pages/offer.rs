//! What a form offers that makes something which acts for its owner, a token or an agent; and what is read out of it.

use fallgate_authority::Principal;
use fallgate_domain::scope::{PlainScope, Scope, Scopes};
use fallgate_domain::user::{User, Username};

use super::form::Troubles;
use crate::app::App;
use crate::error::WebError;

/// Who may own it, and what it may be allowed.
pub(crate) struct Offer {
    /// Everybody, for an admin to choose from; for others themselves alone.
    pub(crate) owners: Vec<User>,
    pub(crate) scopes: Vec<PlainScope>,
    pub(crate) routes: Vec<String>,
}

impl Offer {
    /// What this caller may choose from. `nobodys`: what a credential that nobody owns is told.
    pub(crate) async fn to(
        app: &App,
        caller: &Principal,
        nobodys: impl FnOnce() -> WebError,
    ) -> Result<Self, WebError> {
        let store = app.verifier.store();
        let mut owners = match caller.user() {
            _ if caller.is_admin() => store.users().await?,
            Some(own) => store.user(own).await?.into_iter().collect(),
            None => return Err(nobodys()),
        };
        owners.retain(|owner| owner.disabled_at.is_none());
        let may = caller.scopes();
        Ok(Self {
            owners,
            scopes: PlainScope::ALL.into_iter().filter(|scope| may.allow(&(*scope).into())).collect(),
            routes: routes_for(app, caller),
        })
    }
}

/// Those that the caller may use; for an admin all, since others may use others.
fn routes_for(app: &App, caller: &Principal) -> Vec<String> {
    let settings = app.settings.now();
    let open =
        settings.routes.iter().filter(|route| caller.is_admin() || caller.may_use(&route.policy).is_ok());
    open.map(|route| route.policy.name.to_string()).collect()
}

/// The owner that is chosen when nothing is said: the caller.
pub(crate) fn usual_owner(caller: &Principal) -> String {
    caller.username().map(ToString::to_string).unwrap_or_default()
}

/// The scopes that are chosen when nothing is said.
pub(crate) fn usual_scopes(caller: &Principal) -> Vec<String> {
    let usual = Scopes::default_for_tokens().within(&caller.scopes());
    usual.iter().map(|scope| scope.to_string()).collect()
}

/// Whose it is to be: for whoever may not choose, the caller's. `field`: where that was typed.
pub(crate) fn read_owner(
    caller: &Principal,
    typed: &str,
    field: &'static str,
    troubles: &mut Troubles,
) -> Option<Username> {
    let own = caller.username().filter(|_| !caller.is_admin()).cloned();
    own.or_else(|| troubles.note(field, typed.parse()))
}

/// What it is to be allowed, which is something. `what` it is: "token".
pub(crate) fn read_scopes(chosen: &[String], what: &str, troubles: &mut Troubles) -> Option<Scopes> {
    let scopes = chosen.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Vec<_>, _>>();
    let scopes = troubles.note("scope", scopes.and_then(Scopes::collect));
    if scopes.as_ref().is_some_and(Scopes::is_empty) {
        troubles.add("scope", &format!("choose at least one thing that the {what} may do"));
    }
    scopes
}
