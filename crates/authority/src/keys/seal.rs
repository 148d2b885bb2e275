//! Sealing: what lies in the store so that only the root key's holder can read it, or make it.
//!
//! `version (1 byte) ‖ id of the root key (8) ‖ nonce (24) ‖ ciphertext ‖ tag (16)`, by XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03), whose nonces are long enough to be random. The key is derived for one purpose by
//! HKDF-SHA-256 (RFC 5869); the row that the value belongs to is associated data. So nothing that was sealed opens for
//! another purpose, in another row, or under another root key.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use fallgate_domain::entropy::{self, Entropy, NoEntropy};
use fallgate_domain::hex::encode as hex;
use fallgate_domain::root_key::RootKey;
use fallgate_store::RootKeyId;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const VERSION_LENGTH: usize = 1;
const ID_LENGTH: usize = size_of::<RootKeyId>();
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// How much longer than what is sealed the seal is.
const OVERHEAD: usize = VERSION_LENGTH + ID_LENGTH + NONCE_LENGTH + TAG_LENGTH;

/// Keeps what we derive apart from what anybody else may derive of the same bytes.
const SALT: &[u8] = b"fallgate root key";

/// What something is sealed for. A released label never changes: what was sealed under it would not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A known text, by which a key is recognised. Its row is the root key's id.
    CheckValue,
    /// The root key that came after. Its row is the id of the one under which it is sealed.
    Successor,
    /// A signing key's private half. Its row is the key's id and public half.
    SigningKey,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::CheckValue => b"check value",
            Self::Successor => b"successor",
            Self::SigningKey => b"signing key",
        }
    }
}

/// It was not sealed by this key for this purpose and row, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadSeal;

/// A root key at work.
pub(crate) struct Sealer {
    root: RootKey,
    id: RootKeyId,
}

impl Sealer {
    pub(crate) fn new(root: RootKey) -> Self {
        let mut id = RootKeyId::default();
        derive(&root, b"id", &mut id);
        Self { root, id }
    }

    /// Public; tells this root key from others.
    pub(crate) const fn id(&self) -> RootKeyId {
        self.id
    }

    pub(crate) const fn root(&self) -> &RootKey {
        &self.root
    }

    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        row: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, NoEntropy> {
        let nonce: [u8; NONCE_LENGTH] = entropy::bytes(entropy)?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend(self.id);
        sealed.extend(nonce);
        let ciphertext = self
            .cipher(purpose)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: row })
            // It fails for more than 256 GiB only; then what is made opens for nobody.
            .unwrap_or_default();
        sealed.extend(ciphertext);
        Ok(sealed)
    }

    pub(crate) fn open(
        &self,
        purpose: Purpose,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, BadSeal> {
        let (version, rest) = sealed.split_first_chunk::<VERSION_LENGTH>().ok_or(BadSeal)?;
        let (id, rest) = rest.split_first_chunk::<ID_LENGTH>().ok_or(BadSeal)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(BadSeal)?;
        if version != &[VERSION] || id != &self.id || ciphertext.len() < TAG_LENGTH {
            return Err(BadSeal);
        }
        self.cipher(purpose)
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: row })
            .map(Zeroizing::new)
            .map_err(|_| BadSeal)
    }

    fn cipher(&self, purpose: Purpose) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; 32]);
        derive(&self.root, purpose.label(), key.as_mut_slice());
        XChaCha20Poly1305::new((&*key).into())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", hex(&self.id))
    }
}

fn derive(root: &RootKey, label: &[u8], key: &mut [u8]) {
    // It fails for more than 255 hashes' length only; the longest that is asked for is one.
    let _ = Hkdf::<Sha256>::new(Some(SALT), root.expose()).expand(label, key);
}

#[cfg(test)]
mod tests {
    use fallgate_domain::entropy::TestEntropy;
    use proptest::prelude::*;

    use super::*;

    const PURPOSES: [Purpose; 3] = [Purpose::CheckValue, Purpose::Successor, Purpose::SigningKey];

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(RootKey::from_bytes(&[byte; 32]))
    }

    #[test]
    fn derivation_is_what_the_documented_functions_give() {
        // Python: hmac.new(hmac.new(b"fallgate root key", bytes([7]) * 32, "sha256").digest(),
        //                  b"id" + b"\x01", "sha256").hexdigest()[:16]
        assert_eq!(hex(&sealer(7).id()), "b1466903796d369a");
    }

    #[test]
    fn the_same_is_never_sealed_alike() {
        let (sealer, entropy) = (sealer(7), TestEntropy::default());
        let one = sealer.seal(Purpose::SigningKey, b"row", b"plain", &entropy).unwrap();
        let other = sealer.seal(Purpose::SigningKey, b"row", b"plain", &entropy).unwrap();
        assert_ne!(one, other);
        assert_eq!(one.len(), 5 + OVERHEAD);
        assert_eq!(format!("{sealer:?}").len(), "Sealer()".len() + 16);
    }

    #[test]
    fn every_part_of_a_seal_is_exact() {
        let (ours, theirs, entropy) = (sealer(7), sealer(8), TestEntropy::default());
        let (purpose, row) = (Purpose::SigningKey, b"row");
        let sealed = ours.seal(purpose, row, &[1; 32], &entropy).unwrap();
        let opened = |changed: &[u8]| ours.open(purpose, row, changed).map(|plain| plain.to_vec());
        let id = VERSION_LENGTH..VERSION_LENGTH + ID_LENGTH;
        let with_id = |sealed: &[u8], of: &Sealer| {
            let mut changed = sealed.to_vec();
            changed[id.clone()].copy_from_slice(&of.id());
            changed
        };
        assert_eq!(opened(&with_id(&sealed, &ours)), Ok(vec![1; 32]));
        for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
            assert_eq!(opened(&[&[version], &sealed[1..]].concat()), Err(BadSeal), "version {version}");
        }
        assert_eq!(opened(&with_id(&sealed, &theirs)), Err(BadSeal), "another root key's id");
        let stranger = theirs.seal(purpose, row, &[1; 32], &entropy).unwrap();
        assert_eq!(opened(&with_id(&stranger, &ours)), Err(BadSeal), "another root key's seal under our id");
        // Of nothing, too: a tag is 16 bytes long, and nothing stands behind it.
        let nothing = ours.seal(purpose, row, b"", &entropy).unwrap();
        assert_eq!(opened(&nothing), Ok(Vec::new()));
        for whole in [&sealed, &nothing] {
            for length in 0..whole.len() {
                assert_eq!(opened(&whole[..length]), Err(BadSeal), "{length} bytes of {}", whole.len());
            }
            for more in 1..=TAG_LENGTH {
                assert_eq!(opened(&[&whole[..], &vec![0; more]].concat()), Err(BadSeal), "{more} bytes more");
            }
        }
        // Bytes, in no other spelling.
        assert_eq!(opened(hex(&sealed).as_bytes()), Err(BadSeal));
        // What is bound to one row is not bound to one that begins alike.
        for other in [&b""[..], b"ro", b"row\0", b"Row"] {
            assert_eq!(ours.open(purpose, other, &sealed), Err(BadSeal), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_right_key_purpose_and_row_open_it_and_only_whole(
            plain in proptest::collection::vec(any::<u8>(), 0..100),
            row in proptest::collection::vec(any::<u8>(), 0..64),
            other_row in proptest::collection::vec(any::<u8>(), 0..64),
            purpose in 0..PURPOSES.len(),
            place in any::<prop::sample::Index>(),
            flip in 1..=u8::MAX,
        ) {
            let (sealer, another, purpose) = (sealer(7), sealer(8), PURPOSES[purpose]);
            let sealed = sealer.seal(purpose, &row, &plain, &TestEntropy::default()).unwrap();
            prop_assert_eq!(&*sealer.open(purpose, &row, &sealed).unwrap(), &plain);
            for other in PURPOSES.into_iter().filter(|other| *other != purpose) {
                prop_assert_eq!(sealer.open(other, &row, &sealed), Err(BadSeal));
            }
            if other_row != row {
                prop_assert_eq!(sealer.open(purpose, &other_row, &sealed), Err(BadSeal));
            }
            prop_assert_eq!(another.open(purpose, &row, &sealed), Err(BadSeal));
            let mut changed = sealed.clone();
            changed[place.index(sealed.len())] ^= flip;
            prop_assert_eq!(sealer.open(purpose, &row, &changed), Err(BadSeal));
            let shorter = &sealed[..place.index(sealed.len())];
            prop_assert_eq!(sealer.open(purpose, &row, shorter), Err(BadSeal));
            let longer = [&sealed[..], &[flip]].concat();
            prop_assert_eq!(sealer.open(purpose, &row, &longer), Err(BadSeal));
        }
    }
}
