//! Tokens that are there already: renamed, revoked, one or all.

use askama::Template;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::WriteTokens;
use fallgate_authority::{Ending, PeerAddress, Permit, RevokeOutcome, WorkerEnd};
use fallgate_domain::credential::{CredentialKind, TokenName};
use fallgate_domain::user::{User, Username};
use fallgate_store::{CredentialFilter, Listed};

use super::listing::Listing;
use crate::api::tokens::{identified, unknown};
use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::{Ask, named, will_cut};
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::{Notice, counted};

#[derive(Template)]
#[template(path = "token-rename.html")]
struct RenamePage {
    frame: Frame,
    /// As it is called until now.
    called: String,
    /// As it was typed.
    name: String,
    action: String,
    back: String,
    troubles: Troubles,
}

pub(crate) async fn ask_rename(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let called = managed(&app, &permit, &id).await?.credential.name;
    let typed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "name");
    let name = typed.map_or_else(|| called.clone(), |(_, name)| name.into_owned());
    rename_page(&app, &permit, &id, &query, (called, name), Troubles::default())
}

pub(crate) async fn rename(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    form: FormBody,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let typed = form.text("name")?;
    let mut troubles = Troubles::default();
    if let Some(name) = troubles.note("name", typed.parse::<TokenName>()) {
        match app.verifier.rename_token(&permit, identified(&id)?, name, peer.0).await {
            Ok(_) => return Notice::TokenRenamed.at(&Listing::read(&query).address(), None),
            Err(error) => troubles = Troubles::of("name", error.into())?,
        }
    }
    let called = managed(&app, &permit, &id).await?.credential.name;
    rename_page(&app, &permit, &id, &query, (called, typed.to_string()), troubles)
}

fn rename_page(
    app: &App,
    permit: &Permit<WriteTokens>,
    id: &str,
    query: &str,
    (called, name): (String, String),
    troubles: Troubles,
) -> Result<Response, WebError> {
    let listing = Listing::read(query);
    let page = RenamePage {
        frame: Frame::of(app, permit.principal(), Place::Tokens)?,
        called,
        name,
        action: listing.at(&format!("/tokens/{id}/rename")),
        back: listing.address(),
        troubles,
    };
    Ok(page.troubles.mark(page.frame.show(&page)?))
}

pub(crate) async fn ask_revoke(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let listing = Listing::read(query.as_deref().unwrap_or_default());
    let Listed { credential, owner_name, .. } = managed(&app, &permit, &id).await?;
    let of = owner_name.filter(|owner| permit.principal().username() != Some(owner));
    let of = of.map(|owner| format!(" of {owner}")).unwrap_or_default();
    let ask = Ask {
        frame: Frame::of(&app, permit.principal(), Place::Tokens)?,
        verb: "Revoke token",
        heading: format!("Revoke {}{of}?", named(&credential.name)),
        lines: vec![
            will_cut(app.verifier.open_under(Ending::Credential(credential.id))),
            "Whatever uses this token is refused from then on, and so is all that was minted from it. It cannot be undone.".to_owned(),
        ],
        action: listing.at(&format!("/tokens/{id}/revoke")),
        back: &listing.address(),
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}

pub(crate) async fn revoke(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    _form: FormBody,
) -> Result<Response, WebError> {
    let listing = Listing::read(query.as_deref().unwrap_or_default());
    let id = identified(&id)?;
    let open = app.verifier.open_under(Ending::Credential(id));
    match app.verifier.revoke(&permit, id, WorkerEnd::default(), peer.0).await? {
        RevokeOutcome::Revoked | RevokeOutcome::AlreadyRevoked => {
            Notice::TokenRevoked.at(&listing.address(), Some(open))
        }
        RevokeOutcome::Unknown => Err(unknown()),
        RevokeOutcome::NotYours => Err(not_yours()),
    }
}

pub(crate) async fn ask_revoke_all(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let listing = Listing::read(query.as_deref().unwrap_or_default());
    let owner = owner_of_all(&app, &permit, &listing).await?;
    let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
    let now = app.verifier.clock().now();
    let filter = CredentialFilter { owner: Some(owner.id), kinds, with_ended: false, now };
    let count = app.verifier.store().credentials(&filter).await?.len();
    let tokens = counted(u64::try_from(count).unwrap_or(u64::MAX), "token", "tokens");
    let own = permit.principal().user() == Some(owner.id);
    let whose = if own { "your".to_owned() } else { format!("{}'s", owner.username) };
    let ask = Ask {
        frame: Frame::of(&app, permit.principal(), Place::Tokens)?,
        verb: "Revoke all tokens",
        heading: format!("Revoke all {whose} tokens?"),
        lines: vec![
            format!("{tokens} and all worker tokens will end, for good."),
            will_cut(app.verifier.open_under(Ending::Tokens(owner.id))),
            "Sign-ins stay: they are ended under Account.".to_owned(),
        ],
        action: listing.at("/tokens/revoke-all"),
        back: &listing.address(),
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}

pub(crate) async fn revoke_all(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    RawQuery(query): RawQuery,
    _form: FormBody,
) -> Result<Response, WebError> {
    let listing = Listing::read(query.as_deref().unwrap_or_default());
    let owner = owner_of_all(&app, &permit, &listing).await?;
    let other = (permit.principal().user() != Some(owner.id)).then_some(&owner.username);
    let revoked = app.verifier.revoke_all(&permit, other, peer.0).await?;
    Notice::TokensRevoked.at(&listing.newest(), Some(revoked))
}

/// Whose tokens "all" means: one's own, or, for an admin, those of the user whose are listed.
async fn owner_of_all(app: &App, permit: &Permit<WriteTokens>, listing: &Listing) -> Result<User, WebError> {
    let caller = permit.principal();
    let own = caller.username().ok_or_else(not_yours)?;
    let wanted: &Username = listing.owner.as_ref().filter(|_| caller.is_admin()).unwrap_or(own);
    let user = app.verifier.store().user_named(wanted).await?;
    user.ok_or_else(|| WebError::NotFound("There is no such user.".to_owned()))
}

/// A token that the caller may rename and revoke.
async fn managed(app: &App, permit: &Permit<WriteTokens>, id: &str) -> Result<Listed, WebError> {
    let listed = app.verifier.store().credential(identified(id)?).await?.ok_or_else(unknown)?;
    let caller = permit.principal();
    let credential = &listed.credential;
    if !caller.is_admin() && (caller.user().is_none() || credential.owner != caller.user()) {
        return Err(not_yours());
    }
    let is_token = matches!(credential.kind, CredentialKind::Token | CredentialKind::Legacy);
    if is_token { Ok(listed) } else { Err(unknown()) }
}

fn not_yours() -> WebError {
    WebError::Forbidden("This token is another's.".to_owned())
}
