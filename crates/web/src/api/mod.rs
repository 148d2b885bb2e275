//! The HTTP API, by noun.

pub(crate) mod account;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod cuts;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod live;
pub(crate) mod logins;
pub(crate) mod oauth;
pub(crate) mod pairings;
pub(crate) mod setup;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod workers;
