//! Making an agent: the form.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::Response;
use fallgate_authority::actions::ManageAgents;
use fallgate_authority::{AgentError, AgentOrder, PeerAddress, Permit, Principal};
use fallgate_domain::agent::AgentName;
use fallgate_domain::route::RouteName;
use fallgate_domain::scope::PlainScope;
use fallgate_domain::user::Username;

use super::HOME;
use crate::app::App;
use crate::error::WebError;
use crate::pages::form::{FormBody, Troubles};
use crate::pages::frame::{Frame, Place};
use crate::pages::notice::Notice;
use crate::pages::offer::{Offer, read_owner, read_scopes, usual_owner, usual_scopes};

#[derive(Template)]
#[template(path = "agent-new.html")]
struct NewAgentPage {
    frame: Frame,
    draft: Draft,
    offer: Offer,
    troubles: Troubles,
}

/// What is asked for, as it was typed.
#[derive(Debug, Default)]
struct Draft {
    name: String,
    owner: String,
    scopes: Vec<String>,
    routes: Vec<String>,
}

pub(crate) async fn show(permit: Permit<ManageAgents>, State(app): State<App>) -> Result<Response, WebError> {
    let caller = permit.principal();
    let draft = Draft { owner: usual_owner(caller), scopes: usual_scopes(caller), ..Draft::default() };
    form_page(&app, caller, draft, Troubles::default()).await
}

/// `POST /agents`
pub(crate) async fn create(
    permit: Permit<ManageAgents>,
    State(app): State<App>,
    Extension(peer): Extension<PeerAddress>,
    form: FormBody,
) -> Result<Response, WebError> {
    let draft = Draft::read(form.fields());
    let order = match draft.order(permit.principal()) {
        Ok(order) => order,
        Err(troubles) => return form_page(&app, permit.principal(), draft, troubles).await,
    };
    match app.verifier.create_agent(&permit, order, peer.0).await {
        Ok(_) => Notice::AgentCreated.at(HOME, None),
        Err(error) => {
            let field = field_of(&error);
            let troubles = Troubles::of(field, error.into())?;
            form_page(&app, permit.principal(), draft, troubles).await
        }
    }
}

/// By which field it stands why nothing was made.
const fn field_of(error: &AgentError) -> &'static str {
    match error {
        AgentError::NameTaken(_) | AgentError::UserNamedSo(_) => "name",
        AgentError::UnknownUser(_) | AgentError::OwnerDisabled(_) | AgentError::TooMany(_) => "owner",
        AgentError::ScopeBeyond(_) | AgentError::ScopeBeyondCaller(_) => "scope",
        AgentError::TooManyRoutes => "route",
        _ => "form",
    }
}

async fn form_page(
    app: &App,
    caller: &Principal,
    draft: Draft,
    troubles: Troubles,
) -> Result<Response, WebError> {
    let page = NewAgentPage {
        frame: Frame::of(app, caller, Place::Agents)?,
        draft,
        offer: Offer::to(app, caller, || AgentError::NotYours.into()).await?,
        troubles,
    };
    Ok(page.troubles.mark(page.frame.show(&page)?))
}

impl Draft {
    /// What stands in a form; the last counts where only one can.
    fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut draft = Self::default();
        for (field, value) in pairs {
            let value = value.into_owned();
            match &*field {
                "name" => draft.name = value,
                "owner" => draft.owner = value,
                "scope" => draft.scopes.push(value),
                "route" => draft.routes.push(value),
                _ => {}
            }
        }
        draft
    }

    fn has_scope(&self, scope: PlainScope) -> bool {
        self.scopes.iter().any(|chosen| chosen == scope.name())
    }

    fn has_route(&self, name: &str) -> bool {
        self.routes.iter().any(|chosen| chosen == name)
    }

    fn is_for(&self, owner: &Username) -> bool {
        self.owner == owner.as_str()
    }

    /// The order that the form makes, or all that is wrong with it.
    fn order(&self, caller: &Principal) -> Result<AgentOrder, Troubles> {
        let mut troubles = Troubles::default();
        let name = troubles.note("name", self.name.trim().parse::<AgentName>());
        let owner = read_owner(caller, &self.owner, "owner", &mut troubles);
        let scopes = read_scopes(&self.scopes, "agent", &mut troubles);
        let routes = self.routes.iter().map(|name| name.parse()).collect::<Result<Vec<RouteName>, _>>();
        let routes = troubles.note("route", routes);
        match (name, owner, routes) {
            (Some(name), Some(owner), Some(routes)) if troubles.is_empty() => {
                Ok(AgentOrder { name, owner, scopes, routes })
            }
            _ => Err(troubles),
        }
    }
}
