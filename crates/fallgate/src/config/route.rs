//! `[[route]]`: what stands behind the gate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fallgate_authority::RoutePolicy;
use fallgate_domain::host::Host;
use fallgate_domain::path::CanonicalPath;
use fallgate_domain::route::{Admission, RouteName};
use fallgate_relay::{Address, Authorization, Entrance, Identity, Paths, Route, Trust, Upstream};

use super::file::{Located, Section};
use super::origin::Origin;
use crate::failure::Failure;

/// What can stand in a `[[route]]`.
pub(super) const KEYS: [&str; 10] = [
    "name",
    "host",
    "path",
    "upstream",
    "allow",
    "public",
    "strip",
    "upstream_host",
    "upstream_ca",
    "identity",
];

/// The authorities that routes name, each once: what is read of them is shared.
#[derive(Debug, Default)]
pub(super) struct Trusts(BTreeMap<Option<PathBuf>, Trust>);

impl Trusts {
    fn of(&mut self, file: Option<PathBuf>) -> Trust {
        self.0.entry(file.clone()).or_insert_with(|| Trust::new(file)).clone()
    }
}

/// Reads one route.
pub(super) fn read(mut section: Section<'_>, trusts: &mut Trusts) -> Result<Route, Failure> {
    let document = section.document;
    let name: RouteName = section.required_text("name", "app")?.read(document, "name", str::parse)?;
    let entrance = entrance(&mut section, &name)?;
    let upstream = section.required_text("upstream", "http://127.0.0.1:3000")?;
    let (mut upstream, https) = upstream.read(document, "upstream", upstream_address)?;
    upstream.tls = match section.text("upstream_ca")? {
        Some(file) if https => Some(trusts.of(Some(document.beside(&file.value)))),
        Some(file) => {
            let text = "upstream_ca goes with an upstream by https: nobody proves who they are otherwise";
            return Err(document.complaint(file.line, text));
        }
        None => https.then(|| trusts.of(None)),
    };
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
    Ok(Route {
        policy: Arc::new(RoutePolicy::new(name, Admission { allow })),
        entrance,
        upstream: Some(upstream),
        upstream_host,
        public,
        identity,
        authorization: Authorization::default(),
        inject: Vec::new(),
        max_stream_age: None,
        paths: Paths::default(),
        same_origin: false,
        upgrades: Vec::new(),
    })
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
        _ => Err("it is either \"none\" or \"headers\""),
    }
}
