//! Whether whoever asked for an act may still do it, at the moment at which it is done.

use fallgate_domain::audit::Author;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::cut::CutNotice;
use fallgate_domain::id::{AgentId, CredentialId, UserId};
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::Role;
use fallgate_domain::worker::WorkerClaims;
use rusqlite::Transaction;

use crate::error::Fault;
use crate::{agents, credentials, cuts, users, workers};

/// A credential that stands, as far as it alone can tell.
struct Standing {
    owner: UserId,
    /// As which agent, if it is no person's.
    agent: Option<AgentId>,
    kind: CredentialKind,
    scopes: Scopes,
    /// It and what it hangs on, from below.
    links: Vec<CredentialId>,
}

/// Refuses an act whose author was shut out after their request was let in. The transaction has the write lock, so
/// nobody is shut out between this and the commit.
pub(crate) fn refuse_ended(act: &Transaction<'_>, author: &Author) -> Result<(), Fault> {
    let standing = match &author.worker {
        Some(claims) => of_worker(act, claims, author.at)?,
        None => of_row(act, author.credential, author.at)?,
    };
    let standing = standing.ok_or(Fault::CallerEnded)?;
    let Some(user) = users::row(act, standing.owner)?.filter(|user| !user.disabled) else {
        return Err(Fault::CallerEnded);
    };
    let is_admins_sign_in = standing.kind == CredentialKind::Login && user.role == Role::Admin;
    let spared = author.though_all_is_cut && is_admins_sign_in;
    if let Some(cut) =
        cuts::on_caller(act, (standing.owner, standing.agent), &standing.links, spared, author.at)?
    {
        return Err(Fault::CallerCut(CutNotice { reason: cut.reason, until: cut.expires_at }));
    }
    let allows = |scope: &Scope| standing.scopes.allow(scope) && Scopes::ceiling(user.role).allow(scope);
    match author.needs.map(Scope::from) {
        Some(scope) if !allows(&scope) => Err(Fault::CallerEnded),
        _ => Ok(()),
    }
}

fn of_row(act: &Transaction<'_>, id: CredentialId, at: Timestamp) -> Result<Option<Standing>, Fault> {
    let lineage = credentials::lineage(act, id)?.filter(|end| end.stands(at));
    let row = credentials::row(act, id)?;
    Ok(lineage.zip(row).and_then(|(lineage, row)| {
        let (kind, scopes) = (row.kind, row.scopes);
        Some(Standing { owner: row.owner?, agent: None, kind, scopes, links: lineage.links })
    }))
}

/// Its own signature and dates were looked at when it was let in; here is what can have ended since.
fn of_worker(act: &Transaction<'_>, claims: &WorkerClaims, at: Timestamp) -> Result<Option<Standing>, Fault> {
    if workers::is_revoked(act, claims.family())? {
        return Ok(None);
    }
    let agent = Some(claims.agent_id);
    if claims.agent_id != AgentId::implicit(claims.owner_id)
        && agents::row(act, claims.agent_id)?.is_none_or(|agent| agent.disabled)
    {
        return Ok(None);
    }
    let mut links = claims.ancestors.clone();
    if let Some(nearest) = claims.credentials().first() {
        let Some(lineage) = credentials::lineage(act, *nearest)?.filter(|end| end.stands(at)) else {
            return Ok(None);
        };
        links.extend(lineage.links);
        // An admin's own, if they minted it for somebody else.
        if let Some(owner) = credentials::row(act, *nearest)?.and_then(|row| row.owner)
            && users::row(act, owner)?.is_none_or(|user| user.disabled)
        {
            return Ok(None);
        }
    }
    let (kind, scopes) = (CredentialKind::Worker, claims.scopes.clone());
    Ok(Some(Standing { owner: claims.owner_id, agent, kind, scopes, links }))
}
