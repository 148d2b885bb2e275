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
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self { problem: refusal.problem(), allow: None }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None }
    }
}

impl From<Malformed> for Answer {
    fn from(malformed: Malformed) -> Self {
        let allow = (malformed.status == 405).then_some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        Self { problem: Problem::new(malformed.status, malformed.reason), allow }
    }
}

impl Answer {
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
        if close {
            line("connection: close\r\n");
        }
        line("\r\n");
        if !bodiless {
            line(&body);
        }
    }
}
