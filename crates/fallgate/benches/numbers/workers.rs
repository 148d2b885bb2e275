//! Worker tokens, in this process and on one core: minted by many at once, seen for the first time, seen again, and again
//! with 100,000 revoked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use fallgate_authority::actions::ManageAgents;
use fallgate_authority::{
    Actor, MintOrder, MintedWorker, Passphrase, Policy, Presented, Principal, Registrar, RequestFacts,
    UserOrder, Verifier, WorkerOrder,
};
use fallgate_domain::{
    clock::SystemClock,
    entropy::SystemEntropy,
    root_key::RootKey,
    scope::{PlainScope, Scopes},
    user::Role,
};
use fallgate_store::Location;
use futures_util::future::try_join_all;
use rusqlite::Connection;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use zeroize::Zeroizing;

use crate::Check;

/// How many are seen for the first time.
const FIRST: usize = 2_000;
/// How often one is seen again.
const AGAIN: u32 = 200_000;
const REVOKED: u32 = 100_000;
/// How many mint at once, and how often each of them.
const MINTERS: u32 = 64;
const MINTS: u32 = 400;
const ISSUER: &str = "https://gate.example";
/// In microseconds, a mint with its event on the disk: 10,000 a second.
const MINT_AT_MOST: f64 = 100.0;
/// In microseconds.
const FIRST_AT_MOST: f64 = 80.0;
const AGAIN_AT_MOST: f64 = 3.0;
/// What a table full of revocations may cost, as a ratio: within noise.
const REVOKED_AT_MOST: f64 = 1.25;

pub(crate) fn main(check: Check) -> anyhow::Result<()> {
    // One core for all of it: threads that are started later are bound to it, too.
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).context("cannot stay on one core")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(check))
}

async fn measure(check: Check) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("fallgate.db");
    let registrar = registrar(&database).await?;
    let actor = Actor::Cli { os_user: "bench".to_owned() };
    let text = Zeroizing::new("correct horse battery staple".to_owned());
    let passphrase = Passphrase::new(text, &[], &Policy::default()).map_err(|error| anyhow!("{error}"))?;
    let owner = UserOrder { username: "bench".parse()?, display_name: None, role: Role::User, passphrase };
    registrar.create_user(owner, &actor).await?;
    let scopes = Some(Scopes::plain([PlainScope::IdentityRead, PlainScope::AgentsWrite]));
    let order = MintOrder { owner: "bench".parse()?, name: None, scopes, lifetime: None };
    let credential = registrar.mint(order, &actor).await?;

    let (verifier, _notes) = Verifier::start(registrar).await?;
    let begun = Instant::now();
    let minters = (0..MINTERS).map(|_| mint(&verifier, credential.secret.expose()));
    let minted: Vec<_> = try_join_all(minters).await?.into_iter().flatten().collect();
    let each = begun.elapsed() / u32::try_from(minted.len())?;
    check.at_most(MINT_AT_MOST, micros(each), "a worker token minted, by 64 at once, µs")?;

    let unseen = minted.get(..FIRST).context("too few were minted")?;
    let begun = Instant::now();
    for worker in unseen {
        see(&verifier, &worker.token).await?;
    }
    let first = begun.elapsed() / u32::try_from(FIRST)?;
    check.at_most(FIRST_AT_MOST, micros(first), "a worker token seen for the first time, µs")?;
    let worker = minted.last().context("none were minted")?;
    let before = seen_again(&verifier, worker).await?;
    check.at_most(AGAIN_AT_MOST, micros(before), "one that was seen before, µs")?;

    revoke_many(&database)?;
    verifier.freshen().await?;
    let after = seen_again(&verifier, worker).await?;
    let ratio = after.as_secs_f64() / before.as_secs_f64();
    check.at_most(REVOKED_AT_MOST, ratio, "the same while 100,000 are revoked, against none")
}

/// As a request to the API does: the credential is verified each time.
async fn mint(verifier: &Verifier, secret: &str) -> anyhow::Result<Vec<MintedWorker>> {
    let mut minted = Vec::new();
    for _ in 0..MINTS {
        let permit = see(verifier, secret).await?.permit::<ManageAgents>();
        let permit = permit.map_err(|refusal| anyhow!("{refusal:?}"))?;
        let (agent, life, scopes, audience, session) = ("bench".parse()?, None, None, None, None);
        let order = WorkerOrder { agent, life, scopes, audience, session };
        minted.push(verifier.mint_worker(&permit, order, ISSUER, None).await?);
    }
    Ok(minted)
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

async fn seen_again(verifier: &Verifier, worker: &MintedWorker) -> anyhow::Result<Duration> {
    see(verifier, &worker.token).await?;
    let begun = Instant::now();
    for _ in 0..AGAIN {
        see(verifier, &worker.token).await?;
    }
    Ok(begun.elapsed() / AGAIN)
}

async fn see(verifier: &Verifier, secret: &str) -> anyhow::Result<Principal> {
    let value = Zeroizing::new(format!("Bearer {secret}"));
    let presented = Presented::from_authorization(Some(value.as_bytes()));
    let presented = presented.map_err(|refusal| anyhow!("{refusal:?}"))?;
    let lease = verifier.lease();
    let facts = RequestFacts { ip: None, user_agent: Some(b"bench/1") };
    let seen = verifier.verify(&presented, &facts, &lease.handle()).await;
    seen.map_err(|refusal| anyhow!("{refusal:?}"))
}

/// The real way to revoke costs a disk's flush each; the schema is the store's own, so rows are written straight.
fn revoke_many(database: &std::path::Path) -> anyhow::Result<()> {
    let mut connection = Connection::open(database)?;
    let act = connection.transaction()?;
    act.execute("UPDATE state SET revision = revision + 1", [])?;
    act.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO revoked_worker (family, jti, until) SELECT randomblob(8), randomblob(16), 9e15 FROM n",
        [REVOKED],
    )?;
    act.execute("UPDATE revoked_worker SET jti = CAST(randomblob(8) || family AS BLOB)", [])?;
    act.execute(
        "INSERT INTO change (revision, kind, id) SELECT state.revision, 'worker', jti FROM revoked_worker, state",
        [],
    )?;
    act.commit()?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark opens its own store")]
async fn registrar(database: &std::path::Path) -> anyhow::Result<Registrar> {
    let location = Location::Sqlite(database.to_owned());
    let (store, vault) = fallgate_store::open(&location).await.context("cannot open the store")?;
    let registrar =
        Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), Policy::default());
    let _ = registrar.unlock(&RootKey::from_bytes(&[7; 32])).await?;
    Ok(registrar)
}
