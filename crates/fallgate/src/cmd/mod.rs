//! What the command line can be asked for: one file per noun.

mod audit;
mod config;
mod consent;
mod doctor;
mod import;
mod internal_token;
mod passphrase;
mod serve;
mod token;
mod user;
mod version;

use fallgate_authority::{Policy, Registrar};
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
        Noun::InternalToken(verb) => internal_token::run(&verb, &home()?),
        Noun::Import(import) => import::run(import, &home()?, environment),
        Noun::Audit(audit) => audit::run(audit, &home()?),
        Noun::Config(config) => config::run(&config, environment),
        Noun::Doctor { settings, format } => doctor::run(&settings, format.json, &home()?, environment),
        Noun::Version { format } => version::run(&format),
    }
}

/// Opens the store of a home folder, made when there is none if `make` says so, and says what was put right on it.
async fn registrar(folder: &HomeFolder, make: bool) -> Result<Registrar, Failure> {
    let home = if make { Home::make(folder)? } else { Home::existing(folder)? };
    home.warnings().iter().for_each(output::warn);
    open(&home).await
}

/// Opens the store of a home folder that was checked.
async fn open(home: &Home) -> Result<Registrar, Failure> {
    Ok(assemble::registrar(home, Policy::default()).await?)
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("the system gives no event queue: {error}")))
}
