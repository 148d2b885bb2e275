//! Whoever reads the whole database learns nothing that opens a door; and no door shows what it keeps.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_web::doors::{Access, rows};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::{Client, Gate, SignIn, Token, hex};

/// A gate in which everything has happened once, the token of its admin, and their sign-in.
fn populated() -> (Gate, Token, SignIn) {
    let gate = Gate::start();
    gate.admin("root");
    gate.user("ada");
    let admin = gate.token_with("root", &["--scope", "admin"]);
    let parent = gate.token_with("ada", &["--scope", "tokens:write", "--scope", "identity:read"]);
    let child = call(&gate, "POST /api/tokens", &parent.header(), r#"{"name":"child"}"#);
    assert_eq!(child.0, 201, "{}", child.1);
    let ended = gate.token("ada");
    gate.fallgate(&["token", "revoke", &ended.id]).ok();
    let signed_in = gate.sign_in("root");
    (gate, admin, signed_in)
}

fn call(gate: &Gate, line: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let answer = Client::exchange(gate.address(), request);
    (answer.status, answer.text())
}

/// Every value of every table: texts, and bytes.
fn values(gate: &Gate) -> (BTreeSet<String>, BTreeSet<Vec<u8>>) {
    let database = Connection::open(gate.path().join("fallgate.db")).unwrap();
    let mut named = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let (mut texts, mut blobs) = (BTreeSet::new(), BTreeSet::new());
    for table in tables {
        let mut all = database.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = all.column_count();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get(column).unwrap() {
                    Value::Text(text) => drop(texts.insert(text)),
                    Value::Blob(bytes) => drop(blobs.insert(bytes)),
                    Value::Null | Value::Integer(_) | Value::Real(_) => {}
                }
            }
        }
    }
    assert!(
        blobs.iter().any(|bytes| bytes.len() == 32)
            && texts.iter().any(|text| text.starts_with("$argon2id$"))
    );
    (texts, blobs)
}

/// The forms in which somebody would try bytes.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![bytes.to_vec(), hex(bytes).into_bytes(), hex(bytes).to_uppercase().into_bytes()];
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        forms.push(engine.encode(bytes).into_bytes());
    }
    if let Ok(random) = bytes.try_into() {
        // As if the hash were what a token is made of.
        for kind in [TokenKind::Token, TokenKind::Login] {
            forms.push(PlainToken::new(kind, random).expose().as_bytes().to_vec());
        }
    }
    forms
}

#[test]
fn r26_no_value_in_the_database_authenticates_in_any_form_by_any_carrier() {
    let (gate, admin, _) = populated();
    let (texts, blobs) = values(&gate);
    let mut tries: BTreeSet<Vec<u8>> = blobs.iter().flat_map(|bytes| forms(bytes)).collect();
    for text in &texts {
        tries.insert(text.clone().into_bytes());
        let parts = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "_-+/=.".contains(letter)));
        tries.extend(parts.filter(|part| part.len() >= 6).map(|part| part.as_bytes().to_vec()));
    }
    assert!(tries.len() > 100, "{} values", tries.len());
    // What cannot be written into a header is tried in `Basic` alone.
    let in_header = |secret: &[u8]| !secret.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    let mut client = Client::connect(gate.address());
    let mut counted = 0;
    for secret in &tries {
        let basic =
            |username: &str| STANDARD.encode([username.as_bytes(), b":", secret].concat()).into_bytes();
        let mut carriers = vec![
            [&b"Authorization: Basic "[..], &basic("")].concat(),
            [&b"Authorization: Basic "[..], &basic("root")].concat(),
        ];
        if in_header(secret) {
            for carrier in [
                "Authorization: Bearer ",
                "Authorization: ",
                "Fallgate-Token: ",
                "Cookie: fallgate=",
                "Cookie: __Host-fallgate=",
            ] {
                carriers.push([carrier.as_bytes(), secret].concat());
            }
        }
        for carrier in carriers {
            client.send(
                [&b"GET /api/whoami HTTP/1.1\r\nHost: localhost\r\n"[..], &carrier, b"\r\n\r\n"].concat(),
            );
            let answer = client.response();
            assert!(matches!(answer.status, 400 | 401), "{} opens a door", carrier.escape_ascii());
            counted += 1;
            if answer.header("connection") == Some("close") {
                client = Client::connect(gate.address());
            }
        }
    }
    assert!(counted > 500, "{counted} tries");
    assert_eq!(
        Client::get(gate.address(), "/api/whoami", Some(&admin)).status,
        200,
        "nobody is let in at all"
    );
}

/// Pages that have nothing to show to somebody who is signed in, and asks for nothing of them.
const NOTHING_TO_SHOW: [&str; 4] = ["/live/cut", "/login", "/pair/wait", "/setup"];

#[test]
fn r60_no_answer_shows_a_stored_secret_in_any_form() {
    let (gate, admin, signed_in) = populated();
    let (texts, blobs) = values(&gate);
    // Ids are public, and so are the chain of the trail and the published halves of keys; the rest is not.
    let database = Connection::open(gate.path().join("fallgate.db")).unwrap();
    let mut keys = database.prepare("SELECT public_key FROM signing_key").unwrap();
    let public: BTreeSet<Vec<u8>> =
        keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let blobs: BTreeSet<_> = blobs.difference(&public).collect();
    let mut kept: BTreeSet<Vec<u8>> =
        blobs.iter().filter(|bytes| bytes.len() >= 32).flat_map(|bytes| forms(bytes)).collect();
    let passphrases = texts.iter().filter(|text| text.starts_with('$'));
    kept.extend(
        passphrases
            .flat_map(|text| [text.clone(), text.rsplit('$').next().unwrap().to_owned()])
            .map(String::into_bytes),
    );
    assert!(kept.len() > 10);
    let mut shown = Vec::new();
    // What events tell has no end, and stands on the pages that they are for.
    let ends = |path: &str| path != "/.fallgate/enter" && !path.ends_with("/events");
    for row in rows().iter().filter(|row| row.method == "GET" && ends(row.path)) {
        let path =
            row.path.replace("{u}", "ada").replace("{id}", &admin.id).replace("{file}", "fallgate.css");
        let header = if row.access == Access::Login { signed_in.cookie() } else { admin.header() };
        let (status, text) = call(&gate, &format!("GET {path}"), &header, "");
        // What is about one thing has none to show where the id is another thing's; it is not to tell of it either.
        let about_one = row.path.contains('{') || NOTHING_TO_SHOW.contains(&row.path);
        assert!(status == 200 || about_one && status < 500, "GET {path}: {status} {text}");
        shown.push((format!("GET {path}"), text));
    }
    for (line, body) in [
        ("POST /api/tokens", r#"{"name":"shown"}"#),
        ("PATCH /api/users/ada", r#"{"display_name":"Ada"}"#),
        ("POST /api/users/ada/passphrase", r#"{"passphrase":"seven otters slate canyon 17"}"#),
        ("DELETE /api/tokens?username=ada", ""),
    ] {
        let (status, text) = call(&gate, line, &admin.header(), body);
        assert!(status < 300, "{line}: {status} {text}");
        shown.push((line.to_owned(), text));
    }
    for arguments in [["token", "list", "--json"], ["user", "list", "--json"], ["audit", "list", "--json"]] {
        shown.push((arguments.join(" "), gate.fallgate(&arguments).ok().stdout));
    }
    for (what, text) in &shown {
        for secret in &kept {
            let found = text.as_bytes().windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{what} shows {}", secret.escape_ascii());
        }
        assert!(!text.contains("$argon2"), "{what}: {text}");
        assert!(!text.contains(&admin.secret) && !text.contains(&signed_in.secret), "{what}: {text}");
    }
    assert!(shown.iter().any(|(_, text)| text.contains(&admin.id)), "nothing was shown at all");
}
