//! Worker tokens that were revoked, and acts on the authority of one.

use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::audit::{Action, Author, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::entropy::TestEntropy;
use fallgate_domain::id::{AgentId, CredentialId};
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::User;
use fallgate_domain::worker::{AllEnded, Audience, Family, LONGEST_LIFE, MOST_SKEW, WorkerClaims};
use fallgate_store::{
    Changes, Gone, PassphraseHash, Revision, RevokedWorker, Row, StoreError, UserChange, Vault,
};

use crate::support::{NOW, backend, create, event, load, mint, minutes_later, now, revocation, revoke};

async fn end(vault: &Vault, id: CredentialId, until: Timestamp) -> RevokedWorker {
    vault.revoke_worker(id, until, event(Action::TokenRevoke, &id.to_string())).await.unwrap()
}

fn id(entropy: &TestEntropy) -> CredentialId {
    CredentialId::new(NOW, entropy).unwrap()
}

#[tokio::test]
async fn r42_a_revoked_worker_token_is_told_with_its_family_and_once() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let (_, elsewhere) = backend.open().await;
    let ada = backend.user("ada");
    create(&vault, &ada).await;
    let first = id(&entropy);
    let family = Family::of(first);
    let renewed = family.member(minutes_later(5), &entropy).unwrap();
    assert!(!store.is_worker_revoked(first, ada.id).await.unwrap());
    assert_eq!(end(&vault, renewed, minutes_later(10)).await, RevokedWorker::Revoked(Revision(2)));
    assert!(store.is_worker_revoked(first, ada.id).await.unwrap());
    for handle in [&vault, &elsewhere] {
        let changes = handle.changes_since(Revision(1)).await.unwrap();
        assert_eq!(changes.rows, [Row::RevokedWorker(family)]);
    }
    // R43: whoever starts later knows it, too.
    assert_eq!(load(&elsewhere).await.1[0], Row::RevokedWorker(family));

    // Any other of the family is the same; nothing more is to be told, and the later time is kept.
    assert_eq!(end(&vault, first, minutes_later(5)).await, RevokedWorker::AlreadyRevoked);
    assert_eq!(end(&vault, first, minutes_later(20)).await, RevokedWorker::AlreadyRevoked);
    assert_eq!(end(&vault, renewed, minutes_later(15)).await, RevokedWorker::AlreadyRevoked);
    assert_eq!(vault.revision().await.unwrap(), Revision(2));
    assert_eq!(store.events(None, 10).await.unwrap().len(), 3, "what changed nothing is not recorded");
    assert_eq!(
        vault.sweep_workers(Timestamp::from_millis(minutes_later(20).millis() - 1), 9).await.unwrap(),
        0
    );
    assert_eq!(vault.sweep_workers(minutes_later(20), 9).await.unwrap(), 1);
    let Changes { rows, gone, .. } = elsewhere.changes_since(Revision(2)).await.unwrap();
    assert_eq!((rows, gone), (Vec::new(), vec![Gone::RevokedWorker(family)]));
    assert!(!load(&vault).await.1.contains(&Row::RevokedWorker(family)));
}

#[tokio::test]
async fn r42_all_of_an_owner_end_that_were_made_until_then_but_the_one_in_use() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let [ada, bob] = ["ada", "bob"].map(|name| backend.user(name));
    create(&vault, &ada).await;
    create(&vault, &bob).await;
    let made = |minutes: i64| {
        let at = Timestamp::from_millis(NOW.millis() + minutes * 60_000);
        CredentialId::new(at, &entropy).unwrap()
    };
    let [earlier, same, in_use, later] = [-1, 0, -2, 1].map(made);
    let renewed = Family::of(in_use).member(NOW, &entropy).unwrap();
    let all = async |owner, except| {
        let event = event(Action::TokenRevokeAll, "ada");
        vault.revoke_all(owner, except, revocation(), now(), event).await.unwrap()
    };
    let ended = async |owner: &User| {
        let mut ended = Vec::new();
        for id in [earlier, same, in_use, renewed, later] {
            ended.push(store.is_worker_revoked(id, owner.id).await.unwrap());
        }
        ended
    };
    assert_eq!(ended(&ada).await, [false; 5]);
    let before = vault.revision().await.unwrap();
    assert_eq!(all(Some(ada.id), Some(in_use)).await, 0);
    assert_eq!(ended(&ada).await, [true, true, false, false, false]);
    assert_eq!(ended(&bob).await, [false; 5]);
    let changes = vault.changes_since(before).await.unwrap();
    let told: Vec<_> = changes
        .rows
        .iter()
        .map(|row| match row {
            Row::User(row) => (row.id, row.workers_ended),
            other => panic!("{other:?}"),
        })
        .collect();
    let spared = Some(Family::of(in_use));
    assert_eq!(told, [(ada.id, Some(AllEnded { at: NOW, spared }))]);

    let hash = PassphraseHash::new("$argon2id$new".to_owned());
    let event = event(Action::UserPassphrase, "ada");
    let _ = vault.set_passphrase(ada.id, hash, Some(now()), revocation(), event).await.unwrap();
    assert_eq!(ended(&ada).await, [true, true, true, true, false], "nothing is in use for that");
    assert_eq!(ended(&bob).await, [false; 5]);
    all(None, None).await;
    assert_eq!(ended(&bob).await, [true, true, true, true, false], "everybody's");
}

#[tokio::test]
async fn r30_whose_a_worker_token_is_stands_in_the_event_of_its_mint() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let [minted, revoked, unheard] = [0; 3].map(|_| id(&entropy));
    let owned = |action, id: CredentialId| {
        let mut event = event(action, &id.to_string());
        event.detail.insert("owner".to_owned(), "ada".into());
        event
    };
    vault.record(vec![owned(Action::TokenMint, minted), owned(Action::TokenRevoke, revoked)]).await.unwrap();
    assert_eq!(store.owner_when_minted(minted).await.unwrap(), Some("ada".parse().unwrap()));
    for id in [revoked, unheard] {
        assert_eq!(store.owner_when_minted(id).await.unwrap(), None);
    }
    vault.record(vec![event(Action::TokenMint, &unheard.to_string())]).await.unwrap();
    assert_eq!(store.owner_when_minted(unheard).await.unwrap(), None, "nobody's");
}

#[tokio::test]
async fn r42_all_end_also_what_was_made_before_the_clock_was_set_back() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let ada = backend.user("ada");
    create(&vault, &ada).await;
    assert_eq!(store.all_workers_ended(ada.id).await.unwrap(), None);
    let ahead = CredentialId::new(minutes_later(10), &entropy).unwrap();
    for id in [ahead, CredentialId::new(NOW, &entropy).unwrap()] {
        vault.record(vec![event(Action::TokenMint, &id.to_string())]).await.unwrap();
    }
    let event = event(Action::TokenRevokeAll, "ada");
    let _ = vault.revoke_all(Some(ada.id), None, revocation(), now(), event).await.unwrap();
    assert!(store.is_worker_revoked(ahead, ada.id).await.unwrap());
    let ended = store.all_workers_ended(ada.id).await.unwrap().unwrap();
    assert_eq!((ended.at, ended.spared), (minutes_later(10), None));
}

#[tokio::test]
async fn r42_a_sweep_takes_so_many_at_once_and_none_before_its_second() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (_, vault) = backend.open().await;
    let longest = NOW.plus(LONGEST_LIFE).plus(MOST_SKEW);
    for second in 0..10 {
        let until = longest.plus(Duration::from_secs(second));
        let RevokedWorker::Revoked(_) = end(&vault, id(&entropy), until).await else { panic!("known") };
    }
    assert_eq!(vault.sweep_workers(Timestamp::from_millis(longest.millis() - 1), 100).await.unwrap(), 0);
    for second in 0..4 {
        let now = longest.plus(Duration::from_secs(second));
        assert_eq!(vault.sweep_workers(now, 100).await.unwrap(), 1, "{second}");
        assert_eq!(vault.sweep_workers(now, 100).await.unwrap(), 0);
    }
    let last = longest.plus(Duration::from_secs(9));
    for left in [4, 2] {
        assert_eq!(vault.sweep_workers(last, left).await.unwrap(), u64::from(left));
    }
    assert_eq!(vault.sweep_workers(last, 100).await.unwrap(), 0);
}

fn by(claims: &Arc<WorkerClaims>, needs: Option<PlainScope>, at: Timestamp) -> NewEvent {
    let worker = Some(claims.clone());
    let author = Author { credential: claims.id, needs, at, though_all_is_cut: false, worker };
    NewEvent { author: Some(author), ..event(Action::UserEnable, "ada") }
}

#[tokio::test]
async fn r42_an_act_by_a_worker_token_needs_all_its_links_when_it_is_done() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (_, vault) = backend.open().await;
    let ada = backend.user("ada");
    create(&vault, &ada).await;
    let parent = backend.token(Some(ada.id), 0);
    let child = backend.child(&parent, 1);
    mint(&vault, &parent).await;
    mint(&vault, &child).await;
    let claims = |hangs_on: &[CredentialId]| {
        let id = id(&entropy);
        Arc::new(WorkerClaims {
            issuer: "https://gate.example".to_owned(),
            agent: (&ada.username).into(),
            agent_id: AgentId::implicit(ada.id),
            owner: ada.username.clone(),
            owner_id: ada.id,
            audience: vec![Audience::Gate],
            id,
            issued_at: NOW,
            not_before: NOW,
            expires_at: minutes_later(120),
            scopes: Scopes::plain([PlainScope::IdentityRead]),
            ancestors: [&[id], hangs_on].concat(),
            session: None,
        })
    };
    let enable = async |user: &User, event| {
        vault.change_user(user.id, vec![(UserChange::Enable, event)]).await.map(|_| ())
    };
    let (free, hanging) = (claims(&[]), claims(&[child.credential.id, parent.credential.id]));
    let (read, write) = (Some(PlainScope::IdentityRead), Some(PlainScope::TokensWrite));
    for good in [&free, &hanging] {
        assert_eq!(enable(&ada, by(good, read, NOW)).await, Ok(()));
        assert_eq!(enable(&ada, by(good, None, NOW)).await, Ok(()));
        assert_eq!(enable(&ada, by(good, write, NOW)).await, Err(StoreError::CallerEnded));
    }
    // Past its parents' end.
    assert_eq!(enable(&ada, by(&hanging, read, minutes_later(61))).await, Err(StoreError::CallerEnded));
    revoke(&vault, parent.credential.id).await;
    assert_eq!(enable(&ada, by(&hanging, read, NOW)).await, Err(StoreError::CallerEnded));
    assert_eq!(enable(&ada, by(&free, read, NOW)).await, Ok(()), "nothing else is touched");
    let other = claims(&[]);
    let _ = end(&vault, free.id, minutes_later(200)).await;
    assert_eq!(enable(&ada, by(&free, read, NOW)).await, Err(StoreError::CallerEnded));
    assert_eq!(enable(&ada, by(&other, read, NOW)).await, Ok(()));
    let disable = vec![(UserChange::Disable(NOW), event(Action::UserDisable, "ada"))];
    vault.change_user(ada.id, disable).await.map(|_| ()).unwrap();
    assert_eq!(enable(&ada, by(&other, read, NOW)).await, Err(StoreError::CallerEnded));
}
