//! Agents: made, seen by whoever keeps a view, cut, disabled, deleted.

use fallgate_domain::agent::{Agent, AgentName};
use fallgate_domain::audit::{Action, Author};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::LastUse;
use fallgate_domain::cut::Cut;
use fallgate_domain::id::{AgentId, CredentialId, CutId};
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::User;
use fallgate_store::{
    AgentRow, ChangedAgent, CreatedAgent, CreatedUser, CutOn, DeletedAgent, DeletedUser, Gone, ListedAgent,
    NotedUse, PlacedCut, Revision, Row, StoreError, UserChange, Vault,
};

use crate::support::{NOW, backend, create, event, load, mint, minutes_later, revocation, revoke};

/// An agent made at [`NOW`]. Its id tells it from others.
fn agent(id: u8, owner: &User, name: &str) -> Agent {
    Agent {
        id: AgentId::from_bytes([id; 16]),
        owner: owner.id,
        name: name.parse().unwrap(),
        scopes: Scopes::parse("sessions:read route:llmux").unwrap(),
        routes: vec!["grafana".parse().unwrap(), "llmux".parse().unwrap()],
        created_at: NOW,
        disabled_at: None,
    }
}

async fn try_make(vault: &Vault, agent: &Agent) -> CreatedAgent {
    vault.create_agent(agent.clone(), event(Action::AgentCreate, agent.name.as_str())).await.unwrap()
}

async fn make(vault: &Vault, agent: &Agent) -> Revision {
    match try_make(vault, agent).await {
        CreatedAgent::Created(revision) => revision,
        other => panic!("not made: {other:?}"),
    }
}

async fn change(vault: &Vault, agent: &Agent, disabled_at: Option<Timestamp>) -> ChangedAgent {
    let action = if disabled_at.is_some() { Action::AgentDisable } else { Action::AgentEnable };
    vault.change_agent(agent.id, disabled_at, event(action, agent.name.as_str())).await.unwrap()
}

async fn delete(vault: &Vault, agent: &Agent) -> DeletedAgent {
    vault.delete_agent(agent.id, event(Action::AgentDelete, agent.name.as_str())).await.unwrap()
}

async fn cut(vault: &Vault, id: u8, target: &str) -> PlacedCut {
    let cut = Cut {
        id: CutId::from_bytes([id; 16]),
        target: target.parse().unwrap(),
        reason: None,
        placed_by: "cli:tester".to_owned(),
        placer: None,
        created_at: NOW,
        expires_at: None,
    };
    vault.place_cut(cut, event(Action::CutPlace, target)).await.unwrap()
}

fn listed(agent: &Agent, owner: &User) -> ListedAgent {
    ListedAgent {
        agent: agent.clone(),
        owner_name: owner.username.clone(),
        owner_disabled: false,
        last_seen_at: None,
    }
}

fn row(agent: &Agent) -> Row {
    Row::Agent(AgentRow {
        id: agent.id,
        owner: agent.owner,
        name: agent.name.clone(),
        scopes: agent.scopes.clone(),
        routes: agent.routes.clone(),
        disabled: agent.disabled_at.is_some(),
    })
}

#[tokio::test]
async fn an_agent_is_durable_listed_and_told_to_whoever_keeps_a_view() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let (crawler, helper) = (agent(1, &alice, "crawler"), agent(2, &bob, "a-helper"));
    let bare = Agent { scopes: Scopes::none(), routes: Vec::new(), ..agent(3, &bob, "bare") };
    for (made, revision) in [&crawler, &helper, &bare].into_iter().zip(3..) {
        assert_eq!(make(&vault, made).await, Revision(revision));
    }
    let all = [listed(&helper, &bob), listed(&bare, &bob), listed(&crawler, &alice)];
    assert_eq!(store.agents(None).await.unwrap(), all, "by name");
    assert_eq!(store.agents(Some(alice.id)).await.unwrap(), all[2..]);
    assert_eq!(store.agent_named(&crawler.name).await.unwrap(), Some(all[2].clone()));
    assert_eq!(store.agent_named(&AgentName::from(&alice.username)).await.unwrap(), None, "nobody made it");

    let rows = [&crawler, &helper, &bare].map(row);
    assert_eq!(vault.changes_since(Revision(2)).await.unwrap().rows, rows);
    drop((store, vault));
    let (_store, vault) = backend.open().await;
    let (_, loaded) = load(&vault).await;
    assert_eq!(loaded[2..], rows);
}

#[tokio::test]
async fn when_an_agent_was_last_seen_is_written_down_and_changes_nothing_else() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let (crawler, helper) = (agent(1, &alice, "crawler"), agent(2, &alice, "helper"));
    make(&vault, &crawler).await;
    make(&vault, &helper).await;
    let before = vault.revision().await.unwrap();
    let seen = |id, at| NotedUse {
        credential: CredentialId::from_bytes([9; 16]),
        last: Some(LastUse { at, ip: None, user_agent: None }),
        times: 1,
        agent: Some(id),
    };
    // Of an agent that nobody made, and of a token, there is no row to write to.
    let unmade = AgentId::implicit(alice.id);
    for at in [minutes_later(5), minutes_later(9), minutes_later(7)] {
        vault.note_uses(&[seen(crawler.id, at), seen(unmade, at)]).await.unwrap();
    }
    let wanted = [
        ListedAgent { last_seen_at: Some(minutes_later(9)), ..listed(&crawler, &alice) },
        listed(&helper, &alice),
    ];
    assert_eq!(store.agents(None).await.unwrap(), wanted, "the latest counts");
    assert_eq!(vault.revision().await.unwrap(), before, "nothing is decided by it");
    assert!(matches!(change(&vault, &crawler, Some(NOW)).await, ChangedAgent::Changed(..)));
    assert_eq!(store.agents(None).await.unwrap()[0].last_seen_at, Some(minutes_later(9)));
}

#[tokio::test]
async fn no_name_means_two_things() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    make(&vault, &agent(1, &alice, "crawler")).await;
    let before = vault.revision().await.unwrap();
    for (name, outcome) in [("crawler", CreatedAgent::NameTaken), ("alice", CreatedAgent::UserNamedSo)] {
        assert_eq!(try_make(&vault, &agent(2, &bob, name)).await, outcome, "{name}");
    }
    let user = vault.create_user(backend.user("crawler"), None, event(Action::UserCreate, "crawler")).await;
    assert_eq!(user.unwrap(), CreatedUser::AgentNamedSo);
    assert_eq!((vault.revision().await.unwrap(), store.events(None, 9).await.unwrap().len()), (before, 3));
}

#[tokio::test]
async fn only_who_is_there_and_enabled_owns_an_agent_and_no_more_than_a_thousand() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let alice = backend.user("alice");
    assert_eq!(try_make(&vault, &agent(1, &alice, "crawler")).await, CreatedAgent::OwnerUnknown);
    create(&vault, &alice).await;
    let disable = (UserChange::Disable(NOW), event(Action::UserDisable, "alice"));
    let _ = vault.change_user(alice.id, vec![disable]).await.unwrap();
    assert_eq!(try_make(&vault, &agent(1, &alice, "crawler")).await, CreatedAgent::OwnerDisabled);
    let _ = vault.change_user(alice.id, vec![(UserChange::Enable, event(Action::UserEnable, "alice"))]).await;

    drop(vault);
    let sqlite = rusqlite::Connection::open(backend.path()).unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
                INSERT INTO agent (id, owner, name, scopes, routes, created_at)
                SELECT randomblob(16), ?1, 'filler-' || i, '', '', 0 FROM n";
    sqlite.execute(fill, [alice.id.bytes()]).unwrap();
    drop(sqlite);
    let (_store, vault) = backend.open().await;
    make(&vault, &agent(1, &alice, "crawler")).await;
    assert_eq!(try_make(&vault, &agent(2, &alice, "one-more")).await, CreatedAgent::TooMany);
}

#[tokio::test]
async fn an_agent_is_disabled_and_enabled_once() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let crawler = agent(1, &alice, "crawler");
    make(&vault, &crawler).await;
    let disabled = Agent { disabled_at: Some(minutes_later(1)), ..crawler.clone() };
    let first = change(&vault, &crawler, Some(minutes_later(1))).await;
    assert_eq!(first, ChangedAgent::Changed(Revision(3), disabled.clone()));
    assert_eq!(vault.changes_since(Revision(2)).await.unwrap().rows, [row(&disabled)]);
    let again = change(&vault, &crawler, Some(minutes_later(9))).await;
    assert_eq!(again, ChangedAgent::Unchanged(disabled), "it keeps its date");
    assert_eq!(change(&vault, &crawler, None).await, ChangedAgent::Changed(Revision(4), crawler.clone()));
    assert_eq!(change(&vault, &crawler, None).await, ChangedAgent::Unchanged(crawler));
    assert_eq!(change(&vault, &agent(9, &alice, "nobody"), None).await, ChangedAgent::Unknown);
    let told: Vec<_> = store.events(None, 9).await.unwrap().into_iter().map(|event| event.action).collect();
    assert_eq!(told, ["agent.enable", "agent.disable", "agent.create", "user.create"]);
}

#[tokio::test]
async fn r31_a_new_agent_of_a_deleted_ones_name_is_another_and_no_cut_is_on_it() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let crawler = agent(1, &alice, "crawler");
    make(&vault, &crawler).await;
    assert_eq!(cut(&vault, 7, "agent:crawler").await, PlacedCut::Placed(Revision(3)));
    assert_eq!(cut(&vault, 8, "agent:alice").await, PlacedCut::Placed(Revision(4)));
    assert_eq!(cut(&vault, 9, "agent:nobody").await, PlacedCut::Unknown);
    let on = |changes: Vec<Row>| -> Vec<CutOn> {
        let on = |row| if let Row::Cut(cut) = row { Some(cut.on) } else { None };
        changes.into_iter().filter_map(on).collect()
    };
    let placed = on(vault.changes_since(Revision(2)).await.unwrap().rows);
    assert_eq!(placed, [CutOn::Agent(crawler.id), CutOn::Agent(AgentId::implicit(alice.id))]);

    assert_eq!(delete(&vault, &crawler).await, DeletedAgent::Deleted(Revision(5)));
    assert_eq!(delete(&vault, &crawler).await, DeletedAgent::Unknown);
    let changes = vault.changes_since(Revision(4)).await.unwrap();
    assert_eq!(changes.gone, [Gone::Cut(CutId::from_bytes([7; 16])), Gone::Agent(crawler.id)]);
    make(&vault, &agent(2, &alice, "crawler")).await;
    let left = store.cuts(NOW).await.unwrap();
    assert_eq!(left.iter().map(|cut| cut.target.to_string()).collect::<Vec<_>>(), ["agent:alice"]);
}

#[tokio::test]
async fn whoever_is_deleted_leaves_no_agents_and_no_cuts_on_them() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let theirs = [agent(1, &alice, "crawler"), agent(2, &alice, "helper")];
    let other = agent(3, &bob, "other");
    for made in theirs.iter().chain([&other]) {
        make(&vault, made).await;
    }
    for (id, target) in (7..).zip(["agent:crawler", "agent:alice", "agent:other"]) {
        assert!(matches!(cut(&vault, id, target).await, PlacedCut::Placed(_)), "{target}");
    }
    let before = vault.revision().await.unwrap();
    let deleted = vault.delete_user(alice.id, revocation(), event(Action::UserDelete, "alice")).await;
    assert!(matches!(deleted, Ok(DeletedUser::Deleted(..))));
    assert_eq!(store.agents(None).await.unwrap(), [listed(&other, &bob)]);
    let changes = vault.changes_since(before).await.unwrap();
    let cuts = [7, 8].map(|id| Gone::Cut(CutId::from_bytes([id; 16])));
    let agents = theirs.map(|agent| Gone::Agent(agent.id));
    let gone: Vec<_> = [Gone::User(alice.id)].into_iter().chain(cuts).chain(agents).collect();
    assert_eq!((changes.gone, changes.rows.len()), (gone, 0));
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((told.action.as_str(), &told.detail["deleted_agents"]), ("user.delete", &2.into()));
    create(&vault, &backend.user("alice")).await;
    make(&vault, &agent(4, &bob, "crawler")).await;
}

#[tokio::test]
async fn whoever_is_shut_out_meanwhile_does_nothing_to_agents() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let mut token = backend.token(Some(alice.id), 0);
    token.credential.scopes = Scopes::plain([PlainScope::AgentsWrite]);
    mint(&vault, &token).await;
    let crawler = agent(1, &alice, "crawler");
    let by = |action| {
        let mut event = event(action, "crawler");
        event.author = Some(Author {
            credential: token.credential.id,
            needs: Some(PlainScope::AgentsWrite),
            at: NOW,
            though_all_is_cut: false,
            worker: None,
        });
        event
    };
    let made = vault.create_agent(crawler.clone(), by(Action::AgentCreate)).await.unwrap();
    assert!(matches!(made, CreatedAgent::Created(_)));
    revoke(&vault, token.credential.id).await;
    let refused = [
        vault.create_agent(agent(2, &alice, "other"), by(Action::AgentCreate)).await.map(drop),
        vault.change_agent(crawler.id, Some(NOW), by(Action::AgentDisable)).await.map(drop),
        vault.delete_agent(crawler.id, by(Action::AgentDelete)).await.map(drop),
    ];
    assert_eq!(refused.map(Result::unwrap_err), [const { StoreError::CallerEnded }; 3]);
    assert_eq!(store.agents(None).await.unwrap(), [listed(&crawler, &alice)]);
}
