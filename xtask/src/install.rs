//! `cargo xtask install`: what the tests need beyond the Rust toolchain: Debian packages, and Python tools.

use std::{
    io::IsTerminal as _,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser};

use crate::{
    npm, python,
    workspace::{Workspace, program, run},
};

const HELP: &str = "\
cargo xtask install [--bench]

Installs what the tests need beyond the Rust toolchain when it is missing. As Debian packages: nginx-light,
caddy, haproxy, chromium and its driver, libnss3-tools, python3, pip, npm, curl, g++ and systemd; with --bench
also wrk and nghttp2-client. From PyPI, into a virtual environment in the build folder: schemathesis, websockets,
grpcio and jupyterlab; from npm, beside it: axe-core. `cargo xtask test` and `bench` do this by themselves. None of the servers is left
running, nor started at the next boot. With all of it there, nothing is asked of the network.";

/// A program that we start or that a build script does, and the Debian package that brings it.
pub(crate) struct Needed {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const NGINX: Needed = Needed {
    program: "nginx",
    package: "nginx-light",
    why: "the proxy that ours is tested and measured against",
};
const CADDY: Needed = Needed {
    program: "caddy",
    package: "caddy",
    why: "asks our forward-auth endpoint in the tests, and is measured against",
};
const HAPROXY: Needed =
    Needed { program: "haproxy", package: "haproxy", why: "a strict upstream of the framing tests" };
const CHROMIUM: Needed =
    Needed { program: "chromium", package: "chromium", why: "the browser that signs in" };
const CHROMEDRIVER: Needed =
    Needed { program: "chromedriver", package: "chromium-driver", why: "lets tests drive the browser" };
const CERTUTIL: Needed = Needed {
    program: "certutil",
    package: "libnss3-tools",
    why: "lets the browser trust the certificates of a test",
};
const PYTHON: Needed = Needed {
    program: "python3",
    package: "python3",
    why: "its web server is an upstream of the tests, and the README's",
};
const PIP: Needed =
    Needed { program: "pip3", package: "python3-pip", why: "gets the Python libraries that tests need" };
const NPM: Needed =
    Needed { program: "npm", package: "npm", why: "gets what looks whether pages are accessible" };
const CURL: Needed = Needed { program: "curl", package: "curl", why: "the README's client" };
const CXX: Needed = Needed { program: "c++", package: "g++", why: "compiles libFuzzer for the fuzz targets" };
const SYSTEMD: Needed = Needed {
    program: "systemd-analyze",
    package: "systemd",
    why: "checks the units in docs/snippets/systemd",
};
const WRK: Needed = Needed { program: "wrk", package: "wrk", why: "makes the load in the benches" };
const H2LOAD: Needed =
    Needed { program: "h2load", package: "nghttp2-client", why: "makes the load in the benches over HTTP/2" };

/// All of it takes about a minute to install where nothing is there yet: most of that is the browser's.
pub(crate) const FOR_TESTS: &[Needed] =
    &[NGINX, CADDY, HAPROXY, CHROMIUM, CHROMEDRIVER, CERTUTIL, PYTHON, PIP, NPM, CURL, CXX, SYSTEMD];
pub(crate) const FOR_FUZZ: &[Needed] = &[CXX];
pub(crate) const FOR_BENCHES: &[Needed] = &[NGINX, CADDY, CURL, WRK, H2LOAD];

pub(crate) fn main(workspace: &Workspace, mut arguments: Parser) -> anyhow::Result<()> {
    let mut bench = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("bench") => bench = true,
            Arg::Short('h') | Arg::Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let benches = if bench { FOR_BENCHES } else { &[] };
    packages(FOR_TESTS.iter().chain(benches))?;
    python::environment(workspace)?;
    npm::packages(workspace)
}

/// Installs those of these that are missing, and says so. Does nothing, offline too, when all are there.
pub(crate) fn packages(needed: impl IntoIterator<Item = &'static Needed>) -> anyhow::Result<()> {
    let mut needed: Vec<_> = needed.into_iter().collect();
    // What two purposes share is said once; it stands in the order of its programs' names then.
    needed.sort_unstable_by_key(|needed| needed.program);
    needed.dedup_by_key(|needed| needed.program);
    let missing: Vec<_> = needed.iter().filter(|needed| program(needed.program).is_none()).collect();
    if missing.is_empty() {
        println!("all there: {}", names(needed.iter().map(|needed| needed.program)));
        return Ok(());
    }
    for Needed { program, package, why } in &missing {
        println!("`{program}` is missing ({why}): installing the Debian package {package}");
    }
    let wanted = names(missing.iter().map(|needed| needed.package));
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {wanted}");
    if program("apt-get").is_none() {
        bail!("no apt-get on this machine: install what Debian calls {wanted} in your system's own way");
    }
    let mut command = as_root(&by_hand)?;
    command.args(["sh", "-c", INSTALL, "install"]).args(missing.iter().map(|needed| needed.package));
    let status = command.status().context("cannot start the installation")?;
    if !status.success() {
        bail!("the installation failed ({status}); run as root: {by_hand}");
    }
    if let Some(still) = missing.iter().find(|needed| program(needed.program).is_none()) {
        bail!("{} is installed, yet there is no `{}` on the path", still.package, still.program);
    }
    Ok(())
}

/// Run as root by `sh`, with the packages as its arguments. The tests start their own servers on free ports:
/// no service may start now (`policy-rc.d`) or at the next boot, unless it was there before.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
new=
for service in nginx caddy haproxy; do
    test -e "/lib/systemd/system/$service.service" || new="$new $service"
done
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
fi
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"
if command -v systemctl > /dev/null; then
    for service in $new; do
        systemctl disable "$service.service" > /dev/null 2>&1 || true
    done
fi
"#;

/// The start of a command that runs as root: nothing before it for root, `sudo` for others.
fn as_root(by_hand: &str) -> anyhow::Result<Command> {
    let user = std::fs::metadata("/proc/self").context("cannot tell which user this is")?.uid();
    let mut command = if user == 0 {
        Command::new("env")
    } else if program("sudo").is_some() {
        Command::new("sudo")
    } else {
        bail!("this needs root, and there is no sudo; run as root: {by_hand}");
    };
    if !std::io::stdin().is_terminal() {
        // Nobody there to type a password: fail at once instead of waiting for one.
        if user != 0 {
            command.arg("-n");
        }
        command.stdin(Stdio::null());
    }
    Ok(command)
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

/// The parts of the toolchain that `cargo xtask test` runs and a minimal installation leaves out.
pub(crate) fn toolchain(workspace: &Workspace) -> anyhow::Result<()> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if answers(workspace, tool) {
            continue;
        }
        println!("`cargo {tool}` is missing: adding {component} to the toolchain");
        if program("rustup").is_none() {
            bail!("`cargo {tool}` is missing, and there is no rustup to add it: install {component}");
        }
        run(Command::new("rustup").args(["component", "add", component]).current_dir(&workspace.root))?;
    }
    if !answers(workspace, "nextest") {
        println!("`cargo nextest` is missing (runs the tests): building it, which takes some minutes");
        run(&mut workspace.cargo(["install", "cargo-nextest", "--locked"]))?;
    }
    Ok(())
}

fn answers(workspace: &Workspace, tool: &str) -> bool {
    workspace
        .cargo([tool, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
