//! Agents that are there already: disabled, enabled, deleted. Cutting one is done at `/live/cut`.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use fallgate_authority::actions::ManageAgents;
use fallgate_authority::{Ending, PeerAddress, Permit};
use fallgate_domain::agent::AgentName;

use super::HOME;
use crate::api::agents::named;
use crate::app::App;
use crate::error::WebError;
use crate::pages::ask::{Ask, will_cut};
use crate::pages::form::FormBody;
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::Notice;

pub(crate) async fn ask_disable(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Response, WebError> {
    let says = "Its every token is refused until you enable it again. What is not over by then works again.";
    ask(&app, &permit, &name, ("Disable agent", "Disable", "disable"), says).await
}

pub(crate) async fn disable(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let name = named(&name)?;
    let open = open_by(&app, &permit, &name).await?;
    app.verifier.disable_agent(&permit, &name, true, peer.0).await?;
    Notice::AgentDisabled.at(HOME, Some(open))
}

pub(crate) async fn enable(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    app.verifier.disable_agent(&permit, &named(&name)?, false, peer.0).await?;
    Notice::AgentEnabled.at(HOME, None)
}

pub(crate) async fn ask_delete(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Response, WebError> {
    let says = "Its every token ends, for good. Whatever is made under this name later is another agent. It cannot be undone.";
    ask(&app, &permit, &name, ("Delete agent", "Delete", "delete"), says).await
}

pub(crate) async fn delete(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    Path(name): Path<String>,
    _form: FormBody,
) -> Result<Response, WebError> {
    let name = named(&name)?;
    let open = open_by(&app, &permit, &name).await?;
    app.verifier.delete_agent(&permit, &name, peer.0).await?;
    Notice::AgentDeleted.at(HOME, Some(open))
}

/// How many connections its end closes.
async fn open_by(app: &App, permit: &Permit<ManageAgents>, name: &AgentName) -> Result<u64, WebError> {
    let id = app.verifier.agent(permit, name).await?.agent.id;
    Ok(app.verifier.open_under(Ending::Agent(id)))
}

async fn ask(
    app: &App,
    permit: &Permit<ManageAgents>,
    name: &str,
    (verb, what, act): (&str, &str, &str),
    says: &str,
) -> Result<Response, WebError> {
    let listed = app.verifier.agent(permit, &named(name)?).await?;
    let (agent, owner) = (listed.agent, listed.owner_name);
    let of =
        if permit.principal().username() == Some(&owner) { String::new() } else { format!(" of {owner}") };
    let ask = Ask {
        frame: Frame::of(app, permit.principal(), Place::Agents)?,
        verb,
        heading: format!("{what} {}{of}?", agent.name),
        lines: vec![will_cut(app.verifier.open_under(Ending::Agent(agent.id))), says.to_owned()],
        action: format!("/agents/{}/{act}", agent.name),
        back: HOME,
        typed: None,
        fields: Vec::new(),
        cuts: true,
    };
    ask.show()
}
