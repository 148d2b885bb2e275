//! What a config says of the gate, as far as it can change while the gate runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use fallgate_domain::host::Host;

use super::hosts::Hosts;
use super::proxies::TrustedProxies;
use super::route::RouteTable;
use crate::gate::Limits;

/// What requests are decided by. A request that has begun goes on with those it began with; what rests on a route is
/// judged anew when the next ones come ([`crate::Gate::apply`]).
#[derive(Debug)]
pub struct Settings {
    /// What stands behind the gate.
    pub routes: RouteTable,
    /// The names we answer to.
    pub hosts: Hosts,
    /// Whose word on where a request comes from is taken.
    pub trusted_proxies: TrustedProxies,
    /// How much a client may ask for.
    pub limits: Limits,
    /// The origin of our own pages, such as `https://box.example`: as the operator says it, never as a client does
    /// (requirement R18).
    pub origin: String,
}

/// The settings that count now, shared by all who need them.
#[derive(Debug, Clone)]
pub struct LiveSettings(Arc<ArcSwap<Settings>>);

impl LiveSettings {
    /// These, until others come.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// Those that count now.
    pub fn now(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Puts others in their place, and returns those before.
    pub(crate) fn replace(&self, settings: Settings) -> Arc<Settings> {
        self.0.swap(Arc::new(settings))
    }
}

impl Settings {
    /// The origin of a route's host: ours, with that host in it.
    pub(crate) fn origin_of(&self, host: &Host<'_>) -> String {
        let (scheme, authority) = self.origin.split_once("://").unwrap_or(("http", &self.origin));
        let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
        let port = authority.rfind(':').filter(|colon| *colon >= after_brackets);
        let port = port.and_then(|colon| authority.get(colon..)).unwrap_or_default();
        format!("{scheme}://{host}{port}")
    }

    /// Where somebody signs in who then wants to go to that address.
    pub(crate) fn login_page(&self, wanted: &str) -> String {
        let query: String = form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
        format!("{}/login?returnTo={query}", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(origin: &str) -> Settings {
        Settings {
            routes: RouteTable::default(),
            hosts: Hosts::default(),
            trusted_proxies: TrustedProxies::default(),
            limits: Limits::default(),
            origin: origin.to_owned(),
        }
    }

    #[test]
    fn r18_a_routes_origin_has_the_scheme_and_port_of_ours() {
        let host = Host::parse_config("app.example").unwrap();
        for (ours, theirs) in [
            ("https://box.example", "https://app.example"),
            ("https://box.example:8443", "https://app.example:8443"),
            ("http://[::1]:7400", "http://app.example:7400"),
            ("http://[::1]", "http://app.example"),
        ] {
            assert_eq!(settings(ours).origin_of(&host), theirs, "{ours}");
        }
    }

    #[test]
    fn the_wanted_address_stands_encoded_in_the_login_pages() {
        let page = settings("https://box.example").login_page("https://app.example/x?a=b&c#d");
        assert_eq!(page, "https://box.example/login?returnTo=https%3A%2F%2Fapp.example%2Fx%3Fa%3Db%26c%23d");
    }
}
