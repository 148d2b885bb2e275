//! The internal token: one counts, and what was ended once never does again.

use fallgate_domain::audit::Action;
use fallgate_domain::credential::{CredentialKind, Status};
use fallgate_domain::id::CredentialId;
use fallgate_domain::internal::InternalToken;
use fallgate_store::{InternalHeld, NewInternal, Revision, Store, StoreError, Vault};

use crate::support::{Backend, NOW, backend, event, everything, mint, revocation, revoke, try_mint};

fn internal(backend: &Backend) -> NewInternal {
    let token = backend.token(None, 0);
    NewInternal {
        id: token.credential.id,
        hash: token.hash,
        minted_by: "cli:tester".to_owned(),
        created_at: NOW,
    }
}

async fn hold(vault: &Vault, new: &NewInternal) -> InternalHeld {
    let event = event(Action::InternalTokenMake, &new.id.to_string());
    vault.hold_internal(new.clone(), revocation(), event).await.unwrap()
}

async fn status(store: &Store, id: CredentialId) -> Status {
    store.credential(id).await.unwrap().unwrap().credential.status(NOW)
}

#[tokio::test]
async fn one_internal_token_counts_and_holding_it_again_is_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (first, second) = (internal(&backend), internal(&backend));
    assert_eq!(hold(&vault, &first).await, InternalHeld::Now(Revision(1)));
    let shown = store.credential(first.id).await.unwrap().unwrap();
    assert_eq!((shown.credential.kind, shown.owner_name), (CredentialKind::Internal, None));
    assert_eq!(shown.credential.scopes, InternalToken::scopes());
    assert_eq!((shown.credential.expires_at, shown.credential.hint.as_str()), (None, ""));
    // Another id for the same secret is not asked for.
    let again = NewInternal { id: second.id, ..first.clone() };
    assert_eq!(hold(&vault, &again).await, InternalHeld::Already);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);

    let other = backend.token(None, 1);
    mint(&vault, &other).await;
    assert_eq!(hold(&vault, &second).await, InternalHeld::Now(Revision(3)));
    assert_eq!(status(&store, first.id).await, Status::Revoked);
    assert_eq!(status(&store, second.id).await, Status::Active);
    assert_eq!(status(&store, other.credential.id).await, Status::Active, "no business of ours");
    assert_eq!(vault.changes_since(Revision(2)).await.unwrap().rows.len(), 2);
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((told.action.as_str(), &told.detail["revoked"]), ("internal-token.make", &1.into()));
}

#[tokio::test]
async fn an_internal_token_that_was_ended_does_not_come_back() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (first, second) = (internal(&backend), internal(&backend));
    for new in [&first, &second] {
        let InternalHeld::Now(_) = hold(&vault, new).await else { panic!("not held") };
    }
    assert_eq!(hold(&vault, &first).await, InternalHeld::Ended);
    assert_eq!(status(&store, second.id).await, Status::Active, "nothing was done");
    revoke(&vault, second.id).await;
    assert_eq!(hold(&vault, &second).await, InternalHeld::Ended);
    // Nor does another kind of credential become one.
    let token = backend.token(None, 0);
    mint(&vault, &token).await;
    let posing = NewInternal { hash: token.hash, ..internal(&backend) };
    assert_eq!(hold(&vault, &posing).await, InternalHeld::Ended);
}

#[tokio::test]
async fn neither_internal_nor_imported_credentials_are_ever_minted() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    for kind in [CredentialKind::Internal, CredentialKind::Legacy] {
        let mut new = backend.token(None, 0);
        new.credential.kind = kind;
        let refused = try_mint(&vault, &new).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert!(store.credentials(&everything()).await.unwrap().is_empty());
    assert_eq!(vault.revision().await.unwrap(), Revision(0));
}
