//! What an idle WebSocket costs the daemon.

use futures_util::future::try_join_all;

use crate::{
    Check,
    gate::{Gate, token},
    tunnels::{AT_ONCE, Socket, echo_upstream, enough_files, open, route_to, runtime},
};

const SOCKETS: usize = 5_000;

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    enough_files(SOCKETS)?;
    let folder = tempfile::tempdir()?;
    let upstream = echo_upstream()?;
    let home = folder.path().join("home");
    let (_, secret) = token(&home, "bench", &[])?;
    let limits = "[limits]\nconnections_per_network = 10000\n";
    let gate = Gate::start(folder.path(), &home, &format!("{limits}{}", route_to(upstream)))?;
    let runtime = runtime()?;
    let mut sockets: Vec<Socket> = Vec::with_capacity(SOCKETS);
    // What the first ones need is the daemon's, not theirs.
    sockets.extend(runtime.block_on(try_join_all((0..AT_ONCE).map(|_| open(gate.address, &secret))))?);
    let (before, _) = gate.memory()?;
    while sockets.len() < SOCKETS + AT_ONCE {
        let more = try_join_all((0..AT_ONCE).map(|_| open(gate.address, &secret)));
        sockets.extend(runtime.block_on(more)?);
    }
    let (after, _) = gate.memory()?;
    println!("websockets: {SOCKETS} idle ones, each after one echo");
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let each = (after - before) * 1e6 / 1024.0 / SOCKETS as f64;
    check.at_most(20.0, each, "memory of the daemon for each, KiB")
}
