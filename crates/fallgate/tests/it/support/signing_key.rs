//! The gate's own signing key, taken out of the store as whoever has the root key can: to sign what the gate never would.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use fallgate_domain::root_key::RootKey;
use ring::hkdf;
use ring::signature::Ed25519KeyPair;
use rusqlite::{Connection, OpenFlags};

use super::home::Home;

/// The key that signs now.
#[derive(Debug)]
pub(crate) struct OwnKey(Ed25519KeyPair);

impl OwnKey {
    /// That of the store of a home folder, as docs/keys.md says how it lies there.
    pub(crate) fn of(home: &Home) -> Self {
        let root = RootKey::parse_file(&std::fs::read(home.path().join("root.key")).unwrap()).unwrap();
        let store = home.path().join("fallgate.db");
        let store = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let row = "SELECT id, public_key, sealed FROM signing_key WHERE retired_at IS NULL";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (id, public, sealed): (Vec<u8>, Vec<u8>, Vec<u8>) = store.query_row(row, [], read).unwrap();
        // Version, root key's id, nonce.
        let (nonce, sealed) = sealed[9..].split_at(24);
        let nonce: [u8; 24] = nonce.try_into().unwrap();
        let mut key = [0; 32];
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fallgate root key").extract(root.expose());
        extracted.expand(&[b"signing key"], hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
        let bound = Payload { msg: sealed, aad: &[id, public.clone()].concat() };
        let seed = XChaCha20Poly1305::new(&key.into()).decrypt(&XNonce::from(nonce), bound).unwrap();
        Self(Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap())
    }

    /// Its signature of a text.
    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}
