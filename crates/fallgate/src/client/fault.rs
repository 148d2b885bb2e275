//! What can go wrong on the way to a gate and back, in words.

use serde::Deserialize;
use ureq::http::header;

use super::{Answer, Client, With};
use crate::failure::Failure;

/// How much of what a stranger sends is repeated.
const SHOWN: usize = 80;

/// Why a request did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The gate understood it and will not: the status, and its words as this side puts them.
    Refused(u16, String),
    /// Anything else.
    Failed(Failure),
}

/// A problem (RFC 9457), as far as it matters here.
#[derive(Deserialize)]
struct Told {
    detail: String,
}

impl Fault {
    /// For where no refusal is expected to mean anything in particular.
    pub(crate) fn into_failure(self) -> Failure {
        self.or(|_| None)
    }

    /// What a refusal with that status means here, if anything in particular.
    pub(crate) fn or(self, meaning: impl FnOnce(u16) -> Option<Failure>) -> Failure {
        match self {
            Self::Refused(status, words) => meaning(status).unwrap_or(Failure::Failed(words)),
            Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Client {
    /// An answer that is no success.
    pub(super) fn refused(&self, answer: &Answer, with: With<'_>) -> Fault {
        let told = serde_json::from_slice::<Told>(&answer.body);
        let is_problem = text(answer, header::CONTENT_TYPE).is_some_and(|kind| kind.contains("problem+json"));
        let detail = match told {
            Ok(told) if is_problem => plain(&told.detail),
            _ => return self.stranger(answer).into(),
        };
        match answer.status {
            401 => match with {
                With::Usual => self.not_taken().into(),
                With::Secret(_) | With::Nothing => Fault::Refused(401, detail),
            },
            429 | 503 => {
                // Most details say so themselves.
                let is_said = detail.contains("try again in");
                let wait = text(answer, header::RETRY_AFTER)
                    .filter(|_| !is_said)
                    .and_then(|seconds| seconds.parse::<u32>().ok());
                let wait = wait.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default();
                Failure::failed(format_args!("{}: {detail}{wait}", self.origin().text())).into()
            }
            400 | 403 | 404 | 409 | 413 => Fault::Refused(answer.status, detail),
            _ => Failure::failed(format_args!("{}: {detail}", self.origin().text())).into(),
        }
    }

    /// There is no credential for this gate.
    pub(crate) fn not_signed_in(&self) -> Failure {
        Failure::failed(format_args!(
            "not signed in to {}: use `{}`, or set FALLGATE_TOKEN",
            self.origin().text(),
            self.server().command("login")
        ))
    }

    /// The credential that there is does not stand.
    fn not_taken(&self) -> Failure {
        let gate = self.origin().text();
        if self.server().token.is_some() {
            Failure::failed(format_args!(
                "{gate} does not take what FALLGATE_TOKEN says: it is mistyped, ended, or another gate's; set it anew, or unset it"
            ))
        } else {
            let again = self.server().command("login");
            Failure::failed(format_args!(
                "the saved sign-in to {gate} has ended: sign in again with `{again}`"
            ))
        }
    }

    /// Whoever answered is no gate, or none that this version understands.
    pub(super) fn stranger(&self, answer: &Answer) -> Failure {
        let gate = self.origin().text();
        if let Some(location) = text(answer, header::LOCATION).filter(|_| (300..400).contains(&answer.status))
        {
            let location: String = location.chars().take(SHOWN).collect();
            return Failure::failed(format_args!(
                "{gate} sends clients on to {location}: name the gate's own address with --server"
            ));
        }
        let kind = text(answer, header::CONTENT_TYPE).unwrap_or("no type");
        let kind: String = kind.chars().take(SHOWN).collect();
        Failure::failed(format_args!(
            "{gate} does not answer as Fallgate does (status {}, {kind}): look at the address, and at what stands before the gate",
            answer.status
        ))
    }

    /// No answer came.
    pub(super) fn unreachable(&self, error: &ureq::Error) -> Failure {
        let gate = self.origin().text();
        let chain = error.to_string();
        let why = chain.strip_prefix("io: ").unwrap_or(&chain);
        let is_tls = matches!(error, ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_))
            || chain.contains("certificate")
            || chain.contains("corrupt message");
        let is_unknown = matches!(error, ureq::Error::HostNotFound) || chain.contains("lookup address");
        match error {
            _ if is_tls && chain.contains("certificate") => {
                Failure::failed(format_args!("{gate} cannot be trusted: {}", distrusted(&chain)))
            }
            _ if is_tls => Failure::failed(format_args!(
                "{gate} does not speak TLS as it must: is it https, and is this its port?"
            )),
            ureq::Error::Timeout(_) => Failure::failed(format_args!(
                "{gate} does not answer in time: is it running, and is the way to it open?"
            )),
            ureq::Error::BodyExceedsLimit(_) => Failure::failed(format_args!(
                "{gate} answers with more than is read here: run this on the gate's machine"
            )),
            _ if is_unknown => Failure::failed(format_args!(
                "{gate} cannot be found ({why}): look at its name, and at this machine's network"
            )),
            _ => Failure::failed(format_args!("{gate} cannot be asked: {why}; is the gate running?")),
        }
    }
}

/// What is wrong with a certificate, and what to do about it. The library's own words are for who knows its source.
fn distrusted(chain: &str) -> &'static str {
    const WORDS: [(&str, &str); 8] = [
        (
            "UnknownIssuer",
            "nobody whom this machine trusts vouches for its certificate: add its authority to this machine's certificates, or name it with SSL_CERT_FILE",
        ),
        (
            "CaUsedAsEndEntity",
            "its certificate is one for signing others (CA:TRUE), as `openssl req -x509` makes it, and proves no server: make one with -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME, and name that with SSL_CERT_FILE",
        ),
        (
            "NotValidForName",
            "its certificate is for other names: use one of those, or have it made for this one, too",
        ),
        (
            "not valid for name",
            "its certificate is for other names: use one of those, or have it made for this one, too",
        ),
        ("NotValidYet", "its certificate is not valid yet: look at this machine's clock, and at the gate's"),
        (
            "not valid yet",
            "its certificate is not valid yet: look at this machine's clock, and at the gate's",
        ),
        ("xpired", "its certificate has expired: have it renewed, or look at this machine's clock"),
        ("Revoked", "its certificate was revoked by whoever made it: have another one made"),
    ];
    let known = WORDS.iter().find(|(sign, _)| chain.contains(sign));
    known.map_or(
        "its certificate proves nothing, or this machine's authorities cannot be read: look at both, and at SSL_CERT_FILE",
        |(_, words)| words,
    )
}

fn text(answer: &Answer, name: header::HeaderName) -> Option<&str> {
    answer.headers.get(name)?.to_str().ok()
}

/// A problem's sentence in the form of this side's lines: no capital, no full stop.
pub(super) fn plain(detail: &str) -> String {
    let detail = detail.strip_prefix("The token was not minted: ").unwrap_or(detail);
    let detail = detail.strip_suffix('.').unwrap_or(detail);
    if detail.starts_with("Fallgate") {
        return detail.to_owned();
    }
    let mut rest = detail.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_lowercase).collect();
    format!("{first}{}", rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problems_sentence_becomes_a_line() {
        for (detail, line) in [
            ("There is no such user.", "there is no such user"),
            ("The token was not minted: the end must lie in the future.", "the end must lie in the future"),
            ("Ärger.", "ärger"),
            ("Fallgate cannot read its store.", "Fallgate cannot read its store"),
            ("", ""),
        ] {
            assert_eq!(plain(detail), line);
        }
    }
}
