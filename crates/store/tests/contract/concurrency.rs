//! Several writers at once, through handles of their own as other processes have them.

use std::sync::Arc;

use fallgate_domain::id::CredentialId;
use fallgate_store::{Revision, Revoked, Row};

use crate::audit::assert_chained;
use crate::support::{backend, create, everything, load, mint, revoke, try_revoke};

const WRITERS: u64 = 4;
const ROUNDS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_through_two_handles_lose_nothing_and_keep_one_chain() {
    let backend = Arc::new(backend());
    let (store, here) = backend.open().await;
    let (_, there) = backend.open().await;
    let handles = [Arc::new(here), Arc::new(there)];
    let alice = backend.user("alice");
    create(&handles[0], &alice).await;

    let writers = (0..WRITERS).map(|writer| {
        let backend = Arc::clone(&backend);
        let [one, another] = if writer % 2 == 0 {
            handles.clone()
        } else {
            [Arc::clone(&handles[1]), Arc::clone(&handles[0])]
        };
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0..ROUNDS {
                let token = backend.token(Some(alice.id), round);
                let id = token.credential.id;
                let minted = mint(&one, &token).await;
                assert!(another.revision().await.unwrap() >= minted);
                let revoked = if round % 2 == 0 { Some(revoke(&another, id).await) } else { None };
                acknowledged.push((id, minted, revoked));
            }
            acknowledged
        })
    });
    let mut acknowledged: Vec<(CredentialId, Revision, Option<Revision>)> = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.unwrap());
    }

    let mut revisions: Vec<u64> = acknowledged
        .iter()
        .flat_map(|(_, minted, revoked)| [Some(minted.0), revoked.map(|r| r.0)])
        .flatten()
        .collect();
    revisions.sort_unstable();
    let acts = revisions.len() as u64;
    assert_eq!(
        revisions,
        (2..=acts + 1).collect::<Vec<_>>(),
        "each act has a revision of its own, without gaps"
    );

    let (revision, rows) = load(&handles[1]).await;
    assert_eq!(revision, Revision(acts + 1));
    assert_eq!(handles[0].revision().await.unwrap(), revision);
    assert_eq!(rows.len(), acknowledged.len() + 1);
    for (id, _, revoked) in &acknowledged {
        let row = rows.iter().find_map(|row| match row {
            Row::Credential(credential) if credential.id == *id => Some(credential),
            _ => None,
        });
        assert_eq!(row.map(|row| row.revoked), Some(revoked.is_some()), "{id}");
    }
    let events = store.events(None, u32::MAX).await.unwrap();
    assert_eq!(events.len() as u64, acts + 1);
    assert_chained(&events);
    assert_eq!(store.credentials(&everything()).await.unwrap().len(), acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_revoke_one_credential_exactly_one_did_it() {
    let backend = backend();
    let (store, here) = backend.open().await;
    let (_, there) = backend.open().await;
    let handles = [Arc::new(here), Arc::new(there)];
    let token = backend.token(None, 0);
    let id = token.credential.id;
    mint(&handles[0], &token).await;

    let revokers: Vec<_> = (0..8)
        .map(|revoker| {
            let vault = Arc::clone(&handles[revoker % 2]);
            tokio::spawn(async move { try_revoke(&vault, id).await })
        })
        .collect();
    let mut answers = Vec::new();
    for revoker in revokers {
        answers.push(revoker.await.unwrap());
    }
    answers.sort_by_key(|answer| matches!(answer, Revoked::AlreadyRevoked));
    assert_eq!(answers[0], Revoked::Revoked(Revision(2)));
    assert_eq!(answers[1..], [Revoked::AlreadyRevoked; 7]);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_database_can_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let backend = Arc::new(backend());
        let openers: Vec<_> = (0..4)
            .map(|_| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move { backend.open().await })
            })
            .collect();
        let mut handles = Vec::new();
        for opener in openers {
            handles.push(opener.await.unwrap());
        }
        for (index, (_, vault)) in handles.iter().enumerate() {
            create(vault, &backend.user(&format!("user{index}"))).await;
        }
        for (store, vault) in &handles {
            assert_eq!(vault.revision().await.unwrap(), Revision(4));
            assert_eq!(store.users().await.unwrap().len(), 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r42_no_reader_misses_an_acknowledged_revocation() {
    let backend = Arc::new(backend());
    let (_, writer) = backend.open().await;
    let (_, reader) = backend.open().await;
    let reader = Arc::new(reader);
    let acknowledged = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, acknowledged, done) =
                (Arc::clone(&reader), Arc::clone(&acknowledged), Arc::clone(&done));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut asked = 0_u64;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let at_least = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
                    let seen = runtime.block_on(reader.revision()).unwrap();
                    assert!(seen.0 >= at_least, "saw {seen:?} after {at_least} was acknowledged");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for minute in 0..100 {
        let token = backend.token(None, minute);
        mint(&writer, &token).await;
        let revision = revoke(&writer, token.credential.id).await;
        acknowledged.store(revision.0, std::sync::atomic::Ordering::SeqCst);
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}
