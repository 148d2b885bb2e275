//! Credentials: minted, listed, revoked, used.

use std::time::Duration;

use fallgate_domain::credential::{CredentialKind, LastUse, Status};
use fallgate_domain::id::CredentialId;
use fallgate_store::{CredentialFilter, Listed, Minted, NotedUse, Revision, Revoked, Store, StoreError};

use crate::support::{
    NOW, backend, create, everything, hash_of, load, mint, minutes_later, revocation, revoke, try_mint,
    try_revoke, username,
};

async fn ids(store: &Store, filter: &CredentialFilter) -> Vec<CredentialId> {
    store.credentials(filter).await.unwrap().iter().map(|listed| listed.credential.id).collect()
}

#[tokio::test]
async fn a_credential_is_shown_as_it_was_minted_with_its_owners_name() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let token = backend.token(Some(alice.id), 0);
    assert_eq!(mint(&vault, &token).await, Revision(2));
    let mut ownerless = backend.token(None, 1);
    ownerless.credential.expires_at = None;
    assert_eq!(mint(&vault, &ownerless).await, Revision(3));

    let shown = Listed { credential: token.credential.clone(), owner_name: Some(username("alice")), uses: 0 };
    let shown_ownerless = Listed { credential: ownerless.credential.clone(), owner_name: None, uses: 0 };
    assert_eq!(store.credential(token.credential.id).await.unwrap(), Some(shown.clone()));
    assert_eq!(store.credentials(&everything()).await.unwrap(), [shown, shown_ownerless]);
    assert_eq!(store.credential(backend.token(None, 0).credential.id).await.unwrap(), None);
    let names = store.credential_names(vec![ownerless.credential.id, backend.token(None, 0).credential.id]);
    assert_eq!(names.await.unwrap(), [(ownerless.credential.id, ownerless.credential.name.clone())]);
    let (_, rows) = load(&vault).await;
    assert_eq!(hash_of(&rows, token.credential.id), Some(token.hash));
}

#[tokio::test]
async fn a_filter_narrows_by_owner_kind_and_end() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let of_alice = backend.token(Some(alice.id), 0);
    let of_bob = backend.token(Some(bob.id), 1);
    let mut login = backend.token(Some(alice.id), 2);
    login.credential.kind = CredentialKind::Login;
    let revoked = backend.token(Some(alice.id), 3);
    for new in [&of_alice, &of_bob, &login, &revoked] {
        mint(&vault, new).await;
    }
    revoke(&vault, revoked.credential.id).await;
    let [of_alice, of_bob, login, revoked] = [of_alice, of_bob, login, revoked].map(|new| new.credential.id);

    let all = everything();
    let active = CredentialFilter { with_ended: false, ..all.clone() };
    assert_eq!(ids(&store, &all).await, [of_alice, of_bob, login, revoked]);
    assert_eq!(ids(&store, &active).await, [of_alice, of_bob, login]);
    let filter = CredentialFilter { owner: Some(alice.id), ..all.clone() };
    assert_eq!(ids(&store, &filter).await, [of_alice, login, revoked]);
    let filter =
        CredentialFilter { owner: Some(alice.id), kinds: vec![CredentialKind::Login], ..all.clone() };
    assert_eq!(ids(&store, &filter).await, [login]);
    let kinds = vec![CredentialKind::Login, CredentialKind::Token];
    let filter = CredentialFilter { owner: Some(bob.id), kinds, ..all.clone() };
    assert_eq!(ids(&store, &filter).await, [of_bob]);
    // The first is good before its 60th minute, and not at it.
    let filter = CredentialFilter { now: minutes_later(60), ..active.clone() };
    assert_eq!(ids(&store, &filter).await, [of_bob, login]);
}

#[tokio::test]
async fn what_a_credential_hangs_on_is_counted_in_when_it_is_shown() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let mut root = backend.token(None, 0);
    root.credential.expires_at = Some(minutes_later(5));
    let child = backend.child(&root, 1);
    let grandchild = backend.child(&child, 2);
    for new in [&root, &child, &grandchild] {
        mint(&vault, new).await;
    }
    let shown = store.credential(grandchild.credential.id).await.unwrap().unwrap().credential;
    assert_eq!(shown.expires_at, Some(minutes_later(5)));
    assert_eq!(shown.status(minutes_later(4)), Status::Active);

    revoke(&vault, child.credential.id).await;
    let shown = store.credential(grandchild.credential.id).await.unwrap().unwrap().credential;
    assert_eq!(shown.revoked, Some(revocation()));
    let active = CredentialFilter { with_ended: false, ..everything() };
    assert_eq!(ids(&store, &active).await, [root.credential.id]);
}

#[tokio::test]
async fn nobody_unknown_or_disabled_is_minted_for() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let stranger = backend.user("stranger");
    let mut disabled = backend.user("disabled");
    disabled.disabled_at = Some(NOW);
    create(&vault, &disabled).await;

    let unknown = try_mint(&vault, &backend.token(Some(stranger.id), 0)).await.unwrap();
    assert_eq!(unknown, Minted::OwnerUnknown);
    let refused = try_mint(&vault, &backend.token(Some(disabled.id), 0)).await.unwrap();
    assert_eq!(refused, Minted::OwnerDisabled);
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
    assert!(ids(&store, &everything()).await.is_empty());
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_minted_from_what_has_ended_itself_or_above_it() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let root = backend.token(None, 0);
    let child = backend.child(&root, 1);
    let grandchild = backend.child(&child, 2);
    for new in [&root, &child, &grandchild] {
        mint(&vault, new).await;
    }
    let unknown = backend.child(&backend.token(None, 0), 3);
    assert_eq!(try_mint(&vault, &unknown).await.unwrap(), Minted::ParentEnded);
    // The root is good before its 60th minute, and not at it, though the grandchild is.
    let mut early = backend.child(&grandchild, 59);
    early.credential.created_at = minutes_later(60).min(early.credential.created_at);
    mint(&vault, &early).await;
    let late = backend.child(&grandchild, 60);
    assert_eq!(try_mint(&vault, &late).await.unwrap(), Minted::ParentEnded);

    revoke(&vault, root.credential.id).await;
    let orphan = backend.child(&grandchild, 4);
    assert_eq!(try_mint(&vault, &orphan).await.unwrap(), Minted::ParentEnded);
}

#[tokio::test]
async fn a_taken_hash_or_id_is_a_conflict_and_changes_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let token = backend.token(None, 0);
    mint(&vault, &token).await;
    let mut same_hash = backend.token(None, 1);
    same_hash.hash = token.hash;
    let mut same_id = backend.token(None, 1);
    same_id.credential.id = token.credential.id;
    for twin in [same_hash, same_id] {
        let refused = try_mint(&vault, &twin).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
    assert_eq!(ids(&store, &everything()).await, [token.credential.id]);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn r31_revoking_marks_one_row_and_is_recorded_once() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let root = backend.token(None, 0);
    let child = backend.child(&root, 1);
    mint(&vault, &root).await;
    mint(&vault, &child).await;

    assert_eq!(revoke(&vault, root.credential.id).await, Revision(3));
    assert_eq!(try_revoke(&vault, root.credential.id).await, Revoked::AlreadyRevoked);
    assert_eq!(try_revoke(&vault, backend.token(None, 0).credential.id).await, Revoked::Unknown);
    assert_eq!(vault.revision().await.unwrap(), Revision(3));
    assert_eq!(store.events(None, 10).await.unwrap().len(), 3);
    let shown = store.credential(root.credential.id).await.unwrap().unwrap().credential;
    assert_eq!(shown.revoked, Some(revocation()));
    let changes = vault.changes_since(Revision(2)).await.unwrap();
    assert_eq!((changes.rows.len(), changes.gone.len()), (1, 0), "the child has no row of its own to change");
}

#[tokio::test]
async fn r32_last_uses_are_noted_without_raising_the_revision_and_never_go_back() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let token = backend.token(None, 0);
    let id = token.credential.id;
    mint(&vault, &token).await;
    let later = LastUse {
        at: NOW.plus(Duration::from_mins(2)),
        ip: Some("2001:db8::1".to_owned()),
        user_agent: Some("curl/8".to_owned()),
    };
    let earlier = LastUse { at: NOW, ip: None, user_agent: None };
    let nobody = backend.token(None, 0).credential.id;
    let note = |credential, last, times| NotedUse { credential, last, times, agent: None };
    vault.note_uses(&[note(nobody, Some(later.clone()), 1), note(id, Some(later.clone()), 3)]).await.unwrap();
    vault.note_uses(&[note(id, Some(earlier), 4), note(id, None, 5)]).await.unwrap();
    vault.note_uses(&[]).await.unwrap();

    let shown = store.credential(id).await.unwrap().unwrap();
    assert_eq!((shown.credential.last_use, shown.uses), (Some(later), 12));
    assert_eq!(vault.revision().await.unwrap(), Revision(1));
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_youngest_come_first_and_a_page_begins_after_the_last() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let mut minted = Vec::new();
    for minutes in 0..6 {
        let owner = if minutes == 3 { bob.id } else { alice.id };
        let new = backend.token(Some(owner), minutes);
        mint(&vault, &new).await;
        minted.push(new.credential.id);
    }
    revoke(&vault, minted[4]).await;
    let page = async |filter: &CredentialFilter, before, limit| -> Vec<CredentialId> {
        let listed = store.youngest_credentials(filter, before, limit).await.unwrap();
        listed.iter().map(|listed| listed.credential.id).collect()
    };
    let all = everything();
    assert_eq!(page(&all, None, 2).await, [minted[5], minted[4]]);
    assert_eq!(page(&all, Some(minted[4]), 3).await, [minted[3], minted[2], minted[1]]);
    assert_eq!(page(&all, Some(minted[1]), 3).await, [minted[0]]);
    assert_eq!(page(&all, Some(minted[0]), 3).await, []);
    // What the filter leaves out takes no room on the page.
    let standing = CredentialFilter { owner: Some(alice.id), with_ended: false, ..all };
    assert_eq!(page(&standing, None, 3).await, [minted[5], minted[2], minted[1]]);
}
