//! What the command line can be asked for: one file per noun.

mod audit;
mod config;
mod consent;
mod passphrase;
mod serve;
mod store;
mod token;
mod user;
mod version;

use fallgate_authority::Registrar;
use fallgate_store::StoreError;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Noun};
use crate::config::Environment;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::{assemble, output};

/// Does what was asked for.
pub(crate) fn run(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    let home = || environment.home_folder(cli.home.as_deref());
    match cli.noun {
        Noun::Serve(serve) => serve::run(&serve, &home()?, environment),
        Noun::User(user) => user::run(user, &home()?),
        Noun::Token(token) => token::run(token, &home()?),
        Noun::Audit(audit) => audit::run(audit, &home()?),
        Noun::Store(store) => store::run(store, &home()?),
        Noun::Config(config) => config::run(&config, environment),
        Noun::Version { format } => version::run(&format),
    }
}

/// Opens the store of a home folder, made when there is none if `make` says so, and says what was put right on it.
async fn registrar(folder: &HomeFolder, make: bool) -> Result<Registrar, Failure> {
    let home = if make { Home::make(folder)? } else { Home::existing(folder)? };
    home.warnings().iter().for_each(output::warn);
    assemble::registrar(&home).await.map_err(|error| unopened(error, folder))
}

/// Why the store was not opened, and, where that can be accepted, how.
fn unopened(error: StoreError, folder: &HomeFolder) -> Failure {
    match error {
        StoreError::OlderCopy { .. } | StoreError::Unguarded { .. } => Failure::failed(format_args!(
            "{error}; put the newer one back, or go on with this one and end every credential in it: `{}`",
            folder.command("store restore --accept")
        )),
        error => error.into(),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("the system gives no event queue: {error}")))
}
