//! Proof, not flag: work that needs a permission takes a value that only the verifier's answer can become.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_core::extract::{FromRef, FromRequestParts};
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::{Admission, RouteName, Visitor};
use fallgate_domain::scope::{PlainScope, Scope};
use http::request::Parts;

use crate::actions::UseRoute;
use crate::caller::{Carrier, calling};
use crate::lease::{LeaseHandle, Need};
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::verifier::Verifier;

/// Something a caller may be permitted to do, by one scope. Implemented in [`crate::actions`].
pub trait Action {
    /// The scope it needs.
    const SCOPE: PlainScope;
    /// Whether an admin's sign-in may do it while everything is cut, so that somebody can lift it.
    const MENDS: bool = false;
}

/// Proof that the verified caller may do `A`.
#[derive(Debug)]
pub struct Permit<A> {
    principal: Principal,
    need: Need,
    by_cookie: bool,
    action: PhantomData<fn(A)>,
}

/// What a route takes in besides whom its list names, and for how long. A later config may say less, and what is open by
/// what it does not say any more is closed (requirement R57).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Paths let through without a credential: relative to the route, by whole segments.
    pub public: Vec<CanonicalPath<'static>>,
    /// Whether a cookie of ours opens it.
    pub takes_cookies: bool,
    /// How long a stream may last.
    pub max_stream_age: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { public: Vec::new(), takes_cookies: true, max_stream_age: None }
    }
}

impl Terms {
    /// Whether a path is open to anybody; it is relative to the route.
    pub fn is_public(&self, path: &CanonicalPath<'_>) -> bool {
        self.public.iter().any(|entry| path.starts_with_segments(entry))
    }
}

/// Who may use one route, as one config says it: its name, its `allow` list, and its terms. It never changes; a config that comes
/// later names what stands in its place ([`Verifier::succeed`]), and whatever rests on it is judged by that from then on
/// (requirement R57).
#[derive(Debug)]
pub struct RoutePolicy {
    /// The route.
    pub name: RouteName,
    /// Whom its list admits.
    pub admission: Admission,
    /// What else it takes in, and for how long.
    pub terms: Terms,
    /// `route:<name>`, spelt out once.
    pub(crate) scope: Scope,
    /// What a later config has instead.
    successor: OnceLock<Successor>,
}

/// What a later config has in the place of a route.
#[derive(Debug, Clone)]
pub enum Successor {
    /// Nothing: the route is no more.
    Nothing,
    /// Another route of that name, which leads elsewhere or tells its upstream something else. What was let in by the
    /// one before does not go on by it.
    Another,
    /// The same route, under this policy.
    Same(Arc<RoutePolicy>),
}

impl RoutePolicy {
    /// The policy of the route of that name, on the usual terms.
    pub fn new(name: RouteName, admission: Admission) -> Self {
        let scope = Scope::Route(name.clone());
        Self { name, admission, terms: Terms::default(), scope, successor: OnceLock::new() }
    }

    /// The same on these terms.
    #[must_use]
    pub fn on(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// What holds for this route now. Refused, once a config counts that has it no more, or another in its place.
    pub(crate) fn now(&self) -> Result<&Self, Refusal> {
        let mut policy = self;
        while let Some(successor) = policy.successor.get() {
            policy = match successor {
                Successor::Same(successor) => successor,
                Successor::Another => return Err(Refusal::RouteChanged),
                Successor::Nothing => return Err(Refusal::NotAdmitted),
            };
        }
        Ok(policy)
    }

    /// That it admits this visitor, and takes the cookie that they came by if they did; and that what counts now does so
    /// too, if a later config has come.
    pub(crate) fn check(&self, visitor: Visitor<'_>, by_cookie: bool) -> Result<(), Refusal> {
        let now = self.now()?;
        let takes =
            |policy: &Self| policy.admission.admits(visitor) && (policy.terms.takes_cookies || !by_cookie);
        if takes(self) && takes(now) { Ok(()) } else { Err(Refusal::NotAdmitted) }
    }

    /// That this path, relative to the route, is public now.
    pub(crate) fn check_public(&self, path: &CanonicalPath<'_>) -> Result<(), Refusal> {
        if self.now()?.terms.is_public(path) { Ok(()) } else { Err(Refusal::NotAdmitted) }
    }
}

impl PartialEq for RoutePolicy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.admission == other.admission && self.terms == other.terms
    }
}

impl Eq for RoutePolicy {}

impl Verifier {
    /// Has what a later config says stand in the place of each policy before, and everything that rests on a route looks
    /// again. Call it when requests are matched against the later ones already.
    pub fn succeed<'a>(&self, successions: impl IntoIterator<Item = (&'a Arc<RoutePolicy>, Successor)>) {
        for (policy, successor) in successions {
            if matches!(&successor, Successor::Same(successor) if Arc::ptr_eq(successor, policy)) {
                continue;
            }
            // Who reloads twice at once finds it set: the gate does one after the other.
            let _ = policy.successor.set(successor);
        }
        // After it, never before: the contract of `View::apply`.
        self.view.poke_all();
    }

    /// Lets a request through that needs nobody, because its path, relative to the route, is public; the lease rests on
    /// that from here on, until it is settled or dropped.
    pub async fn pass_public(
        &self,
        route: &Arc<RoutePolicy>,
        path: &CanonicalPath<'_>,
        lease: &LeaseHandle,
    ) -> Result<(), Refusal> {
        self.freshen().await.map_err(|error| {
            tracing::error!(%error, "cannot read the store; refusing");
            Refusal::Unavailable
        })?;
        // Register, then read, as with a caller.
        let need = Need::public(route, path);
        if !lease.rest_on_route(self.view.strangers(), need.clone()) {
            return Err(Refusal::Unavailable);
        }
        let passed = need.check_stranger(self.view.strangers());
        if passed.is_err() {
            lease.forget();
        }
        passed
    }
}

impl<A> Permit<A> {
    /// The caller it was given to.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether a browser brought the credential by itself, and not a client on purpose.
    pub const fn came_by_cookie(&self) -> bool {
        self.by_cookie
    }
}

impl Permit<UseRoute> {
    /// The route it is for. There always is one, which the type does not know.
    pub(crate) fn route(&self) -> Option<&RoutePolicy> {
        match &self.need {
            Need::Route { route, .. } => Some(route),
            _ => None,
        }
    }
}

impl Principal {
    /// A permit for `A`, if the credential has the scope and the owner's role allows it now.
    pub fn permit<A: Action>(self) -> Result<Permit<A>, Refusal> {
        self.must(Need::Scope { scope: A::SCOPE.into(), mends: A::MENDS })
    }

    /// A permit to use that route, if a scope covers it and its `allow` list names the caller.
    pub fn permit_route(self, route: &Arc<RoutePolicy>) -> Result<Permit<UseRoute>, Refusal> {
        self.must(Need::Route { route: route.clone(), by_cookie: false })
    }

    /// The same for whoever came by a cookie: it lasts as long as the route takes any.
    pub fn permit_route_by_cookie(self, route: &Arc<RoutePolicy>) -> Result<Permit<UseRoute>, Refusal> {
        let permit = self.must(Need::Route { route: route.clone(), by_cookie: true })?;
        Ok(Permit { by_cookie: true, ..permit })
    }

    /// Whether they may use that route, as far as can be told before they do.
    pub fn may_use(&self, route: &Arc<RoutePolicy>) -> Result<(), Refusal> {
        Need::Route { route: route.clone(), by_cookie: false }.check(&self.entry, self.role())
    }

    fn must<A>(self, need: Need) -> Result<Permit<A>, Refusal> {
        self.check(&need)?;
        Ok(Permit { principal: self, need, by_cookie: false, action: PhantomData })
    }

    /// That no cut stops the caller, where no scope is asked for.
    pub(crate) fn expect_uncut(&self) -> Result<(), Refusal> {
        self.check(&Need::Uncut)
    }

    /// Whether a cut stops them, wherever their credential may be used.
    pub(crate) fn is_cut(&self) -> bool {
        Need::Uncut.cut(&self.entry.account, Some((&self.entry, self.role()))).is_some()
    }

    /// The lease rests on it before it is looked at: what ends it from here on ends the lease, and is counted.
    fn check(&self, need: &Need) -> Result<(), Refusal> {
        self.lease.need(need.clone());
        need.check(&self.entry, self.role()).inspect_err(|_| self.lease.need(Need::Standing))
    }
}

/// The client's address, put into a request's extensions by whoever owns the socket.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub Option<IpAddr>);

/// Whether the request came over TLS, as whoever owns the socket knows; put into a request's extensions by them. A
/// client's own headers have no say in it.
#[derive(Debug, Clone, Copy)]
pub struct CameByHttps(pub bool);

/// A verified caller who may do `A`: refused with `401` before `403`.
impl<S, A> FromRequestParts<S> for Permit<A>
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
    A: Action,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let verifier = Arc::<Verifier>::from_ref(state);
        let (principal, carrier) = calling(parts, &verifier).await?;
        let credential = Some(principal.credential());
        let refused = |refusal: &Refusal| verifier.count_refusal(refusal, credential, peer(parts));
        let permit = principal.permit().inspect_err(refused)?;
        Ok(Self { by_cookie: carrier == Carrier::Cookie, ..permit })
    }
}

pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<PeerAddress>().and_then(|peer| peer.0)
}
