//! Finds where a head ends, however slowly it drips in, and refuses lines that do not end in CRLF.

use super::HeadLimits;

/// Where the search for the empty line stands. Each byte is looked at once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    searched: usize,
    line: usize,
    lines: usize,
}

/// Why a head cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unscannable {
    /// An LF without a CR before it, or with one too many.
    BareLf,
    /// No end within the limit.
    TooLong,
    /// More lines than there may be.
    TooManyLines,
}

impl Scan {
    /// The length of the head with its empty line, once the buffer holds all of it. The buffer must begin with what
    /// it began with at the last call. `max_lines` counts the lines before the empty one.
    pub(super) fn find_end(
        &mut self,
        buffer: &[u8],
        limits: HeadLimits,
        max_lines: usize,
    ) -> Result<Option<usize>, Unscannable> {
        let window = buffer.get(..limits.max_bytes).unwrap_or(buffer);
        while let Some(offset) = memchr::memchr(b'\n', window.get(self.searched..).unwrap_or_default()) {
            let line_feed = self.searched + offset;
            let line = window.get(self.line..line_feed).unwrap_or_default();
            let Some((b'\r', content)) = line.split_last() else {
                return Err(Unscannable::BareLf);
            };
            self.searched = line_feed + 1;
            self.line = line_feed + 1;
            if content.is_empty() {
                return Ok(Some(line_feed + 1));
            }
            // An empty line to some, and to others none: it is not waited for what comes behind it.
            if content.ends_with(b"\r") {
                return Err(Unscannable::BareLf);
            }
            self.lines += 1;
            if self.lines > max_lines {
                return Err(Unscannable::TooManyLines);
            }
        }
        self.searched = window.len();
        if window.len() >= limits.max_bytes { Err(Unscannable::TooLong) } else { Ok(None) }
    }
}
