//! The relay's own short answers: refusals that no door sees.

use fallgate_authority::{CHALLENGE, Refusal};
use fallgate_domain::problem::{MEDIA_TYPE, Problem, title};

use crate::wire::http1::Malformed;

/// What browsers are told wherever they came by TLS (RFC 6797): for a year, this host by nothing else. Hosts below it are
/// not ours to speak for, and neither are the lists that browsers ship with.
pub(crate) const STAY_WITH_TLS: &str = "max-age=31536000";

/// An answer that is a problem and nothing else.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) problem: Problem,
    allow: Option<&'static str>,
    /// Where the client is to go instead.
    location: Option<String>,
    /// Nothing more of the request can be made sense of.
    closing: bool,
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self::from(refusal.problem())
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None, location: None, closing: false }
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
        Self { location: Some(location), ..Self::from(problem) }
    }

    /// Whether the connection takes no request after it.
    pub(crate) fn closing(self, closing: bool) -> Self {
        Self { closing, ..self }
    }

    /// As [`Answer::closing`] said.
    pub(crate) fn closes(&self) -> bool {
        self.closing
    }

    /// Writes the whole answer. `bodiless`: it answers a `HEAD`. `https`: the client came by TLS.
    pub(crate) fn write(&self, out: &mut Vec<u8>, bodiless: bool, close: bool, https: bool) {
        let body = self.problem.json();
        let status = self.problem.status;
        let mut line = |text: &str| out.extend_from_slice(text.as_bytes());
        line(&format!("HTTP/1.1 {status} {}\r\n", title(status)));
        line(&format!("content-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n", body.len()));
        line("cache-control: no-store\r\n");
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
            line(&format!("location: {location}\r\n"));
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
