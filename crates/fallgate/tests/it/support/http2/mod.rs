//! HTTP/2 from outside: frame by frame, through a client that keeps the rules, and an upstream that keeps them too.

mod client;
mod frames;
mod upstream;

pub(crate) use client::{Answer, QUIET, Session, more, run, send};
pub(crate) use frames::{Frame, Frames, Outcome, block, frame, headers, settings};
pub(crate) use upstream::Http2Upstream;
