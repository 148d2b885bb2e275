//! The trail.

use fallgate_domain::audit::{Action, Event, FIRST_PREV};

use fallgate_store::EventFilter;

use crate::support::{NOW, backend, create, event, mint, revoke};

/// Asserts that events, newest first, are one unbroken chain from the first on.
pub(crate) fn assert_chained(events: &[Event]) {
    let mut prev = FIRST_PREV.to_owned();
    for (index, event) in events.iter().rev().enumerate() {
        assert_eq!(event.seq, index as u64 + 1);
        assert_eq!(event.prev, prev, "at {}", event.seq);
        assert_eq!(event.computed_hash(), event.hash, "at {}", event.seq);
        prev.clone_from(&event.hash);
    }
}

#[tokio::test]
async fn acts_are_recorded_in_order_as_one_chain() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    create(&vault, &backend.user("alice")).await;
    let token = backend.token(None, 0);
    mint(&vault, &token).await;
    revoke(&vault, token.credential.id).await;

    let events = store.events(None, 10).await.unwrap();
    assert_chained(&events);
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["token.revoke", "token.mint", "user.create"], "newest first");
    let told = event(Action::TokenRevoke, &token.credential.id.to_string());
    let first = &events[0];
    assert_eq!((first.at, &first.actor, &first.target), (NOW, &told.actor, &told.target));
    assert_eq!((&first.ip, &first.detail, &first.credential), (&told.ip, &told.detail, &told.credential));
    assert_eq!(first.outcome, "ok");
}

#[tokio::test]
async fn the_trail_is_read_page_by_page() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    for minute in 0..7 {
        let mut event = event(Action::TokenMint, &minute.to_string());
        let token = backend.token(None, minute);
        event.credential = Some(token.credential.id);
        let _ = vault.mint(token, u32::MAX, event).await.unwrap();
    }
    let mut read = Vec::new();
    let mut before = None;
    loop {
        let page = store.events(before, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        read.extend(page);
    }
    assert_eq!(read.len(), 7);
    assert_chained(&read);
    assert_eq!(store.events(Some(u64::MAX), 100).await.unwrap(), read);
    assert!(store.events(Some(1), 100).await.unwrap().is_empty());
    assert!(store.events(None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_trail_is_filtered_by_user_and_action_and_read_from_its_beginning_too() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    create(&vault, &backend.user("alice")).await;
    create(&vault, &backend.user("bob")).await;
    let token = backend.token(None, 0);
    let mut minted = event(Action::TokenMint, &token.credential.id.to_string());
    minted.actor = "alice".to_owned();
    minted.detail.insert("owner".to_owned(), "bob".into());
    let _ = vault.mint(token, u32::MAX, minted).await.unwrap();
    let found = async |before, user: Option<&str>, action: Option<&str>| -> Vec<u64> {
        let (user, action) = (user.map(str::to_owned), action.map(str::to_owned));
        let filter = EventFilter { before, limit: 10, user, action, ..EventFilter::default() };
        store.find_events(&filter).await.unwrap().into_iter().map(|event| event.seq).collect()
    };
    assert_eq!(found(None, None, None).await, [3, 2, 1]);
    assert_eq!(found(None, Some("alice"), None).await, [3, 1], "by her, or to her account");
    assert_eq!(found(None, Some("bob"), None).await, [3, 2], "to his account, or for him");
    assert_eq!(found(None, None, Some("user.create")).await, [2, 1]);
    assert_eq!(found(Some(3), Some("alice"), Some("user.create")).await, [1]);
    assert_eq!(found(None, Some("alic"), None).await, [0_u64; 0]);
    let within = async |after, since, until| -> Vec<u64> {
        let filter = EventFilter { after, limit: 10, since, until, ..EventFilter::default() };
        store.find_events(&filter).await.unwrap().into_iter().map(|event| event.seq).collect()
    };
    let second = std::time::Duration::from_secs(1);
    assert_eq!(within(Some(1), Some(NOW), Some(NOW.plus(second))).await, [3, 2]);
    assert_eq!(within(None, Some(NOW.plus(second)), None).await, [0_u64; 0]);
    assert_eq!(within(None, None, Some(NOW)).await, [0_u64; 0]);
    let after = async |after, limit| -> Vec<u64> {
        store.events_after(after, limit).await.unwrap().into_iter().map(|event| event.seq).collect()
    };
    assert_eq!(after(0, 2).await, [1, 2]);
    assert_eq!(after(2, 2).await, [3]);
    assert_eq!(after(u64::MAX, 2).await, [0_u64; 0]);
}
