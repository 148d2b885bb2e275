//! Somebody with a browser that has no script and no window: it keeps cookies by host, says of itself what browsers
//! say, and follows redirects. Every host is the gate.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::client::{Client, Response};

/// Redirects that are followed before it is a loop.
const MOST_HOPS: usize = 8;

/// A visitor, with their cookies.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    gate: SocketAddr,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// A page that was reached.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Where it is: `http://host:port/path?query`.
    pub(crate) url: String,
    /// Every address on the way, the last included.
    pub(crate) way: Vec<String>,
    pub(crate) answer: Response,
}

impl Visitor {
    /// Somebody who was never here.
    pub(crate) fn of(gate: SocketAddr) -> Self {
        Self { gate, cookies: BTreeMap::new() }
    }

    /// Opens an address, and shows what is answered, whatever it is.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) -> Response {
        self.ask("GET", url, "Sec-Fetch-Site: none\r\n", None)
    }

    /// Opens an address and goes wherever it leads.
    #[track_caller]
    pub(crate) fn visit(&mut self, url: &str) -> Visit {
        let answer = self.open(url);
        self.arrive(url, answer)
    }

    /// Sends a form from the page that is shown, to a path of the same origin, and goes wherever that leads.
    #[track_caller]
    pub(crate) fn submit(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Visit {
        let url = resolved(page, path);
        let answer = self.send(page, path, fields);
        self.arrive(&url, answer)
    }

    /// The same, and shows what is answered.
    #[track_caller]
    pub(crate) fn send(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let (origin, _) = parted(page);
        let body = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = body.collect::<Vec<_>>().join("&");
        let headers = format!("Origin: {origin}\r\nSec-Fetch-Site: same-origin\r\n");
        self.ask("POST", &resolved(page, path), &headers, Some(&body))
    }

    /// Fills in and sends the sign-in form that is shown, and goes wherever that leads.
    #[track_caller]
    pub(crate) fn sign_in(&mut self, page: &Visit, username: &str, passphrase: &str) -> Visit {
        let url = resolved(&page.url, "/login");
        let answer = self.send_sign_in(page, username, passphrase);
        self.arrive(&url, answer)
    }

    /// The same, and shows what is answered.
    #[track_caller]
    pub(crate) fn send_sign_in(&mut self, page: &Visit, username: &str, passphrase: &str) -> Response {
        let html = page.answer.text();
        let hidden = |name: &str| {
            let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\""))?;
            Some(unescaped(rest.split_once('"')?.0))
        };
        let return_to = hidden("returnTo").unwrap_or_else(|| panic!("no sign-in form: {html}"));
        let challenge = hidden("enter");
        let mut fields = vec![("username", username), ("passphrase", passphrase), ("returnTo", &return_to)];
        fields.extend(challenge.as_deref().map(|challenge| ("enter", challenge)));
        self.send(&page.url, "/login", &fields)
    }

    /// The value of a cookie of that host (`name:port`).
    pub(crate) fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.cookies.get(host)?.get(name).map(String::as_str)
    }

    /// Keeps a cookie as if that host had set it.
    pub(crate) fn keep(&mut self, host: &str, name: &str, value: &str) {
        self.cookies.entry(host.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// Loses the cookies of that host.
    pub(crate) fn forget(&mut self, host: &str) {
        self.cookies.remove(host);
    }

    /// The header line with all cookies of that host.
    pub(crate) fn cookies(&self, host: &str) -> String {
        let Some(cookies) = self.cookies.get(host) else { return String::new() };
        let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("Cookie: {}\r\n", pairs.join("; "))
    }

    #[track_caller]
    fn arrive(&mut self, url: &str, mut answer: Response) -> Visit {
        let mut way = vec![url.to_owned()];
        while let Some(location) = answer.header("location").filter(|_| answer.status == 303) {
            assert!(way.len() <= MOST_HOPS, "it goes round: {way:#?}");
            let next = resolved(way.last().unwrap(), location);
            answer = self.ask("GET", &next, "Sec-Fetch-Site: cross-site\r\n", None);
            way.push(next);
        }
        Visit { url: way.last().unwrap().clone(), way, answer }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, url: &str, headers: &str, form: Option<&str>) -> Response {
        let (origin, target) = parted(url);
        let host = origin.split_once("://").unwrap().1;
        let cookies = self.cookies(host);
        let body = form.unwrap_or_default();
        let kind = form.map(|body| {
            let length = body.len();
            format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n")
        });
        let kind = kind.unwrap_or_default();
        let answer = Client::exchange(
            self.gate,
            format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
                 Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\r\n\
                 {headers}{cookies}{kind}\r\n{body}"
            ),
        );
        let host = host.to_owned();
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.entry(host.clone()).or_default().remove(name);
            } else {
                self.keep(&host, name, value);
            }
        }
        answer
    }
}

/// Origin, and path with query.
fn parted(url: &str) -> (&str, &str) {
    let start = url.find("://").unwrap_or_else(|| panic!("no address: {url}")) + 3;
    let path = url[start..].find('/').map_or(url.len(), |at| start + at);
    (&url[..path], if path == url.len() { "/" } else { &url[path..] })
}

fn resolved(base: &str, location: &str) -> String {
    if location.starts_with('/') { format!("{}{location}", parted(base).0) } else { location.to_owned() }
}

/// As one value of a form or a query.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn unescaped(html: &str) -> String {
    html.replace("&#38;", "&").replace("&#39;", "'").replace("&#34;", "\"").replace("&amp;", "&")
}
