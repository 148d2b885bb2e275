//! The config, the port, and what stands behind the gate.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fallgate_domain::clock::{Clock, SystemClock};
use fallgate_domain::route::Admit;
use fallgate_relay::{Address, ListenAt, Route, Upstream};

use super::Check;
use super::store::Stored;
use crate::config::{Config, Environment};
use crate::home::HomeFolder;
use crate::lifecycle;
use crate::neighbours::Neighbours;

/// How long an upstream or a daemon is given to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a good config amounts to.
pub(super) fn found(config: &Config, environment: &Environment) -> String {
    match &config.file {
        Some(file) => match config.routes.iter().count() {
            1 => format!("{} is good, with one route", file.display()),
            count => format!("{} is good, with {count} routes", file.display()),
        },
        None => format!("{}; all settings have their defaults", environment.no_config_file()),
    }
}

pub(super) fn check(config: &Config, folder: &HomeFolder, stored: &Stored, checks: &mut Vec<Check>) {
    checks.push(port(&config.listen.value, stored.served));
    checks.extend(files(config));
    checks.extend(address(config));
    if config.routes.iter().next().is_none() {
        checks.push(Check::warn(
            "routes",
            "none, so nothing stands behind the gate",
            "add a [[route]] to the config; docs/quick-start.md has one to copy",
        ));
    }
    let neighbours = Neighbours::now();
    for route in config.routes.iter() {
        let name = &route.policy.name;
        checks.push(match &route.upstream {
            None => Check::ok("route", format!("{name}: another proxy serves it and asks Fallgate")),
            Some(Upstream { address, origin, .. }) => match reach(address) {
                Ok(()) => Check::ok("route", format!("{name}: {origin} answers")),
                Err(error) => Check::warn(
                    "route",
                    format!("{name}: nobody answers at {origin}: {error}"),
                    "start it, or correct `upstream` in the config",
                ),
            },
        });
        checks.extend(admission(route, folder, stored));
        checks.extend(public(route));
        checks.extend(same_user(route, &neighbours));
    }
}

/// What the config names and TLS needs.
fn files(config: &Config) -> Option<Check> {
    let fix = "correct the path, or what stands in the file; both are in PEM form";
    match config.read_files() {
        Err(error) => Some(Check::fail("tls", error.to_string(), fix)),
        Ok(certificate) => {
            let doubts = config.certificate_doubts(&*certificate?, SystemClock.now());
            let fix = "have one made for those names, and renewed in time; the gate takes it in by itself";
            (!doubts.is_empty()).then(|| Check::warn("tls", doubts.join(", and "), fix))
        }
    }
}

/// Free, taken by a Fallgate, or taken by something else.
fn port(listen: &ListenAt, served: bool) -> Check {
    let bound = match listen {
        ListenAt::Tcp(address) => TcpListener::bind(address).map(drop),
        ListenAt::Unix(path) => free_path(path),
    };
    match bound {
        Ok(()) if served => {
            return Check::warn(
                "port",
                format!("a gate serves this home, but not at {listen}"),
                "give the --listen and --config that it was started with",
            );
        }
        Ok(()) => return Check::ok("port", format!("{listen} is free; `fallgate serve` would take it")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        Err(error) => {
            let fix = "choose another address with --listen or server.listen";
            return Check::fail("port", format!("cannot listen on {listen}: {error}"), fix);
        }
    }
    let answer = ask(listen).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    if answer.ends_with(r#"{"status":"ok"}"#) && served {
        Check::ok("port", format!("a gate listens on {listen}, and is well"))
    } else if answer.contains("TLS is spoken here") && served {
        Check::ok("port", format!("a gate listens on {listen}, by TLS"))
    } else if answer.ends_with(r#"{"status":"ok"}"#) {
        Check::fail(
            "port",
            format!("a gate listens on {listen}, but serves another home than this one"),
            "name its folder with --home, or stop it, or choose another address with --listen",
        )
    } else if answer.contains("Fallgate") {
        Check::fail(
            "port",
            format!("a gate listens on {listen}, but cannot read its store"),
            "see what it logs; if its database was replaced or restored, restart it",
        )
    } else {
        Check::fail(
            "port",
            format!("another program listens on {listen}"),
            "stop it, or choose another address with --listen or server.listen",
        )
    }
}

/// Whether a socket could be made there: nobody listens, or there is nothing yet.
fn free_path(path: &Path) -> std::io::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What whoever listens there says of its health.
fn ask(listen: &ListenAt) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match listen {
        ListenAt::Tcp(address) => {
            let here = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            let asked = SocketAddr::new(here, address.port());
            let mut stream = TcpStream::connect_timeout(&asked, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET /health HTTP/1.1\r\nHost: {asked}\r\nConnection: close\r\n\r\n")?;
            let _ = stream.take(4_096).read_to_end(&mut answer);
        }
        ListenAt::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let _ = stream.take(4_096).read_to_end(&mut answer);
        }
    }
    Ok(answer)
}

/// Passphrases and tokens in the clear on a network.
fn address(config: &Config) -> Option<Check> {
    config.is_exposed().then(|| {
        let listen = &config.listen.value;
        Check::warn(
            "port",
            format!("{listen} can be reached from other machines, and there is no https in front of it"),
            "set server.tls, or put a proxy with TLS before it, set server.public_url and name the proxy in server.trusted_proxies, or listen on 127.0.0.1",
        )
    })
}

fn reach(upstream: &Address) -> std::io::Result<()> {
    match upstream {
        Address::Unix(path) => UnixStream::connect(path).map(drop),
        Address::Tcp { host, port } => {
            let mut last = std::io::Error::from(ErrorKind::NotFound);
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// Names in `allow` that nobody has.
fn admission(route: &Route, folder: &HomeFolder, stored: &Stored) -> Vec<Check> {
    let Some(users) = &stored.users else { return Vec::new() };
    let nobody = |entry: &Admit| match entry {
        Admit::User(name) if !users.iter().any(|user| user.username == *name) => Some(Check::warn(
            "route",
            format!("{} allows user:{name}, and there is no such user", route.policy.name),
            format!(
                "correct the name in the config, or make the user: {}",
                folder.command(format_args!("user create {name}"))
            ),
        )),
        _ => None,
    };
    route.policy.admission.allow.iter().filter_map(nobody).collect()
}

fn public(route: &Route) -> Option<Check> {
    route.policy.terms.public.iter().any(|path| path.as_str() == "/").then(|| {
        Check::warn(
            "route",
            format!("{}: public = [\"/\"] opens all of it to anybody", route.policy.name),
            "name only the paths that need no credential",
        )
    })
}

/// Whoever runs as Fallgate's own user can read its home folder.
fn same_user(route: &Route, neighbours: &Neighbours) -> Option<Check> {
    let user = lifecycle::user_id();
    (neighbours.user_of(route) == Some(user)).then(|| {
        Check::warn(
            "route",
            format!(
                "{}: its upstream runs as {}, as Fallgate does, and so can read the home folder",
                route.policy.name,
                lifecycle::user_name(user)
            ),
            "run Fallgate as an OS user of its own",
        )
    })
}
