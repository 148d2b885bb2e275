//! A QR code in a page, for a phone's camera.

use qrcode::render::svg::Color;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::error::WebError;

/// A picture of the code that holds `text`, black on white whatever the page's colours are: cameras want a dark code on a
/// light ground. It is SVG, to be written into the page as it is.
pub(crate) fn svg(text: &str) -> Result<Zeroizing<String>, WebError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|_| WebError::BadRequest("This does not fit into a QR code.".to_owned()))?;
    let drawn = Zeroizing::new(code.render::<Color<'_>>().quiet_zone(true).build());
    // In a page there is no XML declaration.
    let start = drawn.find("<svg").unwrap_or(0);
    let (tag, rest) = drawn.get(start..).unwrap_or_default().split_at_checked(4).unwrap_or_default();
    Ok(Zeroizing::new(format!("{tag} role=\"img\" aria-label=\"QR code\"{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_picture_without_a_script_a_style_or_the_text_itself() {
        let text = "fgt_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf00Z4sN";
        let drawn = svg(text).unwrap();
        assert!(drawn.starts_with("<svg role=\"img\""), "{}", &*drawn);
        assert!(drawn.ends_with("</svg>") && drawn.contains("fill=\"#fff\""));
        assert!(!drawn.contains(text) && !drawn.contains("style") && !drawn.contains("<script"));
        assert!(svg(&"x".repeat(4_000)).is_err());
    }
}
