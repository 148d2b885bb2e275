//! Reading a config file so that every complaint names its line.

use std::fmt::Display;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use fallgate_relay::open_plain;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be taken for the other misspelt.
const ALIKE: f64 = 0.8;

/// The most bytes of a config file: what is larger is another file, named by mistake.
const LARGEST: u64 = 1024 * 1024;

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

/// One table of the file, with none but known keys. Each is taken out once.
pub(super) struct Section<'d> {
    pub(super) document: &'d Document,
    pub(super) line: usize,
    entries: Vec<(String, Spanned<DeValue<'d>>)>,
}

impl Document {
    pub(super) fn read(path: PathBuf) -> Result<Self, Failure> {
        let shown = path.display();
        let mut bytes = Vec::new();
        let read = open_plain(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        if matches!(read, Ok(count) if u64::try_from(count).is_ok_and(|count| count > LARGEST)) {
            return Err(Failure::failed(format_args!("the config {shown} is larger than 1 MiB")));
        }
        match read.map(|_| String::from_utf8(bytes)) {
            Ok(Ok(text)) => Ok(Self { path, text }),
            Ok(Err(_)) => Err(Failure::failed(format_args!("the config {shown} is not UTF-8 text"))),
            Err(error) => Err(Failure::failed(format_args!("cannot read the config {shown}: {error}"))),
        }
    }

    /// Reads a file that need not be there; one that is there must be readable.
    pub(super) fn read_if_there(path: PathBuf) -> Result<Option<Self>, Failure> {
        // Of the name itself: a link that leads nowhere is a mistake, not an absence.
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Self::read(path).map(Some),
        }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self { path: PathBuf::from("fallgate.toml"), text: text.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file that this one names: one without a leading slash lies in the same folder.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }

    /// A complaint about a line.
    pub(super) fn complaint(&self, line: usize, text: impl Display) -> Failure {
        Failure::failed(format_args!("{}:{line}: {text}", self.path.display()))
    }

    /// The file's top level.
    pub(super) fn root(&self, keys: &[&str]) -> Result<Section<'_>, Failure> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            self.complaint(
                self.line_of(error.span().unwrap_or_default()),
                format_args!("this is not TOML: {}", error.message()),
            )
        })?;
        self.section(table, "the file", keys)
    }

    fn section<'d>(
        &'d self,
        table: Spanned<DeTable<'d>>,
        name: &str,
        keys: &[&str],
    ) -> Result<Section<'d>, Failure> {
        let line = self.line_of(table.span());
        let table = table.into_inner();
        let known = |key: &str| keys.contains(&key);
        let unknown = table.keys().filter(|key| !known(key.get_ref())).min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let shown: String = key.get_ref().chars().take(64).collect();
            return Err(self.complaint(
                self.line_of(key.span()),
                format_args!("unknown key {shown:?} in {name}; {}", nearest(key.get_ref(), keys)),
            ));
        }
        let entries = table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), value)).collect();
        Ok(Section { document: self, line, entries })
    }

    fn line_of(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        1 + before.matches('\n').count()
    }
}

impl<'d> Section<'d> {
    /// The table of that key, such as `[server]`.
    pub(super) fn table(&mut self, key: &str, keys: &[&str]) -> Result<Option<Self>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (document, span) = (self.document, value.span());
        match value.into_inner() {
            DeValue::Table(table) => {
                document.section(Spanned::new(span, table), &format!("[{key}]"), keys).map(Some)
            }
            other => Err(wrong_type(document, span, key, &format!("a table, written [{key}]"), &other)),
        }
    }

    /// The tables of that key, such as every `[[route]]`, in the file's order.
    pub(super) fn tables(&mut self, key: &str, keys: &[&str]) -> Result<Vec<Self>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let (document, span) = (self.document, value.span());
        let wanted = format!("written [[{key}]], with two brackets");
        let DeValue::Array(array) = value.into_inner() else {
            return Err(document.complaint(document.line_of(span), format_args!("each {key} is {wanted}")));
        };
        array
            .into_iter()
            .map(|item| {
                let span = item.span();
                match item.into_inner() {
                    DeValue::Table(table) => {
                        document.section(Spanned::new(span, table), &format!("[[{key}]]"), keys)
                    }
                    other => Err(wrong_type(document, span, key, &wanted, &other)),
                }
            })
            .collect()
    }

    /// The text of that key.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<Located<String>>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        text_of(self.document, key, value).map(Some)
    }

    /// The text of a key that must be there; `example` says what it looks like.
    pub(super) fn required_text(&mut self, key: &str, example: &str) -> Result<Located<String>, Failure> {
        let (document, line) = (self.document, self.line);
        let missing =
            || document.complaint(line, format_args!("{key} is missing, such as {key} = {example:?}"));
        self.text(key)?.ok_or_else(missing)
    }

    /// The texts in the list of that key; none, if it is not there.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<Located<String>>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let (document, span) = (self.document, value.span());
        match value.into_inner() {
            DeValue::Array(array) => array.into_iter().map(|item| text_of(document, key, item)).collect(),
            other => Err(wrong_type(document, span, key, "a list of strings", &other)),
        }
    }

    /// The keys of that table and the text of each, in the file's order; none, if it is not there.
    pub(super) fn pairs(&mut self, key: &str) -> Result<Vec<(String, Located<String>)>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let (document, span) = (self.document, value.span());
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            other => {
                return Err(wrong_type(document, span, key, "a table of strings, written { … }", &other));
            }
        };
        let mut pairs: Vec<_> = table.into_iter().collect();
        pairs.sort_by_key(|(name, _)| name.span().start);
        let text = |(name, value): (Spanned<_>, _)| {
            let name: std::borrow::Cow<'_, str> = name.into_inner();
            text_of(document, &name, value).map(|text| (name.clone().into_owned(), text))
        };
        pairs.into_iter().map(text).collect()
    }

    /// The truth of that key.
    pub(super) fn truth(&mut self, key: &str) -> Result<Option<Located<bool>>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (document, span) = (self.document, value.span());
        match value.into_inner() {
            DeValue::Boolean(truth) => Ok(Some(Located { value: truth, line: document.line_of(span) })),
            other => Err(wrong_type(document, span, key, "true or false", &other)),
        }
    }

    /// The whole number of that key, which must lie in this range.
    pub(super) fn number(
        &mut self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<Located<usize>>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (document, span) = (self.document, value.span());
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match value.into_inner() {
            DeValue::Integer(integer) => {
                let line = document.line_of(span);
                let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
                match number.filter(|number| range.contains(number)) {
                    Some(value) => Ok(Some(Located { value, line })),
                    None => Err(document.complaint(line, format_args!("{key} must be {wanted}"))),
                }
            }
            other => Err(wrong_type(document, span, key, &wanted, &other)),
        }
    }

    /// The line of that key, or of the table's head where it is not there (any more).
    pub(super) fn line_of(&self, key: &str) -> usize {
        let value = self.entries.iter().find(|(name, _)| name == key);
        value.map_or(self.line, |(_, value)| self.document.line_of(value.span()))
    }

    /// The first in the file of those keys that are there, and its line.
    pub(super) fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, usize)> {
        let there = self.entries.iter().filter_map(|(name, value)| {
            let key = keys.iter().find(|key| *key == name)?;
            Some((*key, value.span()))
        });
        let (key, span) = there.min_by_key(|(_, span)| span.start)?;
        Some((key, self.document.line_of(span)))
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'d>>> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.swap_remove(index).1)
    }
}

impl Located<String> {
    /// Reads the text as something else; what is wrong with it becomes a complaint about its line.
    pub(super) fn read<T, E: Display>(
        &self,
        document: &Document,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        read(&self.value).map_err(|error| {
            let shown: String = self.value.chars().take(128).collect();
            document.complaint(self.line, format_args!("{key} = {shown:?}: {error}"))
        })
    }
}

fn text_of(document: &Document, key: &str, value: Spanned<DeValue<'_>>) -> Result<Located<String>, Failure> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Ok(Located { value: text.into_owned(), line: document.line_of(span) }),
        other => Err(wrong_type(document, span, key, "a string in quotes", &other)),
    }
}

fn wrong_type(
    document: &Document,
    span: Range<usize>,
    key: &str,
    wanted: &str,
    found: &DeValue<'_>,
) -> Failure {
    let found = match found.type_str() {
        "integer" => "an integer",
        "array" => "a list",
        "string" => "a string",
        "table" => "a table",
        "boolean" => "a truth value",
        _ => "something else",
    };
    document.complaint(document.line_of(span), format_args!("{key} must be {wanted}, and is {found}"))
}

/// What was probably meant, or else what there is.
fn nearest(key: &str, keys: &[&str]) -> String {
    let likeness = |known: &&&str| strsim::jaro_winkler(key, known);
    let best = keys.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= ALIKE) {
        Some(best) => format!("did you mean {best:?}?"),
        None => format!("there can be {}", keys.join(", ")),
    }
}
