//! What is printed: data on stdout, talk on stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use fallgate_domain::clock::Timestamp;
use fallgate_domain::name::on_one_line;
use serde::Serialize;

use crate::failure::Failure;

/// Between two columns of a table.
const GAP: &str = "  ";

/// A line of talk, or a few. Lost when nobody can hear it.
pub(crate) fn say(lines: impl Display) {
    // In one piece, so that nobody else's line comes in between.
    let _ = io::stderr().lock().write_all(format!("{lines}\n").as_bytes());
}

/// A question; the answer is typed behind it.
pub(crate) fn ask(question: impl Display) {
    let _ = io::stderr().lock().write_all(question.to_string().as_bytes());
}

/// Something that was put right, or that the reader should know.
pub(crate) fn warn(line: impl Display) {
    say(format_args!("warning: {line}"));
}

/// Why a command failed.
pub(crate) fn error(failure: &Failure) {
    say(format_args!("error: {failure}"));
}

/// Data. Whoever closes the pipe early, as `head` does, has had enough: that is no failure.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    match write_all(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::failed(format_args!("cannot write to stdout: {error}"))),
    }
}

/// Data of which more may come; `false` when nobody reads it any more.
pub(crate) fn more_data(text: &str) -> Result<bool, Failure> {
    match write_all(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written
            .map(|()| true)
            .map_err(|error| Failure::failed(format_args!("cannot write to stdout: {error}"))),
    }
}

/// Refuses to go on when nobody can read what will be printed: stdout is closed, which the runtime turns into
/// `/dev/null`, or is that file itself.
pub(crate) fn expect_reader(what: impl Display) -> Result<(), Failure> {
    let device = |file: rustix::fs::Stat| file.st_rdev;
    let stdout = rustix::fs::fstat(io::stdout()).map(device);
    let nowhere = rustix::fs::stat("/dev/null").map(device);
    match (stdout, nowhere) {
        (Ok(stdout), Ok(nowhere)) if stdout == nowhere => Err(Failure::failed(format_args!(
            "stdout goes nowhere, where {what} would be lost, so nothing was made: let stdout go to somebody who reads it"
        ))),
        _ => Ok(()),
    }
}

/// Data that is shown this once: here a closed pipe is a failure, and what is to be done about it is said.
pub(crate) fn data_once(text: &str, if_lost: impl Display) -> Result<(), Failure> {
    write_all(text)
        .map_err(|error| Failure::failed(format_args!("cannot write to stdout ({error}): {if_lost}")))
}

/// One JSON value, on lines of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

fn write_all(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Rows under a heading, in columns as wide as their widest cell. Whatever is in a name stays in its cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let mut columns = Columns::default();
    columns.widen(std::slice::from_ref(&heading));
    columns.widen(rows);
    let lines = std::iter::once(&heading).chain(rows).map(|row| columns.line(row) + "\n");
    lines.collect()
}

/// How wide each column of a table is. One whose end is not known may grow.
#[derive(Debug, Default)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// Makes room for rows.
    pub(crate) fn widen(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            self.0.resize(self.0.len().max(row.len()), 0);
            for (width, cell) in self.0.iter_mut().zip(row) {
                *width = on_one_line(cell).chars().count().max(*width);
            }
        }
    }

    /// A row, on one line without blanks at its end.
    pub(crate) fn line(&self, row: &[String]) -> String {
        let cells = row.iter().zip(&self.0).map(|(cell, width)| format!("{:<width$}", on_one_line(cell)));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

/// So many of something that is one without an `s`.
pub(crate) fn counted(number: impl Into<u64>, what: &str) -> String {
    let number = number.into();
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// So many bytes, in the largest unit of which there is one.
pub(crate) fn amount(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, power)| bytes >> power > 0) {
        Some((unit, power)) => {
            let tenths = (u128::from(bytes) * 10) >> power;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// A time to the second, RFC 3339 in UTC.
pub(crate) fn to_the_second(time: Timestamp) -> String {
    time.to_the_second().to_string()
}

/// A time to the second, or `never`.
pub(crate) fn or_never(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), to_the_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_their_end() {
        let rows = [vec!["1".to_owned(), "ärger".to_owned()], vec!["22222".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID     NAME\n1      ärger\n22222\n");
    }

    #[test]
    fn columns_that_grow_stay_where_they_are_for_narrower_rows() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let mut columns = Columns::default();
        columns.widen(&[row(["1", "a"])]);
        assert_eq!(columns.line(&row(["1", "a"])), "1  a");
        columns.widen(&[row(["10", "b"])]);
        assert_eq!(columns.line(&row(["10", "b"])), "10  b");
        assert_eq!(columns.line(&row(["9", "c"])), "9   c");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(to_the_second(Timestamp::from_millis(1_999)), "1970-01-01T00:00:01Z");
        assert_eq!(or_never(None), "never");
    }
}
