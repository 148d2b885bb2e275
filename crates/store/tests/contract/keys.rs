//! Keys at rest, and the checkpoints that they sign.

use fallgate_domain::audit::{Action, Checkpoint, Event};
use fallgate_domain::entropy::TestEntropy;
use fallgate_domain::id::SigningKeyId;
use fallgate_store::{
    ChangedKeys, Keys, Retired, RootKeyRow, SealedSigningKey, SigningKeyRow, Store, StoreError, Vault,
};

use crate::support::{Backend, NOW, backend, event, mint, minutes_later};

fn root(byte: u8, successor: Option<u8>) -> RootKeyRow {
    RootKeyRow {
        id: [byte; 8],
        check_value: vec![byte; 65],
        successor: successor.map(|byte| vec![byte; 81]),
        created_at: minutes_later(byte.into()),
    }
}

fn signing(entropy: &TestEntropy, byte: u8, retired: Option<Retired>) -> SealedSigningKey {
    let made = minutes_later(byte.into());
    let id = SigningKeyId::new(made, entropy).unwrap();
    let row = SigningKeyRow { id, public_key: [byte; 32], created_at: made, retired };
    SealedSigningKey { row, sealed: vec![byte; 81] }
}

async fn adopted(vault: &Vault, entropy: &TestEntropy) -> Keys {
    let changed = vault.adopt_keys(root(1, None), signing(entropy, 1, None)).await.unwrap();
    assert_eq!(changed, ChangedKeys::Changed);
    vault.keys().await.unwrap()
}

#[tokio::test]
async fn a_store_takes_its_first_keys_once() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let (_, elsewhere) = backend.open().await;
    let none = vault.keys().await.unwrap();
    assert_eq!((none.epoch, none.root_keys.len(), none.signing_keys.len()), (1, 0, 0));
    assert!(store.signing_keys().await.unwrap().signing_keys.is_empty());

    let first = signing(&entropy, 1, None);
    let before = vault.revision().await.unwrap();
    assert_eq!(vault.adopt_keys(root(1, None), first.clone()).await.unwrap(), ChangedKeys::Changed);
    assert!(vault.revision().await.unwrap() > before, "whoever holds keys looks again");
    let second = elsewhere.adopt_keys(root(2, None), signing(&entropy, 2, None)).await.unwrap();
    assert_eq!(second, ChangedKeys::Outdated);
    let keys = elsewhere.keys().await.unwrap();
    assert_eq!(
        keys,
        Keys {
            epoch: 1,
            root_keys: vec![root(1, None)],
            signing_keys: vec![first.clone()],
            checkpoint: None
        }
    );
    let public = store.signing_keys().await.unwrap();
    assert_eq!((public.epoch, public.signing_keys), (1, vec![first.row]));
    assert!(store.events(None, 10).await.unwrap().is_empty(), "it is nobody's act");
}

#[tokio::test]
async fn keys_are_replaced_only_by_whoever_has_read_what_is_there() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let (_, elsewhere) = backend.open().await;
    let read = adopted(&vault, &entropy).await;
    let retired = Retired { at: NOW, verifies_until: minutes_later(5) };
    let mut old = read.signing_keys[0].clone();
    old.row.retired = Some(retired);
    let new = Keys {
        epoch: 1,
        root_keys: vec![root(2, None), root(1, Some(9))],
        signing_keys: vec![signing(&entropy, 2, None), old],
        checkpoint: None,
    };
    let before = vault.revision().await.unwrap();
    let replaced = vault.replace_keys(read.clone(), new.clone(), event(Action::KeyRotate, "x")).await;
    assert_eq!(replaced.unwrap(), ChangedKeys::Changed);
    assert!(elsewhere.revision().await.unwrap() > before);
    assert_eq!(elsewhere.keys().await.unwrap(), new);
    let again = elsewhere.replace_keys(read.clone(), read, event(Action::KeyRotate, "y")).await;
    assert_eq!(again.unwrap(), ChangedKeys::Outdated);
    assert_eq!(vault.keys().await.unwrap(), new);
    let events = store.events(None, 10).await.unwrap();
    assert_eq!(events.len(), 1, "what was not done is not recorded");
    assert_eq!((events[0].action.as_str(), events[0].target.as_str()), ("key.rotate", "x"));
}

#[tokio::test]
async fn there_is_one_root_key_to_seal_under_and_one_key_that_signs() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let read = adopted(&vault, &entropy).await;
    let mut two_roots = read.clone();
    two_roots.root_keys.push(root(2, None));
    let mut two_signers = read.clone();
    two_signers.signing_keys.push(signing(&entropy, 2, None));
    for wrong in [two_roots, two_signers] {
        let refused = vault.replace_keys(read.clone(), wrong, event(Action::KeyRotate, "x")).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        assert_eq!(vault.keys().await.unwrap(), read, "nothing of it was done");
    }
    assert!(store.events(None, 10).await.unwrap().is_empty());
}

/// Seven events, oldest first.
async fn trail(backend: &Backend, store: &Store, vault: &Vault) -> Vec<Event> {
    let mut key = signing(&TestEntropy::default(), 7, None);
    key.row.id = SigningKeyId::from_bytes([7; 16]);
    assert_eq!(vault.adopt_keys(root(7, None), key).await.unwrap(), ChangedKeys::Changed);
    for minute in 0..7 {
        mint(vault, &backend.token(None, minute)).await;
    }
    store.events_after(0, 10).await.unwrap()
}

fn checkpoint(event: &Event, minutes: u64) -> Checkpoint {
    Checkpoint {
        seq: event.seq,
        hash: event.hash.clone(),
        at: minutes_later(minutes),
        signing_key: SigningKeyId::from_bytes([7; 16]),
        signature: [9; 64],
    }
}

#[tokio::test]
async fn events_give_way_to_a_checkpoint_that_the_trail_goes_on_from() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let events = trail(&backend, &store, &vault).await;
    assert_eq!(events.len(), 7);
    assert_eq!(store.audit_checkpoint().await.unwrap(), None);
    let first = checkpoint(&events[1], 10);
    assert_eq!(vault.trim_audit(first.clone()).await.unwrap(), Some(2));
    assert_eq!(store.audit_checkpoint().await.unwrap(), Some(first));
    assert_eq!(store.events_after(0, 10).await.unwrap(), events[2..]);
    let second = checkpoint(&events[4], 20);
    assert_eq!(vault.trim_audit(second.clone()).await.unwrap(), Some(3));
    assert_eq!(store.audit_checkpoint().await.unwrap(), Some(second), "the newest stands for all before");
    mint(&vault, &backend.token(None, 30)).await;
    let left = store.events_after(0, 10).await.unwrap();
    assert_eq!(left.iter().map(|event| event.seq).collect::<Vec<_>>(), [6, 7, 8]);
    assert_eq!(left[2].prev, left[1].hash);
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_the_trail_deletes_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let events = trail(&backend, &store, &vault).await;
    let mut another_hash = checkpoint(&events[3], 10);
    another_hash.hash.clone_from(&events[2].hash);
    let mut far = checkpoint(&events[3], 10);
    far.seq = u64::MAX;
    let mut another_key = checkpoint(&events[3], 10);
    another_key.signing_key = SigningKeyId::from_bytes([8; 16]);
    for (what, wrong) in [
        ("the last event", checkpoint(&events[6], 10)),
        ("another hash", another_hash),
        ("no event", far),
        ("a key that does not sign", another_key),
    ] {
        assert_eq!(vault.trim_audit(wrong).await.unwrap(), None, "{what}");
    }
    assert_eq!(store.events_after(0, 10).await.unwrap(), events);
    assert_eq!(vault.trim_audit(checkpoint(&events[3], 10)).await.unwrap(), Some(4));
    assert_eq!(vault.trim_audit(checkpoint(&events[3], 20)).await.unwrap(), None, "a second time");
    assert_eq!(store.events_after(0, 10).await.unwrap(), events[4..]);
}

#[tokio::test]
async fn keys_and_the_checkpoint_that_they_vouch_for_are_replaced_together() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (store, vault) = backend.open().await;
    let events = trail(&backend, &store, &vault).await;
    let unsigned = vault.keys().await.unwrap();
    assert_eq!(vault.trim_audit(checkpoint(&events[1], 10)).await.unwrap(), Some(2));
    let read = vault.keys().await.unwrap();
    let mut anew = checkpoint(&events[1], 10);
    anew.signature = [8; 64];
    let mut old = read.signing_keys[0].clone();
    old.row.retired = Some(Retired { at: NOW, verifies_until: NOW });
    let new = Keys {
        signing_keys: vec![signing(&entropy, 9, None), old],
        checkpoint: Some(anew.clone()),
        ..read.clone()
    };
    let rotate = || event(Action::KeyRotateSigning, "x");
    let outdated = vault.replace_keys(unsigned, new.clone(), rotate()).await.unwrap();
    assert_eq!(outdated, ChangedKeys::Outdated, "a checkpoint came in between");
    assert_eq!(vault.replace_keys(read, new, rotate()).await.unwrap(), ChangedKeys::Changed);
    assert_eq!(store.audit_checkpoint().await.unwrap(), Some(anew));
}

#[tokio::test]
async fn what_was_replaced_is_in_no_file_once_the_log_is_empty_and_a_reader_in_the_way_is_told_of() {
    let (backend, entropy) = (backend(), TestEntropy::default());
    let (_store, vault) = backend.open().await;
    let (_, elsewhere) = backend.open().await;
    let read = adopted(&vault, &entropy).await;
    let mut with_successor = read.clone();
    with_successor.root_keys = vec![root(2, None), root(1, Some(0xa7))];
    let rotate = || event(Action::KeyRotate, "x");
    let replaced = vault.replace_keys(read.clone(), with_successor.clone(), rotate()).await.unwrap();
    assert_eq!(replaced, ChangedKeys::Changed);
    let mut confirmed = with_successor.clone();
    confirmed.root_keys.truncate(1);
    let replaced = vault.replace_keys(with_successor, confirmed, rotate()).await.unwrap();
    assert_eq!(replaced, ChangedKeys::Changed);
    let is_in = |name: &str| {
        let bytes = std::fs::read(backend.path().with_file_name(name)).unwrap();
        bytes.windows(81).any(|window| window == [0xa7; 81])
    };
    assert!(is_in("fallgate.db-wal"), "this is not where it lay");
    let mut reader = rusqlite::Connection::open(backend.path()).unwrap();
    let snapshot = reader.transaction().unwrap();
    snapshot.query_row("SELECT revision FROM state", [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(!vault.empty_log().await.unwrap());
    drop(snapshot);
    assert!(vault.empty_log().await.unwrap());
    assert!(!is_in("fallgate.db-wal") && !is_in("fallgate.db"));
    let before = elsewhere.revision().await.unwrap();
    mint(&vault, &backend.token(None, 1)).await;
    assert!(elsewhere.revision().await.unwrap() > before, "commits are still seen");
}
