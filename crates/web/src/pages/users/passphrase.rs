//! Giving an account a passphrase: typed by the admin, or drawn and shown once.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use fallgate_authority::actions::ManageUsers;
use fallgate_authority::{Ending, Passphrase, PeerAddress, Permit, Principal};
use fallgate_domain::user::{DisplayName, User, Username};
use http::StatusCode;
use zeroize::Zeroizing;

use super::{address, standing};
use crate::api::users::{about, existing, named};
use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::will_cut;
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::{Notice, counted};
use crate::pages::once::FormKey;

/// What a drawn passphrase is written in: no two of these look or sound alike.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// How many groups of how many: 120 bits.
const GROUPS: usize = 6;
const GROUP: usize = 4;

/// How a passphrase came about.
pub(super) enum Chosen {
    Typed,
    /// This text, which is shown once.
    Drawn(Zeroizing<String>),
}

#[derive(Template)]
#[template(path = "user-passphrase.html")]
struct ResetPage {
    frame: Frame,
    once: FormKey,
    username: Username,
    lines: Vec<String>,
    fewest: usize,
    typed: bool,
    troubles: Troubles,
}

#[derive(Template)]
#[template(path = "passphrase-made.html")]
struct MadePage {
    frame: Frame,
    title: &'static str,
    username: String,
    passphrase: Zeroizing<String>,
    back: String,
}

pub(crate) async fn ask_reset(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Path(username): Path<String>,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    reset_page(&app, permit.principal(), user, false, Troubles::default()).await
}

/// `POST /admin/users/{u}/passphrase`
pub(crate) async fn reset(
    permit: Permit<ManageUsers>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(username): Path<String>,
    form: FormBody,
) -> Result<Response, WebError> {
    let user = existing(&app.verifier, &named(&username)?).await?;
    let Some(claim) = app.sent.claim(permit.principal(), &form)? else {
        return Notice::PassphraseReset.at(&address(&username), None);
    };
    let read = Chosen::read(&app, &form, &user.username, Some(&user.display_name)).await?;
    let (passphrase, chosen) = match read {
        Ok(read) => read,
        Err(troubles) => return reset_page(&app, permit.principal(), user, true, troubles).await,
    };
    let revoke_tokens = form.optional("revoke_tokens").is_some();
    app.verifier.reset_passphrase(&permit, &user.username, passphrase, revoke_tokens, peer.0).await?;
    claim.done();
    match chosen {
        Chosen::Typed => Notice::PassphraseReset.at(&address(&username), None),
        Chosen::Drawn(text) => {
            passphrase_page(&app, permit.principal(), &user.username, "Passphrase reset", text)
        }
    }
}

async fn reset_page(
    app: &App,
    caller: &Principal,
    user: User,
    typed: bool,
    troubles: Troubles,
) -> Result<Response, WebError> {
    let (_, logins) = standing(app, user.id).await?;
    let logins = counted(u64::try_from(logins).unwrap_or(u64::MAX), "sign-in", "sign-ins");
    let mut lines = vec![
        format!("{logins} of theirs will end."),
        will_cut(app.verifier.open_under(Ending::Logins(user.id, None))),
    ];
    if caller.user() == Some(user.id) {
        lines.push("This is your own account: you will be signed out here too.".to_owned());
    }
    let page = ResetPage {
        frame: Frame::of(app, caller, Place::Users)?,
        once: FormKey::draw(app)?,
        username: user.username,
        lines,
        fewest: app.verifier.policy().passphrase_bytes,
        typed,
        troubles,
    };
    Ok(page.troubles.mark(page.frame.show(&page)?))
}

/// The page that shows a drawn passphrase, this once.
pub(super) fn passphrase_page(
    app: &App,
    caller: &Principal,
    username: &Username,
    title: &'static str,
    passphrase: Zeroizing<String>,
) -> Result<Response, WebError> {
    let page = MadePage {
        frame: Frame::of(app, caller, Place::Users)?,
        title,
        username: username.to_string(),
        passphrase,
        back: address(username.as_str()),
    };
    Ok((StatusCode::CREATED, page.frame.show(&page)?).into_response())
}

impl Chosen {
    /// The passphrase that the form asks for; or what is wrong with it.
    pub(super) async fn read(
        app: &App,
        form: &FormBody,
        username: &Username,
        display_name: Option<&DisplayName>,
    ) -> Result<Result<(Passphrase, Self), Troubles>, WebError> {
        let is_typed = *form.text("choice")? == "typed";
        let (text, chosen) = if is_typed {
            (form.text("passphrase")?, Self::Typed)
        } else {
            let drawn = draw(app)?;
            (drawn.clone(), Self::Drawn(drawn))
        };
        match app.verifier.check_passphrase(text, about(username, display_name)).await {
            Ok(passphrase) => Ok(Ok((passphrase, chosen))),
            Err(error) => Ok(Err(Troubles::of("passphrase", error.into())?)),
        }
    }
}

/// A passphrase that nobody guesses, and that can be read out on the telephone.
fn draw(app: &App) -> Result<Zeroizing<String>, WebError> {
    let bytes = app.verifier.fresh_bytes::<{ GROUPS * GROUP }>().map_err(|_| WebError::Unavailable)?;
    let bytes = Zeroizing::new(bytes);
    let mut text = Zeroizing::new(String::with_capacity(GROUPS * (GROUP + 1)));
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        // 32 letters, so no letter is likelier than another.
        let letter = LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
        text.push(char::from(letter));
    }
    Ok(text)
}
