//! Making an account: the form, and, where the passphrase was drawn, the one page that shows it.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use fallgate_authority::actions::ManageUsers;
use fallgate_authority::{PeerAddress, Permit, Principal, UserError, UserOrder};
use fallgate_domain::user::{DisplayName, Role, Username};

use super::passphrase::{Chosen, passphrase_page};
use super::{HOME, address};
use crate::app::App;
use crate::error::WebError;
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::Notice;
use crate::pages::once::{FormKey, SentAlready};

#[derive(Template)]
#[template(path = "user-new.html")]
struct NewUserPage {
    frame: Frame,
    once: FormKey,
    draft: Draft,
    fewest: usize,
    troubles: Troubles,
}

/// What is asked for, as it was typed.
#[derive(Debug, Default)]
struct Draft {
    username: String,
    display_name: String,
    role: String,
    typed: bool,
}

pub(crate) async fn show(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let draft = Draft::read(form_urlencoded::parse(query.as_bytes()));
    form_page(&app, permit.principal(), draft, Troubles::default())
}

/// `POST /admin/users`
pub(crate) async fn create(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let Some(claim) = app.sent.claim(permit.principal(), &form)? else {
        return sent_already(&app, permit.principal());
    };
    let draft = Draft::read(form.fields());
    let made = match created(&app, &permit, peer, &draft, &form).await? {
        Ok(made) => made,
        Err(troubles) => return form_page(&app, permit.principal(), draft, troubles),
    };
    claim.done();
    let (username, chosen) = made;
    match chosen {
        Chosen::Typed => Notice::UserCreated.at(&address(username.as_str()), None),
        Chosen::Drawn(text) => passphrase_page(&app, permit.principal(), &username, "Account created", text),
    }
}

/// Whose account was made; or what is wrong with the form.
async fn created(
    app: &App,
    permit: &Permit<ManageUsers>,
    peer: PeerAddress,
    draft: &Draft,
    form: &FormBody,
) -> Result<Result<(Username, Chosen), Troubles>, WebError> {
    let mut troubles = Troubles::default();
    let username = troubles.note("username", draft.username.parse::<Username>());
    let display_name =
        (!draft.display_name.trim().is_empty()).then(|| draft.display_name.parse::<DisplayName>());
    let display_name = display_name.and_then(|read| troubles.note("display_name", read));
    let role = troubles.note("role", draft.role.parse::<Role>());
    let (Some(username), Some(role), true) = (username, role, troubles.is_empty()) else {
        return Ok(Err(troubles));
    };
    let (passphrase, chosen) = match Chosen::read(app, form, &username, display_name.as_ref()).await? {
        Ok(chosen) => chosen,
        Err(troubles) => return Ok(Err(troubles)),
    };
    let order = UserOrder { username: username.clone(), display_name, role, passphrase };
    match app.verifier.create_user(permit, order, peer.0).await {
        Ok(_) => Ok(Ok((username, chosen))),
        Err(error @ (UserError::UsernameTaken(_) | UserError::AgentNamedSo(_))) => {
            Ok(Err(Troubles::of("username", error.into())?))
        }
        Err(error) => Ok(Err(Troubles::of("form", error.into())?)),
    }
}

fn form_page(app: &App, caller: &Principal, draft: Draft, troubles: Troubles) -> Result<Response, WebError> {
    let page = NewUserPage {
        frame: Frame::of(app, caller, Place::Users)?,
        once: FormKey::draw(app)?,
        draft,
        fewest: app.verifier.policy().passphrase_bytes,
        troubles,
    };
    Ok(page.troubles.mark(page.frame.show(&page)?))
}

fn sent_already(app: &App, caller: &Principal) -> Result<Response, WebError> {
    let page = SentAlready {
        frame: Frame::of(app, caller, Place::Users)?,
        says: "The account was made when you sent the form the first time, and a drawn passphrase is shown only once. If you have not kept it, reset it on the account's page.",
        back: HOME,
        back_says: "Go to the users",
        again: "/admin/new-user",
        again_says: "Create another account",
    };
    page.show()
}

impl Draft {
    /// What stands in an address or a form. A passphrase is read elsewhere, and never written into a page again.
    fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut draft = Self { role: Role::User.name().to_owned(), ..Self::default() };
        for (field, value) in pairs {
            match &*field {
                "username" => draft.username = value.into_owned(),
                "display_name" => draft.display_name = value.into_owned(),
                "role" => draft.role = value.into_owned(),
                "choice" => draft.typed = value == "typed",
                _ => {}
            }
        }
        draft
    }

    fn is_admin(&self) -> bool {
        self.role == Role::Admin.name()
    }
}
