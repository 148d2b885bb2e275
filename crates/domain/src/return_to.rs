//! Where a browser goes once somebody has signed in. The address comes from whoever made the link, so it is believed
//! only as far as it stays with us: a page of our own, or one on the origin of a route (requirement R17).

use url::{Position, Url};

/// The longest address that is gone back to, in bytes.
const LONGEST: usize = 4_096;

/// In whose place our own origin stands while a path is read. No name ends like this (RFC 6761).
const OWN: &str = "https://own.invalid";

/// An address that a browser may be sent to. It stays on our own origin, or on one of those that were allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo {
    /// `None`: ours.
    origin: Option<Box<str>>,
    /// Path, query and fragment; begins with exactly one `/`.
    target: Box<str>,
}

impl ReturnTo {
    /// Our own first page.
    pub fn home() -> Self {
        Self { origin: None, target: "/".into() }
    }

    /// Reads an address as a browser would, writes it down again, and takes it only if that is what was read, to the
    /// byte: then there are no two ways to understand it. Anything else, and any origin that `is_allowed` does not
    /// know, is our own first page. An origin is told as RFC 6454 writes it: `https://app.example`.
    pub fn read(text: &str, is_allowed: impl FnOnce(&str) -> bool) -> Self {
        Self::read_path(text).or_else(|| Self::read_address(text, is_allowed)).unwrap_or_else(Self::home)
    }

    /// The text that [`ReturnTo::read`] takes for the page at `target` (path and query) on that origin, or on our own.
    /// `None`: there is none, and nothing is lost but the way back.
    pub fn write(origin: Option<&str>, target: &str) -> Option<String> {
        let base = origin.unwrap_or(OWN);
        let text = Url::parse(&format!("{base}{target}")).ok()?;
        let text = if origin.is_some() { text.as_str() } else { &text[Position::BeforePath..] };
        let read = Self::read(text, |found| Some(found) == origin);
        (read.origin() == origin && read.location() == text).then(|| text.to_owned())
    }

    /// The origin, if it is not ours.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Path, query and fragment: begins with exactly one `/`, so it leads nowhere else on any origin.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// As a `Location` says it.
    pub fn location(&self) -> String {
        format!("{}{}", self.origin().unwrap_or_default(), self.target)
    }

    fn read_path(text: &str) -> Option<Self> {
        if !is_plain(text) || !text.starts_with('/') {
            return None;
        }
        let url = Url::parse(OWN).ok()?.join(text).ok()?;
        let same = url[..Position::BeforePath] == *OWN && url[Position::BeforePath..] == *text;
        same.then(|| Self { origin: None, target: text.into() }).filter(Self::is_sound)
    }

    fn read_address(text: &str, is_allowed: impl FnOnce(&str) -> bool) -> Option<Self> {
        if !is_plain(text) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        // People leave out the slash after a host; that is the same address.
        let bare = url.as_str().strip_suffix('/').filter(|_| url[Position::BeforePath..] == *"/");
        if url.as_str() != text && bare != Some(text) {
            return None;
        }
        // With userinfo, if there were any: then it is nobody's origin.
        let origin = &url[..Position::BeforePath];
        let read = Self { origin: Some(origin.into()), target: url[Position::BeforePath..].into() };
        Some(read).filter(|read| read.is_sound() && is_allowed(origin))
    }

    fn is_sound(&self) -> bool {
        self.target.starts_with('/') && !self.target.starts_with("//")
    }
}

/// Visible ASCII without a backslash, which some take for a slash.
fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests;
