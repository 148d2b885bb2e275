//! The row of the machine's internal token. Its secret lies in a file of its own; here is what makes it count.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{Credential, CredentialKind, NewCredential, Revocation};
use fallgate_domain::id::CredentialId;
use fallgate_domain::internal::InternalToken;
use fallgate_domain::token::TokenHash;
use rusqlite::{OptionalExtension, Transaction};

use crate::changes::Moved;
use crate::error::Fault;
use crate::revision::Revision;
use crate::{audit, changes, credentials};

/// An internal token that is to count. Whatever else its row says is the same for all of them.
#[derive(Debug, Clone)]
pub struct NewInternal {
    /// Its public name, if it is new.
    pub id: CredentialId,
    /// What will be looked up when it is presented.
    pub hash: TokenHash,
    /// Who made it, as the audit trail names actors.
    pub minted_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// What became of [`Vault::hold_internal`](crate::Vault::hold_internal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum InternalHeld {
    /// It is the one that counts, as of this revision.
    Now(Revision),
    /// It was so before; nothing was done, nothing recorded.
    Already,
    /// It was ended once; nothing was done.
    Ended,
}

/// Makes it the one that counts.
pub(crate) fn hold(
    act: &Transaction<'_>,
    new: &NewInternal,
    revocation: &Revocation,
    mut event: NewEvent,
) -> Result<InternalHeld, Fault> {
    let known: Option<bool> = act
        .prepare_cached("SELECT kind = 'internal' AND revoked_at IS NULL FROM credential WHERE hash = ?1")?
        .query_row([new.hash.bytes()], |row| row.get(0))
        .optional()?;
    if known == Some(false) {
        return Ok(InternalHeld::Ended);
    }
    let mut moved = end_others(act, &new.hash, revocation)?;
    if known.is_some() && moved.is_empty() {
        return Ok(InternalHeld::Already);
    }
    event.detail.insert("revoked".to_owned(), moved.len().into());
    if known.is_none() {
        credentials::insert(act, &row(new))?;
        moved.push(Moved::Credential(new.id));
    }
    let revision = changes::note(act, &moved)?;
    audit::append(act, event)?;
    Ok(InternalHeld::Now(revision))
}

fn end_others(act: &Transaction<'_>, hash: &TokenHash, revocation: &Revocation) -> Result<Vec<Moved>, Fault> {
    // The kind stands in the text, or the index on it would not be taken.
    let mut statement = act.prepare_cached(
        "UPDATE credential SET revoked_at = ?2, revoked_by = ?3, reason = ?4
         WHERE kind = 'internal' AND revoked_at IS NULL AND hash IS NOT ?1
         RETURNING id",
    )?;
    let ended = statement
        .query_map((hash.bytes(), revocation.at.millis(), &revocation.by, &revocation.reason), |row| {
            Ok(Moved::Credential(CredentialId::from_bytes(row.get(0)?)))
        })?;
    Ok(ended.collect::<Result<_, _>>()?)
}

fn row(new: &NewInternal) -> NewCredential {
    let credential = Credential {
        id: new.id,
        kind: CredentialKind::Internal,
        owner: None,
        parent: None,
        minted_by: new.minted_by.clone(),
        name: "internal token".to_owned(),
        hint: String::new(),
        scopes: InternalToken::scopes(),
        created_at: new.created_at,
        expires_at: None,
        revoked: None,
        last_use: None,
    };
    NewCredential { credential, hash: new.hash }
}
