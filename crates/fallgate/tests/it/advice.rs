//! What keeps an operator from harm: an old key that is kept, a wrong home that is noticed, a gate without an admin.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Gate, Home, PASSPHRASE, Run, nobodys_address};

/// A home on which a gate has run, so that all its files are there.
fn lived_in() -> Home {
    let gate = Gate::start();
    gate.admin("root");
    gate.kill()
}

/// What the doctor says of one thing: verdict and finding.
fn said(run: &Run, name: &str) -> Vec<(String, String)> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let report = run.json();
    let named = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    named.map(|check| (text(check, "verdict"), text(check, "found"))).collect()
}

#[test]
fn rotations_keep_the_old_root_keys_and_a_backup_from_before_says_which_of_them_opens_it() {
    let home = lived_in();
    let (key, backup) = (home.path().join("root.key"), home.beside().join("backup.db"));
    let mut keys = vec![fs::read(&key).unwrap()];
    home.fallgate(&["store", "backup", backup.to_str().unwrap()]).ok();
    let mut kept: Vec<PathBuf> = Vec::new();
    for round in 0..2 {
        let told = home.fallgate(&["key", "rotate"]).ok().stderr;
        home.fallgate(&["key", "rotate", "--confirm"]).ok();
        let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_new = |path: &PathBuf| path.to_string_lossy().contains("root.key.") && !kept.contains(path);
        let new: Vec<_> = names.filter(is_new).collect();
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(fs::read(&new[0]).unwrap(), keys[round]);
        assert_eq!(fs::metadata(&new[0]).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(told.contains(new[0].to_str().unwrap()), "{told}");
        kept.extend(new);
        keys.push(fs::read(&key).unwrap());
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);

    for beside in ["fallgate.db-wal", "fallgate.db-shm"] {
        let _ = fs::remove_file(home.path().join(beside));
    }
    fs::copy(&backup, home.path().join("fallgate.db")).unwrap();
    home.fallgate(&["store", "restore", "--accept"]).ok();
    let serve = ["serve", "--listen", &nobodys_address().to_string()];
    let agent = ["agent", "token", "ada"];
    for arguments in [&serve[..], &agent] {
        let refused = home.fallgate(arguments).refused(1);
        assert!(refused.contains("root.key does not fit: it is the key "), "{refused}");
        let hint = format!("put that one, which {} holds, in its place", kept[0].display());
        assert!(refused.ends_with(&hint), "{refused}");
    }
    // Kept elsewhere, it is named by its id alone.
    let aside = home.beside().join("aside.key");
    fs::rename(&kept[0], &aside).unwrap();
    let refused = home.fallgate(&serve).refused(1);
    let id = kept[0].extension().unwrap().to_str().unwrap();
    assert!(refused.ends_with(&format!("sealed under the key {id}; put that one in its place")), "{refused}");
    assert_eq!(fs::read(&key).unwrap(), keys[2], "nothing was changed");
    fs::copy(&aside, &key).unwrap();
    Gate::on(home, "");
}

#[test]
fn the_doctor_sees_a_root_key_that_the_gate_would_not_start_with() {
    let home = lived_in();
    let doctor = || home.fallgate(&["doctor", "--json", "--listen", &nobodys_address().to_string()]);
    assert_eq!(said(&doctor().ok(), "keys")[0].0, "ok");
    let key = home.path().join("root.key");
    let good = fs::read(&key).unwrap();
    let failing = |what: &str| {
        let run = doctor();
        assert_eq!(run.code, Some(1), "{}", run.stdout);
        let (verdict, found) = said(&run, "keys").remove(0);
        assert!(verdict == "fail" && found.contains(what) && !found.contains("garbage"), "{found}");
    };
    fs::write(&key, "garbage\n").unwrap();
    failing("holds no root key");
    fs::remove_file(&key).unwrap();
    failing("there is no ");
    fs::write(&key, good).unwrap();
    doctor().ok();
}

#[test]
fn the_doctor_tells_its_own_gate_from_another_homes() {
    let (gate, other) = (Gate::start(), lived_in());
    gate.admin("root");
    let address = gate.address().to_string();
    let arguments = ["doctor", "--json", "--listen", &address];
    assert!(said(&gate.fallgate(&arguments).ok(), "port")[0].1.contains("is well"));
    let (verdict, found) = said(&other.fallgate(&arguments), "port").remove(0);
    assert!(verdict == "fail" && found.contains("serves another home"), "{found}");
    let elsewhere = nobodys_address().to_string();
    let run = gate.fallgate(&["doctor", "--json", "--listen", &elsewhere]).ok();
    assert!(said(&run, "port")[0].1.contains("but not at"), "{}", run.stdout);
}

#[test]
fn where_a_gate_is_named_what_works_on_a_home_only_wants_the_home_named() {
    let home = lived_in();
    let backup = home.beside().join("backup.db");
    for words in [
        &["key", "list"][..],
        &["key", "rotate"],
        &["internal-token", "show"],
        &["internal-token", "rotate"],
        &["store", "backup", backup.to_str().unwrap()],
        &["import", "llmux"],
    ] {
        let run = |more: &[&str]| {
            let mut command = home.command(&[words, more].concat());
            command.env("FALLGATE_SERVER", "http://127.0.0.1:1");
            Run::of(command, b"")
        };
        let refused = run(&[]).refused(2);
        assert!(refused.contains("FALLGATE_SERVER") && refused.contains("--home"), "{words:?}: {refused}");
        if words != ["import", "llmux"] {
            run(&["--home", home.path().to_str().unwrap()]).ok();
        }
    }
}

#[test]
fn a_first_user_who_is_no_admin_is_warned_of_and_the_home_is_named() {
    let home = Home::new();
    let made = home.fallgate_with(&["user", "create", "ada", "--passphrase-stdin"], PASSPHRASE).ok().stderr;
    assert!(made.contains(home.path().to_str().unwrap()), "{made}");
    assert!(made.contains("there is no admin") && made.contains("user set-role ada admin"), "{made}");
    home.admin("root");
    let made = home.fallgate_with(&["user", "create", "bob", "--passphrase-stdin"], PASSPHRASE).ok().stderr;
    assert!(!made.contains("there is no admin"), "{made}");
}
