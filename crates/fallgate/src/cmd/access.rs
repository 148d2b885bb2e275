//! `fallgate login`, `logout`, `status`, `passwd`: this user's sign-in to a gate.

use std::io::{self, IsTerminal};

use fallgate_domain::credential::TokenName;
use fallgate_domain::name::on_one_line;
use fallgate_domain::token::PlainToken;
use fallgate_domain::user::Username;
use fallgate_web::view::{EndedView, WhoAmI};
use serde::Serialize;
use ureq::http::Method;

use crate::cli::{Format, Login, Passwd, Where};
use crate::client::{Client, Fault, SavedLogin, SavedLogins, With};
use crate::cmd::device_login;
use crate::cmd::passphrase::PassphraseSource;
use crate::cmd::user::{Tokens, ended_in_words};
use crate::config::{Environment, Origin};
use crate::failure::Failure;
use crate::output;
use crate::place::Server;

/// Where `serve` listens when nothing is said.
const USUAL: &str = "http://127.0.0.1:7400";
/// What a machine without a name is called in the list of devices.
const NAMELESS: &str = "command line";

#[derive(Serialize)]
struct SignIn<'a> {
    username: &'a Username,
    passphrase: &'a str,
    device_name: &'a str,
}

#[derive(Serialize)]
struct Change<'a> {
    current: &'a str,
    new: &'a str,
    revoke_tokens: bool,
}

pub(crate) fn login(login: Login, flags: &Where, environment: &Environment) -> Result<(), Failure> {
    let client = || Client::new(gate(flags, environment, Some(USUAL))?);
    let has_terminal = io::stdin().is_terminal();
    if login.device || (login.username.is_none() && !has_terminal) {
        let client = client()?;
        ready(&client)?;
        let device_name = login.device_name.map_or_else(machine_name, TokenName::into_string);
        let (me, secret) = device_login::sign_in(&client, &device_name)?;
        return keep(&client, &me, &secret, login.format.json);
    }
    let source = PassphraseSource::choose(login.passphrase_stdin)?;
    let client = client()?;
    ready(&client)?;
    let gate = client.origin().text();
    let username = match login.username {
        Some(username) => username,
        None => ask_username(&gate)?,
    };
    let passphrase = source.read_current(&format!("Passphrase for {username} at {gate}: "))?;
    let device_name = login.device_name.map_or_else(machine_name, TokenName::into_string);
    let body = SignIn { username: &username, passphrase: &passphrase, device_name: &device_name };
    let (me, secret): (WhoAmI, _) = client.sign_in(&body).map_err(Fault::into_failure)?;
    keep(&client, &me, &secret, login.format.json)
}

/// Nobody should type a passphrase for nothing, nor to a stranger.
fn ready(client: &Client) -> Result<(), Failure> {
    SavedLogins::read(client.server().file()?)?;
    client.greet()
}

/// Saves a sign-in that was made, in the place of the one before, which ends.
fn keep(client: &Client, me: &WhoAmI, secret: &PlainToken, json: bool) -> Result<(), Failure> {
    let (gate, file) = (client.origin().text(), client.server().file()?);
    let drop_it = |secret: &PlainToken| {
        // What nobody can use any more is not to stand.
        let _ = end(client, With::Secret(secret.expose()));
    };
    let Some(username) = me.username.clone() else {
        drop_it(secret);
        return Err(Failure::failed(format_args!(
            "{gate} does not say whose sign-in it has made: nothing is saved"
        )));
    };
    let saved = SavedLogin {
        username: username.clone(),
        id: me.credential.id,
        expires_at: me.credential.expires_at,
        secret: secret.clone(),
    };
    let before = SavedLogins::replace(file, client.origin(), Some(saved)).inspect_err(|_| drop_it(secret))?;
    if let Some(before) = before
        && let Err(failure) = end(client, With::Secret(before.secret.expose()))
    {
        output::warn(format_args!("the sign-in before, {}, is not ended: {failure}", before.id));
    }
    output::say(format_args!(
        "Signed in to {gate} as {username}, until {} at the latest. Commands with --server {gate} use it",
        output::or_never(me.credential.expires_at)
    ));
    if client.server().token.is_some() {
        output::warn("FALLGATE_TOKEN is set, and goes before what is saved: unset it to use the sign-in");
    }
    if json { output::data(&output::json(me)?) } else { Ok(()) }
}

pub(crate) fn logout(flags: &Where, environment: &Environment) -> Result<(), Failure> {
    let client = Client::new(gate(flags, environment, None)?)?;
    let (gate, file) = (client.origin().text(), client.server().file()?);
    let saved = SavedLogins::read(file)?;
    let login =
        saved.of(client.origin()).ok_or_else(|| Failure::failed(format_args!("not signed in to {gate}")))?;
    end(&client, With::Secret(login.secret.expose())).map_err(|failure| {
        Failure::failed(format_args!(
            "{failure}; still signed in. To forget it on this machine only, take it out of {}",
            file.display()
        ))
    })?;
    SavedLogins::replace(file, client.origin(), None)?;
    output::say(format_args!("Signed out of {gate}"));
    Ok(())
}

pub(crate) fn status(format: &Format, flags: &Where, environment: &Environment) -> Result<(), Failure> {
    let client = Client::new(gate(flags, environment, None)?)?;
    let me: WhoAmI = client.get("/api/whoami").map_err(Fault::into_failure)?;
    if format.json {
        return output::data(&output::json(&me)?);
    }
    let source = if client.server().token.is_some() { ", from FALLGATE_TOKEN" } else { "" };
    let credential = &me.credential;
    let lines = [
        ("server", client.origin().text()),
        ("username", me.username.as_ref().map_or_else(|| "—".to_owned(), ToString::to_string)),
        ("role", on_one_line(&me.role).into_owned()),
        ("credential", format!("{} {} ({}){source}", credential.kind.name(), credential.id, credential.name)),
        ("scopes", credential.scopes.to_string()),
        ("expires", output::or_never(credential.expires_at)),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<12}{value}"));
    output::data(&format!("{}\n", lines.join("\n")))
}

pub(crate) fn passwd(passwd: &Passwd, flags: &Where, environment: &Environment) -> Result<(), Failure> {
    let source = PassphraseSource::choose(passwd.passphrase_stdin)?;
    let mut server = gate(flags, environment, None)?;
    if SavedLogins::read(server.file()?)?.of(&server.origin).is_some() {
        // A token will not do.
        server.token = None;
    }
    let client = Client::new(server)?;
    // Nobody should think up a passphrase for nothing.
    client.get::<WhoAmI>("/api/whoami").map_err(Fault::into_failure)?;
    let (current, new) = source.read_change()?;
    let body = Change { current: &current, new: &new, revoke_tokens: passwd.revoke_tokens };
    let ended: EndedView =
        client.send(Method::POST, "/api/account/passphrase", &body).map_err(Fault::into_failure)?;
    let tokens = if passwd.revoke_tokens { Tokens::WithWorkers } else { Tokens::Kept("your tokens stay") };
    output::say(format_args!("You have a new passphrase; {}", ended_in_words(&ended, tokens)));
    if passwd.format.json { output::data(&output::json(&ended)?) } else { Ok(()) }
}

/// Signs out. One that has ended before is as good.
fn end(client: &Client, with: With<'_>) -> Result<(), Failure> {
    match client.act(Method::POST, "/api/logout", None::<&()>, with) {
        Ok(()) | Err(Fault::Refused(401, _)) => Ok(()),
        Err(fault) => Err(fault.into_failure()),
    }
}

/// The gate that was named; else the only one there is a sign-in to; else `otherwise`.
fn gate(flags: &Where, environment: &Environment, otherwise: Option<&str>) -> Result<Server, Failure> {
    if flags.home.is_some() {
        return Err(Failure::usage("this is about a gate: name it with --server, and leave --home out"));
    }
    if let Some(server) = Server::named(flags, environment)? {
        return Ok(server);
    }
    let saved = SavedLogins::read(&environment.credentials_file()?)?;
    let gates: Vec<&str> = saved.gates().collect();
    let only = match (gates.as_slice(), otherwise) {
        ([only], _) => only,
        ([], Some(otherwise)) => otherwise,
        ([], None) => {
            return Err(Failure::failed(
                "not signed in to any gate: use `fallgate login --server URL`, or name one with --server",
            ));
        }
        (several, _) => {
            return Err(Failure::usage(format_args!(
                "there are sign-ins to {}: name one with --server",
                several.join(" and ")
            )));
        }
    };
    let origin = Origin::parse(only).map_err(Failure::failed)?;
    Server::at(origin, false, flags, environment)
}

fn ask_username(gate: &str) -> Result<Username, Failure> {
    output::ask(format_args!("Username at {gate}: "));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::failed(format_args!("cannot read the username: {error}")))?;
    answer.trim().parse().map_err(Failure::failed)
}

fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    if plain.trim().is_empty() { NAMELESS.to_owned() } else { plain }
}
