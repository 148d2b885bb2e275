//! How long the gate takes over each of its pages, with 1,000 tokens to list.

use std::{
    io::{Read as _, Write as _},
    time::Instant,
};

use anyhow::{Context, ensure};

use crate::{
    Check,
    gate::{Gate, PASSPHRASE, token},
    latency::{ask, connect},
    rows,
};

const TOKENS: u32 = 1_000;
/// Of each page.
const TIMES: usize = 200;
/// The bound of every page (20-web), in milliseconds.
const AT_MOST: f64 = 5.0;

const PAGES: [&str; 9] = [
    "/",
    "/tokens",
    "/tokens/new",
    "/account",
    "/live",
    "/admin/users",
    "/admin/live",
    "/admin/audit",
    "/admin/routes",
];

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home");
    token(&home, "bench", &[])?;
    rows::fill(&home, 0, TOKENS, None)?;
    let gate = Gate::start(folder.path(), &home, "")?;
    let cookie = signed_in(&gate)?;
    println!("pages: {TOKENS} tokens, each page {TIMES} times, one after the other");
    for page in PAGES {
        let request = format!(
            "GET {page} HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\r\n",
            gate.address
        );
        let mut stream = connect(gate.address)?;
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            let status = ask(&mut stream, request.as_bytes())?;
            ensure!(status == 200, "{status} for {page}");
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_unstable_by(f64::total_cmp);
        let median = took.get(TIMES / 2).context("no samples")?;
        check.at_most(AT_MOST, *median, &format!("{page}, ms until it is whole, median"))?;
    }
    Ok(())
}

/// The cookie of a sign-in.
fn signed_in(gate: &Gate) -> anyhow::Result<String> {
    let mut stream = connect(gate.address)?;
    let body = serde_json::json!({"username": "bench", "passphrase": PASSPHRASE.trim_end()}).to_string();
    stream.write_all(
        format!(
            "POST /api/login HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            gate.address,
            body.len()
        )
        .as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let set = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap_or_default().trim())
    });
    set.map(str::to_owned).with_context(|| format!("no sign-in: {answer}"))
}
