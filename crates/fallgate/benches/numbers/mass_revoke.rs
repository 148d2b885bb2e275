//! All of 100,000 tokens revoked in one act, by another process and over the API, while others' requests go on
//! (requirement R35).

use std::path::Path;

use anyhow::ensure;

use crate::{
    Check,
    gate::{Gate, cli, token},
    latency::{ask, connect, slower_during},
    rows,
};

const TOKENS: u32 = 100_000;

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    let (_, secret) = token(&home, "bench", &["--scope", "admin"])?;
    rows::fill(&home, 0, TOKENS, Some("first"))?;
    rows::fill(&home, TOKENS, TOKENS, Some("second"))?;
    let gate = Gate::start(folder.path(), &home, "")?;
    println!("mass-revoke: {TOKENS} tokens of one owner");
    let by_command = slower_during(&gate, &secret, || by_command(&home))?;
    let over_the_api = slower_during(&gate, &secret, || over_the_api(&gate, &secret))?;
    check.at_most(2.0, by_command, "p99 of requests during a command, by that of idle")?;
    check.at_most(2.0, over_the_api, "p99 of requests during the API's act, by that of idle")
}

fn by_command(home: &Path) -> anyhow::Result<()> {
    cli(home, &["token", "revoke", "--all", "--user", "first", "--yes"], "").map(drop)
}

fn over_the_api(gate: &Gate, secret: &str) -> anyhow::Result<()> {
    let mut stream = connect(gate.address)?;
    let request = format!(
        "DELETE /api/tokens?username=second HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\n\r\n",
        gate.address
    );
    let status = ask(&mut stream, request.as_bytes())?;
    ensure!(status == 200, "{status} for a mass revocation");
    Ok(())
}
