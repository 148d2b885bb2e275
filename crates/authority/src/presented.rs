//! The credential that a request carries. It is taken out here, once, and verified elsewhere.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_domain::token::{PlainToken, TokenHash, TokenKind};
use fallgate_domain::{secret, worker};
use zeroize::Zeroizing;

use crate::refusal::{Denial, Refusal};
use crate::verifier::Verifier;

/// What a request presents, as a hash: the secret itself goes no further than the verifier.
#[derive(Clone)]
pub struct Presented {
    pub(crate) hash: TokenHash,
    /// The whole text of what is meant to be a worker token: a signature cannot be checked by a hash.
    pub(crate) worker: Option<Zeroizing<Vec<u8>>>,
    /// Came along in `Authorization: Basic`; must be the owner's, if there is an owner and it is not empty.
    pub(crate) username: Option<Zeroizing<String>>,
}

/// Nothing of it: people type secrets where a username belongs.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// What else is known of a request. Told and noted; nothing here is ever decided on (requirements R7, R14).
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The client's address, if it came over IP.
    pub ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<&'a [u8]>,
}

impl Presented {
    /// Reads the value of the request's one `Authorization` header. An unreadable one is refused, never skipped: the
    /// caller chose to say who they are, so nothing ambient may speak for them.
    pub fn from_authorization(value: Option<&[u8]>) -> Result<Self, Refusal> {
        let value = value.ok_or(Refusal::NoCredential)?;
        let malformed = Refusal::BadCredential(Denial::Malformed);
        let split = value.iter().position(|byte| *byte == b' ').ok_or(malformed.clone())?;
        let (scheme, rest) = value.split_at(split);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            Self::from_secret(rest, None)
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| malformed.clone())?);
            let colon = decoded.iter().position(|byte| *byte == b':').ok_or(malformed.clone())?;
            let (username, password) = decoded.split_at(colon);
            let username = std::str::from_utf8(username).map_err(|_| malformed)?;
            let username = Some(username).filter(|name| !name.is_empty());
            let username = username.map(|name| Zeroizing::new(name.to_owned()));
            Self::from_secret(password.get(1..).unwrap_or_default(), username)
        } else {
            Err(malformed)
        }
    }

    /// Reads the value of a `Fallgate-Token` field: the secret and nothing else.
    pub fn from_token_field(value: &[u8]) -> Result<Self, Refusal> {
        Self::from_secret(value, None)
    }

    /// A token's secret, or a sign-in's: the command line presents the one that it saved.
    pub(crate) fn from_secret(secret: &[u8], username: Option<Zeroizing<String>>) -> Result<Self, Refusal> {
        if worker::is_meant(secret) {
            let worker = Some(Zeroizing::new(secret.to_vec()));
            return Ok(Self { hash: worker::hash(secret), worker, username });
        }
        let hash = secret::hash(secret).map_err(|_| Refusal::BadCredential(Denial::Malformed))?;
        Ok(Self { hash, worker: None, username })
    }
}

impl Verifier {
    /// Whether the value of an `Authorization` field that is not ours to read holds one of our secrets all the same: of
    /// a form that nobody else mints, or a credential that we know. What we do not know is the application's own.
    pub fn carries_ours(&self, value: &[u8]) -> bool {
        carries(value, |hash| self.view.entry(hash).is_some())
    }

    /// Whether the machine's internal token stands in a part of an address. Other digests may.
    pub fn has_internal(&self, text: &str) -> bool {
        secret::internal_within(text, |hash| self.view.entry(hash).is_some())
    }
}

fn carries(value: &[u8], is_known: impl Fn(&TokenHash) -> bool) -> bool {
    let ours = |secret: &[u8]| {
        [TokenKind::Token, TokenKind::Login].iter().any(|kind| PlainToken::parse(*kind, secret).is_ok())
            || worker::read(secret).is_ok()
            || secret::hash(secret).is_ok_and(|hash| is_known(&hash))
    };
    let mut words = value.splitn(2, |byte| *byte == b' ');
    let (scheme, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_ascii());
    if !scheme.eq_ignore_ascii_case(b"basic") {
        // Whatever an application calls the scheme.
        return ours(rest) || ours(scheme);
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest).unwrap_or_default());
    decoded.split(|byte| *byte == b':').any(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> String {
        PlainToken::new(TokenKind::Token, &[9; 32]).expose().to_owned()
    }

    #[test]
    fn r29_a_sign_in_is_presented_like_a_token() {
        let login = PlainToken::new(TokenKind::Login, &[9; 32]);
        let bearer = format!("Bearer {}", login.expose());
        assert_eq!(Presented::from_authorization(Some(bearer.as_bytes())).unwrap().hash, login.hash());
        let basic = format!("Basic {}", STANDARD.encode(format!("alice:{}", login.expose())));
        assert_eq!(Presented::from_authorization(Some(basic.as_bytes())).unwrap().hash, login.hash());
    }

    #[test]
    fn r29_bearer_and_basic_present_the_same_thing() {
        let bearer = Presented::from_authorization(Some(format!("bEARER {}", secret()).as_bytes())).unwrap();
        for (username, told) in [("", None), ("alice", Some("alice"))] {
            let basic = format!("Basic {}", STANDARD.encode(format!("{username}:{}", secret())));
            let basic = Presented::from_authorization(Some(basic.as_bytes())).unwrap();
            assert_eq!(basic.hash, bearer.hash);
            assert_eq!(basic.username.as_ref().map(|name| name.as_str()), told);
        }
    }

    #[test]
    fn r15_our_own_secrets_are_known_where_they_are_not_read() {
        let (token, login) = (secret(), PlainToken::new(TokenKind::Login, &[9; 32]).expose().to_owned());
        for value in [
            format!("Bearer {token}"),
            format!("bearer  {login} "),
            format!("token {token}"),
            token.clone(),
            format!("Basic {}", STANDARD.encode(format!("ada:{token}"))),
            format!("basic {}", STANDARD.encode(format!("{login}:"))),
        ] {
            assert!(carries(value.as_bytes(), |_| false), "{value}");
        }
        for value in ["", "Bearer", "Bearer fgt_x", "token 0123", "Basic %%%", "Basic YTpi", "Digest a=b"] {
            assert!(!carries(value.as_bytes(), |_| true), "{value}");
        }
        let internal = "0123456789abcdef".repeat(4);
        for value in
            [format!("Bearer {internal}"), format!("Basic {}", STANDARD.encode(format!("a:{internal}")))]
        {
            let known = secret::hash(internal.as_bytes()).unwrap();
            assert!(carries(value.as_bytes(), |hash| *hash == known), "{value}");
            assert!(!carries(value.as_bytes(), |_| false), "{value}");
        }
    }

    #[test]
    fn r8_what_cannot_be_read_is_refused() {
        let good = secret();
        for value in [
            "",
            "Bearer",
            "Bearer ",
            &good,
            &format!("Token {good}"),
            &format!("Bearer {good}x"),
            &format!("Bearer x{good}"),
            &format!("Bearer {good},{good}"),
            "Basic %%%",
            &format!("Basic {}", STANDARD.encode(&good)),
            &format!("Basic {}", STANDARD.encode(format!("a:b:{good}"))),
            "Bearer \u{fc}\u{fc}",
        ] {
            let refusal = Presented::from_authorization(Some(value.as_bytes())).unwrap_err();
            assert_eq!(refusal, Refusal::BadCredential(Denial::Malformed), "{value}");
        }
        assert_eq!(Presented::from_authorization(None).unwrap_err(), Refusal::NoCredential);
    }
}
