//! Where commands get passphrases and other secrets from.

use std::io::{self, IsTerminal, Read};

use fallgate_domain::user::Username;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The longest passphrase is 1,024 bytes, and there are at most two; what is longer is not read to its end.
const READ_AT_MOST: u64 = 2 * (1_024 + 2);

/// Where a passphrase is read from. Never from the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassphraseSource {
    Stdin,
    Terminal,
}

impl PassphraseSource {
    /// As asked for; where there is no terminal it must be stdin.
    pub(crate) fn choose(stdin: bool) -> Result<Self, Failure> {
        if stdin {
            Ok(Self::Stdin)
        } else if io::stdin().is_terminal() {
            Ok(Self::Terminal)
        } else {
            Err(Failure::usage(
                "there is no terminal to ask for the passphrase on: give --passphrase-stdin and write it to stdin",
            ))
        }
    }

    /// Reads one that is to be set, or asks for it twice. `fewest` bytes it must have, if that is known here.
    pub(crate) fn read(
        self,
        username: &Username,
        fewest: Option<usize>,
    ) -> Result<Zeroizing<String>, Failure> {
        match self {
            Self::Stdin => first_line(io::stdin().lock(), "passphrase"),
            Self::Terminal => {
                let fewest = fewest.map(|fewest| format!(" ({fewest} bytes or more)")).unwrap_or_default();
                twice(&format!("Passphrase for {username}{fewest}: "))
            }
        }
    }

    /// Reads one that is set already, or asks for it once.
    pub(crate) fn read_current(self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        match self {
            Self::Stdin => first_line(io::stdin().lock(), "passphrase"),
            Self::Terminal => hidden(prompt),
        }
    }

    /// Reads the one that is set and the one that is to be, a line each, or asks for them.
    pub(crate) fn read_change(self) -> Result<(Zeroizing<String>, Zeroizing<String>), Failure> {
        let (current, new) = match self {
            Self::Stdin => {
                let input = input(io::stdin().lock(), "passphrase")?;
                let mut lines = input.splitn(3, |byte| *byte == b'\n');
                let current = line(lines.next().unwrap_or_default(), "passphrase as it is", "first")?;
                let new = line(lines.next().unwrap_or_default(), "new passphrase", "second")?;
                (current, new)
            }
            Self::Terminal => {
                let current = hidden("Passphrase as it is: ")?;
                (current, twice("New passphrase: ")?)
            }
        };
        if current == new {
            return Err(Failure::failed("the new passphrase is the one you gave as the old: take another"));
        }
        Ok((current, new))
    }
}

fn twice(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let first = hidden(prompt)?;
    if first.is_empty() {
        return Err(Failure::failed("no passphrase was typed, so nothing was changed"));
    }
    let second = hidden("The same again: ")?;
    if first == second { Ok(first) } else { Err(Failure::failed("the two passphrases differ")) }
}

fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format_args!("cannot ask for the passphrase: {error}")))
}

/// What stands before the first line's end, or before the end of all; `what` it is to be, in a word.
pub(crate) fn first_line(from: impl Read, what: &str) -> Result<Zeroizing<String>, Failure> {
    let input = input(from, what)?;
    line(input.split(|byte| *byte == b'\n').next().unwrap_or_default(), what, "first")
}

fn input(from: impl Read, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for all from the start: bytes that move to a larger place leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 * 1_024));
    from.take(READ_AT_MOST)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format_args!("cannot read the {what} from stdin: {error}")))?;
    Ok(bytes)
}

fn line(line: &[u8], what: &str, which: &str) -> Result<Zeroizing<String>, Failure> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::failed(format_args!(
            "there is no {what} on stdin: write it as the {which} line"
        )));
    }
    let text = std::str::from_utf8(line);
    let text = text.map_err(|_| Failure::failed(format_args!("the {what} on stdin is not UTF-8 text")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_on_stdin_is_its_first_line() {
        for input in
            ["four quiet words", "four quiet words\n", "four quiet words\r\n", "four quiet words\nmore"]
        {
            assert_eq!(*first_line(input.as_bytes(), "passphrase").unwrap(), "four quiet words");
        }
    }

    #[test]
    fn a_passphrase_on_stdin_that_is_none_is_refused_in_words() {
        let refused = |input: &[u8]| first_line(input, "passphrase").unwrap_err().to_string();
        assert!(refused(b"").contains("no passphrase"));
        assert!(refused(b"\nsecond line").contains("no passphrase"));
        assert!(refused(b"\xff\xfe\n").contains("not UTF-8"));
    }

    #[test]
    fn a_passphrase_that_is_too_long_is_seen_as_such() {
        let text = first_line("ä".repeat(1_000_000).as_bytes(), "passphrase");
        // Cut in the middle, but still longer than any that is taken.
        assert!(text.is_err() || text.is_ok_and(|text| text.len() > 1_024));
    }
}
