//! One decision in the process: from the bytes of an `Authorization` header to a `Principal`, 100,000 tokens in the
//! store, freshness check included. Prints the median of many, and what is left of that while another process revokes and
//! then purges all those tokens (requirement R35); `cargo xtask bench decision` runs it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start has nothing to report")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fallgate_authority::{
    Actor, MintOrder, Passphrase, Policy, Presented, Registrar, RequestFacts, UserOrder, Verifier,
};
use fallgate_domain::clock::{Clock, SystemClock, TestClock};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::user::Role;
use fallgate_store::Location;
use zeroize::Zeroizing;

const TOKENS: usize = 100_000;
const ROUNDS: usize = 2_000;
const PER_ROUND: u32 = 100;
const DAY: Duration = Duration::from_secs(86_400);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and opens its own store"
)]
async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.unwrap();
    let registrar =
        Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), Policy::default());
    let actor = Actor::Cli { os_user: "bench".to_owned() };
    let passphrase =
        Passphrase::new(Zeroizing::new("correct horse battery staple".to_owned()), &[], &Policy::default())
            .unwrap();
    let owner: fallgate_domain::user::Username = "bench".parse().unwrap();
    let order = UserOrder { username: owner.clone(), display_name: None, role: Role::User, passphrase };
    registrar.create_user(order, &actor).await.unwrap();
    // The real way to mint costs a disk's flush each; the schema is the store's own, so the rest is written straight.
    let order = MintOrder { owner: owner.clone(), name: None, scopes: None, lifetime: None };
    registrar.mint(order.clone(), &actor).await.unwrap();
    multiply(&folder.path().join("fallgate.db"), TOKENS);
    let bystander: fallgate_domain::user::Username = "bystander".parse().unwrap();
    let passphrase =
        Passphrase::new(Zeroizing::new("correct horse battery staple".to_owned()), &[], &Policy::default())
            .unwrap();
    let user = UserOrder { username: bystander.clone(), display_name: None, role: Role::User, passphrase };
    registrar.create_user(user, &actor).await.unwrap();
    let minted = registrar.mint(MintOrder { owner: bystander, ..order }, &actor).await.unwrap();

    let started = Instant::now();
    let (verifier, _notes) = Verifier::start(registrar).await.unwrap();
    let loaded = started.elapsed();
    let value = format!("Bearer {}", minted.secret.expose());
    let lease = verifier.lease();
    let handle = lease.handle();
    let facts = RequestFacts { ip: None, user_agent: Some(b"bench/1") };
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..PER_ROUND {
            let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
            std::hint::black_box(verifier.verify(&presented, &facts, &handle).await.unwrap());
        }
        took.push(started.elapsed() / PER_ROUND);
    }
    took.sort();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(Duration::MAX);
    println!(
        "decision: median {:.2} µs, p99 {:.2} µs ({TOKENS} tokens, loaded in {} ms)",
        at(50).as_secs_f64() * 1e6,
        at(99).as_secs_f64() * 1e6,
        loaded.as_millis()
    );

    // The same one by one: idle, then while another handle on the database ends all the other tokens, then while it takes
    // them away, as if it were forty days later.
    let decide = async || {
        let started = Instant::now();
        let presented = Presented::from_authorization(Some(value.as_bytes())).unwrap();
        std::hint::black_box(verifier.verify(&presented, &facts, &handle).await.unwrap());
        started.elapsed()
    };
    let mut idle = Vec::with_capacity(ROUNDS * 100);
    for _ in 0..ROUNDS * 100 {
        idle.push(decide().await);
    }
    report("idle", idle);
    let elsewhere = |clock: Arc<dyn Clock>| {
        let location = location.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (store, vault) = fallgate_store::open(&location).await.unwrap();
                let registrar =
                    Registrar::new(store, vault, clock.clone(), Arc::new(SystemEntropy), Policy::default());
                let actor = Actor::Cli { os_user: "bench".to_owned() };
                if clock.now() > SystemClock.now().plus(DAY) {
                    registrar.sweep(&actor).await.unwrap()
                } else {
                    registrar.revoke_all(Some(&"bench".parse().unwrap()), &actor).await.unwrap()
                }
            })
        })
    };
    let later = TestClock::at(SystemClock.now().plus(40 * DAY));
    let clocks: [(&str, Arc<dyn Clock>); 2] =
        [("revoked", Arc::new(SystemClock)), ("purged", Arc::new(later))];
    for (what, clock) in clocks {
        let (started, act) = (Instant::now(), elsewhere(clock));
        let mut took = Vec::new();
        while !act.is_finished() {
            took.push(decide().await);
        }
        let whole = started.elapsed();
        let count = act.join().unwrap();
        report(&format!("while {count} were {what} in {} ms", whole.as_millis()), took);
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took.get(took.len() * share / 1_000).copied().unwrap_or(Duration::MAX);
    let longest = took.last().copied().unwrap_or_default();
    // How much of the time was spent on decisions that took more than a millisecond: who waits comes at any time.
    let slow: Duration = took.iter().filter(|took| took.as_micros() > 1_000).sum();
    println!(
        "{what}: p50 {:.2} µs, p99 {:.2} µs, p99.9 {:.2} µs, longest {:.2} ms, {:.1} % of the time in slow ones",
        at(500).as_secs_f64() * 1e6,
        at(990).as_secs_f64() * 1e6,
        at(999).as_secs_f64() * 1e6,
        longest.as_secs_f64() * 1e3,
        slow.as_secs_f64() * 100.0 / took.iter().sum::<Duration>().as_secs_f64(),
    );
}

/// Copies the one token's row, under other ids and hashes.
fn multiply(database: &std::path::Path, rows: usize) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let columns = "kind, owner, parent, minted_by, name, hint, scopes, created_at, expires_at";
    connection
        .execute(
            &format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                 INSERT INTO credential (id, hash, {columns})
                 SELECT randomblob(16), randomblob(32), {columns} FROM n, (SELECT * FROM credential LIMIT 1)"
            ),
            [i64::try_from(rows).unwrap()],
        )
        .unwrap();
}
