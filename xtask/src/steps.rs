//! A run of named, timed steps that stops at the first failure.

use std::time::{Duration, Instant};

use anyhow::Context;

pub(crate) struct Steps {
    began: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), done: Vec::new() }
    }

    /// Runs one step under its heading; an error names the step.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        println!("\n== {name}");
        let began = Instant::now();
        let outcome = work();
        let took = began.elapsed();
        let ending = if outcome.is_ok() { "done" } else { "FAILED" };
        println!("-- {name}: {ending} after {}", seconds(took));
        outcome.with_context(|| format!("step `{name}` failed"))?;
        self.done.push((name, took));
        Ok(())
    }

    /// The one line at the end of a run in which nothing failed.
    pub(crate) fn summary(&self) -> String {
        let steps: Vec<_> =
            self.done.iter().map(|(name, took)| format!("{name} {}", seconds(*took))).collect();
        format!("passed: {} steps in {} ({})", steps.len(), seconds(self.began.elapsed()), steps.join(", "))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_step_and_is_not_counted() {
        let mut steps = Steps::begin();
        steps.step("first", || Ok(())).unwrap();
        let error = steps.step("second", || anyhow::bail!("disk on fire")).unwrap_err();
        assert_eq!(format!("{error:#}"), "step `second` failed: disk on fire");
        assert!(steps.summary().starts_with("passed: 1 steps"), "{}", steps.summary());
    }
}
