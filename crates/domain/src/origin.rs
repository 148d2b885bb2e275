//! `http://host:port`: an address without a path.

use std::net::IpAddr;

use crate::host::Host;

/// What stands before a URL's path: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https`; `http` else.
    pub https: bool,
    /// The host.
    pub host: Host<'static>,
    /// The port; the scheme's own one, when none is written.
    pub port: u16,
}

impl Origin {
    /// Reads an origin; a single `/` after it does no harm. The error is a sentence about the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| "it must begin with http:// or https://, and then a host".to_owned())?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("{scheme:?} is no scheme that is understood here")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err("it must end after the host and port: no path, query or fragment".to_owned());
        }
        if authority.contains('@') {
            return Err("a username or password cannot stand in it".to_owned());
        }
        let (host, port) = divide(authority);
        let no_host =
            || format!("{host:?} is not a host: a name, an IPv4 address, or an IPv6 address in brackets");
        let parsed = Host::parse_config(host).map_err(|_| no_host())?.into_owned();
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(digits) => port_number(digits)?,
        };
        Ok(Self { https, host: parsed, port })
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.as_str();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_name = host == "localhost" || host.ends_with(".localhost");
        is_name || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// The same scheme and port at another host.
    #[must_use]
    pub fn at(&self, host: &Host<'_>) -> Self {
        Self { https: self.https, host: host.clone().into_owned(), port: self.port }
    }

    /// The origin as it is written (RFC 6454), without the scheme's own port.
    pub fn text(&self) -> String {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        if self.port == usual {
            format!("{scheme}://{}", self.host)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// The host, and what stands after its `:`.
fn divide(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    match authority.rfind(':') {
        Some(colon) if colon >= after_brackets => {
            let (host, port) = authority.split_at(colon);
            (host, Some(port.trim_start_matches(':')))
        }
        _ => (authority, None),
    }
}

fn port_number(digits: &str) -> Result<u16, String> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = if plain { digits.parse().unwrap_or(0) } else { 0 };
    if port == 0 { Err(format!("{digits:?} is not a port: a number from 1 to 65535")) } else { Ok(port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_and_written_in_one_form() {
        for (written, form) in [
            ("http://127.0.0.1:3030", "http://127.0.0.1:3030"),
            ("HTTP://App.Example:80/", "http://app.example"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
            ("http://[::1]", "http://[::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(Origin::parse(written).unwrap().text(), form);
        }
    }

    #[test]
    fn only_loopback_stays_on_this_machine() {
        for (written, stays) in [
            ("http://127.0.0.1:3030", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:80", true),
            ("http://localhost", true),
            ("http://gate.localhost:80", true),
            ("http://gate", false),
            ("http://localhost.example", false),
            ("http://127.1", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
        ] {
            assert_eq!(Origin::parse(written).unwrap().is_loopback(), stays, "{written}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_in_words() {
        for (written, word) in [
            ("127.0.0.1:3030", "begin with http://"),
            ("ftp://box", "scheme"),
            ("http://box/path", "no path"),
            ("http://box//", "no path"),
            ("http://box?x", "no path"),
            ("http://ada:secret@box", "password"),
            ("http://", "not a host"),
            ("http://:80", "not a host"),
            ("http://a b", "not a host"),
            ("http://::1", "not a host"),
            ("http://box:", "not a port"),
            ("http://box:0", "not a port"),
            ("http://box:+80", "not a port"),
            ("http://box:65536", "not a port"),
        ] {
            let refused = Origin::parse(written).unwrap_err();
            assert!(refused.contains(word), "{written}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
