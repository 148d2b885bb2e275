//! Back to a form that was sent after its sign-in had ended: its page, with what was typed where that is no secret.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use fallgate_authority::{CameByHttps, Source};
use http::{Method, header};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::body::{LONGEST, is_called};
use crate::doors;

/// The fields that may stand in an address: what else is typed into a form may be a secret.
const CARRIED: [&str; 10] =
    ["name", "username", "scope", "expires", "date", "display_name", "role", "target", "reason", "lasts"];

/// Forms whose page is neither at their own address nor above it.
const ELSEWHERE: [(&str, &str); 2] = [("/tokens", "/tokens/new"), ("/admin/users", "/admin/new-user")];

/// The longest address that leads back with all that was typed, in bytes; past it, the page alone has to do.
const LONGEST_TARGET: usize = 3_000;

/// A form that is being sent.
pub(super) struct SentForm {
    page: String,
    /// What of the body nobody has read.
    body: Option<Arc<Mutex<Body>>>,
}

impl SentForm {
    /// Lends the request's body to the door, so that it can be read here if the door does not.
    pub(super) fn of(request: Request) -> (Option<Self>, Request) {
        let Some(page) = page_of(request.uri().path()).filter(|_| *request.method() == Method::POST) else {
            return (None, request);
        };
        let page = match request.uri().query() {
            Some(query) => format!("{page}?{query}"),
            None => page,
        };
        if !is_own(&request) || !is_called(&request, "application/x-www-form-urlencoded") {
            return (Some(Self { page, body: None }), request);
        }
        let (parts, body) = request.into_parts();
        let lent = Arc::new(Mutex::new(body));
        let body = Some(lent.clone());
        (Some(Self { page, body }), Request::from_parts(parts, Body::new(Lent(lent))))
    }

    /// The address of the form's page, filled in as far as that is safe.
    pub(super) async fn target(self) -> String {
        let Some(body) = self.body else { return self.page };
        let body = std::mem::take(&mut *body.lock());
        let Ok(body) = to_bytes(body, LONGEST).await else { return self.page };
        let mut typed = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(&body) {
            if CARRIED.contains(&&*name) {
                typed.append_pair(&name, &value);
            }
        }
        let typed = typed.finish();
        let joint = if self.page.contains('?') { '&' } else { '?' };
        let target = format!("{}{joint}{typed}", self.page);
        if typed.is_empty() || target.len() > LONGEST_TARGET { self.page } else { target }
    }
}

/// Whether a page of ours sends it. What another site's page has a browser send is not filled in for it.
fn is_own(request: &Request) -> bool {
    let https = request.extensions().get::<CameByHttps>().is_some_and(|came| came.0);
    let host = request.headers().get(header::HOST).map(http::HeaderValue::as_bytes).unwrap_or_default();
    Source::of_fields(request.headers(), https, host) == Source::Own
}

/// Where the form is that is sent there: at the same address, or at the nearest above it that is a page.
fn page_of(path: &str) -> Option<String> {
    if let Some((_, page)) = ELSEWHERE.iter().find(|(action, _)| *action == path) {
        return Some((*page).to_owned());
    }
    let mut path = path;
    while !path.is_empty() {
        let is_shown = |row: &&doors::Row| row.is_page && row.method == Method::GET && fits(row.path, path);
        if doors::rows().iter().any(|row| is_shown(&row)) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once('/')?.0;
    }
    None
}

/// Whether a path is one that a door's pattern stands for.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// A body that its lender gets back, as far as nobody has read it.
struct Lent(Arc<Mutex<Body>>);

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forms_page_is_where_it_is_sent_or_above_it() {
        for (path, page) in [
            ("/tokens", Some("/tokens/new")),
            ("/tokens/x/rename", Some("/tokens/x/rename")),
            ("/account", Some("/account")),
            ("/account/passphrase", Some("/account")),
            ("/admin/users/ada/enable", Some("/admin/users/ada")),
            ("/logout", None),
            ("/nothing", None),
            ("/", Some("/")),
        ] {
            assert_eq!(page_of(path).as_deref(), page, "{path}");
        }
    }
}
