//! Cuts: placed, seen by whoever keeps a view, over, lifted.

use fallgate_domain::audit::{Action, Author, NewEvent};
use fallgate_domain::clock::Timestamp;
use fallgate_domain::credential::{CredentialKind, Revocation};
use fallgate_domain::cut::{Cut, CutNotice, CutTarget};
use fallgate_domain::id::{CutId, UserId};
use fallgate_domain::scope::{PlainScope, Scopes};
use fallgate_domain::user::{Role, User};
use fallgate_store::{
    ChangedUser, CutOn, CutRow, DeletedUser, Gone, LiftedCut, PlacedCut, Revision, Row, StoreError,
    UserChange, Vault,
};

use crate::support::{NOW, backend, create, event, load, mint, minutes_later, revocation};

/// A cut placed at [`NOW`] for good. Its id tells it from others.
fn cut(id: u8, target: &str) -> Cut {
    Cut {
        id: CutId::from_bytes([id; 16]),
        target: target.parse().unwrap(),
        reason: Some("lost laptop".parse().unwrap()),
        placed_by: "cli:tester".to_owned(),
        placer: None,
        created_at: NOW,
        expires_at: None,
    }
}

async fn try_place(vault: &Vault, cut: &Cut) -> PlacedCut {
    vault.place_cut(cut.clone(), event(Action::CutPlace, &cut.target.to_string())).await.unwrap()
}

async fn place(vault: &Vault, cut: &Cut) -> Revision {
    match try_place(vault, cut).await {
        PlacedCut::Placed(revision) => revision,
        other => panic!("not placed: {other:?}"),
    }
}

async fn lift(vault: &Vault, id: CutId, now: Timestamp) -> LiftedCut {
    vault.lift_cut(id, now, event(Action::CutLift, "")).await.unwrap()
}

#[tokio::test]
async fn r49_a_cut_is_durable_listed_and_told_to_whoever_keeps_a_view() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let bob = backend.user("bob");
    create(&vault, &bob).await;
    let token = backend.token(Some(bob.id), 0);
    mint(&vault, &token).await;
    let on_token = format!("credential:{}", token.credential.id);
    let cuts = [cut(1, "user:bob"), cut(2, &on_token), cut(3, "route:llmux"), cut(4, "everything")];
    for (placed, revision) in cuts.iter().zip(3..) {
        assert_eq!(place(&vault, placed).await, Revision(revision));
    }
    assert_eq!(store.cuts(NOW).await.unwrap(), cuts);
    assert_eq!(store.cut(cuts[1].id, NOW).await.unwrap().as_ref(), Some(&cuts[1]));
    let newest = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((newest.action.as_str(), newest.target.as_str()), ("cut.place", "everything"));

    let row = |cut: &Cut, on| {
        Row::Cut(CutRow { id: cut.id, on, reason: cut.reason.clone(), expires_at: cut.expires_at })
    };
    let on = [
        CutOn::User(bob.id),
        CutOn::Credential(token.credential.id),
        CutOn::Route("llmux".parse().unwrap()),
        CutOn::Everything,
    ];
    let rows: Vec<_> = cuts.iter().zip(on).map(|(cut, on)| row(cut, on)).collect();
    let changes = vault.changes_since(Revision(2)).await.unwrap();
    assert_eq!((changes.rows, changes.gone), (rows.clone(), Vec::new()));
    drop((store, vault));

    let (_store, vault) = backend.open().await;
    let (_, loaded) = load(&vault).await;
    let loaded: Vec<_> = loaded.into_iter().filter(|row| matches!(row, Row::Cut(_))).collect();
    assert_eq!(loaded, rows);
}

#[tokio::test]
async fn what_there_is_not_cannot_be_cut_and_nothing_is_recorded() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    for target in ["user:bob", "credential:0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b", "agent:claude"] {
        assert_eq!(try_place(&vault, &cut(1, target)).await, PlacedCut::Unknown, "{target}");
    }
    assert_eq!(vault.revision().await.unwrap(), Revision(0));
    assert!(store.events(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn r49_a_cut_is_lifted_once_and_the_trail_says_what_it_was_on() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let placed = cut(1, "everything");
    place(&vault, &placed).await;
    assert_eq!(lift(&vault, placed.id, NOW).await, LiftedCut::Lifted(Revision(2), placed.clone()));
    assert_eq!(lift(&vault, placed.id, NOW).await, LiftedCut::Unknown);
    assert_eq!(store.cuts(NOW).await.unwrap(), []);
    assert_eq!(vault.changes_since(Revision(1)).await.unwrap().gone, [Gone::Cut(placed.id)]);
    let events = store.events(None, 10).await.unwrap();
    assert_eq!(
        (events.len(), events[0].action.as_str(), events[0].target.as_str()),
        (2, "cut.lift", "everything")
    );
}

#[tokio::test]
async fn a_cut_with_an_end_stands_before_it_and_not_at_it() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let end = minutes_later(1);
    let placed = Cut { expires_at: Some(end), ..cut(1, "everything") };
    place(&vault, &placed).await;
    let almost = Timestamp::from_millis(end.millis() - 1);
    assert_eq!(store.cuts(almost).await.unwrap(), std::slice::from_ref(&placed));
    assert_eq!(store.cut(placed.id, almost).await.unwrap(), Some(placed.clone()));
    assert_eq!(store.cuts(end).await.unwrap(), []);
    assert_eq!(store.cut(placed.id, end).await.unwrap(), None);
    assert_eq!(lift(&vault, placed.id, end).await, LiftedCut::Unknown);

    assert_eq!(vault.sweep_cuts(end).await.unwrap(), 0, "over at that time, not before it");
    assert_eq!(vault.sweep_cuts(minutes_later(2)).await.unwrap(), 1);
    assert_eq!(vault.changes_since(Revision(1)).await.unwrap().gone, [Gone::Cut(placed.id)]);
    assert_eq!(store.events(None, 10).await.unwrap().len(), 1, "only that it was placed");
}

#[tokio::test]
async fn one_account_fills_nobodys_list() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let bob = backend.user("bob");
    create(&vault, &bob).await;
    let by = |id, placer, target| Cut { placer: Some(placer), ..cut(id, target) };
    for id in 0..16 {
        place(&vault, &by(id, bob.id, "user:bob")).await;
    }
    assert_eq!(try_place(&vault, &by(16, bob.id, "user:bob")).await, PlacedCut::TooMany);
    // Who placed none yet, or places one on something else, is in nobody's way.
    place(&vault, &by(17, UserId::from_bytes([9; 16]), "user:bob")).await;
    place(&vault, &cut(18, "user:bob")).await;
    place(&vault, &by(19, bob.id, "route:llmux")).await;
    assert_eq!(store.cuts(NOW).await.unwrap().len(), 19);
}

#[tokio::test]
async fn a_cut_goes_with_what_it_is_on_and_whoever_gets_the_name_is_not_cut() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let (bob, token) = (backend.user("bob"), backend.token(None, 0));
    create(&vault, &bob).await;
    mint(&vault, &token).await;
    let on_bob = cut(1, "user:bob");
    let on_token = cut(2, &format!("credential:{}", token.credential.id));
    place(&vault, &on_bob).await;
    let since = place(&vault, &on_token).await;
    let deleted = vault.delete_user(bob.id, revocation(), event(Action::UserDelete, "bob")).await.unwrap();
    assert!(matches!(deleted, DeletedUser::Deleted(..)));
    assert_eq!(store.cuts(NOW).await.unwrap(), std::slice::from_ref(&on_token));
    create(&vault, &backend.user("bob")).await;
    assert_eq!(store.cuts(NOW).await.unwrap(), std::slice::from_ref(&on_token));

    vault.purge(minutes_later(120), 10, event(Action::StoreSweep, "*")).await.unwrap();
    assert_eq!(store.cuts(NOW).await.unwrap(), []);
    let gone = vault.changes_since(since).await.unwrap().gone;
    for cut in [on_bob.id, on_token.id] {
        assert!(gone.contains(&Gone::Cut(cut)), "{gone:?}");
    }
}

#[tokio::test]
async fn a_restored_backup_lifts_no_cut() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let placed = cut(1, "everything");
    place(&vault, &placed).await;
    let at = Revocation { at: minutes_later(1), ..revocation() };
    let _ = vault.accept_restored(at, event(Action::StoreRestore, "*")).await.unwrap();
    assert_eq!(store.cuts(NOW).await.unwrap(), [placed]);
}

#[tokio::test]
async fn r9_whoever_is_cut_between_asking_and_doing_does_nothing() {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let ada = User { role: Role::Admin, ..backend.user("ada") };
    create(&vault, &ada).await;
    let parent = backend.token(Some(ada.id), 0);
    let child = backend.child(&parent, 0);
    let mut login = backend.token(Some(ada.id), 0);
    login.credential.kind = CredentialKind::Login;
    login.credential.scopes = Scopes::plain(PlainScope::ALL);
    for new in [&parent, &child, &login] {
        mint(&vault, new).await;
    }
    let by = async |credential, though_all_is_cut| {
        let author = Author { credential, needs: None, at: NOW, though_all_is_cut, worker: None };
        let event = NewEvent { author: Some(author), ..event(Action::UserEnable, "ada") };
        vault.change_user(ada.id, vec![(UserChange::Enable, event)]).await
    };
    let refused =
        || StoreError::CallerCut(CutNotice { reason: Some("lost laptop".parse().unwrap()), until: None });
    let (child, login) = (child.credential.id, login.credential.id);
    assert!(matches!(by(child, false).await, Ok(ChangedUser::Unchanged(_))));
    for (target, login_may) in [
        ("user:ada".to_owned(), [false, false]),
        (format!("credential:{}", parent.credential.id), [true, true]),
        (format!("credential:{child}"), [true, true]),
        ("everything".to_owned(), [false, true]),
    ] {
        let placed = cut(1, &target);
        place(&vault, &placed).await;
        for though_all_is_cut in [false, true] {
            assert_eq!(by(child, though_all_is_cut).await, Err(refused()), "{target}");
            let may = by(login, though_all_is_cut).await.is_ok();
            assert_eq!(may, login_may[usize::from(though_all_is_cut)], "{target} {though_all_is_cut}");
        }
        let lifted = lift(&vault, placed.id, NOW).await;
        assert!(matches!(lifted, LiftedCut::Lifted(..)));
    }
    // On what is not theirs, or over already.
    place(&vault, &cut(1, "route:llmux")).await;
    place(&vault, &Cut { expires_at: Some(NOW), ..cut(2, "everything") }).await;
    assert!(by(child, false).await.is_ok());
    assert!(store.cuts(NOW).await.unwrap().iter().all(|cut| cut.target != CutTarget::Everything));
}
