//! The handle that decides and changes trust.

use std::fmt;
use std::sync::Arc;

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::{Clock, Timestamp};
use fallgate_domain::credential::{LastUse, NewCredential, Revocation};
use fallgate_domain::id::{AgentId, CredentialId, UserId};
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{DisplayName, Role, User};
use rusqlite::Transaction;

use crate::error::StoreError;
use crate::imports::{Import, Imported};
use crate::internal::{InternalHeld, NewInternal};
use crate::revision::{Changes, Revision, Row};
use crate::sqlite::Sqlite;
use crate::{accounts, changes, credentials, imports, internal, tokens, upkeep, users};

/// All that decides or changes trust. There is one, it cannot be cloned, and the verifier owns it.
///
/// Each act is one transaction with its audit event and is durable (it survives power loss) when its answer arrives.
/// Once begun it is done whether or not the caller still waits. After [`StoreError::Unavailable`] it may have been done
/// or not, but never in part. What takes something away is known, when its answer arrives, to the file beside the
/// database too: see [`crate::open`].
#[derive(Debug)]
pub struct Vault {
    pub(crate) backend: Arc<Sqlite>,
}

/// The clock, to be asked in the midst of an act, while nobody else writes. What was made before any act that was done
/// earlier has an earlier time then, though two acts may be under way at once.
#[derive(Debug)]
pub struct Now(Arc<dyn Clock>);

impl Now {
    /// By this clock.
    pub fn by(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    pub(crate) fn told(self) -> Timestamp {
        self.0.now()
    }
}

/// A passphrase's hash in the PHC string format (<https://github.com/P-H-C/phc-string-format>). It has no `Display`,
/// and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PassphraseHash(String);

impl PassphraseHash {
    /// From its PHC string.
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, for checking a passphrase against it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PassphraseHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassphraseHash(…)")
    }
}

/// What became of [`Vault::create_user`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CreatedUser {
    /// The account is there as of this revision.
    Created(Revision),
    /// Somebody has that name; nothing was done.
    UsernameTaken,
    /// An agent has it, and everybody has an agent of their own name; nothing was done.
    AgentNamedSo,
}

/// One thing to change about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange {
    /// How they are shown.
    DisplayName(DisplayName),
    /// What they may do at most.
    Role(Role),
    /// Refuse every credential of theirs, as of then. An account that is disabled already keeps its date.
    Disable(Timestamp),
    /// Let in again what was not revoked.
    Enable,
}

/// What became of [`Vault::change_user`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum ChangedUser {
    /// The account is like this as of this revision.
    Changed(Revision, User),
    /// It was like this before; nothing was done, nothing recorded.
    Unchanged(User),
    /// There is no such account; nothing was done.
    Unknown,
    /// Nobody would be left who may do everything; nothing was done.
    LastAdmin,
}

/// What became of [`Vault::delete_user`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum DeletedUser {
    /// The account is gone as of this revision, and these credentials of theirs were ended.
    Deleted(Revision, EndedCredentials),
    /// There is no such account; nothing was done.
    Unknown,
    /// Nobody would be left who may do everything; nothing was done.
    LastAdmin,
}

/// What became of [`Vault::set_passphrase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SetPassphrase {
    /// It counts as of this revision, and these credentials were ended.
    Set(Revision, EndedCredentials),
    /// There is no such account; nothing was done.
    Unknown,
}

/// How many credentials an act ended that were good until then by their own dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCredentials {
    /// Sign-ins.
    pub logins: u64,
    /// All others.
    pub tokens: u64,
}

/// What became of [`Vault::mint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Minted {
    /// The credential is good as of this revision.
    Minted(Revision),
    /// There is no such owner; nothing was done.
    OwnerUnknown,
    /// The owner is disabled; nothing was done.
    OwnerDisabled,
    /// The parent, or something it hangs on, is unknown, expired or revoked; nothing was done.
    ParentEnded,
    /// It would be the seventeenth of a line, each hanging on the one before.
    TooDeep,
    /// The owner has as many tokens as they may; nothing was done.
    TooMany,
}

/// What became of [`Vault::revoke`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Revoked {
    /// It is ended, and all that hangs on it, as of this revision.
    Revoked(Revision),
    /// It was ended before; nothing was done, nothing recorded.
    AlreadyRevoked,
    /// There is no such credential; nothing was done, nothing recorded.
    Unknown,
}

/// What became of [`Vault::rename`] and [`Vault::redate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Amended {
    /// It is so as of this revision.
    Amended(Revision),
    /// It was so before; nothing was done, nothing recorded.
    Unchanged,
    /// It is expired or revoked, or what it hangs on is; nothing was done. Only [`Vault::redate`] says so.
    Ended,
    /// There is no such credential; nothing was done.
    Unknown,
}

/// Uses of a credential, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedUse {
    /// Which.
    pub credential: CredentialId,
    /// The last of them; `None`: the note before told of it, and only the count is to rise.
    pub last: Option<LastUse>,
    /// How many there were since the note before.
    pub times: u64,
    /// As which agent, which is then seen: a worker token has no row itself.
    pub agent: Option<AgentId>,
}

/// What came of [`Vault::accept_restored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Accepted {
    /// The revision from which the database goes on.
    pub revision: Revision,
    /// The one that it had.
    pub found: Revision,
    /// The highest that there was, if that could still be told.
    pub reached: Option<Revision>,
    /// What was good until then by its own dates.
    pub ended: EndedCredentials,
}

impl Vault {
    pub(crate) fn new(backend: Arc<Sqlite>) -> Self {
        Self { backend }
    }

    /// The revision now: never older than the moment of the call, whichever process raised it.
    ///
    /// On SQLite it is answered in place in some tens of nanoseconds, without waiting.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        self.backend.revision()
    }

    /// Gives everything to `each`, all as of the revision returned: revoked worker tokens, every user, the signing keys,
    /// every cut, then every credential by id, then every agent.
    ///
    /// Ids begin with the time of their making, so a parent comes before its children, unless a clock was set back
    /// or both are of one millisecond: whoever builds on the order must still take a child that comes first.
    ///
    /// It runs on the calling thread: for start-up only.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn load(&self, each: &mut (dyn FnMut(Row) + Send)) -> Result<Revision, StoreError> {
        self.backend.load(each)
    }

    /// How many credentials [`Vault::load`] is about to give, or a few less: others may be writing.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn count(&self) -> Result<usize, StoreError> {
        self.backend.in_place(|connection| credentials::count(connection))
    }

    /// What moved after `since`, seen at one moment, not before this call; everything, if that cannot be told any more
    /// ([`Vault::prune_changes`]). Answered in place on SQLite.
    #[expect(clippy::unused_async, reason = "a database over a network will wait here")]
    pub async fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        self.backend.in_place(|connection| changes::since(connection, since))
    }

    /// Forgets what moved more than `kept` revisions ago, about `most` rows at once; tells how many. Nothing else changes.
    pub async fn prune_changes(&self, kept: u64, most: u32) -> Result<u64, StoreError> {
        self.backend.add_alone(None, move |act| changes::prune(act, kept, most)).await
    }

    /// Makes an account. Someone without a passphrase cannot sign in with one.
    pub async fn create_user(
        &self,
        user: User,
        passphrase: Option<PassphraseHash>,
        event: NewEvent,
    ) -> Result<CreatedUser, StoreError> {
        self.backend
            .add(event.author.clone(), move |act| users::create(act, &user, passphrase.as_ref(), event))
            .await
    }

    /// Changes an account: all of the changes or none, each that changes anything recorded with its event. The last
    /// enabled admin is neither demoted nor disabled.
    pub async fn change_user(
        &self,
        id: UserId,
        changes: Vec<(UserChange, NewEvent)>,
    ) -> Result<ChangedUser, StoreError> {
        let author = changes.first().and_then(|(_, event)| event.author.clone());
        self.backend.write(author, move |act| accounts::change(act, id, changes)).await
    }

    /// Revokes all credentials of an account and deletes its agents, then takes the account away. What is made later
    /// under its name is another. The last enabled admin is not deleted. The event's detail is told the counts.
    pub async fn delete_user(
        &self,
        id: UserId,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<DeletedUser, StoreError> {
        self.backend
            .write_alone(event.author.clone(), move |act| accounts::delete(act, id, &revocation, event))
            .await
    }

    /// Sets the passphrase of an account and revokes every sign-in of theirs, and, with `end`, everything else they own,
    /// worker tokens too, as of the moment which that tells. The event's detail is told the counts.
    pub async fn set_passphrase(
        &self,
        id: UserId,
        passphrase: PassphraseHash,
        end: Option<Now>,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<SetPassphrase, StoreError> {
        let author = event.author.clone();
        let act = move |act: &Transaction<'_>| {
            accounts::set_passphrase(act, id, &passphrase, end.map(Now::told), &revocation, event)
        };
        self.backend.write(author, act).await
    }

    /// Writes a new credential, once it is sure that its owner is enabled and that nothing it hangs on has ended as
    /// of its `created_at`. Its `revoked` and `last_use` are not read: a new credential has neither.
    ///
    /// `most`: how many tokens that stand its owner may have with it.
    ///
    /// [`StoreError::Conflict`] when its id or its hash is taken, or when it is of a kind that is never minted:
    /// [`Vault::hold_internal`] and [`Vault::import`] alone write those.
    pub async fn mint(&self, new: NewCredential, most: u32, event: NewEvent) -> Result<Minted, StoreError> {
        self.backend.add(event.author.clone(), move |act| credentials::mint(act, &new, most, event)).await
    }

    /// Ends a credential and with it all that hangs on it. One row says so (requirement R31): what hangs on it is
    /// not marked, whoever decides walks up the lineage.
    pub async fn revoke(
        &self,
        id: CredentialId,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<Revoked, StoreError> {
        self.backend
            .write(event.author.clone(), move |act| credentials::revoke(act, id, &revocation, event))
            .await
    }

    /// Ends all tokens of one owner, or of everybody, that are good by their own dates, but `except`. How many that
    /// were is told to the event's detail. A token that hangs on one of them ends too, `except` included. Worker tokens,
    /// of which nobody knows how many there are, end as well, but the family of `except`.
    pub async fn revoke_all(
        &self,
        owner: Option<UserId>,
        except: Option<CredentialId>,
        revocation: Revocation,
        now: Now,
        event: NewEvent,
    ) -> Result<u64, StoreError> {
        self.backend
            .write_alone(event.author.clone(), move |act| {
                tokens::revoke_all(act, owner, except, &revocation, now.told(), event)
            })
            .await
    }

    /// Gives a credential another name.
    pub async fn rename(
        &self,
        id: CredentialId,
        name: String,
        event: NewEvent,
    ) -> Result<Amended, StoreError> {
        self.backend.add(event.author.clone(), move |act| tokens::rename(act, id, &name, event)).await
    }

    /// Gives a credential another end, none for never. What has ended as of `now` stays so.
    pub async fn redate(
        &self,
        id: CredentialId,
        expires_at: Option<Timestamp>,
        now: Timestamp,
        event: NewEvent,
    ) -> Result<Amended, StoreError> {
        self.backend
            .write(event.author.clone(), move |act| tokens::redate(act, id, expires_at, now, event))
            .await
    }

    /// Whose secret hashes to this, ended or not.
    pub async fn holder_of(&self, hash: TokenHash) -> Result<Option<CredentialId>, StoreError> {
        self.backend.read(move |connection| tokens::with_hash(connection, &hash)).await
    }

    /// Makes sure that this is the one internal token that is live: writes it if it is new, ends any other. When all
    /// is so already, nothing is done and nothing recorded. What was ended once does not live again.
    pub async fn hold_internal(
        &self,
        new: NewInternal,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<InternalHeld, StoreError> {
        self.backend
            .write(event.author.clone(), move |act| internal::hold(act, &new, &revocation, event))
            .await
    }

    /// Takes in users and tokens from elsewhere, as one act; what was taken before is passed over. With `dry_run` all
    /// is decided and nothing done. The event's detail is told the counts; nothing new: nothing is recorded.
    pub async fn import(
        &self,
        import: Import,
        dry_run: bool,
        event: NewEvent,
    ) -> Result<Imported, StoreError> {
        self.backend
            .write_alone(event.author.clone(), move |act| imports::take(act, &import, dry_run, event))
            .await
    }

    /// Writes down when credentials were last used (requirement R32). The revision does not rise. A later note that
    /// is already there stays; a credential that is no more is passed over.
    pub async fn note_uses(&self, uses: &[NotedUse]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let uses = uses.to_vec();
        self.backend.add_alone(None, move |act| credentials::note_uses(act, &uses)).await
    }

    /// Takes away at most `most` credentials that ended before `before`, so that a call is short; 0 means that there
    /// are none left. What still has something hanging on it goes in a later call. The event's detail is told the
    /// count; none: nothing is recorded.
    pub async fn purge(&self, before: Timestamp, most: u32, event: NewEvent) -> Result<u64, StoreError> {
        self.backend.add_alone(event.author.clone(), move |act| upkeep::purge(act, before, most, event)).await
    }

    /// Ends those of the tokens that were still not used since then (requirement R34), each with its event, and tells
    /// which. One on which something hangs that stands is left alone.
    pub async fn revoke_unused(
        &self,
        tokens: Vec<(CredentialId, NewEvent)>,
        since: Timestamp,
        revocation: Revocation,
    ) -> Result<Vec<CredentialId>, StoreError> {
        self.backend
            .write_alone(None, move |act| upkeep::revoke_unused(act, tokens, since, &revocation))
            .await
    }

    /// Writes events of which the store knows nothing more, all or none. The revision does not rise. An event's author
    /// must stand, as with any act.
    pub async fn record(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let author = events.iter().find_map(|event| event.author.clone());
        self.backend.add(author, move |act| upkeep::record(act, events)).await
    }

    /// Sees to it that no older copy of the database than it is now is ever taken for this one. What takes something
    /// away does this by itself, before it is acknowledged.
    pub async fn keep_revision(&self) -> Result<(), StoreError> {
        self.backend.write(None, |_| Ok(())).await
    }

    /// Takes an older copy for the truth from now on: ends every credential in it, and begins a new epoch at a revision
    /// above all that was reached. Users stay as they are. The event's detail is told what was found and ended.
    ///
    /// Nobody may have a view of the store meanwhile: what changes is not told to [`Vault::changes_since`].
    pub async fn accept_restored(
        &self,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<Accepted, StoreError> {
        let reached = self.backend.reached()?;
        self.backend
            .write(event.author.clone(), move |act| upkeep::accept_restored(act, reached, &revocation, event))
            .await
    }
}
