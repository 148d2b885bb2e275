//! `fallgate pair`

use std::io::{self, IsTerminal};
use std::time::Duration;

use fallgate_domain::id::PairingId;
use fallgate_domain::name::on_one_line;
use fallgate_domain::user::Username;
use fallgate_web::view::{PairingView, StartedPairingView, WhoAmI};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use ureq::http::Method;

use crate::cli::Pair;
use crate::client::{Client, Fault, With};
use crate::cmd::consent::is_yes;
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::place::Place;
use crate::{cmd, output, welcome};

/// How long a running gate may take to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How often it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where the code is made, and who lets the device in there.
enum Side {
    Home(HomeFolder),
    Server(Box<Client>),
}

#[derive(Serialize)]
struct Answer {
    allow: bool,
}

pub(crate) fn run(pair: &Pair, place: Place) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on whether to let the device in: run it on one, or pair on the page /pair/new",
        ));
    }
    let side = match place {
        Place::Home(here) => Side::Home(here.folder),
        Place::Server(server) => Side::Server(Box::new(Client::new(server)?)),
    };
    cmd::runtime()?.block_on(pair_device(pair, &side))
}

async fn pair_device(pair: &Pair, side: &Side) -> Result<(), Failure> {
    let mut stops = Stops::catch()?;
    let started = side.start(pair.username.as_ref())?;
    let paired = match show(&started, pair.format.json) {
        Ok(()) => tokio::select! {
            paired = attend(&started, side) => paired,
            () = stops.next() => Err(Failure::failed("stopped: the code is good for nothing any more")),
        },
        Err(failure) => Err(failure),
    };
    if paired.is_err() {
        // It goes by itself too, a little later.
        let _ = side.withdraw(started.id);
    }
    let pairing = paired?;
    if pair.format.json {
        return output::data(&output::json(&pairing)?);
    }
    output::say(format_args!("{} is signed in as {}", device(&pairing), pairing.username));
    Ok(())
}

fn show(started: &StartedPairingView, json: bool) -> Result<(), Failure> {
    let (username, link) = (&started.username, started.url.as_str());
    if json {
        return output::data(&output::json(started)?);
    }
    if welcome::is_within_reach(link.split_once("/pair#").map_or(link, |(origin, _)| origin)) {
        output::say(format_args!(
            "Scan this with the phone that is to be signed in as {username}, or open the link there, within two minutes. Ctrl+C ends it."
        ));
        output::data(&welcome::code_and_link(link)?)
    } else {
        output::say(welcome::OUT_OF_REACH);
        output::say(format_args!(
            "A browser on this machine can open this link, within two minutes, to be signed in as {username}. Ctrl+C ends it."
        ));
        output::data(&format!("{link}\n"))
    }
}

/// Waits for a device, asks whether it is to be let in, and waits until it is.
async fn attend(started: &StartedPairingView, side: &Side) -> Result<PairingView, Failure> {
    let asked = until_not("waiting", side, started.id).await?;
    if asked.status == "asked" {
        let allow = tokio::select! {
            allow = ask(&asked) => allow?,
            // It was too late, or somebody else was asked.
            over = until_not("asked", side, started.id) => {
                output::say("");
                return done(over?);
            }
        };
        side.answer(started.id, allow)?;
    }
    done(until_not("allowed", side, started.id).await?)
}

/// It is done, or why it is not.
fn done(pairing: PairingView) -> Result<PairingView, Failure> {
    match pairing.status.as_str() {
        "done" => Ok(pairing),
        "refused" => Err(Failure::failed("refused: the device was not signed in")),
        "late" => {
            Err(Failure::failed("two minutes are over: nobody was signed in; run it again for another code"))
        }
        "worn" => Err(Failure::failed(
            "somebody tried five wrong codes, which has ended this one; run it again for another",
        )),
        _ => Err(Failure::failed("the code has ended, and nobody was signed in; run it again for another")),
    }
}

/// Asks on the terminal. A line is read on a thread that nobody waits for: a device that gives up is told at once.
async fn ask(pairing: &PairingView) -> Result<bool, Failure> {
    let from = pairing.ip.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
    let number = pairing.number.unwrap_or_default();
    output::say(format_args!(
        "{} wants to pair, from {from}. It must show the number {number}.",
        device(pairing)
    ));
    output::ask("Let it in? [y/N] ");
    let (sender, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = sender.send(io::stdin().read_line(&mut line).map(|_| line));
    });
    let line = answer.await.map_err(Failure::failed)?;
    let line = line.map_err(|error| Failure::failed(format_args!("cannot read the answer: {error}")))?;
    Ok(is_yes(&line))
}

fn device(pairing: &PairingView) -> String {
    let name = pairing.device_name.as_deref().unwrap_or("a device");
    format!("\"{}\"", on_one_line(name))
}

async fn until_not(status: &str, side: &Side, id: PairingId) -> Result<PairingView, Failure> {
    loop {
        let pairing = side.look(id)?;
        if pairing.status != status {
            return Ok(pairing);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Side {
    fn start(&self, username: Option<&Username>) -> Result<StartedPairingView, Failure> {
        match self {
            Self::Home(folder) => {
                control::ask(folder, &Request::Pair { username: username.cloned() }, WITHIN)
            }
            Self::Server(client) => {
                let me: WhoAmI = client.get("/api/whoami").map_err(Fault::into_failure)?;
                if let Some(other) = username.filter(|name| me.username.as_ref() != Some(name)) {
                    let me = me.username.as_ref().map_or("nobody", Username::as_str);
                    return Err(Failure::failed(format_args!(
                        "{} pairs devices for whoever is signed in, which is {me} and not {other}: sign in as {other}, or run it on the gate's machine",
                        client.origin().text()
                    )));
                }
                let nothing = serde_json::Map::new();
                client.send(Method::POST, "/api/pairings", &nothing).map_err(Fault::into_failure)
            }
        }
    }

    fn look(&self, id: PairingId) -> Result<PairingView, Failure> {
        match self {
            Self::Home(folder) => control::ask(folder, &Request::Pairing { id }, WITHIN),
            Self::Server(client) => client.get(&format!("/api/pairings/{id}")).map_err(Fault::into_failure),
        }
    }

    fn answer(&self, id: PairingId, allow: bool) -> Result<PairingView, Failure> {
        match self {
            Self::Home(folder) => control::ask(folder, &Request::AnswerPairing { id, allow }, WITHIN),
            Self::Server(client) => {
                let answered = client.send(Method::POST, &format!("/api/pairings/{id}"), &Answer { allow });
                answered.map_err(Fault::into_failure)
            }
        }
    }

    fn withdraw(&self, id: PairingId) -> Result<(), Failure> {
        match self {
            Self::Home(folder) => control::ask(folder, &Request::WithdrawPairing { id }, WITHIN),
            Self::Server(client) => {
                let address = format!("/api/pairings/{id}");
                let withdrawn = client.act(Method::DELETE, &address, None::<&()>, With::Usual);
                withdrawn.map_err(Fault::into_failure)
            }
        }
    }
}

/// What ends the command from outside. The code ends with it.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stops {
    fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
