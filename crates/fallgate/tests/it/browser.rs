//! A real browser at the gate: Chromium signs in and out as people do.

mod hosts;
mod jupyter;
mod pairing;
