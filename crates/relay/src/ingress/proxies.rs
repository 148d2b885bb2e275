//! Who asks, and how, when somebody else's proxy stands between: believed only of the proxies that the operator named
//! (requirement R1).

use std::net::IpAddr;

use fallgate_authority::{Fields, Occurs, occurs};
use ipnet::IpNet;

use crate::wire::http1::list_items;

/// The proxies whose word is taken. None by default: then a client's `X-Forwarded-*` never counts for anything.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whoever may connect to our unix socket.
    unix: bool,
}

/// Where a request comes from, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The client's address; `None` if it has none, or if its proxy does not say.
    pub(crate) ip: Option<IpAddr>,
    /// Whether the client used TLS.
    pub(crate) https: bool,
}

/// Why a network cannot be trusted as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxies {
    /// It is everybody.
    #[error("{0} is everybody: name the proxy's own address")]
    Everybody(IpNet),
}

/// A trusted proxy's word that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("A proxy in front of Fallgate sent an {0} that cannot be read.")]
pub(crate) struct UnreadableWord(&'static str);

impl TrustedProxies {
    /// These networks; none may be all there is.
    pub fn new(networks: Vec<IpNet>) -> Result<Self, InvalidProxies> {
        match networks.iter().find(|network| network.prefix_len() == 0) {
            Some(everybody) => Err(InvalidProxies::Everybody(*everybody)),
            None => Ok(Self { networks, unix: false }),
        }
    }

    /// The same, and whoever comes in by our unix socket.
    #[must_use]
    pub fn and_unix(self) -> Self {
        Self { unix: true, ..self }
    }

    /// Whether whoever comes in by our unix socket is among them.
    pub fn has_unix(&self) -> bool {
        self.unix
    }

    /// Whether nobody's word is taken.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// The networks, in the order in which they were named.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Whether the word of whoever is at the other end of the socket is taken.
    pub(crate) fn trusts_peer(&self, peer: Option<IpAddr>) -> bool {
        // Only a unix socket's peer has no address.
        peer.map_or(self.unix, |peer| self.trusts(peer))
    }

    /// Finds out who asks. `direct` is whoever has connected.
    pub(crate) fn asker(&self, direct: Asker, fields: &dyn Fields) -> Result<Asker, UnreadableWord> {
        if !self.trusts_peer(direct.ip) {
            return Ok(direct);
        }
        let ip = self.client(direct.ip, fields)?;
        let https = match occurs(fields, "x-forwarded-proto") {
            Occurs::Never => direct.https,
            Occurs::Once(proto) => match list_items(proto).last() {
                Some(b"https" | b"wss") => true,
                Some(b"http" | b"ws") => false,
                _ => return Err(UnreadableWord("X-Forwarded-Proto")),
            },
            Occurs::Often => return Err(UnreadableWord("X-Forwarded-Proto")),
        };
        Ok(Asker { ip, https })
    }

    /// The address of the client of a proxy that is trusted.
    pub(crate) fn client(
        &self,
        peer: Option<IpAddr>,
        fields: &dyn Fields,
    ) -> Result<Option<IpAddr>, UnreadableWord> {
        let mut ip = peer;
        let mut told: Vec<&[u8]> = Vec::new();
        fields.each("x-forwarded-for", &mut |value| told.extend(list_items(value)));
        // From the nearest to the farthest: what stands left of an address that is not trusted is only its word.
        for item in told.into_iter().rev() {
            let address = parse_address(item).ok_or(UnreadableWord("X-Forwarded-For"))?;
            ip = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        Ok(ip)
    }

    /// Whether a proxy at that address is among them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

fn parse_address(item: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(item).ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1::{HeadLimits, Progress, RequestHead};

    fn asker(trusted: &[&str], peer: &str, fields: &str) -> Result<Asker, UnreadableWord> {
        let networks = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let direct = Asker { ip: Some(peer.parse().unwrap()), https: false };
        asker_of(&TrustedProxies::new(networks).unwrap(), direct, fields)
    }

    fn asker_of(trusted: &TrustedProxies, direct: Asker, fields: &str) -> Result<Asker, UnreadableWord> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: box.example\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let limits = HeadLimits { max_bytes: 64 * 1024, max_fields: 100 };
        assert!(matches!(head.parse(bytes.as_bytes(), &limits), Ok(Progress::Complete)));
        trusted.asker(direct, &head.view(bytes.as_bytes()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with a result")]
    fn found(ip: &str, https: bool) -> Result<Asker, UnreadableWord> {
        Ok(Asker { ip: Some(ip.parse().unwrap()), https })
    }

    const TOLD: &str = "X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n";

    #[test]
    fn r1_only_a_trusted_proxys_word_counts() {
        assert_eq!(asker(&[], "10.0.0.1", TOLD), found("10.0.0.1", false));
        assert_eq!(asker(&["10.9.0.0/16"], "10.0.0.1", TOLD), found("10.0.0.1", false));
        assert_eq!(asker(&["10.0.0.0/8"], "10.0.0.1", TOLD), found("198.51.100.7", true));
        assert_eq!(asker(&["10.0.0.0/8"], "::ffff:10.0.0.1", TOLD), found("198.51.100.7", true));
        assert_eq!(asker(&["10.0.0.0/8"], "10.0.0.1", ""), found("10.0.0.1", false));
        let spelt = "x-forwarded-proto: http\r\nX-FORWARDED-FOR: 2001:db8::1\r\n";
        assert_eq!(asker(&["10.0.0.0/8"], "10.0.0.1", spelt), found("2001:db8::1", false));
        let two_fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.7\r\n";
        assert_eq!(asker(&["10.0.0.0/8"], "10.0.0.1", two_fields), found("198.51.100.7", false));
    }

    #[test]
    fn r1_whoever_comes_by_the_unix_socket_is_believed_only_where_that_was_said() {
        let by_unix = Asker { ip: None, https: false };
        let network = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
        assert_eq!(asker_of(&TrustedProxies::default(), by_unix, TOLD), Ok(by_unix));
        assert_eq!(asker_of(&network, by_unix, TOLD), Ok(by_unix));
        assert_eq!(asker_of(&network.clone().and_unix(), by_unix, TOLD), found("198.51.100.7", true));
        // It vouches for the first address, and for no other: none but the networks do.
        let alone = TrustedProxies::default().and_unix();
        assert_eq!(asker_of(&alone, by_unix, TOLD), found("10.0.0.2", true));
        assert_eq!(asker_of(&alone, by_unix, ""), Ok(by_unix));
        let by_tcp = Asker { ip: Some("10.0.0.1".parse().unwrap()), https: false };
        assert_eq!(asker_of(&alone, by_tcp, TOLD), Ok(by_tcp));
    }

    #[test]
    fn a_client_that_used_tls_did_so_unless_a_trusted_proxy_says_otherwise() {
        let direct = Asker { ip: Some("10.0.0.1".parse().unwrap()), https: true };
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
        let plain = "X-Forwarded-Proto: http\r\n";
        assert_eq!(asker_of(&TrustedProxies::default(), direct, plain), Ok(direct));
        assert_eq!(asker_of(&trusted, direct, ""), Ok(direct));
        assert_eq!(asker_of(&trusted, direct, plain), found("10.0.0.1", false));
    }

    #[test]
    fn r8_a_word_that_cannot_be_read_is_not_guessed_at() {
        for fields in [
            "X-Forwarded-For: unknown\r\n",
            "X-Forwarded-For: 198.51.100.7:80\r\n",
            "X-Forwarded-Proto: gopher\r\n",
            "X-Forwarded-Proto: HTTPS\r\n",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
            "X-Forwarded-Proto: \r\n",
        ] {
            assert!(asker(&["10.0.0.1/32"], "10.0.0.1", fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn r1_everybody_cannot_be_trusted() {
        for everybody in ["0.0.0.0/0", "::/0"] {
            assert!(TrustedProxies::new(vec![everybody.parse().unwrap()]).is_err());
        }
    }
}
