use proptest::prelude::*;

use super::*;

const APP: &str = "https://app.example";
const PORT: &str = "http://wiki.example:7400";

fn allowed(origin: &str) -> bool {
    [APP, PORT].contains(&origin)
}

fn read(text: &str) -> String {
    ReturnTo::read(text, allowed).location()
}

/// Where a browser that stands on one of our pages ends up.
fn followed(location: &str) -> Url {
    Url::parse("https://box.example/login?returnTo=x").unwrap().join(location).unwrap()
}

fn stays_with_us(location: &str) -> bool {
    let url = followed(location);
    let origin = url.origin().ascii_serialization();
    url.username().is_empty()
        && url.password().is_none()
        && (origin == "https://box.example" || allowed(&origin))
}

#[test]
fn r17_pages_of_ours_and_of_routes_are_gone_back_to() {
    for text in [
        "/",
        "/tokens",
        "/tokens?user=ada&all",
        "/a/b/c;v=1?x=%2F%2Fevil.example",
        "/x?next=https://evil.example/",
        "/x?next=//evil.example",
        "/a//b",
        "/a/%2e%2e%2fb",
        "/x#section",
        "/@evil.example",
        "/:80",
        "/login?returnTo=%2F%2Fevil.example",
        "https://app.example/",
        "https://app.example/x/y?z=1#w",
        "https://app.example//x",
        "https://app.example/@evil.example",
        "http://wiki.example:7400/",
        "http://wiki.example:7400/a?b",
    ] {
        let taken = text != "https://app.example//x";
        assert_eq!(read(text), if taken { text } else { "/" }, "{text}");
    }
    assert_eq!(read("https://app.example"), "https://app.example/");
    assert_eq!(read(&format!("/{}", "x".repeat(LONGEST - 1))).len(), LONGEST);
}

/// What sends a browser elsewhere if it is believed, or is read in two ways by two parsers.
fn hostile() -> Vec<String> {
    serde_json::from_str(include_str!("hostile.json")).unwrap()
}

#[test]
fn r17_nothing_hostile_leads_anywhere_but_home() {
    let hostile = hostile();
    assert!(hostile.len() >= 300);
    for text in hostile {
        assert_eq!(read(&text), "/", "{text:?}");
        assert!(stays_with_us(&read(&text)));
    }
    // A comma belongs to a path.
    let harmless = "https://app.example/,https://evil.example/";
    assert_eq!(read(harmless), harmless);
    assert_eq!(read(&format!("/{}", "x".repeat(LONGEST))), "/");
}

#[test]
fn r17_without_routes_only_paths_are_left() {
    for text in [APP, "https://app.example/", "https://own.invalid/x"] {
        assert_eq!(ReturnTo::read(text, |_| false), ReturnTo::home());
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (origin, target, written) in [
        (None, "/", Some("/")),
        (None, "/x?y=z", Some("/x?y=z")),
        (None, "/x?q='a'|b", Some("/x?q=%27a%27|b")),
        (None, "/a/../b", Some("/b")),
        (None, "//evil.example", None),
        (None, "/..//evil.example", None),
        (Some(APP), "/x?y", Some("https://app.example/x?y")),
        (Some(APP), "/\u{e9}", Some("https://app.example/%C3%A9")),
        (Some(PORT), "/", Some("http://wiki.example:7400/")),
        (Some(APP), "//x", None),
        (Some(APP), "@evil.example/", None),
        (Some(APP), ".evil.example/", None),
    ] {
        assert_eq!(ReturnTo::write(origin, target).as_deref(), written, "{origin:?} {target}");
    }
}

proptest! {
    #[test]
    fn r17_whatever_is_read_stays_on_our_origin_or_an_allowed_one(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "/", "//", "\\", "@", ":", "?", "#", ".", "..", "%2e", "%2f", "%5c", "%00", "https:", "http:", "javascript:",
                "app.example", "evil.example", "wiki.example", ":7400", ":443", "https://app.example", "\t", "\n", "\r", " ",
                "\u{3002}", "\u{ff0f}", "[", "]", "[::1]", ";", "&", "=", "%", "x",
            ]).prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ], 0..12),
    ) {
        let text = pieces.concat();
        let location = read(&text);
        prop_assert!(stays_with_us(&location), "{text:?} leads to {}", followed(&location));
        let with_slash = text.clone() + "/";
        prop_assert!(["/", &text, &with_slash].contains(&location.as_str()), "{text:?} becomes {location:?}");
        // And it is taken again as it is.
        prop_assert_eq!(read(&location), location);
    }

    #[test]
    fn r17_whatever_is_written_leads_where_it_was_written_for(target in "/[!-~]{0,40}") {
        for origin in [None, Some(APP)] {
            if let Some(text) = ReturnTo::write(origin, &target) {
                let back = ReturnTo::read(&text, allowed);
                prop_assert_eq!(back.origin(), origin);
                prop_assert!(stays_with_us(&back.location()));
            }
        }
    }
}
