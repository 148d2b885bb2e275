//! Routes: where requests come in, where they go, who may. Which one a request is for is found in the `table`.

mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use fallgate_authority::RoutePolicy;
use fallgate_domain::host::Host;
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::secret::HiddenText;

pub(crate) use self::table::Destination;
pub use self::table::{InvalidRoutes, RouteTable};
use crate::wire::dial::Address;
use crate::wire::hygiene::may_inject;
use crate::wire::tls::Trust;

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
