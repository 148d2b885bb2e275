//! `/admin/users`: everybody's accounts.

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod passphrase;

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::ManageUsers;
use fallgate_authority::{Ending, Permit, Principal};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::id::UserId;
use fallgate_domain::user::{Role, User};
use fallgate_store::CredentialFilter;

use super::form::Troubles;
use super::frame::{Frame, Place};
use super::moment::Moment;
use crate::api::users::{existing, named};
use crate::app::App;
use crate::error::WebError;

/// How many stand on one page.
const PAGE: usize = 100;

const HOME: &str = "/admin/users";

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    rows: Vec<Row>,
    /// Whether it is not the first page.
    goes_on: bool,
    /// The username after which the next page begins.
    next: Option<String>,
}

/// An account in the list.
struct Row {
    username: String,
    display_name: String,
    role: &'static str,
    /// Since when, if it is.
    disabled: Option<Moment>,
    last_seen: Option<Moment>,
    live: u64,
    is_viewer: bool,
}

pub(crate) async fn list(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let after = after(query.as_deref().unwrap_or_default());
    let mut users = app.verifier.store().users().await?;
    users.retain(|user| user.username.as_str() > after.as_str());
    let next = users.get(PAGE).and(users.get(PAGE - 1)).map(|user| user.username.to_string());
    users.truncate(PAGE);
    let page = UsersPage {
        frame: Frame::of(&app, permit.principal(), Place::Users)?.noticing(query.as_deref()),
        rows: rows(&app, permit.principal(), &users).await?,
        goes_on: !after.is_empty(),
        next,
    };
    page.frame.show(&page)
}

fn after(query: &str) -> String {
    let after = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    after.map(|(_, username)| username.into_owned()).unwrap_or_default()
}

async fn rows(app: &App, viewer: &Principal, users: &[User]) -> Result<Vec<Row>, WebError> {
    let now = app.verifier.clock().now();
    let ids = users.iter().map(|user| user.id).collect();
    let (seen, open) = (app.verifier.store().last_seen(ids).await?, app.verifier.open_by_user());
    Ok(users.iter().map(|user| Row::of(user, viewer, &seen, &open, now)).collect())
}

impl Row {
    fn of(
        user: &User,
        viewer: &Principal,
        seen: &HashMap<UserId, Timestamp>,
        open: &HashMap<UserId, u64>,
        now: Timestamp,
    ) -> Self {
        Self {
            role: user.role.name(),
            disabled: user.disabled_at.map(|at| Moment::of(at, now)),
            last_seen: seen.get(&user.id).map(|at| Moment::of(*at, now)),
            live: open.get(&user.id).copied().unwrap_or(0),
            is_viewer: viewer.user() == Some(user.id),
            username: user.username.to_string(),
            display_name: user.display_name.to_string(),
        }
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    row: Row,
    created: Moment,
    /// As it was typed.
    display_name: String,
    is_admin: bool,
    /// Whether nobody else could do everything.
    is_last_admin: bool,
    tokens: usize,
    logins: usize,
    troubles: Troubles,
}

/// `GET /admin/users/{u}`
pub(crate) async fn show(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Path(username): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let typed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "display_name");
    let typed = typed.map(|(_, name)| name.into_owned());
    let page = UserPage::of(&app, &permit, &username, typed, Troubles::default()).await?;
    let frame = page.frame;
    UserPage { frame: frame.noticing(Some(&query)), ..page }.show()
}

impl UserPage {
    async fn of(
        app: &App,
        permit: &Permit<ManageUsers>,
        username: &str,
        typed: Option<String>,
        troubles: Troubles,
    ) -> Result<Self, WebError> {
        let user = existing(&app.verifier, &named(username)?).await?;
        let now = app.verifier.clock().now();
        let (id, created, is_admin) = (user.id, Moment::of(user.created_at, now), user.role == Role::Admin);
        let display_name = typed.unwrap_or_else(|| user.display_name.to_string());
        let (tokens, logins) = standing(app, id).await?;
        let is_last_admin = is_last_admin(app, &user).await?;
        let rows = rows(app, permit.principal(), std::slice::from_ref(&user)).await?;
        let row = rows.into_iter().next().ok_or(WebError::Unavailable)?;
        let frame = Frame::of(app, permit.principal(), Place::Users)?;
        Ok(Self { frame, row, created, display_name, is_admin, is_last_admin, tokens, logins, troubles })
    }

    fn show(&self) -> Result<Response, WebError> {
        Ok(self.troubles.mark(self.frame.show(self)?))
    }
}

/// Where an account's own page is.
fn address(username: &str) -> String {
    format!("{HOME}/{username}")
}

/// How many tokens and sign-ins of theirs stand.
async fn standing(app: &App, owner: UserId) -> Result<(usize, usize), WebError> {
    let now = app.verifier.clock().now();
    let filter = CredentialFilter { owner: Some(owner), kinds: Vec::new(), with_ended: false, now };
    let all = app.verifier.store().credentials(&filter).await?;
    let logins = all.iter().filter(|listed| listed.credential.kind == CredentialKind::Login);
    // What hangs on a sign-in is the same device, on the host of a route.
    let logins = logins.filter(|listed| listed.credential.parent.is_none()).count();
    let tokens = all.iter().filter(|listed| listed.credential.kind == CredentialKind::Token).count();
    Ok((tokens, logins))
}

/// Whether there is no other enabled admin.
async fn is_last_admin(app: &App, user: &User) -> Result<bool, WebError> {
    let is_one = |user: &User| user.role == Role::Admin && user.disabled_at.is_none();
    if !is_one(user) {
        return Ok(false);
    }
    let users = app.verifier.store().users().await?;
    Ok(!users.iter().any(|other| other.id != user.id && is_one(other)))
}

/// How many connections of theirs are open now.
fn open(app: &App, user: &User) -> u64 {
    app.verifier.open_under(Ending::User(user.id))
}
