//! Whether whoever asked for an act may still do it, at the moment at which it is done.

use fallgate_domain::audit::Author;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::cut::CutNotice;
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::Role;
use rusqlite::Transaction;

use crate::error::Fault;
use crate::{credentials, cuts, users};

/// Refuses an act whose author was shut out after their request was let in. The transaction has the write lock, so
/// nobody is shut out between this and the commit.
pub(crate) fn refuse_ended(act: &Transaction<'_>, author: &Author) -> Result<(), Fault> {
    let lineage = credentials::lineage(act, author.credential)?.filter(|end| end.stands(author.at));
    let row = credentials::row(act, author.credential)?;
    let (Some(lineage), Some(credential)) = (lineage, row) else { return Err(Fault::CallerEnded) };
    let Some(owner) = credential.owner else { return Err(Fault::CallerEnded) };
    let Some(user) = users::row(act, owner)?.filter(|user| !user.disabled) else {
        return Err(Fault::CallerEnded);
    };
    let is_admins_sign_in = credential.kind == CredentialKind::Login && user.role == Role::Admin;
    let spared = author.though_all_is_cut && is_admins_sign_in;
    if let Some(cut) = cuts::on_caller(act, owner, &lineage.links, spared, author.at)? {
        return Err(Fault::CallerCut(CutNotice { reason: cut.reason, until: cut.expires_at }));
    }
    let allows = |scope: &Scope| credential.scopes.allow(scope) && Scopes::ceiling(user.role).allow(scope);
    match author.needs.map(Scope::from) {
        Some(scope) if !allows(&scope) => Err(Fault::CallerEnded),
        _ => Ok(()),
    }
}
