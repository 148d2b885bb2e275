//! Leaving llmux: its users and tokens come along, and nothing of what is wrong with its files does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fallgate_domain::hex;
use fallgate_domain::internal::InternalToken;
use fallgate_domain::legacy::LegacyToken;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::llmux::{
    LLMUX_PASSPHRASE, Llmux, MADE, SCRYPT, anonymous_entry, anonymous_token, bound_entry, bound_token, user,
};
use crate::support::{Client, Gate, Home, Response, Upstream};

fn ask(gate: &Gate, path: &str, secret: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n");
    Client::exchange(gate.address(), request)
}

/// Puts something at this path.
type Spoil = fn(&PathBuf);

/// Every file of a folder, by name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// All that a home has to show.
fn shown(home: &Home) -> [String; 3] {
    [&["user", "list"][..], &["token", "list", "--all"], &["audit", "list"]]
        .map(|words| home.fallgate(&[words, &["--json"]].concat()).ok().stdout)
}

fn tokens(home: &Home) -> Vec<Value> {
    let listed = home.fallgate(&["token", "list", "--all", "--json"]).ok().json();
    listed["tokens"].as_array().unwrap().clone()
}

fn outcomes(report: &Value) -> Vec<String> {
    let items = report["items"].as_array().unwrap().iter();
    items
        .map(|item| format!("{} {} {}", item["type"], item["name"], item["outcome"]).replace('"', ""))
        .collect()
}

/// A gate with a route for users, and one for anonymous tokens too.
fn gate_on(home: Home, upstream: &Upstream) -> Gate {
    let url = upstream.url();
    let config = format!(
        "[[route]]\nname = \"app\"\npath = \"/app\"\nupstream = {url:?}\n\
         [[route]]\nname = \"old\"\npath = \"/old\"\nupstream = {url:?}\n\
         allow = [\"role:admin\", \"role:user\", \"kind:legacy\"]\n"
    );
    Gate::on(home, &config)
}

#[test]
fn a_whole_installation_moves_in_and_a_second_time_nothing_changes() {
    let home = Home::new();
    let (llmux, bound, anonymous) = Llmux::peopled(&home);
    let before = llmux.folders().map(contents);
    let run = home.import_llmux(&["--json"]).ok();
    assert_eq!(
        outcomes(&run.json()),
        ["user ada taken", "user bob taken", "token laptop taken", "legacy phone taken"]
    );
    assert_eq!(run.json()["taken"], json!({"users": 2, "tokens": 1, "legacy_tokens": 1}));
    let allow = r#"allow = ["role:admin", "role:user", "kind:legacy"]"#;
    assert_eq!(run.json()["allow"], allow);
    assert!(run.stderr.contains(allow), "{}", run.stderr);

    let users = home.fallgate(&["user", "list", "--json"]).json();
    let ada = &users["users"][0];
    assert_eq!((&ada["username"], &ada["role"]), (&json!("ada"), &json!("admin")));
    assert_eq!((&ada["display_name"], &ada["created_at"]), (&json!("ADA"), &json!(MADE)));
    assert_eq!(users["users"][1]["role"], "user");
    let listed = tokens(&home);
    let of = |kind: &str| listed.iter().find(|token| token["kind"] == kind).unwrap().clone();
    let (token, legacy) = (of("token"), of("legacy"));
    assert_eq!((&token["username"], &token["hint"]), (&json!("ada"), &json!("sas_0123")));
    assert_eq!((&legacy["username"], &legacy["hint"]), (&json!(null), &json!("sas_")));
    assert_eq!((&legacy["name"], &legacy["created_at"]), (&json!("phone"), &json!(MADE)));
    assert_eq!(legacy["scopes"], json!(["routes:use", "sessions:read", "sessions:attach", "sessions:write"]));

    let upstream = Upstream::echo();
    let gate = gate_on(home, &upstream);
    let who = ask(&gate, "/api/whoami", &bound).json();
    assert_eq!((&who["username"], &who["role"]), (&json!("ada"), &json!("admin")));
    let who = ask(&gate, "/api/whoami", &anonymous).json();
    assert_eq!((&who["username"], &who["role"]), (&json!(null), &json!("legacy")));
    assert_eq!(ask(&gate, "/app/x", &bound).status, 200);
    assert_eq!(ask(&gate, "/app/x", &anonymous).status, 403, "no route lets them in that does not name them");
    assert_eq!(ask(&gate, "/old/x", &anonymous).status, 200);
    let basic = STANDARD.encode(format!("whoever:{anonymous}"));
    let basic = format!("GET /old/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n\r\n");
    assert_eq!(Client::exchange(gate.address(), basic).status, 200);
    for path in ["/api/tokens", "/api/users", "/api/audit"] {
        assert_eq!(ask(&gate, path, &anonymous).status, 403, "{path}");
    }
    let listed = gate.fallgate(&["token", "list"]).ok().stdout;
    let line = listed.lines().find(|line| line.contains(" legacy ")).unwrap();
    assert!(line.contains("  —  "), "{line}");

    let home = gate.kill();
    let unchanged = shown(&home);
    for dry in [&["--json", "--dry-run"][..], &["--json"]] {
        let again = home.import_llmux(dry).ok().json();
        assert_eq!(again["taken"], json!({"users": 0, "tokens": 0, "legacy_tokens": 0}));
        assert!(outcomes(&again).iter().all(|outcome| outcome.ends_with(" before")), "{again}");
        assert_eq!(shown(&home), unchanged);
    }
    assert_eq!(llmux.folders().map(contents), before, "the source was touched");
    home.fallgate(&["audit", "verify"]).ok();
    let event = home.fallgate(&["audit", "list", "--action", "import.llmux", "--json"]).json();
    let detail = &event["events"][0]["detail"];
    assert_eq!(*detail, json!({"users": 2, "tokens": 1, "legacy_tokens": 1}));
}

#[test]
fn a_passphrase_of_llmux_works_and_is_kept_as_our_own_from_its_first_use_on() {
    let home = Home::new();
    Llmux::peopled(&home);
    home.import_llmux(&[]).ok();
    let mut gate = Gate::on(home, "");
    for (username, passphrase) in [("ada", "otter slate canyo"), ("bob", ""), ("eve", LLMUX_PASSPHRASE)] {
        assert_eq!(gate.try_sign_in(username, passphrase).status, 401, "{username}");
    }
    let is_kept = |home: &Home, form: &str| {
        let files = contents(&home.path());
        files.values().any(|bytes| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
    };
    assert!(is_kept(&gate, SCRYPT) && !is_kept(&gate, "$argon2id$"));
    let answer = gate.try_sign_in("ada", LLMUX_PASSPHRASE);
    assert_eq!((answer.status, &answer.json()["role"]), (200, &json!("admin")), "{}", answer.text());
    assert!(is_kept(&gate, "$argon2id$"));
    // A second import brings no old hash back.
    for _ in 0..2 {
        gate.import_llmux(&[]).ok();
        assert_eq!(gate.try_sign_in("ada", LLMUX_PASSPHRASE).status, 200);
        gate = Gate::on(gate.kill(), "");
    }
    assert_eq!(gate.try_sign_in("ada", "otter slate canyo").status, 401);
    assert_eq!(gate.try_sign_in("bob", LLMUX_PASSPHRASE).status, 200);
}

#[test]
fn a_running_gate_lets_in_what_is_taken_at_once() {
    let upstream = Upstream::echo();
    let gate = gate_on(Home::new(), &upstream);
    let (_, bound, anonymous) = Llmux::peopled(&gate);
    for secret in [&bound, &anonymous] {
        assert_eq!(ask(&gate, "/old/x", secret).status, 401);
    }
    gate.import_llmux(&["--dry-run"]).ok();
    for secret in [&bound, &anonymous] {
        assert_eq!(ask(&gate, "/old/x", secret).status, 401, "a dry run let somebody in");
    }
    gate.import_llmux(&[]).ok();
    for secret in [&bound, &anonymous] {
        assert_eq!(ask(&gate, "/old/x", secret).status, 200);
    }
}

#[test]
fn tokens_in_plain_text_of_the_first_version_are_hashed_and_known_by_their_first_characters() {
    let home = Home::new();
    let llmux = Llmux::beside(&home);
    let secret = anonymous_token('P');
    let entry = |text: &str| json!({"token": text, "createdAt": 1_704_164_645_678_u64});
    llmux
        .write("auth.json", &json!({"version": 1, "tokens": [entry(&secret), entry("a b"), entry("sas_x")]}));
    let run = home.import_llmux(&["--json"]).ok();
    assert_eq!(outcomes(&run.json()), ["legacy llmux taken", "legacy llmux skipped", "legacy llmux skipped"]);
    assert!(!(run.stdout + &run.stderr).contains(&secret[4..]));
    let listed = tokens(&home);
    assert_eq!((&listed[0]["hint"], &listed[0]["created_at"]), (&json!("sas_PPPP"), &json!(MADE)));
    let gate = Gate::on(home, "");
    assert_eq!(ask(&gate, "/api/whoami", &secret).status, 200);
    let database = contents(&gate.path());
    let held = |bytes: &Vec<u8>| bytes.windows(16).any(|window| window == &secret.as_bytes()[8..24]);
    assert!(!database.values().any(held), "the text was kept");
}

#[test]
fn what_cannot_come_along_is_told_with_the_reason() {
    let home = Home::new();
    home.user("bob");
    let llmux = Llmux::beside(&home);
    let (bound, stray) = (bound_token('s'), bound_token('t'));
    let mut costly = user("costly", false);
    costly["passphraseHash"] = json!(SCRYPT.replace("$1024$", "$2097152$"));
    let mut named = user("eve", false);
    named["name"] = json!("\u{7}  \n");
    llmux.write(
        "users.json",
        &json!([
            user("ada", true),
            user("bob", true),
            user("Bad\u{7} Name", true),
            costly,
            user("ada", false),
            named
        ]),
    );
    llmux.write(
        "tokens.json",
        &json!([
            bound_entry(&bound, "ada"),
            bound_entry(&stray, "bob"),
            bound_entry(&stray, "nobody"),
            bound_entry(&bound, "ada")
        ]),
    );
    let mut expired = anonymous_entry(&anonymous_token('X'));
    expired["expiresAt"] = json!("2025-01-01T00:00:00Z");
    let mut lasting = anonymous_entry(&anonymous_token('Y'));
    lasting["expiresAt"] = json!("9000-01-01T00:00:00Z");
    lasting["name"] = json!("x\u{1b}".repeat(100));
    llmux.write("auth.json", &json!({"version": 2, "tokens": [expired, lasting]}));
    let run = home.import_llmux(&["--json"]).ok();
    let report = run.json();
    let items = report["items"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            let text = |key: &str| item[key].as_str().unwrap_or("-").to_owned();
            [text("type"), text("name"), text("outcome"), text("reason")].join("|")
        })
        .collect();
    let x = "x".repeat(80);
    let wanted = [
        "user|ada|taken|-".to_owned(),
        "user|bob|skipped|there is another user of that name here".to_owned(),
        "user|eve|taken|-".to_owned(),
        "token|laptop|taken|-".to_owned(),
        "token|laptop|skipped|its owner is not taken".to_owned(),
        format!("legacy|{x}|taken|-"),
        "user|Bad Name|skipped|a username has 1 to 32 of the characters a-z, 0-9, _ and -".to_owned(),
        "user|costly|skipped|its scrypt cost is not a power of two from 2 to 2^17".to_owned(),
        "user|ada|skipped|it stands in users.json twice".to_owned(),
        "token|laptop|skipped|its owner is not taken".to_owned(),
        "token|laptop|skipped|it is there twice".to_owned(),
        "legacy|phone|skipped|it expired at 2025-01-01T00:00:00Z".to_owned(),
    ];
    assert_eq!(told, wanted);
    let users = home.fallgate(&["user", "list", "--json"]).json();
    let roles: Vec<_> = users["users"].as_array().unwrap().iter().map(|user| &user["role"]).collect();
    assert_eq!(roles, ["admin", "user", "user"], "ours stays as it is");
    assert_eq!(users["users"][2]["display_name"], "eve");
    let listed = tokens(&home);
    let legacy = listed.iter().find(|token| token["kind"] == "legacy").unwrap();
    assert_eq!(legacy["expires_at"], "9000-01-01T00:00:00Z");
}

#[test]
fn half_written_json_or_a_wrong_shape_anywhere_takes_nothing_and_names_the_place() {
    let home = Home::new();
    home.user("root");
    let (llmux, ..) = Llmux::peopled(&home);
    let good: BTreeMap<&str, Vec<u8>> = ["auth.json", "users.json", "tokens.json"]
        .map(|name| (name, fs::read(llmux.path(name)).unwrap()))
        .into();
    let unchanged = shown(&home);
    let canary = "canary4711";
    let mut cases: Vec<(&str, Vec<u8>, &str)> = Vec::new();
    for (name, text) in &good {
        for length in [0, 1, text.len() / 2, text.len() - 1] {
            cases.push((name, text[..length].to_vec(), "breaks off"));
        }
        cases.push((name, [&text[..], b"]"].concat(), "trailing characters"));
        cases.push((name, format!("\"{canary}\"").into_bytes(), "expected "));
        cases.push((name, "[".repeat(100_000).into_bytes(), ""));
        cases.push((name, b"\xff\xfe".to_vec(), "expected value"));
    }
    let mut shape = |name: &'static str, value: Value, says: &'static str| {
        cases.push((name, value.to_string().into_bytes(), says));
    };
    let entry = |key: &str, value: Value, mut of: Value| {
        of[key] = value;
        of
    };
    let anonymous = anonymous_entry(&anonymous_token('L'));
    let auth = |entry: Value| json!({"version": 2, "tokens": [entry]});
    shape("auth.json", json!({"version": 3, "tokens": []}), "expected version 1 or 2");
    shape("auth.json", json!({"tokens": []}), "missing field `version`");
    shape("auth.json", json!({"version": 2, "tokens": {}}), "expected ");
    shape("auth.json", auth(json!({"createdAt": MADE})), "either a `hash` or a `token`");
    shape(
        "auth.json",
        auth(entry("token", json!(canary), anonymous.clone())),
        "either a `hash` or a `token`",
    );
    shape("auth.json", auth(entry("hash", json!(canary), anonymous.clone())), "expected a SHA-256 in hex");
    shape(
        "auth.json",
        auth(entry("createdAt", json!(canary), anonymous.clone())),
        "expected an RFC 3339 time",
    );
    shape("auth.json", auth(entry("expiresAt", json!(-1), anonymous.clone())), "expected ");
    shape("auth.json", auth(entry("expiresAt", json!(u64::MAX), anonymous)), "time in milliseconds");
    let ada = || user("ada", true);
    shape(
        "users.json",
        json!([entry("passphraseHash", json!(canary), ada())]),
        "expected a hash such as scrypt$",
    );
    shape("users.json", json!([entry("passphraseHash", json!(null), ada())]), "expected ");
    shape("users.json", json!([entry("admin", json!(canary), ada())]), "expected ");
    shape("users.json", json!({"users": []}), "expected ");
    let token = || bound_entry(&bound_token('s'), "ada");
    shape(
        "tokens.json",
        json!([entry("secretHash", json!(canary), token())]),
        "expected a SHA-256 in base64",
    );
    shape("tokens.json", json!([entry("tokenId", json!(canary), token())]), "expected a token's id");
    shape("tokens.json", json!([{"tokenId": "0123456789abcdef"}]), "missing field `secretHash`");
    for (name, bytes, says) in cases {
        fs::write(llmux.path(name), &bytes).unwrap();
        let refused = home.import_llmux(&[]).refused(1);
        assert!(refused.contains(&format!("{}, line ", llmux.path(name).display())), "{refused}");
        assert!(refused.contains(says) && refused.ends_with("nothing was taken"), "{says}: {refused}");
        assert!(!refused.contains(canary) && refused.len() < 300, "{refused}");
        assert_eq!(shown(&home), unchanged, "{refused}");
        fs::write(llmux.path(name), &good[name]).unwrap();
    }
    home.import_llmux(&[]).ok();
}

#[test]
fn files_that_are_none_are_refused_and_folders_without_any_are_named() {
    let home = Home::new();
    let llmux = Llmux::beside(&home);
    let refused = home.import_llmux(&[]).refused(1);
    for folder in llmux.folders() {
        assert!(refused.contains(&*folder.to_string_lossy()), "{refused}");
    }
    assert!(refused.contains("--state-dir"), "{refused}");
    assert!(!home.path().exists(), "a home was made for nothing");
    let path = llmux.path("users.json");
    let spoils: [(&str, Spoil); 3] = [
        ("is not a file", |path| fs::create_dir(path).unwrap()),
        ("is not a file", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("is larger than 16 MiB", |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    for (why, spoil) in spoils {
        spoil(&path);
        let refused = home.import_llmux(&[]).refused(1);
        assert!(refused.contains(why) && refused.contains("users.json"), "{refused}");
        if path.is_dir() { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    // Many keep such files elsewhere and link to them; and the folders may be named.
    let other = home.beside().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(home.beside().join("kept"), json!([user("ada", true)]).to_string()).unwrap();
    symlink(home.beside().join("kept"), other.join("users.json")).unwrap();
    let other = other.to_str().unwrap();
    for flags in [["--data-dir", other, "--dry-run"], ["--state-dir", other, "--dry-run"]] {
        assert_eq!(
            outcomes(&home.import_llmux(&[&flags[..], &["--json"]].concat()).ok().json()),
            ["user ada taken"]
        );
    }
    let mut command = home.command(&["import", "llmux"]);
    command.env("XDG_STATE_HOME", home.beside().join("nowhere")).env("XDG_DATA_HOME", "/nonexistent");
    let refused = crate::support::Run::of(command, b"").refused(1);
    assert!(refused.contains("nowhere/llmux or /nonexistent/llmux"), "{refused}");
}

#[test]
fn an_anonymous_token_is_listed_dated_renamed_and_revoked_and_does_not_come_back() {
    let upstream = Upstream::echo();
    let gate = gate_on(Home::new(), &upstream);
    let token = gate.legacy_token();
    assert_eq!(ask(&gate, "/old/x", &token.secret).status, 200);
    gate.fallgate(&["token", "rename", &token.id, "tablet"]).ok();
    gate.fallgate(&["token", "expire", &token.id, "--at", "2099-01-01T00:00:00Z"]).ok();
    let listed = tokens(&gate);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["expires_at"]),
        (&json!("tablet"), &json!("2099-01-01T00:00:00Z"))
    );
    let inspected = gate.fallgate_with(&["token", "inspect"], &token.secret).ok().stdout;
    assert!(inspected.contains("legacy") && inspected.contains(&token.id), "{inspected}");
    let mistaken = gate.fallgate(&["token", "revoke", &token.secret]).refused(2);
    assert!(!mistaken.contains(&token.secret[4..]), "{mistaken}");
    assert_eq!(ask(&gate, "/old/x", &token.secret).status, 200);
    gate.fallgate(&["token", "revoke", &token.id]).ok();
    assert_eq!(ask(&gate, "/old/x", &token.secret).status, 401);
    let again = gate.import_llmux(&["--json"]).ok().json();
    assert_eq!(again["items"][0]["reason"], "it was taken before and has ended since");
    assert_eq!(ask(&gate, "/old/x", &token.secret).status, 401);
    assert_eq!(tokens(&gate).len(), 1);
}

#[test]
fn a_user_who_was_deleted_does_not_come_back_and_their_new_tokens_neither() {
    let home = Home::new();
    let (llmux, bound, _) = Llmux::peopled(&home);
    home.admin("root");
    home.import_llmux(&[]).ok();
    home.fallgate(&["user", "delete", "ada", "--yes"]).ok();
    let newer = bound_token('n');
    llmux.write(
        "tokens.json",
        &json!([
            bound_entry(&bound, "ada"),
            bound_entry(&newer, "ada"),
            bound_entry(&bound_token('b'), "bob")
        ]),
    );
    let again = home.import_llmux(&["--json"]).ok().json();
    assert_eq!(again["taken"], json!({"users": 0, "tokens": 1, "legacy_tokens": 0}));
    assert_eq!(home.usernames(), ["bob", "root"]);
    // Whoever gets the name now is another, and inherits nothing.
    home.user("ada");
    home.import_llmux(&[]).ok();
    let gate = Gate::on(home, "");
    for secret in [&bound, &newer] {
        assert_eq!(ask(&gate, "/api/whoami", secret).status, 401);
    }
    assert_eq!(ask(&gate, "/api/whoami", &bound_token('b')).json()["username"], "bob");
}

#[test]
fn r26_nothing_that_is_stored_of_old_tokens_and_of_the_internal_one_authenticates() {
    let home = Home::new();
    let (_, bound, anonymous) = Llmux::peopled(&home);
    home.import_llmux(&[]).ok();
    let gate = Gate::on(home, "");
    let internal = gate.internal_token();
    for secret in [&bound, &anonymous, &internal] {
        assert_eq!(ask(&gate, "/api/whoami", secret).status, 200);
    }
    let mut dump: Vec<u8> = Vec::new();
    for (name, bytes) in contents(&gate.path()) {
        if name.starts_with("fallgate.db") {
            dump.extend(bytes);
        }
    }
    let holds = |bytes: &[u8]| dump.windows(bytes.len()).any(|window| window == bytes);
    let (id, rest) = bound.trim_start_matches("sas_").split_once('.').unwrap();
    for secret in [anonymous.as_bytes(), rest.as_bytes(), internal.as_bytes()] {
        assert!(!holds(&secret[secret.len() - 16..]), "a secret is in the database");
    }
    assert!(!holds(&hex::decode::<32>(internal.as_bytes()).unwrap()));
    assert!(!holds(&Sha256::digest(rest)), "llmux' own hash would let a text through that hashes to it");
    // Each hash that is stored, in every form that a token may have.
    let stored = [
        LegacyToken::parse(anonymous.as_bytes()).unwrap().hash(),
        LegacyToken::parse(bound.as_bytes()).unwrap().hash(),
        InternalToken::parse(internal.as_bytes()).unwrap().hash(),
    ];
    assert!(stored.iter().all(|hash| holds(hash.bytes())), "this is not what is kept");
    let hashes = stored.iter().map(|hash| *hash.bytes()).chain([Sha256::digest(rest).into()]);
    let mut client = Client::connect(gate.address());
    for hash in hashes {
        let (digits, base64) = (hex::encode(&hash), URL_SAFE_NO_PAD.encode(hash));
        for text in
            [digits.clone(), format!("sas_{digits}"), format!("sas_{base64}"), format!("sas_{id}.{base64}")]
        {
            client.send(format!(
                "GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\r\n\r\n"
            ));
            assert_eq!(client.response().status, 401, "{text}");
        }
    }
}

#[test]
fn r8_what_only_looks_like_an_old_token_is_refused_like_any_other() {
    let gate = Gate::start();
    let (_, bound, anonymous) = Llmux::peopled(&gate);
    gate.import_llmux(&[]).ok();
    let unknown = ask(&gate, "/api/whoami", &anonymous_token('Z'));
    assert_eq!(unknown.status, 401);
    for wrong in [
        "sas_".to_owned(),
        anonymous.to_ascii_uppercase(),
        format!("{anonymous}="),
        format!("{anonymous}L"),
        anonymous[..anonymous.len() - 1].to_owned(),
        format!("sas_{}", "L".repeat(10_000)),
        bound.replace('.', ""),
        bound.replace("0123", "1123"),
        format!("{}t", &bound[..bound.len() - 1]),
        bound.split_once('.').unwrap().1.to_owned(),
        format!("sas_{}", bound.split_once('.').unwrap().1),
    ] {
        let answer = ask(&gate, "/api/whoami", &wrong);
        assert_eq!((answer.status, answer.text()), (401, unknown.text()), "{wrong}");
    }
    let basic = |username: &str| {
        let text = STANDARD.encode(format!("{username}:{bound}"));
        let request =
            format!("GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {text}\r\n\r\n");
        Client::exchange(gate.address(), request).status
    };
    assert_eq!([basic("ada"), basic(""), basic("bob")], [200, 200, 401]);
}
