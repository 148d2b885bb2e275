//! Asking before what cannot be taken back.

use std::io::{self, IsTerminal};

use crate::failure::Failure;
use crate::output;

/// How consent to an act is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// By `--yes`.
    Given,
    /// By asking.
    Terminal,
}

impl Consent {
    /// Where there is no terminal it must have been given: exit code 2. `act` names what is to be done.
    pub(crate) fn choose(yes: bool, act: &str) -> Result<Self, Failure> {
        if yes {
            Ok(Self::Given)
        } else if io::stdin().is_terminal() {
            Ok(Self::Terminal)
        } else {
            Err(Failure::usage(format_args!("there is no terminal to ask on whether to {act}: give --yes")))
        }
    }

    /// Returns once consent is there; anything but a yes is none.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self == Self::Given {
            return Ok(());
        }
        output::ask(format_args!("{question} [y/N] "));
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::failed(format_args!("cannot read the answer: {error}")))?;
        if is_yes(&answer) { Ok(()) } else { Err(Failure::failed("not confirmed, so nothing was done")) }
    }
}

pub(crate) fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", " yes \r\n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yes please", "yy"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
