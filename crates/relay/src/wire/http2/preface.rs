//! How a client says that it speaks HTTP/2 without having been asked (RFC 9113, section 3.4).

/// The connection preface.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The whole preface.
    Whole,
    /// They may become it.
    Partial,
    /// Something else.
    Other,
}

/// Looks at the first bytes of a connection.
pub(crate) fn beginning(bytes: &[u8]) -> Beginning {
    let known = bytes.get(..PREFACE.len()).unwrap_or(bytes);
    match PREFACE.strip_prefix(known) {
        Some([]) => Beginning::Whole,
        Some(_) => Beginning::Partial,
        None => Beginning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_it_counts() {
        for length in 0..PREFACE.len() {
            assert_eq!(beginning(&PREFACE[..length]), Beginning::Partial);
            let mut other = PREFACE[..=length].to_vec();
            other[length] ^= 0x20;
            assert_eq!(beginning(&other), Beginning::Other);
        }
        assert_eq!(beginning(PREFACE), Beginning::Whole);
        assert_eq!(beginning(&[PREFACE, b"more"].concat()), Beginning::Whole);
    }
}
