//! The relay's own short answers: refusals that no door sees.

use fallgate_authority::{CHALLENGE, Knock, Refusal};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::problem::{MEDIA_TYPE, Problem, title};

use crate::wire::http1::Malformed;

/// What a page may do: be shown, with our own style, and send its forms home. More is added behind it: `form-action`
/// stands last.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// What goes with every page of ours (20-web, "Browser safety").
pub const PAGE_FIELDS: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("content-security-policy", CONTENT_POLICY),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    // With `no-referrer` browsers would hide where a form of ours comes from.
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

/// What browsers are told wherever they came by TLS (RFC 6797): for a year, this host by nothing else. Hosts below it are
/// not ours to speak for, and neither are the lists that browsers ship with.
pub(crate) const STAY_WITH_TLS: &str = "max-age=31536000";

/// An answer that is a problem and nothing else.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) problem: Problem,
    allow: Option<&'static str>,
    /// Where the client is to go instead.
    location: Option<Box<str>>,
    /// What its browser is to keep until it comes back from there.
    knock: Option<Box<Knock>>,
    /// Nothing more of the request can be made sense of.
    closing: bool,
    /// The problem is told in a field too.
    in_a_field: bool,
}

/// How an answer is written.
pub(crate) struct Manner {
    /// It answers a `HEAD`.
    pub(crate) bodiless: bool,
    /// The connection takes no other request.
    pub(crate) close: bool,
    /// The client came by TLS.
    pub(crate) https: bool,
    /// The date of the answer.
    pub(crate) now: Timestamp,
    /// What a browser shows in place of the problem.
    pub(crate) page: Option<String>,
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self::from(refusal.problem())
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None, location: None, knock: None, closing: false, in_a_field: false }
    }
}

impl From<Malformed> for Answer {
    fn from(malformed: Malformed) -> Self {
        let allow = (malformed.status == 405).then_some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        Self { allow, ..Self::from(Problem::new(malformed.status, malformed.reason)) }
    }
}

impl Answer {
    /// Sends a browser elsewhere.
    pub(crate) fn see_other(location: String) -> Self {
        let problem = Problem::new(303, "This needs a sign-in.");
        Self { location: Some(location.into()), ..Self::from(problem) }
    }

    /// Has the browser keep this until it comes back.
    pub(crate) fn keeping(self, knock: Knock) -> Self {
        Self { knock: Some(Box::new(knock)), ..self }
    }

    /// The same for who knows no redirect here, and passes no body on (nginx, in forward-auth): where to sign in is told in
    /// a field, and so is why somebody may not.
    pub(crate) fn in_fields(self) -> Self {
        if self.location.is_none() {
            return Self { in_a_field: self.problem.status == 403, ..self };
        }
        Self { problem: Problem::new(401, self.problem.detail), ..self }
    }

    /// Whether the connection takes no request after it.
    pub(crate) fn closing(self, closing: bool) -> Self {
        Self { closing, ..self }
    }

    /// As [`Answer::closing`] said.
    pub(crate) fn closes(&self) -> bool {
        self.closing
    }

    /// Writes the whole answer.
    pub(crate) fn write(&self, out: &mut Vec<u8>, manner: Manner) {
        let Manner { bodiless, close, https, now, page } = manner;
        let is_page = page.is_some();
        let kind = if is_page { "text/html; charset=utf-8" } else { MEDIA_TYPE };
        let fields = if is_page { &PAGE_FIELDS[..] } else { &[("cache-control", "no-store")] };
        let body = page.unwrap_or_else(|| self.problem.json());
        let status = self.problem.status;
        let mut line = |text: &str| out.extend_from_slice(text.as_bytes());
        line(&format!("HTTP/1.1 {status} {}\r\n", title(status)));
        line(&format!("date: {}\r\n", now.http_date()));
        line(&format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len()));
        for (name, value) in fields {
            line(&format!("{name}: {value}\r\n"));
        }
        if https {
            line(&format!("strict-transport-security: {STAY_WITH_TLS}\r\n"));
        }
        if status == 401 {
            line(&format!("www-authenticate: {CHALLENGE}\r\n"));
        }
        if let Some(methods) = self.allow {
            line(&format!("allow: {methods}\r\n"));
        }
        if let Some(location) = &self.location {
            let name = if status == 303 { "location" } else { "fallgate-login" };
            line(&format!("{name}: {location}\r\n"));
            // A page says it for itself.
            if !is_page {
                line("referrer-policy: no-referrer\r\n");
            }
        }
        if self.in_a_field {
            line(&format!("fallgate-problem: {}\r\n", self.problem.field()));
        }
        if let Some(knock) = &self.knock {
            line("set-cookie: ");
            line(&knock.set_cookie(https));
            line("\r\n");
        }
        if close {
            line("connection: close\r\n");
        }
        line("\r\n");
        if !bodiless {
            line(&body);
        }
    }
}
