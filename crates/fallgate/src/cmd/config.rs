//! `fallgate config …`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fallgate_domain::clock::{Clock, SystemClock};
use fallgate_domain::lifetime;
use fallgate_domain::route::Admit;
use fallgate_relay::{Authorization, Entrance, Paths, Route};
use serde::Serialize;

use crate::cli::{Config as Verb, Settings};
use crate::cmd::serve::{FORWARD_AUTH, entrance};
use crate::config::{Config, Environment, PublicUrl, Secrets, Setting};
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::{cmd, output};

pub(crate) fn run(
    verb: Verb,
    file: Option<PathBuf>,
    folder: Option<HomeFolder>,
    environment: &Environment,
) -> Result<(), Failure> {
    match verb {
        Verb::Check { settings, json } => {
            let config = Config::load(&Settings { config: file, ..settings }, environment, Secrets::Read)?;
            let certificate = config.read_files()?;
            let mut warnings = config.warnings();
            let doubts = certificate.map(|shown| config.certificate_doubts(&shown, SystemClock.now()));
            warnings.extend(doubts.unwrap_or_default());
            warnings.extend(folder.into_iter().flat_map(|folder| strangers(&config, &folder)));
            if json {
                return output::data(&output::json(&Checked::of(&config, warnings))?);
            }
            warnings.iter().for_each(output::warn);
            output::data(&found(&config, environment))
        }
        Verb::Explain { settings, json } => {
            let config = Config::load(&Settings { config: file, ..settings }, environment, Secrets::Skip)?;
            let explained = Explained::of(&config);
            output::data(&if json { output::json(&explained)? } else { explained.text() })
        }
    }
}

/// A good config, and what of it may not be meant.
#[derive(Serialize)]
struct Checked<'a> {
    file: Option<&'a Path>,
    listen: String,
    routes: usize,
    warnings: Vec<String>,
}

impl<'a> Checked<'a> {
    fn of(config: &'a Config, warnings: Vec<String>) -> Self {
        let (file, listen) = (config.file.as_deref(), config.listen.value.to_string());
        Self { file, listen, routes: config.routes.iter().count(), warnings }
    }
}

/// Who is named in the config and not in the home folder's store; nobody, where there is none that can be read.
fn strangers(config: &Config, folder: &HomeFolder) -> Vec<String> {
    let named = config.named();
    if named.is_empty() || !folder.has_database() {
        return Vec::new();
    }
    let there = async {
        let registrar = cmd::registrar(folder).await?;
        let store = registrar.store();
        Ok::<_, Failure>((store.users().await?, store.agents(None).await?))
    };
    let Ok((users, agents)) = cmd::runtime().and_then(|runtime| runtime.block_on(there)) else {
        return Vec::new();
    };
    let is_user = |name: &str| users.iter().any(|user| user.username.as_str() == name);
    let told = named.into_iter().filter_map(|(admit, route)| {
        let route_name = &route.policy.name;
        if let Admit::Agent(name) = admit
            && let Some(listed) = agents.iter().find(|listed| listed.agent.name == *name)
        {
            return (!listed.agent.routes.contains(route_name)).then(|| {
                format!(
                    "the route {route_name} allows {admit}, and that agent was made without this route, so its tokens do not \
                     open it unless --audience route:{route_name} is asked for: make the agent anew with --route \
                     {route_name}, or mint them so"
                )
            });
        }
        let (what, make) = match admit {
            Admit::User(name) if !is_user(name.as_str()) => ("user", format!("user create {name}")),
            // Everybody has an agent of their own name.
            Admit::Agent(name) if !is_user(name.as_str()) => {
                ("agent", format!("agent create {name} --owner USER"))
            }
            _ => return None,
        };
        Some(format!(
            "the route {route_name} allows {admit}, and there is no such {what}: correct the name, or make the {what}: {}",
            folder.command(make)
        ))
    });
    told.collect()
}

/// What a config amounts to, in a line or two.
fn found(config: &Config, environment: &Environment) -> String {
    let routes = match config.routes.iter().count() {
        0 => "no routes".to_owned(),
        1 => "one route".to_owned(),
        count => format!("{count} routes"),
    };
    let listen = &config.listen.value;
    if let Some(file) = &config.file {
        return format!("{} is good: {routes}, listening on {listen}\n", file.display());
    }
    let none = environment.no_config_file();
    format!(
        "There is {none}; the defaults are good: {routes}, listening on {listen}. Another file is named with \
         --config.\n"
    )
}

/// The settings as they count, each with what said so.
#[derive(Serialize)]
pub(crate) struct Explained<'a> {
    file: Option<&'a Path>,
    listen: Value<String>,
    /// The certificate's file.
    tls: Option<Value<String>>,
    public_url: Option<Value<String>>,
    hosts: Value<Vec<String>>,
    trusted_proxies: Value<Vec<String>>,
    forward_auth: Value<bool>,
    access_log: Value<String>,
    /// Limits and lifetimes by name, such as `tokens.max_lifetime`.
    policy: BTreeMap<&'static str, Value<String>>,
    routes: Vec<RouteRow>,
}

#[derive(Serialize)]
struct Value<T> {
    value: T,
    source: String,
}

/// A route, in the order in which routes are tried.
#[derive(Serialize)]
struct RouteRow {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strip: Option<bool>,
    upstream: Option<String>,
    upstream_host: Option<String>,
    upstream_http2: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ca: Option<String>,
    allow: Vec<String>,
    public: Vec<String>,
    identity: &'static str,
    authorization: &'static str,
    /// The names alone.
    inject: Vec<String>,
    max_stream_age: String,
    paths: &'static str,
    same_origin: bool,
    upgrades: Vec<String>,
    source: String,
}

impl<'a> Explained<'a> {
    pub(crate) fn of(config: &'a Config) -> Self {
        fn value<T, U>(setting: &Setting<T>, show: impl Fn(&T) -> U) -> Value<U> {
            Value { value: show(&setting.value), source: setting.source.to_string() }
        }
        let row = |route: &Route| {
            let line = config.route_lines.get(&route.policy.name).copied().unwrap_or_default();
            RouteRow::of(route, format!("line {line}"))
        };
        Self {
            file: config.file.as_deref(),
            listen: value(&config.listen, ToString::to_string),
            tls: config.tls.as_ref().map(|setting| value(setting, |files| files.cert.display().to_string())),
            public_url: config.public_url.as_ref().map(|setting| value(setting, PublicUrl::text)),
            hosts: value(&config.hosts, |hosts| hosts.iter().map(ToString::to_string).collect()),
            trusted_proxies: value(&config.trusted_proxies, |trusted| {
                let unix = trusted.has_unix().then(|| "unix".to_owned());
                trusted.networks().iter().map(ToString::to_string).chain(unix).collect()
            }),
            forward_auth: value(&config.forward_auth, |may| *may),
            access_log: value(&config.access_log, ToString::to_string),
            policy: config.rules.iter().map(|rule| (rule.name, value(&rule.setting, Clone::clone))).collect(),
            routes: config.routes.iter().map(row).collect(),
        }
    }

    fn text(&self) -> String {
        let unset = || ("not set".to_owned(), "default".to_owned());
        let told = |setting: &Value<String>| (setting.value.clone(), setting.source.clone());
        let (public_url, public_url_source) = self.public_url.as_ref().map_or_else(unset, told);
        let (tls, tls_source) = self.tls.as_ref().map_or_else(unset, told);
        let list = |values: &[String]| if values.is_empty() { "none".to_owned() } else { values.join(", ") };
        let (hosts, proxies) = (list(&self.hosts.value), list(&self.trusted_proxies.value));
        let mut settings = vec![
            vec!["listen".to_owned(), self.listen.value.clone(), self.listen.source.clone()],
            vec!["tls".to_owned(), tls, tls_source],
            vec!["public_url".to_owned(), public_url, public_url_source],
            vec!["hosts".to_owned(), hosts, self.hosts.source.clone()],
            vec!["trusted_proxies".to_owned(), proxies, self.trusted_proxies.source.clone()],
            vec![
                "forward_auth".to_owned(),
                self.forward_auth.value.to_string(),
                self.forward_auth.source.clone(),
            ],
            vec!["log.access".to_owned(), self.access_log.value.clone(), self.access_log.source.clone()],
        ];
        let rules = self.policy.iter();
        settings.extend(
            rules.map(|(name, rule)| vec![(*name).to_owned(), rule.value.clone(), rule.source.clone()]),
        );
        let file = self.file.map_or_else(
            || "No config file; these are the defaults.".to_owned(),
            |file| format!("Config file {}", file.display()),
        );
        let mut text = format!("{file}\n\n{}", output::table(&["SETTING", "VALUE", "FROM"], &settings));
        if self.routes.is_empty() {
            text.push_str("\nThere are no routes; each [[route]] in the config file is one.\n");
        } else {
            let rows: Vec<_> = self.routes.iter().map(RouteRow::columns).collect();
            text.push_str("\nRoutes, in the order in which they are tried; all else is Fallgate's own:\n\n");
            let heading = ["NAME", "COMES IN AT", "GOES TO", "ALLOW", "PUBLIC", "IDENTITY", "BESIDE", "FROM"];
            text.push_str(&output::table(&heading, &rows));
        }
        text
    }
}

impl RouteRow {
    fn of(route: &Route, source: String) -> Self {
        let (host, path, strip) = match &route.entrance {
            Entrance::Host(_) => (Some(entrance(route)), None, None),
            Entrance::Path { strip, .. } => (None, Some(entrance(route)), Some(*strip)),
        };
        Self {
            name: route.policy.name.to_string(),
            host,
            path,
            strip,
            upstream: route.upstream.as_ref().map(|upstream| upstream.origin.clone()),
            upstream_host: route.upstream_host.clone(),
            upstream_http2: route.upstream.as_ref().is_some_and(|upstream| upstream.http2),
            upstream_ca: upstream_ca(route),
            allow: route.policy.admission.allow.iter().map(ToString::to_string).collect(),
            public: route.policy.terms.public.iter().map(ToString::to_string).collect(),
            identity: identity(route),
            authorization: if route.authorization == Authorization::Pass { "pass" } else { "ours" },
            inject: route.inject.iter().map(|(name, _)| name.clone()).collect(),
            max_stream_age: route
                .policy
                .terms
                .max_stream_age
                .map_or_else(|| "never".to_owned(), lifetime::written),
            paths: if route.paths == Paths::Raw { "raw" } else { "canonical" },
            same_origin: route.same_origin(),
            upgrades: route.upgrades.clone(),
            source,
        }
    }

    fn columns(&self) -> Vec<String> {
        let place = match (&self.host, &self.path, self.strip) {
            (Some(host), _, _) => format!("host {host}"),
            (None, Some(path), Some(false)) => format!("path {path} (kept)"),
            (None, path, _) => format!("path {} (taken off)", path.as_deref().unwrap_or_default()),
        };
        let upstream = self.upstream.as_deref().unwrap_or(FORWARD_AUTH);
        let goes_to = match &self.upstream_host {
            Some(host) => format!("{upstream} as {host}"),
            None => upstream.to_owned(),
        };
        let list = |items: &[String], empty: &str| {
            if items.is_empty() { empty.to_owned() } else { items.join(" ") }
        };
        vec![
            self.name.clone(),
            place,
            goes_to,
            list(&self.allow, "every user"),
            list(&self.public, "-"),
            self.identity.to_owned(),
            self.beside(),
            self.source.clone(),
        ]
    }

    /// What else is not as it is by default.
    fn beside(&self) -> String {
        let mut words = Vec::new();
        if self.upstream_http2 {
            words.push("HTTP/2".to_owned());
        }
        if self.authorization == "pass" {
            words.push("passes Authorization".to_owned());
        }
        if !self.inject.is_empty() {
            words.push(format!("injects {}", self.inject.join(" ")));
        }
        if self.paths == "raw" {
            words.push("raw paths".to_owned());
        }
        if self.same_origin {
            words.push("same origin".to_owned());
        }
        if !self.upgrades.is_empty() {
            words.push(format!("upgrades to {}", self.upgrades.join(" ")));
        }
        if self.upstream.is_some() && self.max_stream_age != "1d" {
            words.push(format!("streams of {}", self.max_stream_age));
        }
        if words.is_empty() { "-".to_owned() } else { words.join(", ") }
    }
}

fn identity(route: &Route) -> &'static str {
    match (route.identity.headers, route.identity.assertion) {
        (false, false) => "none",
        (true, false) => "headers",
        (false, true) => "assertion",
        (true, true) => "both",
    }
}

/// The file with the authorities that its upstream's certificate must come from, if not from this machine's.
fn upstream_ca(route: &Route) -> Option<String> {
    let trust = route.upstream.as_ref()?.tls.as_ref()?;
    trust.file().map(|file| file.display().to_string())
}
