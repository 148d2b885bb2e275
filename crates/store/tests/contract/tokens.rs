//! Acts on tokens that are there already.

use fallgate_domain::audit::Action;
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, NewCredential};
use fallgate_domain::id::{CredentialId, UserId};
use fallgate_store::{Amended, Revision, Row, Store, Vault};

use crate::support::{NOW, backend, create, event, mint, minutes_later, now, revocation, revoke};

async fn rename(vault: &Vault, id: CredentialId, name: &str) -> Amended {
    vault.rename(id, name.to_owned(), event(Action::TokenRename, &id.to_string())).await.unwrap()
}

async fn redate(vault: &Vault, id: CredentialId, end: Option<Timestamp>, now: Timestamp) -> Amended {
    vault.redate(id, end, now, event(Action::TokenExpire, &id.to_string())).await.unwrap()
}

async fn revoke_all(vault: &Vault, owner: Option<UserId>, except: Option<CredentialId>) -> u64 {
    vault.revoke_all(owner, except, revocation(), now(), event(Action::TokenRevokeAll, "them")).await.unwrap()
}

async fn is_revoked(store: &Store, new: &NewCredential) -> bool {
    store.credential(new.credential.id).await.unwrap().unwrap().credential.revoked.is_some()
}

#[tokio::test]
async fn a_token_is_renamed_and_the_same_name_again_is_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let token = backend.token(None, 0);
    let id = token.credential.id;
    mint(&vault, &token).await;
    assert_eq!(rename(&vault, id, "desktop").await, Amended::Amended(Revision(2)));
    assert_eq!(store.credential(id).await.unwrap().unwrap().credential.name, "desktop");
    assert_eq!(rename(&vault, id, "desktop").await, Amended::Unchanged);
    assert_eq!(rename(&vault, backend.token(None, 0).credential.id, "x").await, Amended::Unknown);
    assert_eq!(vault.revision().await.unwrap(), Revision(2));
    assert_eq!(store.events(None, 10).await.unwrap()[0].action, "token.rename");
    assert_eq!(store.events(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn r33_a_token_is_given_another_end_while_it_stands_and_never_after() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let root = backend.token(None, 0);
    let child = backend.child(&root, 1);
    let (root_id, child_id) = (root.credential.id, child.credential.id);
    for new in [&root, &child] {
        mint(&vault, new).await;
    }
    // Both last an hour from their making.
    let longer = Some(minutes_later(90));
    assert_eq!(redate(&vault, child_id, longer, NOW).await, Amended::Amended(Revision(3)));
    let changes = vault.changes_since(Revision(2)).await.unwrap();
    let [Row::Credential(row)] = &changes.rows[..] else { panic!("{changes:?}") };
    assert_eq!((row.id, row.expires_at), (child_id, longer));
    let shown = store.credential(child_id).await.unwrap().unwrap().credential;
    assert_eq!(shown.expires_at, Some(minutes_later(60)), "no longer than its parent");
    assert_eq!(redate(&vault, child_id, longer, NOW).await, Amended::Unchanged);
    // Its parent is over at the 60th minute, and so is it.
    assert_eq!(redate(&vault, child_id, None, minutes_later(60)).await, Amended::Ended);
    assert_eq!(redate(&vault, root_id, None, minutes_later(60)).await, Amended::Ended);
    assert_eq!(redate(&vault, root_id, None, minutes_later(59)).await, Amended::Amended(Revision(4)));
    revoke(&vault, root_id).await;
    assert_eq!(redate(&vault, root_id, longer, NOW).await, Amended::Ended);
    assert_eq!(redate(&vault, child_id, None, NOW).await, Amended::Ended);
    assert_eq!(redate(&vault, backend.token(None, 0).credential.id, None, NOW).await, Amended::Unknown);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 5);
}

#[tokio::test]
async fn r35_all_good_tokens_of_one_or_of_everybody_end_in_one_act() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let mut of_alice = [0, 1, 2, 3].map(|minutes| backend.token(Some(alice.id), minutes));
    of_alice[2].credential.expires_at = Some(NOW);
    of_alice[3].credential.kind = CredentialKind::Login;
    let old = backend.token(None, 4);
    let of_bob = backend.token(Some(bob.id), 5);
    for new in of_alice.iter().chain([&old, &of_bob]) {
        mint(&vault, new).await;
    }
    let before = vault.revision().await.unwrap();
    assert_eq!(revoke_all(&vault, Some(alice.id), Some(of_alice[0].credential.id)).await, 1);
    assert_eq!(vault.revision().await.unwrap(), Revision(before.0 + 1));
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((told.action.as_str(), &told.detail["revoked"]), ("token.revoke-all", &1.into()));
    let mut revoked = Vec::new();
    for new in of_alice.iter().chain([&old, &of_bob]) {
        revoked.push(is_revoked(&store, new).await);
    }
    assert_eq!(
        revoked,
        [false, true, false, false, false, false],
        "the excepted, the expired, the sign-in, others'"
    );

    assert_eq!(revoke_all(&vault, None, None).await, 3);
    for new in [&of_alice[0], &old, &of_bob] {
        assert!(is_revoked(&store, new).await);
    }
    assert_eq!(revoke_all(&vault, None, None).await, 0);
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!(told.detail["revoked"], 0, "there may have been worker tokens");
}

#[tokio::test]
async fn a_credential_is_found_by_its_hash_ended_or_not() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let token = backend.token(None, 0);
    mint(&vault, &token).await;
    assert_eq!(vault.holder_of(token.hash).await.unwrap(), Some(token.credential.id));
    revoke(&vault, token.credential.id).await;
    assert_eq!(vault.holder_of(token.hash).await.unwrap(), Some(token.credential.id));
    assert_eq!(vault.holder_of(backend.token(None, 0).hash).await.unwrap(), None);
}
