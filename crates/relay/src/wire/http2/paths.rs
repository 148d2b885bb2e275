//! Which requests have a `#` in their path, and which trailers have a pseudo-field.
//!
//! `h2` cuts a path short there, and what it cut off is not to be had from it: so a request that HTTP/1.1 refuses would
//! go through in another form (requirement R4). Seeing it takes reading the compressed heads once more (RFC 7541), though
//! not what they say: of each field nothing is kept but its lengths, whether it is the path, and whether it has a `#`.
//!
//! Pseudo-fields in trailers make a message malformed (RFC 9113, section 8.1); `h2` takes them out without a word.

use std::collections::VecDeque;

/// The longest head that is looked into, compressed; `h2` takes none as long.
const LONGEST: usize = 256 * 1024;
/// How much the table of fields holds: as much as every client may use that was not told otherwise.
const TABLE: usize = 4096;
/// What a field costs in the table besides its lengths (RFC 7541, section 4.1).
const OVERHEAD: usize = 32;

const PATH: &[u8] = b":path";
/// The same in HPACK's Huffman code.
const PATH_CODED: &[u8] = &[0xb9, 0x58, 0xd3, 0x3f];
/// `#` in that code, and how many bits it has.
const HASH_CODED: (u32, usize) = (0xffa, 12);

/// The lengths of the names that HPACK knows by number, from 1 on (RFC 7541, appendix A).
const KNOWN: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13,
    12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3,
    16,
];

/// How many symbols HPACK's Huffman code has of each length in bits; it is a canonical one (RFC 7541, appendix B).
const CODES: [u32; 31] =
    [0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];

/// `:` in that code: it begins the first byte of a name, and has seven bits.
const COLON_CODED: u8 = 0xb8;
/// The last of the pseudo-fields among the names that HPACK knows by number.
const LAST_PSEUDO: usize = 14;

/// What is known of a field.
#[derive(Debug, Clone, Copy)]
struct Field {
    name_length: usize,
    value_length: usize,
    is_path: bool,
    is_pseudo: bool,
    has_hash: bool,
}

/// What a head has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// A `#` in its path.
    pub(crate) fragment: bool,
    /// A pseudo-field.
    pub(crate) pseudo: bool,
}

/// Looks through the heads of one direction of a connection, in their order.
#[derive(Debug)]
pub(crate) struct Paths {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    limit: usize,
    /// A head that has begun.
    block: Vec<u8>,
}

/// A head that cannot be read. `h2` ends the connection for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Paths {
    pub(crate) fn new() -> Self {
        Self { table: VecDeque::new(), size: 0, limit: TABLE, block: Vec::new() }
    }

    /// Takes the next piece of a head. Once it is `whole`: what it has.
    pub(crate) fn take(&mut self, piece: &[u8], whole: bool) -> Result<Option<Found>, Unreadable> {
        if whole && self.block.is_empty() {
            return self.read(piece).map(Some);
        }
        if self.block.len() + piece.len() > LONGEST {
            return Err(Unreadable);
        }
        self.block.extend_from_slice(piece);
        if !whole {
            return Ok(None);
        }
        let block = std::mem::take(&mut self.block);
        self.read(&block).map(Some)
    }

    fn read(&mut self, mut block: &[u8]) -> Result<Found, Unreadable> {
        let mut found = Found::default();
        while let Some(&first) = block.first() {
            let field = match first {
                0x80.. => self.numbered(integer(&mut block, 7)?)?,
                0x40..=0x7f => {
                    let field = self.literal(&mut block, 6)?;
                    self.insert(field);
                    field
                }
                0x20..=0x3f => {
                    let limit = integer(&mut block, 5)?;
                    if limit > TABLE {
                        return Err(Unreadable);
                    }
                    self.limit = limit;
                    self.evict(0);
                    continue;
                }
                _ => self.literal(&mut block, 4)?,
            };
            found.fragment |= field.is_path && field.has_hash;
            found.pseudo |= field.is_pseudo;
        }
        Ok(found)
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Result<Field, Unreadable> {
        let named = match integer(block, prefix)? {
            0 => {
                let name = text(block)?;
                Field {
                    name_length: name.length,
                    is_path: name.bytes == if name.coded { PATH_CODED } else { PATH },
                    is_pseudo: name.bytes.first().is_some_and(|first| {
                        if name.coded { first & 0xfe == COLON_CODED } else { *first == b':' }
                    }),
                    value_length: 0,
                    has_hash: false,
                }
            }
            number => self.numbered(number)?,
        };
        let value = text(block)?;
        Ok(Field { value_length: value.length, has_hash: value.has_hash, ..named })
    }

    fn numbered(&self, number: usize) -> Result<Field, Unreadable> {
        let place = number.checked_sub(1).ok_or(Unreadable)?;
        match KNOWN.get(place) {
            Some(&name_length) => Ok(Field {
                name_length: usize::from(name_length),
                value_length: 0,
                is_path: matches!(number, 4 | 5),
                is_pseudo: number <= LAST_PSEUDO,
                has_hash: false,
            }),
            None => self.table.get(place - KNOWN.len()).copied().ok_or(Unreadable),
        }
    }

    fn insert(&mut self, field: Field) {
        let size = field.size();
        self.evict(size);
        if size <= self.limit {
            self.size += size;
            self.table.push_front(field);
        }
    }

    /// Makes room for so much.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.limit {
            let Some(oldest) = self.table.pop_back() else { return };
            self.size -= oldest.size();
        }
    }
}

impl Field {
    fn size(self) -> usize {
        self.name_length + self.value_length + OVERHEAD
    }
}

/// A text, as far as it matters.
struct Text<'a> {
    bytes: &'a [u8],
    coded: bool,
    length: usize,
    has_hash: bool,
}

fn text<'a>(block: &mut &'a [u8]) -> Result<Text<'a>, Unreadable> {
    let coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let count = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(count).ok_or(Unreadable)?;
    *block = rest;
    let (length, has_hash) =
        if coded { decode(bytes)? } else { (bytes.len(), memchr::memchr(b'#', bytes).is_some()) };
    Ok(Text { bytes, coded, length, has_hash })
}

/// An integer whose first byte has so many bits for it (RFC 7541, section 5.1).
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Unreadable> {
    let (&first, mut rest) = block.split_first().ok_or(Unreadable)?;
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (&byte, later) = rest.split_first().ok_or(Unreadable)?;
            rest = later;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            // Nothing is as long.
            if shift > 21 {
                return Err(Unreadable);
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// How long a text in Huffman code is, and whether there is a `#` in it.
fn decode(bytes: &[u8]) -> Result<(usize, bool), Unreadable> {
    let (mut symbols, mut has_hash) = (0, false);
    let (mut code, mut first, mut bits) = (0_u32, 0_u32, 0_usize);
    for byte in bytes {
        for place in (0..8).rev() {
            code = code << 1 | u32::from(byte >> place & 1);
            first <<= 1;
            bits += 1;
            let count = CODES.get(bits).copied().ok_or(Unreadable)?;
            if code < first + count {
                symbols += 1;
                has_hash |= (code, bits) == HASH_CODED;
                (code, first, bits) = (0, 0, 0);
            } else {
                first += count;
            }
        }
    }
    // What is left pads the last byte.
    if bits < 8 { Ok((symbols, has_hash)) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn with(fragment: bool) -> Found {
        Found { fragment, pseudo: true }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read_as_it_says() {
        // RFC 7541, appendices C.3 and C.4: the same three heads, plain and in Huffman code.
        for heads in [
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
        ] {
            let mut paths = Paths::new();
            for (head, size) in heads.iter().zip([57, 110, 164]) {
                assert_eq!(paths.take(&bytes(head), true), Ok(Some(with(false))));
                assert_eq!(paths.size, size);
            }
        }
    }

    #[test]
    fn r4_a_fragment_is_seen_however_it_is_written() {
        // `/a#b`, plain and coded, under the path's number, its name, its coded name, kept or not.
        let plain = "042f612362";
        let coded = "84607ff51f";
        for value in [plain, coded] {
            for name in ["04", "14", "44", "00053a70617468", "4084b958d33f", "1084b958d33f"] {
                let mut paths = Paths::new();
                let head = bytes(&format!("82{name}{value}"));
                for at in 0..head.len() {
                    let (one, two) = head.split_at(at);
                    let mut paths = Paths::new();
                    assert_eq!(paths.take(one, false), Ok(None));
                    assert_eq!(paths.take(two, true), Ok(Some(with(true))), "{name} {value} at {at}");
                }
                assert_eq!(paths.take(&head, true), Ok(Some(with(true))), "{name} {value}");
                if name.starts_with('4') {
                    // Kept, and named by its number alone.
                    assert_eq!(paths.take(&[0xbe], true), Ok(Some(with(true))));
                    assert_eq!(paths.take(&[0x20, 0x3f, 0xe1, 0x1f, 0x82], true), Ok(Some(with(false))));
                    assert_eq!(paths.take(&[0xbe], true), Err(Unreadable), "nothing is kept any more");
                }
            }
            let elsewhere = bytes(&format!("8284 0003 782d61 {value}"));
            assert_eq!(Paths::new().take(&elsewhere, true), Ok(Some(with(false))), "a # that is in no path");
            let trailer = Paths::new().take(&bytes(&format!("0003 782d61 {value}")), true);
            assert_eq!(trailer, Ok(Some(Found::default())));
        }
    }

    #[test]
    fn nonsense_is_unreadable_and_costs_little() {
        for head in ["80", "be", "41", "4105", "3fffffff7f", "7fffffffffff", "448afe", "3fe21f"] {
            assert_eq!(Paths::new().take(&bytes(head), true), Err(Unreadable), "{head}");
        }
        let mut paths = Paths::new();
        let mut taken = 0;
        while paths.take(&[0; 10_000], false).is_ok() {
            taken += 10_000;
        }
        assert!(taken <= LONGEST);
    }
}
