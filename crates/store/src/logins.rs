//! Signing in: what a passphrase is checked against, and what comes of a right one.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, NewCredential, Revocation};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::user::{User, Username};
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::{Fault, StoreError};
use crate::revision::Revision;
use crate::vault::{CreatedUser, EndedCredentials, NotedUse, Now, PassphraseHash, Vault};
use crate::{accounts, audit, changes, credentials, users, workers};

/// An account, and what a passphrase is checked against.
#[derive(Debug, Clone)]
pub struct SignInAccount {
    /// The account.
    pub user: User,
    /// None: they cannot sign in with a passphrase.
    pub passphrase: Option<PassphraseHash>,
}

/// A sign-in that is about to be written.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// The row; its `last_use` is written too.
    pub new: NewCredential,
    /// The hash that the passphrase was found right by.
    pub proof: PassphraseHash,
    /// The same passphrase hashed anew, if the old hash is cheaper than it should be.
    pub rehashed: Option<PassphraseHash>,
    /// The sign-in whose place it takes, and how that one ends.
    pub replaces: Option<(CredentialId, Revocation)>,
}

/// What became of [`Vault::sign_in`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SignedIn {
    /// The sign-in is good as of this revision.
    SignedIn(Revision),
    /// Since the passphrase was checked it was changed, or the account was disabled or deleted; nothing was done.
    Superseded,
}

/// What became of [`Vault::change_passphrase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ChangedPassphrase {
    /// It counts as of this revision, and these credentials were ended.
    Changed(Revision, EndedCredentials),
    /// Since the old one was checked it was changed, or the account was disabled or deleted; nothing was done.
    Superseded,
}

/// What became of [`Vault::create_first_user`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum FirstUser {
    /// The account and its sign-in are there as of this revision.
    Created(Revision),
    /// There is somebody already; nothing was done.
    NotTheFirst,
}

impl Vault {
    /// The account of that name, with what a passphrase is checked against.
    pub async fn sign_in_account(&self, username: &Username) -> Result<Option<SignInAccount>, StoreError> {
        let username = username.clone();
        self.backend.read(move |connection| account(connection, &username)).await
    }

    /// The largest N of the passphrase hashes of llmux that nobody signed in with yet (`scrypt$<N>$…`); `None` when
    /// there is none of them.
    pub async fn imported_passphrase_cost(&self) -> Result<Option<u64>, StoreError> {
        self.backend.read(imported_cost).await
    }

    /// Writes a sign-in, if the passphrase that it rests on still counts and its owner is enabled.
    pub async fn sign_in(&self, login: NewLogin, event: NewEvent) -> Result<SignedIn, StoreError> {
        self.backend.write(event.author.clone(), move |act| sign_in(act, &login, event)).await
    }

    /// Ends all sign-ins of a user but `except` and those that hang on it; tells how many of them were good until then by their own dates. None:
    /// nothing is recorded.
    pub async fn revoke_logins(
        &self,
        owner: UserId,
        except: Option<CredentialId>,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<u64, StoreError> {
        self.backend
            .write(event.author.clone(), move |act| revoke_all(act, owner, except, &revocation, event))
            .await
    }

    /// Sets the passphrase of an enabled account whose old one was found right by `proof`. Revokes every sign-in of
    /// theirs but `keep` and those that hang on it, and, with `end`, everything else they own,
    /// worker tokens too, as of the moment which that tells. The event's detail is told the counts.
    #[expect(clippy::too_many_arguments, reason = "each says another thing, and one act needs them all")]
    pub async fn change_passphrase(
        &self,
        id: UserId,
        proof: PassphraseHash,
        passphrase: PassphraseHash,
        keep: CredentialId,
        end: Option<Now>,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<ChangedPassphrase, StoreError> {
        let author = event.author.clone();
        let act = move |act: &Transaction<'_>| {
            if !still_counts(act, id, &proof)? {
                return Ok(ChangedPassphrase::Superseded);
            }
            write_passphrase(act, id, &passphrase)?;
            let (mut moved, ended) = credentials::revoke_of(act, id, end.is_none(), Some(keep), &revocation)?;
            if let Some(now) = end {
                let _ = workers::end_all(act, Some(id), None, now.told())?;
            }
            moved.push(Moved::User(id));
            let revision = changes::note(act, &moved)?;
            audit::append(act, accounts::told_of(event, ended))?;
            Ok(ChangedPassphrase::Changed(revision, ended))
        };
        self.backend.write(author, act).await
    }

    /// Makes the first account of all, and its sign-in, whose `last_use` is written too; `event` tells of the account.
    pub async fn create_first_user(
        &self,
        user: User,
        passphrase: PassphraseHash,
        login: NewCredential,
        event: NewEvent,
    ) -> Result<FirstUser, StoreError> {
        let author = event.author.clone();
        let act = move |act: &Transaction<'_>| {
            let empty = r#"SELECT NOT EXISTS (SELECT 1 FROM "user")"#;
            if !act.prepare_cached(empty)?.query_row([], |row| row.get(0))? {
                return Ok(FirstUser::NotTheFirst);
            }
            match users::create(act, &user, Some(&passphrase), event)? {
                CreatedUser::UsernameTaken | CreatedUser::AgentNamedSo => Ok(FirstUser::NotTheFirst),
                CreatedUser::Created(_) => {
                    insert(act, &login)?;
                    let revision = changes::note(act, &[Moved::Credential(login.credential.id)])?;
                    Ok(FirstUser::Created(revision))
                }
            }
        };
        self.backend.add(author, act).await
    }

    /// Writes down that these are still in use: what is held open is used without a request (requirement R32). From
    /// where it was last used stays as it was noted. The revision does not rise.
    pub async fn note_held(&self, held: Vec<CredentialId>, at: Timestamp) -> Result<(), StoreError> {
        if held.is_empty() {
            return Ok(());
        }
        let act = move |act: &Transaction<'_>| {
            // What was brought over has no row before its first use.
            let mut upsert = act.prepare_cached(
                "INSERT INTO last_use (credential, at, uses)
                 SELECT id, ?2, 0 FROM credential WHERE id = ?1
                 ON CONFLICT (credential) DO UPDATE SET at = max(at, excluded.at)",
            )?;
            for id in held {
                upsert.execute((id.bytes(), at.millis()))?;
            }
            Ok(())
        };
        self.backend.add(None, act).await
    }
}

fn imported_cost(connection: &mut Connection) -> Result<Option<u64>, Fault> {
    // A cast reads the digits that a text begins with.
    let largest = r#"SELECT max(CAST(substr(passphrase, 8) AS INTEGER)) FROM "user" WHERE substr(passphrase, 1, 7) = 'scrypt$'"#;
    let found: Option<i64> = connection.prepare_cached(largest)?.query_row([], |row| row.get(0))?;
    Ok(found.and_then(|cost| u64::try_from(cost).ok()))
}

fn account(connection: &mut Connection, username: &Username) -> Result<Option<SignInAccount>, Fault> {
    let snapshot = connection.transaction()?;
    let Some(user) = users::named(&snapshot, username)? else { return Ok(None) };
    let passphrase = passphrase(&snapshot, user.id)?;
    Ok(Some(SignInAccount { user, passphrase }))
}

fn sign_in(act: &Transaction<'_>, login: &NewLogin, event: NewEvent) -> Result<SignedIn, Fault> {
    let NewLogin { new, proof, rehashed, replaces } = login;
    let Some(owner) = new.credential.owner else { return Ok(SignedIn::Superseded) };
    if !still_counts(act, owner, proof)? {
        return Ok(SignedIn::Superseded);
    }
    insert(act, new)?;
    let mut moved = vec![Moved::Credential(new.credential.id)];
    if let Some(rehashed) = rehashed {
        write_passphrase(act, owner, rehashed)?;
    }
    if let Some((id, revocation)) = replaces {
        let ended = act
            .prepare_cached(
                "UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4
                 WHERE id = ?1 AND revoked_at IS NULL AND kind = ?5",
            )?
            .execute((
                id.bytes(),
                revocation.at.millis(),
                &revocation.by,
                &revocation.reason,
                CredentialKind::Login.name(),
            ))?;
        moved.extend((ended > 0).then_some(Moved::Credential(*id)));
    }
    let revision = changes::note(act, &moved)?;
    audit::append(act, event)?;
    Ok(SignedIn::SignedIn(revision))
}

fn insert(act: &Transaction<'_>, new: &NewCredential) -> Result<(), Fault> {
    credentials::insert(act, new)?;
    let used = new.credential.last_use.clone().map(|last_use| NotedUse {
        credential: new.credential.id,
        last: Some(last_use),
        times: 1,
        agent: None,
    });
    credentials::note_uses(act, used.as_slice())
}

fn revoke_all(
    act: &Transaction<'_>,
    owner: UserId,
    except: Option<CredentialId>,
    revocation: &Revocation,
    mut event: NewEvent,
) -> Result<u64, Fault> {
    let (moved, ended) = credentials::revoke_of(act, owner, true, except, revocation)?;
    if !moved.is_empty() {
        changes::note(act, &moved)?;
        event.detail.insert("revoked".to_owned(), ended.logins.into());
        audit::append(act, event)?;
    }
    Ok(ended.logins)
}

/// Whether the account is enabled and its passphrase is still the one that was checked. The transaction has the write
/// lock: a reset that came meanwhile is seen, and none comes in between.
fn still_counts(act: &Transaction<'_>, id: UserId, proof: &PassphraseHash) -> Result<bool, Fault> {
    let enabled = users::is_disabled(act, id)? == Some(false);
    Ok(enabled && passphrase(act, id)?.as_ref() == Some(proof))
}

fn passphrase(connection: &Connection, id: UserId) -> Result<Option<PassphraseHash>, Fault> {
    let mut statement = connection.prepare_cached(r#"SELECT passphrase FROM "user" WHERE id = ?1"#)?;
    let phc: Option<Option<String>> = statement.query_row([id.bytes()], |row| row.get(0)).optional()?;
    Ok(phc.flatten().map(PassphraseHash::new))
}

fn write_passphrase(act: &Transaction<'_>, id: UserId, passphrase: &PassphraseHash) -> Result<(), Fault> {
    act.prepare_cached(r#"UPDATE "user" SET passphrase = ?2 WHERE id = ?1"#)?
        .execute((id.bytes(), passphrase.expose()))?;
    Ok(())
}
