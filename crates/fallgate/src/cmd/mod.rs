//! What the command line can be asked for: one file per noun.

mod access;
mod agent;
mod audit;
pub(crate) mod config;
mod consent;
mod cutting;
mod device_login;
mod doctor;
mod import;
mod internal_token;
mod key;
mod live;
mod pair;
mod passphrase;
mod reference;
mod reload;
mod serve;
mod store;
mod token;
mod user;
pub(crate) mod version;

use fallgate_authority::{Policy, Registrar};
use fallgate_store::StoreError;
use tokio::runtime::{Builder, Runtime};

use crate::assemble;
use crate::cli::{Cli, Noun};
use crate::config::Environment;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::output;
use crate::place::{self, Place};

/// Does what was asked for.
pub(crate) fn run(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    let flags = cli.place;
    let place = || Place::choose(&flags, environment);
    // For what is about this machine, whatever server the surroundings name.
    let here = || place::this_machine(&flags);
    let this_home = || place::this_home(&flags, environment);
    let home = || here().and_then(|()| environment.home_folder(flags.home.as_deref()));
    match cli.noun {
        Noun::Serve(mut serve) => {
            serve.settings.config.clone_from(&flags.config);
            serve::run(&serve, &home()?, environment)
        }
        Noun::User(user) => user::run(user, place()?),
        Noun::Token(token) => token::run(token, place()?),
        Noun::Agent(verb) => agent::run(verb, place()?, environment),
        Noun::InternalToken(verb) => internal_token::run(&verb, &this_home()?),
        Noun::Import(import) => {
            import::run(import, &this_home()?, environment, place::policy(&flags, environment)?)
        }
        Noun::Cut(cut) => cutting::cut(cut, place()?),
        Noun::Cuts { format } => cutting::cuts(format.json, place()?),
        Noun::Lift(lift) => cutting::lift(&lift, place()?),
        Noun::Audit(audit) => audit::run(audit, place()?, environment),
        Noun::Key(key) => key::run(key, &this_home()?, environment),
        Noun::Store(store) => store::run(store, &this_home()?),
        Noun::Live { format } => live::run(&format, place()?),
        Noun::Reload { format } => reload::run(&format, &this_home()?),
        Noun::Config(config) => {
            // It is looked into, if it is there.
            let folder = environment.home_folder(flags.home.as_deref()).ok();
            here().and_then(|()| config::run(config, flags.config.clone(), folder, environment))
        }
        Noun::Doctor { mut settings, format } => {
            settings.config.clone_from(&flags.config);
            doctor::run(&settings, format.json, &home()?, environment)
        }
        Noun::Pair(pair) => pair::run(&pair, place()?),
        Noun::Login(login) => access::login(login, &flags, environment),
        Noun::Logout => access::logout(&flags, environment),
        Noun::Status { format } => access::status(&format, &flags, environment),
        Noun::Passwd(passwd) => access::passwd(&passwd, &flags, environment),
        Noun::Version { format } => here().and_then(|()| version::run(&format)),
        Noun::Completions { shell } => here().and_then(|()| reference::completions(shell)),
        Noun::Man { dir } => here().and_then(|()| reference::man(&dir)),
    }
}

/// The home folder's acts, for what no policy is about.
async fn registrar(folder: &HomeFolder) -> Result<Registrar, Failure> {
    let home = Home::existing(folder)?;
    home.warnings().iter().for_each(output::warn);
    open(&home, folder, Policy::default()).await
}

/// Opens the store of a home folder that was checked.
pub(crate) async fn open(home: &Home, folder: &HomeFolder, policy: Policy) -> Result<Registrar, Failure> {
    assemble::registrar(home, policy).await.map_err(|error| unopened(error, folder))
}

/// Why the store was not opened, and, where that can be accepted, how.
pub(crate) fn unopened(error: StoreError, folder: &HomeFolder) -> Failure {
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
