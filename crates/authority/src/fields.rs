//! What a request says in its header fields, whatever wire it came by: the relay's own codec and `http`'s map look the
//! same to whoever decides.

use http::HeaderMap;

/// The header fields of a request.
pub trait Fields: Sync {
    /// Gives the value of each field of that name, in order. `name` is in lower case.
    fn each<'a>(&'a self, name: &str, give: &mut dyn FnMut(&'a [u8]));
}

/// How often a field that belongs into a request once is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurs<'a> {
    /// Not at all.
    Never,
    /// Once, with this value.
    Once(&'a [u8]),
    /// More than once: which of them counts is anybody's guess.
    Often,
}

impl Fields for HeaderMap {
    fn each<'a>(&'a self, name: &str, give: &mut dyn FnMut(&'a [u8])) {
        self.get_all(name).iter().for_each(|value| give(value.as_bytes()));
    }
}

/// How often the field is there.
pub fn occurs<'a>(fields: &'a dyn Fields, name: &str) -> Occurs<'a> {
    let mut found = Occurs::Never;
    fields.each(name, &mut |value| {
        found = if found == Occurs::Never { Occurs::Once(value) } else { Occurs::Often };
    });
    found
}

/// Whether the client asks to change to another protocol. A proxy that only asks what may be done may have taken `Upgrade`
/// off, which is for one hop; what the handshake of a WebSocket has besides stays.
pub fn asks_for_upgrade(fields: &dyn Fields) -> bool {
    ["upgrade", "sec-websocket-key", "sec-websocket-version"]
        .iter()
        .any(|name| occurs(fields, name) != Occurs::Never)
}

/// Whether a browser is to show what is answered, as a page of its own (requirement R24): it says so in
/// `Sec-Fetch-Mode`, or else prefers HTML. Nobody is let in or kept out by it.
pub fn is_navigation(fields: &dyn Fields) -> bool {
    let shows = match occurs(fields, "sec-fetch-mode") {
        Occurs::Once(mode) => mode == b"navigate",
        Occurs::Often => false,
        Occurs::Never => prefers_html(fields),
    };
    shows && !asks_for_upgrade(fields)
}

/// Whether the first media type that `Accept` names is HTML: browsers put it there, programs that would take anything do
/// not.
fn prefers_html(fields: &dyn Fields) -> bool {
    let Occurs::Once(accept) = occurs(fields, "accept") else { return false };
    let first = accept.split(|byte| *byte == b',').next().unwrap_or_default();
    let media_type = first.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"text/html") || media_type.eq_ignore_ascii_case(b"application/xhtml+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn r24_a_navigation_is_what_a_browser_shows_as_a_page() {
        const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (fields, navigates) in [
            (&[("sec-fetch-mode", "navigate"), ("accept", HTML)][..], true),
            (&[("accept", HTML)], true),
            (&[("accept", "Text/HTML")], true),
            (&[("sec-fetch-mode", "cors"), ("accept", HTML)], false),
            (&[("sec-fetch-mode", "websocket"), ("accept", HTML)], false),
            (&[("upgrade", "websocket"), ("accept", HTML)], false),
            (&[("sec-websocket-key", "x"), ("accept", HTML)], false),
            (&[("accept", "*/*")], false),
            (&[("accept", "application/json, text/html")], false),
            (&[("accept", "text/event-stream")], false),
            (&[], false),
        ] {
            assert_eq!(is_navigation(&map(fields)), navigates, "{fields:?}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_neither() {
        let map = map(&[("origin", "a"), ("origin", "b"), ("host", "c")]);
        assert_eq!(occurs(&map, "origin"), Occurs::Often);
        assert_eq!(occurs(&map, "host"), Occurs::Once(b"c"));
        assert_eq!(occurs(&map, "accept"), Occurs::Never);
    }
}
