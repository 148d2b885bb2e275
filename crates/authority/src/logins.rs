//! One's own sign-ins: seen, ended. And one's own account: its name, its passphrase.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fallgate_domain::audit;
use fallgate_domain::credential::{CredentialKind, Revocation};
use fallgate_domain::id::CredentialId;
use fallgate_domain::user::{DisplayName, User};
use fallgate_store::{ChangedPassphrase, CredentialFilter, EndedCredentials, Listed, Revoked, StoreError};
use zeroize::Zeroizing;

use crate::accounts::{UserError, UserPatch};
use crate::caller::{SignedIn, SigningOut};
use crate::enter::is_brought_over;
use crate::entry::{Entry, Parent};
use crate::halt::{Owned, or_halt};
use crate::hash_queue::Lane;
use crate::passphrase::Passphrase;
use crate::principal::Principal;
use crate::registrar::{Actor, Authority, RevokeOutcome};
use crate::signin::SignInError;
use crate::tokens::TokenError;
use crate::verifier::Verifier;

impl SignedIn {
    pub(crate) fn actor(&self, ip: Option<IpAddr>) -> Actor {
        let credential = self.principal().credential();
        Actor::User {
            id: self.owner,
            username: self.username().clone(),
            credential,
            ip,
            by: Authority::Standing,
            worker: None,
        }
    }
}

impl Verifier {
    /// Ends the sign-in that asks for it, wherever it was brought over to and from wherever it asks. Open connections are cut before this returns, also when it fails with
    /// [`TokenError::Unwritten`]; so it is with all that ends sign-ins.
    pub async fn sign_out(&self, caller: &SigningOut, ip: Option<IpAddr>) -> Result<(), TokenError> {
        let SigningOut(principal) = caller;
        let credential = origin_of(&principal.entry);
        // Nobody owns the sign-in of an anonymous old token.
        let actor = Actor::standing(principal, ip).unwrap_or(Actor::Holder { credential, ip });
        self.end(principal, &actor, credential, audit::Action::Logout, "signed out").await.map(drop)
    }

    /// The caller's sign-ins that stand, oldest first.
    pub async fn logins(&self, caller: &SignedIn) -> Result<Vec<Listed>, StoreError> {
        let (now, kinds) = (self.clock().now(), vec![CredentialKind::Login]);
        let filter = CredentialFilter { owner: Some(caller.owner), kinds, with_ended: false, now };
        let mut listed = self.store().credentials(&filter).await?;
        let idle = self.registrar.policy().login_idle;
        // What was brought over to the host of a route is the same device, and ends with the sign-in that it hangs on.
        let brought_over = |id| self.view.entry_of(id).is_some_and(|entry| is_brought_over(&entry));
        listed.retain(|Listed { credential, .. }| {
            if brought_over(credential.id) {
                return false;
            }
            let used_at = credential.last_use.as_ref().map_or(credential.created_at, |last_use| last_use.at);
            now < used_at.plus(idle) || credential.id == caller.principal().credential()
        });
        Ok(listed)
    }

    /// Ends one of the caller's sign-ins. Another's is as if it were not there.
    pub async fn end_login(
        &self,
        caller: &SignedIn,
        id: CredentialId,
        ip: Option<IpAddr>,
    ) -> Result<RevokeOutcome, TokenError> {
        let listed = self.store().credential(id).await?;
        let own = |listed: &Listed| {
            listed.credential.owner == Some(caller.owner) && listed.credential.kind == CredentialKind::Login
        };
        if !listed.as_ref().is_some_and(own) {
            return Ok(RevokeOutcome::Unknown);
        }
        let reason = "ended by its owner";
        self.end(caller.principal(), &caller.actor(ip), id, audit::Action::LoginRevoke, reason).await
    }

    /// Ends all of the caller's sign-ins but the one in use; tells how many.
    pub async fn end_other_logins(&self, caller: &SignedIn, ip: Option<IpAddr>) -> Result<u64, TokenError> {
        let (actor, now) = (caller.actor(ip), self.clock().now());
        let target = caller.username().to_string();
        let event = actor.event(now, audit::Action::LoginRevokeAll, target, BTreeMap::new());
        let reason = Some("signed out everywhere else".to_owned());
        let revocation = Revocation { at: now, by: actor.mark(), reason };
        let keep = Some(caller.principal().credential());
        let revoked = self.registrar.vault.revoke_logins(caller.owner, keep, revocation, event).await;
        let halt = |error: &StoreError| self.halt_owned(caller.owner, Owned::Logins, keep, error);
        let count = or_halt::<_, TokenError>(revoked, halt)?;
        self.withdraw_pairings_of(caller.owner);
        self.freshen_after_act().await;
        Ok(count)
    }

    /// Gives the caller's account another display name.
    pub async fn rename_self(
        &self,
        caller: &SignedIn,
        display_name: DisplayName,
        ip: Option<IpAddr>,
    ) -> Result<User, UserError> {
        let patch = UserPatch { display_name: Some(display_name), ..UserPatch::default() };
        let user = self.registrar.change_user(caller.username(), patch, &caller.actor(ip)).await?;
        self.freshen_after_act().await;
        Ok(user)
    }

    /// Gives the caller's account another passphrase, once they have shown the one until now. Ends their other
    /// sign-ins, and their tokens too if asked; tells how many.
    pub async fn change_own_passphrase(
        &self,
        caller: &SignedIn,
        current: &Zeroizing<String>,
        new: Passphrase,
        revoke_tokens: bool,
        ip: Option<IpAddr>,
    ) -> Result<EndedCredentials, SignInError> {
        let (actor, username) = (caller.actor(ip), caller.username().to_string());
        let proof = self.prove(&username, current, ip, Lane::Known).await?.proof;
        let hash = self.registrar.hash(new).await?;
        let now = self.clock().now();
        let event = actor.event(now, audit::Action::UserPassphrase, username, BTreeMap::new());
        let reason = Some("passphrase changed".to_owned());
        let revocation = Revocation { at: now, by: actor.mark(), reason };
        let keep = caller.principal().credential();
        let vault = &self.registrar.vault;
        let changed =
            vault.change_passphrase(caller.owner, proof, hash, keep, revoke_tokens, revocation, event).await;
        let to_end = if revoke_tokens { Owned::Everything } else { Owned::Logins };
        let halt = |error: &StoreError| self.halt_owned(caller.owner, to_end, Some(keep), error);
        match or_halt::<_, SignInError>(changed, halt)? {
            ChangedPassphrase::Changed(_, ended) => {
                self.withdraw_pairings_of(caller.owner);
                self.freshen_after_act().await;
                Ok(ended)
            }
            ChangedPassphrase::Superseded => Err(SignInError::Unsettled),
        }
    }

    pub(crate) async fn end(
        &self,
        caller: &Principal,
        actor: &Actor,
        id: CredentialId,
        action: audit::Action,
        reason: &str,
    ) -> Result<RevokeOutcome, TokenError> {
        let now = self.clock().now();
        let event = actor.event(now, action, id.to_string(), BTreeMap::new());
        let revocation = Revocation { at: now, by: actor.mark(), reason: Some(reason.to_owned()) };
        // Whoever ends what they use themselves is to hear that it is done.
        caller.lease.act();
        let revoked = self.registrar.vault.revoke(id, revocation, event).await;
        let outcome = match or_halt::<_, TokenError>(revoked, |error| self.halt_credential(id, error))? {
            Revoked::Revoked(_) => RevokeOutcome::Revoked,
            Revoked::AlreadyRevoked => RevokeOutcome::AlreadyRevoked,
            Revoked::Unknown => RevokeOutcome::Unknown,
        };
        self.freshen_after_act().await;
        Ok(outcome)
    }
}

/// The sign-in that this one was brought over from, or itself.
fn origin_of(entry: &Entry) -> CredentialId {
    let mut origin = entry;
    while let Parent::Entry(parent) = &origin.parent
        && parent.kind == CredentialKind::Login
    {
        origin = parent;
    }
    origin.id
}
