//! Whom a client's address stands for, where tries are counted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Whoever one can expect to have all of these addresses: one IPv4 address, or 64 bits of IPv6. Clients without an
/// address, on a unix socket, are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(Option<IpAddr>);

/// Whoever one can expect to have all of these networks: one IPv4 address, or 48 bits of IPv6, which is what a site
/// gets for the asking and has 65,536 networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site(Option<IpAddr>);

impl Site {
    /// Whether it has more than one network.
    pub(crate) fn has_many(self) -> bool {
        self.0.is_some_and(|ip| ip.is_ipv6())
    }
}

impl Network {
    pub(crate) fn of(ip: Option<IpAddr>) -> Self {
        Self(ip.map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        }))
    }

    /// Whom it belongs to.
    pub(crate) fn site(self) -> Site {
        Site(self.0.map(|ip| match ip {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80)),
        }))
    }

    /// Its address, if it has just one.
    pub(crate) fn address(self) -> Option<IpAddr> {
        self.0.filter(IpAddr::is_ipv4)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V4(ip)) => ip.fmt(f),
            Some(IpAddr::V6(ip)) => write!(f, "{ip}/64"),
            None => f.write_str("no address"),
        }
    }
}
