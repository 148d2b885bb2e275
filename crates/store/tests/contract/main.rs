//! What every store does, whichever database is inside. One suite: another database joins in [`support::backend`].
//!
//! What only a file can do (be truncated, be replaced, be another program's) is in `files`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected is to stop")]

mod accounts;
mod agents;
mod audit;
mod authors;
mod changes;
mod concurrency;
mod coverage;
mod credentials;
mod cuts;
mod files;
mod imports;
mod internal;
mod keys;
mod logins;
mod support;
mod tokens;
mod upkeep;
mod users;
mod workers;
