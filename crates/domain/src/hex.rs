//! Bytes as hex digits.

/// In lower case.
pub fn encode(bytes: &[u8]) -> String {
    // Room for all from the start: a secret that moves to a larger place leaves a copy behind.
    let mut text = String::with_capacity(2 * bytes.len());
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

/// Exactly `N` bytes, in either case; `None` for anything else.
pub fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != N {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_either_case_and_nothing_else_is() {
        assert_eq!(encode(&[0, 0x0f, 0xab, 0xff]), "000fabff");
        for text in ["000fabff", "000FABFF", "000FabfF"] {
            assert_eq!(decode(text.as_bytes()), Some([0, 0x0f, 0xab, 0xff]), "{text}");
        }
        for text in ["", "000fabf", "000fabfff", "000fabfff0", "000fabfg", "+00fabff", "000fab\u{e9}"] {
            assert_eq!(decode::<4>(text.as_bytes()), None, "{text}");
        }
    }
}
