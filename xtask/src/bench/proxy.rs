//! The inline proxy against nginx, our own doors against a bare hyper server.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail};

use super::{
    Options, cores,
    load::{Spread, Subject, load},
    servers::{Gate, Server, free_port, nginx, status},
};
use crate::{
    install,
    workspace::{Workspace, run},
};

/// Ours has to be at least this many times nginx `proxy_pass` without auth.
const INLINE_AT_LEAST: f64 = 0.9;
const SMALL: &[u8] = &[b'.'; 512];

const NGINX: &str = "nginx proxy_pass, no auth";
const INLINE: &str = "fallgate inline, bearer token";
const HYPER: &str = "bare hyper, empty 200";
const DOOR: &str = "fallgate /api/version";

pub(super) fn main(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    install::packages(install::FOR_BENCHES)?;
    run(&mut workspace.cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "fallgate",
        "--bin",
        "fallgate",
        "--example",
        "bare_hyper",
    ]))?;
    let folder = tempfile::tempdir()?;
    let built = workspace.target.join("release");
    let gate = Gate::new(built.join("fallgate"), folder.path());
    let token = gate.token();
    if let Err(error) = &token {
        println!("fallgate is not measured: {error:#}");
    }
    let lab = Lab { folder: folder.path(), hyper: &built.join("examples/bare_hyper"), gate: &gate };
    let token_of = || token.as_ref().ok().map(String::as_str);

    let (server, client) = if cores() > 1 { (Some(0), Some(1)) } else { (None, None) };
    match server {
        Some(_) => println!("\nservers and upstream on CPU 0, load on CPU 1; {}", rounds(options)),
        None => println!("\none core, shared by all; {}", rounds(options)),
    }
    let figures = lab.measure(options, Placing { server, client, workers: 1 }, token_of())?;
    let inline = figures.compare(INLINE, NGINX);
    figures.compare(DOOR, HYPER);

    if cores() > 1 {
        println!("\nall on any core, nginx with two workers; {}", rounds(options));
        let placing = Placing { server: None, client: None, workers: 2 };
        lab.measure(options, placing, token_of())?.compare(INLINE, NGINX);
    }
    token.context("fallgate could not be measured")?;
    match inline {
        Some(ratio) if options.check && ratio < INLINE_AT_LEAST => {
            bail!("inline proxy: {ratio:.2} x nginx, at least {INLINE_AT_LEAST:.2} is wanted")
        }
        _ => Ok(()),
    }
}

fn rounds(options: &Options) -> String {
    format!("wrk with 32 connections, {} rounds of {} s, taking turns", options.rounds, options.seconds)
}

/// Where the servers run, where the load, and how many workers each nginx has.
#[derive(Clone, Copy)]
struct Placing {
    server: Option<u32>,
    client: Option<u32>,
    workers: u32,
}

struct Lab<'a> {
    folder: &'a Path,
    hyper: &'a Path,
    gate: &'a Gate,
}

impl Lab<'_> {
    /// Starts everything, lets each have its turns, ends everything. Without a token ours is left out.
    fn measure(&self, options: &Options, placing: Placing, token: Option<&str>) -> anyhow::Result<Figures> {
        let start = |name: &str, command: &Command, port: u16, path: &str| {
            Server::start(name, command, (port, path), placing.server, self.folder)
        };
        let site = self.folder.join("site");
        fs::create_dir_all(&site)?;
        fs::write(site.join("small"), SMALL)?;

        let port = free_port()?;
        let upstream = format!("server {{ listen 127.0.0.1:{port}; root {}; }}", site.display());
        let upstream = nginx(&self.folder.join("upstream"), placing.workers, &upstream)?;
        let upstream = start("upstream", &upstream, port, "/small")?;

        let port = free_port()?;
        let proxy = format!(
            "upstream app {{ server 127.0.0.1:{}; keepalive 64; keepalive_requests 1000000000; }}
            server {{ listen 127.0.0.1:{port}; location /bench/ {{
                proxy_pass http://app/; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}",
            upstream.port
        );
        let proxy = nginx(&self.folder.join("proxy"), placing.workers, &proxy)?;
        let proxy = start("nginx", &proxy, port, "/bench/small")?;

        let port = free_port()?;
        let hyper = start("bare_hyper", Command::new(self.hyper).arg(port.to_string()), port, "/")?;

        let subject = |name, port: u16, path: &str, bearer: Option<&str>| Subject {
            name,
            url: format!("http://127.0.0.1:{port}{path}"),
            bearer: bearer.map(str::to_owned),
        };
        let mut subjects =
            vec![subject(NGINX, proxy.port, "/bench/small", None), subject(HYPER, hyper.port, "/", None)];
        let mut gate = None;
        if let Some(token) = token {
            let port = free_port()?;
            gate = Some(start("fallgate", &self.gate.serve(port, upstream.port)?, port, "/health")?);
            let answer = status(port, "/bench/small", Some(token))?;
            if answer != 200 {
                bail!("fallgate answers {answer} where the upstream's file should come");
            }
            subjects.insert(1, subject(INLINE, port, "/bench/small", Some(token)));
            subjects.push(subject(DOOR, port, "/api/version", None));
        }
        let figures = Figures::take(&subjects, options, placing.client);
        drop((gate, hyper, proxy, upstream));
        figures
    }
}

/// Requests per second by subject, one for each round.
struct Figures(Vec<(&'static str, Vec<f64>)>);

impl Figures {
    fn take(subjects: &[Subject], options: &Options, processor: Option<u32>) -> anyhow::Result<Self> {
        let mut figures: Vec<_> = subjects.iter().map(|subject| (subject.name, Vec::new())).collect();
        for subject in subjects {
            load(subject, 1, processor)?; // connections, caches, pools: not counted
        }
        for _ in 0..options.rounds {
            for (subject, (_, taken)) in subjects.iter().zip(&mut figures) {
                taken.push(load(subject, options.seconds, processor)?);
            }
        }
        for (name, taken) in &figures {
            if let Some(Spread { median, least, greatest }) = Spread::of(taken) {
                println!("  {name:<30} {median:>8.0} req/s   ({least:.0} to {greatest:.0})");
            }
        }
        Ok(Self(figures))
    }

    /// Prints and returns the median, over the rounds, of one's rate by the other's in the same round.
    fn compare(&self, one: &str, other: &str) -> Option<f64> {
        let of = |wanted| self.0.iter().find(|(name, _)| *name == wanted).map(|(_, taken)| taken);
        let ratios: Vec<_> = of(one)?.iter().zip(of(other)?).map(|(one, other)| one / other).collect();
        let Spread { median, least, greatest } = Spread::of(&ratios)?;
        println!("  {one} : {other} = {median:.2}   ({least:.2} to {greatest:.2})");
        Some(median)
    }
}
