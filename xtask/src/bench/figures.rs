//! Those that are compared, taking turns.

use std::path::Path;

use anyhow::bail;

use super::{
    Options,
    load::{Loader, Spread, Subject},
};

/// How fast each was, one figure for each round.
pub(super) struct Figures(Vec<(&'static str, Vec<f64>)>);

/// One comparison, and what it must come to.
pub(super) struct Wanted {
    pub(super) one: &'static str,
    pub(super) other: &'static str,
    /// The least ratio of the two; none where it is only good to know.
    pub(super) at_least: Option<f64>,
}

impl Figures {
    pub(super) fn take(
        loader: Loader,
        subjects: &[Subject],
        options: &Options,
        processor: Option<u32>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut figures: Vec<_> = subjects.iter().map(|subject| (subject.name, Vec::new())).collect();
        for subject in subjects {
            loader.load(subject, 1, processor, folder)?; // connections, caches, pools: not counted
        }
        for _ in 0..options.rounds {
            for (subject, (_, taken)) in subjects.iter().zip(&mut figures) {
                taken.push(loader.load(subject, options.seconds, processor, folder)?);
            }
        }
        for (name, taken) in &figures {
            if let Some(Spread { median, least, greatest }) = Spread::of(taken) {
                println!("  {name:<40} {median:>8.0} {}   ({least:.0} to {greatest:.0})", loader.unit());
            }
        }
        Ok(Self(figures))
    }

    /// Prints each ratio beside what it must be. With `check`, a missed one is a failure, once all are printed.
    pub(super) fn judge(&self, wanted: &[Wanted], check: bool) -> anyhow::Result<()> {
        let mut missed = Vec::new();
        for Wanted { one, other, at_least } in wanted {
            let Some(Spread { median, least, greatest }) = self.ratio(one, other) else { continue };
            let judgement = match at_least {
                None => String::new(),
                Some(at_least) if median >= *at_least => format!("   at least {at_least:.2}"),
                Some(at_least) => {
                    missed.push(format!("{one} : {other} = {median:.2}, at least {at_least:.2} is wanted"));
                    format!("   at least {at_least:.2}, MISSED")
                }
            };
            println!("  {one} : {other} = {median:.2}   ({least:.2} to {greatest:.2}){judgement}");
        }
        if check && !missed.is_empty() {
            bail!("{}", missed.join("; "));
        }
        Ok(())
    }

    /// One's figure by the other's in the same round.
    fn ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let of = |wanted| self.0.iter().find(|(name, _)| *name == wanted).map(|(_, taken)| taken);
        let ratios: Vec<_> = of(one)?.iter().zip(of(other)?).map(|(one, other)| one / other).collect();
        Spread::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round_and_a_missed_one_fails_only_when_asked() {
        let figures = Figures(vec![("fast", vec![30.0, 20.0, 40.0]), ("slow", vec![10.0, 10.0, 10.0])]);
        assert!((figures.ratio("fast", "slow").unwrap().median - 3.0).abs() < f64::EPSILON);
        let wanted = |at_least| [Wanted { one: "fast", other: "slow", at_least }];
        figures.judge(&wanted(Some(2.9)), true).unwrap();
        figures.judge(&wanted(Some(3.1)), false).unwrap();
        figures.judge(&wanted(None), true).unwrap();
        let error = figures.judge(&wanted(Some(3.1)), true).unwrap_err().to_string();
        assert_eq!(error, "fast : slow = 3.00, at least 3.10 is wanted");
    }
}
