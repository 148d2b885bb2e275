//! The built program, from outside: as a process, over sockets, through its command line.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test that meets the unexpected is to stop, and to say what it saw"
)]

mod access;
mod access_log;
mod advice;
mod agents;
mod assertion;
mod attack;
mod audit;
mod behind;
mod behindhand;
mod browser;
mod canaries;
mod cli;
mod config;
mod cookies;
mod crowd;
mod cutting;
mod departed;
mod described;
mod device_login;
mod differential;
mod doctor;
mod doors;
mod dump;
mod durability;
mod ending;
mod entering;
mod exchange;
mod failing;
mod files;
mod forward_auth;
mod forwarded;
mod framing;
mod guessing;
mod hammer;
mod help;
mod hints;
mod http2;
mod https;
mod identity;
mod internal_token;
mod keys;
mod limits;
mod live;
mod mishaps;
mod moving_in;
mod oauth;
mod old_links;
mod oversize;
mod pairing;
mod policy;
mod proxying;
mod races;
mod readme;
mod reference;
mod reload;
mod remote;
mod revoking;
mod serve;
mod service_manager;
mod setup;
mod signin;
mod spine;
mod startup;
mod support;
mod tls;
mod token_pages;
mod tokens;
mod tunnels;
mod unix_socket;
mod upkeep;
mod upward;
mod users;
mod watching;
mod workers;
