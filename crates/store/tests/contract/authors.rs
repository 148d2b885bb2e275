//! Acts on the authority of a credential, which must stand when they are done.

use fallgate_domain::audit::{Action, Author, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::GRANT;
use fallgate_domain::id::CredentialId;
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::{Role, User};
use fallgate_store::{ChangedUser, StoreError, UserChange, Vault};

use crate::support::{NOW, backend, create, event, mint, minutes_later, revoke};

fn by(credential: CredentialId, needs: Option<PlainScope>, at: Timestamp) -> NewEvent {
    NewEvent {
        author: Some(Author { credential, needs, at, though_all_is_cut: false, worker: None }),
        ..event(Action::UserEnable, "ada")
    }
}

async fn enable(vault: &Vault, user: &User, event: NewEvent) -> Result<ChangedUser, StoreError> {
    vault.change_user(user.id, vec![(UserChange::Enable, event)]).await
}

#[tokio::test]
async fn r9_whoever_is_shut_out_between_asking_and_doing_does_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let ada = User { role: Role::Admin, ..backend.user("ada") };
    create(&vault, &User { role: Role::Admin, ..backend.user("root") }).await;
    create(&vault, &ada).await;
    let mut parent = backend.token(Some(ada.id), 0);
    parent.credential.scopes = Scopes::plain([PlainScope::Admin]);
    parent.credential.expires_at = Some(minutes_later(60));
    let mut child = backend.child(&parent, 1);
    child.credential.scopes = Scopes::plain([PlainScope::Admin]);
    mint(&vault, &parent).await;
    mint(&vault, &child).await;
    let (parent, child) = (parent.credential.id, child.credential.id);
    let admin = Some(PlainScope::Admin);
    let disable = vec![(UserChange::Disable(NOW), event(Action::UserDisable, "ada"))];

    // As long as it stands, with the scope, before its end.
    assert!(matches!(enable(&vault, &ada, by(child, admin, NOW)).await, Ok(ChangedUser::Unchanged(_))));
    for refused in [by(CredentialId::from_bytes([9; 16]), admin, NOW), by(child, admin, minutes_later(60))] {
        assert_eq!(enable(&vault, &ada, refused).await.unwrap_err(), StoreError::CallerEnded);
    }
    // Disabled: not even to let themselves in again.
    assert!(matches!(vault.change_user(ada.id, disable).await.unwrap(), ChangedUser::Changed(..)));
    let events = store.events(None, 100).await.unwrap().len();
    assert_eq!(enable(&vault, &ada, by(child, admin, NOW)).await.unwrap_err(), StoreError::CallerEnded);
    assert!(store.user(ada.id).await.unwrap().unwrap().disabled_at.is_some());
    assert_eq!(store.events(None, 100).await.unwrap().len(), events, "nothing is recorded");
    // Demoted: what needs no more than a user may do is done.
    let demote = vec![
        (UserChange::Enable, event(Action::UserEnable, "ada")),
        (UserChange::Role(Role::User), event(Action::UserRole, "ada")),
    ];
    assert!(matches!(vault.change_user(ada.id, demote).await.unwrap(), ChangedUser::Changed(..)));
    assert_eq!(enable(&vault, &ada, by(child, admin, NOW)).await.unwrap_err(), StoreError::CallerEnded);
    assert!(enable(&vault, &ada, by(child, None, NOW)).await.is_ok());
    assert!(enable(&vault, &ada, by(child, Some(PlainScope::TokensWrite), NOW)).await.is_ok());
    // Beyond that counts what was granted, and nothing else of it.
    let introspect = Some(PlainScope::Introspect);
    let mut granted = backend.token(Some(ada.id), 2);
    granted.credential.scopes = Scopes::plain([PlainScope::Introspect]);
    granted.credential.minted_by = format!("{GRANT}user:1");
    mint(&vault, &granted).await;
    let granted = granted.credential.id;
    assert!(enable(&vault, &ada, by(granted, introspect, NOW)).await.is_ok());
    for refused in [by(child, introspect, NOW), by(granted, Some(PlainScope::Cut), NOW)] {
        assert_eq!(enable(&vault, &ada, refused).await.unwrap_err(), StoreError::CallerEnded);
    }
    // And with what it hangs on.
    revoke(&vault, parent).await;
    assert_eq!(enable(&vault, &ada, by(child, None, NOW)).await.unwrap_err(), StoreError::CallerEnded);
    let new = backend.token(Some(ada.id), 2);
    let minting = NewEvent {
        author: Some(Author {
            credential: child,
            needs: None,
            at: NOW,
            though_all_is_cut: false,
            worker: None,
        }),
        ..event(Action::TokenMint, "x")
    };
    assert_eq!(vault.mint(new.clone(), u32::MAX, minting).await.unwrap_err(), StoreError::CallerEnded);
    assert_eq!(store.credential(new.credential.id).await.unwrap(), None);
}
