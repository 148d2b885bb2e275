//! What only a database in a file can meet: damage, other programs, newer versions, another file in its place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fallgate_store::{StoreError, Vault};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::support::{Backend, backend, create, everything, mint, try_mint};

/// Every file of a folder, byte for byte.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// A database with an account and some tokens in it, at rest.
async fn filled() -> Backend {
    let backend = backend();
    let (store, vault) = backend.open().await;
    let alice = backend.user("alice");
    create(&vault, &alice).await;
    for minute in 0..100 {
        mint(&vault, &backend.token(Some(alice.id), minute)).await;
    }
    drop((store, vault));
    let left: Vec<_> = contents(&backend.folder()).into_keys().collect();
    assert_eq!(left, ["fallgate.db", "revision"], "what the last to close leaves");
    backend
}

/// Opens, which must be refused with one line that names the file, and must not move a byte.
async fn refused(backend: &Backend) -> StoreError {
    let before = contents(&backend.folder());
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(contents(&backend.folder()) == before, "the folder changed: {error}");
    let line = error.to_string();
    assert!(line.contains("fallgate.db") && !line.contains('\n'), "{line}");
    error
}

/// Runs statements and leaves the folder as a killed process would.
fn run_and_be_killed(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.execute_batch(statements).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let backend = filled().await;
    Connection::open(backend.path()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = refused(&backend).await;
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_that_is_still_in_the_log_is_refused_and_not_touched() {
    for with_index in [true, false] {
        let backend = filled().await;
        run_and_be_killed(&backend.path(), "PRAGMA user_version = 99");
        if !with_index {
            fs::remove_file(backend.folder().join("fallgate.db-shm")).unwrap();
        }
        let error = refused(&backend).await;
        assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_log_is_there() {
    for with_index in [true, false] {
        let backend = filled().await;
        run_and_be_killed(&backend.path(), "UPDATE state SET revision = 4711");
        if !with_index {
            fs::remove_file(backend.folder().join("fallgate.db-shm")).unwrap();
        }
        let (_store, vault) = backend.open().await;
        assert_eq!(vault.revision().await.unwrap().0, 4711);
    }
}

#[tokio::test]
async fn a_migration_that_was_killed_before_its_commit_is_done_anew() {
    let backend = backend();
    fs::write(backend.path(), "").unwrap();
    run_and_be_killed(&backend.path(), "PRAGMA journal_mode = wal");
    let (store, _vault) = backend.open().await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn another_programs_database_is_refused_and_not_touched() {
    let cases = [
        "CREATE TABLE note (text)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 1",
        "PRAGMA journal_mode = wal; CREATE TABLE note (text)",
    ];
    for statements in cases {
        let backend = backend();
        Connection::open(backend.path()).unwrap().execute_batch(statements).unwrap();
        let error = refused(&backend).await;
        assert!(matches!(error, StoreError::NotOurs { .. }), "{statements}: {error:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_not_touched() {
    let text = b"Dear diary, today I was mistaken for a database.\n".repeat(100);
    for bytes in [&text[..], &text[..20], b"SQLite format 3\0", &[0; 4096]] {
        let backend = backend();
        fs::write(backend.path(), bytes).unwrap();
        let error = refused(&backend).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused_and_not_touched() {
    let whole = filled().await;
    let bytes = fs::read(whole.path()).unwrap();
    for length in [50, 100, 1_000, 4_096, 10_000, bytes.len() / 2, bytes.len() - 4_096, bytes.len() - 1] {
        let backend = backend();
        fs::write(backend.path(), &bytes[..length]).unwrap();
        let error = refused(&backend).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{length}: {error:?}");
    }
}

#[tokio::test]
async fn an_emptied_file_whose_log_is_still_there_is_refused_and_not_touched() {
    let backend = filled().await;
    run_and_be_killed(&backend.path(), "UPDATE state SET revision = 4711");
    fs::write(backend.path(), "").unwrap();
    let error = refused(&backend).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_page_anywhere_is_refused_and_not_touched() {
    let whole = filled().await;
    let bytes = fs::read(whole.path()).unwrap();
    let pages = bytes.len() / 4_096;
    for page in 1..pages {
        let backend = backend();
        let mut damaged = bytes.clone();
        damaged[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        fs::write(backend.path(), &damaged).unwrap();
        let error = refused(&backend).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "page {page}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let backend = backend();
    fs::create_dir(backend.path()).unwrap();
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    fs::remove_dir(backend.path()).unwrap();
    fs::remove_dir(backend.folder()).unwrap();
    let error = backend.try_open().await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    fs::create_dir(backend.folder()).unwrap();
}

#[tokio::test]
async fn an_empty_file_counts_as_new() {
    let backend = backend();
    fs::write(backend.path(), "").unwrap();
    let (_store, vault) = backend.open().await;
    assert_eq!(vault.revision().await.unwrap().0, 0);
}

#[tokio::test]
async fn every_file_is_for_its_owner_only() {
    let backend = backend();
    let (_store, vault) = backend.open().await;
    create(&vault, &backend.user("alice")).await;
    let files = contents(&backend.folder());
    assert_eq!(files.len(), 4, "the file, its log, the log's index, the revision that was reached");
    for name in files.keys() {
        let mode = fs::metadata(backend.folder().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_path_may_have_any_characters() {
    let backend = backend();
    let folder = backend.folder().join("a b?c=d#e%20f&mode=memory");
    fs::create_dir(&folder).unwrap();
    let filled = filled().await;
    for name in ["fallgate.db", "revision"] {
        fs::rename(filled.folder().join(name), folder.join(name)).unwrap();
    }
    let inside = backend.within("a b?c=d#e%20f&mode=memory");
    let (store, _vault) = inside.open().await;
    assert_eq!(store.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unreadable_row_is_damage_and_never_skipped() {
    let damages = [
        "UPDATE credential SET scopes = 'everything'",
        "UPDATE credential SET expires_at = -1",
        "UPDATE credential SET parent = id",
        r#"UPDATE "user" SET username = 'Not A Name'"#,
        r#"UPDATE "user" SET display_name = ''"#,
        r#"UPDATE "user" SET created_at = 999999999999999"#,
    ];
    for damage in damages {
        let backend = filled().await;
        let connection = Connection::open(backend.path()).unwrap();
        connection.execute_batch(damage).unwrap();
        drop(connection);
        let (store, vault) = backend.open().await;
        let loaded = vault.load(&mut |_| {}).await.map(drop);
        let listed = store.credentials(&everything()).await.map(drop);
        let users = store.users().await.map(drop);
        let pinged = store.ping().await;
        let corrupt = |answer: &Result<(), StoreError>| matches!(answer, Err(StoreError::Corrupt { .. }));
        assert!([&loaded, &listed, &users, &pinged].into_iter().any(corrupt), "{damage}");
        // The lean rows do not walk lineages; whoever holds them does.
        assert!(corrupt(&loaded) || damage.contains("parent"), "{damage}: {loaded:?}");
    }
}

#[tokio::test]
async fn a_revision_below_zero_is_damage() {
    let backend = filled().await;
    Connection::open(backend.path()).unwrap().execute_batch("UPDATE state SET revision = -1").unwrap();
    let error = refused(&backend).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_program_that_is_overtaken_by_a_newer_one_stops_answering() {
    let backend = filled().await;
    let (_store, vault) = backend.open().await;
    vault.revision().await.unwrap();
    Connection::open(backend.path()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let newer = |error: StoreError| matches!(error, StoreError::NewerSchema { found: 99, .. });
    assert!(newer(vault.revision().await.unwrap_err()));
    let token = backend.token(None, 0);
    assert!(newer(try_mint(&vault, &token).await.unwrap_err()));
}

#[tokio::test]
async fn another_file_in_its_place_is_noticed_and_refused_for_good() {
    let backend = filled().await;
    let (store, vault) = backend.open().await;
    let original = backend.folder().join("original");
    let copy = filled().await;
    vault.revision().await.unwrap();
    fs::rename(backend.path(), &original).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "no file at all: {error:?}");

    fs::copy(copy.path(), backend.path()).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Replaced { .. }), "{error:?}");
    assert!(refuses(&vault, &backend).await);
    fs::rename(&original, backend.path()).unwrap();
    assert!(refuses(&vault, &backend).await, "until restart");
}

/// Whether everything that decides or changes trust is refused.
async fn refuses(vault: &Vault, backend: &Backend) -> bool {
    vault.revision().await.is_err()
        && try_mint(vault, &backend.token(None, 0)).await.is_err()
        && vault.load(&mut |_| {}).await.is_err()
}
