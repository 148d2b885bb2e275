//! The `imported` table, and the act that takes in users and tokens from elsewhere. It alone writes credentials of the
//! kind `legacy`.

use std::collections::HashMap;

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, LastUse, NewCredential};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_domain::scope::Scopes;
use fallgate_domain::token::TokenHash;
use fallgate_domain::user::{User, Username};
use rusqlite::Transaction;

use crate::changes::Moved;
use crate::error::Fault;
use crate::revision::Revision;
use crate::vault::{NotedUse, PassphraseHash};
use crate::{agents, audit, changes, credentials, tokens, users};

/// What is to be taken in.
#[derive(Debug, Clone)]
pub struct Import {
    /// From where, in a word.
    pub source: &'static str,
    /// Accounts, before the tokens that are theirs.
    pub users: Vec<ImportedUser>,
    /// Tokens.
    pub tokens: Vec<ImportedToken>,
}

/// An account from elsewhere. By its name and its `created_at` it is known again.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// The account as it will be; its `created_at` is that of the source.
    pub user: User,
    /// What its passphrase is checked against, in whatever form the source had.
    pub passphrase: PassphraseHash,
}

/// A token from elsewhere. By its hash it is known again.
#[derive(Debug, Clone)]
pub struct ImportedToken {
    /// Its public name.
    pub id: CredentialId,
    /// What will be looked up when it is presented.
    pub hash: TokenHash,
    /// Whose it is: an account of the same import. Without one it is of the kind `legacy`.
    pub owner: Option<Username>,
    /// Who took it in, as the audit trail names actors.
    pub minted_by: String,
    /// What it is called.
    pub name: String,
    /// The first characters of its secret.
    pub hint: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When the source made it.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When the source saw it last.
    pub last_used_at: Option<Timestamp>,
}

/// What became of one user or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Taken in by this act.
    Now,
    /// Taken in before, and there.
    Before,
    /// Taken in before, and ended or deleted since: it stays so.
    EndedSince,
    /// Somebody else has that username.
    UsernameTaken,
    /// An agent is called so, and everybody has an agent of their own name.
    AgentNamedSo,
    /// Its owner was not taken in.
    OwnerMissing,
    /// Another credential has that secret.
    SecretTaken,
}

/// What became of [`Vault::import`](crate::Vault::import), in the order of what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Imported {
    /// The accounts.
    pub users: Vec<Taken>,
    /// The tokens.
    pub tokens: Vec<Taken>,
    /// As of when all of it counts; `None` when there was nothing new, or in a dry run.
    pub revision: Option<Revision>,
}

/// Takes in what is new.
pub(crate) fn take(
    act: &Transaction<'_>,
    import: &Import,
    dry_run: bool,
    event: NewEvent,
) -> Result<Imported, Fault> {
    if !dry_run {
        return take_all(act, import, event);
    }
    act.execute_batch("SAVEPOINT import")?;
    let imported = take_all(act, import, event)?;
    act.execute_batch("ROLLBACK TO import; RELEASE import")?;
    Ok(Imported { revision: None, ..imported })
}

fn take_all(act: &Transaction<'_>, import: &Import, mut event: NewEvent) -> Result<Imported, Fault> {
    let mut taking = Taking { act, at: event.at, owners: HashMap::new(), moved: Vec::new() };
    let users = import.users.iter().map(|user| taking.user(import.source, user));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    let tokens = import.tokens.iter().map(|token| taking.token(token)).collect::<Result<Vec<_>, _>>()?;
    let moved = taking.moved;
    let mut revision = None;
    if !moved.is_empty() {
        revision = Some(changes::note(act, &moved)?);
        let legacy = |legacy: bool| {
            let taken = tokens.iter().zip(&import.tokens);
            taken.filter(|(taken, token)| **taken == Taken::Now && token.owner.is_none() == legacy).count()
        };
        let new_users = users.iter().filter(|taken| **taken == Taken::Now).count();
        for (name, count) in
            [("users", new_users), ("tokens", legacy(false)), ("legacy_tokens", legacy(true))]
        {
            event.detail.insert(name.to_owned(), count.into());
        }
        audit::append(act, event)?;
    }
    Ok(Imported { users, tokens, revision })
}

/// An import under way.
struct Taking<'a> {
    act: &'a Transaction<'a>,
    at: Timestamp,
    /// The accounts that tokens may belong to.
    owners: HashMap<Username, UserId>,
    moved: Vec<Moved>,
}

impl Taking<'_> {
    fn user(&mut self, source: &str, imported: &ImportedUser) -> Result<Taken, Fault> {
        let user = &imported.user;
        let mark = account_mark(source, user);
        let known = self.is_known(&mark)?;
        match users::named(self.act, &user.username)? {
            Some(there) if known && there.created_at == user.created_at => {
                self.owners.insert(there.username, there.id);
                return Ok(Taken::Before);
            }
            Some(_) => return Ok(Taken::UsernameTaken),
            None if known => return Ok(Taken::EndedSince),
            None => {}
        }
        if agents::is_named(self.act, user.username.as_str())? {
            return Ok(Taken::AgentNamedSo);
        }
        users::insert(self.act, user, Some(&imported.passphrase))?;
        self.remember(&mark)?;
        self.owners.insert(user.username.clone(), user.id);
        self.moved.push(Moved::User(user.id));
        Ok(Taken::Now)
    }

    fn token(&mut self, token: &ImportedToken) -> Result<Taken, Fault> {
        if self.is_known(token.hash.bytes())? {
            let there = tokens::with_hash(self.act, &token.hash)?;
            let end = there.map(|id| credentials::lineage(self.act, id)).transpose()?.flatten();
            return Ok(if end.is_some_and(|end| end.stands(self.at)) {
                Taken::Before
            } else {
                Taken::EndedSince
            });
        }
        let owner = match &token.owner {
            None => None,
            Some(name) => match self.owners.get(name) {
                Some(id) => Some(*id),
                None => return Ok(Taken::OwnerMissing),
            },
        };
        if tokens::with_hash(self.act, &token.hash)?.is_some() {
            return Ok(Taken::SecretTaken);
        }
        let kind = if owner.is_some() { CredentialKind::Token } else { CredentialKind::Legacy };
        let credential = Credential {
            id: token.id,
            kind,
            owner,
            parent: None,
            minted_by: token.minted_by.clone(),
            name: token.name.clone(),
            hint: token.hint.clone(),
            scopes: token.scopes.clone(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked: None,
            last_use: None,
        };
        credentials::insert(self.act, &NewCredential { credential, hash: token.hash })?;
        if let Some(at) = token.last_used_at {
            let last = Some(LastUse { at, ip: None, user_agent: None });
            credentials::note_uses(
                self.act,
                &[NotedUse { credential: token.id, last, times: 1, agent: None }],
            )?;
        }
        self.remember(token.hash.bytes())?;
        self.moved.push(Moved::Credential(token.id));
        Ok(Taken::Now)
    }

    fn is_known(&self, mark: &[u8]) -> Result<bool, Fault> {
        let mut statement =
            self.act.prepare_cached("SELECT EXISTS (SELECT 1 FROM imported WHERE mark = ?1)")?;
        Ok(statement.query_row([mark], |row| row.get(0))?)
    }

    fn remember(&self, mark: &[u8]) -> Result<(), Fault> {
        let mut statement = self.act.prepare_cached("INSERT INTO imported (mark, at) VALUES (?1, ?2)")?;
        statement.execute((mark, self.at.millis()))?;
        Ok(())
    }
}

/// By which an account is known again, also when it is no more.
fn account_mark(source: &str, user: &User) -> Vec<u8> {
    format!("{source} user {} {}", user.username, user.created_at.millis()).into_bytes()
}
