//! The revision, and what moved.

use fallgate_domain::id::{CredentialId, UserId};
use fallgate_store::{Gone, Revision, Row};

use crate::support::{backend, create, load, mint, revoke};

#[tokio::test]
async fn a_new_store_is_empty_at_revision_zero() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    assert_eq!(vault.revision().await.unwrap(), Revision(0));
    assert_eq!(load(&vault).await, (Revision(0), Vec::new()));
    assert_eq!(vault.count().await.unwrap(), 0);
    assert!(store.users().await.unwrap().is_empty());
    assert!(store.events(None, 10).await.unwrap().is_empty());
    store.ping().await.unwrap();
}

#[tokio::test]
async fn every_act_raises_the_revision_by_one_and_the_other_handle_sees_it_at_once() {
    let backend = backend();
    let (_here, vault) = backend.open().await;
    let (_there, other) = backend.open().await;
    let alice = backend.user("alice");
    assert_eq!(other.revision().await.unwrap(), Revision(0));
    assert_eq!(create(&vault, &alice).await, Revision(1));
    assert_eq!(other.revision().await.unwrap(), Revision(1));
    for round in 0..50 {
        let token = backend.token(Some(alice.id), round);
        let (one, another) = if round % 2 == 0 { (&vault, &other) } else { (&other, &vault) };
        let minted = mint(one, &token).await;
        assert_eq!(minted, Revision(2 * round + 2));
        assert_eq!(another.revision().await.unwrap(), minted);
        let revoked = revoke(another, token.credential.id).await;
        assert_eq!(revoked, Revision(2 * round + 3));
        assert_eq!(one.revision().await.unwrap(), revoked);
        assert_eq!(another.revision().await.unwrap(), revoked);
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_the_store_is_opened_again() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let token = backend.token(Some(alice.id), 0);
    mint(&vault, &token).await;
    revoke(&vault, token.credential.id).await;
    let before = load(&vault).await;
    drop((store, vault));

    let (_store, vault) = backend.open().await;
    assert_eq!(vault.revision().await.unwrap(), Revision(3));
    assert_eq!(load(&vault).await, before);
}

#[tokio::test]
async fn changes_since_the_beginning_are_what_a_load_shows() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let root = backend.token(Some(alice.id), 0);
    mint(&vault, &root).await;
    mint(&vault, &backend.token(Some(bob.id), 1)).await;
    mint(&vault, &backend.child(&root, 2)).await;
    revoke(&vault, root.credential.id).await;
    assert_eq!(vault.count().await.unwrap(), 3, "ended ones too");

    let (revision, rows) = load(&vault).await;
    assert_eq!((revision, rows.len()), (Revision(6), 5));
    let changes = vault.changes_since(Revision(0)).await.unwrap();
    assert_eq!((changes.revision, changes.rows), (revision, rows.clone()));
    assert_eq!(changes.gone, []);
    let order: Vec<_> = rows
        .iter()
        .map(|row| match row {
            Row::User(user) => (0, user.id.bytes()),
            Row::Cut(cut) => (1, cut.id.bytes()),
            Row::Credential(credential) => (2, credential.id.bytes()),
            Row::Agent(agent) => (3, agent.id.bytes()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(order.is_sorted(), "users first, then credentials by id");
}

#[tokio::test]
async fn only_what_moved_is_told_and_each_thing_once() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    mint(&vault, &backend.token(None, 0)).await;
    let token = backend.token(None, 1);
    let minted = mint(&vault, &token).await;
    let before = Revision(minted.0 - 1);
    let revoked = revoke(&vault, token.credential.id).await;

    let changes = vault.changes_since(before).await.unwrap();
    assert_eq!(changes.revision, revoked);
    let [Row::Credential(row)] = &changes.rows[..] else { panic!("{changes:?}") };
    assert_eq!((row.id, row.hash, row.revoked), (token.credential.id, Some(token.hash), true));
    let nothing = vault.changes_since(revoked).await.unwrap();
    assert_eq!((nothing.rows.len(), nothing.gone.len()), (0, 0));
}

#[tokio::test]
async fn what_has_no_row_any_more_is_gone() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let alice = backend.user("alice");
    let user_id: UserId = alice.id;
    create(&vault, &alice).await;
    let token = backend.token(Some(alice.id), 0);
    let credential_id: CredentialId = token.credential.id;
    mint(&vault, &token).await;
    // As a purge by another process will do it: rows go, the revision rises, `change` says so.
    rusqlite::Connection::open(backend.path())
        .unwrap()
        .execute_batch(
            r#"BEGIN IMMEDIATE;
               UPDATE state SET revision = revision + 1;
               INSERT INTO change SELECT state.revision, 'user', id FROM "user", state;
               INSERT INTO change SELECT state.revision, 'credential', id FROM credential, state;
               DELETE FROM "user";
               DELETE FROM credential;
               COMMIT;"#,
        )
        .unwrap();

    assert_eq!(vault.revision().await.unwrap(), Revision(3));
    let changes = vault.changes_since(Revision(2)).await.unwrap();
    assert_eq!(changes.rows, []);
    assert_eq!(changes.gone, [Gone::User(user_id), Gone::Credential(credential_id)]);
    assert_eq!(changes.revision, Revision(3));
}

#[tokio::test]
async fn a_load_may_ask_the_store_other_things_meanwhile() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let (_other_store, other) = backend.open().await;
    for minute in 0..3 {
        mint(&vault, &backend.token(None, minute)).await;
    }
    let mut seen = Vec::new();
    let late = backend.token(None, 9);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (revision, seen) = tokio::task::spawn_blocking(move || {
        let revision = runtime
            .block_on(vault.load(&mut |row| {
                if seen.is_empty() {
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                            runtime.block_on(mint(&other, &late));
                        });
                    });
                }
                seen.push(row);
            }))
            .unwrap();
        (revision, seen)
    })
    .await
    .unwrap();
    assert_eq!((revision, seen.len()), (Revision(3), 3), "one snapshot: what came meanwhile is not in it");
}

#[tokio::test]
async fn what_moved_long_ago_is_forgotten_and_whoever_needs_it_is_told_everything() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    for number in 0..9 {
        mint(&vault, &backend.token(Some(alice.id), number)).await;
    }
    // Ten revisions; the last four stay.
    let (mut pruned, mut rounds) = (0, 0);
    loop {
        match vault.prune_changes(4, 2).await.unwrap() {
            0 => break,
            rows => pruned += rows,
        }
        rounds += 1;
    }
    assert_eq!((pruned, rounds), (6, 3));
    let (now, all) = load(&vault).await;
    assert_eq!(now, Revision(10));
    for since in 0..=10 {
        let changes = vault.changes_since(Revision(since)).await.unwrap();
        assert_eq!((changes.revision, changes.whole), (now, since < 6), "{since}");
        if changes.whole {
            assert_eq!(changes.rows, all);
        } else {
            assert_eq!(changes.rows.len() as u64, 10 - since);
        }
    }
    // Nothing is known of what moved, and something has.
    let _ = vault.prune_changes(0, 100).await.unwrap();
    assert!(vault.changes_since(Revision(9)).await.unwrap().whole);
    assert!(!vault.changes_since(now).await.unwrap().whole);
}
