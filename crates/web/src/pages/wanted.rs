//! What a login page's address says of where its visitor wants to go. Whoever made the link wrote it.

use std::borrow::Cow;

use fallgate_authority::Challenge;
use fallgate_domain::return_to::ReturnTo;
use fallgate_relay::Settings;

/// Where somebody wants to go once they are signed in.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) back: ReturnTo,
    /// Of the browser that was sent from there.
    pub(crate) challenge: Option<Challenge>,
}

impl Wanted {
    /// Reads `returnTo` and `enter` out of a query or a form; what else stands there does not matter. What leads away
    /// from us leads to our first page (requirement R17).
    pub(crate) fn read<'a>(
        settings: &Settings,
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + Clone,
    ) -> Self {
        let text = only(pairs.clone(), "returnTo").unwrap_or_default();
        let mut back = ReturnTo::read(&text, |origin| settings.route_at(origin).is_some());
        let first = back.target().split(['/', '?', '#']).nth(1);
        // Whoever signs in to go to the login page has arrived.
        if back.origin().is_none() && matches!(first, Some("login" | "logout")) {
            back = ReturnTo::home();
        }
        let challenge = only(pairs, "enter").and_then(|text| text.parse().ok());
        Self { back, challenge }
    }

    /// The login page's address that says the same.
    pub(crate) fn login_page(&self) -> String {
        let back: String = form_urlencoded::byte_serialize(self.back.location().as_bytes()).collect();
        let challenge = self.challenge.map(|challenge| format!("&enter={challenge}"));
        format!("/login?returnTo={back}{}", challenge.unwrap_or_default())
    }
}

/// The value of that name, if it is there once.
fn only<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>, name: &str) -> Option<Cow<'a, str>> {
    let mut values = pairs.filter(|(told, _)| told == name).map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none())
}
