//! A gigabyte down and a gigabyte up through the inline proxy, with curl, against nginx.

use super::{
    Options,
    figures::{Figures, Wanted},
    lab::{LARGE_FILE, Lab, placings},
    load::Loader,
};
use crate::workspace::Workspace;

const INLINE: &str = "fallgate inline, bearer token";
const NGINX: &str = "nginx proxy_pass, no auth";
const AT_LEAST: f64 = 0.9;

pub(super) fn main(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let lab = Lab::open(workspace)?;
    let (placing, _) = placings();
    let running = lab.run(placing)?;
    let wanted = [Wanted { one: INLINE, other: NGINX, at_least: Some(AT_LEAST) }];
    let mut outcome = Ok(());
    for (loader, path, way) in
        [(Loader::Download, "/bench/large", "down"), (Loader::Upload(LARGE_FILE), "/sink/large", "up")]
    {
        println!("\n1 GiB {way}; {}; {} rounds, taking turns", placing.words(), options.rounds);
        let subjects = [running.nginx(NGINX, path), running.fallgate(INLINE, path, &[])];
        let figures = Figures::take(loader, &subjects, options, placing.client, &running.site())?;
        outcome = outcome.and(figures.judge(&wanted, options.check));
    }
    outcome
}
