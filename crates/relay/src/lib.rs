//! Moves bytes, never without a lease.
//!
//! The relay owns every socket. It reads HTTP/1.1 itself, strictly, decides through the verifier before anything of a
//! request moves, proxies to upstreams, and hands what is for Fallgate's own doors to them as an HTTP service.

mod crowd;
mod files;
mod gate;
mod ingress;
mod listener;
mod plain_file;
mod reach;
mod seldom;
mod wire;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use files::Files;
pub use gate::{Gate, Limits};
pub use ingress::access::{AccessLog, AccessNote, AccessNotes};
pub use ingress::hosts::Hosts;
pub use ingress::own::Doors;
pub use ingress::proxies::{InvalidProxies, TrustedProxies};
pub use ingress::refuse::{CONTENT_POLICY, PAGE_FIELDS};
pub use ingress::route::{
    Authorization, Entrance, Identity, InvalidRoutes, Paths, Route, RouteTable, Upstream,
};
pub use ingress::settings::{LiveSettings, RefusedConfig, Settings, login_for_own};
pub use listener::{InvalidListenAt, ListenAt, Listener};
pub use plain_file::open_plain;
pub use reach::{Reach, Reaches};
pub use seldom::Seldom;
pub use wire::dial::Address;
pub use wire::tls::{InvalidAuthority, InvalidCertificate, OwnCertificate, Trust};
