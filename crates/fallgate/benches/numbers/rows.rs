//! Homes with many tokens. The real way to mint costs a disk's flush each; the schema is the store's own, so rows are
//! written straight.

use std::path::Path;

use fallgate_domain::id::CredentialId;
use fallgate_domain::token::{PlainToken, TokenKind};
use rusqlite::Connection;

/// When the first of them was minted, in milliseconds: some time in 2026.
const MINTED_AT: i64 = 1_780_000_000_000;
/// Every so many tokens have another owner.
const PER_OWNER: u32 = 10_000;

/// The secret of token number so much.
pub(crate) fn secret(number: u32) -> PlainToken {
    let mut random = [0x5a; 32];
    for (place, byte) in random.iter_mut().zip(number.to_be_bytes()) {
        *place = byte;
    }
    PlainToken::new(TokenKind::Token, &random)
}

/// The id of token number so much: later numbers are later.
pub(crate) fn id(number: u32) -> CredentialId {
    let millis = MINTED_AT + i64::from(number);
    let mut id = [0x5b; 16];
    for (place, byte) in id.iter_mut().zip(millis.to_be_bytes().into_iter().skip(2)) {
        *place = byte;
    }
    // Version 7, variant 10.
    for (place, byte) in id.iter_mut().skip(6).zip([0x70, 0x00, 0x80, 0x00]) {
        *place = byte;
    }
    CredentialId::from_bytes(id)
}

/// Writes so many tokens, from `first` on, into a home that a command has made. They have an owner for each 10,000,
/// or all the one named; one in ten is the child of the one before, and one in ten names a route.
pub(crate) fn fill(home: &Path, first: u32, tokens: u32, owner: Option<&str>) -> anyhow::Result<()> {
    let mut connection = Connection::open(home.join("fallgate.db"))?;
    let act = connection.transaction()?;
    let owner_of = |name: &str| -> rusqlite::Result<[u8; 16]> {
        act.query_row(r#"SELECT id FROM "user" WHERE username = ?1"#, [name], |row| row.get(0))
    };
    let mut user = act.prepare(
        r#"INSERT INTO "user" (id, username, display_name, role, created_at)
           VALUES (randomblob(16), ?1, ?1, 'user', ?2) ON CONFLICT (username) DO NOTHING"#,
    )?;
    let mut credential = act.prepare(
        "INSERT INTO credential (id, kind, owner, parent, minted_by, name, hint, hash, scopes, created_at)
         VALUES (?1, 'token', ?2, ?3, 'cli:bench', 'bench', ?4, ?5, ?6, ?7)",
    )?;
    let scopes = "identity:read routes:use sessions:read sessions:attach sessions:write";
    let mut owned_by = [0; 16];
    for number in first..first + tokens {
        if number == first || number % PER_OWNER == 0 {
            let name = owner.map_or_else(|| format!("owner-{}", number / PER_OWNER), str::to_owned);
            user.execute((&name, MINTED_AT))?;
            owned_by = owner_of(&name)?;
        }
        let secret = secret(number);
        let parent = (number % 10 == 1 && number > first).then(|| id(number - 1).bytes());
        let scopes = if number % 10 == 2 { "identity:read route:bench" } else { scopes };
        let minted_at = MINTED_AT + i64::from(number);
        let hash = secret.hash();
        credential.execute((
            id(number).bytes(),
            owned_by,
            parent,
            secret.hint(),
            hash.bytes(),
            scopes,
            minted_at,
        ))?;
    }
    drop((user, credential));
    act.execute("UPDATE state SET revision = revision + ?1", [tokens])?;
    act.commit()?;
    // What is measured is a database at rest, not one with a long log.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
