//! Requests a second, with wrk: the inline proxy and the forward-auth decision against what others do.

use super::{
    Options,
    figures::{Figures, Wanted},
    lab::{Lab, Placing, placings},
    load::Loader,
};
use crate::workspace::Workspace;

const INLINE: &str = "fallgate inline, bearer token";
const NGINX: &str = "nginx proxy_pass, no auth";
const NGINX_ASKING: &str = "nginx auth_request to bare hyper";
const CADDY: &str = "Caddy forward_auth to bare hyper";
const DECISION: &str = "fallgate /auth/nginx, bearer token";
const DOOR: &str = "fallgate /api/version";
const HYPER: &str = "bare hyper, empty 200";

/// What nginx tells of a request when it asks.
const ASKED: [&str; 2] = ["X-Original-Method: GET", "X-Original-URL: http://127.0.0.1/bench/small"];

pub(super) fn main(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let lab = Lab::open(workspace)?;
    let (side_by_side, free) = placings();
    println!("\n{}; {}", side_by_side.words(), rounds(options));
    let figures = measure(&lab, options, side_by_side)?;
    figures.judge(
        &[
            Wanted { one: INLINE, other: NGINX, at_least: Some(1.0) },
            Wanted { one: INLINE, other: NGINX_ASKING, at_least: Some(1.5) },
            Wanted { one: INLINE, other: CADDY, at_least: Some(4.0) },
            Wanted { one: DECISION, other: HYPER, at_least: Some(0.75) },
            Wanted { one: DOOR, other: HYPER, at_least: None },
        ],
        options.check,
    )?;
    if let Some(free) = free {
        println!("\n{}; {}", free.words(), rounds(options));
        let wanted = [Wanted { one: INLINE, other: NGINX, at_least: None }];
        measure(&lab, options, free)?.judge(&wanted, options.check)?;
    }
    Ok(())
}

fn rounds(options: &Options) -> String {
    format!("wrk with 32 connections, {} rounds of {} s, taking turns", options.rounds, options.seconds)
}

fn measure(lab: &Lab, options: &Options, placing: Placing) -> anyhow::Result<Figures> {
    let running = lab.run(placing)?;
    let small = "/bench/small";
    let subjects = [
        running.nginx(NGINX, small),
        running.fallgate(INLINE, small, &[]),
        running.nginx_asking(NGINX_ASKING, small),
        running.caddy(CADDY, small),
        running.hyper(HYPER),
        running.fallgate(DECISION, "/auth/nginx", &ASKED),
        running.fallgate(DOOR, "/api/version", &[]),
    ];
    Figures::take(Loader::Wrk, &subjects, options, placing.client, &running.site())
}
