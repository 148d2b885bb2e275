use fallgate_domain::clock::{TestClock, Timestamp};
use fallgate_domain::credential::CredentialKind;
use fallgate_domain::scope::Scopes;
use fallgate_domain::user::Role;

use fallgate_store::{Changes, CredentialRow, Gone, Row};

use super::*;
use crate::refusal::Denial;

fn row(id: u8, parent: Option<u8>) -> CredentialRow {
    CredentialRow {
        id: CredentialId::from_bytes([id; 16]),
        kind: CredentialKind::Legacy,
        owner: None,
        parent: parent.map(|parent| CredentialId::from_bytes([parent; 16])),
        hash: Some(TokenHash::from_bytes([id; 32])),
        scopes: Scopes::none(),
        granted: false,
        expires_at: None,
        revoked: false,
        used_at: None,
    }
}

fn view_of(rows: Vec<CredentialRow>) -> View {
    let view = View::new(
        Duration::from_hours(1),
        Duration::ZERO,
        Arc::new(TestClock::at(Timestamp::from_millis(0))),
    );
    let rows = rows.into_iter().map(Row::Credential).collect();
    view.apply(&Changes {
        revision: Revision(1),
        rows,
        gone: Vec::new(),
        revoked_all: Vec::new(),
        whole: false,
    });
    view
}

fn judge(view: &View, id: u8) -> Result<Option<Role>, Denial> {
    view.entry(&TokenHash::from_bytes([id; 32])).ok_or(Denial::Unknown)?.judge(Timestamp::from_millis(0))
}

#[test]
fn a_child_may_come_before_its_parent_and_grandparent() {
    let view = view_of(vec![row(3, Some(2)), row(2, Some(1)), row(1, None)]);
    for id in 1..=3 {
        assert_eq!(judge(&view, id), Ok(None), "{id}");
    }
}

#[test]
fn what_hangs_on_nothing_falls_and_all_below_it() {
    let view = view_of(vec![row(3, Some(2)), row(2, Some(9))]);
    assert_eq!(judge(&view, 2), Err(Denial::ParentEnded));
    assert_eq!(judge(&view, 3), Err(Denial::ParentEnded));
}

#[test]
fn what_has_no_row_among_all_there_are_is_no_more() {
    let view = view_of(vec![row(1, None), row(2, Some(1)), row(3, None)]);
    let (fallen, stays) = (view.entry_of(CredentialId::from_bytes([2; 16])).unwrap(), judge(&view, 3));
    let rows = vec![Row::Credential(row(3, None)), Row::Credential(row(4, Some(3)))];
    view.apply(&Changes {
        revision: Revision(20_000),
        rows,
        gone: Vec::new(),
        revoked_all: Vec::new(),
        whole: true,
    });
    assert_eq!((judge(&view, 1), judge(&view, 2)), (Err(Denial::Unknown), Err(Denial::Unknown)));
    assert!(fallen.judge(Timestamp::from_millis(0)).is_err(), "what rests on it looks there");
    assert_eq!((stays, judge(&view, 3), judge(&view, 4)), (Ok(None), Ok(None), Ok(None)));
    assert_eq!(view.revision(), Revision(20_000));
}

#[test]
fn a_credential_that_is_gone_falls_with_its_children() {
    let view = view_of(vec![row(1, None), row(2, Some(1))]);
    let gone = vec![Gone::Credential(CredentialId::from_bytes([1; 16]))];
    view.apply(&Changes {
        revision: Revision(2),
        rows: Vec::new(),
        gone,
        revoked_all: Vec::new(),
        whole: false,
    });
    assert_eq!(judge(&view, 1), Err(Denial::Unknown));
    assert_eq!(judge(&view, 2), Err(Denial::ParentEnded));
}

#[test]
fn what_lies_idle_ends_and_whoever_uses_what_hangs_on_it_keeps_both() {
    let hours = |hours: u64| Timestamp::from_millis(0).plus(Duration::from_mins(60 * hours));
    let sign_in = |id, parent| CredentialRow { used_at: Some(hours(0)), ..row(id, parent) };
    let view = view_of(vec![sign_in(1, None), sign_in(2, Some(1)), row(3, Some(2)), sign_in(4, None)]);
    let entry = |id| view.entry(&TokenHash::from_bytes([id; 32])).unwrap();
    let almost = Timestamp::from_millis(hours(1).millis() - 1);
    for id in 1..=4 {
        assert_eq!(entry(id).judge(almost), Ok(None), "{id}");
    }
    entry(3).touch(almost);
    for id in 1..=3 {
        assert_eq!(entry(id).judge(hours(1)), Ok(None), "{id}");
    }
    assert_eq!(entry(4).judge(hours(1)), Err(Denial::Expired));
    assert_eq!(entry(4).deadline(), None, "by itself it would go on");
    assert_eq!(entry(3).judge(hours(2)), Err(Denial::ParentEnded));
}

#[test]
fn r31_the_end_of_all_tokens_is_taken_in_at_once_and_spares_what_came_with_it_or_later() {
    let view = view_of(vec![row(1, None), row(2, Some(1)), row(3, None)]);
    // As the row of the one that was spared is, and that of one minted in between.
    let rows = vec![Row::Credential(row(3, None)), Row::Credential(row(4, None))];
    view.apply(&Changes {
        revision: Revision(5),
        rows,
        gone: Vec::new(),
        revoked_all: vec![None],
        whole: false,
    });
    assert_eq!(judge(&view, 1), Err(Denial::Revoked));
    assert_eq!(judge(&view, 2), Err(Denial::Revoked));
    assert_eq!((judge(&view, 3), judge(&view, 4)), (Ok(None), Ok(None)));
    let rows = vec![Row::Credential(row(5, None)), Row::Credential(row(6, Some(1)))];
    view.apply(&Changes {
        revision: Revision(6),
        rows,
        gone: Vec::new(),
        revoked_all: Vec::new(),
        whole: false,
    });
    assert_eq!(judge(&view, 5), Ok(None));
    assert_eq!(judge(&view, 6), Err(Denial::ParentEnded));
}

#[test]
fn a_reader_never_sees_a_change_half_taken_in() {
    let view = view_of(vec![row(1, None)]);
    assert!(view.read(|_| ()).is_some());
    view.generation.fetch_add(1, StdOrdering::AcqRel);
    assert!(view.read(|_| ()).is_none(), "while a change is taken in");
    view.generation.fetch_add(1, StdOrdering::AcqRel);
    let changed_meanwhile = view.read(|view| view.generation.fetch_add(2, StdOrdering::AcqRel));
    assert!(changed_meanwhile.is_none());
}
