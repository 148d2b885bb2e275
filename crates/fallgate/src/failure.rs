//! Why a command did not do what it was asked: one line that says what, why and what to do.

use std::fmt;
use std::process::ExitCode;

use fallgate_domain::name::on_one_line;

/// A command's failure. Shown as one line, whatever is in the text.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Refused or failed: exit code 1.
    Failed(String),
    /// Asked in a way that makes no sense: exit code 2.
    Usage(String),
}

impl Failure {
    pub(crate) fn failed(text: impl fmt::Display) -> Self {
        Self::Failed(text.to_string())
    }

    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::Usage(text.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(text) | Self::Usage(text)) = self;
        let words: Vec<&str> = text.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect();
        f.write_str(&on_one_line(&words.join(" ")))
    }
}

/// For errors whose text says it all already, as the store's do.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_without_control_characters() {
        let failure = Failure::failed("no\nsuch\u{1b}[31m file\r\n");
        assert_eq!(failure.to_string(), "no such [31m file");
        assert_eq!(Failure::failed("a\u{202e}b").to_string(), "a\\u{202e}b");
    }
}
