//! An account that is there already: renamed, given another role, disabled, enabled, deleted. What closes something asks
//! first.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use fallgate_authority::actions::ManageUsers;
use fallgate_authority::{PeerAddress, Permit, UserError, UserPatch};
use fallgate_domain::user::{DisplayName, Role, User};

use super::{HOME, UserPage, address, is_last_admin, open, standing};
use crate::api::users::{existing, named};
use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::{Ask, will_cut};
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::{Notice, counted};

/// `POST /admin/users/{u}`: another display name.
pub(crate) async fn rename(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    form: FormBody,
) -> Result<Response, WebError> {
    let typed = form.text("display_name")?;
    let mut troubles = Troubles::default();
    if let Some(name) = troubles.note("display_name", typed.parse::<DisplayName>()) {
        let patch = UserPatch { display_name: Some(name), ..UserPatch::default() };
        match app.verifier.change_user(&permit, &named(&username)?, patch, peer.0).await {
            Ok(_) => return Notice::UserRenamed.at(&address(&username), None),
            Err(error) => troubles = Troubles::of("display_name", error.into())?,
        }
    }
    UserPage::of(&app, &permit, &username, Some(typed.to_string()), troubles).await?.show()
}

pub(crate) async fn ask_role(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Path(username): Path<String>,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    if user.role == Role::Admin {
        expect_not_last(&app, &user).await?;
    }
    let (role, verb, line) = match user.role {
        Role::Admin => (
            Role::User,
            "Make a user",
            "They keep what is theirs. What only an admin may do is refused from then on, also to their tokens, and open connections that need it are cut.",
        ),
        Role::User => (
            Role::Admin,
            "Make an admin",
            "They will see everybody's tokens, accounts and connections, and may change and cut them all.",
        ),
    };
    let heading =
        format!("Make {} {}?", user.username, if role == Role::Admin { "an admin" } else { "a user" });
    let mut lines = vec![line.to_owned()];
    if role == Role::User {
        let open = counted(open(&app, &user), "connection of theirs is", "connections of theirs are");
        lines.push(format!("{open} open now."));
    }
    let fields = vec![("role", role.name().to_owned())];
    let cuts = role == Role::User;
    ask(&app, &permit, &user, Question { verb, heading, lines, path: "role", fields, cuts, typed: false })
}

pub(crate) async fn change_role(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    form: FormBody,
) -> Result<Response, WebError> {
    let role = form.text("role")?.parse::<Role>();
    let role = role.map_err(|error| WebError::BadRequest(crate::error::sentence(&error)))?;
    let patch = UserPatch { role: Some(role), ..UserPatch::default() };
    app.verifier.change_user(&permit, &named(&username)?, patch, peer.0).await?;
    Notice::RoleChanged.at(&address(&username), None)
}

pub(crate) async fn ask_disable(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Path(username): Path<String>,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    expect_not_last(&app, &user).await?;
    let heading = format!("Disable {}?", user.username);
    let lines = vec![
        will_cut(open(&app, &user)),
        "Every token and sign-in of theirs is refused until the account is enabled again.".to_owned(),
    ];
    let (verb, fields) = ("Disable account", Vec::new());
    ask(
        &app,
        &permit,
        &user,
        Question { verb, heading, lines, path: "disable", fields, cuts: true, typed: false },
    )
}

pub(crate) async fn disable(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    let open = open(&app, &user);
    let patch = UserPatch { disabled: Some(true), ..UserPatch::default() };
    app.verifier.change_user(&permit, &user.username, patch, peer.0).await?;
    Notice::UserDisabled.at(&address(&username), Some(open))
}

pub(crate) async fn enable(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let patch = UserPatch { disabled: Some(false), ..UserPatch::default() };
    app.verifier.change_user(&permit, &named(&username)?, patch, peer.0).await?;
    Notice::UserEnabled.at(&address(&username), None)
}

pub(crate) async fn ask_delete(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Path(username): Path<String>,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    expect_not_last(&app, &user).await?;
    let (tokens, logins) = standing(&app, user.id).await?;
    let many = |count: usize, one, many| counted(u64::try_from(count).unwrap_or(u64::MAX), one, many);
    let heading = format!("Delete {}?", user.username);
    let lines = vec![
        will_cut(open(&app, &user)),
        format!(
            "{} and {} end, for good.",
            many(tokens, "token", "tokens"),
            many(logins, "sign-in", "sign-ins")
        ),
        "Whoever gets an account of that name later inherits nothing.".to_owned(),
    ];
    let (verb, fields) = ("Delete account", Vec::new());
    ask(
        &app,
        &permit,
        &user,
        Question { verb, heading, lines, path: "delete", fields, cuts: true, typed: true },
    )
}

pub(crate) async fn delete(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    form: FormBody,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    if *form.text("typed")? != user.username.as_str() {
        return Err(WebError::BadRequest(format!("Type {} to confirm; nothing was deleted.", user.username)));
    }
    let open = open(&app, &user);
    app.verifier.delete_user(&permit, &user.username, peer.0).await?;
    Notice::UserDeleted.at(HOME, Some(open))
}

/// What is asked before an account is changed.
struct Question {
    verb: &'static str,
    heading: String,
    lines: Vec<String>,
    /// Behind the account's own address.
    path: &'static str,
    fields: Vec<(&'static str, String)>,
    cuts: bool,
    /// Whether the username has to be typed first.
    typed: bool,
}

fn ask(
    app: &App,
    permit: &Permit<ManageUsers>,
    user: &User,
    question: Question,
) -> Result<Response, WebError> {
    let Question { verb, heading, mut lines, path, fields, cuts, typed } = question;
    if permit.principal().user() == Some(user.id) {
        lines.push("This is your own account.".to_owned());
    }
    let back = address(user.username.as_str());
    let ask = Ask {
        frame: Frame::of(app, permit.principal(), Place::Users)?,
        verb,
        heading,
        lines,
        action: format!("{back}/{path}"),
        back: &back,
        typed: typed.then(|| user.username.as_str()),
        fields,
        cuts,
    };
    ask.show()
}

/// The last enabled admin stays what they are, and the page says so before anybody tries.
async fn expect_not_last(app: &App, user: &User) -> Result<(), WebError> {
    if is_last_admin(app, user).await? {
        return Err(UserError::LastAdmin(user.username.clone()).into());
    }
    Ok(())
}
