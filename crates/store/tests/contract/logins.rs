//! Signing in: what it rests on, what it ends, and what comes in between.

use fallgate_domain::audit::Action;
use fallgate_domain::credential::{CredentialKind, LastUse, NewCredential, Revocation};
use fallgate_domain::id::CredentialId;
use fallgate_domain::user::User;
use fallgate_store::{
    ChangedPassphrase, CreatedUser, FirstUser, NewLogin, NotedUse, PassphraseHash, Revision, Row, SignedIn,
    Store, UserChange, Vault,
};

use crate::support::{
    Backend, backend, create, event, load, mint, minutes_later, now, revocation, revoke, username,
};

fn hash(text: &str) -> PassphraseHash {
    PassphraseHash::new(format!("$argon2id${text}"))
}

/// A database with a user alice, whose passphrase hashes to `old`.
async fn with_alice(backend: &Backend) -> (Store, Vault, User) {
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    let made = vault.create_user(alice.clone(), Some(hash("old")), event(Action::UserCreate, "alice")).await;
    assert!(matches!(made.unwrap(), CreatedUser::Created(_)));
    (store, vault, alice)
}

fn login(backend: &Backend, owner: &User, minutes: u64) -> NewCredential {
    let mut new = backend.token(Some(owner.id), minutes);
    new.credential.kind = CredentialKind::Login;
    new.credential.last_use = Some(LastUse {
        at: new.credential.created_at,
        ip: Some("192.0.2.1".to_owned()),
        user_agent: Some("curl/8".to_owned()),
    });
    new
}

async fn sign_in(vault: &Vault, new: &NewCredential, proof: &str, more: impl Fn(&mut NewLogin)) -> SignedIn {
    let mut login = NewLogin { new: new.clone(), proof: hash(proof), rehashed: None, replaces: None };
    more(&mut login);
    vault.sign_in(login, event(Action::Login, "alice")).await.unwrap()
}

async fn proof_of(vault: &Vault, name: &str) -> Option<PassphraseHash> {
    vault.sign_in_account(&username(name)).await.unwrap()?.passphrase
}

#[tokio::test]
async fn what_the_dearest_imported_passphrase_costs_is_told() {
    let backend = backend();
    let (_, vault, _) = with_alice(&backend).await;
    assert_eq!(vault.imported_passphrase_cost().await.unwrap(), None);
    for (name, stored, cost) in [
        ("bob", "scrypt$16384$c2FsdA==$aGFzaA==", 16_384),
        ("carol", "scrypt$1024$c2FsdA==$aGFzaA==", 16_384),
        ("dave", "scrypt$32768$c2FsdA==$aGFzaA==", 32_768),
        ("erin", "scrypt$no number$", 32_768),
    ] {
        let (user, hash) = (backend.user(name), PassphraseHash::new(stored.to_owned()));
        let made = vault.create_user(user, Some(hash), event(Action::UserCreate, name)).await;
        assert!(matches!(made, Ok(CreatedUser::Created(_))), "{name}");
        assert_eq!(vault.imported_passphrase_cost().await.unwrap(), Some(cost), "{name}");
    }
}

async fn revoked(store: &Store, id: CredentialId) -> Option<Revocation> {
    store.credential(id).await.unwrap().unwrap().credential.revoked
}

async fn last_action(store: &Store) -> String {
    store.events(None, 1).await.unwrap().remove(0).action
}

#[tokio::test]
async fn a_sign_in_is_written_with_where_it_was_made_and_takes_the_place_of_another() {
    let backend = backend();
    let (store, vault, alice) = with_alice(&backend).await;
    let account = vault.sign_in_account(&username("alice")).await.unwrap().unwrap();
    assert_eq!((account.user, account.passphrase), (alice.clone(), Some(hash("old"))));
    assert!(vault.sign_in_account(&username("bob")).await.unwrap().is_none());

    let first = login(&backend, &alice, 1);
    assert_eq!(sign_in(&vault, &first, "old", |_| ()).await, SignedIn::SignedIn(Revision(2)));
    let shown = store.credential(first.credential.id).await.unwrap().unwrap().credential;
    assert_eq!(shown.last_use, first.credential.last_use);
    assert_eq!(last_action(&store).await, "login");

    let second = login(&backend, &alice, 2);
    let replacing = |login: &mut NewLogin| {
        login.replaces = Some((first.credential.id, revocation()));
        login.rehashed = Some(hash("better"));
    };
    assert_eq!(sign_in(&vault, &second, "old", replacing).await, SignedIn::SignedIn(Revision(3)));
    assert_eq!(revoked(&store, first.credential.id).await, Some(revocation()));
    assert_eq!(proof_of(&vault, "alice").await, Some(hash("better")));
    let changes = vault.changes_since(Revision(2)).await.unwrap();
    let moved: Vec<_> = changes
        .rows
        .iter()
        .map(|row| match row {
            Row::Credential(row) => (row.id, row.revoked, row.used_at),
            other => panic!("{other:?}"),
        })
        .collect();
    let used = |new: &NewCredential| Some(new.credential.created_at);
    assert_eq!(
        moved,
        [(first.credential.id, true, used(&first)), (second.credential.id, false, used(&second))]
    );
    // Nothing but a sign-in is replaced by one.
    let token = backend.token(Some(alice.id), 3);
    mint(&vault, &token).await;
    let third = login(&backend, &alice, 4);
    let written =
        sign_in(&vault, &third, "better", |login| login.replaces = Some((token.credential.id, revocation())))
            .await;
    assert!(matches!(written, SignedIn::SignedIn(_)));
    assert_eq!(revoked(&store, token.credential.id).await, None);
}

#[tokio::test]
async fn a_sign_in_is_not_written_when_what_it_rests_on_does_not_count_any_more() {
    let backend = backend();
    let (store, vault, alice) = with_alice(&backend).await;
    let before = load(&vault).await;
    let new = login(&backend, &alice, 1);
    assert_eq!(sign_in(&vault, &new, "another", |_| ()).await, SignedIn::Superseded);
    let nobody = login(&backend, &backend.user("bob"), 1);
    assert_eq!(sign_in(&vault, &nobody, "old", |_| ()).await, SignedIn::Superseded);
    assert_eq!(load(&vault).await, before);
    let disable = (UserChange::Disable(minutes_later(1)), event(Action::UserDisable, "alice"));
    let _ = vault.change_user(alice.id, vec![disable]).await.unwrap();
    assert_eq!(sign_in(&vault, &new, "old", |_| ()).await, SignedIn::Superseded);
    assert_eq!(last_action(&store).await, "user.disable");
    // Somebody without a passphrase has nothing that could be right.
    let carol = backend.user("carol");
    create(&vault, &carol).await;
    assert_eq!(proof_of(&vault, "carol").await, None);
    assert_eq!(sign_in(&vault, &login(&backend, &carol, 1), "", |_| ()).await, SignedIn::Superseded);
}

#[tokio::test]
async fn all_sign_ins_but_one_are_ended_and_nothing_else() {
    let backend = backend();
    let (store, vault, alice) = with_alice(&backend).await;
    let logins = [0, 1, 2, 3].map(|minutes| login(&backend, &alice, minutes));
    let token = backend.token(Some(alice.id), 0);
    for new in logins.iter().chain([&token]) {
        mint(&vault, new).await;
    }
    revoke(&vault, logins[3].credential.id).await;
    let keep = Some(logins[0].credential.id);
    let end =
        |except| vault.revoke_logins(alice.id, except, revocation(), event(Action::LoginRevokeAll, "alice"));
    assert_eq!(end(keep).await.unwrap(), 2);
    assert_eq!(revoked(&store, logins[0].credential.id).await, None);
    assert_eq!(revoked(&store, token.credential.id).await, None);
    assert!(revoked(&store, logins[1].credential.id).await.is_some());
    let told = store.events(None, 1).await.unwrap().remove(0);
    assert_eq!((told.action.as_str(), told.detail["revoked"].as_u64()), ("login.revoke-all", Some(2)));
    let before = load(&vault).await;
    assert_eq!(end(keep).await.unwrap(), 0);
    assert_eq!(load(&vault).await, before, "nothing is left to end");
    assert_eq!(end(None).await.unwrap(), 1);
}

#[tokio::test]
async fn ones_own_passphrase_is_changed_by_whoever_showed_it_and_the_sign_in_in_use_stays() {
    let backend = backend();
    let (store, vault, alice) = with_alice(&backend).await;
    let [used, other] = [0, 1].map(|minutes| login(&backend, &alice, minutes));
    let token = backend.token(Some(alice.id), 0);
    for new in [&used, &other, &token] {
        mint(&vault, new).await;
    }
    let change = |proof, new, tokens| {
        let event = event(Action::UserPassphrase, "alice");
        let keep = used.credential.id;
        vault.change_passphrase(alice.id, hash(proof), hash(new), keep, tokens, revocation(), event)
    };
    assert_eq!(change("another", "new", Some(now())).await.unwrap(), ChangedPassphrase::Superseded);
    assert_eq!(proof_of(&vault, "alice").await, Some(hash("old")));
    let ended = |changed| match changed {
        ChangedPassphrase::Changed(_, ended) => (ended.logins, ended.tokens),
        ChangedPassphrase::Superseded => panic!("superseded"),
    };
    assert_eq!(ended(change("old", "new", None).await.unwrap()), (1, 0));
    assert_eq!(proof_of(&vault, "alice").await, Some(hash("new")));
    assert_eq!(revoked(&store, token.credential.id).await, None);
    assert_eq!(ended(change("new", "newer", Some(now())).await.unwrap()), (0, 1));
    assert_eq!(revoked(&store, used.credential.id).await, None);
    assert!(revoked(&store, token.credential.id).await.is_some());
    assert!(revoked(&store, other.credential.id).await.is_some());
}

#[tokio::test]
async fn of_two_first_users_one_is_made_with_a_sign_in() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (_, elsewhere) = backend.open().await;
    let [ada, bob] = ["ada", "bob"].map(|name| backend.user(name));
    let first_user = async |vault: &Vault, user: &User| {
        let event = event(Action::Setup, user.username.as_str());
        vault.create_first_user(user.clone(), hash("x"), login(&backend, user, 1), event).await
    };
    let (first, second) = tokio::join!(first_user(&vault, &ada), first_user(&elsewhere, &bob));
    let made = [first.unwrap(), second.unwrap()];
    assert_eq!(made.iter().filter(|made| matches!(made, FirstUser::Created(_))).count(), 1, "{made:?}");
    assert_eq!(store.users().await.unwrap().len(), 1);
    let (_, rows) = load(&vault).await;
    assert_eq!(rows.len(), 2, "a user and a sign-in: {rows:?}");
    assert_eq!(first_user(&vault, &backend.user("carol")).await.unwrap(), FirstUser::NotTheFirst);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_without_an_act_is_recorded_and_raises_no_revision() {
    let backend = backend();
    let (store, vault, _) = with_alice(&backend).await;
    let before = vault.revision().await.unwrap();
    vault.record(vec![event(Action::LoginFailed, "alice")]).await.unwrap();
    assert_eq!(vault.revision().await.unwrap(), before);
    let told = store.events(None, 1).await.unwrap().remove(0);
    assert_eq!((told.action.as_str(), told.outcome.as_str()), ("login.failed", "refused"));
    assert_eq!(told.hash, told.computed_hash());
}

#[tokio::test]
async fn a_sign_in_was_used_when_it_was_made_or_later_and_a_token_does_not_say() {
    let backend = backend();
    let (_, vault, alice) = with_alice(&backend).await;
    let (new, token) = (login(&backend, &alice, 1), backend.token(Some(alice.id), 2));
    mint(&vault, &new).await;
    mint(&vault, &token).await;
    let used = |minutes| LastUse { at: minutes_later(minutes), ip: None, user_agent: None };
    let used_at = async || {
        let (_, rows) = load(&vault).await;
        let of = |row: &Row| match row {
            Row::Credential(row) => Some(row.used_at),
            _ => None,
        };
        rows.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(used_at().await, [Some(minutes_later(1)), None]);
    let noted = |credential| NotedUse { credential, last: Some(used(5)), times: 1, agent: None };
    vault.note_uses(&[noted(new.credential.id), noted(token.credential.id)]).await.unwrap();
    assert_eq!(used_at().await, [Some(minutes_later(5)), None]);
}

#[tokio::test]
async fn r32_what_is_held_open_was_used_just_now_and_from_where_it_was() {
    let backend = backend();
    let (store, vault, alice) = with_alice(&backend).await;
    let new = login(&backend, &alice, 1);
    assert!(matches!(sign_in(&vault, &new, "old", |_| ()).await, SignedIn::SignedIn(_)));
    let id = new.credential.id;
    let revision = vault.revision().await.unwrap();
    for (at, used_at) in [(9, 9), (5, 9)] {
        vault.note_held(vec![id, backend.token(None, 0).credential.id], minutes_later(at)).await.unwrap();
        let last_use = store.credential(id).await.unwrap().unwrap().credential.last_use.unwrap();
        assert_eq!((last_use.at, last_use.ip.as_deref()), (minutes_later(used_at), Some("192.0.2.1")));
    }
    vault.note_held(Vec::new(), minutes_later(99)).await.unwrap();
    assert_eq!(vault.revision().await.unwrap(), revision);
}
