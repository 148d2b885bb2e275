//! What the config says of how long things last and how good a passphrase must be: the gate keeps to it, and so does the
//! command line on the same machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use fallgate_domain::clock::{Clock, SystemClock, Timestamp};
use fallgate_domain::lifetime::Lifetime;
use serde_json::{Value, json};

use crate::keys::with_a_past;
use crate::support::llmux::Llmux;
use crate::support::{Clerk, Client, Gate, Home, PASSPHRASE, SignIn, Token, wait_for};

const HOUR: i64 = 3_600_000;

/// Writes the config to where every command finds it.
fn usual_config(home: &Home, text: &str) -> PathBuf {
    let folder = home.beside().join(".config/fallgate");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fallgate.toml");
    fs::write(&file, text).unwrap();
    file
}

/// A gate with an admin `root` and a user `ada`, and a config that its command line reads too.
fn ruled(config: &str) -> Gate {
    let home = Home::new();
    home.admin("root");
    home.user("ada");
    usual_config(&home, config);
    Gate::on(home, config)
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

fn life(token: &Value) -> i64 {
    time(&token["expires_at"]).millis() - time(&token["created_at"]).millis()
}

fn status_of(home: &Home, secret: &str) -> String {
    let inspected = home.fallgate_with(&["token", "inspect", "--json"], secret).ok().json();
    inspected["status"].as_str().unwrap().to_owned()
}

#[test]
fn r33_no_token_gets_a_longer_life_than_the_config_allows_from_the_gate_or_the_command_line() {
    let gate = ruled("[tokens]\nmax_lifetime = \"12h\"\n");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let words = "token lasts at most 12h here";
    let mint = |body: Value| gate.ask("POST /api/tokens", &admin.header(), &body);

    for expires_in in [Value::Null, json!(13 * 3_600)] {
        let refused = mint(json!({"name": "long", "username": "ada", "expires_in": expires_in}));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    for more in [&["--expires", "never"][..], &["--expires", "90d"]] {
        let arguments = [&["token", "create", "--username", "ada"][..], more].concat();
        let refused = gate.fallgate(&arguments).refused(1);
        assert!(refused.contains(words), "{refused}");
    }
    // What nobody asked for is cut down, and what fits is given.
    let made = mint(json!({"name": "short", "username": "ada"}));
    assert_eq!((made.status, life(&made.json())), (201, 12 * HOUR), "{}", made.text());
    let made = gate.fallgate(&["token", "create", "--username", "ada", "--json"]).ok().json();
    assert_eq!(life(&made), 12 * HOUR);
    assert_eq!(life(&mint(json!({"name": "x", "username": "ada", "expires_in": 60})).json()), HOUR / 60);

    let id = made["id"].as_str().unwrap();
    for at in ["never", "13h"] {
        let refused = gate.fallgate(&["token", "expire", id, "--at", at]).refused(1);
        assert!(refused.contains(words), "{refused}");
    }
    let body = json!({"expires_in": 13 * 3_600});
    let refused = gate.ask(&format!("PATCH /api/tokens/{id}"), &admin.header(), &body);
    assert!(refused.status == 403 && refused.text().contains(words), "{}", refused.text());
    gate.fallgate(&["token", "expire", id, "--at", "11h"]).ok();
}

#[test]
fn nobody_has_more_tokens_that_stand_than_the_config_allows_whoever_mints_them() {
    let gate = ruled("[tokens]\nmax_per_user = 4\n");
    let words = "ada has 4 tokens, as many as one user may have (tokens.max_per_user): revoke";
    let admin = gate.token_with("root", &["--scope", "admin"]).header();
    let own = gate.token_with("ada", &["--scope", "tokens:write"]);
    let mint = |by: &str| gate.ask("POST /api/tokens", by, &json!({"name": "x", "username": "ada"}));
    let refused = |by: &str| {
        let refused = mint(by);
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    };
    let by_admin = mint(&admin);
    assert_eq!(by_admin.status, 201, "{}", by_admin.text());
    // What is minted by one's own token hangs on it.
    for _ in 0..2 {
        assert_eq!(mint(&own.header()).status, 201);
    }
    refused(&admin);
    refused(&own.header());
    let told = gate.fallgate(&["token", "create", "--username", "ada"]).refused(1);
    assert!(told.contains(words), "{told}");
    // Others have their own, and sign-ins are no tokens.
    gate.token("root");
    gate.sign_in("ada");
    // With the one that they hang on, three have ended; what has expired is none, too.
    gate.fallgate(&["token", "revoke", &own.id]).ok();
    let short = gate.token_with("ada", &["--expires", "1s"]);
    for _ in 0..2 {
        gate.token("ada");
    }
    wait_for("its end", || (status_of(&gate, &short.secret) == "expired").then_some(()));
    assert_eq!(mint(&admin).status, 201);
    refused(&admin);
}

#[test]
fn r33_a_token_is_good_before_its_end_and_refused_at_it() {
    let gate = Gate::start();
    gate.user("ada");
    // A whole second: what people write.
    let end = Timestamp::from_millis((SystemClock.now().millis() / 1_000 + 2) * 1_000);
    let token = gate.token_with("ada", &["--expires", &end.to_string()]);
    let (mut good, mut bad) = (0, 0);
    while bad < 20 {
        let asked = SystemClock.now();
        let status = Client::get(gate.address(), "/api/whoami", Some(&token)).status;
        let answered = SystemClock.now();
        if status == 200 {
            assert!(asked < end, "asked at {asked}, and let in, though it ended at {end}");
            good += 1;
        } else {
            assert_eq!(status, 401);
            assert!(answered >= end, "refused by {answered}, though it ended at {end}");
            bad += 1;
        }
    }
    assert!(good > 0, "it was never good");
    assert_eq!(status_of(&gate, &token.secret), "expired");
}

#[test]
fn a_passphrase_has_as_many_bytes_as_the_config_asks_for() {
    let twenty = "otter slate canyon 4";
    let nineteen = &twenty[..19];
    let words = "20 to 1024 bytes";
    let config = "[passphrases]\nmin_bytes = 20\n";
    let home = Home::new();
    usual_config(&home, config);
    let refused =
        home.fallgate_with(&["user", "create", "root", "--admin", "--passphrase-stdin"], nineteen).refused(1);
    assert!(refused.contains(words), "{refused}");
    let gate = Gate::on(home, config);
    let setup = fs::read_to_string(gate.path().join("setup-token")).unwrap();
    let body = json!({"setup_token": setup.trim_end(), "username": "root", "passphrase": nineteen});
    let refused = gate.ask("POST /api/setup", "", &body);
    assert!(refused.status == 400 && refused.text().contains(words), "{}", refused.text());

    gate.admin("root");
    gate.user("ada");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let login = gate.sign_in("ada");
    for (line, headers, body) in [
        ("POST /api/users", admin.header(), json!({"username": "bob", "passphrase": nineteen})),
        ("POST /api/users/ada/passphrase", admin.header(), json!({"passphrase": nineteen})),
        (
            "POST /api/account/passphrase",
            login.sent_by_page(),
            json!({"current": PASSPHRASE, "new": nineteen}),
        ),
    ] {
        let refused = gate.ask(line, &headers, &body);
        assert!(refused.status == 400 && refused.text().contains(words), "{line}: {}", refused.text());
    }
    let reset = ["user", "reset-passphrase", "ada", "--passphrase-stdin"];
    let refused = gate.fallgate_with(&reset, nineteen).refused(1);
    assert!(refused.contains(words), "{refused}");
    gate.fallgate_with(&reset, twenty).ok();
    assert_eq!(gate.try_sign_in("ada", twenty).status, 200);

    // What was set under another rule is still good.
    let gate = Gate::on(gate.kill(), "[passphrases]\nmin_bytes = 100\n");
    assert_eq!(gate.try_sign_in("ada", twenty).status, 200);
}

#[test]
fn a_sign_in_lasts_as_long_as_the_config_says_however_much_it_is_used() {
    let gate = ruled("[logins]\nlife = \"3s\"\n");
    let answer = gate.try_sign_in("ada", PASSPHRASE);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("; Max-Age=3;"), "{cookie}");
    let login = SignIn::of(&answer);
    let end = time(&answer.json()["credential"]["expires_at"]);
    let refused = wait_for("the end of the sign-in", || {
        let answer = gate.ask("GET /api/whoami", &login.cookie(), &Value::Null);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 401);
    assert!(SystemClock.now() >= end);
}

#[test]
fn a_sign_in_that_is_not_used_for_as_long_as_the_config_says_ends_and_one_in_use_stays() {
    let gate = ruled("[logins]\nidle = \"4s\"\n");
    let (left, used) = (gate.sign_in("ada"), gate.sign_in("ada"));
    let me = |login: &SignIn| gate.ask("GET /api/whoami", &login.cookie(), &Value::Null).status;
    wait_for("the end of the one that is not used", || {
        let listed = gate.ask("GET /api/logins", &used.cookie(), &Value::Null).json();
        (!listed["logins"].as_array().unwrap().iter().any(|login| login["id"] == *left.id)).then_some(())
    });
    assert_eq!((me(&left), me(&used)), (401, 200));
}

#[test]
fn r34_after_how_many_days_unused_tokens_end_the_config_says_and_nought_is_never() {
    let home = Home::new();
    home.user("ada");
    let long_ago = Clerk::days_ago(&home, 500);
    let unused = long_ago.mint_for("ada", Lifetime::Never);
    // The gate takes this one away in the same round.
    let ended = long_ago.mint_for("ada", Lifetime::For(Duration::from_hours(24)));
    let lately = Clerk::days_ago(&home, 31).mint_for("ada", Lifetime::Never);
    drop(long_ago);
    let gate = Gate::on(home, "[tokens]\nunused_days = 0\n");
    first_round(&gate, &ended);
    assert_eq!((status_of(&gate, &unused.secret), status_of(&gate, &lately.secret)), both("active"));
    let gate = Gate::on(gate.kill(), "[tokens]\nunused_days = 30\n");
    wait_for("the end of both", || {
        let now = (status_of(&gate, &unused.secret), status_of(&gate, &lately.secret));
        (now == both("revoked")).then_some(())
    });
    assert!(gate.log().contains("unused for 30 days"), "{}", gate.log());
}

#[test]
fn how_long_audit_events_are_kept_the_config_says() {
    let home = Home::new();
    home.user("ada");
    with_a_past(&home, 50);
    let ended = Clerk::days_ago(&home, 60).mint_for("ada", Lifetime::For(Duration::from_hours(24)));
    let gate = Gate::on(home, "[audit]\nkeep = \"forever\"\n");
    first_round(&gate, &ended);
    let verified = |home: &Home| home.fallgate(&["audit", "verify"]).ok().stdout;
    assert!(!verified(&gate).contains("checkpoint"), "{}", verified(&gate));
    let gate = Gate::on(gate.kill(), "[audit]\nkeep = \"30d\"\n");
    wait_for("the deletion", || verified(&gate).contains("since the checkpoint of 20").then_some(()));
    // The mint was 60 days ago.
    let listed = gate.fallgate(&["audit", "list", "--json"]).ok().stdout;
    assert!(!listed.contains("token.mint") && listed.contains("store.sweep"), "{listed}");
}

/// Waits until the gate has kept house once: it takes away what ended long ago last.
fn first_round(gate: &Gate, ended: &Token) {
    wait_for("the gate's first round", || {
        let listed = gate.fallgate(&["token", "list", "--all", "--json"]).ok().stdout;
        (!listed.contains(&ended.id)).then_some(())
    });
}

fn both(status: &str) -> (String, String) {
    (status.to_owned(), status.to_owned())
}

#[test]
fn under_a_broken_config_nothing_is_made_that_it_has_a_say_in_and_all_can_be_taken_away() {
    let home = Home::new();
    home.admin("root");
    let (ended, kept) = (home.token("ada"), home.token("ada"));
    Llmux::peopled(&home);
    let file = usual_config(&home, "[tokens]\nmax_lifetime = \"soon\"\n");
    let where_and_why = format!("{}:2: ", file.display());
    for (words, stdin) in [
        (&["token", "create", "--username", "ada"][..], ""),
        (&["token", "expire", &kept.id, "--at", "1d"], ""),
        (&["user", "create", "bob", "--passphrase-stdin"], PASSPHRASE),
        (&["user", "reset-passphrase", "ada", "--passphrase-stdin"], PASSPHRASE),
        (&["import", "llmux"], ""),
        (&["serve", "--listen", "127.0.0.1:0"], ""),
    ] {
        let refused = home.fallgate_with(words, stdin).refused(1);
        assert!(refused.starts_with(&where_and_why), "{words:?}: {refused}");
        assert!(refused.contains("90d"), "{words:?}: {refused}");
    }
    for (words, stdin) in [
        (&["token", "list"][..], ""),
        (&["token", "inspect"], kept.secret.as_str()),
        (&["token", "rename", &kept.id, "kept"], ""),
        (&["token", "revoke", &ended.id], ""),
        (&["token", "revoke", "--all", "--user", "root", "--yes"], ""),
        (&["user", "list"], ""),
        (&["user", "disable", "ada"], ""),
        (&["user", "set-role", "ada", "user"], ""),
        (&["audit", "list"], ""),
        (&["audit", "verify"], ""),
        (&["internal-token", "rotate"], ""),
        (&["key", "rotate-signing", "--now"], ""),
        (&["store", "sweep"], ""),
    ] {
        home.fallgate_with(words, stdin).ok();
    }
    assert_eq!(
        (status_of(&home, &ended.secret), home.usernames()),
        ("revoked".into(), vec!["ada".into(), "root".into()])
    );
}
