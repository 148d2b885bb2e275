//! How long after each way of ending something the last of 1,000 tunnels (each a WebSocket) that rest on it is closed: from
//! the answer of the gate's API, or from the exit of a command in another process.
//!
//! The gate is one process, the command another, clients and upstream are here.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fallgate_domain::clock::{Clock as _, SystemClock};
use futures_util::{StreamExt as _, future::try_join_all};
use serde_json::{Value, json};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Check,
    gate::{Gate, cli, token},
    latency::connect,
    rows, stalled,
    tunnels::{AT_ONCE, PATIENCE, Socket, echo_upstream, enough_files, open, route_to, runtime},
};

const SOCKETS: u32 = 1000;
/// Within how many milliseconds all must be closed.
const WANTED: f64 = 250.0;
/// How many renewals a family has: so many are let through at once.
const FAMILY: u32 = 50;
const RENEW: &str = "/api/workers/renew";
const ENDED: u16 = 4401;
const CUT: u16 = 4403;
/// A token that is given an end gets it after that: by then whoever gave it is done.
const SOON: Duration = Duration::from_secs(1);

/// On what the sockets rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    OneToken,
    /// As many tokens of one user.
    TokenEach,
    /// Worker tokens, each renewed from the one before.
    OneFamily,
    /// As many worker tokens, minted by one token.
    WorkerEach,
}
use On::{OneFamily, OneToken, TokenEach, WorkerEach};

impl On {
    const fn name(self) -> &'static str {
        match self {
            OneToken => "one token",
            TokenEach => "a token each",
            OneFamily => "worker tokens of one family",
            WorkerEach => "a worker token each",
        }
    }
}

/// How something is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Api,
    Command,
}

/// What is ended, of a user with as many tokens as there are sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ender {
    Revoke,
    RevokeAll,
    Disable,
    Delete,
    Demote,
    Expire,
    CutCredential,
    CutUser,
    CutRoute,
    CutEverything,
    /// By a config that is read again: always a command.
    RouteGone,
    RouteChanged,
    AllowNarrowed,
}

const ENDERS: [(Ender, &[On], &[By]); 13] = [
    // Of worker tokens: any of the family by its `jti`, or the one that minted them all.
    (Ender::Revoke, &[OneToken, OneFamily, WorkerEach], &[By::Command, By::Api]),
    (Ender::RevokeAll, &[TokenEach, WorkerEach], &[By::Command, By::Api]),
    (Ender::Disable, &[OneToken, TokenEach], &[By::Command, By::Api]),
    (Ender::Delete, &[OneToken, TokenEach], &[By::Command, By::Api]),
    (Ender::Demote, &[OneToken, TokenEach], &[By::Command, By::Api]),
    (Ender::Expire, &[OneToken], &[By::Command, By::Api]),
    (Ender::CutCredential, &[OneToken], &[By::Command, By::Api]),
    (Ender::CutUser, &[OneToken, TokenEach], &[By::Command, By::Api]),
    (Ender::CutRoute, &[TokenEach], &[By::Command, By::Api]),
    (Ender::CutEverything, &[TokenEach], &[By::Command, By::Api]),
    (Ender::RouteGone, &[TokenEach], &[By::Command]),
    (Ender::RouteChanged, &[TokenEach], &[By::Command]),
    (Ender::AllowNarrowed, &[TokenEach], &[By::Command]),
];

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    enough_files(SOCKETS as usize)?;
    let scene = Scene::set()?;
    let runtime = runtime()?;
    println!(
        "cut: {SOCKETS} WebSockets; ms until the last is closed, from the exit of a command or the API's answer"
    );
    let mut missed = Ok(());
    for (number, (ender, on, by)) in (0..).zip(rounds()) {
        let victim = Victim::of(number);
        let after = runtime.block_on(scene.measure(ender, on, by, &victim))?;
        let on = on.name();
        let by = if by == By::Api { "API" } else { "command" };
        missed = missed.and(check.at_most(WANTED, after, &format!("{ender:?} by {by}, {on}")));
    }
    drop(scene);
    missed.and(stalled::main(check))
}

fn rounds() -> impl Iterator<Item = (Ender, On, By)> {
    ENDERS.iter().flat_map(|(ender, ons, bys)| {
        ons.iter().flat_map(move |on| bys.iter().map(move |by| (*ender, *on, *by)))
    })
}

/// A user of one round, with as many tokens as there are sockets.
struct Victim {
    name: String,
    /// The number of the first of their tokens.
    first: u32,
}

impl Victim {
    fn of(round: u32) -> Self {
        Self { name: format!("victim-{round}"), first: round * SOCKETS }
    }
}

/// What sockets are opened with, a secret for each, and the id of the credential that ends them all.
struct Held {
    secrets: Vec<String>,
    ended_by: String,
}

/// A gate, and one user for each round.
struct Scene {
    folder: tempfile::TempDir,
    home: PathBuf,
    upstream: SocketAddr,
    gate: Gate,
    /// An admin's.
    secret: String,
}

impl Scene {
    fn set() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("home");
        let upstream = echo_upstream()?;
        let (_, secret) = token(&home, "bench", &["--scope", "admin"])?;
        for (round, (ender, on, _)) in (0..).zip(rounds()) {
            let victim = Victim::of(round);
            let tokens = if matches!(on, OneToken | TokenEach) { SOCKETS } else { 1 };
            rows::fill(&home, victim.first, tokens, Some(&victim.name))?;
            if ender == Ender::Demote {
                cli(&home, &["user", "set-role", &victim.name, "admin"], "")?;
            }
        }
        let gate = Gate::start(folder.path(), &home, &route_to(upstream))?;
        Ok(Self { folder, home, upstream, gate, secret })
    }

    /// Milliseconds until the last is closed; negative when all were closed before.
    async fn measure(&self, ender: Ender, on: On, by: By, victim: &Victim) -> anyhow::Result<f64> {
        let allow = if ender == Ender::Demote { "allow = [\"role:admin\"]\n" } else { "" };
        self.reload(&format!("{}{allow}", route_to(self.upstream)))?;
        let held = self.held(on, victim)?;
        let mut sockets = Vec::new();
        for secrets in held.secrets.chunks(AT_ONCE) {
            let opened = secrets.iter().map(|secret| open(self.gate.address, secret));
            sockets.extend(try_join_all(opened).await?);
        }
        let mut closes = JoinSet::new();
        for socket in sockets {
            closes.spawn(closed(socket));
        }
        let act = self.act(ender, by, victim, &held.ended_by)?;
        let done = spawn_blocking(act).await??;
        let all = timeout(PATIENCE, closes.join_all()).await;
        let all = all.with_context(|| format!("sockets still open {} s later", PATIENCE.as_secs()))?;
        let is_cut =
            matches!(ender, Ender::CutCredential | Ender::CutUser | Ender::CutRoute | Ender::CutEverything);
        let code = if is_cut { CUT } else { ENDED };
        let told = all.iter().filter(|(_, told)| *told == Some(code)).count();
        ensure!(told == all.len(), "{ender:?}: only {told} of {SOCKETS} sockets were told {code}");
        if is_cut {
            self.lift()?;
        }
        let last = all.iter().map(|(when, _)| *when).max().context("no sockets")?;
        Ok((last.saturating_duration_since(done).as_secs_f64()
            - done.saturating_duration_since(last).as_secs_f64())
            * 1e3)
    }

    /// What the sockets of a round are opened with.
    fn held(&self, on: On, victim: &Victim) -> anyhow::Result<Held> {
        let of = |number| rows::secret(number).expose().to_owned();
        let all = victim.first..victim.first + SOCKETS;
        let secrets = match on {
            OneToken => all.map(|_| of(victim.first)).collect(),
            TokenEach => all.map(of).collect(),
            OneFamily | WorkerEach => return self.workers(on, victim),
        };
        Ok(Held { secrets, ended_by: rows::id(victim.first).to_string() })
    }

    fn workers(&self, on: On, victim: &Victim) -> anyhow::Result<Held> {
        let name = &victim.name;
        let scopes = ["--scope", "agents:write", "--scope", "routes:use", "--json"];
        let minter = cli(&self.home, &[&["token", "create", "--username", name][..], &scopes].concat(), "")?;
        let minter = serde_json::from_str(&minter)?;
        let mint = |secret: &str, path: &str| -> anyhow::Result<Value> {
            let order = json!({"scopes": ["routes:use"], "audience": ["fallgate", "route:bench"]});
            let body = if path == RENEW { Value::Null } else { order };
            Ok(serde_json::from_str(&api(self.gate.address, secret, "POST", path, &body)?)?)
        };
        let minting = format!("/api/agents/{name}/tokens");
        let mut newest = mint(text(&minter, "secret")?, &minting)?;
        let mut secrets = vec![text(&newest, "secret")?.to_owned()];
        for _ in 1..if on == OneFamily { FAMILY } else { SOCKETS } {
            newest = match on {
                OneFamily => mint(text(&newest, "secret")?, RENEW)?,
                _ => mint(text(&minter, "secret")?, &minting)?,
            };
            secrets.push(text(&newest, "secret")?.to_owned());
        }
        let secrets = secrets.into_iter().cycle().take(SOCKETS as usize).collect();
        let ended_by = text(if on == OneFamily { &newest } else { &minter }, "id")?.to_owned();
        Ok(Held { secrets, ended_by })
    }

    /// What ends it, and tells when it has.
    fn act(
        &self,
        ender: Ender,
        by: By,
        victim: &Victim,
        id: &str,
    ) -> anyhow::Result<impl FnOnce() -> anyhow::Result<Instant> + Send + 'static> {
        let name = &victim.name;
        let ends_at = SystemClock.now().plus(SOON);
        let ends = Instant::now() + SOON;
        let config = match ender {
            Ender::RouteGone => Some(String::new()),
            Ender::RouteChanged => Some(format!("{}identity = \"headers\"\n", route_to(self.upstream))),
            Ender::AllowNarrowed => Some(format!("{}allow = [\"user:bench\"]\n", route_to(self.upstream))),
            _ => None,
        };
        if let Some(config) = &config {
            fs::write(self.folder.path().join("fallgate.toml"), config)?;
        }
        let cut = |target: String| {
            (format!("cut {target}"), "POST", "/api/cuts".to_owned(), json!({"target": target}))
        };
        let user = |command: &str, method, body| {
            (format!("user {command}"), method, format!("/api/users/{name}"), body)
        };
        let (command, method, path, body) = match ender {
            Ender::Revoke => {
                (format!("token revoke {id}"), "DELETE", format!("/api/tokens/{id}"), Value::Null)
            }
            Ender::RevokeAll => (
                format!("token revoke --all --user {name} --yes"),
                "DELETE",
                format!("/api/tokens?username={name}"),
                Value::Null,
            ),
            Ender::Disable => user(&format!("disable {name}"), "PATCH", json!({"disabled": true})),
            Ender::Delete => user(&format!("delete {name} --yes"), "DELETE", Value::Null),
            Ender::Demote => user(&format!("set-role {name} user"), "PATCH", json!({"role": "user"})),
            Ender::Expire => (
                format!("token expire {id} --at {ends_at}"),
                "PATCH",
                format!("/api/tokens/{id}"),
                json!({"expires_at": ends_at.to_string()}),
            ),
            Ender::CutCredential => cut(format!("credential:{id}")),
            Ender::CutUser => cut(format!("user:{name}")),
            Ender::CutRoute => cut("route:bench".to_owned()),
            Ender::CutEverything => cut("everything".to_owned()),
            Ender::RouteGone | Ender::RouteChanged | Ender::AllowNarrowed => {
                ("reload".to_owned(), "", String::new(), Value::Null)
            }
        };
        let (home, address, secret) = (self.home.clone(), self.gate.address, self.secret.clone());
        Ok(move || {
            match by {
                By::Command => {
                    cli(&home, &command.split(' ').collect::<Vec<_>>(), "")?;
                }
                By::Api => drop(api(address, &secret, method, &path, &body)?),
            }
            let now = Instant::now();
            Ok(if ender == Ender::Expire { ends.max(now) } else { now })
        })
    }

    fn reload(&self, config: &str) -> anyhow::Result<()> {
        fs::write(self.folder.path().join("fallgate.toml"), config)?;
        cli(&self.home, &["reload"], "").map(drop)
    }

    fn lift(&self) -> anyhow::Result<()> {
        lift_all(&self.home)
    }
}

/// Lifts whatever is cut.
pub(crate) fn lift_all(home: &Path) -> anyhow::Result<()> {
    let listed: Value = serde_json::from_str(&cli(home, &["cuts", "--json"], "")?)?;
    for cut in listed.get("cuts").and_then(Value::as_array).context("no cuts")? {
        cli(home, &["lift", cut.get("id").and_then(Value::as_str).context("a cut without id")?], "")?;
    }
    Ok(())
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("a mint without `{field}`"))
}

/// A request to the gate's API, which has to work; what it answers.
fn api(gate: SocketAddr, secret: &str, method: &str, path: &str, body: &Value) -> anyhow::Result<String> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = connect(gate)?;
    stream.write_all(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {gate}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// When a WebSocket ended, and the code it was told, if any.
async fn closed(mut socket: Socket) -> (Instant, Option<u16>) {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return (Instant::now(), frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return (Instant::now(), None),
        }
    }
}
