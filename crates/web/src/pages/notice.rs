//! What a page says has just been done. It comes by the address, so it says only what stands here.

use axum::response::Response;

use super::see_other;
use crate::error::WebError;

/// An act that a page has just carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    SignedOut,
}

impl Notice {
    const ALL: &[Self] = &[Self::SignedOut];

    /// As the address names it.
    const fn key(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
        }
    }

    /// In words, with how many things that came to, where that is known.
    fn says(self, _count: Option<u64>) -> String {
        match self {
            Self::SignedOut => "You are signed out.".to_owned(),
        }
    }

    /// Out of a page's query: `done=` and, perhaps, `count=`.
    pub(crate) fn read(query: &str) -> Option<String> {
        let value = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let done = value("done")?;
        let notice = *Self::ALL.iter().find(|notice| notice.key() == done)?;
        Some(notice.says(value("count").and_then(|count| count.parse().ok())))
    }

    /// Sends the browser on to a page that says so. `location` has no query.
    pub(crate) fn at(self, location: &str, count: Option<u64>) -> Result<Response, WebError> {
        let count = count.map(|count| format!("&count={count}")).unwrap_or_default();
        see_other(&format!("{location}?done={}{count}", self.key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_nothing_of_its_own() {
        assert_eq!(Notice::read("x=1&done=signed-out&count=7").as_deref(), Some("You are signed out."));
        for query in ["", "done", "done=<script>", "done=Signed-out", "count=7"] {
            assert_eq!(Notice::read(query), None, "{query}");
        }
    }
}
