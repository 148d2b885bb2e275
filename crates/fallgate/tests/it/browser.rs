//! A real browser at the gate: Chromium signs in and out as people do.

mod device;
mod first_run;
mod hosts;
mod jupyter;
mod live;
mod pairing;
mod tokens;
mod tour;
