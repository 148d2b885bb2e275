//! The fields of a head, as offsets, each classified once.

use super::FieldId;
use crate::wire::hygiene;

/// The most fields that any head is given room for.
pub(super) const MOST_FIELDS: usize = 256;

/// As many fields as most heads have: room for so many is made at once.
const USUAL_FIELDS: usize = 16;

/// A part of a buffer. It holds no borrow: whoever keeps it keeps the buffer as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The part of `buffer` that this names; nothing, if the buffer has become shorter.
    pub(crate) fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How long it is.
    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it names nothing.
    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Where `part`, a slice of `buffer`, lies in it; empty if it is none.
    pub(super) fn locate(part: &[u8], buffer: &[u8]) -> Self {
        let found = (part.as_ptr() as usize)
            .checked_sub(buffer.as_ptr() as usize)
            .filter(|start| start + part.len() <= buffer.len())
            .and_then(|start| Some((u32::try_from(start).ok()?, u32::try_from(start + part.len()).ok()?)));
        found.map_or_else(Self::default, |(start, end)| Self { start, end })
    }
}

/// A field of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// The name as it was sent.
    pub(crate) name: Span,
    /// The value without the blanks around it.
    pub(crate) value: Span,
    /// Which name it is, if it is one that matters here.
    pub(crate) id: FieldId,
}

/// All fields of a head, in order.
#[derive(Debug, Default)]
pub(super) struct Fields {
    list: Vec<Field>,
    /// One bit for each [`FieldId`] that is there.
    present: u64,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
    }

    pub(super) fn push(&mut self, header: &httparse::Header<'_>, buffer: &[u8]) {
        let name = header.name.as_bytes();
        let id = hygiene::classify(name);
        self.present |= 1 << id as u32;
        let field = Field { name: Span::locate(name, buffer), value: Span::locate(header.value, buffer), id };
        if self.list.capacity() == 0 {
            self.list.reserve_exact(USUAL_FIELDS);
        }
        self.list.push(field);
    }

    pub(super) fn list(&self) -> &[Field] {
        &self.list
    }

    pub(super) fn all(&self, id: FieldId) -> impl Iterator<Item = Span> {
        let list = if self.present & (1 << id as u32) == 0 { &[][..] } else { &self.list };
        list.iter().filter(move |field| field.id == id).map(|field| field.value)
    }

    pub(super) fn first(&self, id: FieldId) -> Option<Span> {
        self.all(id).next()
    }

    /// The value of the field that may be there once; `Err` if it is there more often.
    pub(super) fn only(&self, id: FieldId) -> Result<Option<Span>, Repeated> {
        let mut values = self.all(id);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (value, None) => Ok(value),
        }
    }
}

/// A field came more than once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeated;
