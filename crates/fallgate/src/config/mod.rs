//! What the operator decided: flags beat the environment, which beats the file, which beats the defaults.

mod environment;
mod file;
mod inject;
mod limits;
mod policy;
mod route;
mod warnings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fallgate_authority::Policy;
use fallgate_domain::host::Host;
use fallgate_domain::route::RouteName;
use fallgate_relay::{
    Address, Entrance, Hosts, InvalidListenAt, InvalidRoutes, Limits, ListenAt, OwnCertificate, Route,
    RouteTable, Trust, TrustedProxies,
};
use ipnet::IpNet;

pub(crate) use environment::{Environment, FIRST_PASSPHRASE, ROOT_KEY};
pub(crate) use fallgate_domain::origin::Origin;
pub(crate) use inject::Secrets;
pub(crate) use policy::Rule;

use self::file::{Document, Section};
use self::route::Lines;
use crate::cli::Settings;
use crate::failure::Failure;
use crate::welcome;

/// Where the gate listens when nothing is said (requirement R70).
const LISTEN: ListenAt = ListenAt::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400));

/// What the file may have at its top.
const TABLES: [&str; 9] =
    ["server", "log", "limits", "logins", "passphrases", "tokens", "workers", "audit", "route"];

/// Everything that was decided, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// Where to listen.
    pub(crate) listen: Setting<ListenAt>,
    /// Where the certificate lies that clients are shown; then they must use TLS.
    pub(crate) tls: Option<Setting<TlsFiles>>,
    /// Where browsers find our own pages, if that was said.
    pub(crate) public_url: Option<Setting<PublicUrl>>,
    /// More names of ours.
    pub(crate) hosts: Setting<Vec<Host<'static>>>,
    /// Whose word on where a request comes from is taken.
    pub(crate) trusted_proxies: Setting<TrustedProxies>,
    /// Whether they may ask about requests that they hold.
    pub(crate) forward_auth: Setting<bool>,
    /// Where the access log goes.
    pub(crate) access_log: Setting<AccessLog>,
    /// How much a client may ask for.
    pub(crate) limits: Limits,
    /// How long things last, and how good a passphrase must be.
    pub(crate) policy: Policy,
    /// The same, each with what said so, in the order of the documentation.
    pub(crate) rules: Vec<Rule>,
    /// What stands behind the gate.
    pub(crate) routes: RouteTable,
    /// The line on which each route begins.
    pub(crate) route_lines: BTreeMap<RouteName, usize>,
}

/// A certificate and its key, each a file in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// A value, and what said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// What said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A flag on the command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// The config file, on this line.
    Line(usize),
    /// A socket that the service manager handed over.
    ServiceManager,
    /// Nothing.
    Default,
}

/// Where each request leaves a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessLog {
    /// Nowhere.
    Off,
    /// On standard output.
    Stdout,
    /// At the end of this file.
    File(PathBuf),
}

/// The address at which browsers find our own pages: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl(Origin);

impl Config {
    /// Reads and checks everything. A failure is one line that says where and what would be right.
    pub(crate) fn load(
        flags: &Settings,
        environment: &Environment,
        secrets: Secrets,
    ) -> Result<Self, Failure> {
        Self::load_listening(flags, environment, secrets, None)
    }

    /// The same for a gate that listens at `in_use` already, whatever is said of that.
    pub(crate) fn load_listening(
        flags: &Settings,
        environment: &Environment,
        secrets: Secrets,
        in_use: Option<&Setting<ListenAt>>,
    ) -> Result<Self, Failure> {
        let document = match flags.config.as_deref().or_else(|| environment.config_file()) {
            Some(asked) => Some(Document::read(asked.to_owned())?),
            None => environment.usual_config_file().map(Document::read_if_there).transpose()?.flatten(),
        };
        Self::from_document(document.as_ref(), flags, environment, secrets, in_use)
    }

    /// The hosts under which our own pages and API may be asked for.
    pub(crate) fn own_hosts(&self) -> Hosts {
        let public = self.public_url.as_ref().map(|url| url.value.0.host.clone());
        let listen = self.listen.value.ip().filter(|ip| !ip.is_unspecified()).and_then(ip_host);
        Hosts::new(public.into_iter().chain(listen).chain(self.hosts.value.iter().cloned()))
    }

    /// The origin of our own pages: the public URL, or else the address listened on.
    pub(crate) fn origin(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.value.text();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.listen.value {
            ListenAt::Tcp(address) => format!("{scheme}://{address}"),
            // Whoever stands before it has a name of its own, and should say so in `public_url`.
            ListenAt::Unix(_) => format!("{scheme}://localhost"),
        }
    }

    /// What the gate decides by.
    pub(crate) fn settings(self) -> fallgate_relay::Settings {
        fallgate_relay::Settings {
            hosts: self.own_hosts(),
            origin: self.origin(),
            reached_at: welcome::reached_at(&self.origin()),
            limits: self.limits,
            routes: self.routes,
            trusted_proxies: self.trusted_proxies.value,
            forward_auth: self.forward_auth.value,
        }
    }

    /// Reads the files that the config only names: our certificate, and the authorities that vouch for upstreams. A
    /// failure says which file, and why.
    pub(crate) fn read_files(&self) -> Result<Option<Arc<OwnCertificate>>, Failure> {
        for route in self.routes.iter() {
            let trust = route.upstream.as_ref().and_then(|upstream| upstream.tls.as_ref());
            if let Some(Err(error)) = trust.map(Trust::prepare) {
                let name = &route.policy.name;
                return Err(Failure::failed(format_args!("the upstream of the route {name}: {error}")));
            }
        }
        let Some(Setting { value: TlsFiles { cert, key }, .. }) = self.tls.clone() else { return Ok(None) };
        let read = OwnCertificate::load(cert, key);
        read.map(Some).map_err(|error| Failure::failed(format_args!("server.tls: {error}")))
    }

    fn from_document(
        document: Option<&Document>,
        flags: &Settings,
        environment: &Environment,
        secrets: Secrets,
        in_use: Option<&Setting<ListenAt>>,
    ) -> Result<Self, Failure> {
        let mut root = document.map(|document| document.root(&TABLES)).transpose()?;
        let server = match &mut root {
            Some(root) => root.table(
                "server",
                &["listen", "public_url", "hosts", "trusted_proxies", "forward_auth", "tls"],
            )?,
            None => None,
        };
        let mut server = ServerSettings { section: server, environment };
        let listen = match flags.listen.clone() {
            Some(value) => Setting { value, source: Source::Flag("--listen") },
            None => server
                .setting("listen", "FALLGATE_LISTEN", |text| {
                    text.parse().map_err(|error: InvalidListenAt| error.to_string())
                })?
                .unwrap_or(Setting { value: LISTEN, source: Source::Default }),
        };
        let public_url =
            server.setting("public_url", "FALLGATE_PUBLIC_URL", |text| Origin::parse(text).map(PublicUrl))?;
        let hosts = server.hosts()?;
        let trusted_proxies = server.trusted_proxies()?;
        let asked = server.forward_auth()?;
        let tls = server.tls()?;
        let (policy, mut rules) = policy::read(root.as_mut())?;
        let access_log = access_log(root.as_mut())?;
        let limits = limits::read(root.as_mut(), &mut rules)?;
        let (mut routes, mut trusts) = (Vec::new(), route::Trusts::default());
        if let Some(root) = &mut root {
            for section in root.tables("route", &route::KEYS)? {
                let lines = Lines::of(&section);
                routes.push((route::read(section, secrets, &mut trusts)?, lines));
            }
        }
        let has_asked = routes.iter().any(|(route, _)| route.upstream.is_none());
        let config = Self {
            file: document.map(|document| document.path().to_owned()),
            listen,
            tls,
            public_url,
            hosts,
            trusted_proxies,
            forward_auth: asked.unwrap_or(Setting { value: has_asked, source: Source::Default }),
            access_log,
            limits,
            policy,
            rules,
            routes: RouteTable::default(),
            route_lines: routes
                .iter()
                .map(|(route, lines)| (route.policy.name.clone(), lines.head))
                .collect(),
        };
        let Some(document) = document else { return Ok(config) };
        for (route, lines) in &routes {
            config
                .check_route(route, *lines, in_use)
                .map_err(|(line, text)| document.complaint(line, text))?;
        }
        let table = table(document, routes)?;
        Ok(Self { routes: table, ..config })
    }

    /// What a route must not be, given the other settings; and the line that says so.
    fn check_route(
        &self,
        route: &Route,
        lines: Lines,
        in_use: Option<&Setting<ListenAt>>,
    ) -> Result<(), (usize, String)> {
        let name = &route.policy.name;
        if let Entrance::Host(host) = &route.entrance {
            let public = self.public_url.as_ref().is_some_and(|url| url.value.0.host == *host);
            if public || self.hosts.value.contains(host) {
                let key = if public { "public_url" } else { "hosts" };
                let text = format!(
                    "the route {name} cannot have the host {host}: server.{key} says that Fallgate's own pages live there"
                );
                return Err((lines.entrance, text));
            }
        }
        // What else is said counts from the next start on; where the service manager listens for us, never.
        let said = match in_use {
            Some(in_use) if in_use.source == Source::ServiceManager => None,
            _ => Some(&self.listen),
        };
        let mut ours = in_use.into_iter().chain(said).map(|setting| &setting.value);
        let address = route.upstream.as_ref().map(|upstream| &upstream.address);
        let leads_here = |listen: &&ListenAt| match (address, listen) {
            (Some(Address::Tcp { host, port }), ListenAt::Tcp(own)) => {
                *port == own.port() && leads_to(host, own.ip())
            }
            (Some(Address::Unix(path)), ListenAt::Unix(own)) => path == own,
            _ => false,
        };
        if let Some(listen) = ours.find(leads_here) {
            let text =
                format!("the upstream of the route {name} is the gate itself, which listens on {listen}");
            return Err((lines.upstream, text));
        }
        Ok(())
    }
}

/// `[log]`: where the access log goes.
fn access_log(root: Option<&mut Section<'_>>) -> Result<Setting<AccessLog>, Failure> {
    let unset = Setting { value: AccessLog::Off, source: Source::Default };
    let Some(root) = root else { return Ok(unset) };
    let Some(mut section) = root.table("log", &["access"])? else { return Ok(unset) };
    let document = section.document;
    let Some(text) = section.text("access")? else { return Ok(unset) };
    let value = text.read(document, "access", |text| match text {
        "off" => Ok(AccessLog::Off),
        "stdout" => Ok(AccessLog::Stdout),
        path if Path::new(path).is_absolute() => Ok(AccessLog::File(path.into())),
        _ => Err("it is \"off\", \"stdout\" or the absolute path of a file"),
    })?;
    Ok(Setting { value, source: Source::Line(text.line) })
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl PublicUrl {
    /// As it is written, without the scheme's own port.
    pub(crate) fn text(&self) -> String {
        self.0.text()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Line(line) => write!(f, "line {line}"),
            Self::ServiceManager => f.write_str("service manager"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// `[server]`, with the variables that beat it.
struct ServerSettings<'a> {
    section: Option<Section<'a>>,
    environment: &'a Environment,
}

impl ServerSettings<'_> {
    fn setting<T>(
        &mut self,
        key: &str,
        variable: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Setting<T>>, Failure> {
        // The file's value is read even when it is beaten: it must make sense all the same.
        let from_file = match &mut self.section {
            None => None,
            Some(section) => match section.text(key)? {
                None => None,
                Some(text) => {
                    let value = text.read(section.document, key, &read)?;
                    Some(Setting { value, source: Source::Line(text.line) })
                }
            },
        };
        match self.environment.text(variable)? {
            None => Ok(from_file),
            Some(text) => {
                let value = read(text).map_err(|error| about_variable(variable, text, &error))?;
                Ok(Some(Setting { value, source: Source::Variable(variable) }))
            }
        }
    }

    /// `hosts` is a list; its variable has commas between them.
    fn hosts(&mut self) -> Result<Setting<Vec<Host<'static>>>, Failure> {
        const VARIABLE: &str = "FALLGATE_HOSTS";
        let mut setting = Setting { value: Vec::new(), source: Source::Default };
        if let Some(section) = &mut self.section {
            for text in section.texts("hosts")? {
                if setting.value.is_empty() {
                    setting.source = Source::Line(text.line);
                }
                setting.value.push(text.read(section.document, "hosts", own_host)?);
            }
        }
        if let Some(text) = self.environment.text(VARIABLE)? {
            let hosts = text.split(',').map(|host| own_host(host.trim()));
            let value = hosts
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| about_variable(VARIABLE, text, &error))?;
            setting = Setting { value, source: Source::Variable(VARIABLE) };
        }
        Ok(setting)
    }
}

impl ServerSettings<'_> {
    /// Addresses and networks. There is no variable for it: it belongs where it is read twice before it is changed.
    fn trusted_proxies(&mut self) -> Result<Setting<TrustedProxies>, Failure> {
        let mut setting = Setting { value: TrustedProxies::default(), source: Source::Default };
        let Some(section) = &mut self.section else { return Ok(setting) };
        let document = section.document;
        let (unix, texts): (Vec<_>, Vec<_>) =
            section.texts("trusted_proxies")?.into_iter().partition(|text| text.value == "unix");
        // One by one, so that a complaint names the line of the one that it is about.
        for text in &texts {
            text.read(document, "trusted_proxies", |text| {
                let network = network(text)?;
                TrustedProxies::new(vec![network]).map(drop).map_err(|error| error.to_string())
            })?;
        }
        let networks = texts.iter().map(|text| text.read(document, "trusted_proxies", network));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = texts.first() {
            let complain = |error| document.complaint(first.line, format_args!("trusted_proxies: {error}"));
            setting.value = TrustedProxies::new(networks).map_err(complain)?;
            setting.source = Source::Line(first.line);
        }
        if let Some(unix) = unix.first() {
            setting.value = setting.value.and_unix();
            setting.source = Source::Line(texts.first().map_or(unix.line, |text| text.line.min(unix.line)));
        }
        Ok(setting)
    }

    /// Whether it was said that other proxies may ask, or may not.
    fn forward_auth(&mut self) -> Result<Option<Setting<bool>>, Failure> {
        let Some(section) = &mut self.section else { return Ok(None) };
        let truth = section.truth("forward_auth")?;
        Ok(truth.map(|truth| Setting { value: truth.value, source: Source::Line(truth.line) }))
    }

    /// There is no variable for it either: it is two files, and goes with what clients are told of this place.
    fn tls(&mut self) -> Result<Option<Setting<TlsFiles>>, Failure> {
        let Some(section) = &mut self.section else { return Ok(None) };
        let document = section.document;
        let Some(mut tls) = section.table("tls", &["cert", "key"])? else { return Ok(None) };
        let cert = tls.required_text("cert", "/etc/fallgate/cert.pem")?;
        let key = tls.required_text("key", "/etc/fallgate/key.pem")?;
        let value = TlsFiles { cert: document.beside(&cert.value), key: document.beside(&key.value) };
        Ok(Some(Setting { value, source: Source::Line(tls.line) }))
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "write an address or a network, such as 127.0.0.1 or 10.0.0.0/8, or unix".to_owned())
}

fn about_variable(variable: &str, text: &str, error: &str) -> Failure {
    let shown: String = text.chars().take(128).collect();
    Failure::failed(format_args!("{variable}={shown:?}: {error}"))
}

fn own_host(text: &str) -> Result<Host<'static>, String> {
    Host::parse_config(text)
        .map(Host::into_owned)
        .map_err(|_| "write a name such as box.example, without scheme, port and path".to_owned())
}

pub(crate) fn ip_host(ip: IpAddr) -> Option<Host<'static>> {
    let text = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Host::parse_config(&text).ok().map(Host::into_owned)
}

/// Whether whoever connects to that host reaches what listens on `listen`, as far as can be told without asking anybody
/// for the name's address.
fn leads_to(host: &str, listen: IpAddr) -> bool {
    let listen = listen.to_canonical();
    let is_name = host == "localhost" || host.ends_with(".localhost");
    let host = match host.parse::<IpAddr>().ok().or_else(|| short_ipv4(host).map(IpAddr::V4)) {
        Some(ip) => ip.to_canonical(),
        None if is_name => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => return false,
    };
    // To connect to "any address" is to connect to this machine.
    let local = host.is_loopback() || host.is_unspecified();
    host == listen || (local && (listen.is_loopback() || listen.is_unspecified()))
}

/// An IPv4 address in the forms that resolvers take beside the usual one: of fewer numbers, the last of which fills
/// the rest, and each decimal, octal or hexadecimal (POSIX `inet_addr`).
fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse::<u32>().ok(),
    };
    let numbers = text.split('.').map(number).collect::<Option<Vec<_>>>()?;
    let (last, first) = numbers.split_last().filter(|(_, first)| first.len() <= 3)?;
    let bytes = first.iter().map(|number| u8::try_from(*number).ok()).collect::<Option<Vec<_>>>()?;
    let room = 8 * (4 - u32::try_from(first.len()).ok()?);
    if u64::from(*last) >= 1 << room {
        return None;
    }
    let shift = |(place, byte): (u32, u8)| u32::from(byte) << (24 - 8 * place);
    Some(Ipv4Addr::from_bits((0..).zip(bytes).map(shift).sum::<u32>() + last))
}

/// The routes as they will be matched.
fn table(document: &Document, routes: Vec<(Route, Lines)>) -> Result<RouteTable, Failure> {
    let lines: Vec<(String, Lines)> =
        routes.iter().map(|(route, lines)| (route.policy.name.to_string(), *lines)).collect();
    // The prefix decides, whatever becomes of it on the way up.
    let prefix = |route: &Route| match &route.entrance {
        Entrance::Path { prefix, .. } => Some(prefix.clone()),
        Entrance::Host(_) => None,
    };
    for (index, (route, lines)) in routes.iter().enumerate() {
        let Some(own) = prefix(route) else { continue };
        if let Some((other, _)) =
            routes.iter().take(index).find(|(other, _)| prefix(other).as_ref() == Some(&own))
        {
            let same =
                InvalidRoutes::SameEntrance(other.policy.name.to_string(), route.policy.name.to_string());
            return Err(document.complaint(lines.entrance, same));
        }
    }
    RouteTable::new(routes.into_iter().map(|(route, _)| route).collect()).map_err(|error| {
        let name = match &error {
            InvalidRoutes::SameName(name)
            | InvalidRoutes::SameEntrance(_, name)
            | InvalidRoutes::OwnPath { name, .. } => name,
        };
        // The last of that name: of two alike, the second is the one too many.
        let last = lines.iter().rev().find(|(other, _)| other == name);
        let line = last.map_or(1, |(_, lines)| match &error {
            InvalidRoutes::SameName(_) => lines.name,
            InvalidRoutes::SameEntrance(..) | InvalidRoutes::OwnPath { .. } => lines.entrance,
        });
        document.complaint(line, error)
    })
}

#[cfg(test)]
mod tests;
