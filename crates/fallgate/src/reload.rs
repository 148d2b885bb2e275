//! Reading the config again while the gate runs: whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::Actor;
use fallgate_relay::{Gate, ListenAt, RefusedConfig, Route, RouteTable};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::cli::Settings;
use crate::cmd::config::Explained;
use crate::config::{Config, Environment, Secrets, Setting, Source, TlsFiles};
use crate::failure::Failure;
use crate::service_manager;

/// Settings that count from the next start on.
const AT_START: [&str; 5] = ["access_log", "listen", "logins.idle", "tls", "workers.clock_skew"];

/// What came of reading the config again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// What is said if there is none: where one would be found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) no_file: Option<String>,
    /// What counts now and did not before: settings and routes, by name.
    pub(crate) changed: Vec<String>,
    /// Settings that are other than those that count, and will count from the next start on.
    pub(crate) needs_restart: Vec<String>,
}

/// Reads the config again, from where it was read at start.
pub(crate) struct Reloader {
    /// What the start was told.
    told: Arc<(Settings, Environment)>,
    /// Where the gate listens, to the port.
    in_use: Setting<ListenAt>,
    gate: Arc<Gate>,
    /// What counts. Held while another config takes its place: one after the other.
    counts: Mutex<Outline>,
}

/// A config, as far as another is compared with it, and what of it stays until the next start.
#[derive(Debug)]
pub(crate) struct Outline {
    /// The file that was read, if there was one.
    file: Option<PathBuf>,
    listen: Setting<ListenAt>,
    tls: Option<Setting<TlsFiles>>,
    login_idle: Duration,
    worker_skew: Duration,
    /// As `config explain` tells them, by name.
    settings: BTreeMap<String, Value>,
    /// The same of routes.
    routes: BTreeMap<String, Value>,
}

impl Outline {
    /// What is told of that config shows no secret.
    pub(crate) fn of(config: &Config) -> Self {
        let told = serde_json::to_value(Explained::of(config)).unwrap_or_default();
        let mut settings = BTreeMap::new();
        let mut routes = BTreeMap::new();
        let value = |setting: &Value| setting.get("value").cloned().unwrap_or_default();
        for (name, told) in told.as_object().into_iter().flatten() {
            match (name.as_str(), told) {
                ("file", _) => {}
                ("routes", Value::Array(rows)) => routes.extend(rows.iter().map(without_source)),
                ("policy", Value::Object(rules)) => {
                    settings.extend(rules.iter().map(|(name, rule)| (name.clone(), value(rule))));
                }
                (name, setting) => {
                    settings.insert(name.to_owned(), value(setting));
                }
            }
        }
        if let Some(Setting { value: TlsFiles { cert, key }, .. }) = &config.tls {
            // The key's file is told to nobody, and still another one needs a restart.
            settings.insert("tls".to_owned(), json!([cert, key]));
        }
        let (listen, tls) = (config.listen.clone(), config.tls.clone());
        let (file, policy) = (config.file.clone(), &config.policy);
        let (login_idle, worker_skew) = (policy.login_idle, policy.worker_skew);
        Self { file, listen, tls, login_idle, worker_skew, settings, routes }
    }

    /// The names of the settings that differ.
    fn other_settings<'o>(&'o self, other: &'o Self) -> impl Iterator<Item = &'o str> {
        let names: BTreeSet<&str> =
            self.settings.keys().chain(other.settings.keys()).map(String::as_str).collect();
        names.into_iter().filter(|name| self.settings.get(*name) != other.settings.get(*name))
    }

    /// What became of each route that differs, in words. `secrets`: whether those of that route are the same.
    fn other_routes(&self, later: &Self, secrets: impl Fn(&str) -> bool) -> Vec<String> {
        let names: BTreeSet<&String> = self.routes.keys().chain(later.routes.keys()).collect();
        let what = |name: &&String| match (self.routes.get(*name), later.routes.get(*name)) {
            (None, _) => Some(format!("route {name} (new)")),
            (_, None) => Some(format!("route {name} (gone)")),
            (before, now) if before != now || !secrets(name) => Some(format!("route {name}")),
            _ => None,
        };
        names.iter().filter_map(what).collect()
    }
}

/// A route's name, and what is told of it but for the line it stands on.
fn without_source(row: &Value) -> (String, Value) {
    let name = row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut row = row.clone();
    if let Some(row) = row.as_object_mut() {
        row.remove("source");
    }
    (name, row)
}

fn same_secrets(before: &RouteTable, now: &RouteTable, name: &str) -> bool {
    match (named(before, name), named(now, name)) {
        (Some(before), Some(now)) => secrets(before).eq(secrets(now)),
        _ => false,
    }
}

fn named<'t>(table: &'t RouteTable, name: &str) -> Option<&'t Route> {
    table.iter().find(|route| route.policy.name.as_str() == name)
}

fn secrets(route: &Route) -> impl Iterator<Item = &str> {
    route.inject.iter().map(|(_, text)| text.expose())
}

impl Reloader {
    /// Where `flags` and the environment lead is read again; `counts` is what was read at start, and `in_use` is where the gate listens.
    pub(crate) fn new(
        flags: Settings,
        environment: Environment,
        gate: Arc<Gate>,
        counts: Outline,
        in_use: Setting<ListenAt>,
    ) -> Self {
        Self { told: Arc::new((flags, environment)), in_use, gate, counts: Mutex::new(counts) }
    }

    /// The file that counts, if there is one; with its absolute path, for whoever runs elsewhere.
    pub(crate) async fn config_file(&self) -> Option<PathBuf> {
        let file = self.counts.lock().await.file.clone()?;
        Some(std::path::absolute(&file).unwrap_or(file))
    }

    /// Reads the config again. One that makes sense counts from the next request on, and what it does not allow any
    /// more is told so before this returns; of one that does not, nothing counts.
    pub(crate) async fn reload(&self, actor: &Actor) -> Result<Reloaded, Failure> {
        let mut counts = self.counts.lock().await;
        service_manager::reloading();
        let reloaded = self.read_again(&mut counts, actor).await;
        service_manager::reloaded();
        reloaded
    }

    async fn read_again(&self, counts: &mut Outline, actor: &Actor) -> Result<Reloaded, Failure> {
        let config = match self.read(counts.file.clone()).await {
            Ok(config) => config,
            Err(failure) => {
                tracing::error!("the config was read again, and the one before goes on to count: {failure}");
                let at = self.gate.verifier.clock().now();
                self.gate.settings.refuse(RefusedConfig { at, reason: failure.to_string() });
                self.gate.verifier.note_config(actor, None).await;
                let failure = format!("{failure}; nothing has changed: the config before goes on to count");
                return Err(Failure::failed(failure));
            }
        };
        let mut later = Outline::of(&config);
        let before = self.gate.settings.now();
        let no_file = config.file.is_none().then(|| self.told.1.no_config_file());
        let (changed, needs_restart) = (Vec::new(), Vec::new());
        let mut reloaded = Reloaded { file: config.file.clone(), no_file, changed, needs_restart };
        for name in counts.other_settings(&later) {
            // Where the service manager's socket is listened on, nothing is meant by the file's word.
            if name == "listen" && counts.listen.source == Source::ServiceManager {
                continue;
            }
            let at_start = AT_START.contains(&name);
            (if at_start { &mut reloaded.needs_restart } else { &mut reloaded.changed })
                .push(name.to_owned());
        }
        let same = |name: &str| same_secrets(&before.routes, &config.routes, name);
        reloaded.changed.extend(counts.other_routes(&later, same));

        later.keep(counts);
        self.apply(config, &later);
        *counts = later;
        tracing::info!("{}", reloaded.told().join("; "));
        self.gate.verifier.note_config(actor, Some(reloaded.detail())).await;
        Ok(reloaded)
    }

    /// As the start does: one that names a file which cannot be used makes no sense. On a thread of its own, since
    /// everything else would wait for a disk that is slow. `before` is the file that was read the last time.
    async fn read(&self, before: Option<PathBuf>) -> Result<Config, Failure> {
        let (told, in_use) = (self.told.clone(), self.in_use.clone());
        let read = spawn_blocking(move || {
            let (flags, environment) = &*told;
            let config = Config::load_listening(flags, environment, Secrets::Read, Some(&in_use))?;
            // Some editors and tools take a file away before they put the new one there.
            if let Some(before) = before.filter(|_| config.file.is_none()) {
                let before = before.display();
                return Err(Failure::failed(format_args!(
                    "the config {before} is not there any more: to have the defaults count, put an empty file there"
                )));
            }
            config.read_files()?;
            Ok(config)
        });
        read.await
            .unwrap_or_else(|error| Err(Failure::failed(format_args!("cannot read the config: {error}"))))
    }

    /// Has that config count, but for what stays until the next start.
    fn apply(&self, mut config: Config, kept: &Outline) {
        // The same as at the start, but with the port that was taken where that was to be any.
        config.listen = self.in_use.clone();
        config.tls.clone_from(&kept.tls);
        config.policy.login_idle = kept.login_idle;
        config.policy.worker_skew = kept.worker_skew;
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        self.gate.verifier.set_policy(config.policy.clone());
        self.gate.apply(config.settings());
    }
}

impl Outline {
    /// What counts from the next start on stays as it was at this one.
    fn keep(&mut self, counts: &Self) {
        self.listen = counts.listen.clone();
        self.tls.clone_from(&counts.tls);
        self.login_idle = counts.login_idle;
        self.worker_skew = counts.worker_skew;
        for name in AT_START {
            match counts.settings.get(name) {
                Some(value) => self.settings.insert(name.to_owned(), value.clone()),
                None => self.settings.remove(name),
            };
        }
    }
}

impl Reloaded {
    /// In words, each sentence without its stop.
    pub(crate) fn told(&self) -> Vec<String> {
        let counts = |file: &PathBuf| format!("{} counts now", file.display());
        let none = self.no_file.as_deref().unwrap_or("no config file");
        let file = self.file.as_ref();
        let mut told = vec![file.map_or_else(|| format!("there is {none}, so the defaults count"), counts)];
        let changed = if self.changed.is_empty() { "nothing".to_owned() } else { self.changed.join(", ") };
        told.push(format!("changed: {changed}"));
        if !self.needs_restart.is_empty() {
            told.push(format!("needs a restart: {}", self.needs_restart.join(", ")));
        }
        told
    }

    fn detail(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("changed".to_owned(), self.changed.clone().into()),
            ("needs_restart".to_owned(), self.needs_restart.clone().into()),
        ])
    }
}
