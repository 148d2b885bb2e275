//! `fallgate user …`

use fallgate_authority::{Registrar, UserError, UserOrder, UserPatch};
use fallgate_domain::user::{DisplayName, Role, User as Account, Username};
use fallgate_web::view::{EndedView, UserList, UserView};

use crate::cli::User;
use crate::cmd::consent::Consent;
use crate::cmd::passphrase::PassphraseSource;
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::{cmd, lifecycle, output};

pub(crate) fn run(verb: User, home: &HomeFolder) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        User::Create { username, display_name, admin, passphrase_stdin, format } => {
            let source = PassphraseSource::choose(passphrase_stdin)?;
            let role = if admin { Role::Admin } else { Role::User };
            let new = NewUser { username, display_name, role };
            runtime.block_on(create(home, new, source, format.json))
        }
        User::List { format } => runtime.block_on(list(home, format.json)),
        User::SetRole { username, role, format } => {
            let patch = UserPatch { role: Some(role), ..UserPatch::default() };
            runtime.block_on(change(home, &username, patch, format.json))
        }
        User::Disable { username, format } => {
            let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
            runtime.block_on(change(home, &username, patch, format.json))
        }
        User::Enable { username, format } => {
            let patch = UserPatch { disabled: Some(false), ..UserPatch::default() };
            runtime.block_on(change(home, &username, patch, format.json))
        }
        User::Delete { username, yes } => {
            let consent = Consent::choose(yes, "delete a user")?;
            runtime.block_on(delete(home, &username, consent))
        }
        User::ResetPassphrase { username, passphrase_stdin, revoke_tokens, format } => {
            let source = PassphraseSource::choose(passphrase_stdin)?;
            runtime.block_on(reset_passphrase(home, &username, source, revoke_tokens, format.json))
        }
    }
}

struct NewUser {
    username: Username,
    display_name: Option<DisplayName>,
    role: Role,
}

async fn create(
    home: &HomeFolder,
    new: NewUser,
    source: PassphraseSource,
    json: bool,
) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, true).await?;
    // Nobody should think up a passphrase for nothing. That the name is still free is made sure of later.
    if registrar.store().user_named(&new.username).await?.is_some() {
        return Err(refused(UserError::UsernameTaken(new.username)));
    }
    let text = source.read(&new.username)?;
    let mut about = vec![new.username.to_string(), "fallgate".to_owned()];
    about.extend(new.display_name.as_ref().map(ToString::to_string));
    let passphrase = registrar.check_passphrase(text, about).await?;
    let NewUser { username, display_name, role } = new;
    let order = UserOrder { username, display_name, role, passphrase };
    let user = registrar.create_user(order, &lifecycle::actor()).await.map_err(refused)?;
    let what = if user.role == Role::Admin { "admin" } else { "user" };
    let next = home.command(format_args!("token create --username {}", user.username));
    output::say(format_args!("Made the {what} {}. A token for them: {next}", user.username));
    if json { output::data(&output::json(&UserView::from(user))?) } else { Ok(()) }
}

fn refused(error: UserError) -> Failure {
    match error {
        UserError::UsernameTaken(_) => {
            Failure::failed(format_args!("{error}: choose another name, or see `fallgate user list`"))
        }
        UserError::Unknown(_) => {
            Failure::failed(format_args!("{error}: `fallgate user list` shows who there is"))
        }
        UserError::LastAdmin(_) => Failure::failed(format_args!(
            "{error}, so nobody could manage this gate any more: make another admin first with `fallgate user set-role NAME admin`"
        )),
        error => error.into(),
    }
}

async fn list(home: &HomeFolder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let users = registrar.store().users().await?;
    if json {
        return output::data(&output::json(&UserList::from(users))?);
    }
    if users.is_empty() {
        let first = home.command("user create NAME --admin");
        output::say(format_args!("There are no users yet. Make the first one: {first}"));
        return Ok(());
    }
    let rows: Vec<_> = users
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
async fn change(home: &HomeFolder, username: &Username, patch: UserPatch, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let user = registrar.change_user(username, patch.clone(), &lifecycle::actor()).await.map_err(refused)?;
    let state = match (patch.role, user.disabled_at) {
        (Some(Role::Admin), _) => "is an admin now".to_owned(),
        (Some(Role::User), _) => "is a plain user now".to_owned(),
        (None, Some(since)) => format!(
            "is disabled, since {}; `{}` lets them in again",
            output::to_the_second(since),
            home.command(format_args!("user enable {username}"))
        ),
        (None, None) => "is enabled; what was revoked stays revoked".to_owned(),
    };
    output::say(format_args!("{username} {state}"));
    if json { output::data(&output::json(&UserView::from(user))?) } else { Ok(()) }
}

async fn delete(home: &HomeFolder, username: &Username, consent: Consent) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    existing(&registrar, username).await?;
    consent.ask(&format!("Delete the user {username} and end every credential of theirs for good?"))?;
    let ended = registrar.delete_user(username, &lifecycle::actor()).await.map_err(refused)?;
    output::say(format_args!("Deleted the user {username}; {}", ended_in_words(&ended.into())));
    Ok(())
}

async fn reset_passphrase(
    home: &HomeFolder,
    username: &Username,
    source: PassphraseSource,
    revoke_tokens: bool,
    json: bool,
) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let user = existing(&registrar, username).await?;
    let text = source.read(username)?;
    let about = vec![username.to_string(), "fallgate".to_owned(), user.display_name.to_string()];
    let passphrase = registrar.check_passphrase(text, about).await?;
    let ended = registrar
        .reset_passphrase(username, passphrase, revoke_tokens, &lifecycle::actor())
        .await
        .map_err(refused)?;
    let ended = EndedView::from(ended);
    let kept = if revoke_tokens { "" } else { "; their tokens stay" };
    output::say(format_args!("{username} has a new passphrase; {}{kept}", ended_in_words(&ended)));
    if json { output::data(&output::json(&ended)?) } else { Ok(()) }
}

/// Asked before anything else is: nobody should answer for nothing.
async fn existing(registrar: &Registrar, username: &Username) -> Result<Account, Failure> {
    let user = registrar.store().user_named(username).await?;
    user.ok_or_else(|| refused(UserError::Unknown(username.clone())))
}

fn ended_in_words(ended: &EndedView) -> String {
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("revoked {} and {}", count(ended.revoked_logins, "sign-in"), count(ended.revoked_tokens, "token"))
}
