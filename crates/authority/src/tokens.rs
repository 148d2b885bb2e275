//! Tokens that are there already: renamed, given another end, ended all at once or by whoever holds them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, Revocation, TokenName};
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::{self, InvalidLifetime, Lifetime};
use fallgate_domain::token::InvalidToken;
use fallgate_domain::user::{User, Username};
use fallgate_domain::{secret, worker};
use fallgate_store::{Amended, Listed, StoreError};
use serde_json::Value;

use crate::actions::{ReadIdentity, WriteTokens};
use crate::halt::{Owned, Unwritten, or_halt};
use crate::permit::Permit;
use crate::registrar::{Actor, Registrar, RevokeOutcome};
use crate::throttle::{Throttle, Throttled};
use crate::verifier::Verifier;

/// Tries at once to end a token by its secret, and the pause for each after that.
const HELD: (u32, Duration) = (60, Duration::from_secs(2));

/// Why a token was not changed, or a user's tokens not revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none of that id.
    #[error("there is no token {0}")]
    Unknown(CredentialId),
    /// It is another's.
    #[error("this is not for you to do: only an admin may do it for others")]
    NotYours,
    /// It is expired or revoked, itself or by what it hangs on.
    #[error("the token {0} has ended, for good")]
    Ended(CredentialId),
    /// A longer life than that of what it hangs on, or of the token that asks for it.
    #[error(
        "a token cannot outlive what it hangs on, nor the token that asks for it: it ends at {0} at the latest"
    )]
    Outlives(Timestamp),
    /// A longer life than the policy allows to any token.
    #[error("a token lasts at most {} here", lifetime::written(*longest))]
    BeyondPolicy {
        /// The longest there is.
        longest: Duration,
    },
    /// Nobody has that name.
    #[error("there is no user {0}")]
    UnknownUser(Username),
    /// The asked-for end makes no sense.
    #[error(transparent)]
    Lifetime(#[from] InvalidLifetime),
    /// A worker token that was to be forgotten before it can be sure to be dead.
    #[error(
        "a worker token can live until {0}, and its revocation would be forgotten before: leave the time out, or force it \
         if you know that this one ends earlier"
    )]
    WorkerEndEarly(Timestamp),
    /// One that has ended by then already.
    #[error("a token that ends then has ended already: give a time to come")]
    WorkerEndPast,
    /// Too many that nobody here knows, from the same network.
    #[error(transparent)]
    Throttled(Throttled),
    /// What was to end has ended in this process only.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a secret could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It has not the form of one, or a wrong checksum.
    #[error(transparent)]
    Malformed(#[from] InvalidToken),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What limits the door for whoever holds a token.
#[derive(Debug)]
pub(crate) struct HeldThrottle(Throttle);

impl HeldThrottle {
    pub(crate) fn new() -> Self {
        Self(Throttle::new(HELD.0, HELD.1))
    }
}

impl Registrar {
    /// Gives a token another name.
    pub async fn rename_token(
        &self,
        id: CredentialId,
        name: TokenName,
        actor: &Actor,
    ) -> Result<Listed, TokenError> {
        self.token(id).await?;
        let name = name.into_string();
        let detail = BTreeMap::from([("name".to_owned(), Value::from(name.clone()))]);
        let event = actor.event(self.clock.now(), audit::Action::TokenRename, id.to_string(), detail);
        let amended = self.vault.rename(id, name, event).await?;
        self.amended(id, amended).await
    }

    /// Gives a token another end, not after that of the one it was minted from. What has ended stays so.
    pub async fn redate_token(
        &self,
        id: CredentialId,
        lifetime: Lifetime,
        actor: &Actor,
    ) -> Result<Listed, TokenError> {
        self.redate_within(id, lifetime, None, actor).await
    }

    /// The same, with the latest end that the caller may give.
    async fn redate_within(
        &self,
        id: CredentialId,
        lifetime: Lifetime,
        latest: Option<Timestamp>,
        actor: &Actor,
    ) -> Result<Listed, TokenError> {
        let parent = match self.token(id).await?.credential.parent {
            Some(parent) => self.store.credential(parent).await?,
            None => None,
        };
        let parents_end = parent.and_then(|parent| parent.credential.expires_at);
        let now = self.clock.now();
        let end = lifetime.ends_at(now)?;
        if let Some(longest) = self.policy().token_life
            && end.is_none_or(|end| end > now.plus(longest))
        {
            return Err(TokenError::BeyondPolicy { longest });
        }
        if let Some(limit) = parents_end.into_iter().chain(latest).min()
            && end.is_none_or(|end| end > limit)
        {
            return Err(TokenError::Outlives(limit));
        }
        let told = end.map_or_else(|| "never".to_owned(), |end| end.to_string());
        let detail = BTreeMap::from([("expires_at".to_owned(), Value::from(told))]);
        let event = actor.event(now, audit::Action::TokenExpire, id.to_string(), detail);
        let amended = self.vault.redate(id, end, now, event).await?;
        self.amended(id, amended).await
    }

    /// Ends all tokens of a user, or of everybody, in one act; tells how many that were.
    pub async fn revoke_all(&self, of: Option<&Username>, actor: &Actor) -> Result<u64, TokenError> {
        let owner = match of {
            Some(username) => Some(self.owner_of_tokens(username).await?),
            None => None,
        };
        Ok(self.revoke_all_but(owner.as_ref(), None, actor).await?)
    }

    /// The credential whose secret this is, ended or not. The secret is read here and goes no further.
    pub async fn inspect(&self, secret: &[u8]) -> Result<Option<Listed>, SecretError> {
        let hash = secret::hash(secret)?;
        match self.vault.holder_of(hash).await? {
            Some(id) => Ok(self.store.credential(id).await?),
            None => Ok(None),
        }
    }

    async fn owner_of_tokens(&self, username: &Username) -> Result<User, TokenError> {
        let user = self.store.user_named(username).await?;
        user.ok_or_else(|| TokenError::UnknownUser(username.clone()))
    }

    async fn revoke_all_but(
        &self,
        owner: Option<&User>,
        except: Option<CredentialId>,
        actor: &Actor,
    ) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let target = owner.map_or_else(|| "*".to_owned(), |owner| owner.username.to_string());
        let event = actor.event(now, audit::Action::TokenRevokeAll, target, BTreeMap::new());
        let revocation =
            Revocation { at: now, by: actor.mark(), reason: Some("all tokens revoked".to_owned()) };
        self.vault.revoke_all(owner.map(|owner| owner.id), except, revocation, event).await
    }

    /// A credential that may be managed as a token.
    async fn token(&self, id: CredentialId) -> Result<Listed, TokenError> {
        let listed = self.store.credential(id).await?;
        let is_token = |listed: &Listed| {
            matches!(listed.credential.kind, CredentialKind::Token | CredentialKind::Legacy)
        };
        listed.filter(is_token).ok_or(TokenError::Unknown(id))
    }

    async fn amended(&self, id: CredentialId, amended: Amended) -> Result<Listed, TokenError> {
        match amended {
            Amended::Amended(_) | Amended::Unchanged => self.token(id).await,
            Amended::Ended => Err(TokenError::Ended(id)),
            Amended::Unknown => Err(TokenError::Unknown(id)),
        }
    }
}

impl Verifier {
    /// Gives a token another name, on behalf of its owner or, for an admin, anybody's.
    pub async fn rename_token(
        &self,
        permit: &Permit<WriteTokens>,
        id: CredentialId,
        name: TokenName,
        ip: Option<IpAddr>,
    ) -> Result<Listed, TokenError> {
        let (_, actor) = self.managed(permit, id, ip).await?;
        let listed = self.registrar.rename_token(id, name, &actor).await?;
        self.freshen_after_act().await;
        Ok(listed)
    }

    /// Gives a token another end, on behalf of its owner or, for an admin, anybody's. A token can give
    /// its owner's tokens none that is after its own, itself included: it would have no end (requirement R27). What uses the token through open
    /// connections is held to the new end before this returns.
    pub async fn redate_token(
        &self,
        permit: &Permit<WriteTokens>,
        id: CredentialId,
        lifetime: Lifetime,
        ip: Option<IpAddr>,
    ) -> Result<Listed, TokenError> {
        let principal = permit.principal();
        let (listed, actor) = self.managed(permit, id, ip).await?;
        // As for a mint: what an admin does for others hangs on nothing.
        let own_by_token = matches!(principal.kind(), CredentialKind::Token | CredentialKind::Worker)
            && listed.credential.owner == principal.user();
        let latest = principal.expires_at().filter(|_| own_by_token);
        let listed = self.registrar.redate_within(id, lifetime, latest, &actor).await?;
        self.freshen_after_act().await;
        Ok(listed)
    }

    /// The credential whose secret this is, ended or not, if it is the caller's or they are an admin. That it is
    /// another's is not told from that it is nobody's.
    pub async fn inspect(
        &self,
        permit: &Permit<ReadIdentity>,
        secret: &[u8],
    ) -> Result<Option<Listed>, StoreError> {
        let caller = permit.principal();
        let found = match self.registrar.inspect(secret).await {
            Ok(found) => found,
            Err(SecretError::Malformed(_)) => None,
            Err(SecretError::Store(error)) => return Err(error),
        };
        Ok(found.filter(|listed| {
            caller.is_admin() || caller.user().is_some_and(|user| listed.credential.owner == Some(user))
        }))
    }

    /// A token that the caller may manage, and as whom.
    async fn managed(
        &self,
        permit: &Permit<WriteTokens>,
        id: CredentialId,
        ip: Option<IpAddr>,
    ) -> Result<(Listed, Actor), TokenError> {
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let actor = Actor::of(permit, ip).ok_or(TokenError::NotYours)?;
        let listed = self.registrar.token(id).await?;
        if listed.credential.owner == permit.principal().user() {
            Ok((listed, actor))
        } else if permit.principal().is_admin() {
            Ok((listed, actor.for_others()))
        } else {
            Err(TokenError::NotYours)
        }
    }

    /// Ends all tokens of the caller but the one in use; or, for an admin, all of the named user. Open connections
    /// are cut before this returns.
    pub async fn revoke_all(
        &self,
        permit: &Permit<WriteTokens>,
        of: Option<&Username>,
        ip: Option<IpAddr>,
    ) -> Result<u64, TokenError> {
        let principal = permit.principal();
        let (Some(actor), Some(own)) = (Actor::of(permit, ip), principal.username()) else {
            return Err(TokenError::NotYours);
        };
        let (whose, except, actor) = match of {
            Some(other) if principal.is_admin() => (other, None, actor.for_others()),
            Some(other) if other != own => return Err(TokenError::NotYours),
            _ => (own, Some(principal.credential()), actor),
        };
        let owner = self.registrar.owner_of_tokens(whose).await?;
        // The caller is to hear what came of it, also when what they use hangs on what they end.
        principal.lease.act();
        let revoked = self.registrar.revoke_all_but(Some(&owner), except, &actor).await;
        let halt = |error: &StoreError| self.halt_owned(owner.id, Owned::Tokens, except, error);
        let count = or_halt::<_, TokenError>(revoked, halt)?;
        self.freshen_after_act().await;
        Ok(count)
    }

    /// Counts a try to end a token by its secret from there, whatever it is. Too many are told so, but a real secret
    /// is taken all the same: false ones from the same network must not keep anybody from ending their token.
    pub fn count_held(&self, ip: Option<IpAddr>) -> Result<(), Throttled> {
        self.held.0.count(ip, self.clock().now())
    }

    /// Ends the credential whose secret this is, whoever brings it (requirement R37). Whether there was one is not
    /// told. One that has ended already costs no look into the database, however often it comes.
    pub async fn revoke_held(&self, secret: &[u8], ip: Option<IpAddr>) -> Result<(), TokenError> {
        if worker::is_meant(secret) {
            self.freshen().await?;
            return self.revoke_held_worker(secret, ip).await;
        }
        let Ok(hash) = secret::hash(secret) else { return Ok(()) };
        self.freshen().await?;
        let Some(entry) = self.view.entry(&hash).filter(|entry| !entry.has_ended()) else {
            return Ok(());
        };
        let id = entry.id;
        let actor = Actor::Holder { credential: id, ip };
        let revoked = self.registrar.revoke(id, Some("by its holder".to_owned()), &actor).await;
        match revoked.map_err(|error| self.halt_credential(id, &error))? {
            RevokeOutcome::Revoked => {
                self.freshen_after_act().await;
                Ok(())
            }
            RevokeOutcome::AlreadyRevoked | RevokeOutcome::Unknown | RevokeOutcome::NotYours => Ok(()),
        }
    }
}
