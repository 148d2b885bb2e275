//! Issuing a token: decide what it may be, write it durably, show it once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, GRANT, NewCredential, TokenName};
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::{self, InvalidLifetime, Lifetime};
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user::{User, Username};
use fallgate_store::{Minted, StoreError};
use serde_json::Value;
use zeroize::Zeroize;

use crate::actions::WriteTokens;
use crate::permit::Permit;
use crate::principal::Principal;
use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

/// A token to be minted.
#[derive(Debug, Clone)]
pub struct MintOrder {
    /// Whose it will be.
    pub owner: Username,
    /// What its owner will call it.
    pub name: Option<TokenName>,
    /// What it may be used for; the defaults, if nothing is said.
    pub scopes: Option<Scopes>,
    /// How long it lasts; 90 days, if nothing is said (requirement R33).
    pub lifetime: Option<Lifetime>,
}

/// A token that was minted, with the one sight of its secret.
#[derive(Debug)]
pub struct MintedToken {
    /// Its row.
    pub credential: Credential,
    /// Whose it is.
    pub owner: Username,
    /// Shown once.
    pub secret: PlainToken,
}

/// Why a token was not minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nobody has that name.
    #[error("there is no user {0}")]
    UnknownUser(Username),
    /// They are disabled.
    #[error("the user {0} is disabled")]
    OwnerDisabled(Username),
    /// A scope that its owner's role does not allow.
    #[error("the scope {0} is more than the role of its owner allows: leave it out")]
    ScopeBeyond(Scope),
    /// A scope that the token which mints it does not have.
    #[error(
        "the scope {0} is not one of the token that mints it, and no token can give more than it has: leave it out"
    )]
    ScopeBeyondParent(Scope),
    /// A longer life than that of the token which mints it.
    #[error("a token cannot outlive the one that mints it, which ends at {0}")]
    OutlivesParent(Timestamp),
    /// A longer life than the policy allows to any token.
    #[error("a token lasts at most {} here", lifetime::written(*longest))]
    BeyondPolicy {
        /// The longest there is.
        longest: Duration,
    },
    /// A worker token asks for it.
    #[error("a worker token mints nothing: ask with a token or a sign-in")]
    ByWorker,
    /// The credential that asks for it has ended.
    #[error("the credential that asks for it has ended")]
    ParentEnded,
    /// Each minted by the one before, sixteen times already.
    #[error("the token that asks for it is the last of a line of sixteen: mint from one further up")]
    TooDeep,
    /// Its owner has as many as anybody may.
    #[error(
        "{owner} has {most} tokens, as many as one user may have (tokens.max_per_user): revoke those that are not needed any more"
    )]
    TooMany {
        /// Whose it would have been.
        owner: Username,
        /// How many they may have.
        most: u32,
    },
    /// The asked-for life makes no sense.
    #[error(transparent)]
    Lifetime(#[from] InvalidLifetime),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The token that mints another, as far as it limits it (requirement R27).
struct ParentLimits {
    id: CredentialId,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

impl ParentLimits {
    /// A token minted by one's own token is its child. One minted from a sign-in, or for somebody else, has no
    /// parent.
    fn of(principal: &Principal, owner: &User) -> Option<Self> {
        (principal.kind() == CredentialKind::Token && principal.user() == Some(owner.id)).then(|| Self {
            id: principal.credential(),
            scopes: principal.scopes(),
            expires_at: principal.expires_at(),
        })
    }
}

impl Registrar {
    /// Mints a token that hangs on nothing, for whoever has access to the home folder.
    pub async fn mint(&self, order: MintOrder, actor: &Actor) -> Result<MintedToken, MintError> {
        let owner = self.owner(&order.owner).await?;
        let ceiling = Scopes::grantable(owner.role);
        self.issue(order, owner, &ceiling, None, actor).await
    }

    async fn owner(&self, username: &Username) -> Result<User, MintError> {
        let found = self.store.user_named(username).await?;
        found.ok_or_else(|| MintError::UnknownUser(username.clone()))
    }

    async fn issue(
        &self,
        order: MintOrder,
        owner: User,
        ceiling: &Scopes,
        parent: Option<ParentLimits>,
        actor: &Actor,
    ) -> Result<MintedToken, MintError> {
        let now = self.clock.now();
        let scopes = granted_scopes(order.scopes, ceiling, parent.as_ref())?;
        let is_grant = Scopes::ceiling(owner.role).first_beyond(&scopes).is_some();
        let expires_at = granted_end(order.lifetime, parent.as_ref(), self.policy().token_life, now)?;
        let mut random = entropy::bytes::<32>(&*self.entropy)?;
        let secret = PlainToken::new(TokenKind::Token, &random);
        random.zeroize();
        let credential = Credential {
            id: CredentialId::new(now, &*self.entropy)?,
            kind: CredentialKind::Token,
            owner: Some(owner.id),
            parent: parent.map(|parent| parent.id),
            minted_by: if is_grant { format!("{GRANT}{}", actor.mark()) } else { actor.mark() },
            name: order.name.unwrap_or_default().into_string(),
            hint: secret.hint(),
            scopes,
            created_at: now,
            expires_at,
            revoked: None,
            last_use: None,
        };
        let detail = BTreeMap::from([
            ("owner".to_owned(), Value::from(owner.username.as_str())),
            ("name".to_owned(), Value::from(credential.name.clone())),
            ("scopes".to_owned(), Value::from(credential.scopes.to_string())),
        ]);
        let event = actor.event(now, audit::Action::TokenMint, credential.id.to_string(), detail);
        let new = NewCredential { credential: credential.clone(), hash: secret.hash() };
        let most = self.policy().tokens_per_user;
        match self.vault.mint(new, most, event).await? {
            Minted::Minted(_) => Ok(MintedToken { credential, owner: owner.username, secret }),
            Minted::OwnerUnknown => Err(MintError::UnknownUser(owner.username)),
            Minted::OwnerDisabled => Err(MintError::OwnerDisabled(owner.username)),
            Minted::ParentEnded => Err(MintError::ParentEnded),
            Minted::TooDeep => Err(MintError::TooDeep),
            Minted::TooMany => Err(MintError::TooMany { owner: owner.username, most }),
        }
    }
}

impl Verifier {
    /// Mints a token on a caller's behalf: for themselves, or, for an admin, for anybody. What a plain user asks for
    /// somebody else is minted for themselves.
    pub async fn mint(
        &self,
        permit: &Permit<WriteTokens>,
        mut order: MintOrder,
        ip: Option<IpAddr>,
    ) -> Result<MintedToken, MintError> {
        // The request's body may have taken its time: what counts is what the caller may do now.
        self.freshen().await?;
        let principal = permit.principal();
        principal.entry.judge(self.clock().now()).map_err(|_| MintError::ParentEnded)?;
        // What it mints would outlive it.
        if principal.kind() == CredentialKind::Worker {
            return Err(MintError::ByWorker);
        }
        let (Some(actor), Some(username)) = (Actor::of(permit, ip), principal.username()) else {
            return Err(MintError::UnknownUser(order.owner));
        };
        if !principal.is_admin() {
            order.owner = username.clone();
        }
        let own = order.owner == *username;
        let actor = if own { actor } else { actor.for_others() };
        let owner = self.registrar.owner(&order.owner).await?;
        let parent = ParentLimits::of(principal, &owner);
        // Nobody grants themselves anything.
        let ceiling = if own { Scopes::ceiling(owner.role) } else { Scopes::grantable(owner.role) };
        self.registrar.issue(order, owner, &ceiling, parent, &actor).await
    }
}

/// Asked-for scopes must fit; defaults are cut down to fit.
fn granted_scopes(
    asked: Option<Scopes>,
    ceiling: &Scopes,
    parent: Option<&ParentLimits>,
) -> Result<Scopes, MintError> {
    let Some(scopes) = asked else {
        let scopes = Scopes::default_for_tokens().within(ceiling);
        return Ok(parent.map_or_else(|| scopes.clone(), |parent| scopes.within(&parent.scopes)));
    };
    if let Some(scope) = ceiling.first_beyond(&scopes) {
        return Err(MintError::ScopeBeyond(scope));
    }
    match parent.and_then(|parent| parent.scopes.first_beyond(&scopes)) {
        Some(scope) => Err(MintError::ScopeBeyondParent(scope)),
        None => Ok(scopes),
    }
}

/// An asked-for end must not be after the parent's, nor later than the policy allows; the default is cut down to
/// both.
fn granted_end(
    asked: Option<Lifetime>,
    parent: Option<&ParentLimits>,
    longest: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Timestamp>, MintError> {
    let mut end = asked.unwrap_or(Lifetime::DEFAULT).ends_at(now)?;
    if let Some(longest) = longest {
        let latest = now.plus(longest);
        if end.is_none_or(|end| end > latest) {
            if asked.is_some() {
                return Err(MintError::BeyondPolicy { longest });
            }
            end = Some(latest);
        }
    }
    let Some(limit) = parent.and_then(|parent| parent.expires_at) else { return Ok(end) };
    match (asked, end) {
        (None, _) => Ok(Some(end.map_or(limit, |end| end.min(limit)))),
        (Some(_), Some(end)) if end <= limit => Ok(Some(end)),
        (Some(_), _) => Err(MintError::OutlivesParent(limit)),
    }
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;
    use fallgate_domain::scope::PlainScope;
    use fallgate_domain::user::Role;

    use super::*;

    fn parent(scopes: Scopes, expires_at: Option<Timestamp>) -> ParentLimits {
        let id = CredentialId::new(Timestamp::from_millis(0), &TestEntropy::default()).unwrap();
        ParentLimits { id, scopes, expires_at }
    }

    #[test]
    fn r27_a_childs_scopes_stay_within_its_parents() {
        let narrow = parent(Scopes::plain([PlainScope::TokensWrite, PlainScope::IdentityRead]), None);
        let asked = Some(Scopes::plain([PlainScope::RoutesUse]));
        let refused = granted_scopes(asked, &Scopes::ceiling(Role::Admin), Some(&narrow));
        assert!(matches!(refused, Err(MintError::ScopeBeyondParent(_))));
        let defaults = granted_scopes(None, &Scopes::ceiling(Role::Admin), Some(&narrow)).unwrap();
        assert_eq!(defaults, Scopes::plain([PlainScope::IdentityRead]));
    }

    #[test]
    fn only_an_admin_gets_the_scope_admin() {
        let asked = Some(Scopes::plain([PlainScope::Admin]));
        assert!(granted_scopes(asked.clone(), &Scopes::ceiling(Role::User), None).is_err());
        assert!(granted_scopes(asked, &Scopes::ceiling(Role::Admin), None).is_ok());
    }

    #[test]
    fn r27_a_child_ends_with_its_parent_at_the_latest() {
        let now = Timestamp::from_millis(0);
        let hour = now.plus(Duration::from_hours(1));
        let limited = parent(Scopes::none(), Some(hour));
        assert_eq!(granted_end(None, Some(&limited), None, now).unwrap(), Some(hour));
        let half = Some(Lifetime::For(Duration::from_mins(30)));
        assert_eq!(
            granted_end(half, Some(&limited), None, now).unwrap(),
            Some(now.plus(Duration::from_mins(30)))
        );
        for asked in [Lifetime::Never, Lifetime::For(Duration::from_hours(2))] {
            let refused = granted_end(Some(asked), Some(&limited), None, now);
            assert!(matches!(refused, Err(MintError::OutlivesParent(end)) if end == hour));
        }
        assert_eq!(granted_end(Some(Lifetime::Never), None, None, now).unwrap(), None);
    }

    #[test]
    fn r33_no_token_outlasts_the_policy() {
        let now = Timestamp::from_millis(0);
        let (day, month) = (Duration::from_hours(24), Duration::from_hours(720));
        assert_eq!(granted_end(None, None, Some(month), now).unwrap(), Some(now.plus(month)));
        let asked = Some(Lifetime::For(day));
        assert_eq!(granted_end(asked, None, Some(month), now).unwrap(), Some(now.plus(day)));
        for asked in [Lifetime::Never, Lifetime::For(2 * month)] {
            let refused = granted_end(Some(asked), None, Some(month), now);
            assert!(matches!(refused, Err(MintError::BeyondPolicy { longest }) if longest == month));
        }
    }
}
