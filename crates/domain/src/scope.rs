//! Scopes: what a credential may be used for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::route::{InvalidRouteName, RouteName};
use crate::user::Role;

/// One thing a credential may be used for. Each API operation and each route names exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One of the fixed scopes.
    Plain(PlainScope),
    /// `route:<name>`: this one route.
    Route(RouteName),
}

/// The fixed scopes. The order is the order in which lists show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PlainScope {
    /// Read who one is, and one's own tokens.
    IdentityRead,
    /// Mint, rename and revoke tokens.
    TokensWrite,
    /// Use every route its owner may use.
    RoutesUse,
    /// See sessions.
    SessionsRead,
    /// Attach to sessions.
    SessionsAttach,
    /// Start and end sessions.
    SessionsWrite,
    /// Manage agents.
    AgentsWrite,
    /// See live connections.
    LiveRead,
    /// Cut and lift.
    Cut,
    /// Ask about other people's credentials (RFC 7662). Only an admin can mint it, also for a plain user.
    Introspect,
    /// Everything. Only an admin can mint it.
    Admin,
}

impl PlainScope {
    /// Every fixed scope, in order.
    pub const ALL: [Self; 11] = [
        Self::IdentityRead,
        Self::TokensWrite,
        Self::RoutesUse,
        Self::SessionsRead,
        Self::SessionsAttach,
        Self::SessionsWrite,
        Self::AgentsWrite,
        Self::LiveRead,
        Self::Cut,
        Self::Introspect,
        Self::Admin,
    ];

    /// As written on the wire, such as `tokens:write`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdentityRead => "identity:read",
            Self::TokensWrite => "tokens:write",
            Self::RoutesUse => "routes:use",
            Self::SessionsRead => "sessions:read",
            Self::SessionsAttach => "sessions:attach",
            Self::SessionsWrite => "sessions:write",
            Self::AgentsWrite => "agents:write",
            Self::LiveRead => "live:read",
            Self::Cut => "cut",
            Self::Introspect => "introspect",
            Self::Admin => "admin",
        }
    }

    /// In a few plain words, as lists of people's tokens say it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::IdentityRead => "Read the account",
            Self::TokensWrite => "Manage tokens",
            Self::RoutesUse => "Use all routes",
            Self::SessionsRead => "See sessions",
            Self::SessionsAttach => "Attach to sessions",
            Self::SessionsWrite => "Start and end sessions",
            Self::AgentsWrite => "Manage agents",
            Self::LiveRead => "See live connections",
            Self::Cut => "Cut and lift",
            Self::Introspect => "Check credentials",
            Self::Admin => "Everything",
        }
    }

    /// What it lets its holder do, in a sentence.
    pub const fn says(self) -> &'static str {
        match self {
            Self::IdentityRead => "Tells whose it is, and lists the owner's tokens.",
            Self::TokensWrite => "Makes, renames and revokes the owner's tokens.",
            Self::RoutesUse => "Reaches every service behind the gate that the owner may use.",
            Self::SessionsRead => "Lists the owner's sessions.",
            Self::SessionsAttach => "Types into the owner's sessions, and reads along.",
            Self::SessionsWrite => "Starts the owner's sessions, and ends them.",
            Self::AgentsWrite => "Makes the owner's agents, changes and stops them.",
            Self::LiveRead => "Lists the owner's connections that are open now.",
            Self::Cut => "Stops the owner or one of their credentials, and lets them go on.",
            Self::Introspect => "Asks whether other people's credentials are good.",
            Self::Admin => "Whatever an admin may do, for everybody. As good as an admin's passphrase.",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// A text that is no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidScope {
    /// None of the fixed scopes, and not `route:<name>`.
    #[error(
        "no such scope: {0:?} (there are identity:read, tokens:write, routes:use, route:<name>, sessions:read, sessions:attach, sessions:write, agents:write, live:read, cut, introspect and admin)"
    )]
    Unknown(String),
    /// `route:` with something that cannot be a route's name.
    #[error(transparent)]
    Route(#[from] InvalidRouteName),
    /// More routes than one credential may name.
    #[error("a credential names at most {} routes", Scopes::MAX_ROUTES)]
    TooMany,
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if let Some(route) = text.strip_prefix("route:") {
            return Ok(Self::Route(route.parse()?));
        }
        PlainScope::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .map(Self::Plain)
            .ok_or_else(|| InvalidScope::Unknown(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(scope) => f.write_str(scope.name()),
            Self::Route(name) => write!(f, "route:{name}"),
        }
    }
}

impl From<PlainScope> for Scope {
    fn from(scope: PlainScope) -> Self {
        Self::Plain(scope)
    }
}

/// A set of scopes, small enough to lie in memory a million times.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    plain: u16,
    /// Sorted, without repetition.
    routes: Box<[RouteName]>,
}

impl Scopes {
    /// How many routes one credential may name.
    pub const MAX_ROUTES: usize = 64;

    /// No scope at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// What a mint without scopes gets.
    pub fn default_for_tokens() -> Self {
        use PlainScope::{IdentityRead, RoutesUse, SessionsAttach, SessionsRead, SessionsWrite};
        Self::plain([IdentityRead, RoutesUse, SessionsRead, SessionsAttach, SessionsWrite])
    }

    /// A set of fixed scopes.
    pub fn plain(scopes: impl IntoIterator<Item = PlainScope>) -> Self {
        let plain = scopes.into_iter().fold(0, |bits, scope| bits | scope.bit());
        Self { plain, routes: Box::default() }
    }

    /// A set of any scopes; repetition does no harm.
    pub fn collect(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, InvalidScope> {
        let mut plain = 0;
        let mut routes = Vec::new();
        for scope in scopes {
            match scope {
                Scope::Plain(scope) => plain |= scope.bit(),
                Scope::Route(name) => routes.push(name),
            }
        }
        routes.sort();
        routes.dedup();
        if routes.len() > Self::MAX_ROUTES {
            return Err(InvalidScope::TooMany);
        }
        Ok(Self { plain, routes: routes.into() })
    }

    /// Reads the store's and the command line's form: scopes separated by single blanks.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let scopes: Vec<Scope> =
            text.split(' ').filter(|word| !word.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        Self::collect(scopes)
    }

    /// Every scope that a role may use now. A credential's own scopes count only within it, so a demoted admin's
    /// tokens shrink at once.
    pub fn ceiling(role: Role) -> Self {
        match role {
            Role::Admin => Self::plain(PlainScope::ALL),
            Role::User => Self::plain(
                PlainScope::ALL
                    .into_iter()
                    .filter(|scope| !matches!(scope, PlainScope::Introspect | PlainScope::Admin)),
            ),
        }
    }

    /// The same with what an admin, or whoever has access to the home folder, can give somebody of that role with a single
    /// credential: `introspect`, for the service account of a route. `admin` is not to be had so.
    pub fn grantable(role: Role) -> Self {
        match role {
            Role::Admin => Self::ceiling(role),
            Role::User => {
                Self::plain(PlainScope::ALL.into_iter().filter(|scope| *scope != PlainScope::Admin))
            }
        }
    }

    /// Whether there is no scope in it.
    pub fn is_empty(&self) -> bool {
        self.plain == 0 && self.routes.is_empty()
    }

    /// Whether the set satisfies `scope`: it has it, or `admin`; any route is covered by `routes:use`.
    pub fn allow(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Plain(scope) => self.has(*scope) || self.has(PlainScope::Admin),
            Scope::Route(name) => {
                self.has(PlainScope::RoutesUse)
                    || self.has(PlainScope::Admin)
                    || self.routes.binary_search(name).is_ok()
            }
        }
    }

    /// The first of these scopes that the set does not satisfy, if any (requirement R27: child within parent).
    pub fn first_beyond(&self, wanted: &Self) -> Option<Scope> {
        wanted.iter().find(|scope| !self.allow(scope))
    }

    /// What both sets satisfy. Used for defaults that are cut down to fit a parent, and for a role's ceiling.
    #[must_use]
    pub fn within(&self, limit: &Self) -> Self {
        let all = u16::MAX;
        let mine = if self.has(PlainScope::Admin) { all } else { self.plain };
        let theirs = if limit.has(PlainScope::Admin) { all } else { limit.plain };
        let mut plain = mine & theirs;
        if !(self.has(PlainScope::Admin) && limit.has(PlainScope::Admin)) {
            plain &= !PlainScope::Admin.bit();
        }
        plain &= Self::plain(PlainScope::ALL).plain;
        let routes = [(self, limit), (limit, self)]
            .into_iter()
            .flat_map(|(of, other)| {
                of.routes.iter().filter(|name| other.allow(&Scope::Route((*name).clone()))).cloned()
            })
            .collect::<std::collections::BTreeSet<_>>();
        // `routes:use` covers them all already.
        let routes = if plain & PlainScope::RoutesUse.bit() == 0 {
            routes.into_iter().collect()
        } else {
            Box::default()
        };
        Self { plain, routes }
    }

    /// The scopes, fixed ones first.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        let plain = PlainScope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::Plain);
        plain.chain(self.routes.iter().cloned().map(Scope::Route))
    }

    fn has(&self, scope: PlainScope) -> bool {
        self.plain & scope.bit() != 0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|scope| scope.to_string()))
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let scopes: Vec<Scope> =
            words.iter().map(|word| word.parse()).collect::<Result<_, _>>().map_err(de::Error::custom)?;
        Self::collect(scopes).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            proptest::sample::select(PlainScope::ALL.to_vec()).prop_map(Scope::Plain),
            "[ab]".prop_map(|name| Scope::Route(name.parse().unwrap())),
        ]
    }

    fn scopes() -> impl Strategy<Value = Scopes> {
        proptest::collection::vec(scope(), 0..6).prop_map(|list| Scopes::collect(list).unwrap())
    }

    proptest! {
        #[test]
        fn r27_what_fits_within_a_limit_allows_nothing_that_either_refuses(a in scopes(), b in scopes(), s in scope()) {
            let both = a.within(&b);
            prop_assert_eq!(both.allow(&s), a.allow(&s) && b.allow(&s), "{:?} within {:?} is {:?}, asked {}", a, b, both, s);
            prop_assert_eq!(b.first_beyond(&both), None);
        }

        #[test]
        fn scopes_survive_being_written(a in scopes()) {
            prop_assert_eq!(Scopes::parse(&a.to_string()), Ok(a.clone()));
            let json = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), a);
        }
    }

    #[test]
    fn of_what_a_role_does_not_have_introspect_alone_can_be_granted() {
        let (ceiling, grantable) = (Scopes::ceiling(Role::User), Scopes::grantable(Role::User));
        let more: Vec<_> = grantable.iter().filter(|scope| !ceiling.allow(scope)).collect();
        assert_eq!(more, [PlainScope::Introspect.into()]);
        assert_eq!(ceiling.first_beyond(&grantable), Some(PlainScope::Introspect.into()));
        assert_eq!(grantable.first_beyond(&ceiling), None);
        assert_eq!(Scopes::grantable(Role::Admin), Scopes::ceiling(Role::Admin));
    }

    #[test]
    fn a_users_ceiling_has_neither_admin_nor_introspect() {
        let shrunk = Scopes::plain([PlainScope::Admin]).within(&Scopes::ceiling(Role::User));
        assert!(!shrunk.allow(&PlainScope::Admin.into()));
        assert!(!shrunk.allow(&PlainScope::Introspect.into()));
        assert!(shrunk.allow(&PlainScope::IdentityRead.into()));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in ["identity", "route:", "route:a b", "admin,cut", "ADMIN"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
