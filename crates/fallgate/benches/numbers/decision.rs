//! Decisions in this process, by the verifier on a home's store.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use fallgate_authority::{Actor, Policy, Presented, Registrar, RequestFacts, Verifier};
use fallgate_domain::{clock::SystemClock, entropy::SystemEntropy};
use fallgate_store::Location;

use crate::rows;

/// A verifier, and a registrar that stands for another process.
pub(crate) struct Desk {
    verifier: Arc<Verifier>,
    elsewhere: Registrar,
}

/// The `Authorization` headers of these tokens, in random order.
pub(crate) fn headers(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let random = RandomState::new();
    let mut numbers: Vec<u32> = numbers.into_iter().collect();
    numbers.sort_by_key(|number| random.hash_one(number));
    numbers.into_iter().map(|number| format!("Bearer {}", rows::secret(number).expose())).collect()
}

impl Desk {
    pub(crate) async fn open(home: &Path) -> anyhow::Result<Self> {
        let (verifier, _notes) = Verifier::start(registrar(home).await?).await?;
        Ok(Self { verifier, elsewhere: registrar(home).await? })
    }

    /// So many decisions for each header: how long one took, on average.
    pub(crate) async fn decide(&self, headers: &[String], times: u32) -> anyhow::Result<Duration> {
        let lease = self.verifier.lease();
        let handle = lease.handle();
        let facts = RequestFacts { ip: None, user_agent: Some(b"bench/1") };
        let begun = Instant::now();
        for _ in 0..times {
            for header in headers {
                let presented = Presented::from_authorization(Some(header.as_bytes()));
                let presented = presented.map_err(|refusal| anyhow!("{refusal:?}"))?;
                let decided = self.verifier.verify(&presented, &facts, &handle).await;
                std::hint::black_box(decided.map_err(|refusal| anyhow!("{refusal:?}"))?);
            }
        }
        Ok(begun.elapsed() / times / u32::try_from(headers.len())?)
    }

    /// How long it takes to see one revocation by another process.
    pub(crate) async fn see_a_revocation(&self, number: u32) -> anyhow::Result<Duration> {
        let actor = Actor::Cli { os_user: "bench".to_owned() };
        self.elsewhere.revoke(rows::id(number), None, &actor).await?;
        let begun = Instant::now();
        self.verifier.freshen().await?;
        Ok(begun.elapsed())
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark opens its own store")]
async fn registrar(home: &Path) -> anyhow::Result<Registrar> {
    let location = Location::Sqlite(home.join("fallgate.db"));
    let (store, vault) = fallgate_store::open(&location).await.context("cannot open the store")?;
    Ok(Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), Policy::default()))
}
