//! Config and home folder become running parts. The only place where anything is constructed.

use std::sync::Arc;

use fallgate_authority::{Policy, Registrar, UseNotes, Verifier};
use fallgate_domain::clock::SystemClock;
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::root_key::RootKey;
use fallgate_relay::{AccessLog, Files, Gate, LiveSettings, Reaches};
use fallgate_store::{Location, StoreError};

use crate::config::Config;
use crate::failure::Failure;
use crate::first_run::FirstAdmin;
use crate::home::{Home, HomeFolder};
use crate::reload::Outline;
use crate::{cmd, internal, root_key};

/// A gate that is ready to listen, and what has to run beside it.
pub(crate) struct Assembled {
    pub(crate) gate: Arc<Gate>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) use_notes: UseNotes,
    /// The config, as far as one that is read later is compared with it.
    pub(crate) outline: Outline,
}

/// What a command needs: acts and lists on the home folder.
#[expect(clippy::disallowed_methods, reason = "this is the one place that opens the store")]
pub(crate) async fn registrar(home: &Home, policy: Policy) -> Result<Registrar, StoreError> {
    let (store, vault) = fallgate_store::open(&Location::Sqlite(home.database())).await?;
    Ok(Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), policy))
}

/// The same on a database that may be an older copy: for accepting it, and nothing else.
#[expect(clippy::disallowed_methods, reason = "this is the one place that opens the store")]
pub(crate) async fn restored(home: &Home) -> Result<Registrar, StoreError> {
    let (store, vault) = fallgate_store::open_restored(&Location::Sqlite(home.database())).await?;
    Ok(Registrar::new(store, vault, Arc::new(SystemClock), Arc::new(SystemEntropy), Policy::default()))
}

/// What the daemon needs. All that is stored has been read when this returns (requirement R43).
pub(crate) async fn gate(
    home: &Home,
    folder: &HomeFolder,
    config: Config,
    root_key: Option<RootKey>,
    access: Option<AccessLog>,
    first_admin: Option<FirstAdmin>,
    workers: usize,
) -> Result<Assembled, Failure> {
    let registrar = cmd::open(home, folder, config.policy.clone()).await?;
    root_key::unlock(&registrar, home, root_key, |notice| tracing::warn!("{notice}")).await?;
    internal::settle(home, &registrar).await.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(admin) = first_admin {
        admin.make(&registrar).await?;
    }
    let (verifier, use_notes) = Verifier::start(registrar).await?;
    let outline = Outline::of(&config);
    let settings = LiveSettings::new(config.settings());
    let files = Arc::new(Files::of_this_process(workers));
    let doors = fallgate_web::doors(verifier.clone(), settings.clone(), Reaches::new(files.clone()));
    let draw_problem = fallgate_web::draw_problem;
    let gate = Gate { verifier: verifier.clone(), doors, draw_problem, settings, access, files };
    Ok(Assembled { gate: Arc::new(gate), verifier, use_notes, outline })
}
