//! `fallgate token …`

use std::io;

use fallgate_authority::{
    MintError, MintOrder, MintedToken, Registrar, RevokeOutcome, SecretError, TokenError,
};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, TokenName};
use fallgate_domain::id::CredentialId;
use fallgate_domain::lifetime::{InvalidLifetime, Lifetime};
use fallgate_domain::scope::{Scope, Scopes};
use fallgate_domain::user::Username;
use fallgate_store::{CredentialFilter, Listed};
use fallgate_web::view::{MintedView, TokenView};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::Token;
use crate::cmd::consent::Consent;
use crate::cmd::passphrase::first_line;
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::{cmd, lifecycle, output};

const HEADING: [&str; 8] = ["ID", "USER", "NAME", "KIND", "SCOPES", "CREATED", "EXPIRES", "LAST USED"];

pub(crate) fn run(verb: Token, home: &HomeFolder) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Token::Create { username, name, scopes, expires, format } => {
            let scopes = wanted(scopes)?;
            let order = MintOrder { owner: username, name, scopes, lifetime: expires };
            runtime.block_on(create(home, order, format.json))
        }
        Token::List { user, all, format } => runtime.block_on(list(home, user, all, format.json)),
        Token::Revoke { all: true, user, yes, .. } => {
            let consent = Consent::choose(yes, "revoke all tokens")?;
            runtime.block_on(revoke_all(home, user, consent))
        }
        Token::Revoke { stdin: true, .. } => runtime.block_on(revoke_held(home)),
        Token::Revoke { ids, .. } => {
            let ids = ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?;
            runtime.block_on(revoke(home, &ids))
        }
        Token::Rename { id, name, format } => {
            runtime.block_on(rename(home, parse_id(&id)?, name, format.json))
        }
        Token::Expire { id, at, format } => runtime.block_on(expire(home, parse_id(&id)?, at, format.json)),
        Token::Inspect { format } => runtime.block_on(inspect(home, format.json)),
    }
}

/// The scopes that were typed; none means the defaults.
fn wanted(scopes: Vec<Scope>) -> Result<Option<Scopes>, Failure> {
    if scopes.is_empty() {
        return Ok(None);
    }
    Scopes::collect(scopes).map(Some).map_err(Failure::usage)
}

async fn create(home: &HomeFolder, order: MintOrder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let minted = registrar.mint(order, &lifecycle::actor()).await.map_err(refused)?;
    let id = minted.credential.id;
    let made = announcement(&minted);
    let text = Zeroizing::new(if json {
        output::json(&MintedView::of(minted))?
    } else {
        format!("{}\n", minted.secret.expose())
    });
    let end = home.command(format_args!("token revoke {id}"));
    output::data_once(&text, format_args!("the token was made but not shown; end it with `{end}`"))?;
    output::say(made);
    Ok(())
}

/// All there is to say about a new token but its secret.
fn announcement(minted: &MintedToken) -> String {
    let credential = &minted.credential;
    let end = match credential.expires_at {
        Some(end) => format!("It ends at {}.", output::to_the_second(end)),
        None => "It never ends by itself.".to_owned(),
    };
    format!(
        "Made the token {} for {}, with the scopes {}. {end} It is shown this once.",
        credential.id, minted.owner, credential.scopes
    )
}

fn refused(error: MintError) -> Failure {
    match &error {
        MintError::UnknownUser(name) => Failure::failed(format_args!(
            "{error}: make them with `fallgate user create {name}`, or see `fallgate user list`"
        )),
        MintError::ScopeBeyond(_) => {
            Failure::failed(format_args!("{error}: the owner's role does not allow it; leave it out"))
        }
        _ => error.into(),
    }
}

#[derive(Serialize)]
struct Tokens {
    tokens: Vec<TokenView>,
}

async fn list(home: &HomeFolder, user: Option<Username>, all: bool, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let store = registrar.store();
    let owner = match user {
        None => None,
        Some(name) => {
            let user = store.user_named(&name).await?;
            let unknown = || format!("there is no user {name}: `fallgate user list` shows who there is");
            Some(user.ok_or_else(|| Failure::failed(unknown()))?.id)
        }
    };
    let now = registrar.clock().now();
    let kinds = vec![CredentialKind::Token, CredentialKind::Legacy];
    let listed = store.credentials(&CredentialFilter { owner, kinds, with_ended: all, now }).await?;
    if json {
        let tokens = listed.into_iter().map(|listed| TokenView::of(listed, now)).collect();
        return output::data(&output::json(&Tokens { tokens })?);
    }
    if listed.is_empty() {
        let kind = if all { "tokens" } else { "active tokens" };
        let first = home.command("token create --username NAME");
        output::say(format_args!("There are no {kind}. Make one: {first}"));
        return Ok(());
    }
    let mut heading = HEADING.to_vec();
    let mut rows: Vec<_> = listed.iter().map(row).collect();
    if all {
        heading.push("STATUS");
        for (row, listed) in rows.iter_mut().zip(&listed) {
            row.push(listed.credential.status(now).name().to_owned());
        }
    }
    output::data(&output::table(&heading, &rows))
}

fn row(listed: &Listed) -> Vec<String> {
    let credential = &listed.credential;
    vec![
        credential.id.to_string(),
        listed.owner_name.as_ref().map_or_else(|| "—".to_owned(), ToString::to_string),
        credential.name.clone(),
        credential.kind.name().to_owned(),
        credential.scopes.to_string(),
        output::to_the_second(credential.created_at),
        output::or_never(credential.expires_at),
        output::or_never(credential.last_use.as_ref().map(|last_use| last_use.at)),
    ]
}

/// All ids are read before anything is revoked.
fn parse_id(text: &str) -> Result<CredentialId, Failure> {
    text.parse().map_err(|invalid| {
        // What may be a secret is not repeated: stderr ends up in logs.
        if ["fgt_", "fgl_", "sas_"].iter().any(|prefix| text.starts_with(prefix)) || text.len() == 64 {
            Failure::usage("that is a token's secret, not its id: `fallgate token list` shows ids")
        } else {
            let shown: String = text.chars().take(64).collect();
            Failure::usage(format_args!("{shown:?} is {invalid}; `fallgate token list` shows them"))
        }
    })
}

/// Each revocation is durable before the next begins; those that fail are named, and do not stop the rest.
async fn revoke(home: &HomeFolder, ids: &[CredentialId]) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let actor = lifecycle::actor();
    let mut failed = Vec::new();
    for id in ids {
        match registrar.revoke(*id, None, &actor).await {
            Ok(RevokeOutcome::Revoked) => output::say(format_args!("{id} revoked")),
            Ok(RevokeOutcome::AlreadyRevoked) => output::say(format_args!("{id} was revoked before")),
            Ok(RevokeOutcome::Unknown | RevokeOutcome::NotYours) => {
                failed.push(format!("there is no token {id}"));
            }
            Err(error) => failed.push(format!("{id} may not be revoked: {error}")),
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(format_args!("{}; `fallgate token list --all` shows all ids", failed.join("; "))))
    }
}

async fn revoke_all(home: &HomeFolder, user: Option<Username>, consent: Consent) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let whose = user.as_ref().map_or_else(|| "everybody".to_owned(), ToString::to_string);
    consent.ask(&format!("Revoke all tokens of {whose} for good?"))?;
    let count = registrar.revoke_all(user.as_ref(), &lifecycle::actor()).await.map_err(unchanged)?;
    output::say(format_args!("Revoked {count} token{} of {whose}", if count == 1 { "" } else { "s" }));
    Ok(())
}

async fn revoke_held(home: &HomeFolder) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let id = held(&registrar).await?.credential.id;
    revoke(home, &[id]).await
}

/// The credential whose secret is on stdin.
async fn held(registrar: &Registrar) -> Result<Listed, Failure> {
    let secret = first_line(io::stdin().lock(), "secret")?;
    let malformed = || {
        Failure::failed(
            "what is on stdin is no secret of Fallgate's: it is mistyped or cut off, or something else",
        )
    };
    match registrar.inspect(secret.as_bytes()).await {
        Ok(Some(listed)) => Ok(listed),
        Ok(None) => Err(Failure::failed("nothing in this home folder has this secret")),
        Err(SecretError::Malformed(_)) => Err(malformed()),
        Err(SecretError::Store(error)) => Err(error.into()),
    }
}

async fn rename(home: &HomeFolder, id: CredentialId, name: TokenName, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let listed = registrar.rename_token(id, name, &lifecycle::actor()).await.map_err(unchanged)?;
    output::say(format_args!("{id} is called {:?} now", listed.credential.name));
    show(listed, registrar.clock().now(), json)
}

async fn expire(home: &HomeFolder, id: CredentialId, at: Lifetime, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let listed = registrar.redate_token(id, at, &lifecycle::actor()).await.map_err(unchanged)?;
    output::say(match listed.credential.expires_at {
        Some(end) => format!("{id} ends at {}", output::to_the_second(end)),
        None => format!("{id} never ends by itself"),
    });
    show(listed, registrar.clock().now(), json)
}

async fn inspect(home: &HomeFolder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let listed = held(&registrar).await?;
    let now = registrar.clock().now();
    if json {
        return show(listed, now, json);
    }
    let owner = match listed.credential.owner {
        Some(id) => registrar.store().user(id).await?,
        None => None,
    };
    let owner = match (owner, listed.credential.owner) {
        (Some(user), _) if user.disabled_at.is_some() => format!("{}, who is disabled", user.username),
        (Some(user), _) => user.username.to_string(),
        (None, Some(_)) => "somebody who was deleted".to_owned(),
        (None, None) => "—".to_owned(),
    };
    let credential = &listed.credential;
    let lines = [
        ("kind", credential.kind.name().to_owned()),
        ("id", credential.id.to_string()),
        ("owner", owner),
        ("name", credential.name.clone()),
        ("scopes", credential.scopes.to_string()),
        ("expires", output::or_never(credential.expires_at)),
        ("status", credential.status(now).name().to_owned()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<8}{value}"));
    output::data(&format!("{}\n", lines.join("\n")))
}

fn show(listed: Listed, now: Timestamp, json: bool) -> Result<(), Failure> {
    if json { output::data(&output::json(&TokenView::of(listed, now))?) } else { Ok(()) }
}

fn unchanged(error: TokenError) -> Failure {
    match error {
        TokenError::Unknown(_) | TokenError::Ended(_) => {
            Failure::failed(format_args!("{error}; `fallgate token list --all` shows all there are"))
        }
        TokenError::UnknownUser(_) => {
            Failure::failed(format_args!("{error}: `fallgate user list` shows who there is"))
        }
        TokenError::Lifetime(InvalidLifetime::Past) => {
            Failure::failed(format_args!("{error}; to end it now, use `fallgate token revoke`"))
        }
        error => error.into(),
    }
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
