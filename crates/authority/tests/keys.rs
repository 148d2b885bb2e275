//! Keys on a real store: who opens what, before, during and after a rotation; and the trail that they vouch for.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use fallgate_authority::{
    Actor, Confirmed, KeyError, Policy, Registrar, SigningKeyState, TrailError, Unlocked, UserOrder,
    UserPatch, Verifier,
};
use fallgate_domain::audit::{BrokenLink, Checkpoint};
use fallgate_domain::clock::{Clock, TestClock, Timestamp};
use fallgate_domain::entropy::SystemEntropy;
use fallgate_domain::root_key::RootKey;
use fallgate_domain::user::Role;
use fallgate_store::Location;
use rusqlite::Connection;
use tempfile::TempDir;
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_hours(24);

struct House {
    folder: TempDir,
    clock: Arc<TestClock>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(TestClock::at(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        Self { folder: tempfile::tempdir().unwrap(), clock }
    }

    /// A process on this house's store, with no root key yet.
    #[expect(clippy::disallowed_methods, reason = "a test assembles its own house")]
    async fn locked(&self) -> Registrar {
        let location = Location::Sqlite(self.folder.path().join("fallgate.db"));
        let (store, vault) = fallgate_store::open(&location).await.unwrap();
        Registrar::new(store, vault, self.clock.clone(), Arc::new(SystemEntropy), Policy::default())
    }

    async fn unlocked(&self, root: &RootKey) -> Registrar {
        let registrar = self.locked().await;
        let _ = registrar.unlock(root).await.unwrap();
        registrar
    }

    async fn try_unlock(&self, root: &RootKey) -> Result<Unlocked, KeyError> {
        self.locked().await.unlock(root).await
    }

    /// As somebody with a database editor would.
    fn tamper(&self, sql: &str) -> usize {
        Connection::open(self.folder.path().join("fallgate.db")).unwrap().execute(sql, []).unwrap()
    }

    fn states(keys: &fallgate_authority::KeyList) -> Vec<SigningKeyState> {
        keys.signing_keys.iter().map(|key| key.state).collect()
    }
}

fn root(byte: u8) -> RootKey {
    RootKey::from_bytes(&[byte; 32])
}

fn cli() -> Actor {
    Actor::Cli { os_user: "tester".to_owned() }
}

#[tokio::test]
async fn the_first_root_key_is_the_stores_and_another_does_not_fit() {
    let house = House::new();
    assert!(matches!(house.try_unlock(&root(1)).await, Ok(Unlocked::Current)));
    assert!(matches!(house.try_unlock(&root(1)).await, Ok(Unlocked::Current)));
    let keys = house.locked().await.keys().await.unwrap();
    let Err(KeyError::DoesNotFit { given, wanted }) = house.try_unlock(&root(2)).await else {
        panic!("another key fits");
    };
    assert_eq!(wanted, keys.root_keys[0].id);
    assert_ne!(given, wanted);
    assert_eq!(House::states(&keys), [SigningKeyState::Signs]);
}

#[tokio::test]
async fn a_locked_registrar_changes_no_key() {
    let house = House::new();
    let _ = house.try_unlock(&root(1)).await.unwrap();
    let locked = house.locked().await;
    assert!(matches!(locked.rotate_signing_key(true, &cli()).await, Err(KeyError::Locked)));
    assert!(matches!(locked.rotate_root_key(&root(2), &cli()).await, Err(KeyError::Locked)));
    assert!(matches!(locked.confirm_root_key(&root(1), &cli()).await, Err(KeyError::Locked)));
}

#[tokio::test]
async fn old_and_new_root_key_both_open_until_the_rotation_is_confirmed() {
    let house = House::new();
    let registrar = house.unlocked(&root(1)).await;
    let before = registrar.keys().await.unwrap();
    registrar.rotate_root_key(&root(2), &cli()).await.unwrap();
    match house.try_unlock(&root(1)).await.unwrap() {
        Unlocked::ByOld(current) => assert!(current.is_same_as(&root(2))),
        Unlocked::Current => panic!("the old key is still the current one"),
    }
    assert!(matches!(house.try_unlock(&root(2)).await, Ok(Unlocked::Current)));
    assert!(matches!(house.try_unlock(&root(3)).await, Err(KeyError::DoesNotFit { .. })));
    let during = registrar.keys().await.unwrap();
    assert_eq!(during.root_keys.len(), 2);
    assert_eq!(during.signing_keys[0].kid, before.signing_keys[0].kid, "who signs is another matter");

    for new in [root(2), root(3)] {
        let again = house.unlocked(&root(1)).await.rotate_root_key(&new, &cli()).await;
        assert!(matches!(again, Err(KeyError::Unconfirmed | KeyError::SameKey)), "{again:?}");
    }
    let too_early = registrar.confirm_root_key(&root(1), &cli()).await;
    assert!(matches!(too_early, Err(KeyError::NotInPlace { .. })), "{too_early:?}");
    assert_eq!(registrar.confirm_root_key(&root(2), &cli()).await.unwrap(), Confirmed::Confirmed);
    assert_eq!(registrar.confirm_root_key(&root(2), &cli()).await.unwrap(), Confirmed::Nothing);
    assert!(matches!(house.try_unlock(&root(1)).await, Err(KeyError::DoesNotFit { .. })));
    assert!(matches!(house.try_unlock(&root(2)).await, Ok(Unlocked::Current)));
    // And on to the next.
    registrar.rotate_root_key(&root(3), &cli()).await.unwrap();
    assert!(matches!(house.try_unlock(&root(3)).await, Ok(Unlocked::Current)));
    let recorded: Vec<_> = registrar.store().events(None, 10).await.unwrap();
    let recorded: Vec<_> = recorded.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(recorded, ["key.rotate", "key.confirm", "key.rotate"]);
}

#[tokio::test]
async fn whoever_is_running_follows_a_rotation_by_another_process() {
    let house = House::new();
    let (running, elsewhere) = (house.unlocked(&root(1)).await, house.unlocked(&root(1)).await);
    elsewhere.rotate_root_key(&root(2), &cli()).await.unwrap();
    running.rotate_signing_key(false, &cli()).await.unwrap();
    assert_eq!(elsewhere.confirm_root_key(&root(2), &cli()).await.unwrap(), Confirmed::Confirmed);
    running.rotate_signing_key(false, &cli()).await.unwrap();

    // Both steps between two looks: then it is where the key is kept that counts.
    elsewhere.rotate_root_key(&root(3), &cli()).await.unwrap();
    let _ = elsewhere.confirm_root_key(&root(3), &cli()).await.unwrap();
    let lost = running.rotate_signing_key(false, &cli()).await;
    assert!(matches!(lost, Err(KeyError::DoesNotFit { .. })), "{lost:?}");
    running.look_for_root_key(|| Some(root(3)));
    running.rotate_signing_key(false, &cli()).await.unwrap();
}

#[tokio::test]
async fn what_is_sealed_opens_in_its_own_row_only() {
    for sql in [
        // One key's private half in another's row.
        "UPDATE signing_key SET sealed = (SELECT sealed FROM signing_key WHERE retired_at IS NULL)",
        // Another's public half.
        "UPDATE signing_key SET public_key = zeroblob(32) WHERE retired_at IS NULL",
        // A retired one is to sign again.
        "UPDATE signing_key SET retired_at = NULL, verifies_until = NULL",
        "UPDATE signing_key SET sealed = substr(sealed, 1, length(sealed) - 1)",
        "UPDATE signing_key SET sealed = zeroblob(length(sealed))",
        "UPDATE signing_key SET sealed = x''",
        // A stranger's key, with a seal of ours.
        "INSERT INTO signing_key SELECT zeroblob(16), zeroblob(32), sealed, created_at, 1, 1 FROM signing_key
         WHERE retired_at IS NOT NULL",
        "UPDATE root_key SET check_value = substr(check_value, 2)",
        "UPDATE root_key SET check_value = (SELECT sealed FROM signing_key WHERE retired_at IS NOT NULL)",
        "UPDATE root_key SET successor = check_value",
    ] {
        let house = House::new();
        house.unlocked(&root(1)).await.rotate_signing_key(false, &cli()).await.unwrap();
        assert!(matches!(house.try_unlock(&root(1)).await, Ok(Unlocked::Current)));
        if sql.contains("retired_at = NULL") {
            house.tamper("DELETE FROM signing_key WHERE retired_at IS NULL");
        }
        assert_ne!(house.tamper(sql), 0, "{sql}");
        let refused = house.try_unlock(&root(1)).await;
        assert!(matches!(refused, Err(KeyError::BrokenSeal(_))), "{sql}: {refused:?}");
    }
}

#[tokio::test]
async fn a_retired_signing_key_verifies_until_the_last_it_can_have_signed_has_expired() {
    let house = House::new();
    let (verifier, _notes) = Verifier::start(house.unlocked(&root(1)).await).await.unwrap();
    let registrar = house.unlocked(&root(1)).await;
    let published = async || -> Vec<String> {
        verifier.published_keys().await.unwrap().into_iter().map(|key| key.kid).collect()
    };
    let first = published().await;
    assert_eq!(first.len(), 1);
    registrar.rotate_signing_key(false, &cli()).await.unwrap();
    let both = published().await;
    assert_eq!((both.len(), &both[1]), (2, &first[0]), "the one that signs comes first");
    house.clock.advance(7 * DAY + Duration::from_millis(5 * 60_000 - 1));
    assert_eq!(published().await, both);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(published().await, both[..1]);

    registrar.rotate_signing_key(false, &cli()).await.unwrap();
    house.clock.advance(DAY);
    registrar.rotate_signing_key(true, &cli()).await.unwrap();
    let after = published().await;
    assert_eq!(after.len(), 1, "whatever was there before is dropped at once");
    assert!(!both.contains(&after[0]));
    let keys = registrar.keys().await.unwrap();
    assert_eq!(House::states(&keys)[0], SigningKeyState::Signs);
    assert!(House::states(&keys)[1..].iter().all(|state| *state == SigningKeyState::Dropped));
}

#[tokio::test]
async fn a_restored_backups_epoch_gives_every_signing_key_another_name() {
    let house = House::new();
    let (verifier, _notes) = Verifier::start(house.unlocked(&root(1)).await).await.unwrap();
    let before = verifier.published_keys().await.unwrap();
    house.tamper("UPDATE state SET epoch = epoch + 1");
    let after = verifier.published_keys().await.unwrap();
    assert_eq!(before[0].x, after[0].x);
    assert_ne!(before[0].kid, after[0].kid);
}

/// Makes an account, and then `count` events a minute apart.
async fn live(house: &House, registrar: &Registrar, count: u64) {
    let name = "ada".parse().unwrap();
    if registrar.store().user_named(&name).await.unwrap().is_none() {
        let passphrase = fallgate_authority::Passphrase::new(
            Zeroizing::new("otter slate canyon vivid 41".to_owned()),
            &[],
            &Policy::default(),
        );
        let order = UserOrder {
            username: name.clone(),
            display_name: None,
            role: Role::User,
            passphrase: passphrase.unwrap(),
        };
        registrar.create_user(order, &cli()).await.unwrap();
    }
    let begin = registrar.store().events(None, 1).await.unwrap()[0].seq;
    for number in begin..begin + count {
        house.clock.advance(Duration::from_mins(1));
        let patch = UserPatch {
            display_name: Some(format!("Ada {number}").parse().unwrap()),
            ..UserPatch::default()
        };
        registrar.change_user(&name, patch, &cli()).await.unwrap();
    }
}

#[tokio::test]
async fn old_events_give_way_to_a_checkpoint_in_batches_and_the_trail_still_verifies() {
    let house = House::new();
    let registrar = house.unlocked(&root(1)).await;
    live(&house, &registrar, 1_100).await;
    assert_eq!(registrar.trim_trail().await.unwrap(), 0, "nothing is too old");
    let whole = registrar.verify_trail().await.unwrap();
    assert_eq!((whole.events, whole.since), (1_101, None));

    house.clock.advance(399 * DAY + Duration::from_mins(24 * 60 - 10));
    assert_eq!(registrar.trim_trail().await.unwrap(), 1_101 - 11, "to the minute");
    let trimmed = house.clock.now();
    let left = registrar.verify_trail().await.unwrap();
    assert_eq!((left.events, left.since), (11, Some(trimmed)));
    // The newest stays, so that the next one is linked to it.
    house.clock.advance(800 * DAY);
    assert_eq!(registrar.trim_trail().await.unwrap(), 10);
    assert_eq!(registrar.trim_trail().await.unwrap(), 0);
    live(&house, &registrar, 1).await;
    let end = registrar.verify_trail().await.unwrap();
    assert_eq!(end.events, 2);
    assert_eq!(registrar.store().events(None, 1).await.unwrap()[0].seq, 1_102);
    // Other keys of either kind change nothing about what was signed before.
    registrar.rotate_signing_key(true, &cli()).await.unwrap();
    registrar.rotate_root_key(&root(2), &cli()).await.unwrap();
    assert_eq!(house.unlocked(&root(2)).await.verify_trail().await.unwrap().events, 4);
    assert_eq!(house.locked().await.verify_trail().await.unwrap().events, 4, "without the root key, too");
}

#[tokio::test]
async fn a_forged_checkpoint_or_a_trail_that_does_not_join_it_is_named() {
    type Is = fn(&TrailError) -> bool;
    let forged: Is = |error| matches!(error, TrailError::Forged(_));
    let missing: Is = |error| matches!(error, TrailError::Broken(BrokenLink::Missing(_)));
    let unlinked: Is = |error| matches!(error, TrailError::Broken(BrokenLink::Unlinked(_)));
    for (sql, is) in [
        ("UPDATE audit_checkpoint SET seq = seq + 1", forged),
        ("UPDATE audit_checkpoint SET at = at + 1", forged),
        ("UPDATE audit_checkpoint SET hash = (SELECT hash FROM audit LIMIT 1)", forged),
        ("UPDATE audit_checkpoint SET signature = zeroblob(64)", forged),
        ("UPDATE audit_checkpoint SET signing_key = zeroblob(16)", forged),
        ("DELETE FROM audit_checkpoint", missing),
        ("DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)", missing),
        ("DELETE FROM audit", missing),
        ("UPDATE audit SET prev = hash WHERE seq = (SELECT min(seq) FROM audit)", unlinked),
        // What a checkpoint stands for cannot be there as well.
        (
            "INSERT INTO audit SELECT 1, at, action, actor, credential, target, outcome, ip, detail, prev, hash
             FROM audit LIMIT 1",
            missing,
        ),
    ] {
        let house = House::new();
        let registrar = house.unlocked(&root(1)).await;
        live(&house, &registrar, 6).await;
        house.clock.advance(399 * DAY + Duration::from_mins(24 * 60 - 3));
        assert_eq!(registrar.trim_trail().await.unwrap(), 3);
        registrar.verify_trail().await.unwrap();
        assert_eq!(house.tamper(sql), if sql == "DELETE FROM audit" { 4 } else { 1 }, "{sql}");
        let error = registrar.verify_trail().await.unwrap_err();
        assert!(is(&error), "{sql}: {error}");
        // Nothing is deleted that could tell more.
        let before = registrar.store().events(None, 100).await.unwrap();
        house.clock.advance(800 * DAY);
        if sql != "DELETE FROM audit" {
            registrar.trim_trail().await.unwrap_err();
        }
        assert_eq!(registrar.store().events(None, 100).await.unwrap(), before, "{sql}");
    }
}

#[tokio::test]
async fn a_checkpoint_signed_by_a_key_that_the_root_key_does_not_vouch_for_is_refused() {
    let house = House::new();
    let registrar = house.unlocked(&root(1)).await;
    live(&house, &registrar, 6).await;
    house.clock.advance(400 * DAY);
    registrar.trim_trail().await.unwrap();
    // A trail of another house, whole in itself, with its checkpoint and its signing key.
    let other = House::new();
    let stranger = other.unlocked(&root(9)).await;
    live(&other, &stranger, 6).await;
    other.clock.advance(400 * DAY);
    stranger.trim_trail().await.unwrap();
    let checkpoint: Checkpoint = stranger.store().audit_checkpoint().await.unwrap().unwrap();
    let key = stranger.store().signing_keys().await.unwrap().signing_keys[0].clone();
    let connection = Connection::open(house.folder.path().join("fallgate.db")).unwrap();
    connection
        .execute("UPDATE signing_key SET id = ?1, public_key = ?2", (key.id.bytes(), key.public_key))
        .unwrap();
    connection
        .execute(
            "UPDATE audit_checkpoint SET seq = ?1, hash = ?2, at = ?3, signing_key = ?4, signature = ?5",
            (
                i64::try_from(checkpoint.seq).unwrap(),
                checkpoint.hash,
                checkpoint.at.millis(),
                key.id.bytes(),
                checkpoint.signature,
            ),
        )
        .unwrap();
    let error = registrar.verify_trail().await.unwrap_err();
    assert!(matches!(error, TrailError::Key(KeyError::BrokenSeal(_))), "{error}");
}

#[tokio::test]
async fn a_signing_key_that_was_dropped_vouches_for_no_checkpoint_and_its_successor_signs_the_present_one_anew()
 {
    let house = House::new();
    let registrar = house.unlocked(&root(1)).await;
    live(&house, &registrar, 6).await;
    house.clock.advance(400 * DAY);
    assert!(registrar.trim_trail().await.unwrap() > 0);
    let old = registrar.store().audit_checkpoint().await.unwrap().unwrap();
    registrar.rotate_signing_key(true, &cli()).await.unwrap();
    let new = registrar.store().audit_checkpoint().await.unwrap().unwrap();
    assert_ne!(new.signing_key, old.signing_key);
    assert_eq!((new.seq, &new.hash, new.at), (old.seq, &old.hash, old.at));
    registrar.verify_trail().await.unwrap();
    let connection = Connection::open(house.folder.path().join("fallgate.db")).unwrap();
    let forge = "UPDATE audit_checkpoint SET signing_key = ?1, signature = ?2";
    connection.execute(forge, (old.signing_key.bytes(), old.signature)).unwrap();
    for registrar in [registrar, house.locked().await] {
        let error = registrar.verify_trail().await.unwrap_err();
        assert!(matches!(error, TrailError::Forged(_)), "{error}");
    }
    // Nor does another rotation make it good.
    let registrar = house.unlocked(&root(1)).await;
    registrar.rotate_signing_key(false, &cli()).await.unwrap();
    assert!(matches!(registrar.verify_trail().await, Err(TrailError::Forged(_))));
}

#[tokio::test]
async fn a_trail_that_is_broken_is_not_trimmed() {
    let house = House::new();
    let registrar = house.unlocked(&root(1)).await;
    live(&house, &registrar, 6).await;
    house.tamper("UPDATE audit SET actor = 'mallory' WHERE seq = 3");
    house.clock.advance(500 * DAY);
    let error = registrar.trim_trail().await.unwrap_err();
    assert!(matches!(error, TrailError::Broken(BrokenLink::Changed(3))), "{error}");
    assert_eq!(registrar.store().events(None, 100).await.unwrap().len(), 7);
}
