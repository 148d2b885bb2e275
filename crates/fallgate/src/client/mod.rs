//! A gate's HTTP API, as a command asks it: one request, one bounded answer, in words when it goes wrong.
//!
//! No redirect is followed and no proxy asked: a credential goes to the address that was named, and nowhere else.

mod fault;
mod oauth;
mod saved;

use std::time::Duration;

use fallgate_domain::token::{PlainToken, TokenKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Method, Request, header};
use ureq::tls::{RootCerts, TlsConfig};
use zeroize::Zeroizing;

pub(crate) use self::fault::Fault;
pub(crate) use self::oauth::OAuthFault;
pub(crate) use self::saved::{SavedLogin, SavedLogins};
use crate::cmd::version::VERSION;
use crate::config::Origin;
use crate::failure::Failure;
use crate::place::Server;

/// The longest answer that is read, in bytes. A hundred thousand tokens fit.
const LONGEST: u64 = 64 * 1024 * 1024;
/// A gate that is there answers the connection at once.
const CONNECT: Duration = Duration::from_secs(10);
/// A passphrase may have to wait for its turn to be hashed.
const WHOLE: Duration = Duration::from_secs(60);
/// The sign-in's cookie, over HTTPS and without.
const COOKIES: [&str; 2] = ["__Host-fallgate", "fallgate"];

/// One gate.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    server: Server,
}

/// What a request is made with.
#[derive(Clone, Copy)]
pub(crate) enum With<'a> {
    /// `FALLGATE_TOKEN`, else the saved sign-in.
    Usual,
    /// This secret.
    Secret(&'a str),
    /// Nothing.
    Nothing,
}

/// A request that was answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Client {
    /// A client of that gate. Refused where a secret would go over plain HTTP to another machine.
    pub(crate) fn new(server: Server) -> Result<Self, Failure> {
        let origin = &server.origin;
        if !origin.https && !origin.is_loopback() && !server.insecure {
            return Err(Failure::failed(format_args!(
                "{} would get secrets over plain HTTP, where everybody on the way can read them: use https://, or --insecure-http if the way is safe",
                origin.text()
            )));
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls)
            .user_agent(format!("fallgate/{VERSION}"))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build();
        Ok(Self { agent: config.new_agent(), server })
    }

    /// The gate.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Its address.
    pub(crate) fn origin(&self) -> &Origin {
        &self.server.origin
    }

    /// Reads something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.get_with(path, With::Usual)
    }

    /// Reads something with that credential.
    pub(crate) fn get_with<T: DeserializeOwned>(&self, path: &str, with: With<'_>) -> Result<T, Fault> {
        self.read(&self.ask(Method::GET, path, None::<&()>, with)?)
    }

    /// Sends something, and reads what came of it.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Fault> {
        self.read(&self.ask(method, path, Some(body), With::Usual)?)
    }

    /// Deletes something, and reads what came of it.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.read(&self.ask(Method::DELETE, path, None::<&()>, With::Usual)?)
    }

    /// Has something done, of which nothing is told but that it is.
    pub(crate) fn act(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        with: With<'_>,
    ) -> Result<(), Fault> {
        self.ask(method, path, body, with).map(drop)
    }

    /// Signs in: what the API tells, and the secret of the sign-in.
    pub(crate) fn sign_in<T: DeserializeOwned>(
        &self,
        body: &impl Serialize,
    ) -> Result<(T, PlainToken), Fault> {
        let answer = self.ask(Method::POST, "/api/login", Some(body), With::Nothing)?;
        let secret = cookie(&answer.headers).ok_or_else(|| self.stranger(&answer))?;
        Ok((self.read(&answer)?, secret))
    }

    /// Whether the gate is there, and one. Nothing secret is sent.
    pub(crate) fn greet(&self) -> Result<(), Failure> {
        #[derive(serde::Deserialize)]
        struct Version {
            #[serde(rename = "version")]
            _version: String,
        }
        self.get_with::<Version>("/api/version", With::Nothing).map(drop).map_err(Fault::into_failure)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        with: With<'_>,
    ) -> Result<Answer, Fault> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin().text()))
            .header(header::ACCEPT, "application/json");
        let secret = match with {
            With::Usual => Some(self.credential()?),
            With::Secret(secret) => Some(Zeroizing::new(secret.to_owned())),
            With::Nothing => None,
        };
        if let Some(secret) = secret {
            let bearer = Zeroizing::new(format!("Bearer {}", *secret));
            request = request.header(header::AUTHORIZATION, bearer.as_str());
        }
        let answer = match body {
            None => self.exchange(request, None)?,
            Some(body) => {
                // Room for all from the start: bytes that move to a larger place leave a copy behind.
                let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
                serde_json::to_writer(&mut *bytes, body).map_err(Failure::from)?;
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.exchange(request, Some(&bytes))?
            }
        };
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(self.refused(&answer, with)) }
    }

    /// Sends a request, and reads what is answered, whatever it is.
    fn exchange(&self, request: Builder, body: Option<&[u8]>) -> Result<Answer, Failure> {
        let answered = match body {
            None => request.body(()).map(|request| self.agent.run(request)),
            Some(body) => request.body(body).map(|request| self.agent.run(request)),
        };
        let mut answered = answered.map_err(Failure::from)?.map_err(|error| self.unreachable(&error))?;
        let bytes = match answered.body().content_length() {
            Some(length) if length > LONGEST => Err(ureq::Error::BodyExceedsLimit(LONGEST)),
            _ => answered.body_mut().with_config().limit(LONGEST).read_to_vec(),
        };
        let bytes = bytes.map_err(|error| self.unreachable(&error))?;
        Ok(Answer {
            status: answered.status().as_u16(),
            headers: answered.headers().clone(),
            body: Zeroizing::new(bytes),
        })
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Fault> {
        serde_json::from_slice(&answer.body).map_err(|_| self.stranger(answer).into())
    }

    /// What the environment or the saved sign-in has for this gate.
    fn credential(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(token) = &self.server.token {
            let sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            return if sendable {
                Ok(token.clone())
            } else {
                Err(Failure::failed("FALLGATE_TOKEN is no token: set it anew, or unset it"))
            };
        }
        let saved = SavedLogins::read(self.server.file()?)?;
        let login = saved.of(self.origin()).ok_or_else(|| self.not_signed_in())?;
        Ok(Zeroizing::new(login.secret.expose().to_owned()))
    }
}

/// The value of the sign-in's cookie, if it is one.
fn cookie(headers: &HeaderMap) -> Option<PlainToken> {
    headers.get_all(header::SET_COOKIE).iter().find_map(|value| {
        let (name, rest) = value.to_str().ok()?.split_once('=')?;
        let value = rest.split(';').next()?.trim();
        let is_ours = COOKIES.contains(&name.trim());
        PlainToken::parse(TokenKind::Login, value.as_bytes()).ok().filter(|_| is_ours)
    })
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn the_sign_in_is_read_out_of_its_cookie_and_no_other() {
        let secret = PlainToken::new(TokenKind::Login, &[7; 32]);
        let with = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::SET_COOKIE, HeaderValue::from_str(line).unwrap());
            }
            cookie(&headers).map(|found| found.expose().to_owned())
        };
        for name in COOKIES {
            let line = format!("{name}={}; Path=/; HttpOnly", secret.expose());
            assert_eq!(with(&["x=y".to_owned(), line]).as_deref(), Some(secret.expose()));
        }
        assert_eq!(with(&[format!("other={}", secret.expose())]), None);
        assert_eq!(with(&["fallgate=; Max-Age=0".to_owned()]), None);
        assert_eq!(with(&[]), None);
    }
}
