//! Names that people give to themselves and to their things: what all of them must be.

use std::borrow::Cow;

/// The most characters of a name, where a character is a Unicode scalar value: an emoji that is put together from
/// several counts as several.
const LONGEST: usize = 80;

/// The text without blanks around it, if it can be a name: 1 to 80 characters, none of them a control character.
/// Anything else may be in it, so whoever shows it escapes it for its place.
pub(crate) fn shown(text: &str) -> Option<&str> {
    let name = text.trim();
    let count = name.chars().count();
    ((1..=LONGEST).contains(&count) && !name.chars().any(char::is_control)).then_some(name)
}

/// The nearest name to a text that may be none: without control characters, and cut short. `None` when nothing is left.
pub fn nearest(text: &str) -> Option<String> {
    let name: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    shown(&name).map(str::to_owned)
}

/// The text as a line of a terminal can show it: what would move the cursor, or turn the direction of the text around
/// it, stands there as an escape such as `\u{202e}`.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(misleads) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if misleads(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Whether a text is one line that shows as it reads.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.chars().any(misleads)
}

/// Control characters, line and paragraph separators, and the explicit directional formatting characters of the
/// Unicode Bidirectional Algorithm (UAX #9, section 2). Joiners are none of them: emoji and scripts need them.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{2028}' | '\u{2029}'
            | '\u{061c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_and_eighty_emoji_are_names() {
        let family = "👩\u{200d}👩\u{200d}👧";
        let persian = "می\u{200c}خواهم";
        for name in ["x", "Ada Lovelace", "שלום", persian, family, "❤\u{fe0f}", &"🦀".repeat(80)] {
            assert_eq!(shown(name), Some(name));
        }
        assert_eq!(shown("\u{2003} ada \n"), Some("ada"));
    }

    #[test]
    fn what_is_no_name_has_a_nearest_one() {
        assert_eq!(nearest("a\u{1b}b\n c\t ").as_deref(), Some("ab c"));
        assert_eq!(nearest(&"🦀".repeat(81)), Some("🦀".repeat(80)));
        assert_eq!(nearest(" \u{7f}\0 "), None);
    }

    #[test]
    fn control_characters_and_too_few_or_many_are_no_name() {
        for c in "\0\t\n\u{7f}\u{85}".chars() {
            assert_eq!(shown(&format!("a{c}b")), None, "{c:?}");
        }
        for text in ["", " ", &"x".repeat(81), &"🦀".repeat(81)] {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_would_move_the_cursor_or_turn_text_is_escaped_on_a_terminal() {
        for c in "\u{1b}\r\u{2028}\u{61c}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert_eq!(on_one_line(&format!("a{c}b")), format!("a{}b", c.escape_unicode()));
        }
        let family = "👩\u{200d}👩\u{200d}👧 שלום";
        assert_eq!(on_one_line(family), family);
    }
}
