//! People's accounts: made, changed, deleted, given another passphrase. What ends with them ends at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use fallgate_domain::audit;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::Revocation;
use fallgate_domain::entropy::NoEntropy;
use fallgate_domain::id::UserId;
use fallgate_domain::user::{DisplayName, Role, User, Username};
use fallgate_store::{
    ChangedUser, CreatedUser, DeletedUser, EndedCredentials, PassphraseHash, SetPassphrase, StoreError,
    UserChange,
};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::actions::ManageUsers;
use crate::halt::{Owned, Unwritten};
use crate::hash_queue::Lane;
use crate::hasher::HasherBusy;
use crate::passphrase::{HashFailed, Passphrase, WeakPassphrase};
use crate::permit::Permit;
use crate::registrar::{Actor, Registrar};
use crate::verifier::Verifier;

/// An account to be made.
#[derive(Debug)]
pub struct UserOrder {
    /// How they sign in.
    pub username: Username,
    /// How they are shown; the username, if nothing is said.
    pub display_name: Option<DisplayName>,
    /// What they may do at most.
    pub role: Role,
    /// What they will sign in with.
    pub passphrase: Passphrase,
}

/// What is to change about an account; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// How they are shown.
    pub display_name: Option<DisplayName>,
    /// What they may do at most.
    pub role: Option<Role>,
    /// Whether every credential of theirs is refused. Enabling restores what was not revoked, and nothing else.
    pub disabled: Option<bool>,
}

/// Why an account was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is one of that name.
    #[error("there is a user {0} already")]
    UsernameTaken(Username),
    /// An agent has that name, and everybody has an agent of their own name.
    #[error(
        "there is an agent {0}, and everybody has an agent of their own name: take another, or delete that agent"
    )]
    AgentNamedSo(Username),
    /// Nobody has that name.
    #[error("there is no user {0}")]
    Unknown(Username),
    /// Nobody would be left who may do everything.
    #[error("the user {0} is the last enabled admin")]
    LastAdmin(Username),
    /// A credential that nobody owns cannot act on accounts.
    #[error("a credential that nobody owns cannot manage users")]
    Ownerless,
    /// No random bytes for the id.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The passphrase could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// Who was to be shut out is shut out by this process only.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a passphrase cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum CheckPassphraseError {
    /// It is not good enough.
    #[error(transparent)]
    Weak(#[from] WeakPassphrase),
    /// Too many are being looked at.
    #[error(transparent)]
    Busy(#[from] HasherBusy),
}

impl Registrar {
    /// Makes an account.
    pub async fn create_user(&self, order: UserOrder, actor: &Actor) -> Result<User, UserError> {
        // Before the hash, which costs; that the name is still free is made sure of in the act.
        if self.store.user_named(&order.username).await?.is_some() {
            return Err(UserError::UsernameTaken(order.username));
        }
        let hash = self.hash(order.passphrase).await?;
        let now = self.clock.now();
        let user = User {
            id: UserId::new(now, &*self.entropy)?,
            display_name: order.display_name.unwrap_or_else(|| DisplayName::from(&order.username)),
            username: order.username,
            role: order.role,
            created_at: now,
            disabled_at: None,
        };
        let detail = BTreeMap::from([("role".to_owned(), Value::from(user.role.name()))]);
        let event = actor.event(now, audit::Action::UserCreate, user.username.to_string(), detail);
        match self.vault.create_user(user.clone(), Some(hash), event).await? {
            CreatedUser::Created(_) => Ok(user),
            CreatedUser::UsernameTaken => Err(UserError::UsernameTaken(user.username)),
            CreatedUser::AgentNamedSo => Err(UserError::AgentNamedSo(user.username)),
        }
    }

    /// Changes an account, all of the patch or nothing of it. A role counts on the next request, and a disabled
    /// account's credentials are refused from then on (requirement R57).
    pub async fn change_user(
        &self,
        username: &Username,
        patch: UserPatch,
        actor: &Actor,
    ) -> Result<User, UserError> {
        let id = self.account(username).await?.id;
        let now = self.clock.now();
        let event = |action, name: &str, value: &str| {
            let detail = BTreeMap::from([(name.to_owned(), Value::from(value))]);
            actor.event(now, action, username.to_string(), detail)
        };
        let mut changes = Vec::new();
        if let Some(name) = patch.display_name {
            let event = event(audit::Action::UserRename, "display_name", name.as_str());
            changes.push((UserChange::DisplayName(name), event));
        }
        if let Some(role) = patch.role {
            changes.push((UserChange::Role(role), event(audit::Action::UserRole, "role", role.name())));
        }
        if let Some(disabled) = patch.disabled {
            let (change, action) = if disabled {
                (UserChange::Disable(now), audit::Action::UserDisable)
            } else {
                (UserChange::Enable, audit::Action::UserEnable)
            };
            changes.push((change, actor.event(now, action, username.to_string(), BTreeMap::new())));
        }
        match self.vault.change_user(id, changes).await? {
            ChangedUser::Changed(_, user) | ChangedUser::Unchanged(user) => Ok(user),
            ChangedUser::Unknown => Err(UserError::Unknown(username.clone())),
            ChangedUser::LastAdmin => Err(UserError::LastAdmin(username.clone())),
        }
    }

    /// Deletes an account and ends all it owns; tells how much that was. Whoever is made under that name later
    /// inherits nothing.
    pub async fn delete_user(
        &self,
        username: &Username,
        actor: &Actor,
    ) -> Result<EndedCredentials, UserError> {
        let id = self.account(username).await?.id;
        let now = self.clock.now();
        let event = actor.event(now, audit::Action::UserDelete, username.to_string(), BTreeMap::new());
        let revocation = revocation(now, actor, "user deleted");
        match self.vault.delete_user(id, revocation, event).await? {
            DeletedUser::Deleted(_, ended) => Ok(ended),
            DeletedUser::Unknown => Err(UserError::Unknown(username.clone())),
            DeletedUser::LastAdmin => Err(UserError::LastAdmin(username.clone())),
        }
    }

    /// Gives an account another passphrase and ends its sign-ins, and its tokens too if asked; tells how many.
    pub async fn reset_passphrase(
        &self,
        username: &Username,
        passphrase: Passphrase,
        revoke_tokens: bool,
        actor: &Actor,
    ) -> Result<EndedCredentials, UserError> {
        let (id, hash) = self.ready_passphrase(username, passphrase).await?;
        self.set_passphrase(id, username, hash, revoke_tokens, actor).await
    }

    /// Looks at a passphrase that is to be set, on the threads that hash: it takes its time. `about` is what an
    /// attacker would try first.
    pub async fn check_passphrase(
        &self,
        text: Zeroizing<String>,
        about: Vec<String>,
    ) -> Result<Passphrase, CheckPassphraseError> {
        Passphrase::measure(&text, &self.policy())?;
        let policy = self.policy();
        let check = move || {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            Passphrase::new(text, &about, &policy)
        };
        Ok(self.hasher.run(Lane::Known, check).await??)
    }

    pub(crate) async fn hash(&self, passphrase: Passphrase) -> Result<PassphraseHash, HashFailed> {
        let entropy = Arc::clone(&self.entropy);
        self.hasher.run(Lane::Known, move || passphrase.hash(&*entropy)).await?
    }

    async fn account(&self, username: &Username) -> Result<User, UserError> {
        let found = self.store.user_named(username).await?;
        found.ok_or_else(|| UserError::Unknown(username.clone()))
    }

    async fn ready_passphrase(
        &self,
        username: &Username,
        passphrase: Passphrase,
    ) -> Result<(UserId, PassphraseHash), UserError> {
        let id = self.account(username).await?.id;
        Ok((id, self.hash(passphrase).await?))
    }

    async fn set_passphrase(
        &self,
        id: UserId,
        username: &Username,
        hash: PassphraseHash,
        revoke_tokens: bool,
        actor: &Actor,
    ) -> Result<EndedCredentials, UserError> {
        let now = self.clock.now();
        let event = actor.event(now, audit::Action::UserPassphrase, username.to_string(), BTreeMap::new());
        let revocation = revocation(now, actor, "passphrase reset");
        match self.vault.set_passphrase(id, hash, revoke_tokens, revocation, event).await? {
            SetPassphrase::Set(_, ended) => Ok(ended),
            SetPassphrase::Unknown => Err(UserError::Unknown(username.clone())),
        }
    }
}

fn revocation(at: Timestamp, actor: &Actor, reason: &str) -> Revocation {
    Revocation { at, by: actor.mark(), reason: Some(reason.to_owned()) }
}

/// The same on a caller's behalf. Each commits, then cuts, and only then answers; and whoever ends their own
/// credential by it still hears what came of it.
impl Verifier {
    /// Looks at a passphrase that is to be set; `about` is what an attacker would try first.
    pub async fn check_passphrase(
        &self,
        text: Zeroizing<String>,
        about: Vec<String>,
    ) -> Result<Passphrase, CheckPassphraseError> {
        self.registrar.check_passphrase(text, about).await
    }

    /// Makes an account.
    pub async fn create_user(
        &self,
        permit: &Permit<ManageUsers>,
        order: UserOrder,
        ip: Option<IpAddr>,
    ) -> Result<User, UserError> {
        let user = self.registrar.create_user(order, &acting(permit, ip)?).await?;
        self.freshen_after_act().await;
        Ok(user)
    }

    /// Changes an account. Open connections that it does not allow any more are cut before this returns.
    pub async fn change_user(
        &self,
        permit: &Permit<ManageUsers>,
        username: &Username,
        patch: UserPatch,
        ip: Option<IpAddr>,
    ) -> Result<User, UserError> {
        let actor = acting(permit, ip)?;
        permit.principal().lease.act();
        let disabled = patch.disabled;
        let changed = self.registrar.change_user(username, patch, &actor).await;
        let user = match disabled {
            Some(true) => changed.map_err(|error| self.shut_out(username, error))?,
            _ => changed?,
        };
        if disabled == Some(false) {
            self.unhalt_user(username);
        }
        self.freshen_after_act().await;
        Ok(user)
    }

    /// Deletes an account. Its open connections are cut before this returns.
    pub async fn delete_user(
        &self,
        permit: &Permit<ManageUsers>,
        username: &Username,
        ip: Option<IpAddr>,
    ) -> Result<EndedCredentials, UserError> {
        let actor = acting(permit, ip)?;
        permit.principal().lease.act();
        let deleted = self.registrar.delete_user(username, &actor).await;
        let ended = deleted.map_err(|error| self.shut_out(username, error))?;
        self.freshen_after_act().await;
        Ok(ended)
    }

    /// Shuts an account out of this process at least, if the store could not be told.
    fn shut_out(&self, username: &Username, error: UserError) -> UserError {
        match error {
            UserError::Store(StoreError::CallerEnded | StoreError::CallerCut(_)) => error,
            UserError::Store(error) => self.halt_user(username, &error).into(),
            error => error,
        }
    }

    /// Gives an account another passphrase. What that ends is cut before this returns.
    pub async fn reset_passphrase(
        &self,
        permit: &Permit<ManageUsers>,
        username: &Username,
        passphrase: Passphrase,
        revoke_tokens: bool,
        ip: Option<IpAddr>,
    ) -> Result<EndedCredentials, UserError> {
        let actor = acting(permit, ip)?;
        // Until the hash is there the caller can still be cut.
        let (id, hash) = self.registrar.ready_passphrase(username, passphrase).await?;
        permit.principal().lease.act();
        let set = self.registrar.set_passphrase(id, username, hash, revoke_tokens, &actor).await;
        let to_end = if revoke_tokens { Owned::Everything } else { Owned::Logins };
        let ended = set.map_err(|error| match error {
            UserError::Store(StoreError::CallerEnded | StoreError::CallerCut(_)) => error,
            UserError::Store(error) => self.halt_owned(id, to_end, None, &error).into(),
            error => error,
        })?;
        self.withdraw_pairings_of(id);
        self.freshen_after_act().await;
        Ok(ended)
    }
}

fn acting(permit: &Permit<ManageUsers>, ip: Option<IpAddr>) -> Result<Actor, UserError> {
    Actor::of(permit, ip).ok_or(UserError::Ownerless)
}
