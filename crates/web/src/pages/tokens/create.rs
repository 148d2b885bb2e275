//! Minting a token: the form, and the one page that shows the secret.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use fallgate_authority::actions::WriteTokens;
use fallgate_authority::{MintError, MintOrder, MintedToken, PeerAddress, Permit, Principal};
use fallgate_domain::credential::TokenName;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::scope::PlainScope;
use fallgate_domain::user::Username;
use http::StatusCode;
use zeroize::Zeroizing;

use super::in_words;
use super::terms::{Terms, day_after};
use crate::app::App;
use crate::error::WebError;
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::moment::Moment;
use crate::pages::offer::{Offer, read_owner, read_scopes, usual_owner, usual_scopes};
use crate::pages::once::{FormKey, SentAlready};
use crate::pages::qr;

#[derive(Template)]
#[template(path = "token-new.html")]
struct NewTokenPage {
    frame: Frame,
    once: FormKey,
    draft: Draft,
    offer: Offer,
    terms: Terms,
    troubles: Troubles,
}

/// What is asked for, as it was typed.
#[derive(Debug)]
struct Draft {
    name: String,
    username: String,
    scopes: Vec<String>,
    expires: String,
    date: String,
}

#[derive(Template)]
#[template(path = "token-made.html")]
struct MadePage {
    frame: Frame,
    name: String,
    owner: Username,
    /// Whether it is another's.
    for_other: bool,
    scopes: String,
    expires: Option<Moment>,
    secret: Zeroizing<String>,
    qr: Zeroizing<String>,
    origin: String,
}

pub(crate) async fn show(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let mut draft = Draft::read(form_urlencoded::parse(query.as_bytes()));
    draft.fill_in(permit.principal(), &Terms::of(&app.verifier.policy(), app.verifier.clock().now()));
    form_page(&app, permit.principal(), draft, Troubles::default()).await
}

pub(crate) async fn mint(
    permit: Permit<WriteTokens>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let Some(claim) = app.sent.claim(permit.principal(), &form)? else {
        return sent_already(&app, permit.principal());
    };
    let draft = Draft::read(form.fields());
    let order = match draft.order(permit.principal()) {
        Ok(order) => order,
        Err(troubles) => return form_page(&app, permit.principal(), draft, troubles).await,
    };
    match app.verifier.mint(&permit, order, peer.0).await {
        Ok(minted) => {
            claim.done();
            made_page(&app, permit.principal(), minted)
        }
        Err(error) => {
            let field = field_of(&error);
            let troubles = Troubles::of(field, error.into())?;
            form_page(&app, permit.principal(), draft, troubles).await
        }
    }
}

/// By which field it stands why nothing was minted.
const fn field_of(error: &MintError) -> &'static str {
    match error {
        MintError::UnknownUser(_) | MintError::OwnerDisabled(_) => "username",
        MintError::ScopeBeyond(_) | MintError::ScopeBeyondParent(_) => "scope",
        MintError::OutlivesParent(_) | MintError::BeyondPolicy { .. } | MintError::Lifetime(_) => "expires",
        _ => "form",
    }
}

async fn form_page(
    app: &App,
    caller: &Principal,
    draft: Draft,
    troubles: Troubles,
) -> Result<Response, WebError> {
    let nobodys = || WebError::Forbidden("A credential that nobody owns cannot mint tokens.".to_owned());
    let page = NewTokenPage {
        frame: Frame::of(app, caller, Place::Tokens)?,
        once: FormKey::draw(app)?,
        draft,
        offer: Offer::to(app, caller, nobodys).await?,
        terms: Terms::of(&app.verifier.policy(), app.verifier.clock().now()),
        troubles,
    };
    Ok(page.troubles.mark(page.frame.show(&page)?))
}

fn made_page(app: &App, caller: &Principal, minted: MintedToken) -> Result<Response, WebError> {
    let MintedToken { credential, owner, secret } = minted;
    let page = MadePage {
        frame: Frame::of(app, caller, Place::Tokens)?,
        for_other: caller.username() != Some(&owner),
        name: credential.name,
        owner,
        scopes: in_words(&credential.scopes),
        expires: credential.expires_at.map(|end| Moment::of(end, credential.created_at)),
        qr: qr::svg(secret.expose())?,
        secret: Zeroizing::new(secret.expose().to_owned()),
        origin: app.settings.now().origin.clone(),
    };
    Ok((StatusCode::CREATED, page.frame.show(&page)?).into_response())
}

fn sent_already(app: &App, caller: &Principal) -> Result<Response, WebError> {
    let page = SentAlready {
        frame: Frame::of(app, caller, Place::Tokens)?,
        says: "The token was made when you sent the form the first time, and its secret is shown only once. If you have not kept it, revoke the token and create another.",
        back: "/tokens",
        back_says: "Go to the tokens",
        again: "/tokens/new",
        again_says: "Create another token",
    };
    page.show()
}

impl Draft {
    /// What stands in an address or a form; the last counts where only one can.
    fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let (mut name, mut username, mut expires, mut date) = Default::default();
        let mut scopes = Vec::new();
        for (field, value) in pairs {
            let value = value.into_owned();
            match &*field {
                "name" => name = value,
                "username" => username = value,
                "scope" => scopes.push(value),
                "expires" => expires = value,
                "date" => date = value,
                _ => {}
            }
        }
        Self { name, username, scopes, expires, date }
    }

    /// What is asked for when nothing is said.
    fn fill_in(&mut self, caller: &Principal, terms: &Terms) {
        if self.username.is_empty() {
            self.username = usual_owner(caller);
        }
        if self.scopes.is_empty() {
            self.scopes = usual_scopes(caller);
        }
        if !terms.offers(&self.expires) {
            self.expires = terms.usual();
        }
    }

    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|chosen| chosen == scope)
    }

    fn has_scope(&self, scope: PlainScope) -> bool {
        self.has(scope.name())
    }

    fn has_route(&self, name: &str) -> bool {
        self.has(&format!("route:{name}"))
    }

    fn is_for(&self, owner: &Username) -> bool {
        self.username == owner.as_str()
    }

    /// The order that the form makes, or all that is wrong with it.
    fn order(&self, caller: &Principal) -> Result<MintOrder, Troubles> {
        let mut troubles = Troubles::default();
        let name = troubles.note("name", self.name.parse::<TokenName>());
        let owner = read_owner(caller, &self.username, "username", &mut troubles);
        let scopes = read_scopes(&self.scopes, "token", &mut troubles);
        let lifetime = troubles.note("expires", self.lifetime());
        match (name, owner, scopes, lifetime) {
            (Some(name), Some(owner), scopes @ Some(_), lifetime @ Some(_)) if troubles.is_empty() => {
                Ok(MintOrder { owner, name: Some(name), scopes, lifetime })
            }
            _ => Err(troubles),
        }
    }

    fn lifetime(&self) -> Result<Lifetime, String> {
        if self.expires != "date" {
            return self.expires.parse().map_err(|_| "choose when the token is to end".to_owned());
        }
        let end = day_after(&self.date);
        end.map(Lifetime::Until).ok_or_else(|| "choose a date, such as 2031-12-31".to_owned())
    }
}
