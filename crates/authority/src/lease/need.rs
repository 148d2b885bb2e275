//! What was permitted, and must stay so as long as a lease lasts.

use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::Scope;
use fallgate_domain::user::Role;

use crate::cuts::{Asked, StandingCut};
use crate::entry::{Account, Entry};
use crate::permit::RoutePolicy;
use crate::refusal::Refusal;

/// What was permitted, and must stay so.
#[derive(Debug, Default, Clone)]
pub(crate) enum Need {
    /// Only that the credential stands: who calls is known, and not yet what for.
    #[default]
    Standing,
    /// Nothing but that no cut stops it.
    Uncut,
    /// A scope. `mends`: an admin's sign-in may do it while everything is cut.
    Scope { scope: Scope, mends: bool },
    /// A route. `by_cookie`: it must also take cookies.
    Route { route: Arc<RoutePolicy>, by_cookie: bool },
    /// That this path of the route, relative to it, is public: it needs nobody.
    Public { route: Arc<RoutePolicy>, path: Arc<CanonicalPath<'static>> },
}

impl Need {
    /// Whether the credential, standing with `role`, satisfies this. What counts is always its scopes *and* what the
    /// owner's role allows now.
    pub(crate) fn check(&self, entry: &Entry, role: Option<Role>) -> Result<(), Refusal> {
        match self {
            Self::Standing | Self::Public { .. } => {}
            Self::Uncut | Self::Scope { .. } => entry.expect_audience(None)?,
            Self::Route { route, .. } => entry.expect_audience(Some(&route.name))?,
        }
        if let Some(cut) = self.cut(&entry.account, Some((entry, role))) {
            return Err(Refusal::Cut(cut.notice()));
        }
        let allows = |scope: &Scope| {
            entry.scopes.allow(scope) && role.is_none_or(|role| entry.ceiling(role).allow(scope))
        };
        match self {
            Self::Standing | Self::Uncut => Ok(()),
            Self::Public { route, path } => route.check_public(path),
            Self::Scope { scope, .. } if allows(scope) => Ok(()),
            Self::Scope { scope, .. } => Err(Refusal::Beyond(scope.clone())),
            Self::Route { route, .. } if !allows(&route.scope) => Err(Refusal::Beyond(route.scope.clone())),
            Self::Route { route, by_cookie } => {
                let owner = entry.account.user.as_ref().zip(role).map(|(user, role)| (&user.username, role));
                let agent = entry.agent.as_ref().map(|agent| &agent.name);
                let visitor = fallgate_domain::route::Visitor { owner, agent, kind: entry.admitted_as() };
                route.check(visitor, *by_cookie)
            }
        }
    }

    /// That this path, relative to the route, is public.
    pub(crate) fn public(route: &Arc<RoutePolicy>, path: &CanonicalPath<'_>) -> Self {
        Self::Public { route: route.clone(), path: Arc::new(path.clone().into_owned()) }
    }

    /// The same for whoever has no credential. `strangers`: where they hang.
    pub(crate) fn check_stranger(&self, strangers: &Account) -> Result<(), Refusal> {
        match (self.cut(strangers, None), self) {
            (Some(cut), _) => Err(Refusal::Cut(cut.notice())),
            (None, Self::Public { route, path }) => route.check_public(path),
            (None, _) => Err(Refusal::NoCredential),
        }
    }

    /// The route that it is for, if it is for one.
    pub(super) fn route(&self) -> Option<&Arc<RoutePolicy>> {
        match self {
            Self::Route { route, .. } | Self::Public { route, .. } => Some(route),
            Self::Standing | Self::Uncut | Self::Scope { .. } => None,
        }
    }

    /// How long it may last at most, as the route has it now.
    pub(super) fn most_age(&self) -> Option<Duration> {
        self.route()?.now().ok()?.terms.max_stream_age
    }

    /// The cut that stops this, if one does. Of whom it is only known who they are, nothing is stopped yet: what comes
    /// first in the order of refusals is told first.
    pub(crate) fn cut(
        &self,
        account: &Account,
        entry: Option<(&Entry, Option<Role>)>,
    ) -> Option<StandingCut> {
        let (route, mends): (Option<&RouteName>, bool) = match self {
            Self::Standing => return None,
            Self::Uncut => (None, false),
            Self::Scope { mends, .. } => (None, *mends),
            Self::Route { route, .. } | Self::Public { route, .. } => (Some(&route.name), false),
        };
        account.cuts.stopping(Asked { entry, route, mends })
    }
}
