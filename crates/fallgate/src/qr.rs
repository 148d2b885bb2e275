//! A QR code in a terminal, for a phone's camera.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Black on white whatever the terminal's own colours are: cameras want a dark code on a light ground.
const COLOURS: &str = "\x1b[30;107m";
const PLAIN: &str = "\x1b[0m";

/// The code that holds `text`, two of its rows in each line, with the white rim that cameras look for. `coloured`: the
/// lines go to a terminal.
pub(crate) fn code(text: &str, coloured: bool) -> Result<Zeroizing<String>, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| Failure::failed(format_args!("this does not fit into a QR code: {error}")))?;
    let drawn = Zeroizing::new(code.render::<Dense1x2>().quiet_zone(true).build());
    let mut lines = Zeroizing::new(String::with_capacity(drawn.len() * 2));
    for line in drawn.lines() {
        if coloured {
            lines.push_str(COLOURS);
        }
        lines.push_str(line);
        if coloured {
            lines.push_str(PLAIN);
        }
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_square_with_a_rim_and_coloured_on_terminals_only() {
        let text = "fgt_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf00Z4sN";
        let plain = code(text, false).unwrap();
        let lines: Vec<_> = plain.lines().collect();
        let width = lines.first().unwrap().chars().count();
        // Version 4 has 33 modules, and a rim of 4 on each side.
        assert_eq!((width, lines.len()), (41, 21));
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(lines.first().unwrap().trim().is_empty(), "the rim is light: {plain:?}");
        assert!(!plain.contains('\x1b'));
        let coloured = code(text, true).unwrap();
        assert!(coloured.lines().all(|line| line.starts_with(COLOURS) && line.ends_with(PLAIN)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(code(&"x".repeat(4_000), false).is_err());
    }
}
