//! Where a command does its work: on this machine's home folder, or on a gate over HTTP.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fallgate_authority::Policy;
use fallgate_domain::route::RouteName;
use zeroize::Zeroizing;

use crate::cli::{Settings, Where};
use crate::client::SavedLogins;
use crate::config::{Config, Environment, Origin, Secrets};
use crate::control::{self, ConfigFile, Request};
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::output;

/// A gate that does not answer at once is not waited for: it could only say where its config lies.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
const SERVER: &str = "FALLGATE_SERVER";
const TOKEN: &str = "FALLGATE_TOKEN";

/// Where a command works.
#[derive(Debug)]
pub(crate) enum Place {
    /// On a home folder of this machine: file access is the authority.
    Home(Here),
    /// On a gate, with a credential.
    Server(Server),
}

/// A home folder of this machine, and the rules that acts on it keep to.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) folder: HomeFolder,
    /// As the config has it, if that can be read.
    pub(crate) policy: Result<Policy, Failure>,
    /// The gate's own origin, as the config has it.
    pub(crate) origin: String,
    /// Those of the config file, if there is one that can be read.
    pub(crate) routes: Option<Vec<RouteName>>,
    /// Where this user's sign-ins to gates are kept.
    saved: Option<PathBuf>,
}

/// A gate that is asked over HTTP.
pub(crate) struct Server {
    /// Its address.
    pub(crate) origin: Origin,
    /// Whether a command finds it without being told.
    pub(crate) is_usual: bool,
    /// Whether secrets may go to another machine over plain HTTP.
    pub(crate) insecure: bool,
    /// What `FALLGATE_TOKEN` says.
    pub(crate) token: Option<Zeroizing<String>>,
    /// Where sign-ins are saved; nowhere for who has no place of their own.
    file: Result<PathBuf, Failure>,
}

impl Place {
    /// What the command line says, which beats the environment. Without a server it is the home folder.
    pub(crate) fn choose(flags: &Where, environment: &Environment) -> Result<Self, Failure> {
        if let Some(server) = Server::named(flags, environment)? {
            return Ok(Self::Server(server));
        }
        let folder = environment.home_folder(flags.home.as_deref())?;
        let config = load(flags, environment, &folder);
        let routes = config.as_ref().ok().filter(|config| config.file.is_some());
        let routes = routes.map(|config| config.route_lines.keys().cloned().collect());
        let saved = environment.credentials_file().ok();
        let origin = config.as_ref().map(Config::origin).unwrap_or_default();
        Ok(Self::Home(Here { folder, policy: config.map(|config| config.policy), origin, routes, saved }))
    }
}

impl Here {
    /// The folder, which must be there. Whoever is signed in to a gate may have meant that.
    pub(crate) fn existing(&self) -> Result<Home, Failure> {
        Home::existing(&self.folder).map_err(|failure| {
            let saved = self.saved.as_deref().filter(|_| !self.folder.has_database());
            let saved = saved.and_then(|file| SavedLogins::read(file).ok());
            let gates: Vec<_> = saved.iter().flat_map(SavedLogins::gates).collect();
            if gates.is_empty() {
                return failure;
            }
            let gates = gates.join(" or --server ");
            Failure::failed(format_args!(
                "{failure}. You are signed in to a gate: to ask that, add --server {gates}"
            ))
        })
    }
}

impl Server {
    /// The server that was asked for, if any.
    pub(crate) fn named(flags: &Where, environment: &Environment) -> Result<Option<Self>, Failure> {
        let (source, text, is_usual) = match (&flags.server, &flags.home, environment.text(SERVER)?) {
            (Some(_), Some(_), _) => {
                return Err(Failure::usage("--home and --server name two places: give one of them"));
            }
            (Some(text), None, _) => ("--server", text.as_str(), false),
            (None, None, Some(text)) => (SERVER, text, true),
            (None, _, _) => return Ok(None),
        };
        let origin = Origin::parse(text)
            .map_err(|why| Failure::usage(format_args!("{source} is no address: {why}")))?;
        // What both say is found without being told, too.
        let is_usual = is_usual || environment.text(SERVER)?.is_some_and(|usual| usual == text);
        Self::at(origin, is_usual, flags, environment).map(Some)
    }

    /// The server of that address.
    pub(crate) fn at(
        origin: Origin,
        is_usual: bool,
        flags: &Where,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let token = environment.text(TOKEN)?.map(|token| Zeroizing::new(token.trim().to_owned()));
        let file = environment.credentials_file();
        Ok(Self { origin, is_usual, insecure: flags.insecure_http, token, file })
    }

    /// Where sign-ins are saved.
    pub(crate) fn file(&self) -> Result<&Path, Failure> {
        self.file.as_deref().map_err(Failure::clone)
    }

    /// A command that works on this server, to be pasted into a shell.
    pub(crate) fn command(&self, words: impl Display) -> String {
        if self.is_usual {
            format!("fallgate {words}")
        } else {
            format!("fallgate {words} --server {}", self.origin.text())
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(&self.origin.text()).finish()
    }
}

/// The rules in the config, for whoever works on a home folder.
pub(crate) fn policy(flags: &Where, environment: &Environment) -> Result<Policy, Failure> {
    let folder = environment.home_folder(flags.home.as_deref())?;
    load(flags, environment, &folder).map(|config| config.policy)
}

/// What was said counts; else what a gate that serves the folder goes by; else what is found in the usual place.
fn load(flags: &Where, environment: &Environment, folder: &HomeFolder) -> Result<Config, Failure> {
    let said = flags.config.is_some() || environment.config_file().is_some();
    let load = |config| Config::load(&Settings { listen: None, config }, environment, Secrets::Skip);
    if !said && let Some(in_use) = config_in_use(folder) {
        match load(Some(in_use)) {
            Ok(config) => return Ok(config),
            // It was changed, and the gate goes by what it was before.
            Err(failure) => output::warn(format_args!(
                "what the running gate goes by cannot be told, and so it is not kept to here: {failure}"
            )),
        }
    }
    load(flags.config.clone())
}

/// The config of the gate that serves the folder, if one does and the file is there for us too: it may run where paths
/// lead elsewhere.
fn config_in_use(folder: &HomeFolder) -> Option<PathBuf> {
    let told = control::ask(folder, &Request::Config {}, TOLD_WITHIN);
    let ConfigFile { file } = told.ok()?;
    file.filter(|file| file.exists())
}

/// The same for what changes or shows a home folder: where the surroundings name a server, which folder is meant has to
/// be said.
pub(crate) fn this_home(flags: &Where, environment: &Environment) -> Result<HomeFolder, Failure> {
    this_machine(flags)?;
    if flags.home.is_none() && environment.text(SERVER)?.is_some() {
        return Err(Failure::usage(format_args!(
            "{SERVER} names a gate, and this works on a home folder of this machine only: name the folder with --home, or unset {SERVER}"
        )));
    }
    environment.home_folder(flags.home.as_deref())
}

/// For commands that are about this machine alone: a server cannot be meant.
pub(crate) fn this_machine(flags: &Where) -> Result<(), Failure> {
    match &flags.server {
        Some(_) => Err(Failure::usage(
            "this works on this machine only: leave --server out, or run it on the gate's own machine",
        )),
        None => Ok(()),
    }
}
