//! Which upstream a request is for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fallgate_authority::{RoutePolicy, Successor};
use fallgate_domain::host::Host;
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::secret::HiddenText;

use crate::wire::dial::Address;
use crate::wire::hygiene::may_inject;
use crate::wire::tls::Trust;

/// The first path segments that are ours on our own hosts. No `path` route may take one of them.
pub(crate) const OWN_SEGMENTS: [&str; 19] = [
    ".fallgate",
    ".well-known",
    "account",
    "admin",
    "agents",
    "api",
    "auth",
    "device",
    "favicon.svg",
    "health",
    "live",
    "login",
    "logout",
    "manifest.webmanifest",
    "oauth",
    "pair",
    "setup",
    "static",
    "tokens",
];

/// Under this first segment everything is ours on every host, routes' hosts included.
const OWN_ON_EVERY_HOST: &str = "/.fallgate";

/// Where a route's requests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    /// Everything on this host, but for `/.fallgate/`.
    Host(Host<'static>),
    /// Everything under this path on our own hosts.
    Path {
        /// The prefix, without a slash at its end.
        prefix: CanonicalPath<'static>,
        /// Whether it is taken off on the way up.
        strip: bool,
    },
}

/// A protected upstream: where requests come in, where they go, who may.
#[derive(Debug)]
pub struct Route {
    /// Its name, who may, and on which terms.
    pub policy: Arc<RoutePolicy>,
    /// Where requests come in.
    pub entrance: Entrance,
    /// Where they go. `None`: another proxy sends them there, and only asks us whether it may (forward-auth).
    pub upstream: Option<Upstream>,
    /// The `Host` told to the upstream, if not the client's own.
    pub upstream_host: Option<String>,
    /// How the upstream is told who is calling.
    pub identity: Identity,
    /// Whose the `Authorization` field is.
    pub authorization: Authorization,
    /// Fields that we put into every request that goes up, each instead of the client's own: lower-case name and value.
    /// The upstream's own secrets stand here.
    pub inject: Vec<(String, HiddenText)>,
    /// Which form of the path goes up.
    pub paths: Paths,
    /// The protocols, besides `websocket`, that a connection may change to; in lower case.
    pub upgrades: Vec<String>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    /// Whom we believe who it is, where it is spoken to by TLS.
    pub tls: Option<Trust>,
    /// Whether it is spoken to in HTTP/2; a protocol is changed to over HTTP/1.1 all the same.
    pub http2: bool,
    /// Its scheme and authority, which its own redirects may name.
    pub origin: String,
}

/// How an upstream is told who is calling. By default not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// In `Remote-*` fields.
    pub headers: bool,
    /// In a signed `Fallgate-Assertion`.
    pub assertion: bool,
}

/// Whose the `Authorization` field of a route's requests is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authorization {
    /// It carries our credential, and goes no further.
    #[default]
    Ours,
    /// It is the upstream's own affair; ours comes as a cookie or in `Fallgate-Token`.
    Pass,
}

/// Which form of a path goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paths {
    /// The canonical one, which is decided on.
    #[default]
    Canonical,
    /// As it came: only where nothing is decided by it.
    Raw,
}

/// Every route, as requests are matched.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    by_host: HashMap<Box<str>, Arc<Route>>,
    /// Longest prefix first.
    by_path: Vec<Arc<Route>>,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Destination<'t> {
    /// Our own doors.
    Own,
    /// An upstream.
    Route(&'t Arc<Route>),
}

/// Why a set of routes makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRoutes {
    /// Two of one name.
    #[error("there are two routes named {0}")]
    SameName(String),
    /// Two at one place.
    #[error("the routes {0} and {1} come in at the same place")]
    SameEntrance(String, String),
    /// A prefix that is ours.
    #[error("the route {name} cannot have the path {path}: Fallgate's own pages and API live there")]
    OwnPath {
        /// The route.
        name: String,
        /// Its path.
        path: String,
    },
}

impl RouteTable {
    /// Checks that routes do not stand in each other's or in our way.
    pub fn new(routes: Vec<Route>) -> Result<Self, InvalidRoutes> {
        let mut table = Self::default();
        let mut names = HashSet::new();
        for route in routes {
            let name = route.policy.name.to_string();
            if !names.insert(name.clone()) {
                return Err(InvalidRoutes::SameName(name));
            }
            let route = Arc::new(route);
            match &route.entrance {
                Entrance::Host(host) => {
                    if let Some(other) = table.by_host.insert(host.as_str().into(), route.clone()) {
                        return Err(InvalidRoutes::SameEntrance(other.policy.name.to_string(), name));
                    }
                }
                Entrance::Path { prefix, .. } => {
                    let first = prefix.segments().next().unwrap_or_default();
                    if first.is_empty() || OWN_SEGMENTS.contains(&first) {
                        return Err(InvalidRoutes::OwnPath { name, path: prefix.as_str().to_owned() });
                    }
                    if let Some(other) = table.by_path.iter().find(|other| other.prefix() == Some(prefix)) {
                        return Err(InvalidRoutes::SameEntrance(other.policy.name.to_string(), name));
                    }
                    table.by_path.push(route);
                }
            }
        }
        table
            .by_path
            .sort_by_key(|route| std::cmp::Reverse(route.prefix().map_or(0, |prefix| prefix.as_str().len())));
        Ok(table)
    }

    /// Every route: those with a host first, then those with a path in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        let mut by_host: Vec<&Route> = self.by_host.values().map(Arc::as_ref).collect();
        by_host.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
        by_host.into_iter().chain(self.by_path.iter().map(Arc::as_ref))
    }

    /// The route of that host, if it takes paths as they come.
    pub(crate) fn raw(&self, host: &Host<'_>) -> Option<&Arc<Route>> {
        self.by_host.get(host.as_str()).filter(|route| route.paths == Paths::Raw)
    }

    /// Every route's policy, and what a later table has in the place of that route.
    pub(crate) fn successions(&self, later: &Self) -> impl Iterator<Item = (&Arc<RoutePolicy>, Successor)> {
        self.iter().map(|route| (&route.policy, later.successor_of(route)))
    }

    /// A name is a route's identity, as long as it leads to the same place in the same way.
    fn successor_of(&self, route: &Route) -> Successor {
        match self.iter().find(|one| one.policy.name == route.policy.name) {
            None => Successor::Nothing,
            Some(one) if one.leads_like(route) => Successor::Same(one.policy.clone()),
            Some(_) => Successor::Another,
        }
    }

    /// The route that has that host.
    pub(crate) fn at_host(&self, host: &Host<'_>) -> Option<&Arc<Route>> {
        self.by_host.get(host.as_str())
    }

    /// Whether a route has that host.
    pub(crate) fn has_host(&self, host: &Host<'_>) -> bool {
        self.by_host.contains_key(host.as_str())
    }

    /// A host route beats a path route; the longest prefix wins, by whole segments; all else is ours.
    pub(crate) fn find(&self, host: &Host<'_>, path: &CanonicalPath<'_>) -> Destination<'_> {
        let below = path.as_str().strip_prefix(OWN_ON_EVERY_HOST);
        if below.is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/' | b';', ..])) {
            return Destination::Own;
        }
        if let Some(route) = self.by_host.get(host.as_str()) {
            return Destination::Route(route);
        }
        let mut routes = self.by_path.iter();
        let found =
            routes.find(|route| route.prefix().is_some_and(|prefix| path.starts_with_segments(prefix)));
        found.map_or(Destination::Own, Destination::Route)
    }
}

impl Route {
    /// Whether requests come in and go on as by the other one, whoever may make them: what is open may stay so.
    fn leads_like(&self, other: &Self) -> bool {
        let Self {
            policy: _,
            entrance,
            upstream,
            upstream_host,
            identity,
            authorization,
            inject,
            paths,
            upgrades,
        } = self;
        let led = match (upstream, &other.upstream) {
            (Some(upstream), Some(other)) => upstream.is_like(other),
            (upstream, other) => upstream.is_none() && other.is_none(),
        };
        led && *entrance == other.entrance
            && *upstream_host == other.upstream_host
            && *identity == other.identity
            && *authorization == other.authorization
            && *paths == other.paths
            && same(upgrades.iter(), other.upgrades.iter())
            && same(injected(inject), injected(&other.inject))
    }

    /// Whether [`Route::inject`] may have a field of that name.
    pub fn may_inject(name: &str) -> bool {
        may_inject(name.as_bytes())
    }

    fn prefix(&self) -> Option<&CanonicalPath<'static>> {
        match &self.entrance {
            Entrance::Host(_) => None,
            Entrance::Path { prefix, .. } => Some(prefix),
        }
    }

    /// The prefix that is taken off on the way up.
    pub(crate) fn stripped_prefix(&self) -> Option<&CanonicalPath<'static>> {
        match &self.entrance {
            Entrance::Path { prefix, strip: true } => Some(prefix),
            _ => None,
        }
    }

    /// Whether a cookie of ours opens it. On the origin of our own pages a script of the upstream's could otherwise act
    /// as whoever looks at it.
    pub fn takes_cookies(&self) -> bool {
        self.policy.terms.takes_cookies
    }

    /// Whether its pages may act as whoever looks at them: a `path` route takes cookies only then.
    pub fn same_origin(&self) -> bool {
        self.is_on_own_origin() && self.takes_cookies()
    }

    /// Whether its answers are shown on the origin of our own pages.
    pub(crate) fn is_on_own_origin(&self) -> bool {
        matches!(self.entrance, Entrance::Path { .. })
    }

    /// A path, as it came in, relative to the route, if it is open to anybody.
    pub(crate) fn public<'p>(&self, path: &'p CanonicalPath<'_>) -> Option<CanonicalPath<'p>> {
        let terms = &self.policy.terms;
        if terms.public.is_empty() {
            return None;
        }
        let relative = match self.prefix() {
            None => Some(path.clone()),
            Some(prefix) => path.strip_prefix(prefix),
        };
        relative.filter(|relative| terms.is_public(relative))
    }
}

impl Upstream {
    /// Whether it is the same one, spoken to in the same way. Two configs never share the authorities that they trust:
    /// here it counts where those stand.
    fn is_like(&self, other: &Self) -> bool {
        let Self { address, tls, http2, origin } = self;
        *address == other.address
            && tls.as_ref().map(Trust::file) == other.tls.as_ref().map(Trust::file)
            && *http2 == other.http2
            && *origin == other.origin
    }
}

fn injected(fields: &[(String, HiddenText)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, text)| (name.as_str(), text.expose()))
}

/// Whether both have the same, in whatever order.
fn same<T: Ord>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> bool {
    one.collect::<BTreeSet<_>>() == other.collect::<BTreeSet<_>>()
}

#[cfg(test)]
pub(crate) mod tests {
    use fallgate_authority::Terms;
    use fallgate_domain::route::Admission;

    use super::*;

    pub(crate) fn route(name: &str, entrance: Entrance) -> Route {
        let terms = Terms { public: vec![path("/open")], ..Terms::default() };
        Route {
            policy: Arc::new(RoutePolicy::new(name.parse().unwrap(), Admission::default()).on(terms)),
            entrance,
            upstream: None,
            upstream_host: None,
            identity: Identity::default(),
            authorization: Authorization::default(),
            inject: Vec::new(),
            paths: Paths::default(),
            upgrades: Vec::new(),
        }
    }

    fn path(text: &str) -> CanonicalPath<'static> {
        CanonicalPath::parse(text.as_bytes()).unwrap().into_owned()
    }

    fn at_path(prefix: &str, strip: bool) -> Entrance {
        Entrance::Path { prefix: path(prefix), strip }
    }

    pub(crate) fn at_host(host: &str) -> Entrance {
        Entrance::Host(Host::parse_config(host).unwrap().into_owned())
    }

    fn found(table: &RouteTable, host: &str, target: &str) -> Option<String> {
        match table.find(&Host::parse_config(host).unwrap(), &path(target)) {
            Destination::Own => None,
            Destination::Route(route) => Some(route.policy.name.to_string()),
        }
    }

    #[test]
    fn r5_the_longest_prefix_wins_by_whole_segments_and_a_host_beats_a_path() {
        let table = RouteTable::new(vec![
            route("short", at_path("/app", true)),
            route("long", at_path("/app/deep", true)),
            route("host", at_host("app.example")),
        ])
        .unwrap();
        for (host, target, expected) in [
            ("box.example", "/app", Some("short")),
            ("box.example", "/app/x", Some("short")),
            ("box.example", "/apple", None),
            ("box.example", "/app/deep/x", Some("long")),
            ("box.example", "/app/deeper", Some("short")),
            ("app.example", "/app/deep/x", Some("host")),
            ("app.example", "/.fallgate/enter", None),
            ("app.example", "/.fallgate", None),
            ("app.example", "/.fallgate;x/enter", None),
            ("app.example", "/.fallgated", Some("host")),
            ("app.example", "/api/tokens", Some("host")),
            ("box.example", "/api/tokens", None),
        ] {
            assert_eq!(found(&table, host, target).as_deref(), expected, "{host}{target}");
        }
    }

    #[test]
    fn routes_do_not_stand_in_each_others_or_in_our_way() {
        let refused = |routes| RouteTable::new(routes).unwrap_err();
        let (one, other) = (at_path("/app", true), at_path("/app", false));
        assert!(matches!(
            refused(vec![route("a", one.clone()), route("b", other)]),
            InvalidRoutes::SameEntrance(..)
        ));
        let hosts = vec![route("a", at_host("x.example")), route("b", at_host("X.example."))];
        assert!(matches!(refused(hosts), InvalidRoutes::SameEntrance(..)));
        assert!(matches!(
            refused(vec![route("a", one), route("a", at_path("/other", true))]),
            InvalidRoutes::SameName(_)
        ));
        for taken in ["/", "/api", "/api/x", "/health", "/.fallgate/x"] {
            let own = refused(vec![route("a", at_path(taken, true))]);
            assert!(matches!(own, InvalidRoutes::OwnPath { .. }), "{taken}");
        }
    }

    #[test]
    fn public_paths_are_relative_to_the_route() {
        let prefixed = route("a", at_path("/app", true));
        assert_eq!(prefixed.public(&path("/app/open/x")), Some(path("/open/x")));
        assert_eq!(prefixed.public(&path("/app/opened")), None);
        assert_eq!(prefixed.public(&path("/open")), None);
        assert_eq!(route("b", at_host("x.example")).public(&path("/open")), Some(path("/open")));
    }
}
