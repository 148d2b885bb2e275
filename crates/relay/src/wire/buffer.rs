//! Input buffers, and the stock they come from: an idle connection holds none.

use parking_lot::Mutex;

/// Enough for most heads and small bodies.
const SMALL: usize = 16 * 1024;
/// For bodies and tunnels that keep flowing.
const LARGE: usize = 64 * 1024;
/// How many buffers of each size a worker keeps for reuse.
const KEPT: usize = 64;
/// What a head on its way out is given room for at first, and the most that is kept of one; in bytes.
const HEAD: usize = 1024;
const HEAD_KEPT: usize = 8 * 1024;

/// Bytes that were read and not yet consumed: `storage[start..end]`.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room to read into; never empty. Moves what is there to the front, and grows, when the rest is too small.
    pub(crate) fn room(&mut self, stock: &Stock, flowing: bool) -> &mut [u8] {
        let wanted = if flowing { LARGE } else { SMALL };
        if self.is_empty() && self.storage.len() < wanted {
            stock.give(std::mem::replace(&mut self.storage, stock.take(wanted)));
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.storage.len() {
            if self.start > 0 {
                self.storage.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                // A head that outgrew its buffer; its limit is checked by the parser.
                self.storage.resize((self.storage.len() * 2).max(wanted), 0);
            }
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts `count` bytes of the room as filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.end = (self.end + count).min(self.storage.len());
    }

    /// Gives the storage back when nothing is in it.
    pub(crate) fn rest(&mut self, stock: &Stock) {
        if self.is_empty() && !self.storage.is_empty() {
            stock.give(std::mem::take(&mut self.storage));
            self.start = 0;
            self.end = 0;
        }
    }
}

/// Buffers a worker keeps for reuse. Only that worker's thread takes and gives, so the locks are never contended.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    small: Mutex<Vec<Vec<u8>>>,
    large: Mutex<Vec<Vec<u8>>>,
    heads: Mutex<Vec<Vec<u8>>>,
}

impl Stock {
    fn take(&self, size: usize) -> Vec<u8> {
        let kept = if size > SMALL { &self.large } else { &self.small };
        let buffer = kept.lock().pop();
        buffer.unwrap_or_else(|| vec![0; size])
    }

    /// An empty buffer to write a head into.
    pub(crate) fn take_head(&self) -> Vec<u8> {
        self.heads.lock().pop().unwrap_or_else(|| Vec::with_capacity(HEAD))
    }

    /// Takes one back.
    pub(crate) fn give_head(&self, mut head: Vec<u8>) {
        if !(HEAD..=HEAD_KEPT).contains(&head.capacity()) {
            return;
        }
        head.clear();
        let mut kept = self.heads.lock();
        if kept.len() < KEPT {
            kept.push(head);
        }
    }

    fn give(&self, storage: Vec<u8>) {
        let mut kept = match storage.len() {
            SMALL => self.small.lock(),
            LARGE => self.large.lock(),
            _ => return,
        };
        if kept.len() < KEPT {
            kept.push(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_comes_out_in_order_however_it_is_consumed() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        let mut got = Vec::new();
        for round in 0..200_u8 {
            let piece = vec![round; 500 + usize::from(round)];
            for chunk in piece.chunks(300) {
                let room = buffer.room(&stock, round % 2 == 0);
                let count = chunk.len().min(room.len());
                room[..count].copy_from_slice(&chunk[..count]);
                buffer.advance(count);
                expected.extend_from_slice(&chunk[..count]);
            }
            let half = buffer.len() / 2;
            got.extend_from_slice(&buffer.filled()[..half]);
            buffer.consume(half);
        }
        got.extend_from_slice(buffer.filled());
        assert_eq!(got, expected);
    }

    #[test]
    fn a_resting_buffer_holds_nothing() {
        let stock = Stock::default();
        let mut buffer = Buffer::default();
        buffer.room(&stock, false);
        buffer.advance(10);
        buffer.rest(&stock);
        assert_eq!(buffer.len(), 10);
        buffer.consume(10);
        buffer.rest(&stock);
        assert!(buffer.storage.is_empty());
        assert_eq!(stock.small.lock().len(), 1);
    }
}
