//! What every store does, whichever database is inside. One suite: another database joins in [`support::backend`].
//!
//! What only a file can do (be truncated, be replaced, be another program's) is in `files`.

mod audit;
mod changes;
mod concurrency;
mod coverage;
mod credentials;
mod files;
mod support;
mod users;
