//! What an operator decides once: how long things last, and how good a passphrase must be.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// The rules that acts and decisions keep to. [`Default`] is what counts when nothing is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The fewest bytes of a passphrase that is to be set; never below [`Policy::FEWEST_BYTES`].
    pub passphrase_bytes: usize,
    /// A sign-in that was not used for this long has ended.
    pub login_idle: Duration,
    /// A sign-in ends this long after it was made, whatever it was used for.
    pub login_life: Duration,
    /// The longest life of a token; `None`: as long as is asked for, also for ever.
    pub token_life: Option<Duration>,
    /// The most tokens that stand of one user.
    pub tokens_per_user: u32,
    /// A token that was not used for this long is revoked (requirement R34); `None`: it is not.
    pub token_unused: Option<Duration>,
    /// How long a worker token lasts when nothing is said.
    pub worker_life: Duration,
    /// By how much another's clock may differ where a worker token's times are read: at most five minutes.
    pub worker_skew: Duration,
    /// Audit events are kept for this long; `None`: for ever.
    pub audit_kept: Option<Duration>,
}

impl Policy {
    /// No policy asks for less of a passphrase.
    pub const FEWEST_BYTES: usize = 8;
    /// No passphrase has more (requirement R53).
    pub const MOST_BYTES: usize = 1_024;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            passphrase_bytes: 12,
            login_idle: 7 * DAY,
            login_life: 30 * DAY,
            token_life: None,
            tokens_per_user: 1_000,
            token_unused: Some(365 * DAY),
            worker_life: Duration::from_hours(2),
            worker_skew: Duration::from_secs(30),
            audit_kept: Some(400 * DAY),
        }
    }
}
