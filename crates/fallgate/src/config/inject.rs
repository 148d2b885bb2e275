//! `inject`: what an upstream is told that no client sends, its own token above all. Secrets lie in files, never in the
//! config.

use std::io::Read as _;
use std::path::Path;

use fallgate_domain::secret::HiddenText;
use fallgate_relay::{Route, open_plain};
use zeroize::Zeroizing;

use super::file::Section;
use crate::failure::Failure;

/// The most bytes of a secret's file.
const LARGEST: u64 = 16 * 1024;

/// Whether the files that secrets lie in are read: not by commands that have no use for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// They are, and one that cannot be is an error.
    Read,
    /// They are left alone; what stands for them is good for nothing.
    Skip,
}

/// Reads `inject = { name = "value with ${file:/path} in it" }`.
pub(super) fn read(
    section: &mut Section<'_>,
    secrets: Secrets,
) -> Result<Vec<(String, HiddenText)>, Failure> {
    let document = section.document;
    let mut fields: Vec<(String, HiddenText)> = Vec::new();
    for (name, template) in section.pairs("inject")? {
        let complain = |text: String| document.complaint(template.line, format_args!("inject: {text}"));
        let name = name.to_ascii_lowercase();
        if !Route::may_inject(&name) {
            let shown: String = name.chars().take(64).collect();
            return Err(complain(format!(
                "the field {shown:?} cannot be injected: it is Fallgate's own, speaks of the connection, or is no name"
            )));
        }
        if fields.iter().any(|(other, _)| *other == name) {
            return Err(complain(format!("the field {name:?} is there twice")));
        }
        let value = fill(&template.value, secrets).map_err(complain)?;
        fields.push((name, HiddenText::new(value)));
    }
    Ok(fields)
}

/// Puts what lies in files into its places. Errors name the file, never what is in it.
fn fill(template: &str, secrets: Secrets) -> Result<Zeroizing<String>, String> {
    let mut value = Zeroizing::new(String::with_capacity(template.len() + 128));
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        value.push_str(before);
        let (place, behind) = after.split_once('}').ok_or("a ${ is not closed with }")?;
        let path = place.strip_prefix("file:").ok_or("only ${file:/path} can stand in it")?;
        if !Path::new(path).is_absolute() {
            return Err(format!("{path:?} is not an absolute path, such as ${{file:/run/secrets/app}}"));
        }
        if secrets == Secrets::Read {
            value.push_str(&secret_in(path)?);
        }
        rest = behind;
    }
    value.push_str(rest);
    if value.bytes().any(|byte| !matches!(byte, b' '..=b'~' | b'\t')) {
        return Err("a field's value is printable ASCII, on one line".to_owned());
    }
    Ok(value)
}

/// What a file holds, without the line breaks at its end.
fn secret_in(path: &str) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = open_plain(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(format!("cannot read {path}: {error}")),
        Ok(count) if u64::try_from(count).is_ok_and(|count| count > LARGEST) => {
            Err(format!("{path} is larger than 16 KiB"))
        }
        Ok(_) => {
            let trimmed = text.trim_end_matches(['\n', '\r']).len();
            if trimmed == 0 {
                return Err(format!("{path} is empty"));
            }
            text.truncate(trimmed);
            Ok(text)
        }
    }
}
