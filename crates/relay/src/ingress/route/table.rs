//! Every route there is, as requests are matched with them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fallgate_authority::{RoutePolicy, Successor};
use fallgate_domain::host::Host;
use fallgate_domain::path::CanonicalPath;

use super::{Entrance, Paths, Route};

/// The first path segments that are ours on our own hosts. No `path` route may take one of them.
const OWN_SEGMENTS: [&str; 19] = [
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
