//! Signing in as programs and browsers do.

use serde_json::{Value, json};

use super::client::{Client, Response};
use super::gate::Gate;
use super::home::PASSPHRASE;

/// A sign-in, with the secret that its cookie carries.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl SignIn {
    /// What a good sign-in answered.
    #[track_caller]
    pub(crate) fn of(answer: &Response) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        let (name, rest) = cookie.split_once('=').unwrap();
        assert_eq!(name, "fallgate", "{cookie}");
        let secret = rest.split(';').next().unwrap().to_owned();
        Self { id: answer.json()["credential"]["id"].as_str().unwrap().to_owned(), secret }
    }

    /// The cookie's header line, with its line end.
    pub(crate) fn cookie(&self) -> String {
        format!("Cookie: fallgate={}\r\n", self.secret)
    }

    /// The cookie as a page of our own sends it.
    pub(crate) fn sent_by_page(&self) -> String {
        self.cookie() + "Sec-Fetch-Site: same-origin\r\n"
    }

    /// The header line that presents it on purpose.
    pub(crate) fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.secret)
    }
}

impl Gate {
    /// A request with these header lines and a JSON body, on a connection of its own.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        Client::exchange(
            self.address(),
            format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    }

    /// `POST /api/login`, whatever comes of it.
    pub(crate) fn try_sign_in(&self, username: &str, passphrase: &str) -> Response {
        self.ask("POST /api/login", "", &json!({"username": username, "passphrase": passphrase}))
    }

    /// Signs somebody in who is there.
    #[track_caller]
    pub(crate) fn sign_in(&self, username: &str) -> SignIn {
        SignIn::of(&self.try_sign_in(username, PASSPHRASE))
    }
}
