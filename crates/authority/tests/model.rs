//! Every interleaving of a caller coming in with the revocation of their credential, and of whatever passes with a cut
//! (requirement R47), explored by
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

#[test]
fn r47_nobody_who_comes_in_during_a_cut_survives_it() {
    explore(Subject::use_route, Subject::cut_user);
    explore(Subject::use_route, Subject::cut_route);
    explore(Subject::use_route, Subject::cut_everything);
}

#[test]
fn r47_nothing_that_passes_by_a_public_path_survives_a_cut() {
    explore(Subject::pass_public, Subject::cut_route);
    explore(Subject::pass_public, Subject::cut_everything);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_asking_for_cuts_before_registering_would_let_somebody_survive() {
    explore(Subject::use_route_in_the_wrong_order, Subject::cut_user);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_the_same_by_a_public_path() {
    explore(Subject::pass_public_in_the_wrong_order, Subject::cut_route);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_asking_to_look_before_a_cut_is_to_be_seen_would_let_somebody_survive() {
    explore(Subject::use_route, Subject::cut_user_in_the_wrong_order);
}

#[test]
#[should_panic(expected = "let in, and left alone")]
fn r47_the_same_with_a_route() {
    explore(Subject::pass_public, Subject::cut_route_in_the_wrong_order);
}
