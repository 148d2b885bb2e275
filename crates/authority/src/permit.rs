//! Proof, not flag: work that needs a permission takes a value that only the verifier's answer can become.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum_core::extract::{FromRef, FromRequestParts};
use fallgate_domain::route::{Admission, RouteName};
use fallgate_domain::scope::{PlainScope, Scope};
use http::request::Parts;

use crate::actions::UseRoute;
use crate::lease::Need;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::verifier::Verifier;

/// Something a caller may be permitted to do, by one scope. Implemented in [`crate::actions`].
pub trait Action {
    /// The scope it needs.
    const SCOPE: PlainScope;
}

/// Proof that the verified caller may do `A`.
#[derive(Debug)]
pub struct Permit<A> {
    principal: Principal,
    action: PhantomData<fn(A)>,
}

/// Who may use one route: its name, and its `allow` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePolicy {
    /// The route.
    pub name: RouteName,
    /// Whom its list admits.
    pub admission: Admission,
    /// `route:<name>`, spelt out once.
    pub(crate) scope: Scope,
}

impl RoutePolicy {
    /// The policy of the route of that name.
    pub fn new(name: RouteName, admission: Admission) -> Self {
        let scope = Scope::Route(name.clone());
        Self { name, admission, scope }
    }
}

impl<A> Permit<A> {
    /// The caller it was given to.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl Principal {
    /// A permit for `A`, if the credential has the scope and the owner's role allows it now.
    pub fn permit<A: Action>(self) -> Result<Permit<A>, Refusal> {
        self.must(Need::Scope(A::SCOPE.into()))
    }

    /// A permit to use that route, if a scope covers it and its `allow` list names the caller.
    pub fn permit_route(self, route: &Arc<RoutePolicy>) -> Result<Permit<UseRoute>, Refusal> {
        self.must(Need::Route(route.clone()))
    }

    /// Whether they may use that route, as far as can be told before they do.
    pub fn may_use(&self, route: &Arc<RoutePolicy>) -> Result<(), Refusal> {
        Need::Route(route.clone()).check(&self.entry, self.role())
    }

    fn must<A>(self, need: Need) -> Result<Permit<A>, Refusal> {
        need.check(&self.entry, self.role())?;
        self.lease.need(need);
        Ok(Permit { principal: self, action: PhantomData })
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
        let principal = Principal::from_request_parts(parts, state).await?;
        let credential = Some(principal.credential());
        let refused = |refusal: &Refusal| {
            Arc::<Verifier>::from_ref(state).count_refusal(refusal, credential, peer(parts));
        };
        principal.permit().inspect_err(refused)
    }
}

pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<PeerAddress>().and_then(|peer| peer.0)
}
