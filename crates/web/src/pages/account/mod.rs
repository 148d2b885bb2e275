//! `/account`: one's own name, passphrase and signed-in devices.

pub(crate) mod devices;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use fallgate_authority::{Ending, PeerAddress, SignedIn};
use fallgate_domain::user::DisplayName;
use zeroize::Zeroizing;

use self::devices::Device;
use super::form::{FormBody, Troubles};
use super::frame::{Frame, Place};
use super::notice::{Notice, counted};
use crate::api::users::about;
use crate::app::App;
use crate::error::WebError;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    username: String,
    role: &'static str,
    /// As it was typed.
    display_name: String,
    /// What changing the passphrase ends besides.
    ends: String,
    /// How many connections are open by tokens.
    open_by_tokens: u64,
    /// The fewest bytes of a passphrase.
    fewest: usize,
    devices: Vec<Device>,
    troubles: Troubles,
}

pub(crate) async fn show(
    caller: SignedIn,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let typed = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "display_name");
    let typed = typed.map(|(_, name)| name.into_owned());
    let page = AccountPage::of(&app, &caller, typed, Troubles::default()).await?;
    let frame = page.frame;
    let page = AccountPage { frame: frame.noticing(Some(&query)), ..page };
    page.show()
}

/// `POST /account`: another display name.
pub(crate) async fn rename(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let typed = form.text("display_name")?;
    let mut troubles = Troubles::default();
    if let Some(name) = troubles.note("display_name", typed.parse::<DisplayName>()) {
        match app.verifier.rename_self(&caller, name, peer.0).await {
            Ok(_) => return Notice::AccountRenamed.at("/account", None),
            Err(error) => troubles = Troubles::of("display_name", error.into())?,
        }
    }
    AccountPage::of(&app, &caller, Some(typed.to_string()), troubles).await?.show()
}

/// `POST /account/passphrase`
pub(crate) async fn change_passphrase(
    caller: SignedIn,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let troubles = match passphrase_changed(&app, &caller, peer, &form).await? {
        Ok(ended) => return Notice::PassphraseChanged.at("/account", Some(ended)),
        Err(troubles) => troubles,
    };
    AccountPage::of(&app, &caller, None, troubles).await?.show()
}

/// How many other sign-ins have ended; or what is wrong with the form.
async fn passphrase_changed(
    app: &App,
    caller: &SignedIn,
    peer: PeerAddress,
    form: &FormBody,
) -> Result<Result<u64, Troubles>, WebError> {
    let (current, new): (Zeroizing<String>, _) = (form.text("current")?, form.text("new")?);
    let mut troubles = Troubles::default();
    if new != form.text("again")? {
        troubles.add("again", &"this is not the same as the new passphrase above");
        return Ok(Err(troubles));
    }
    let about = about(caller.username(), caller.principal().display_name().as_ref());
    let new = match app.verifier.check_passphrase(new, about).await {
        Ok(new) => new,
        Err(error) => return Ok(Err(Troubles::of("new", error.into())?)),
    };
    let revoke_tokens = form.optional("revoke_tokens").is_some();
    let changed = app.verifier.change_own_passphrase(caller, &current, new, revoke_tokens, peer.0).await;
    match changed {
        Ok(ended) => Ok(Ok(ended.logins)),
        Err(error) => Ok(Err(Troubles::of("current", WebError::of_wrong_current(error))?)),
    }
}

impl AccountPage {
    async fn of(
        app: &App,
        caller: &SignedIn,
        typed: Option<String>,
        troubles: Troubles,
    ) -> Result<Self, WebError> {
        let principal = caller.principal();
        let devices = Device::all(app, caller).await?;
        let others = Ending::Logins(caller.id(), Some(principal.credential()));
        let name = principal.display_name().map(|name| name.to_string()).unwrap_or_default();
        let fewest = app.verifier.policy().passphrase_bytes;
        Ok(Self {
            frame: Frame::of(app, principal, Place::Account)?,
            username: caller.username().to_string(),
            role: principal.role_name(),
            display_name: typed.unwrap_or(name),
            ends: ends(devices.len().saturating_sub(1), app.verifier.open_under(others)),
            open_by_tokens: app.verifier.open_under(Ending::Tokens(caller.id())),
            fewest,
            devices,
            troubles,
        })
    }

    fn show(&self) -> Result<Response, WebError> {
        Ok(self.troubles.mark(self.frame.show(self)?))
    }
}

/// What a new passphrase ends, told before it does.
fn ends(other_devices: usize, open: u64) -> String {
    if other_devices == 0 {
        return "You stay signed in here, and are signed in nowhere else.".to_owned();
    }
    let count = u64::try_from(other_devices).unwrap_or(u64::MAX);
    let devices = counted(count, "other signed-in device is", "other signed-in devices are");
    let open = match open {
        0 => String::new(),
        open => format!(
            ", and {} cut",
            counted(open, "open connection of theirs is", "open connections of theirs are")
        ),
    };
    format!("You stay signed in here. {devices} signed out{open}.")
}
