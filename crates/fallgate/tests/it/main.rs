//! The built program, from outside: as a process, over sockets, through its command line.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test that meets the unexpected is to stop, and to say what it saw"
)]

mod audit;
mod canaries;
mod cli;
mod config;
mod described;
mod differential;
mod doors;
mod dump;
mod durability;
mod framing;
mod identity;
mod oversize;
mod proxying;
mod races;
mod readme;
mod revoking;
mod serve;
mod signin;
mod spine;
mod startup;
mod support;
mod tokens;
mod users;
