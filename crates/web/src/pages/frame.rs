//! What surrounds a page of whoever is signed in: where they are, where else they may go, what has just been done.

use askama::Template;
use axum::response::Response;
use fallgate_authority::Principal;
use fallgate_domain::hex;
use fallgate_relay::CONTENT_POLICY;
use http::{HeaderValue, header};

use super::notice::Notice;
use super::page;
use crate::app::App;
use crate::error::WebError;

/// By which a page's own scripts are known to the browser, and no others (20-web, "Browser safety"): drawn for each page.
#[derive(Debug)]
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn draw(app: &App) -> Result<Self, WebError> {
        let bytes = app.verifier.fresh_bytes::<16>().map_err(|_| WebError::Unavailable)?;
        Ok(Self(hex::encode(&bytes)))
    }

    /// The page, with a policy that lets its scripts run and ask us.
    pub(crate) fn show(&self, template: &impl Template) -> Result<Response, WebError> {
        let mut response = page(template)?;
        let policy = format!("script-src 'nonce-{self}'; connect-src 'self'; {CONTENT_POLICY}");
        let policy = HeaderValue::from_str(&policy).map_err(|_| WebError::Unavailable)?;
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What surrounds a page with a script and without a viewer.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) nonce: Nonce,
}

impl Bare {
    pub(crate) fn draw(app: &App) -> Result<Self, WebError> {
        Ok(Self { nonce: Nonce::draw(app)? })
    }

    /// The page. `template` draws the frame too.
    pub(crate) fn show(&self, template: &impl Template) -> Result<Response, WebError> {
        self.nonce.show(template)
    }
}

/// Where in the house a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Home,
    Tokens,
    Agents,
    Live,
    Account,
    Users,
    Audit,
    Routes,
}

impl Place {
    /// In the order of the bar: first what is everybody's, then what is an admin's.
    const ALL: [Self; 8] = [
        Self::Home,
        Self::Tokens,
        Self::Agents,
        Self::Live,
        Self::Account,
        Self::Users,
        Self::Audit,
        Self::Routes,
    ];

    /// What it is called.
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Tokens => "Tokens",
            Self::Agents => "Agents",
            Self::Live => "Live",
            Self::Account => "Account",
            Self::Users => "Users",
            Self::Audit => "Audit",
            Self::Routes => "Routes",
        }
    }

    /// Its address; an admin sees everything that is live, everybody else what is theirs.
    const fn address(self, is_admin: bool) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Tokens => "/tokens",
            Self::Agents => "/agents",
            Self::Live if is_admin => "/admin/live",
            Self::Live => "/live",
            Self::Account => "/account",
            Self::Users => "/admin/users",
            Self::Audit => "/admin/audit",
            Self::Routes => "/admin/routes",
        }
    }

    const fn is_for_admins(self) -> bool {
        matches!(self, Self::Users | Self::Audit | Self::Routes)
    }
}

/// A way through the house.
pub(crate) struct Way {
    pub(crate) says: &'static str,
    pub(crate) address: &'static str,
    pub(crate) is_here: bool,
}

/// What surrounds a page.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) nonce: Nonce,
    /// As the viewer is shown.
    pub(crate) name: String,
    pub(crate) is_admin: bool,
    /// What has just been done.
    pub(crate) notice: Option<String>,
    here: Place,
}

impl Frame {
    pub(crate) fn of(app: &App, viewer: &Principal, here: Place) -> Result<Self, WebError> {
        let username = || viewer.username().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        Ok(Self {
            nonce: Nonce::draw(app)?,
            name: viewer.display_name().map_or_else(username, |name| name.to_string()),
            is_admin: viewer.is_admin(),
            notice: None,
            here,
        })
    }

    /// The same with what the address says has just been done.
    pub(crate) fn noticing(self, query: Option<&str>) -> Self {
        Self { notice: Notice::read(query.unwrap_or_default()), ..self }
    }

    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        let open = Place::ALL.into_iter().filter(|place| self.is_admin || !place.is_for_admins());
        open.map(|place| Way {
            says: place.says(),
            address: place.address(self.is_admin),
            is_here: place == self.here,
        })
    }

    /// The page. `template` draws the frame too.
    pub(crate) fn show(&self, template: &impl Template) -> Result<Response, WebError> {
        self.nonce.show(template)
    }
}
