//! Purges, tokens that nobody uses, the end of all tokens, backups, and older copies in place of newer ones.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fallgate_domain::audit::{Action, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{LastUse, NewCredential, Revocation};
use fallgate_domain::id::CredentialId;
use fallgate_store::{Gone, NotedUse, Revision, Row, Store, StoreError, Vault};

use crate::support::{
    Backend, NOW, backend, create, event, everything, load, mint, minutes_later, now, revocation, revoke,
    username,
};

/// The ids of all credentials there are.
async fn ids(store: &Store) -> Vec<CredentialId> {
    let listed = store.credentials(&everything()).await.unwrap();
    listed.into_iter().map(|listed| listed.credential.id).collect()
}

async fn purge(vault: &Vault, before: Timestamp, most: u32) -> u64 {
    vault.purge(before, most, event(Action::StoreSweep, "*")).await.unwrap()
}

#[tokio::test]
async fn r35_a_purge_takes_what_ended_before_and_all_below_it_and_nothing_else() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    // Good for an hour each, from the minute on.
    let (old, young, other) = (backend.token(None, 0), backend.token(None, 30), backend.token(None, 1));
    let mut never = backend.token(None, 2);
    never.credential.expires_at = None;
    let mut child = backend.child(&never, 3);
    child.credential.expires_at = None;
    let grandchild = backend.child(&child, 4);
    for token in [&old, &young, &other, &never, &child, &grandchild] {
        mint(&vault, token).await;
    }
    vault.note_uses(&[noted(&never, NOW)]).await.unwrap();
    revoke(&vault, never.credential.id).await;
    let before = vault.revision().await.unwrap();

    // `revoke` dates at `NOW`: at that time it has not ended before it.
    assert_eq!(purge(&vault, NOW, 100).await, 0);
    assert_eq!(vault.revision().await.unwrap(), before, "nothing was done");
    let mut gone = BTreeSet::new();
    loop {
        let since = vault.revision().await.unwrap();
        let count = purge(&vault, minutes_later(61), 1).await;
        if count == 0 {
            break;
        }
        assert_eq!(count, 1, "no more than was asked for");
        let changes = vault.changes_since(since).await.unwrap();
        let [Gone::Credential(id)] = changes.gone[..] else { panic!("{changes:?}") };
        gone.insert(id);
        let newest = &store.events(None, 1).await.unwrap()[0];
        assert_eq!((newest.action.as_str(), &newest.detail["purged"]), ("store.sweep", &1.into()));
        // Whoever lost what it hung on would look as if it stood by itself.
        for id in ids(&store).await {
            let parent = store.credential(id).await.unwrap().unwrap().credential.parent;
            assert!(parent.is_none_or(|parent| !gone.contains(&parent)), "{id} lost its parent");
        }
    }
    let expected = [&old, &never, &child, &grandchild].map(|token| token.credential.id);
    assert_eq!(gone, expected.into_iter().collect());
    assert_eq!(ids(&store).await, [other.credential.id, young.credential.id]);
}

fn noted(token: &NewCredential, at: Timestamp) -> NotedUse {
    let last = LastUse { at, ip: None, user_agent: None };
    NotedUse { credential: token.credential.id, last: Some(last), times: 1, agent: None }
}

#[tokio::test]
async fn r34_only_tokens_that_were_neither_made_nor_used_lately_are_ended_and_no_parent_of_one_in_use() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let forever = |minute| {
        let mut token = backend.token(None, minute);
        token.credential.expires_at = None;
        token
    };
    let (unused, used, young, parent) = (forever(0), forever(1), forever(90), forever(2));
    // Moved in lately, though it says that it was made long ago.
    let mut moved_in = forever(95);
    moved_in.credential.created_at = NOW;
    let expired = backend.token(None, 3);
    let mut child = backend.child(&parent, 4);
    child.credential.expires_at = None;
    for token in [&unused, &used, &young, &parent, &moved_in, &expired, &child] {
        mint(&vault, token).await;
    }
    let (since, now) = (minutes_later(60), minutes_later(100));
    vault
        .note_uses(&[noted(&unused, minutes_later(59)), noted(&used, since), noted(&child, since)])
        .await
        .unwrap();

    let mut found = Vec::new();
    let (mut after, mut pages) = (None, 0);
    loop {
        let page = store.unused_tokens(since, now, after, 2).await.unwrap();
        found.extend(page.tokens);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [unused.credential.id, parent.credential.id]);
    assert_eq!(pages, 3, "two at a time");

    // Used in between.
    let wanted = [&unused, &used, &parent].map(|token| {
        let id = token.credential.id;
        (id, event(Action::TokenRevoke, &id.to_string()))
    });
    let reason = Some("unused for 365 days".to_owned());
    let revocation = Revocation { at: now, by: "internal".to_owned(), reason };
    let before = vault.revision().await.unwrap();
    let ended = vault.revoke_unused(wanted.to_vec(), since, revocation.clone()).await.unwrap();
    assert_eq!(ended, [unused.credential.id]);
    let changes = vault.changes_since(before).await.unwrap();
    assert_eq!((changes.rows.len(), changes.revision), (1, Revision(before.0 + 1)));
    let shown = store.credential(unused.credential.id).await.unwrap().unwrap().credential;
    assert_eq!(shown.revoked, Some(revocation.clone()));
    assert_eq!(store.events(None, 1).await.unwrap()[0].target, unused.credential.id.to_string());
    // Without its child it is one that nobody uses.
    revoke(&vault, child.credential.id).await;
    let wanted = vec![(parent.credential.id, event(Action::TokenRevoke, "parent"))];
    assert_eq!(vault.revoke_unused(wanted, since, revocation).await.unwrap(), [parent.credential.id]);
}

#[tokio::test]
async fn r35_the_end_of_all_tokens_is_one_change_however_many_they_are() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let (alice, bob) = (backend.user("alice"), backend.user("bob"));
    create(&vault, &alice).await;
    create(&vault, &bob).await;
    let tokens: Vec<_> = (0..100).map(|minute| backend.token(Some(alice.id), minute)).collect();
    for token in &tokens {
        mint(&vault, token).await;
    }
    mint(&vault, &backend.token(Some(bob.id), 0)).await;
    let before = vault.revision().await.unwrap();
    let kept = tokens[7].credential.id;
    let all = |owner, except| {
        vault.revoke_all(owner, except, revocation(), now(), event(Action::TokenRevokeAll, "alice"))
    };
    assert_eq!(all(Some(alice.id), Some(kept)).await.unwrap(), 99);
    let changes = vault.changes_since(before).await.unwrap();
    assert_eq!(changes.revision, Revision(before.0 + 1));
    assert_eq!((changes.revoked_all, changes.gone.len()), (vec![Some(alice.id)], 0));
    // The account, until when its worker tokens have ended.
    let [Row::User(_), Row::Credential(row)] = &changes.rows[..] else { panic!("{:?}", changes.rows) };
    assert_eq!((row.id, row.revoked), (kept, false));

    // Everybody's, and one that was made after it.
    assert_eq!(all(None, None).await.unwrap(), 2);
    let late = backend.token(Some(alice.id), 200);
    mint(&vault, &late).await;
    let changes = vault.changes_since(before).await.unwrap();
    assert_eq!(changes.revoked_all, [None, Some(alice.id)]);
    let good = changes.rows.iter().filter(|row| matches!(row, Row::Credential(row) if !row.revoked)).count();
    assert_eq!(good, 1, "the late one");
}

#[tokio::test]
async fn events_of_no_act_are_chained_like_the_others() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    vault.record(vec![event(Action::AccessRefused, "a"), event(Action::AccessRefused, "b")]).await.unwrap();
    vault.record(Vec::<NewEvent>::new()).await.unwrap();
    let events = store.events_after(0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.target.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(events[1].prev, events[0].hash);
    assert_eq!(vault.revision().await.unwrap(), Revision(0));
}

/// A database with alice and a token of hers, and a backup of it made then.
async fn backed_up() -> (Backend, NewCredential) {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    let token = backend.token(Some(alice.id), 0);
    mint(&vault, &token).await;
    store.backup(backend.folder().join("copy"), |_| ()).await.unwrap();
    (backend, token)
}

/// Puts the backup in the database's place.
fn restore(backend: &Backend) {
    for log in ["fallgate.db-wal", "fallgate.db-shm"] {
        assert!(!backend.folder().join(log).exists(), "closed in good order");
    }
    fs::copy(backend.folder().join("copy"), backend.path()).unwrap();
}

#[tokio::test]
async fn a_backup_is_whole_private_and_overwrites_nothing() {
    let (backend, token) = backed_up().await;
    let (store, vault) = backend.open().await;
    let copy = backend.folder().join("copy");
    let before = fs::read(&copy).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let error = store.backup(copy.clone(), |_| ()).await.unwrap_err();
    assert!(matches!(error, StoreError::BackupExists { .. }), "{error:?}");
    let nowhere = backend.folder().join("nowhere/copy");
    let error = store.backup(nowhere, |_| ()).await.unwrap_err();
    assert!(matches!(error, StoreError::BackupFailed { .. }), "{error:?}");
    assert_eq!(fs::read(&copy).unwrap(), before);
    let names: Vec<_> =
        fs::read_dir(backend.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("unfinished")), "{names:?}");

    // A copy is a database like any other, once its folder says nothing else.
    let elsewhere = crate::support::backend();
    fs::copy(&copy, elsewhere.path()).unwrap();
    let (there, _vault) = elsewhere.open_restored().await;
    assert_eq!(ids(&there).await, [token.credential.id]);
    assert!(there.user_named(&username("alice")).await.unwrap().is_some());
    drop(vault);
}

#[tokio::test]
async fn a_backup_is_of_one_moment_though_others_write_meanwhile() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    for minute in 0..200 {
        mint(&vault, &backend.token(None, minute)).await;
    }
    let copied = std::cell::Cell::new(false);
    let copying = async {
        for number in 0..20 {
            let to = backend.folder().join(format!("copy{number}"));
            let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
            store.backup(to, move |progress| told.send((progress.done, progress.of)).unwrap()).await.unwrap();
            let mut last = (0, 0);
            while let Some(progress) = heard.recv().await {
                last = progress;
            }
            assert!(last.0 > 0 && last.0 == last.1, "{last:?}");
        }
        copied.set(true);
    };
    let writing = async {
        for minute in 200.. {
            mint(&vault, &backend.token(None, minute)).await;
            if copied.get() {
                break;
            }
        }
    };
    tokio::join!(copying, writing);
    let mut before = 0;
    for number in 0..20 {
        let elsewhere = crate::support::backend();
        fs::copy(backend.folder().join(format!("copy{number}")), elsewhere.path()).unwrap();
        let (there, vault) = elsewhere.open_restored().await;
        let (revision, rows) = load(&vault).await;
        assert_eq!(revision.0, rows.len() as u64, "an act in part");
        assert_eq!(there.events(None, 10_000).await.unwrap().len(), rows.len());
        assert!(rows.len() >= before);
        before = rows.len();
    }
}

#[tokio::test]
async fn an_older_copy_is_refused_once_something_was_taken_away_and_not_before() {
    let (backend, token) = backed_up().await;
    let (store, vault) = backend.open().await;
    mint(&vault, &backend.token(None, 1)).await;
    drop((store, vault));
    // What was only added is lost with the newer copy, and nobody is let in by that.
    restore(&backend);
    let (store, vault) = backend.open().await;
    revoke(&vault, token.credential.id).await;
    drop((store, vault));
    restore(&backend);
    let before = fs::read(backend.folder().join("revision")).unwrap();
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::OlderCopy { found: 2, reached: 3, .. }), "{error:?}");
    assert_eq!(fs::read(backend.folder().join("revision")).unwrap(), before);
}

#[tokio::test]
async fn what_was_only_added_counts_too_once_the_house_was_kept() {
    let (backend, _token) = backed_up().await;
    let (store, vault) = backend.open().await;
    mint(&vault, &backend.token(None, 1)).await;
    vault.keep_revision().await.unwrap();
    drop((store, vault));
    restore(&backend);
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::OlderCopy { found: 2, reached: 3, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_without_its_revision_or_with_an_unreadable_one_is_refused() {
    let (backend, _token) = backed_up().await;
    let revision = backend.folder().join("revision");
    fs::remove_file(&revision).unwrap();
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(
        matches!(&error, StoreError::Unguarded { reason, .. } if reason.contains("is gone")),
        "{error:?}"
    );
    assert!(!revision.exists(), "none was made");
    fs::write(&revision, "").unwrap();
    assert!(matches!(backend.try_open().await, Err(StoreError::Unguarded { .. })));
    fs::write(&revision, "some text").unwrap();
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(
        matches!(&error, StoreError::Unguarded { reason, .. } if reason.contains("cannot be read")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_database_that_never_had_a_revision_file_gets_one() {
    let (backend, _token) = backed_up().await;
    fs::remove_file(backend.folder().join("revision")).unwrap();
    // As the version before it left it.
    let connection = rusqlite::Connection::open(backend.path()).unwrap();
    connection.execute_batch("UPDATE state SET guarded = 0").unwrap();
    drop(connection);
    drop(backend.open().await);
    restore(&backend);
    fs::remove_file(backend.folder().join("revision")).unwrap();
    let refused = backend.try_open().await;
    assert!(matches!(refused, Err(StoreError::Unguarded { .. })), "from now on it must be there");
}

#[tokio::test]
async fn accepting_an_older_copy_ends_every_credential_and_no_epoch_comes_twice() {
    let (backend, token) = backed_up().await;
    let (store, vault) = backend.open().await;
    revoke(&vault, token.credential.id).await;
    drop((store, vault));
    let mut epochs = BTreeSet::new();
    for round in 0..2_u64 {
        restore(&backend);
        let (store, vault) = backend.open_restored().await;
        let at = NOW.plus(Duration::from_mins(round));
        let accepted = vault
            .accept_restored(Revocation { at, ..revocation() }, event(Action::StoreRestore, "*"))
            .await
            .unwrap();
        assert_eq!((accepted.found, accepted.reached), (Revision(2), Some(Revision(3 + round))));
        assert_eq!(accepted.revision, Revision(4 + round));
        assert_eq!((accepted.ended.tokens, accepted.ended.logins), (1, 0));
        let newest = &store.events(None, 1).await.unwrap()[0];
        assert_eq!(newest.action, "store.restore");
        assert!(epochs.insert(newest.detail["epoch"].as_u64().unwrap()), "an epoch came twice");
        drop((store, vault));

        let (store, vault) = backend.open().await;
        let shown = store.credential(token.credential.id).await.unwrap().unwrap().credential;
        assert_eq!(shown.revoked.map(|revoked| revoked.at), Some(at));
        assert!(store.user_named(&username("alice")).await.unwrap().is_some());
        assert_eq!(vault.revision().await.unwrap(), accepted.revision);
    }
}

#[tokio::test]
async fn accepting_makes_a_lost_or_unreadable_revision_file_anew() {
    let (backend, _token) = backed_up().await;
    for lose in [true, false] {
        let revision = backend.folder().join("revision");
        if lose {
            fs::remove_file(&revision).unwrap();
        } else {
            fs::write(&revision, "?").unwrap();
        }
        let (store, vault) = backend.open_restored().await;
        let accepted = vault.accept_restored(revocation(), event(Action::StoreRestore, "*")).await.unwrap();
        assert_eq!(accepted.reached, None);
        drop((store, vault));
        drop(backend.open().await);
    }
}

#[tokio::test]
async fn many_that_open_and_write_one_database_at_once_are_never_refused() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    let opening = async {
        for _ in 0..40 {
            drop(backend.try_open().await.unwrap());
        }
    };
    let writing = async {
        for minute in 0..60 {
            let token = backend.token(None, minute);
            mint(&vault, &token).await;
            revoke(&vault, token.credential.id).await;
        }
    };
    tokio::join!(opening, writing);
}
