//! Whether somebody's credential is good, for an upstream that was given it (RFC 7662). The answer is the one verifier's.

use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Username;
use fallgate_domain::worker::Audience;

use crate::actions::AskOfCredentials;
use crate::cuts::Asked;
use crate::permit::Permit;
use crate::presented::Presented;
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
    /// When it ends by itself, or what it hangs on does.
    pub expires_at: Option<Timestamp>,
    /// Where a worker token may be used. Whether that is where it was shown, only who asks can tell (requirement R41).
    pub audience: Option<Vec<Audience>>,
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
    /// used nor as refused.
    pub async fn introspect(
        &self,
        _permit: &Permit<AskOfCredentials>,
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
        // Where a worker token may be used is told, and for whoever was shown it to judge: it need not be here.
        let asked = Asked { entry: Some((&principal.entry, principal.role())), route: None, mends: false };
        if principal.entry.account.cuts.stopping(asked).is_some() {
            return inactive();
        }
        Ok(Some(Introspected {
            id: principal.credential(),
            kind: principal.kind(),
            user: principal.user(),
            username: principal.username().cloned(),
            scopes: principal.scopes(),
            expires_at: principal.expires_at(),
            audience: principal.worker().map(|claims| claims.audience.clone()),
            agent: principal.worker().map(|claims| claims.agent.clone()),
        }))
    }
}
