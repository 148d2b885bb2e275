//! `/tokens`: one's own tokens; for an admin everybody's.

pub(crate) mod change;
pub(crate) mod create;
mod listing;
mod terms;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::ReadIdentity;
use fallgate_authority::{Permit, Principal};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, Status};
use fallgate_domain::id::UserId;
use fallgate_domain::scope::{PlainScope, Scope, Scopes};
use fallgate_domain::user::User;
use fallgate_store::{CredentialFilter, Listed};

use self::listing::Listing;
use super::frame::{Frame, Place};
use super::moment::{Moment, ends_soon};
use crate::app::App;
use crate::error::WebError;

/// How many stand on one page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    /// Whether the viewer may mint, rename and revoke.
    writes: bool,
    listing: Listing,
    /// Everybody, for admins to choose from.
    owners: Vec<User>,
    rows: Vec<Row>,
    /// The address of the page with the next older ones.
    older: Option<String>,
}

/// A token in the list.
struct Row {
    id: String,
    name: String,
    hint: String,
    owner: Option<String>,
    scopes: String,
    created: Moment,
    expires: Option<Moment>,
    /// Whether it stands, and ends within two weeks.
    ends_soon: bool,
    last_use: Option<(Moment, Option<String>)>,
    status: Status,
}

pub(crate) async fn list(
    permit: Permit<ReadIdentity>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let caller = permit.principal();
    let listing = Listing::read(query.as_deref().unwrap_or_default());
    let owners = if caller.is_admin() { app.verifier.store().users().await? } else { Vec::new() };
    let now = app.verifier.clock().now();
    let mut listed = match Whose::of(caller, &listing, &owners) {
        Whose::Nobodys => Vec::new(),
        Whose::Of(owner) => read(&app, &listing, Some(owner), now).await?,
        Whose::Everybodys => read(&app, &listing, None, now).await?,
    };
    let more = listed.len() > PAGE;
    listed.truncate(PAGE);
    let last = listed.last().map(|listed| listed.credential.id).filter(|_| more);
    let page = TokensPage {
        frame: Frame::of(&app, caller, Place::Tokens)?.noticing(query.as_deref()),
        writes: caller.user().is_some() && caller.scopes().allow(&PlainScope::TokensWrite.into()),
        older: last.map(|last| listing.older_than(last)),
        rows: listed.into_iter().map(|listed| Row::of(listed, now)).collect(),
        listing,
        owners,
    };
    page.frame.show(&page)
}

/// Whose are to be listed.
enum Whose {
    Nobodys,
    Of(UserId),
    Everybodys,
}

impl Whose {
    fn of(caller: &Principal, listing: &Listing, everybody: &[User]) -> Self {
        if !caller.is_admin() {
            return caller.user().map_or(Self::Nobodys, Self::Of);
        }
        let Some(wanted) = &listing.owner else { return Self::Everybodys };
        let owner = everybody.iter().find(|user| user.username == *wanted);
        owner.map_or(Self::Nobodys, |owner| Self::Of(owner.id))
    }
}

/// One more than there is room for, to know whether there are more.
async fn read(
    app: &App,
    listing: &Listing,
    owner: Option<UserId>,
    now: Timestamp,
) -> Result<Vec<Listed>, WebError> {
    let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
    let filter = CredentialFilter { owner, kinds, with_ended: listing.with_ended, now };
    Ok(app.verifier.store().youngest_credentials(&filter, listing.after, PAGE + 1).await?)
}

impl Row {
    fn of(listed: Listed, now: Timestamp) -> Self {
        let credential = listed.credential;
        let status = credential.status(now);
        let ends_soon = status == Status::Active && ends_soon(credential.expires_at, now);
        Self {
            id: credential.id.to_string(),
            hint: credential.hint,
            owner: listed.owner_name.map(|owner| owner.to_string()),
            scopes: in_words(&credential.scopes),
            created: Moment::of(credential.created_at, now),
            expires: credential.expires_at.map(|end| Moment::of(end, now)),
            ends_soon,
            last_use: credential.last_use.map(|last_use| (Moment::of(last_use.at, now), last_use.ip)),
            name: credential.name,
            status,
        }
    }

    fn stands(&self) -> bool {
        self.status == Status::Active
    }
}

/// What a token may be used for, for people.
pub(super) fn in_words(scopes: &Scopes) -> String {
    let words: Vec<_> = scopes
        .iter()
        .map(|scope| match scope {
            Scope::Plain(scope) => scope.title().to_owned(),
            Scope::Route(name) => format!("Use the route {name}"),
        })
        .collect();
    if words.is_empty() { "Nothing".to_owned() } else { words.join(", ") }
}
