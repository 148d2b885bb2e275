//! Acts on accounts that are there already.

use fallgate_domain::audit::Action;
use fallgate_domain::credential::{CredentialKind, NewCredential, Revocation};
use fallgate_domain::user::{Role, User};
use fallgate_store::{
    ChangedUser, DeletedUser, EndedCredentials, Gone, PassphraseHash, Revision, Row, SetPassphrase, Store,
    UserChange, Vault,
};

use crate::support::{
    Backend, NOW, backend, create, event, load, mint, minutes_later, now, revocation, revoke,
};

async fn change(vault: &Vault, user: &User, changes: &[UserChange]) -> ChangedUser {
    let named = |change: &UserChange| match change {
        UserChange::DisplayName(_) => Action::UserRename,
        UserChange::Role(_) => Action::UserRole,
        UserChange::Disable(_) => Action::UserDisable,
        UserChange::Enable => Action::UserEnable,
    };
    let changes = changes.iter().map(|change| (change.clone(), event(named(change), user.username.as_str())));
    vault.change_user(user.id, changes.collect()).await.unwrap()
}

async fn delete(vault: &Vault, user: &User) -> DeletedUser {
    vault.delete_user(user.id, ended(), event(Action::UserDelete, user.username.as_str())).await.unwrap()
}

async fn set_passphrase(vault: &Vault, user: &User, revoke_tokens: bool) -> SetPassphrase {
    let hash = PassphraseHash::new("$argon2id$new".to_owned());
    let event = event(Action::UserPassphrase, user.username.as_str());
    vault.set_passphrase(user.id, hash, revoke_tokens.then(now), ended(), event).await.unwrap()
}

/// Not the one by which single credentials are revoked in these tests.
fn ended() -> Revocation {
    Revocation { reason: Some("all of them".to_owned()), ..revocation() }
}

async fn actions(store: &Store) -> Vec<String> {
    store.events(None, 100).await.unwrap().into_iter().map(|event| event.action).collect()
}

fn admin(backend: &Backend, name: &str) -> User {
    User { role: Role::Admin, ..backend.user(name) }
}

/// A good token, a sign-in, a token that is over at [`NOW`], and one that was revoked.
async fn belongings(backend: &Backend, vault: &Vault, owner: &User) -> [NewCredential; 4] {
    let mut all = [0, 1, 2, 3].map(|minutes| backend.token(Some(owner.id), minutes));
    all[1].credential.kind = CredentialKind::Login;
    all[2].credential.expires_at = Some(NOW);
    for new in &all {
        mint(vault, new).await;
    }
    revoke(vault, all[3].credential.id).await;
    all
}

async fn revocations(store: &Store, of: &[NewCredential]) -> Vec<Option<Revocation>> {
    let mut found = Vec::new();
    for new in of {
        found.push(store.credential(new.credential.id).await.unwrap().unwrap().credential.revoked);
    }
    found
}

#[tokio::test]
async fn an_account_is_changed_as_one_act_and_each_change_is_recorded() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let name = "Alice B.".parse().unwrap();
    let all =
        [UserChange::DisplayName(name), UserChange::Role(Role::Admin), UserChange::Disable(minutes_later(1))];
    let wanted = User {
        display_name: "Alice B.".parse().unwrap(),
        role: Role::Admin,
        disabled_at: Some(minutes_later(1)),
        ..alice.clone()
    };
    // The only admin, but never an enabled one.
    assert_eq!(change(&vault, &alice, &all).await, ChangedUser::Changed(Revision(2), wanted.clone()));
    assert_eq!(store.user(alice.id).await.unwrap(), Some(wanted.clone()));
    assert_eq!(actions(&store).await, ["user.disable", "user.role", "user.rename", "user.create"]);
    let changes = vault.changes_since(Revision(1)).await.unwrap();
    let [Row::User(row)] = &changes.rows[..] else { panic!("{changes:?}") };
    assert_eq!((row.id, row.role, row.disabled), (alice.id, Role::Admin, true));

    let again = [UserChange::Role(Role::Admin), UserChange::Disable(minutes_later(9))];
    assert_eq!(change(&vault, &alice, &again).await, ChangedUser::Unchanged(wanted.clone()));
    assert_eq!(change(&vault, &alice, &[]).await, ChangedUser::Unchanged(wanted.clone()));
    let enabled = User { disabled_at: None, ..wanted };
    assert_eq!(
        change(&vault, &alice, &[UserChange::Enable]).await,
        ChangedUser::Changed(Revision(3), enabled)
    );
    assert_eq!(actions(&store).await.len(), 5);
    let stranger = backend.user("stranger");
    assert_eq!(change(&vault, &stranger, &all).await, ChangedUser::Unknown);
}

#[tokio::test]
async fn the_last_enabled_admin_is_neither_demoted_nor_disabled_nor_deleted() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (root, other, plain) = (admin(&backend, "root"), admin(&backend, "other"), backend.user("plain"));
    for user in [&root, &other, &plain] {
        create(&vault, user).await;
    }
    let demote = [UserChange::Role(Role::User)];
    let disable = [UserChange::Disable(NOW)];
    // A disabled admin does not count as one.
    assert!(matches!(change(&vault, &other, &disable).await, ChangedUser::Changed(..)));
    for refused in
        [&demote[..], &disable[..], &[UserChange::DisplayName("R".parse().unwrap()), demote[0].clone()]]
    {
        assert_eq!(change(&vault, &root, refused).await, ChangedUser::LastAdmin);
    }
    assert_eq!(delete(&vault, &root).await, DeletedUser::LastAdmin);
    assert_eq!(store.user(root.id).await.unwrap(), Some(root.clone()), "nothing of it was done");
    assert_eq!((vault.revision().await.unwrap(), actions(&store).await.len()), (Revision(4), 4));
    // The disabled one may go, and anybody who is no admin.
    assert!(matches!(delete(&vault, &other).await, DeletedUser::Deleted(..)));
    assert!(matches!(
        change(&vault, &plain, &[UserChange::Role(Role::Admin)]).await,
        ChangedUser::Changed(..)
    ));
    assert!(matches!(change(&vault, &root, &demote).await, ChangedUser::Changed(..)));
    assert_eq!(delete(&vault, &plain).await, DeletedUser::LastAdmin);
}

#[tokio::test]
async fn two_processes_that_demote_each_others_admin_leave_one() {
    for round in 0..20 {
        let backend = backend();
        let (store, here) = backend.open().await;
        let (_store, there) = backend.open().await;
        let (one, two) = (admin(&backend, "one"), admin(&backend, "two"));
        create(&here, &one).await;
        create(&here, &two).await;
        let demote = [UserChange::Role(Role::User)];
        let both = tokio::join!(change(&here, &one, &demote), change(&there, &two, &demote));
        let refused =
            [&both.0, &both.1].into_iter().filter(|outcome| **outcome == ChangedUser::LastAdmin).count();
        let left = store.users().await.unwrap().into_iter().filter(|user| user.role == Role::Admin).count();
        assert_eq!((refused, left), (1, 1), "round {round}: {both:?}");
    }
}

#[tokio::test]
async fn r31_deleting_an_account_ends_all_it_owns_and_a_new_one_of_that_name_inherits_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (root, alice) = (admin(&backend, "root"), backend.user("alice"));
    create(&vault, &root).await;
    create(&vault, &alice).await;
    let of_root = belongings(&backend, &vault, &root).await;
    let of_alice = belongings(&backend, &vault, &alice).await;
    let before = vault.revision().await.unwrap();
    let roots_before = revocations(&store, &of_root).await;

    let counts = EndedCredentials { logins: 1, tokens: 1 };
    assert_eq!(delete(&vault, &alice).await, DeletedUser::Deleted(Revision(before.0 + 1), counts));
    assert_eq!(store.user(alice.id).await.unwrap(), None);
    let all_ended = [ended(), ended(), ended(), revocation()].map(Some);
    assert_eq!(revocations(&store, &of_alice).await, all_ended);
    assert_eq!(revocations(&store, &of_root).await, roots_before);
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((told.action.as_str(), &told.detail["revoked_tokens"]), ("user.delete", &1.into()));
    assert_eq!(told.computed_hash(), told.hash);

    let changes = vault.changes_since(before).await.unwrap();
    assert_eq!((changes.gone, changes.rows.len()), (vec![Gone::User(alice.id)], 0), "however many they were");
    assert_eq!(delete(&vault, &alice).await, DeletedUser::Unknown);

    let again = backend.user("alice");
    create(&vault, &again).await;
    for listed in of_alice {
        let listed = store.credential(listed.credential.id).await.unwrap().unwrap();
        assert_eq!((listed.credential.owner, listed.owner_name), (Some(alice.id), None));
    }
    let (_, rows) = load(&vault).await;
    let owned = rows.iter().filter(|row| matches!(row, Row::Credential(row) if row.owner == Some(again.id)));
    assert_eq!(owned.count(), 0);
}

#[tokio::test]
async fn another_passphrase_ends_sign_ins_and_tokens_only_when_asked() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    for (user, revoke_tokens) in [(&alice, false), (&bob, true)] {
        create(&vault, user).await;
        let all = belongings(&backend, &vault, user).await;
        let before = vault.revision().await.unwrap();
        let counts = EndedCredentials { logins: 1, tokens: u64::from(revoke_tokens) };
        let set = set_passphrase(&vault, user, revoke_tokens).await;
        assert_eq!(set, SetPassphrase::Set(Revision(before.0 + 1), counts));
        let changes = vault.changes_since(before).await.unwrap();
        let told_of_all = revoke_tokens.then_some(Some(user.id));
        assert_eq!(changes.revoked_all, Vec::from_iter(told_of_all), "one row, however many they were");
        assert!(
            !changes
                .rows
                .iter()
                .any(|row| matches!(row, Row::Credential(row) if row.kind == CredentialKind::Token))
        );
        let logins = |row: &&Row| matches!(row, Row::Credential(row) if row.kind == CredentialKind::Login);
        assert_eq!(changes.rows.iter().filter(logins).count(), 1);
        let token = revoke_tokens.then(ended);
        assert_eq!(
            revocations(&store, &all).await,
            [token.clone(), Some(ended()), token, Some(revocation())]
        );
        let told = &store.events(None, 1).await.unwrap()[0];
        assert_eq!((told.action.as_str(), &told.detail["revoked_logins"]), ("user.passphrase", &1.into()));
        assert!(!told.detail.values().any(|value| value.to_string().contains("argon2")));
    }
    assert_eq!(set_passphrase(&vault, &backend.user("stranger"), true).await, SetPassphrase::Unknown);
    drop((vault, store));
    let kept: i64 = rusqlite::Connection::open(backend.path())
        .unwrap()
        .query_row(r#"SELECT count(*) FROM "user" WHERE passphrase = '$argon2id$new'"#, [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 2);
}
