//! Passphrase hashes of llmux: scrypt (RFC 7914) with r = 8, p = 1 and 64 bytes. Checked until the first sign-in
//! replaces them; never made.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fallgate_store::PassphraseHash;
use scrypt::Params;

const SCHEME: &str = "scrypt";
const BLOCK_SIZE: u32 = 8;
const LANES: u32 = 1;
const HASH_LENGTH: usize = 64;
/// Of salts that are taken, in bytes.
const SALT_LENGTH: std::ops::RangeInclusive<usize> = 8..=64;
/// A check takes 128 · r · N bytes: at most 128 MiB, twice what argon2id takes. llmux writes N = 2^14.
const MOST_LOG_N: u32 = 17;

/// `scrypt$<N>$<salt>$<hash>`, both in padded standard base64.
#[derive(Clone)]
pub struct ScryptHash {
    log_n: u8,
    salt: Vec<u8>,
    hash: [u8; HASH_LENGTH],
}

/// Why a text is no such hash, or none that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScryptHash {
    /// Not of that form.
    #[error("not a scrypt hash as llmux writes it")]
    Malformed,
    /// N is no power of two, or too large to be checked here.
    #[error("its scrypt cost is not a power of two from 2 to 2^{MOST_LOG_N}")]
    Cost,
}

impl ScryptHash {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, InvalidScryptHash> {
        let malformed = InvalidScryptHash::Malformed;
        let mut parts = text.split('$');
        let (scheme, cost, salt, hash) = (parts.next(), parts.next(), parts.next(), parts.next());
        if scheme != Some(SCHEME) || parts.next().is_some() {
            return Err(malformed);
        }
        let cost = cost.filter(|cost| !cost.is_empty() && cost.bytes().all(|byte| byte.is_ascii_digit()));
        let cost = cost.ok_or(malformed)?;
        let decode = |part: Option<&str>| STANDARD.decode(part?).ok();
        let salt = decode(salt).filter(|salt| SALT_LENGTH.contains(&salt.len())).ok_or(malformed)?;
        let hash = decode(hash).and_then(|hash| hash.try_into().ok()).ok_or(malformed)?;
        let cost: u64 = cost.parse().map_err(|_| InvalidScryptHash::Cost)?;
        Ok(Self { log_n: log_n(cost).ok_or(InvalidScryptHash::Cost)?, salt, hash })
    }

    /// N, as the power of two that it is.
    pub(crate) const fn log_n(&self) -> u8 {
        self.log_n
    }

    /// Whether this is the passphrase. Takes its time and memory, so never on a thread that serves.
    pub(crate) fn matches(&self, passphrase: &[u8]) -> bool {
        let mut computed = [0; HASH_LENGTH];
        let params = Params::new(self.log_n, BLOCK_SIZE, LANES);
        let done =
            params.is_ok_and(|params| scrypt::scrypt(passphrase, &self.salt, &params, &mut computed).is_ok());
        // Every byte is looked at, whatever the first ones say.
        let pairs = computed.iter().zip(&self.hash);
        let difference = pairs.fold(0, |difference, (one, other)| black_box(difference | (one ^ other)));
        done && difference == 0
    }
}

/// The power of two that N is, if it is one that is taken.
pub(crate) fn log_n(n: u64) -> Option<u8> {
    let log_n = n.trailing_zeros();
    (n.is_power_of_two() && (1..=MOST_LOG_N).contains(&log_n)).then(|| u8::try_from(log_n).ok()).flatten()
}

/// Takes as long as a check at that N, and finds out nothing.
pub(crate) fn spend(log_n: u8, passphrase: &[u8]) {
    let mut computed = [0; HASH_LENGTH];
    if let Ok(params) = Params::new(log_n, BLOCK_SIZE, LANES) {
        // What comes of it is nobody's.
        let _ = scrypt::scrypt(passphrase, &[0; 16], &params, &mut computed);
    }
    black_box(computed);
}

/// After a check at one N, takes as long as one at a larger N does beyond it: N, twice N, and so on, add up to that.
pub(crate) fn top_up(done: u8, whole: u8, passphrase: &[u8]) {
    (done..whole).for_each(|log_n| spend(log_n, passphrase));
}

/// Whether what is stored says that it is of this form. No PHC string begins like it.
pub(crate) fn is_one(stored: &PassphraseHash) -> bool {
    stored.expose().split('$').next() == Some(SCHEME)
}

impl std::fmt::Debug for ScryptHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScryptHash(…)")
    }
}

/// What the store keeps until the first sign-in.
impl From<&ScryptHash> for PassphraseHash {
    fn from(hash: &ScryptHash) -> Self {
        let (salt, digest) = (STANDARD.encode(&hash.salt), STANDARD.encode(hash.hash));
        Self::new(format!("{SCHEME}${}${salt}${digest}", 1_u64 << hash.log_n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: hashlib.scrypt(b"otter slate canyon", salt=b"0123456789abcdef", n=1024, r=8, p=1, dklen=64)
    const WRITTEN: &str = "scrypt$1024$MDEyMzQ1Njc4OWFiY2RlZg==$cpb8PDJkxJo8axUlppTBd7C/5Y4ZkBkNdppspJ/DYpYVMXftIxmecplEvAdMbCRi6zNi01oyxhrt04v9OW4v9A==";

    #[test]
    fn a_hash_written_elsewhere_is_checked() {
        let hash = ScryptHash::parse(WRITTEN).unwrap();
        assert!(hash.matches(b"otter slate canyon"));
        for wrong in ["", "otter slate canyo", "otter slate canyon ", "Otter slate canyon"] {
            assert!(!hash.matches(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(PassphraseHash::from(&hash).expose(), WRITTEN);
    }

    #[test]
    fn the_rfcs_own_example_with_these_parameters_is_checked() {
        // RFC 7914, section 12: N = 16384, r = 8, p = 1; its salt, "SodiumChloride".
        let digits = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
                      d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887";
        let digest: [u8; 64] = fallgate_domain::hex::decode(digits.as_bytes()).unwrap();
        let text = format!("scrypt$16384${}${}", STANDARD.encode("SodiumChloride"), STANDARD.encode(digest));
        assert!(ScryptHash::parse(&text).unwrap().matches(b"pleaseletmein"));
    }

    #[test]
    fn what_llmux_never_wrote_or_would_take_too_much_is_refused() {
        let (salt, hash) = (STANDARD.encode([1; 16]), STANDARD.encode([2; 64]));
        let refused = |text: &str| ScryptHash::parse(text).unwrap_err();
        for text in [
            String::new(),
            "scrypt$1024".to_owned(),
            format!("scrypt$1024${salt}"),
            format!("scrypt$1024${salt}${hash}$"),
            format!("$scrypt$1024${salt}${hash}"),
            format!("argon2id$1024${salt}${hash}"),
            format!("scrypt$${salt}${hash}"),
            format!("scrypt$+1024${salt}${hash}"),
            format!("scrypt$0x400${salt}${hash}"),
            format!("scrypt$1024$!${hash}"),
            format!("scrypt$1024$${hash}"),
            format!("scrypt$1024${salt}${}", STANDARD.encode([2; 63])),
            format!("scrypt$1024${}${hash}", STANDARD.encode([1; 65])),
            format!("scrypt$1024${}${hash}", salt.trim_end_matches('=')),
        ] {
            assert_eq!(refused(&text), InvalidScryptHash::Malformed, "{text}");
        }
        for cost in
            ["0", "1", "3", "1000", "262144", "2097152", "18446744073709551616", "99999999999999999999999"]
        {
            assert_eq!(refused(&format!("scrypt${cost}${salt}${hash}")), InvalidScryptHash::Cost, "{cost}");
        }
        assert!(ScryptHash::parse(&format!("scrypt$131072${salt}${hash}")).is_ok());
    }
}
