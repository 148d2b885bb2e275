//! Every interleaving of a caller coming in with the revocation of their credential (requirement R47), explored by
//! loom on the real types. Run by `cargo xtask test`.

#![cfg(test)]

use fallgate_authority::model::Subject;

fn explore(enter: fn(&Subject) -> (fallgate_authority::Lease, bool), revoke: fn(&Subject)) {
    loom::model(move || {
        let subject = Subject::new();
        let other = subject.clone();
        let revoking = loom::thread::spawn(move || revoke(&other));
        let (lease, let_in) = enter(&subject);
        revoking.join().unwrap();
        assert!(Subject::is_sound(&lease, let_in), "let in, and left alone");
    });
}

#[test]
fn r47_nobody_who_comes_in_during_a_revocation_survives_it() {
    explore(Subject::enter, Subject::revoke);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_reading_before_registering_would_let_somebody_survive() {
    explore(Subject::enter_in_the_wrong_order, Subject::revoke);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_cutting_before_committing_would_let_somebody_survive() {
    explore(Subject::enter, Subject::revoke_in_the_wrong_order);
}
