//! Users and tokens from the command line: what is printed where, and which exit code says what.

use std::fs::OpenOptions;
use std::process::Stdio;

use fallgate_domain::clock::Timestamp;
use serde_json::Value;

use crate::support::{Home, Run};

const TOKEN_KEYS: [&str; 11] = [
    "created_at",
    "expires_at",
    "hint",
    "id",
    "kind",
    "last_used_at",
    "last_used_ip",
    "name",
    "scopes",
    "status",
    "username",
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn is_secret(text: &str) -> bool {
    text.len() == 53 && text.starts_with("fgt_") && text[4..].bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[test]
fn a_command_that_makes_no_sense_is_exit_code_2() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["token"],
        &["nonsense"],
        &["token", "revoke"],
        &["token", "create"],
        &["token", "create", "--username", "Ada!"],
        &["token", "create", "--username", "ada", "--expires", "soon"],
        &["token", "create", "--username", "ada", "--scope", "everything"],
        &["user", "create", "Ada Lovelace", "--passphrase-stdin"],
        &["user", "create", "ada", "--passphrase", "secret"],
        &["user", "set-role", "ada", "owner"],
        &["user", "delete", "ada"],
        &["token", "revoke", "--all"],
        &["token", "revoke", "--all", "--stdin", "--yes"],
        &["token", "revoke", "--all", "--yes", "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"],
        &["token", "revoke", "--user", "ada", "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"],
        &["token", "expire", "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b"],
        &["token", "rename", "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b", " "],
        &["token", "rename", "x", "y"],
        &["user", "reset-passphrase", "ada"],
    ] {
        let run = home.fallgate(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
    assert!(!home.path().exists());
}

#[test]
fn the_version_is_told_as_the_api_tells_it() {
    let home = Home::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(home.fallgate(&["version"]).ok().stdout, format!("fallgate {version}\n"));
    assert_eq!(home.fallgate(&["version", "--json"]).ok().json(), serde_json::json!({ "version": version }));
}

#[test]
fn users_are_made_and_listed() {
    let home = Home::new();
    let words =
        ["user", "create", "ada", "--admin", "--display-name", " Ada L. ", "--passphrase-stdin", "--json"];
    let made = home.fallgate_with(&words, "otter slate canyon vivid 41\nnot this").ok();
    assert!(made.stderr.starts_with("Made the admin ada in "), "{}", made.stderr);
    assert_eq!(made.json()["display_name"], "Ada L.");
    home.user("bob");
    let listed = home.fallgate(&["user", "list", "--json"]).ok().json();
    let users = listed["users"].as_array().unwrap();
    assert_eq!(users.len(), 2);
    assert_eq!(users[0], made.json());
    assert_eq!(keys(&users[1]), ["created_at", "disabled_at", "display_name", "role", "username"]);
    assert_eq!((users[1]["role"].as_str(), users[1]["disabled_at"].is_null()), (Some("user"), true));
    let table = home.fallgate(&["user", "list"]).ok().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["USERNAME", "NAME", "ROLE", "CREATED", "DISABLED"]);
    assert_eq!((lines[2][0], lines[2][2], lines[2][4]), ("bob", "user", "no"));
}

#[test]
fn a_user_is_not_made_without_a_good_passphrase() {
    let home = Home::new();
    let create = ["user", "create", "ada", "--passphrase-stdin"];
    for (passphrase, words) in [
        (&b""[..], "no passphrase on stdin"),
        (b"short", "12 to 1024 bytes"),
        (b"passwordpassword", "too easy to guess"),
        (b"adaadaadaada", "too easy to guess"),
        (b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc\n", "not UTF-8"),
        (&[b'x'; 10_000], "12 to 1024 bytes"),
    ] {
        let refused = home.fallgate_with(&create, passphrase).refused(1);
        assert!(refused.contains(words), "{refused}");
    }
    let refused = home.fallgate(&["user", "create", "ada"]).refused(2);
    assert!(refused.contains("no terminal") && refused.contains("--passphrase-stdin"), "{refused}");
    assert!(home.usernames().is_empty());
}

#[test]
fn a_username_is_taken_once() {
    let home = Home::new();
    home.user("ada");
    let again = home.fallgate_with(&["user", "create", "ada", "--passphrase-stdin"], "");
    assert!(again.refused(1).starts_with("there is a user ada already"));
}

#[test]
fn a_new_tokens_secret_stands_alone_on_stdout() {
    let home = Home::new();
    home.user("ada");
    let made = home.fallgate(&["token", "create", "--username", "ada"]).ok();
    let secret = made.stdout.strip_suffix('\n').unwrap();
    assert!(is_secret(secret), "{secret}");
    assert!(!made.stderr.contains(secret));
    let listed = home.fallgate(&["token", "list", "--json"]).ok();
    assert!(!listed.stdout.contains(secret));
    let id = listed.json()["tokens"][0]["id"].as_str().unwrap().to_owned();
    assert!(made.stderr.contains(&id), "{}", made.stderr);
}

#[test]
fn a_new_token_as_json_is_what_the_api_answers() {
    let home = Home::new();
    home.user("ada");
    let words = [
        "token",
        "create",
        "--username",
        "ada",
        "--name",
        "ci",
        "--scope",
        "tokens:write",
        "--expires",
        "never",
        "--json",
    ];
    let mut made = home.fallgate(&words).ok().json();
    let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(is_secret(secret.as_str().unwrap()));
    assert_eq!(keys(&made), TOKEN_KEYS);
    assert_eq!(made["hint"].as_str().unwrap(), &secret.as_str().unwrap()[..8]);
    assert_eq!((made["name"].as_str(), made["status"].as_str()), (Some("ci"), Some("active")));
    assert_eq!(made["scopes"], serde_json::json!(["tokens:write"]));
    assert!(made["expires_at"].is_null());
    assert_eq!(home.fallgate(&["token", "list", "--json"]).ok().json()["tokens"][0], made);
}

#[test]
fn r33_a_token_ends_after_90_days_unless_something_else_is_asked_for() {
    let home = Home::new();
    home.user("ada");
    let mint = |more: &[&str]| {
        let mut words = vec!["token", "create", "--username", "ada", "--json"];
        words.extend(more);
        home.fallgate(&words).ok().json()
    };
    let hours = |made: &Value| {
        let time = |key: &str| Timestamp::parse(made[key].as_str().unwrap()).unwrap();
        time("expires_at").since(time("created_at")).as_secs() / 3_600
    };
    assert_eq!(hours(&mint(&[])), 90 * 24);
    assert_eq!(hours(&mint(&["--expires", "12h"])), 12);
    assert!(mint(&["--expires", "never"])["expires_at"].is_null());
    assert_eq!(mint(&["--expires", "2099-12-31T23:59:59+01:00"])["expires_at"], "2099-12-31T22:59:59Z");
}

#[test]
fn a_token_that_may_not_be_is_refused_with_the_reason() {
    let home = Home::new();
    home.user("ada");
    for (more, words) in [
        (&["--username", "eve"][..], "there is no user eve"),
        (
            &["--username", "ada", "--scope", "admin"],
            "the scope admin is more than the role of its owner allows",
        ),
        (&["--username", "ada", "--expires", "2001-01-01T00:00:00Z"], "must lie in the future"),
    ] {
        let mut arguments = vec!["token", "create"];
        arguments.extend(more);
        let refused = home.fallgate(&arguments).refused(1);
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(home.fallgate(&["token", "list", "--json"]).ok().json()["tokens"], serde_json::json!([]));
}

#[test]
fn a_secret_that_could_not_be_printed_is_a_failure_that_says_how_to_end_the_token() {
    let home = Home::new();
    home.user("ada");
    let mut command = home.command(&["token", "create", "--username", "ada"]);
    command.stdout(Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap()));
    let refused = Run::of(command, b"").refused(1);
    let listed = home.fallgate(&["token", "list", "--json"]).ok().json();
    let id = listed["tokens"][0]["id"].as_str().unwrap();
    assert!(refused.contains(&format!("fallgate token revoke {id}")), "{refused}");
}

#[test]
fn tokens_are_listed_by_user_and_with_ended_ones_only_when_asked() {
    let home = Home::new();
    let (ada, bob) = (home.token("ada"), home.token("bob"));
    let ended = home.token("ada");
    home.fallgate(&["token", "revoke", &ended.id]).ok();
    let ids = |more: &[&str]| {
        let mut arguments = vec!["token", "list", "--json"];
        arguments.extend(more);
        let listed = home.fallgate(&arguments).ok().json();
        let tokens = listed["tokens"].as_array().unwrap().clone();
        assert!(tokens.iter().all(|token| keys(token) == TOKEN_KEYS), "{tokens:?}");
        tokens.iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [&*ada.id, &*bob.id]);
    assert_eq!(ids(&["--user", "bob"]), [&*bob.id]);
    assert_eq!(ids(&["--user", "ada", "--all"]), [&*ada.id, &*ended.id]);
    assert!(home.fallgate(&["token", "list", "--user", "eve"]).refused(1).contains("there is no user eve"));

    let table = home.fallgate(&["token", "list"]).ok().stdout;
    let heading: Vec<&str> =
        table.lines().next().unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
    let heading: Vec<&str> = heading.iter().map(|cell| cell.trim()).collect();
    assert_eq!(heading, ["ID", "USER", "NAME", "KIND", "SCOPES", "CREATED", "EXPIRES", "LAST USED"]);
    assert_eq!(table.lines().count(), 3);
    let all = home.fallgate(&["token", "list", "--all"]).ok().stdout;
    let row = all.lines().find(|line| line.starts_with(&ended.id)).unwrap();
    assert!(row.ends_with("revoked"), "{row}");
}

#[test]
fn empty_lists_say_how_to_get_the_first_one_and_print_no_data() {
    let home = Home::new();
    home.user("ada");
    let listed = home.fallgate(&["token", "list"]).ok();
    assert_eq!(listed.stdout, "");
    let wanted = format!("fallgate token create --username NAME --home {}", home.path().display());
    assert!(listed.stderr.contains(&wanted), "{}", listed.stderr);
}

#[test]
fn several_tokens_are_revoked_at_once_and_those_that_fail_are_named() {
    let home = Home::new();
    let (one, two) = (home.token("ada"), home.token("ada"));
    let unknown = "0193a5b2-7c1d-7e3f-8a9b-0c1d2e3f4a5b";
    let late = "2999-01-01T00:00:00Z";
    // What is no token's is a worker token's, whose end can only be taken for later than any.
    let soon = ["--expires-at", "2001-01-01T00:00:00Z"];
    let run = home.fallgate(&[&["token", "revoke", &one.id, unknown, &two.id][..], &soon].concat());
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("{} revoked\n", one.id)), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("{} revoked\n", two.id)), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("error: {unknown} is not revoked: ")), "{}", run.stderr);
    let taken = home.fallgate(&["token", "revoke", unknown, "--expires-at", late]).ok();
    assert!(taken.stderr.contains(&format!("{unknown} revoked\n")), "{}", taken.stderr);
    let again = home.fallgate(&["token", "revoke", &one.id]).ok();
    assert_eq!(again.stderr, format!("{} was revoked before\n", one.id));
}

#[test]
fn what_is_no_id_is_exit_code_2_and_nothing_is_revoked() {
    let home = Home::new();
    let token = home.token("ada");
    let refused = home.fallgate(&["token", "revoke", &token.id, "xyz"]).refused(2);
    assert!(refused.starts_with("\"xyz\" is not an id"), "{refused}");
    let refused = home.fallgate(&["token", "revoke", &token.secret]).refused(2);
    assert!(refused.contains("secret, not its id") && !refused.contains(&token.secret), "{refused}");
    assert_eq!(
        home.fallgate(&["token", "list", "--json"]).ok().json()["tokens"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_mistyped_home_is_not_made_by_looking_at_it() {
    let home = Home::new();
    for arguments in [&["token", "list"][..], &["user", "list"], &["token", "create", "--username", "ada"]] {
        let refused = home.fallgate(arguments).refused(1);
        assert!(
            refused.contains("there is no ") && refused.contains("fallgate user create NAME --admin"),
            "{refused}"
        );
    }
    assert!(!home.path().exists());
}
