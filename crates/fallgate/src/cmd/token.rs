//! `fallgate token …`

use std::io::{self, IsTerminal};

use fallgate_authority::{Denial, WorkerEnd};
use fallgate_domain::clock::{Clock, SystemClock};
use fallgate_domain::credential::{CredentialKind, Status, TokenName};
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::Lifetime;
use fallgate_domain::name::on_one_line;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::secret::SecretText;
use fallgate_domain::user::Username;
use fallgate_domain::worker;
use fallgate_web::view::{Inspected, InspectedWorkerView, MintedView, TokenView};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::Token;
use crate::cmd::consent::Consent;
use crate::cmd::passphrase::first_line;
use crate::desk::{Desk, NewToken, Revocation};
use crate::failure::Failure;
use crate::place::Place;
use crate::{cmd, output, qr};

const HEADING: [&str; 8] = ["ID", "USER", "NAME", "KIND", "SCOPES", "CREATED", "EXPIRES", "LAST USED"];

/// In a list, the scopes that a token gets when none are asked for.
const USUAL: &str = "default";

pub(crate) fn run(verb: Token, place: Place) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Token::Create { username, name, scopes, expires, qr: as_qr, format } => {
            if username.is_none() && matches!(place, Place::Home(_)) {
                return Err(Failure::usage("whose will the token be? On a home folder, give --username"));
            }
            let new = NewToken { owner: username, name, scopes: wanted(scopes)?, lifetime: expires };
            runtime.block_on(create(place, new, as_qr, format.json))
        }
        Token::List { user, all, format } => runtime.block_on(list(place, user.as_ref(), all, format.json)),
        Token::Revoke { all: true, user, yes, .. } => {
            let consent = Consent::choose(yes, "revoke all tokens")?;
            runtime.block_on(revoke_all(place, user.as_ref(), consent))
        }
        Token::Revoke { stdin: true, .. } => runtime.block_on(revoke_held(place)),
        Token::Revoke { ids, .. } if ids.is_empty() => Err(Failure::usage(
            "which tokens? Give their ids, as `fallgate token list` shows them; or --all; or --stdin for the one whose secret is there",
        )),
        Token::Revoke { ids, expires_at, force, .. } => {
            let ids = ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?;
            // One that is past is refused anyway.
            if let Some(end) = expires_at.filter(|end| force && *end > SystemClock.now()) {
                output::warn(format_args!(
                    "a worker token that ends later than {end}, or was renewed and does, is good again from then on: --force says that none does"
                ));
            }
            runtime.block_on(revoke(place, &ids, WorkerEnd { expires_at, force }))
        }
        Token::Rename { id, name, format } => {
            runtime.block_on(rename(place, parse_id(&id)?, name, format.json))
        }
        Token::Expire { id, at: Some(at), misplaced: None, format } => {
            runtime.block_on(expire(place, parse_id(&id)?, at, format.json))
        }
        Token::Expire { id, misplaced, .. } => {
            let (id, when) = (parse_id(&id)?, misplaced.as_deref().unwrap_or("WHEN"));
            let right = format!("fallgate token expire {id} --at {when}");
            Err(Failure::usage(format_args!("the end goes behind --at: `{right}`")))
        }
        Token::Inspect { format } => runtime.block_on(inspect(place, format.json)),
    }
}

/// The scopes that were typed; none means the defaults.
pub(crate) fn wanted(scopes: Vec<Scope>) -> Result<Option<Scopes>, Failure> {
    if scopes.is_empty() {
        return Ok(None);
    }
    Scopes::collect(scopes).map(Some).map_err(Failure::usage)
}

fn of_route(scope: Scope) -> Option<RouteName> {
    match scope {
        Scope::Route(name) => Some(name),
        Scope::Plain(_) => None,
    }
}

async fn create(place: Place, new: NewToken, as_qr: bool, json: bool) -> Result<(), Failure> {
    output::expect_reader("the token's secret")?;
    let desk = Desk::open(place, false).await?;
    let routes: Vec<RouteName> = new.scopes.iter().flat_map(Scopes::iter).filter_map(of_route).collect();
    for name in desk.unknown_routes(routes.iter()) {
        output::warn(format_args!(
            "the config has no route {name}, so the scope route:{name} is good for nothing yet"
        ));
    }
    let minted = desk.mint(new).await?;
    let token = &minted.token;
    let text =
        Zeroizing::new(if json { output::json(&minted)? } else { format!("{}\n", minted.secret.as_str()) });
    let end = desk.command(format_args!("token revoke {}", token.id));
    output::data_once(&text, format_args!("the token was made but not shown; end it with `{end}`"))?;
    output::say(announcement(&minted));
    if as_qr {
        output::say(qr::code(&minted.secret, io::stderr().is_terminal())?.as_str());
    }
    Ok(())
}

/// All there is to say about a new token but its secret.
fn announcement(MintedView { token, .. }: &MintedView) -> String {
    let end = match token.expires_at {
        Some(end) => format!("It ends at {}.", output::to_the_second(end)),
        None => "It never ends by itself.".to_owned(),
    };
    format!(
        "Made the token {} for {}, with the scopes {}. {end} It is shown this once.",
        token.id,
        owner(token),
        token.scopes
    )
}

#[derive(Serialize)]
struct Tokens {
    tokens: Vec<TokenView>,
}

async fn list(place: Place, user: Option<&Username>, all: bool, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let tokens = desk.tokens(user, all).await?;
    if json {
        return output::data(&output::json(&Tokens { tokens })?);
    }
    if tokens.is_empty() {
        let kind = if all { "tokens" } else { "active tokens" };
        output::say(format_args!("There are no {kind}. Make one: {}", desk.first_token()));
        return Ok(());
    }
    let mut heading = HEADING.to_vec();
    let mut rows: Vec<_> = tokens.iter().map(row).collect();
    if all {
        heading.push("STATUS");
        for (row, token) in rows.iter_mut().zip(&tokens) {
            row.push(token.status.name().to_owned());
        }
    }
    output::data(&output::table(&heading, &rows))
}

fn row(token: &TokenView) -> Vec<String> {
    vec![
        token.id.to_string(),
        owner(token),
        token.name.clone(),
        token.kind.name().to_owned(),
        if token.scopes == Scopes::default_for_tokens() {
            USUAL.to_owned()
        } else {
            token.scopes.to_string()
        },
        output::to_the_second(token.created_at),
        output::or_never(token.expires_at),
        output::or_never(token.last_used_at),
    ]
}

fn owner(token: &TokenView) -> String {
    token.username.as_ref().map_or_else(|| "—".to_owned(), ToString::to_string)
}

/// All ids are read before anything is revoked.
fn parse_id(text: &str) -> Result<CredentialId, Failure> {
    text.parse().map_err(|invalid| {
        // What may be a secret is not repeated: stderr ends up in logs.
        if ["fgt_", "fgl_", "sas_", "ey"].iter().any(|prefix| text.starts_with(prefix)) || text.len() == 64 {
            Failure::usage("that is a token's secret, not its id: `fallgate token list` shows ids")
        } else {
            let shown: String = text.chars().take(64).collect();
            Failure::usage(format_args!("{shown:?} is {invalid}; `fallgate token list` shows them"))
        }
    })
}

/// Each revocation is durable before the next begins; those that fail are named, and do not stop the rest.
async fn revoke(place: Place, ids: &[CredentialId], end: WorkerEnd) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    // Whoever may not list tokens is not told, and may revoke all the same.
    let listed = match end.expires_at {
        Some(_) => desk.tokens(None, true).await.unwrap_or_default(),
        None => Vec::new(),
    };
    for id in ids.iter().filter(|id| listed.iter().any(|token| token.id == **id)) {
        output::warn(format_args!("{id} is no worker token, so --expires-at has no effect on it"));
    }
    let mut failed = Vec::new();
    for id in ids {
        match desk.revoke(*id, end).await {
            Ok(revocation) => say_revoked(*id, revocation),
            Err(failure) => failed.push(format!("{id} is not revoked: {failure}")),
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(format_args!("{}; `fallgate token list --all` shows all ids", failed.join("; "))))
    }
}

fn say_revoked(id: CredentialId, revocation: Revocation) {
    output::say(match revocation {
        Revocation::Now => format!("{id} revoked"),
        Revocation::Before => format!("{id} was revoked before"),
    });
}

async fn revoke_all(place: Place, user: Option<&Username>, consent: Consent) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let whose = user.map_or_else(|| "everybody".to_owned(), ToString::to_string);
    consent.ask(&format!("Revoke all tokens of {whose} for good, worker tokens too?"))?;
    let count = desk.revoke_all(user).await?;
    let s = if count == 1 { "" } else { "s" };
    let theirs = if user.is_some() { " of theirs" } else { "" };
    output::say(format_args!("Revoked {count} token{s} of {whose}, and all worker tokens{theirs}"));
    Ok(())
}

async fn revoke_held(place: Place) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let secret = held()?;
    match desk.revoke_held(&secret).await? {
        Some((id, revocation)) => {
            say_revoked(id, revocation);
            Ok(())
        }
        None if worker::read(secret.expose().as_bytes()).is_ok() => {
            // For routes alone it is shown to nobody, its holder neither.
            let guess =
                "it was ended before, or is another gate's, or it is for routes alone and has ended now";
            Err(nobodys(&desk, "nothing that shows itself at", guess))
        }
        None => Err(nobodys(&desk, "nothing that stands at", "it was ended before, or is another gate's")),
    }
}

/// The secret on stdin, of whatever kind.
fn held() -> Result<SecretText, Failure> {
    SecretText::new(first_line(io::stdin().lock(), "secret")?).map_err(|_| {
        Failure::failed(
            "what is on stdin is no secret of Fallgate's: it is mistyped or cut off, or something else",
        )
    })
}

/// A home folder shows all; of what a gate shows nothing of, one can only guess.
fn nobodys(desk: &Desk, at_gate: &str, guess: &str) -> Failure {
    match desk {
        Desk::Home(_) => Failure::failed("nothing in this home folder has this secret"),
        Desk::Server(desk) => Failure::failed(format_args!(
            "{at_gate} {} has this secret: {guess}",
            desk.server().origin.text()
        )),
    }
}

async fn rename(place: Place, id: CredentialId, name: TokenName, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let token = desk.rename_token(id, name).await?;
    output::say(format_args!("{id} is called {:?} now", token.name));
    if json { output::data(&output::json(&token)?) } else { Ok(()) }
}

async fn expire(place: Place, id: CredentialId, at: Lifetime, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let token = desk.redate_token(id, at).await?;
    output::say(match token.expires_at {
        Some(end) => format!("{id} ends at {}", output::to_the_second(end)),
        None => format!("{id} never ends by itself"),
    });
    if json { output::data(&output::json(&token)?) } else { Ok(()) }
}

async fn inspect(place: Place, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let inspected = desk.inspect(&held()?).await?.ok_or_else(|| {
        nobodys(&desk, "nothing that you may see at", "it may be another's, or of another gate")
    })?;
    if json {
        return output::data(&output::json(&inspected)?);
    }
    let inspected = match inspected {
        Inspected::Stored(inspected) => inspected,
        Inspected::Worker(worker) => return show_worker(&desk, &worker),
    };
    let token = inspected.token;
    let owner = match &token.username {
        Some(username) if is_disabled(&desk, username).await? => format!("{username}, who is disabled"),
        None if !matches!(token.kind, CredentialKind::Legacy | CredentialKind::Internal) => {
            "somebody who was deleted".to_owned()
        }
        _ => owner(&token),
    };
    let lines = [
        ("kind", token.kind.name().to_owned()),
        ("id", token.id.to_string()),
        ("owner", owner),
        ("name", on_one_line(&token.name).into_owned()),
        ("scopes", token.scopes.to_string()),
        ("expires", output::or_never(token.expires_at)),
        ("status", token.status.name().to_owned()),
        ("uses", inspected.uses.to_string()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<8}{value}"));
    output::data(&format!("{}\n", lines.join("\n")))
}

/// All that it says, and how to end it.
fn show_worker(desk: &Desk, worker: &InspectedWorkerView) -> Result<(), Failure> {
    let claims = &worker.claims;
    let ids = |ids: &[CredentialId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let audience = claims.audience.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let lines = [
        ("kind", worker.kind.name().to_owned()),
        ("jti", worker.jti.to_string()),
        ("agent", format!("{} ({})", claims.agent, claims.agent_id)),
        ("owner", format!("{} ({})", claims.owner, claims.owner_id)),
        ("scopes", claims.scopes.to_string()),
        ("audience", audience),
        ("lineage", ids(&claims.ancestors)),
        ("session", claims.session.clone().unwrap_or_else(|| "—".to_owned())),
        ("issuer", on_one_line(&claims.issuer).into_owned()),
        ("minted", output::to_the_second(claims.issued_at)),
        ("expires", output::to_the_second(claims.expires_at)),
        ("key", worker.kid.clone()),
        ("status", worker.status.clone()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<10}{value}"));
    output::data(&format!("{}\n", lines.join("\n")))?;
    if worker.key_dropped {
        output::say(
            "It is signed by a key of this gate that was dropped: it is good no more, and nothing is left to end",
        );
        return Ok(());
    }
    if worker.status == Denial::NotOurs.name() {
        output::say("No key that counts here has signed this: anybody can have written what it says");
        return Ok(());
    }
    // What is only stopped may go on one day.
    let stopped = [Denial::OwnerDisabled, Denial::AgentDisabled, Denial::NotYet].map(Denial::name);
    if worker.status == Status::Active.name() || stopped.contains(&worker.status.as_str()) {
        let end = desk.command(format_args!("token revoke {}", worker.jti));
        output::say(format_args!("To end it, and all its renewals: {end}"));
    }
    Ok(())
}

/// Whether all that is somebody's is refused for now. Who asks a gate about themselves is not: they were let in.
async fn is_disabled(desk: &Desk, username: &Username) -> Result<bool, Failure> {
    Ok(desk.account_if_shown(username).await?.is_some_and(|user| user.disabled_at.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_given_as_an_id_is_not_repeated() {
        let refused = parse_id("fgt_0123456789").unwrap_err();
        assert!(matches!(refused, Failure::Usage(_)));
        assert!(!refused.to_string().contains("0123456789"), "{refused}");
    }
}
