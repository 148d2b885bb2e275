//! `fallgate user …`

use fallgate_authority::UserPatch;
use fallgate_domain::user::{Role, Username};
use fallgate_web::view::{EndedView, UserView};

use crate::cli::User;
use crate::cmd::consent::Consent;
use crate::cmd::passphrase::PassphraseSource;
use crate::desk::{Desk, NewUser};
use crate::failure::Failure;
use crate::place::Place;
use crate::{cmd, output};

pub(crate) fn run(verb: User, place: Place) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        User::Create { username, display_name, admin, passphrase_stdin, format } => {
            let source = PassphraseSource::choose(passphrase_stdin)?;
            let role = if admin { Role::Admin } else { Role::User };
            let new = NewUser { username, display_name, role };
            runtime.block_on(create(place, new, source, format.json))
        }
        User::List { format } => runtime.block_on(list(place, format.json)),
        User::SetRole { username, role, format } => {
            let patch = UserPatch { role: Some(role), ..UserPatch::default() };
            runtime.block_on(change(place, &username, patch, format.json))
        }
        User::Disable { username, format } => {
            let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
            runtime.block_on(change(place, &username, patch, format.json))
        }
        User::Enable { username, format } => {
            let patch = UserPatch { disabled: Some(false), ..UserPatch::default() };
            runtime.block_on(change(place, &username, patch, format.json))
        }
        User::Delete { username, yes } => {
            let consent = Consent::choose(yes, "delete a user")?;
            runtime.block_on(delete(place, &username, consent))
        }
        User::ResetPassphrase { username, passphrase_stdin, revoke_tokens, format } => {
            let source = PassphraseSource::choose(passphrase_stdin)?;
            runtime.block_on(reset_passphrase(place, &username, source, revoke_tokens, format.json))
        }
    }
}

async fn create(place: Place, new: NewUser, source: PassphraseSource, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, true).await?;
    // Nobody should think up a passphrase for nothing. That the name is still free is made sure of later.
    desk.expect_no_user(&new.username).await?;
    let passphrase = source.read(&new.username, desk.fewest_bytes())?;
    let user = desk.create_user(new, passphrase).await?;
    let what = if user.role == Role::Admin { "admin" } else { "user" };
    let next = desk.command(format_args!("token create --username {}", user.username));
    output::say(format_args!("Made the {what} {} {}. A token for them: {next}", user.username, desk.place()));
    let is_admin = |user: &UserView| user.role == Role::Admin && user.disabled_at.is_none();
    if !is_admin(&user) && matches!(desk, Desk::Home(_)) && !desk.users().await?.users.iter().any(is_admin) {
        let admin = desk.command(format_args!("user set-role {} admin", user.username));
        output::warn(format_args!("there is no admin, so nobody can manage this gate over HTTP: {admin}"));
    }
    if json { output::data(&output::json(&user)?) } else { Ok(()) }
}

async fn list(place: Place, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let users = desk.users().await?;
    if json {
        return output::data(&output::json(&users)?);
    }
    if users.users.is_empty() {
        let first = desk.command("user create NAME --admin");
        output::say(format_args!("There are no users yet. Make the first one: {first}"));
        return Ok(());
    }
    let rows: Vec<_> = users
        .users
        .into_iter()
        .map(|user| {
            let disabled = user.disabled_at.map_or_else(|| "no".to_owned(), output::to_the_second);
            vec![
                user.username.to_string(),
                user.display_name.to_string(),
                user.role.to_string(),
                output::to_the_second(user.created_at),
                disabled,
            ]
        })
        .collect();
    output::data(&output::table(&["USERNAME", "NAME", "ROLE", "CREATED", "DISABLED"], &rows))
}

/// Changes one thing, and says how things stand now.
async fn change(place: Place, username: &Username, patch: UserPatch, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let user = desk.change_user(username, patch.clone()).await?;
    let state = match (patch.role, user.disabled_at) {
        (Some(Role::Admin), _) => "is an admin now".to_owned(),
        (Some(Role::User), _) => "is a plain user now".to_owned(),
        (None, Some(since)) => format!(
            "is disabled, since {}; `{}` lets them in again",
            output::to_the_second(since),
            desk.command(format_args!("user enable {username}"))
        ),
        (None, None) => "is enabled; what was revoked stays revoked".to_owned(),
    };
    output::say(format_args!("{username} {state}"));
    if json { output::data(&output::json(&user)?) } else { Ok(()) }
}

async fn delete(place: Place, username: &Username, consent: Consent) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    desk.user(username).await?;
    consent.ask(&format!("Delete the user {username} and end every credential of theirs for good?"))?;
    let agents = desk.agents(Some(username)).await.map_or(0, |list| list.agents.len() as u64);
    let ended = desk.delete_user(username).await?;
    let ended = ended.map_or_else(
        || "revoked all that was theirs".to_owned(),
        |ended| ended_in_words(&ended, Tokens::Counted),
    );
    let with = if agents > 0 { format!(" and {}", output::counted(agents, "agent")) } else { String::new() };
    output::say(format_args!("Deleted the user {username}{with}; {ended}"));
    Ok(())
}

async fn reset_passphrase(
    place: Place,
    username: &Username,
    source: PassphraseSource,
    revoke_tokens: bool,
    json: bool,
) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let user = desk.user(username).await?;
    let passphrase = source.read(username, desk.fewest_bytes())?;
    let ended = desk.reset_passphrase(&user, passphrase, revoke_tokens).await?;
    let tokens = if revoke_tokens { Tokens::WithWorkers } else { Tokens::Kept("their tokens stay") };
    output::say(format_args!("{username} has a new passphrase; {}", ended_in_words(&ended, tokens)));
    if json { output::data(&output::json(&ended)?) } else { Ok(()) }
}

/// What became of tokens beside the sign-ins that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tokens {
    /// They were kept on purpose, in these words.
    Kept(&'static str),
    /// What ended of them was counted.
    Counted,
    /// And all worker tokens ended, which nobody can count.
    WithWorkers,
}

/// What was revoked, and what was kept on purpose.
pub(crate) fn ended_in_words(ended: &EndedView, tokens: Tokens) -> String {
    let counts = [(ended.revoked_logins, "sign-in"), (ended.revoked_tokens, "token")];
    let some = counts.into_iter().filter(|(number, _)| *number > 0);
    let some: Vec<_> = some.map(|(number, what)| output::counted(number, what)).collect();
    let revoked = (!some.is_empty()).then(|| format!("revoked {}", some.join(" and ")));
    match (revoked, tokens) {
        (Some(revoked), Tokens::Kept(kept)) => format!("{revoked}; {kept}"),
        (Some(revoked), Tokens::Counted) => revoked,
        (Some(revoked), Tokens::WithWorkers) => format!("{revoked}, and all worker tokens"),
        (None, Tokens::Kept(kept)) => kept.to_owned(),
        (None, Tokens::Counted) => "there was nothing to revoke".to_owned(),
        (None, Tokens::WithWorkers) => "revoked all worker tokens".to_owned(),
    }
}
