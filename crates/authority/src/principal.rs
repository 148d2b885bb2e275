//! The verified caller.

use std::sync::Arc;

use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_domain::worker::WorkerClaims;

use crate::entry::Entry;
use crate::lease::LeaseHandle;
use crate::refusal::Refusal;

/// Who is calling, as the verifier found it. Only [`Verifier::verify`](crate::Verifier::verify) makes one: its fields
/// are private to this crate, and there is no other constructor.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(crate) entry: Arc<Entry>,
    pub(crate) lease: LeaseHandle,
}

impl Principal {
    /// The credential that was presented.
    pub fn credential(&self) -> CredentialId {
        self.entry.id
    }

    /// What it is.
    pub fn kind(&self) -> CredentialKind {
        self.entry.kind
    }

    /// Its owner's id.
    pub fn user(&self) -> Option<UserId> {
        self.entry.account.user.as_ref().map(|user| user.id)
    }

    /// Its owner's username.
    pub fn username(&self) -> Option<&Username> {
        self.entry.account.user.as_ref().map(|user| &user.username)
    }

    /// How its owner is shown.
    pub fn display_name(&self) -> Option<DisplayName> {
        self.entry.account.display_name()
    }

    /// Its owner's role now, which may be less than when the request came in; `None` when nobody owns the credential.
    pub fn role(&self) -> Option<Role> {
        self.entry.account.role()
    }

    /// The name of that role; a credential without an owner has its kind's.
    pub fn role_name(&self) -> &'static str {
        self.role().map_or(self.kind().name(), Role::name)
    }

    /// What it may be used for now: its own scopes, within what the owner's role allows.
    pub fn scopes(&self) -> Scopes {
        match self.role() {
            Some(role) => self.entry.scopes.within(&self.entry.ceiling(role)),
            None => self.entry.scopes.clone(),
        }
    }

    /// When it ends by itself, or what it hangs on does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        // What is allowed for another's clock is nobody's to plan with.
        let own = self.worker().map(|claims| claims.expires_at);
        own.into_iter().chain(self.entry.deadline()).min()
    }

    /// What it says, if it is a worker token.
    pub fn worker(&self) -> Option<&Arc<WorkerClaims>> {
        self.entry.worker.as_ref().map(|worker| &worker.claims)
    }

    /// That it may be used at our own doors.
    pub(crate) fn expect_here(&self) -> Result<(), Refusal> {
        self.entry.expect_audience(None)
    }

    /// Whether it acts for everybody: scope `admin`, held by an admin.
    pub fn is_admin(&self) -> bool {
        let admin = Scope::Plain(fallgate_domain::scope::PlainScope::Admin);
        self.role() == Some(Role::Admin) && self.entry.scopes.allow(&admin)
    }
}
