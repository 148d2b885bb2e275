//! `fallgate agent …`

use fallgate_authority::WorkerOrder;
use fallgate_domain::agent::AgentName;
use fallgate_domain::route::RouteName;
use fallgate_domain::user::Username;
use fallgate_web::view::AgentView;

use zeroize::Zeroizing;

use crate::cli::Agent;
use crate::cmd::consent::Consent;
use crate::cmd::token::wanted;
use crate::config::Environment;
use crate::desk::{Desk, NewAgent};
use crate::failure::Failure;
use crate::place::Place;
use crate::{cmd, output};

pub(crate) fn run(verb: Agent, place: Place, environment: &Environment) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        Agent::Create { name, owner, scopes, routes, format } => {
            let new = NewAgent { name, owner, scopes: wanted(scopes)?, routes };
            runtime.block_on(create(place, new, format.json))
        }
        Agent::List { owner, format } => runtime.block_on(list(place, owner.as_ref(), format.json)),
        Agent::Token { name, ttl, scopes, audience, format } => {
            let audience = Some(audience).filter(|audience| !audience.is_empty());
            let order =
                WorkerOrder { agent: name, life: ttl, scopes: wanted(scopes)?, audience, session: None };
            runtime.block_on(token(place, order, environment, format.json))
        }
        Agent::Disable { name, format } => runtime.block_on(disable(place, &name, true, format.json)),
        Agent::Enable { name, format } => runtime.block_on(disable(place, &name, false, format.json)),
        Agent::Delete { name, yes } => {
            let consent = Consent::choose(yes, "delete an agent")?;
            runtime.block_on(delete(place, &name, consent))
        }
    }
}

async fn create(place: Place, new: NewAgent, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    for name in desk.unknown_routes(new.routes.iter()) {
        output::warn(format_args!("the config has no route {name}, so nothing is reached by it yet"));
    }
    if !new.routes.is_empty() && !desk.knows_routes() {
        output::warn("no config was found, so whether there are such routes is not known here");
    }
    let agent = desk.create_agent(new).await?;
    let routes = if agent.routes.is_empty() {
        "no routes".to_owned()
    } else {
        format!("the routes {}", joined(&agent.routes))
    };
    output::say(format_args!(
        "Made the agent {} of {}, with the scopes {} and {routes}",
        agent.name, agent.owner, agent.scopes
    ));
    if json { output::data(&output::json(&agent)?) } else { Ok(()) }
}

async fn token(
    place: Place,
    order: WorkerOrder,
    environment: &Environment,
    json: bool,
) -> Result<(), Failure> {
    output::expect_reader("the token")?;
    let desk = Desk::open(place, false).await?;
    let minted = desk.mint_worker(order, environment).await?;
    let text =
        Zeroizing::new(if json { output::json(&minted)? } else { format!("{}\n", minted.secret.as_str()) });
    let end = desk.command(format_args!("token revoke {}", minted.id));
    output::data_once(&text, format_args!("the token was made but not shown; end it with `{end}`"))?;
    let audience = minted.audience.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    output::say(format_args!(
        "Made the worker token {} for the agent {} of {}, for {audience}, with the scopes {}. It ends at {}. It is shown \
         this once.",
        minted.id,
        minted.agent,
        minted.username,
        minted.scopes,
        output::to_the_second(minted.expires_at)
    ));
    Ok(())
}

async fn list(place: Place, owner: Option<&Username>, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let list = desk.agents(owner).await?;
    if json {
        return output::data(&output::json(&list)?);
    }
    if list.agents.is_empty() {
        let first = desk.first_agent();
        output::say(format_args!("There are no agents. Make one: {first}"));
        return Ok(());
    }
    let rows: Vec<_> = list.agents.iter().map(row).collect();
    output::data(&output::table(
        &["NAME", "OWNER", "SCOPES", "ROUTES", "CREATED", "LAST SEEN", "DISABLED"],
        &rows,
    ))
}

fn row(agent: &AgentView) -> Vec<String> {
    let disabled = match agent.disabled_at {
        Some(since) => output::to_the_second(since),
        None if agent.owner_disabled => "with its owner".to_owned(),
        None => "no".to_owned(),
    };
    vec![
        agent.name.to_string(),
        agent.owner.to_string(),
        agent.scopes.to_string(),
        if agent.routes.is_empty() { "—".to_owned() } else { joined(&agent.routes) },
        output::to_the_second(agent.created_at),
        agent.last_seen_at.map_or_else(|| "never".to_owned(), output::to_the_second),
        disabled,
    ]
}

fn joined(routes: &[RouteName]) -> String {
    routes.iter().map(RouteName::as_str).collect::<Vec<_>>().join(" ")
}

/// Disables or enables it, and says how things stand now.
async fn disable(place: Place, name: &AgentName, disabled: bool, json: bool) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    let agent = desk.disable_agent(name, disabled).await?;
    let state = match agent.disabled_at {
        Some(since) => format!(
            "is disabled, since {}; `{}` lets it in again",
            output::to_the_second(since),
            desk.command(format_args!("agent enable {name}"))
        ),
        None if agent.owner_disabled => {
            format!("is enabled, but its owner {} is disabled, which stops it still", agent.owner)
        }
        None => "is enabled; what was revoked stays revoked".to_owned(),
    };
    output::say(format_args!("The agent {name} {state}"));
    if json { output::data(&output::json(&agent)?) } else { Ok(()) }
}

async fn delete(place: Place, name: &AgentName, consent: Consent) -> Result<(), Failure> {
    let desk = Desk::open(place, false).await?;
    desk.agent(name).await?;
    consent.ask(&format!("Delete the agent {name} and end every token of it for good?"))?;
    desk.delete_agent(name).await?;
    output::say(format_args!("Deleted the agent {name}; its tokens have ended"));
    Ok(())
}
