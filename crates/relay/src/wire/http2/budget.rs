//! How much of a thing a client may do.

use tokio::time::Instant;

/// So many at once, and so many more each second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) most: u32,
    pub(super) per_second: u32,
}

/// What is left of a budget.
#[derive(Debug)]
pub(super) struct Spending {
    budget: Budget,
    left: u32,
    since: Instant,
}

impl Spending {
    pub(super) fn new(budget: Budget, since: Instant) -> Self {
        Self { budget, left: budget.most, since }
    }

    /// `false`: there is nothing left.
    pub(super) fn spend(&mut self) -> bool {
        if self.left == 0 {
            let seconds = self.since.elapsed().as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is not negative, and casts that do not fit saturate"
            )]
            let earned = (seconds * f64::from(self.budget.per_second)) as u32;
            self.since = Instant::now();
            self.earn(earned);
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    pub(super) fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.budget.most);
    }
}
