//! What a config says of the gate, as far as it can change while the gate runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Cache};
use fallgate_authority::Challenge;
use fallgate_domain::agent::AgentName;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::host::Host;
use fallgate_domain::return_to::ReturnTo;
use fallgate_domain::route::Admit;
use fallgate_domain::secret;

use super::hosts::Hosts;
use super::proxies::TrustedProxies;
use super::route::{Entrance, Route, RouteTable};
use crate::gate::Limits;

/// What requests are decided by. A request that has begun goes on with those it began with; what rests on a route is
/// judged anew when the next ones come ([`crate::Gate::apply`]).
#[derive(Debug, Clone)]
pub struct Settings {
    /// What stands behind the gate.
    pub routes: RouteTable,
    /// The names we answer to.
    pub hosts: Hosts,
    /// Whose word on where a request comes from is taken.
    pub trusted_proxies: TrustedProxies,
    /// Whether they may also ask about requests that they hold (forward-auth).
    pub forward_auth: bool,
    /// How much a client may ask for.
    pub limits: Limits,
    /// The origin of our own pages, such as `https://box.example`: as the operator says it, never as a client does
    /// (requirement R18).
    pub origin: String,
    /// The same as other devices find it: with an address of this machine where `origin` says no more than that we listen
    /// on all of them.
    pub reached_at: String,
}

/// The settings that count now, shared by all who need them.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    now: Arc<ArcSwap<Settings>>,
    refused: Arc<ArcSwapOption<RefusedConfig>>,
}

/// A config that was read again and made no sense, so that the one before goes on to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedConfig {
    /// When it was read.
    pub at: Timestamp,
    /// What is wrong with it, in words without a stop.
    pub reason: String,
}

impl LiveSettings {
    /// These, until others come.
    pub fn new(settings: Settings) -> Self {
        Self { now: Arc::new(ArcSwap::from_pointee(settings)), refused: Arc::default() }
    }

    /// Those that count now.
    pub fn now(&self) -> Arc<Settings> {
        self.now.load_full()
    }

    /// Remembers a config that was refused, until one counts.
    pub fn refuse(&self, refused: RefusedConfig) {
        self.refused.store(Some(Arc::new(refused)));
    }

    /// The config that was refused since these were read, if one was.
    pub fn refused(&self) -> Option<Arc<RefusedConfig>> {
        self.refused.load_full()
    }

    /// The same for one who asks again and again.
    pub(crate) fn cached(&self) -> CachedSettings {
        CachedSettings(Cache::new(self.now.clone()))
    }

    /// Has them name the port that was taken, where the config has any free one taken. Call it before anybody is let in.
    pub fn took_port(&self, port: u16) {
        let mut settings = Settings::clone(&self.now());
        for origin in [&mut settings.origin, &mut settings.reached_at] {
            if let Some(rest) = origin.strip_suffix(":0") {
                *origin = format!("{rest}:{port}");
            }
        }
        self.replace(settings);
    }

    /// Puts others in their place, and returns those before.
    pub(crate) fn replace(&self, settings: Settings) -> Arc<Settings> {
        self.refused.store(None);
        self.now.swap(Arc::new(settings))
    }
}

/// The settings that count now, with those at hand that counted when they were last asked for.
#[derive(Debug)]
pub(crate) struct CachedSettings(Cache<Arc<ArcSwap<Settings>>, Arc<Settings>>);

impl CachedSettings {
    /// Those that count now.
    pub(crate) fn now(&mut self) -> &Arc<Settings> {
        self.0.load()
    }
}

impl Settings {
    /// The route of that host, if any.
    pub fn route_of(&self, host: &Host<'_>) -> Option<&Arc<Route>> {
        self.routes.at_host(host)
    }

    /// The route that has this origin, with its host.
    pub fn route_at(&self, origin: &str) -> Option<(&Host<'static>, &Route)> {
        self.routes.iter().find_map(|route| match &route.entrance {
            Entrance::Host(host) if self.origin_of(host) == origin => Some((host, route)),
            _ => None,
        })
    }

    /// Whether a route lets this agent in by its name.
    pub fn let_in_by_name(&self, agent: &AgentName) -> bool {
        let by_name = Admit::Agent(agent.clone());
        self.routes.iter().any(|route| route.policy.admission.allow.contains(&by_name))
    }

    /// The origin of a route's host: ours, with that host in it.
    pub fn origin_of(&self, host: &Host<'_>) -> String {
        let (scheme, authority) = self.origin.split_once("://").unwrap_or(("http", &self.origin));
        let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
        let port = authority.rfind(':').filter(|colon| *colon >= after_brackets);
        let port = port.and_then(|colon| authority.get(colon..)).unwrap_or_default();
        format!("{scheme}://{host}{port}")
    }

    /// Where somebody signs in who then wants to go to a page (path and query) of that host. `has_internal`: whether the
    /// internal token stands in a text; an upstream's own addresses have digests in them, too.
    pub(crate) fn login_for(
        &self,
        host: &Host<'_>,
        target: &str,
        challenge: Challenge,
        has_internal: impl Fn(&str) -> bool,
    ) -> String {
        let origin = self.origin_of(host);
        let target = without_secret(target, |text| secret::begins_within(text) || has_internal(text));
        let wanted = ReturnTo::write(Some(&origin), target).unwrap_or(origin + "/");
        format!("{}{}&enter={challenge}", self.origin, login_page(&wanted))
    }
}

/// Where on our own origin somebody signs in who then wants to go to a page (path and query) of it.
pub fn login_for_own(target: &str) -> String {
    // No page of ours has so much hex in its address as the internal token.
    let target = if secret::is_within(target) && !secret::begins_within(target) { "/" } else { target };
    login_page(
        &ReturnTo::write(None, without_secret(target, secret::begins_within))
            .unwrap_or_else(|| "/".to_owned()),
    )
}

fn login_page(wanted: &str) -> String {
    let wanted: String = form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    format!("/login?returnTo={wanted}")
}

/// The same page, or as much of it as has none of our secrets in it: they are not handed on (requirement R23).
fn without_secret(target: &str, is_within: impl Fn(&str) -> bool) -> &str {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match (is_within(path), is_within(target)) {
        (true, _) => "/",
        (false, true) => path,
        (false, false) => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::route::tests::{at_host, route};

    fn settings(origin: &str) -> Settings {
        Settings {
            routes: RouteTable::default(),
            hosts: Hosts::default(),
            trusted_proxies: TrustedProxies::default(),
            forward_auth: false,
            limits: Limits::default(),
            origin: origin.to_owned(),
            reached_at: origin.to_owned(),
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
        let (settings, host) = (settings("https://box.example"), Host::parse_config("app.example").unwrap());
        let text = "A".repeat(43);
        let internal = |text: &str| text.contains("0123");
        let login = |target| settings.login_for(&host, target, text.parse().unwrap(), internal);
        for (target, wanted) in [
            ("/x?a=b&c='", "https%3A%2F%2Fapp.example%2Fx%3Fa%3Db%26c%3D%2527"),
            ("/x?t=fgt_secret", "https%3A%2F%2Fapp.example%2Fx"),
            ("/x?t=fgt%5Fsecret", "https%3A%2F%2Fapp.example%2Fx"),
            ("/x;t=fgt_secret?a=b", "https%3A%2F%2Fapp.example%2F"),
            ("/x?t=0123", "https%3A%2F%2Fapp.example%2Fx"),
            ("/0123/x?t=a", "https%3A%2F%2Fapp.example%2F"),
            ("/cb/token=sas%255fsecret", "https%3A%2F%2Fapp.example%2F"),
            ("//evil.example", "https%3A%2F%2Fapp.example%2F"),
        ] {
            let wanted = format!("https://box.example/login?returnTo={wanted}&enter={text}");
            assert_eq!(login(target), wanted);
        }
        let hex = format!("/?token={}", "0Aa9".repeat(16));
        let within = format!("/x;{}", "0Aa9".repeat(16));
        for (target, wanted) in [
            ("/x?a=b", "%2Fx%3Fa%3Db"),
            ("//evil.example", "%2F"),
            ("/?token=sas_x", "%2F"),
            ("/x;fgt_x", "%2F"),
            (&*hex, "%2F"),
            (&*within, "%2F"),
        ] {
            assert_eq!(login_for_own(target), format!("/login?returnTo={wanted}"));
        }
    }

    #[test]
    fn r17_a_route_is_found_by_its_exact_origin() {
        let mut settings = settings("https://box.example:8443");
        settings.routes = RouteTable::new(vec![route("app", at_host("app.example"))]).unwrap();
        let found = |origin| settings.route_at(origin).map(|(host, _)| host.to_string());
        assert_eq!(found("https://app.example:8443").as_deref(), Some("app.example"));
        for origin in ["https://app.example", "http://app.example:8443", "https://box.example:8443", ""] {
            assert_eq!(found(origin), None, "{origin}");
        }
    }
}
