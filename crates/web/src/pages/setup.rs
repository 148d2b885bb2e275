//! The first run in a browser: whoever has the setup token makes the first admin, and is signed in.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fallgate_authority::{Newcomer, SetupError, SetupOrder};
use fallgate_domain::user::{DisplayName, Username};
use http::StatusCode;

use super::form::FormBody;
use super::frame::Bare;
use super::see_other;
use crate::app::App;
use crate::cookie;
use crate::doors::Public;
use crate::error::{WebError, status_of};

/// The longest text that is written into the page again.
const LONGEST_AGAIN: usize = 120;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    frame: Bare,
    /// Which field has it, and what it is.
    trouble: Option<(&'static str, String)>,
    username: String,
    display_name: String,
    fewest_bytes: usize,
}

/// `GET /setup`, as long as there is no user. It says where the link is to be found, too: whoever opens any other page is
/// sent here.
pub(crate) async fn show(_: Public, State(app): State<App>) -> Result<Response, WebError> {
    expect_setup(&app).await?;
    SetupPage::new(&app)?.show()
}

/// `POST /setup`
pub(crate) async fn set_up(
    newcomer: Newcomer,
    State(app): State<App>,
    form: FormBody,
) -> Result<Response, WebError> {
    expect_setup(&app).await?;
    let (username, display_name) = (form.text("username")?, form.text("display_name")?);
    let page = || -> Result<SetupPage, WebError> {
        let again = |text: &str| if text.len() <= LONGEST_AGAIN { text.to_owned() } else { String::new() };
        let (username, display_name) = (again(&username), again(&display_name));
        Ok(SetupPage { username, display_name, ..SetupPage::new(&app)? })
    };
    let order = match order(&form, &username, &display_name)? {
        Ok(order) => order,
        Err(trouble) => return page()?.again(StatusCode::BAD_REQUEST, trouble),
    };
    match app.verifier.set_up(order, &newcomer).await {
        Ok(sign_in) => Ok((cookie::set(&sign_in, newcomer.https), see_other("/")?).into_response()),
        Err(SetupError::Done) => Err(over()),
        Err(error) => {
            let field = if matches!(error, SetupError::WrongToken) { "setup_token" } else { "passphrase" };
            let problem = WebError::from(error).problem();
            page()?.again(status_of(&problem), (field, problem.detail))
        }
    }
}

/// What the form orders, or which of its fields is wrong, and why.
fn order(
    form: &FormBody,
    username: &str,
    display_name: &str,
) -> Result<Result<SetupOrder, (&'static str, String)>, WebError> {
    let username = match username.trim().parse::<Username>() {
        Ok(username) => username,
        Err(error) => return Ok(Err(("username", format!("The username is not right: {error}.")))),
    };
    let display_name = match display_name.trim() {
        "" => None,
        text => match text.parse::<DisplayName>() {
            Ok(name) => Some(name),
            Err(error) => return Ok(Err(("display_name", format!("The name is not right: {error}.")))),
        },
    };
    let (setup_token, passphrase) = (form.text("setup_token")?, form.text("passphrase")?);
    let setup_token = setup_token.trim().to_owned().into();
    Ok(Ok(SetupOrder { setup_token, username, display_name, passphrase }))
}

async fn expect_setup(app: &App) -> Result<(), WebError> {
    if app.verifier.needs_setup().await? { Ok(()) } else { Err(over()) }
}

/// Whoever is set up has no such page.
fn over() -> WebError {
    WebError::NotFound("Fallgate is set up already: sign in.".to_owned())
}

impl SetupPage {
    fn new(app: &App) -> Result<Self, WebError> {
        Ok(Self {
            frame: Bare::draw(app)?,
            trouble: None,
            username: String::new(),
            display_name: String::new(),
            fewest_bytes: app.verifier.fewest_passphrase_bytes(),
        })
    }

    /// The attributes of the field that is wrong.
    fn fault(&self, field: &str) -> &'static str {
        match &self.trouble {
            Some((wrong, _)) if *wrong == field => " aria-invalid=true aria-errormessage=trouble autofocus",
            _ => "",
        }
    }

    fn show(&self) -> Result<Response, WebError> {
        self.frame.show(self)
    }

    fn again(self, status: StatusCode, trouble: (&'static str, String)) -> Result<Response, WebError> {
        let mut response = Self { trouble: Some(trouble), ..self }.show()?;
        *response.status_mut() = status;
        Ok(response)
    }
}
