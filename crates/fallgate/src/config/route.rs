//! `[[route]]`: what stands behind the gate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::{RoutePolicy, Terms};
use fallgate_domain::host::Host;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::origin::Origin;
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::{Admission, RouteName};
use fallgate_relay::{Address, Authorization, Entrance, Identity, Paths, Route, Trust, Upstream};

use super::file::{Located, Section};
use super::inject::{self, Secrets};
use crate::failure::Failure;

/// What can stand in a `[[route]]`.
pub(super) const KEYS: [&str; 17] = [
    "name",
    "host",
    "path",
    "upstream",
    "allow",
    "public",
    "strip",
    "upstream_host",
    "upstream_ca",
    "upstream_http2",
    "identity",
    "authorization",
    "inject",
    "max_stream_age",
    "paths",
    "same_origin",
    "upgrades",
];

/// What only a route that sends requests up can have.
const FOR_UPSTREAMS: [&str; 7] =
    ["upstream_host", "upstream_ca", "upstream_http2", "inject", "max_stream_age", "upgrades", "paths"];

/// The authorities that routes name, each once: what is read of them is shared.
#[derive(Debug, Default)]
pub(super) struct Trusts(BTreeMap<Option<PathBuf>, Trust>);

impl Trusts {
    fn of(&mut self, file: Option<PathBuf>) -> Trust {
        self.0.entry(file.clone()).or_insert_with(|| Trust::new(file)).clone()
    }
}

/// The lines on which a route says what others may say too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// Of the route's head.
    pub(super) head: usize,
    pub(super) name: usize,
    /// Of its host or its path.
    pub(super) entrance: usize,
    pub(super) upstream: usize,
}

impl Lines {
    /// Of a route of which nothing was read yet.
    pub(super) fn of(section: &Section<'_>) -> Self {
        let entrance = section.first_of(&["host", "path"]).map_or(section.line, |(_, line)| line);
        let (name, upstream) = (section.line_of("name"), section.line_of("upstream"));
        Self { head: section.line, name, entrance, upstream }
    }
}

/// Reads one route.
pub(super) fn read(
    mut section: Section<'_>,
    secrets: Secrets,
    trusts: &mut Trusts,
) -> Result<Route, Failure> {
    let document = section.document;
    let name: RouteName = section.required_text("name", "app")?.read(document, "name", str::parse)?;
    let entrance = entrance(&mut section, &name)?;
    let (upstream, by_tls) = match section.text("upstream")? {
        Some(text) => {
            let (upstream, by_tls) = text.read(document, "upstream", upstream_address)?;
            (Some(upstream), by_tls)
        }
        None => (None, false),
    };
    if upstream.is_none()
        && let Some((key, line)) = section.first_of(&FOR_UPSTREAMS)
    {
        return Err(document.complaint(
            line,
            format_args!(
                "{key} needs an upstream, such as upstream = \"http://127.0.0.1:3000\": without one, another proxy \
                 serves the route {name} and only asks Fallgate"
            ),
        ));
    }
    let http2 = section.truth("upstream_http2")?.is_some_and(|http2| http2.value);
    let tls = match section.text("upstream_ca")? {
        Some(file) if by_tls => Some(trusts.of(Some(document.beside(&file.value)))),
        Some(file) => {
            let text = "upstream_ca goes with an upstream by https: nobody proves who they are otherwise";
            return Err(document.complaint(file.line, text));
        }
        None => by_tls.then(|| trusts.of(None)),
    };
    let upstream = upstream.map(|upstream| Upstream { tls, http2, ..upstream });
    let upstream_host = match section.text("upstream_host")? {
        Some(text) => Some(text.read(document, "upstream_host", host_field)?),
        None => None,
    };
    let allow = section.texts("allow")?;
    let allow = allow.iter().map(|entry| entry.read(document, "allow", str::parse));
    let allow = allow.collect::<Result<Vec<_>, _>>()?;
    let public = section.texts("public")?;
    let public = public.iter().map(|entry| entry.read(document, "public", path));
    let public = public.collect::<Result<Vec<_>, _>>()?;
    let identity = match section.text("identity")? {
        Some(text) => text.read(document, "identity", identity)?,
        None => Identity::default(),
    };
    let authorization = match section.text("authorization")? {
        Some(text) => text.read(document, "authorization", authorization)?,
        None => Authorization::default(),
    };
    let max_stream_age = match section.text("max_stream_age")? {
        Some(text) => text.read(document, "max_stream_age", stream_age)?,
        None => Some(STREAM_AGE),
    };
    let upgrades = section.texts("upgrades")?;
    let upgrades = upgrades.iter().map(|entry| entry.read(document, "upgrades", protocol));
    let paths = paths(&mut section, &entrance, &public)?;
    let takes_cookies = takes_cookies(&mut section, &entrance)?;
    let terms = Terms { public, takes_cookies, max_stream_age };
    Ok(Route {
        inject: inject::read(&mut section, secrets)?,
        paths,
        upgrades: upgrades.collect::<Result<Vec<_>, _>>()?,
        policy: Arc::new(RoutePolicy::new(name, Admission { allow }).on(terms)),
        entrance,
        upstream,
        upstream_host,
        identity,
        authorization,
    })
}

/// How long a stream lasts if nothing is said.
const STREAM_AGE: Duration = Duration::from_secs(86_400);

fn stream_age(text: &str) -> Result<Option<Duration>, &'static str> {
    match text.parse() {
        Ok(Lifetime::Never) => Ok(None),
        Ok(Lifetime::For(age)) if !age.is_zero() => Ok(Some(age)),
        _ => Err("write a duration such as 24h or 30m, or never"),
    }
}

fn authorization(text: &str) -> Result<Authorization, &'static str> {
    match text {
        "ours" => Ok(Authorization::Ours),
        "pass" => Ok(Authorization::Pass),
        _ => Err("it is either \"ours\" or \"pass\""),
    }
}

/// A protocol that a connection may change to.
fn protocol(text: &str) -> Result<String, &'static str> {
    let name = text.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("write the name of a protocol, as it stands in an Upgrade field");
    }
    // What goes on behind it would be HTTP that nobody looks at.
    if name.split('/').next().is_some_and(|first| matches!(first, "h2c" | "h2" | "tls" | "http")) {
        return Err("requests inside it would pass unseen: HTTP itself and TLS cannot be changed to");
    }
    Ok(name)
}

/// `paths = "raw"`: only where nothing is decided by the path.
fn paths(
    section: &mut Section<'_>,
    entrance: &Entrance,
    public: &[CanonicalPath<'static>],
) -> Result<Paths, Failure> {
    let document = section.document;
    let Some(text) = section.text("paths")? else { return Ok(Paths::default()) };
    let paths = text.read(document, "paths", |text| match text {
        "canonical" => Ok(Paths::Canonical),
        "raw" => Ok(Paths::Raw),
        _ => Err("it is either \"canonical\" or \"raw\""),
    })?;
    let decides_by_path = matches!(entrance, Entrance::Path { .. }) || !public.is_empty();
    if paths == Paths::Raw && decides_by_path {
        let words = "paths = \"raw\" is for a route with a host and no public paths: elsewhere the path is decided on, and what is decided on is what goes up";
        return Err(document.complaint(text.line, words));
    }
    Ok(paths)
}

/// `same_origin` goes with a path: a host has an origin of its own, and takes cookies anyway.
fn takes_cookies(section: &mut Section<'_>, entrance: &Entrance) -> Result<bool, Failure> {
    let document = section.document;
    match (section.truth("same_origin")?, entrance) {
        (Some(truth), Entrance::Host(_)) => Err(document.complaint(
            truth.line,
            "same_origin goes with path: a route with a host has an origin of its own, and takes cookies anyway",
        )),
        (None, Entrance::Host(_)) => Ok(true),
        (truth, Entrance::Path { .. }) => Ok(truth.is_some_and(|truth| truth.value)),
    }
}

/// Exactly one of `host` and `path`; `strip` goes with a path.
fn entrance(section: &mut Section<'_>, name: &RouteName) -> Result<Entrance, Failure> {
    let document = section.document;
    let strip = section.truth("strip")?;
    match (section.text("host")?, section.text("path")?) {
        (Some(host), None) => match strip {
            Some(Located { line, .. }) => {
                let text = format_args!(
                    "strip goes with path: the route {name} has a host, so nothing is taken off"
                );
                Err(document.complaint(line, text))
            }
            None => host.read(document, "host", |text| {
                Host::parse_config(text).map(|host| Entrance::Host(host.into_owned()))
            }),
        },
        (None, Some(text)) => {
            let prefix = text.read(document, "path", prefix)?;
            Ok(Entrance::Path { prefix, strip: strip.is_none_or(|strip| strip.value) })
        }
        (Some(_), Some(path)) => Err(document.complaint(
            path.line,
            format_args!("the route {name} has a host and a path: leave one of them out"),
        )),
        (None, None) => Err(document.complaint(
            section.line,
            format_args!(
                "the route {name} needs a place to come in: host = \"app.example\" or path = \"/app\""
            ),
        )),
    }
}

/// A prefix in canonical form, without a slash at its end.
fn prefix(text: &str) -> Result<CanonicalPath<'static>, String> {
    let path = path(text)?;
    if path.as_str() == "/" {
        return Err("all paths together are a route by host: write host = \"app.example\" instead".to_owned());
    }
    let bare = path.as_str().trim_end_matches('/');
    Ok(CanonicalPath::parse(bare.as_bytes()).map_err(|error| error.to_string())?.into_owned())
}

fn path(text: &str) -> Result<CanonicalPath<'static>, String> {
    if text.contains(';') {
        return Err(
            "a ; and what follows it is not looked at when paths are compared: leave it out".to_owned()
        );
    }
    CanonicalPath::parse(text.as_bytes())
        .map(CanonicalPath::into_owned)
        .map_err(|error| format!("{error}; a path is written like /app/files"))
}

/// Where an upstream listens, what its own redirects may call it, and whether it is spoken to by https.
fn upstream_address(text: &str) -> Result<(Upstream, bool), String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if Path::new(path).is_absolute() {
            let address = Address::Unix(path.into());
            Ok((Upstream { address, tls: None, http2: false, origin: text.to_owned() }, false))
        } else {
            Err("a unix socket has an absolute path: unix:/run/app.sock".to_owned())
        };
    }
    let origin = Origin::parse(text).map_err(|error| {
        format!("{error}; an upstream is http://host:port, https://host:port or unix:/path")
    })?;
    let host = origin.host.as_str().trim_matches(['[', ']']).to_owned();
    let address = Address::Tcp { host, port: origin.port };
    Ok((Upstream { address, tls: None, http2: false, origin: origin.text() }, origin.https))
}

/// A `Host` field's value, as it will be sent.
fn host_field(text: &str) -> Result<String, String> {
    match Host::parse_header(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}, with a port if need be")),
    }
}

fn identity(text: &str) -> Result<Identity, &'static str> {
    match text {
        "none" => Ok(Identity::default()),
        "headers" => Ok(Identity { headers: true, assertion: false }),
        "assertion" => Ok(Identity { headers: false, assertion: true }),
        "both" => Ok(Identity { headers: true, assertion: true }),
        _ => Err("it is \"none\", \"headers\", \"assertion\" or \"both\""),
    }
}
