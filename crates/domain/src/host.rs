//! Hosts: whom a request is for (requirement R6).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host name, in bytes (RFC 1035, section 2.3.4, as text).
const NAME_LENGTH: usize = 253;
/// The longest label of a host name, in bytes.
const LABEL_LENGTH: usize = 63;

/// The host of an authority in the one form that is decided on: lower-case ASCII, without port and without a dot at
/// the end. An IPv6 address is in brackets and in its canonical text form (RFC 5952).
///
/// Equal hosts are equal texts, and a map keyed by `Host` can be asked with a `&str`.
#[derive(Clone)]
pub struct Host<'a> {
    text: Cow<'a, str>,
    ip_literal: bool,
}

/// A text that is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host: expected a name, an IPv4 address, or an IPv6 address in brackets")]
pub struct InvalidHost;

impl<'a> Host<'a> {
    /// The host of a `Host` field or an authority: a name of ASCII letters, digits, `-`, `_` and dots, an IPv4
    /// address, or an IPv6 address in brackets; then perhaps `:` and a port, which is not kept. Userinfo, encodings
    /// and blanks are refused. Borrows from a value that is in the form to be decided on, its port aside.
    ///
    /// `_` is taken because names of containers have it. Forms of an IPv4 address other than four decimal numbers
    /// (`0x7f.1`, `127.1`, `2130706433`) are names like any other.
    pub fn parse_header(value: &'a [u8]) -> Result<Self, InvalidHost> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| InvalidHost);
        if let Some(rest) = value.strip_prefix(b"[") {
            let (address, port) = text(rest)?.split_once(']').ok_or(InvalidHost)?;
            check_port(port.as_bytes())?;
            return Self::ipv6(address);
        }
        let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
        let (name, port) = value.split_at_checked(end).ok_or(InvalidHost)?;
        check_port(port)?;
        Self::name(text(name)?)
    }

    /// The host that a config names: as [`Host::parse_header`], without a port, and in any script (IDNA, UTS 46).
    pub fn parse_config(text: &'a str) -> Result<Self, InvalidHost> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::ipv6(address);
        }
        if text.is_ascii() {
            return Self::name(text);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| InvalidHost)?;
        Ok(Host::name(&ascii)?.into_owned())
    }

    /// The host as it is decided on.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is an IP address and not a name.
    pub fn is_ip_literal(&self) -> bool {
        self.ip_literal
    }

    /// The same host, owning its text.
    pub fn into_owned(self) -> Host<'static> {
        Host { text: Cow::Owned(self.text.into_owned()), ip_literal: self.ip_literal }
    }

    fn ipv6(address: &str) -> Result<Self, InvalidHost> {
        let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
        Ok(Self { text: Cow::Owned(format!("[{address}]")), ip_literal: true })
    }

    fn name(name: &'a str) -> Result<Self, InvalidHost> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut label = 0;
        let mut upper = false;
        for byte in name.bytes() {
            match byte {
                b'.' if label == 0 => return Err(InvalidHost),
                b'.' => {
                    label = 0;
                    continue;
                }
                b'A'..=b'Z' => upper = true,
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
                _ => return Err(InvalidHost),
            }
            label += 1;
            if label > LABEL_LENGTH {
                return Err(InvalidHost);
            }
        }
        if label == 0 || name.len() > NAME_LENGTH {
            return Err(InvalidHost);
        }
        let digit_last = name.ends_with(|last: char| last.is_ascii_digit());
        let ip_literal = digit_last && name.parse::<Ipv4Addr>().is_ok();
        let text = if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
        Ok(Self { text, ip_literal })
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Host<'_> {}

impl Hash for Host<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` does: `Borrow` promises that.
        self.text.hash(state);
    }
}

impl Borrow<str> for Host<'_> {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Nothing, or `:` and a number from 0 to 65535.
fn check_port(port: &[u8]) -> Result<(), InvalidHost> {
    let Some(digits) = port.strip_prefix(b":") else {
        return if port.is_empty() { Ok(()) } else { Err(InvalidHost) };
    };
    let plain = matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit);
    // `u16::from_str` would take a sign.
    let number = || digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    if plain && u16::try_from(number()).is_ok() { Ok(()) } else { Err(InvalidHost) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r6_hosts_have_one_form() {
        for (value, wanted, ip) in [
            ("box.example", "box.example", false),
            ("BOX.Example", "box.example", false),
            ("box.example.", "box.example", false),
            ("Box.Example.:8080", "box.example", false),
            ("box.example:443", "box.example", false),
            ("box.example:0", "box.example", false),
            ("box.example:00080", "box.example", false),
            ("localhost", "localhost", false),
            ("my_service", "my_service", false),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", false),
            ("127.0.0.1:7400", "127.0.0.1", true),
            ("[::1]", "[::1]", true),
            ("[::1]:7400", "[::1]", true),
            ("[0:0:0:0:0:0:0:1]", "[::1]", true),
            ("[2001:DB8::A]", "[2001:db8::a]", true),
            ("0x7f.1", "0x7f.1", false),
            ("127.1", "127.1", false),
            ("2130706433", "2130706433", false),
            ("0177.0.0.1", "0177.0.0.1", false),
            ("1.2.3.4.5", "1.2.3.4.5", false),
        ] {
            let host = Host::parse_header(value.as_bytes()).unwrap();
            assert_eq!((host.as_str(), host.is_ip_literal()), (wanted, ip), "{value}");
        }
    }

    #[test]
    fn r6_what_is_no_host_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "bc";
        for value in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            " a",
            "a ",
            "a b",
            "a\t",
            "user@a",
            "user:pw@a",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2eb",
            "a,b",
            "a;b",
            "*",
            "a*",
            "bücher.example",
            "a:",
            "a:x",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:123456",
            "a:80:80",
            "a: 80",
            ":80",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[::1",
            "http://a",
            "a\0",
            &long_label,
            &long_name,
        ] {
            assert!(Host::parse_header(value.as_bytes()).is_err(), "{value:?}");
        }
        assert!(Host::parse_header(b"a\xff").is_err());
    }

    #[test]
    fn r6_a_config_names_hosts_in_any_script() {
        for (text, wanted) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
            ("bücher。example", "xn--bcher-kva.example"),
            ("Box.Example.", "box.example"),
            ("my_service", "my_service"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(Host::parse_config(text).unwrap().as_str(), wanted, "{text}");
        }
        for text in ["", "a:80", "[::1]:80", "http://a", "a b", "*.example", "bü cher", "ü/a", "ü:80"] {
            assert!(Host::parse_config(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_that_is_in_form_is_not_copied() {
        let borrowed = |value: &'static str| {
            matches!(Host::parse_header(value.as_bytes()), Ok(Host { text: Cow::Borrowed(_), .. }))
        };
        assert!(borrowed("box.example") && borrowed("box.example:80") && borrowed("box.example."));
        assert!(!borrowed("Box.example"));
    }

    #[test]
    fn a_map_of_hosts_is_asked_with_text() {
        let map = HashMap::from([(Host::parse_config("a.example").unwrap(), 1)]);
        assert_eq!(map.get("a.example"), Some(&1));
        assert_eq!(map.get(Host::parse_header(b"A.example:80").unwrap().as_str()), Some(&1));
        assert_eq!(map.get("b.example"), None);
    }

    proptest! {
        #[test]
        fn r6_case_dot_and_port_make_no_difference(
            name in "[a-z0-9_-]{1,12}(\\.[a-z0-9_-]{1,12}){0,3}",
            upper in any::<u64>(),
            dot in any::<bool>(),
            port in any::<Option<u16>>(),
        ) {
            let mut variant: String = name
                .chars()
                .enumerate()
                .map(|(at, one)| if upper >> (at % 64) & 1 == 1 { one.to_ascii_uppercase() } else { one })
                .collect();
            if dot {
                variant.push('.');
            }
            variant.extend(port.map(|port| format!(":{port}")));
            let plain = Host::parse_header(name.as_bytes()).unwrap();
            prop_assert_eq!(&Host::parse_header(variant.as_bytes()).unwrap(), &plain);
            let again = Host::parse_header(plain.as_str().as_bytes()).unwrap();
            prop_assert_eq!(again.as_str(), plain.as_str());
        }

        #[test]
        fn r59_no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,20}") {
            if let Ok(host) = Host::parse_header(&value) {
                prop_assert_eq!(Host::parse_header(host.as_str().as_bytes()), Ok(host.clone()));
            }
            if let Ok(host) = Host::parse_config(&text) {
                prop_assert_eq!(Host::parse_header(host.as_str().as_bytes()), Ok(host.clone()));
            }
        }
    }
}
