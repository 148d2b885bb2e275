//! What a browser gets on a route's host before it is sent to sign in: a secret of its own, in a cookie of that host.
//! What brings a sign-in over afterwards is good only where the cookie is, so a link that somebody else made, or a code
//! that somebody else saw, opens nothing. Nobody is anybody by it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallgate_domain::entropy::{self, NoEntropy};
use fallgate_domain::token::{PlainToken, TokenHash, TokenKind};
use zeroize::{Zeroize, Zeroizing};

use crate::cookie::only_cookie;
use crate::fields::{Fields, Occurs};
use crate::verifier::Verifier;

/// How long one has to sign in. Whoever takes longer is sent through once more, and then is signed in already.
const LIFE: Duration = Duration::from_mins(10);

/// What the cookie is called. The prefix makes browsers hold it to https, one host and `Path=/`.
pub const fn knock_cookie_name(https: bool) -> &'static str {
    if https { "__Host-fallgate-enter" } else { "fallgate-enter" }
}

/// The secret in that cookie.
#[derive(Debug)]
pub struct Knock(PlainToken);

/// What the login page hears of it: its hash, from which the secret cannot be had. It may stand in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge(TokenHash);

/// A text that is no [`Challenge`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a challenge")]
pub struct InvalidChallenge;

impl Knock {
    /// Reads the one cookie of that name. Two of them, and one that cannot be read, are as none.
    pub fn read(fields: &dyn Fields, https: bool) -> Option<Self> {
        match only_cookie(fields, knock_cookie_name(https)) {
            Occurs::Once(value) => PlainToken::parse(TokenKind::Knock, value).ok().map(Self),
            Occurs::Never | Occurs::Often => None,
        }
    }

    /// For the login page's address.
    pub fn challenge(&self) -> Challenge {
        Challenge(self.0.hash())
    }

    /// The value of a `Set-Cookie` field that keeps it for as long as signing in may take.
    pub fn set_cookie(&self, https: bool) -> Zeroizing<String> {
        let (name, secure) = (knock_cookie_name(https), if https { "; Secure" } else { "" });
        let (value, seconds) = (self.0.expose(), LIFE.as_secs());
        Zeroizing::new(format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
    }
}

impl Verifier {
    /// For a browser that is about to be sent to sign in. One that has such a cookie keeps it: it may have opened several
    /// pages at once.
    pub fn knock(&self, fields: &dyn Fields, https: bool) -> Result<Knock, NoEntropy> {
        if let Some(knock) = Knock::read(fields, https) {
            return Ok(knock);
        }
        let mut random = entropy::bytes::<32>(&*self.registrar.entropy)?;
        let secret = PlainToken::new(TokenKind::Knock, &random);
        random.zeroize();
        Ok(Knock(secret))
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.bytes()))
    }
}

impl FromStr for Challenge {
    type Err = InvalidChallenge;

    fn from_str(text: &str) -> Result<Self, InvalidChallenge> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidChallenge)?;
        Ok(Self(TokenHash::from_bytes(bytes.try_into().map_err(|_| InvalidChallenge)?)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;

    fn knock() -> Knock {
        Knock(PlainToken::new(TokenKind::Knock, &[9; 32]))
    }

    fn read(cookies: &[String], https: bool) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        Knock::read(&headers, https).map(|knock| knock.challenge())
    }

    #[test]
    fn r19_the_cookie_is_bound_to_its_host_and_short_lived() {
        for (https, name, secure) in
            [(true, "__Host-fallgate-enter", "; Secure"), (false, "fallgate-enter", "")]
        {
            let cookie = knock().set_cookie(https);
            let secret = knock().0.expose().to_owned();
            let wanted = format!("{name}={secret}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax{secure}");
            assert_eq!(*cookie, wanted);
            let sent = format!("{name}={secret}");
            assert_eq!(read(&[format!("a=b; {sent}")], https), Some(knock().challenge()));
            assert_eq!(read(std::slice::from_ref(&sent), !https), None);
            assert_eq!(read(&[sent.clone(), sent.clone()], https), None);
            assert_eq!(read(&[format!("{sent}x")], https), None);
            assert_eq!(read(&[format!("{name}=")], https), None);
        }
        let login = PlainToken::new(TokenKind::Login, &[9; 32]);
        assert_eq!(read(&[format!("fallgate-enter={}", login.expose())], false), None);
        assert!(!format!("{:?}", knock()).contains("fge_"));
    }

    #[test]
    fn a_challenge_is_read_as_it_is_written_and_says_nothing_of_the_secret() {
        let challenge = knock().challenge();
        let text = challenge.to_string();
        assert_eq!((text.len(), text.parse()), (43, Ok(challenge)));
        assert!(!knock().0.expose().contains(&text));
        for wrong in [
            "",
            "x",
            text.strip_suffix(char::is_alphanumeric).unwrap_or_default(),
            &format!("{text}="),
            &format!("{text}A"),
            &"+".repeat(43),
        ] {
            assert_eq!(wrong.parse::<Challenge>(), Err(InvalidChallenge), "{wrong}");
        }
    }
}
