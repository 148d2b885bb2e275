//! What a sign-in is called when nobody named it, and how lists show what it comes from: read off the client's `User-Agent`, for people to tell their devices
//! apart. Nothing is decided by it (requirement R7).

use fallgate_domain::credential::TokenName;

/// What stands in a browser's `User-Agent`, and what it is called. The first that is there counts: most claim to be
/// several.
const PROGRAMS: [(&str, &str); 7] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The most characters that are shown of what is not known.
const SHOWN: usize = 40;

/// A short name for whatever calls itself that: `Firefox on Linux`, `curl`, or else `browser`.
pub(crate) fn name(user_agent: Option<&str>) -> String {
    let user_agent = user_agent.unwrap_or_default();
    browser(user_agent).or_else(|| product(user_agent)).unwrap_or_else(|| "browser".to_owned())
}

/// A `User-Agent` for people to read: `Firefox on Linux`, or else how it begins.
pub fn readable_user_agent(user_agent: &str) -> String {
    browser(user_agent).unwrap_or_else(|| match user_agent.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", user_agent.get(..end).unwrap_or_default()),
        None => user_agent.to_owned(),
    })
}

/// A browser that people know.
fn browser(user_agent: &str) -> Option<String> {
    let known = |list: &[(&str, &'static str)]| {
        list.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    let program = known(&PROGRAMS)?;
    Some(known(&SYSTEMS).map_or_else(|| program.to_owned(), |system| format!("{program} on {system}")))
}

/// The first product of it, such as `curl`, but not the one that all browsers claim to be.
fn product(user_agent: &str) -> Option<String> {
    let product = user_agent.split(['/', ' ']).next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if product == "Mozilla" || product.len() > 40 || !product.chars().all(is_plain) {
        return None;
    }
    product.parse().ok().map(TokenName::into_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_called_what_people_call_them() {
        for (user_agent, wanted) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl"),
            ("fallgate/0.1.0 (ada@workshop)", "fallgate"),
            ("python-requests/2.32", "python-requests"),
            ("Mozilla/5.0", "browser"),
            ("", "browser"),
            ("<script>alert(1)</script>", "browser"),
            (&"x".repeat(41), "browser"),
            ("\u{202e}gpj", "browser"),
        ] {
            assert_eq!(name(Some(user_agent)), wanted, "{user_agent}");
        }
        assert_eq!(name(None), "browser");
    }
}
