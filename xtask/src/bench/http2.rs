//! Requests a second over HTTP/2 without TLS, with h2load, against nginx.

use super::{
    Options,
    figures::{Figures, Wanted},
    lab::{Lab, placings},
    load::Loader,
};
use crate::workspace::Workspace;

const INLINE: &str = "fallgate inline over HTTP/2, bearer token";
const NGINX: &str = "nginx proxy_pass over HTTP/2, no auth";

pub(super) fn main(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let lab = Lab::open(workspace)?;
    let (placing, _) = placings();
    let running = lab.run(placing)?;
    println!(
        "\n{}; h2load with 8 connections of 8 streams, {} rounds of {} s, taking turns",
        placing.words(),
        options.rounds,
        options.seconds
    );
    let small = "/bench/small";
    let subjects = [running.nginx_http2(NGINX, small), running.fallgate(INLINE, small, &[])];
    let figures = Figures::take(Loader::H2load, &subjects, options, placing.client, &running.site())?;
    figures.judge(&[Wanted { one: INLINE, other: NGINX, at_least: None }], options.check)
}
