//! The end of a credential, and of whoever owns it.

use super::*;

#[test]
fn r46_a_revoked_token_closes_its_own_and_what_it_minted() {
    for by in BOTH {
        let crowd = Crowd::gather("", "user");
        let id = crowd.bob.id.clone();
        let ended = match by {
            By::Api => crowd.root_asks(&format!("DELETE /api/tokens/{id}"), &Value::Null),
            By::CommandLine => crowd.commands(&["token", "revoke", &id]),
        };
        let closed =
            [(Bob, "token revoked"), (BobElsewhere, "token revoked"), (Child, "the token's parent ended")];
        crowd.assert_closed(ended, 4401, &closed);
    }
}

#[test]
fn r46_all_tokens_of_a_user_revoked_at_once_close_theirs_and_no_sign_in() {
    for by in BOTH {
        let crowd = Crowd::gather("", "user");
        let ended = match by {
            By::Api => crowd.root_asks("DELETE /api/tokens?username=bob", &Value::Null),
            By::CommandLine => crowd.commands(&["token", "revoke", "--all", "--user", "bob", "--yes"]),
        };
        crowd.assert_closed(ended, 4401, &all(&[Bob, BobElsewhere, Child, BobsOther], "token revoked"));
    }
}

#[test]
fn r46_signing_out_closes_what_came_in_by_that_sign_in() {
    let crowd = Crowd::gather("", "user");
    let answer = crowd.gate.ask("POST /api/logout", &crowd.login.bearer(), &Value::Null);
    let ended = Instant::now();
    assert_eq!(answer.status, 204, "{}", answer.text());
    crowd.assert_closed(ended, 4401, &[(SignedIn, "token revoked")]);
    // From another one of the same user's.
    let crowd = Crowd::gather("", "user");
    let another = crowd.gate.sign_in("bob");
    let line = format!("DELETE /api/logins/{}", crowd.login.id);
    let answer = crowd.gate.ask(&line, &another.bearer(), &Value::Null);
    let ended = Instant::now();
    assert_eq!(answer.status, 204, "{}", answer.text());
    crowd.assert_closed(ended, 4401, &[(SignedIn, "token revoked")]);
    // And by the command line, with the passphrase.
    let crowd = Crowd::gather("", "user");
    let reset = ["user", "reset-passphrase", "bob", "--passphrase-stdin"];
    crowd.gate.fallgate_with(&reset, "another slate canyon vivid 42").ok();
    crowd.assert_closed(Instant::now(), 4401, &[(SignedIn, "token revoked")]);
}

#[test]
fn r51_a_sign_in_that_has_lasted_as_long_as_any_may_closes_what_came_in_by_it() {
    let life = Duration::from_secs(8);
    let crowd = Crowd::gather(&format!("[logins]\nlife = \"{}s\"", life.as_secs()), "user");
    crowd.assert_closed(Instant::now() + life, 4401, &[(SignedIn, "token expired")]);
}

#[test]
fn r31_a_disabled_user_loses_all_that_is_theirs() {
    for by in BOTH {
        let crowd = Crowd::gather("", "user");
        let ended = match by {
            By::Api => crowd.root_asks("PATCH /api/users/bob", &json!({"disabled": true})),
            By::CommandLine => crowd.commands(&["user", "disable", "bob"]),
        };
        crowd.assert_closed(ended, 4401, &all(&BOBS, "user disabled"));
    }
}

#[test]
fn r31_a_deleted_user_loses_all_that_is_theirs() {
    for by in BOTH {
        let crowd = Crowd::gather("", "user");
        let ended = match by {
            By::Api => crowd.root_asks("DELETE /api/users/bob", &Value::Null),
            By::CommandLine => crowd.commands(&["user", "delete", "bob", "--yes"]),
        };
        crowd.assert_closed(ended, 4401, &all(&BOBS, "user deleted"));
    }
}

#[test]
fn r57_who_is_no_admin_any_more_loses_what_only_admins_may_use() {
    for by in BOTH {
        let crowd = Crowd::gather("allow = [\"role:admin\"]", "admin");
        let ended = match by {
            By::Api => crowd.root_asks("PATCH /api/users/bob", &json!({"role": "user"})),
            By::CommandLine => crowd.commands(&["user", "set-role", "bob", "user"]),
        };
        let closed = all(&[Bob, Child, BobsOther, SignedIn], "no longer permitted");
        crowd.assert_closed(ended, 4401, &closed);
    }
}

#[test]
fn r46_a_token_that_is_given_an_end_closes_its_own_and_what_it_minted_when_that_comes() {
    for by in BOTH {
        let crowd = Crowd::gather("", "user");
        let id = crowd.bob.id.clone();
        // Soon, and not at once: its time comes with nothing else happening.
        let asked = match by {
            By::Api => crowd.root_asks(&format!("PATCH /api/tokens/{id}"), &json!({"expires_in": 1})),
            By::CommandLine => crowd.commands(&["token", "expire", &id, "--at", "1s"]),
        };
        let closed =
            [(Bob, "token expired"), (BobElsewhere, "token expired"), (Child, "the token's parent ended")];
        crowd.assert_closed(asked + Duration::from_secs(1), 4401, &closed);
    }
}

#[test]
fn r49_a_cut_by_the_api_closes_what_it_names_and_nothing_else() {
    each_cut_closes_what_it_names(By::Api);
}

#[test]
fn r49_a_cut_by_a_command_closes_what_it_names_and_nothing_else() {
    each_cut_closes_what_it_names(By::CommandLine);
}

fn each_cut_closes_what_it_names(by: By) {
    for (target, closed) in [
        ("user", &BOBS[..]),
        ("credential", &[Bob, BobElsewhere, Child]),
        ("route", &[Bob, Child, BobsOther, SignedIn, Eve, Nobody]),
        ("everything", &EVERYBODY),
    ] {
        let crowd = Crowd::gather("", "user");
        let target = match target {
            "user" => "user:bob".to_owned(),
            "credential" => format!("credential:{}", crowd.bob.id),
            "route" => "route:app".to_owned(),
            everything => everything.to_owned(),
        };
        let ended = match by {
            By::Api => crowd.root_asks("POST /api/cuts", &json!({"target": target, "reason": "stop it"})),
            By::CommandLine => crowd.commands(&["cut", &target, "--reason", "stop it"]),
        };
        crowd.assert_closed(ended, 4403, &all(closed, "cut: stop it"));
    }
}
