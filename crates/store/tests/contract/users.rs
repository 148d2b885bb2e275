//! Accounts.

use fallgate_domain::audit::Action;
use fallgate_domain::credential::LastUse;
use fallgate_domain::user::Role;
use fallgate_store::{CreatedUser, NotedUse, PassphraseHash, Revision, StoreError};

use crate::support::{NOW, backend, create, event, mint, minutes_later, username};

#[tokio::test]
async fn an_account_is_found_by_name_and_by_id_as_it_was_made() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let mut alice = backend.user("alice");
    alice.role = Role::Admin;
    alice.disabled_at = Some(NOW);
    let bob = backend.user("bob");
    assert_eq!(create(&vault, &bob).await, Revision(1));
    assert_eq!(create(&vault, &alice).await, Revision(2));

    assert_eq!(store.user_named(&username("alice")).await.unwrap(), Some(alice.clone()));
    assert_eq!(store.user(bob.id).await.unwrap(), Some(bob.clone()));
    assert_eq!(store.users().await.unwrap(), [alice, bob], "by username");
    assert_eq!(store.user_named(&username("carol")).await.unwrap(), None);
    assert_eq!(store.user(backend.user("carol").id).await.unwrap(), None);
}

#[tokio::test]
async fn a_taken_username_changes_and_records_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let again =
        vault.create_user(backend.user("alice"), None, event(Action::UserCreate, "alice")).await.unwrap();
    assert_eq!(again, CreatedUser::UsernameTaken);
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
    assert_eq!(store.users().await.unwrap(), [alice]);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_taken_id_is_a_conflict_and_changes_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let mut twin = backend.user("twin");
    twin.id = alice.id;
    let refused = vault.create_user(twin, None, event(Action::UserCreate, "twin")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.users().await.unwrap(), [alice]);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
}

#[tokio::test]
async fn a_passphrase_hash_is_kept_and_never_shown() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let phc = "$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ$aGFzaA";
    let hash = PassphraseHash::new(phc.to_owned());
    assert!(!format!("{hash:?}").contains("argon2"));
    assert_eq!(hash.expose(), phc);
    let alice = backend.user("alice");
    let created = vault.create_user(alice, Some(hash), event(Action::UserCreate, "alice")).await.unwrap();
    assert_eq!(created, CreatedUser::Created(Revision(1)));
    drop((vault, store));
    let kept: String = rusqlite::Connection::open(backend.path())
        .unwrap()
        .query_row(r#"SELECT passphrase FROM "user""#, [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, phc);
}

#[tokio::test]
async fn somebody_was_last_seen_when_any_of_their_credentials_was_used_last() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let accounts = vec![alice.id, bob.id];
    assert!(store.last_seen(accounts.clone()).await.unwrap().is_empty());
    for minutes in [7, 3] {
        let new = backend.token(Some(alice.id), 0);
        mint(&vault, &new).await;
        let last = LastUse { at: minutes_later(minutes), ip: None, user_agent: None };
        vault
            .note_uses(&[NotedUse { credential: new.credential.id, last: Some(last), times: 1, agent: None }])
            .await
            .unwrap();
    }
    let seen = store.last_seen(accounts).await.unwrap();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(alice.id, minutes_later(7))]);
}
