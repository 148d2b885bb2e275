//! Acts on accounts that are there already: changed, deleted, given another passphrase.

use fallgate_domain::audit::NewEvent;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::Revocation;
use fallgate_domain::id::UserId;
use fallgate_domain::user::{Role, User};
use rusqlite::Transaction;

use crate::changes::Moved;
use crate::error::Fault;
use crate::vault::{ChangedUser, DeletedUser, EndedCredentials, PassphraseHash, SetPassphrase, UserChange};
use crate::{agents, audit, changes, credentials, cuts, users, workers};

/// Changes an account as one act, and records what of it changed anything.
pub(crate) fn change(
    act: &Transaction<'_>,
    id: UserId,
    wanted: Vec<(UserChange, NewEvent)>,
) -> Result<ChangedUser, Fault> {
    let Some(before) = users::with_id(act, id)? else { return Ok(ChangedUser::Unknown) };
    let mut user = before.clone();
    let mut events = Vec::new();
    for (change, event) in wanted {
        let unchanged = user.clone();
        match change {
            UserChange::DisplayName(name) => user.display_name = name,
            UserChange::Role(role) => user.role = role,
            UserChange::Disable(at) => user.disabled_at = user.disabled_at.or(Some(at)),
            UserChange::Enable => user.disabled_at = None,
        }
        if user != unchanged {
            events.push(event);
        }
    }
    if events.is_empty() {
        return Ok(ChangedUser::Unchanged(user));
    }
    if is_enabled_admin(&before) && !is_enabled_admin(&user) && is_last_enabled_admin(act, id)? {
        return Ok(ChangedUser::LastAdmin);
    }
    act.prepare_cached(r#"UPDATE "user" SET display_name = ?2, role = ?3, disabled_at = ?4 WHERE id = ?1"#)?
        .execute((
            id.bytes(),
            user.display_name.as_str(),
            user.role.name(),
            user.disabled_at.map(Timestamp::millis),
        ))?;
    let revision = changes::note(act, &[Moved::User(id)])?;
    for event in events {
        audit::append(act, event)?;
    }
    Ok(ChangedUser::Changed(revision, user))
}

/// Ends all that an account owns, then takes its row away.
pub(crate) fn delete(
    act: &Transaction<'_>,
    id: UserId,
    revocation: &Revocation,
    mut event: NewEvent,
) -> Result<DeletedUser, Fault> {
    let Some(user) = users::with_id(act, id)? else { return Ok(DeletedUser::Unknown) };
    if is_enabled_admin(&user) && is_last_enabled_admin(act, id)? {
        return Ok(DeletedUser::LastAdmin);
    }
    let (_, ended) = credentials::revoke_of(act, id, false, None, revocation)?;
    let agents = agents::delete_of(act, id)?;
    act.prepare_cached(r#"DELETE FROM "user" WHERE id = ?1"#)?.execute([id.bytes()])?;
    // That the owner is gone says it of all that they had.
    let mut moved = cuts::forget(act, id.bytes())?;
    moved.push(Moved::User(id));
    let deleted = agents.iter().filter(|moved| matches!(moved, Moved::Agent(_))).count();
    event.detail.insert("deleted_agents".to_owned(), deleted.into());
    moved.extend(agents);
    let revision = changes::note(act, &moved)?;
    audit::append(act, told_of(event, ended))?;
    Ok(DeletedUser::Deleted(revision, ended))
}

/// Sets a passphrase and ends what was had with the old one. `end_all`: all else, too, worker tokens until then.
pub(crate) fn set_passphrase(
    act: &Transaction<'_>,
    id: UserId,
    passphrase: &PassphraseHash,
    end_all: Option<Timestamp>,
    revocation: &Revocation,
    event: NewEvent,
) -> Result<SetPassphrase, Fault> {
    let updated = act
        .prepare_cached(r#"UPDATE "user" SET passphrase = ?2 WHERE id = ?1"#)?
        .execute((id.bytes(), passphrase.expose()))?;
    if updated == 0 {
        return Ok(SetPassphrase::Unknown);
    }
    let (mut moved, ended) = credentials::revoke_of(act, id, end_all.is_none(), None, revocation)?;
    if let Some(now) = end_all {
        let _ = workers::end_all(act, Some(id), None, now)?;
    }
    moved.push(Moved::User(id));
    let revision = changes::note(act, &moved)?;
    audit::append(act, told_of(event, ended))?;
    Ok(SetPassphrase::Set(revision, ended))
}

fn is_enabled_admin(user: &User) -> bool {
    user.role == Role::Admin && user.disabled_at.is_none()
}

/// Whether there is no other enabled admin than `id`. The transaction has the write lock, so nobody else is demoted
/// meanwhile.
fn is_last_enabled_admin(act: &Transaction<'_>, id: UserId) -> Result<bool, Fault> {
    let mut statement = act.prepare_cached(
        r#"SELECT NOT EXISTS (
               SELECT 1 FROM "user" WHERE role = ?2 AND disabled_at IS NULL AND id <> ?1
           )"#,
    )?;
    Ok(statement.query_row((id.bytes(), Role::Admin.name()), |row| row.get(0))?)
}

pub(crate) fn told_of(mut event: NewEvent, ended: EndedCredentials) -> NewEvent {
    event.detail.insert("revoked_logins".to_owned(), ended.logins.into());
    event.detail.insert("revoked_tokens".to_owned(), ended.tokens.into());
    event
}
