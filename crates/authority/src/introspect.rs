//! Whether somebody's credential is good, for an upstream that was given it (RFC 7662). The answer is the one verifier's.

use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::Username;
use fallgate_domain::worker::Audience;

use crate::actions::AskOfCredentials;
use crate::permit::Permit;
use crate::presented::Presented;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::throttle::{Throttle, Throttled};
use crate::verifier::Verifier;

/// So many that are not good are answered at once from one network, then one every so often. What is good always is:
/// whoever sends rubbish to an upstream must not have it doubt what others send.
const INACTIVE: (u32, Duration) = (1_000, Duration::from_millis(20));

/// What limits asking for what is not good.
#[derive(Debug)]
pub(crate) struct InactiveThrottle(Throttle);

impl Default for InactiveThrottle {
    fn default() -> Self {
        Self(Throttle::new(INACTIVE.0, INACTIVE.1))
    }
}

/// A credential that is good now.
#[derive(Debug)]
pub struct Introspected {
    /// Which.
    pub id: CredentialId,
    /// What it is.
    pub kind: CredentialKind,
    /// Whose, for good.
    pub user: Option<UserId>,
    /// As they are called.
    pub username: Option<Username>,
    /// What it may be used for, within what its owner's role allows.
    pub scopes: Scopes,
    /// Where it may be used, if it says so: a worker token does.
    pub audience: Option<Vec<Audience>>,
    /// When it ends by itself, or what it hangs on does.
    pub expires_at: Option<Timestamp>,
    /// As which agent it acts, if it is a worker token.
    pub agent: Option<AgentName>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectError {
    /// Too many that were not good.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The store cannot be asked.
    #[error("the store cannot be asked")]
    Unavailable,
}

impl Verifier {
    /// The credential of that secret, if it is good now and no cut stops it. Why not is not told. It counts neither as
    /// used nor as refused. A worker token says itself where it may be used (requirement R41), and the answer says so too;
    /// to a caller whose scopes name routes it is good only if it may be used on one of those.
    pub async fn introspect(
        &self,
        permit: &Permit<AskOfCredentials>,
        secret: &[u8],
        ip: Option<IpAddr>,
    ) -> Result<Option<Introspected>, IntrospectError> {
        let inactive = || Ok(self.inactive.0.count(ip, self.clock().now()).map(|()| None)?);
        let Ok(presented) = Presented::from_secret(secret, None) else { return inactive() };
        // Of its own: what the caller rests on is another's affair.
        let lease = self.lease();
        let principal = match self.recognise(&presented, &lease.handle()).await {
            Ok((principal, _)) => principal,
            Err((Refusal::Unavailable, _)) => return Err(IntrospectError::Unavailable),
            Err(_) => return inactive(),
        };
        let audience = principal.worker().map(|claims| claims.audience.clone());
        if principal.is_cut() || audience.as_ref().is_some_and(|names| !is_for(names, permit.principal())) {
            return inactive();
        }
        Ok(Some(Introspected {
            id: principal.credential(),
            kind: principal.kind(),
            user: principal.user(),
            username: principal.username().cloned(),
            scopes: principal.scopes(),
            audience,
            expires_at: principal.expires_at(),
            agent: principal.worker().map(|claims| claims.agent.clone()),
        }))
    }
}

/// Whether one of these is a route of the caller's, or the caller is of no route.
fn is_for(audience: &[Audience], caller: &Principal) -> bool {
    let scopes = caller.scopes();
    let routes = scopes.iter().filter_map(|scope| match scope {
        Scope::Route(name) => Some(Audience::Route(name)),
        Scope::Plain(_) => None,
    });
    let mut routes = routes.peekable();
    routes.peek().is_none() || routes.any(|route| audience.contains(&route))
}
