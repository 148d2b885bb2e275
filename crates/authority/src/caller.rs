//! What a door takes as its first argument, out of a request: who calls, and whether that may be answered at all.

use std::net::IpAddr;
use std::sync::Arc;

use axum_core::extract::{FromRef, FromRequestParts};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::UserId;
use fallgate_domain::user::Username;
use http::request::Parts;
use http::{HeaderValue, Method, header};

use crate::lease::LeaseHandle;
use crate::permit::{CameByHttps, peer};
use crate::presented::{Presented, RequestFacts};
use crate::principal::Principal;
use crate::refusal::{Denial, Refusal};
use crate::same_origin::Source;
use crate::verifier::Verifier;

/// How a credential came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The client put it there on purpose.
    Authorization,
    /// The browser added it by itself, whoever made it ask.
    Cookie,
}

/// Proof that some credential stands; whose is not told. Enough to say what there is and what not.
#[derive(Debug)]
pub struct Somebody(());

/// A verified caller who signed in by their passphrase: their credential is such a sign-in, however it came. A sign-in
/// that hangs on a token, as of an old address, may no more than that, so it is none.
#[derive(Debug, Clone)]
pub struct SignedIn {
    principal: Principal,
    /// A sign-in always has an owner; the principal's type does not say so.
    pub(crate) owner: UserId,
    username: Username,
}

/// A verified caller whose credential is a sign-in of any kind, also one that hangs on a token or that nobody owns. It
/// can end itself, and nothing else is to be had for being one.
#[derive(Debug)]
pub struct AnySignIn(pub(crate) Principal);

/// Whoever asks to be signed in, and not because a page of another site has their browser ask.
#[derive(Debug)]
pub struct Newcomer {
    /// The client's address, if it came over IP.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<Vec<u8>>,
    /// Whether the request came over TLS.
    pub https: bool,
    /// As whom they are signed in until now, if they are.
    pub(crate) held: Option<Principal>,
}

/// Whoever opens what anybody may: signed in by their browser's cookie, or not.
#[derive(Debug)]
pub struct Passerby {
    /// The client's address, if it came over IP.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<Vec<u8>>,
    /// Whether the request came over TLS.
    pub https: bool,
    held: Option<Principal>,
    stale: bool,
}

impl Passerby {
    /// As whom they are signed in, if they are.
    pub const fn held(&self) -> Option<&Principal> {
        self.held.as_ref()
    }

    /// Whether their browser has a cookie of ours that is good for nothing.
    pub const fn brings_stale(&self) -> bool {
        self.stale
    }
}

impl Newcomer {
    /// A program, of which no page of any site makes a tool: it brings no cookie, and what it asks for is in its hands.
    pub(crate) fn program(ip: Option<IpAddr>, user_agent: Option<&[u8]>) -> Self {
        Self { ip, user_agent: user_agent.map(<[u8]>::to_vec), https: false, held: None }
    }

    /// As whom they are signed in until now, if they are.
    pub const fn held(&self) -> Option<&Principal> {
        self.held.as_ref()
    }
}

/// The same, whoever is cut: signing out is always allowed.
#[derive(Debug)]
pub struct SigningOut(pub(crate) Principal);

impl AnySignIn {
    /// The caller.
    pub const fn principal(&self) -> &Principal {
        &self.0
    }
}

impl SignedIn {
    /// The caller.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whose account it is.
    pub const fn id(&self) -> UserId {
        self.owner
    }

    /// As they are called.
    pub const fn username(&self) -> &Username {
        &self.username
    }
}

/// Finds out who calls. The relay puts the connection's [`LeaseHandle`] into the request's extensions; without one
/// nothing could be cut, so nothing is let in.
async fn identify(parts: &Parts, verifier: &Verifier) -> Result<(Principal, Carrier), Refusal> {
    match identified(parts, verifier).await {
        Err(Refusal::NoCredential | Refusal::BadCredential(_))
            if verifier.needs_setup().await.is_ok_and(|needed| needed) =>
        {
            Err(Refusal::SetupNeeded)
        }
        identified => identified,
    }
}

/// Finds out who calls, and that it is no page of another site that has their browser call. Whether they are cut is
/// still to be asked.
pub(crate) async fn calling(parts: &Parts, verifier: &Verifier) -> Result<(Principal, Carrier), Refusal> {
    let (principal, carrier) = identify(parts, verifier).await?;
    if carrier == Carrier::Cookie && !is_safe(&parts.method) && Source::of(parts) != Source::Own {
        verifier.count_refusal(&Refusal::CrossSite, Some(principal.credential()), peer(parts));
        return Err(Refusal::CrossSite);
    }
    Ok((principal, carrier))
}

async fn identified(parts: &Parts, verifier: &Verifier) -> Result<(Principal, Carrier), Refusal> {
    let ip = peer(parts);
    let (presented, carrier) =
        presented(parts).inspect_err(|refusal| verifier.count_refusal(refusal, None, ip))?;
    let principal = verified(&presented, parts, verifier).await?;
    // Whatever door of ours it is.
    principal.expect_here().inspect_err(|refusal| {
        principal.lease.forget();
        verifier.count_refusal(refusal, Some(principal.credential()), ip);
    })?;
    Ok((principal, carrier))
}

async fn verified(presented: &Presented, parts: &Parts, verifier: &Verifier) -> Result<Principal, Refusal> {
    let lease = parts.extensions.get::<LeaseHandle>().ok_or(Refusal::Unavailable)?;
    let user_agent = parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    verifier.verify(presented, &RequestFacts { ip: peer(parts), user_agent }, lease).await
}

/// The one credential that counts: `Authorization` if it is there, good or bad, and only else the cookie.
fn presented(parts: &Parts) -> Result<(Presented, Carrier), Refusal> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(Refusal::BadCredential(Denial::Malformed));
        }
        return Ok((Presented::from_authorization(Some(value.as_bytes()))?, Carrier::Authorization));
    }
    let cookie = Presented::from_cookies(&parts.headers, came_by_https(parts))?;
    cookie.map(|presented| (presented, Carrier::Cookie)).ok_or(Refusal::NoCredential)
}

fn came_by_https(parts: &Parts) -> bool {
    parts.extensions.get::<CameByHttps>().is_some_and(|came| came.0)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

impl<S> FromRequestParts<S> for Somebody
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        identify(parts, &Arc::<Verifier>::from_ref(state)).await.map(|_| Self(()))
    }
}

/// Any verified caller. What changes something and comes by cookie must come from a page of ours (requirement R21).
impl<S> FromRequestParts<S> for Principal
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let verifier = Arc::<Verifier>::from_ref(state);
        let (principal, _) = calling(parts, &verifier).await?;
        let refused = |refusal: &Refusal| {
            verifier.count_refusal(refusal, Some(principal.credential()), peer(parts));
        };
        principal.expect_uncut().inspect_err(refused)?;
        Ok(principal)
    }
}

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let AnySignIn(principal) = AnySignIn::from_request_parts(parts, state).await?;
        let owner = principal.user().zip(principal.username().cloned());
        match owner.filter(|_| !principal.entry.parent.is_some()) {
            Some((owner, username)) => Ok(Self { principal, owner, username }),
            None => Err(no_sign_in(&principal, parts, state)),
        }
    }
}

impl<S> FromRequestParts<S> for AnySignIn
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let principal = Principal::from_request_parts(parts, state).await?;
        if principal.kind() == CredentialKind::Login {
            Ok(Self(principal))
        } else {
            Err(no_sign_in(&principal, parts, state))
        }
    }
}

impl<S> FromRequestParts<S> for SigningOut
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (principal, _) = calling(parts, &Arc::<Verifier>::from_ref(state)).await?;
        if principal.kind() == CredentialKind::Login {
            Ok(Self(principal))
        } else {
            Err(no_sign_in(&principal, parts, state))
        }
    }
}

fn no_sign_in<S>(principal: &Principal, parts: &Parts, state: &S) -> Refusal
where
    Arc<Verifier>: FromRef<S>,
{
    let verifier = Arc::<Verifier>::from_ref(state);
    verifier.count_refusal(&Refusal::NoSignIn, Some(principal.credential()), peer(parts));
    Refusal::NoSignIn
}

/// Nobody is refused for what they bring: a cookie that does not stand is as if it were not there.
impl<S> FromRequestParts<S> for Passerby
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let verifier = Arc::<Verifier>::from_ref(state);
        let https = came_by_https(parts);
        // Who says who they are is not who their cookie says.
        let says_who = parts.headers.contains_key(header::AUTHORIZATION);
        let presented = if says_who { Ok(None) } else { Presented::from_cookies(&parts.headers, https) };
        let (held, is_stale) = match presented {
            Ok(None) => (None, false),
            Ok(Some(presented)) => match verified(&presented, parts, &verifier).await {
                Ok(principal) => (Some(principal).filter(|held| held.kind() == CredentialKind::Login), false),
                Err(Refusal::BadCredential(_)) => (None, true),
                Err(refusal) => return Err(refusal),
            },
            Err(_) => (None, true),
        };
        let user_agent = parts.headers.get(header::USER_AGENT).map(|value| value.as_bytes().to_vec());
        Ok(Self { ip: peer(parts), user_agent, https, held, stale: is_stale })
    }
}

/// A sign-in that was begun by another site's page is refused: it could be somebody else's, for the visitor to use.
impl<S> FromRequestParts<S> for Newcomer
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        if Source::of(parts) == Source::Foreign {
            return Err(Refusal::CrossSite);
        }
        // Nobody has to be signed in to sign in: what does not stand is as if it were not there.
        let held = identify(parts, &Arc::<Verifier>::from_ref(state)).await.ok();
        if let Some((principal, _)) = &held {
            // They are to hear what comes of it, also if what they had until now ends meanwhile.
            principal.lease.act();
        }
        Ok(Self {
            ip: peer(parts),
            user_agent: parts.headers.get(header::USER_AGENT).map(|value| value.as_bytes().to_vec()),
            https: came_by_https(parts),
            held: held.map(|(principal, _)| principal),
        })
    }
}
