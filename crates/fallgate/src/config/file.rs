//! Reading a config file so that every complaint names its line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be taken for the other misspelt.
const ALIKE: f64 = 0.8;

/// A config file's text, and where it is.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
}

/// A value and the line on which it stands, from 1 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// One table of the file, from which each key is taken once.
pub(super) struct Section<'d> {
    document: &'d Document,
    pub(super) line: usize,
    entries: Vec<(&'d str, Spanned<DeValue<'d>>)>,
}

impl Document {
    pub(super) fn read(path: PathBuf) -> Result<Self, Failure> {
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => Ok(Self { path, text }),
            Ok(Err(_)) => Err(Failure::failed(format_args!(
                "the config {} is not UTF-8 text: TOML is always UTF-8",
                path.display()
            ))),
            Err(error) => {
                Err(Failure::failed(format_args!("cannot read the config {}: {error}", path.display())))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self { path: PathBuf::from("fallgate.toml"), text: text.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A complaint about a line.
    pub(super) fn complaint(&self, line: usize, text: impl std::fmt::Display) -> Failure {
        Failure::failed(format_args!("{}:{line}: {text}", self.path.display()))
    }

    /// The file's top level.
    pub(super) fn root<'d>(&'d self, keys: &[&str]) -> Result<Section<'d>, Failure> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            self.complaint(self.line(error.span()), format_args!("this is not TOML: {}", error.message()))
        })?;
        self.section(table.into_inner(), 1, "the file", keys)
    }

    /// A table as a section, unless there is a key in it that means nothing.
    fn section<'d>(
        &'d self,
        table: DeTable<'d>,
        line: usize,
        name: &str,
        keys: &[&str],
    ) -> Result<Section<'d>, Failure> {
        let mut entries = Vec::with_capacity(table.len());
        let mut unknown: Option<(usize, String)> = None;
        for (key, value) in table {
            let start = key.span().start;
            match keys.iter().find(|known| **known == key.get_ref().as_ref()) {
                Some(_) => entries.push((key, value)),
                None if unknown.as_ref().is_none_or(|(first, _)| start < *first) => {
                    unknown = Some((start, key.into_inner().into_owned()));
                }
                None => {}
            }
        }
        if let Some((start, key)) = unknown {
            let key_shown: String = key.chars().take(64).collect();
            return Err(self.complaint(
                self.line(Some(start..start)),
                format_args!("unknown key {key_shown:?} in {name}; {}", nearest(&key, keys)),
            ));
        }
        // The key's own text is not kept: only known ones are left, which the caller names.
        Ok(Section { document: self, line, entries: Vec::new() }.with(entries, keys))
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.as_bytes().get(..start).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}
