//! The front gate: what comes in, where it goes, and what the caller must be allowed to do for it.

pub(crate) mod access;
pub(crate) mod connection;
mod decide;
mod forward;
mod forward_auth;
pub(crate) mod hosts;
pub(crate) mod http2;
pub(crate) mod own;
pub(crate) mod proxies;
pub(crate) mod refuse;
pub(crate) mod route;
pub(crate) mod settings;
