//! The words of Fallgate and its pure decisions.
//!
//! Nothing here does I/O, waits, or asks for the time by itself: time and randomness come in through
//! [`clock::Clock`] and [`entropy::Entropy`]. Every other crate may use these words; this one uses no other.

pub mod agent;
pub mod audit;
pub mod clock;
pub mod credential;
pub mod cut;
pub mod entropy;
pub mod hex;
pub mod host;
pub mod id;
pub mod internal;
pub mod legacy;
pub mod lifetime;
pub mod live;
pub mod name;
pub mod origin;
pub mod pairing;
pub mod path;
pub mod problem;
pub mod return_to;
pub mod root_key;
pub mod route;
pub mod scope;
pub mod secret;
pub mod setup;
mod text;
pub mod token;
pub mod user;
pub mod user_code;
pub mod worker;
