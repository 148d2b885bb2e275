//! Minting and ending worker tokens by the command line: what is taken, and what is refused in which words.

use rusqlite::{Connection, OpenFlags};

use super::{claims, gate, whoami};
use crate::support::{Gate, Home, Run, Token, Upstream, wait_for};

/// A worker token by the command line.
#[track_caller]
fn token_of(minted: &Run) -> Token {
    let token = Token { id: String::new(), secret: minted.stdout.trim_end().to_owned() };
    Token { id: claims(&token)["jti"].as_str().unwrap().to_owned(), ..token }
}

/// Until when each end of a worker token is remembered, in milliseconds.
fn remembered(home: &Home) -> Vec<i64> {
    let path = home.path().join("fallgate.db");
    let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = store.prepare("SELECT until FROM revoked_worker ORDER BY until").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn r40_a_life_that_no_worker_token_has_is_a_usage_error() {
    let home = Gate::start();
    home.user("ada");
    let mint = |ttl: &str| home.fallgate(&["agent", "token", "ada", "--ttl", ttl]);
    for ttl in ["0", "0s", "-1h", "-1", "7d1s", "8d", "1000000000d", "never", "soon", "1.5h", "2", "", " "] {
        let refused = mint(ttl);
        let said = refused.stderr.lines().next().unwrap();
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{ttl:?}: {said}");
        assert!(said.contains("--ttl") && said.contains("from 1s to 7d"), "{ttl:?}: {said}");
    }
    for (ttl, seconds) in [("7d", 7 * 86_400), ("1s", 1), ("90m", 5_400)] {
        let said = claims(&token_of(&mint(ttl).ok()));
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), seconds, "{ttl}");
    }
    let trail = home.fallgate(&["audit", "list", "--action", "token.mint", "--json"]).ok().json();
    let events = trail["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "what is refused is not minted");
    assert_eq!(
        (&events[0]["detail"]["agent"], &events[0]["detail"]["kind"]),
        (&"ada".into(), &"worker".into())
    );
}

#[test]
fn what_is_no_id_is_not_revoked_and_what_nobody_has_seen_is() {
    let home = Gate::start();
    home.user("ada");
    let token = token_of(&home.fallgate(&["agent", "token", "ada"]).ok());
    let revoke = |words: &[&str]| home.fallgate(&[&["token", "revoke"], words].concat());
    let truncated = &token.id[..35];
    for (bad, words) in [
        ("", "fallgate token list"),
        (" ", "fallgate token list"),
        ("x", "fallgate token list"),
        (truncated, "fallgate token list"),
        (&format!("{{{}}}", token.id), "fallgate token list"),
        (&token.id.replace('-', ""), "fallgate token list"),
        (&token.secret, "that is a token's secret, not its id"),
    ] {
        let refused = revoke(&[bad]).refused(2);
        assert!(refused.contains(words) && !refused.contains(&token.secret), "{bad:?}: {refused}");
        // One among good ones: nothing is done at all.
        revoke(&[&token.id, bad]).refused(2);
    }
    assert_eq!(remembered(&home), [0; 0]);
    for end in ["", "tomorrow", "2999-01-01", "32503680000"] {
        let refused = revoke(&[&token.id, "--expires-at", end]);
        let said = refused.stderr.lines().next().unwrap();
        assert!(refused.code == Some(2) && said.contains("--expires-at"), "{end:?}: {said}");
    }
    assert_eq!(revoke(&[&token.id, "--force"]).code, Some(2), "until when is not said");
    let unknown = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    assert!(revoke(&[unknown]).ok().stderr.contains("revoked"), "it may be another node's");
    assert_eq!(remembered(&home).len(), 1);
}

#[test]
fn r42_of_two_ends_of_one_token_the_later_is_remembered() {
    let home = Gate::start();
    home.user("ada");
    let token = token_of(&home.fallgate(&["agent", "token", "ada"]).ok());
    let revoke =
        |words: &[&str]| home.fallgate(&[&["token", "revoke", &token.id], words].concat()).ok().stderr;
    let week = 7 * 86_400_000 + 300_000;
    let before = remembered(&home);
    assert_eq!(before, [0; 0]);
    revoke(&[]);
    let first = remembered(&home);
    let minted = claims(&token)["iat"].as_i64().unwrap() * 1_000;
    assert!(first.len() == 1 && first[0] >= minted + week, "{first:?}");
    let late = ["--expires-at", "2099-01-01T00:00:00Z"];
    assert!(revoke(&late).contains("revoked before"));
    let second = remembered(&home);
    assert!(second.len() == 1 && second[0] > first[0], "{second:?}");
    let ends =
        fallgate_domain::clock::Timestamp::from_millis(claims(&token)["exp"].as_i64().unwrap() * 1_000);
    let warned = revoke(&["--expires-at", &ends.to_string(), "--force"]);
    assert!(warned.contains("warning") && warned.contains("renewed"), "{warned}");
    revoke(&[]);
    assert_eq!(remembered(&home), second, "an earlier one changes nothing");
}

#[test]
fn r42_ends_whose_time_is_over_are_swept_by_hand_and_by_the_daemon_itself() {
    let upstream = Upstream::echo();
    let gate = gate(&upstream);
    gate.user("ada");
    let dead_soon = |gate: &Home| {
        let token = token_of(&gate.fallgate(&["agent", "token", "ada", "--ttl", "1s"]).ok());
        let ends = claims(&token)["exp"].as_i64().unwrap() * 1_000;
        let time = fallgate_domain::clock::Timestamp::from_millis(ends + 1_000).to_string();
        gate.fallgate(&["token", "revoke", &token.id, "--expires-at", &time, "--force"]).ok();
        token
    };
    let long = token_of(&gate.fallgate(&["agent", "token", "ada", "--ttl", "7d"]).ok());
    gate.revoke_worker(&long);
    let short = dead_soon(&gate);
    wait_for("a sweep of what is over", || {
        let swept = gate.fallgate(&["store", "sweep"]).ok().stderr;
        assert!(swept.contains("0 ends of") || swept.contains("1 end of worker tokens"), "{swept}");
        swept.contains("1 end of worker tokens").then_some(())
    });
    assert_eq!(remembered(&gate).len(), 1, "the other is remembered");
    assert_eq!((whoami(&gate, &short).status, whoami(&gate, &long).status), (401, 401));

    // Dead while nobody served: the daemon's first round finds it.
    let home = gate.kill();
    dead_soon(&home);
    assert_eq!(remembered(&home).len(), 2);
    let time = remembered(&home)[0];
    wait_for("its time", || {
        (fallgate_domain::clock::Clock::now(&fallgate_domain::clock::SystemClock).millis() > time)
            .then_some(())
    });
    let again = Gate::on(home, "");
    wait_for("the daemon's own sweep", || (remembered(&again).len() == 1).then_some(()));
    wait_for("its word", || again.log().contains("forgot the ends of worker tokens").then_some(()));
    assert_eq!(whoami(&again, &long).status, 401);
}
