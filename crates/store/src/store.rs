//! The handle for looking: lists and single things to show, nothing that decides.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use fallgate_domain::audit::Event;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::user::{User, Username};

use crate::error::StoreError;
use crate::sqlite::Sqlite;
use crate::sqlite::backup::Progress;
use crate::{audit, credentials, upkeep, users};

/// Lists and shows. Cheap to clone; none of its answers is good enough to let anybody in.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) backend: Arc<Sqlite>,
}

/// Which credentials to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFilter {
    /// This user's only.
    pub owner: Option<UserId>,
    /// These kinds only; empty means every kind.
    pub kinds: Vec<CredentialKind>,
    /// Also those that are expired or revoked.
    pub with_ended: bool,
    /// The time against which expiry is held.
    pub now: Timestamp,
}

/// Which audit events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Those before this one.
    pub before: Option<u64>,
    /// Those after this one.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
    /// What this user did, or what was done to their account: a cut of it, and of a credential of theirs, too.
    pub user: Option<String>,
    /// This action only, such as `token.mint`.
    pub action: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Until before then.
    pub until: Option<Timestamp>,
}

/// A credential as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The credential. What it hangs on is counted in: `expires_at` is the earliest of its lineage, and `revoked` is
    /// its own end or else that of the nearest link that was ended.
    pub credential: Credential,
    /// Its owner's name, if it has an owner.
    pub owner_name: Option<Username>,
    /// How often it was used, to about the last minute's uses.
    pub uses: u64,
}

/// Tokens that were not used for long, and where to look on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedPage {
    /// Those of the page.
    pub tokens: Vec<CredentialId>,
    /// After which the next page begins; `None`: this was the last.
    pub next: Option<CredentialId>,
}

impl Store {
    pub(crate) fn new(backend: Arc<Sqlite>) -> Self {
        Self { backend }
    }

    /// Every account, by username.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.backend.read(users::all).await
    }

    /// The account of that name.
    pub async fn user_named(&self, username: &Username) -> Result<Option<User>, StoreError> {
        let username = username.clone();
        self.backend.read(move |connection| users::named(connection, &username)).await
    }

    /// The account of that id.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.backend.read(move |connection| users::with_id(connection, id)).await
    }

    /// Credentials by id, which is by age.
    pub async fn credentials(&self, filter: &CredentialFilter) -> Result<Vec<Listed>, StoreError> {
        let filter = filter.clone();
        self.backend.read(move |connection| credentials::list(connection, &filter)).await
    }

    /// At most `limit` of them, the youngest first: those that are older than `before`.
    pub async fn youngest_credentials(
        &self,
        filter: &CredentialFilter,
        before: Option<CredentialId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let filter = filter.clone();
        self.backend.read(move |connection| credentials::youngest(connection, &filter, before, limit)).await
    }

    /// When each of these accounts was last used by any of its credentials, to about a minute; those that never were
    /// are left out.
    pub async fn last_seen(&self, accounts: Vec<UserId>) -> Result<HashMap<UserId, Timestamp>, StoreError> {
        self.backend.read(move |connection| users::last_seen(connection, &accounts)).await
    }

    /// The credential of that id, ended or not.
    pub async fn credential(&self, id: CredentialId) -> Result<Option<Listed>, StoreError> {
        self.backend.read(move |connection| credentials::with_id(connection, id)).await
    }

    /// What these credentials are called, as far as they are known.
    pub async fn credential_names(
        &self,
        ids: Vec<CredentialId>,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        self.backend.read(move |connection| credentials::names(connection, &ids)).await
    }

    /// At most `limit` audit events, newest first: those before the event `before`, or the newest of all.
    pub async fn events(&self, before: Option<u64>, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.find_events(&EventFilter { before, limit, ..EventFilter::default() }).await
    }

    /// Audit events of a filter, newest first.
    pub async fn find_events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let filter = filter.clone();
        self.backend.read(move |connection| audit::page(connection, &filter)).await
    }

    /// At most `limit` audit events, oldest first: those after the event `after`, 0 for all.
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.backend.read(move |connection| audit::after(connection, after, limit)).await
    }

    /// Tokens that stand at `now` and were neither made nor used since then: those of the next `most` credentials after
    /// `after`, by id.
    pub async fn unused_tokens(
        &self,
        since: Timestamp,
        now: Timestamp,
        after: Option<CredentialId>,
        most: u32,
    ) -> Result<UnusedPage, StoreError> {
        self.backend.read(move |connection| upkeep::unused(connection, since, now, after, most)).await
    }

    /// Copies the whole database, as of one moment, into a new file that only its owner can read, while others go on
    /// reading and writing it. `tell` is called now and then. What is at `to` already is not overwritten:
    /// [`StoreError::BackupExists`].
    pub async fn backup(
        &self,
        to: PathBuf,
        tell: impl FnMut(Progress) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.backend.backup(to, tell).await
    }

    /// Whether the store can be read now.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.backend.in_place(|connection| crate::changes::revision(connection).map(drop))
    }
}
