//! Our own cookies, which neither reach an upstream nor are set by one (requirements R15 and R19).

use fallgate_authority::{Fields, cookie_name, knock_cookie_name, pairing_cookie_name};
use memchr::memmem;

/// The names of our own cookies. Cookie names are compared with case.
const OWN: [&str; 6] = [
    cookie_name(true),
    cookie_name(false),
    knock_cookie_name(true),
    knock_cookie_name(false),
    pairing_cookie_name(true),
    pairing_cookie_name(false),
];

/// Writes the `Cookie` field of a client without our own cookies, the others byte for byte; nothing if none is left.
pub(super) fn write_cookie(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if memmem::find(value, b"fallgate").is_none() {
        super::write_field(out, name, value);
        return;
    }
    let start = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let empty = out.len();
    for pair in value.split(|&byte| byte == b';').filter(|pair| !is_own(pair)) {
        if out.len() == empty {
            out.extend_from_slice(pair.trim_ascii_start());
        } else {
            out.push(b';');
            out.extend_from_slice(pair);
        }
    }
    if out.len() == empty {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// The cookies of a request without our own, as one `Cookie` field has them.
pub(crate) fn other_cookies(fields: &dyn Fields) -> Vec<u8> {
    let mut others = Vec::new();
    fields.each("cookie", &mut |value| {
        let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        for pair in pairs.filter(|pair| !pair.is_empty() && !is_own(pair)) {
            if !others.is_empty() {
                others.extend_from_slice(b"; ");
            }
            others.extend_from_slice(pair);
        }
    });
    others
}

/// Whether a `Set-Cookie` value sets a cookie that would come back as one of ours.
pub(super) fn sets_own(value: &[u8]) -> bool {
    let pair = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    // A cookie without a name comes back as its bare value: `=fallgate=x` as `fallgate=x`.
    is_own(pair.strip_prefix(b"=").unwrap_or(pair))
}

fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    OWN.iter().any(|own| own.as_bytes() == name)
}
