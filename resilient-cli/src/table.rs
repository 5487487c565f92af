//! Tables for people.

use crate::output::{Line, Span, Tone};
use crate::text;

/// Columns wider than this do not widen the rows with shorter values.
const WIDEST: usize = 48;
const GAP: &str = "  ";

/// A table. Numbers are aligned to the right, and the last column can be shortened to the width of a terminal.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Span>>,
}

impl Table {
    /// Creates a table. A heading that begins with `>` is aligned to the right.
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, row: Vec<Span>) {
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the lines. On a terminal with `columns` columns, no line is longer.
    pub(crate) fn lines(self, columns: Option<usize>) -> Vec<Line> {
        let title = |head: &str| Span::new(Tone::Faint, head.trim_start_matches('>'));
        let heads = self.heads.iter().map(|head| title(head)).collect();
        let mut rows = vec![heads];
        rows.extend(self.rows);
        let most = |column: usize| {
            let widths = rows
                .iter()
                .filter_map(|row: &Vec<Span>| row.get(column))
                .map(|cell| text::width(&text::safe(&cell.text)));
            widths.max().unwrap_or(0).min(WIDEST)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(most).collect();
        let line = |row: Vec<Span>| {
            let mut line = Line::new();
            let mut left = columns.unwrap_or(usize::MAX);
            let count = row.len();
            for (column, cell) in row.into_iter().enumerate() {
                let is_last = column + 1 == count;
                let room = if columns.is_none() {
                    usize::MAX
                } else if is_last {
                    left
                } else {
                    widths[column].min(left)
                };
                let shown = if room == usize::MAX {
                    text::safe(&cell.text).into_owned()
                } else {
                    text::fitted(&cell.text, room)
                };
                let pad = " ".repeat(widths[column].saturating_sub(text::width(&shown)).min(left));
                let is_right = self.heads.get(column).is_some_and(|head| head.starts_with('>'));
                left = left.saturating_sub(text::width(&shown) + pad.len() + GAP.len());
                let gap = if is_last { "" } else { GAP };
                let parts = if is_right {
                    [Span::from(pad), Span::new(cell.tone, shown), gap.into()]
                } else {
                    [Span::new(cell.tone, shown), pad.into(), gap.into()]
                };
                line.extend(parts.into_iter().filter(|part| !part.text.is_empty()));
            }
            // Spaces at the end are not printed.
            while line.last().is_some_and(|part| part.text.trim().is_empty()) {
                line.pop();
            }
            line
        };
        rows.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(table: Table, columns: Option<usize>) -> Vec<String> {
        let text = |line: Line| line.into_iter().map(|part| part.text).collect::<String>();
        table.lines(columns).into_iter().map(text).collect()
    }

    fn table() -> Table {
        let mut table = Table::new(&["name", ">calls", "note"]);
        table.row(vec!["支付".into(), "12".into(), "the circuit is open".into()]);
        table.row(vec!["order".into(), "1234567".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_by_their_width_on_the_screen() {
        assert_eq!(
            texts(table(), None),
            ["name     calls  note", "支付        12  the circuit is open", "order  1234567",]
        );
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let mut table = table();
        table.row(vec!["x".repeat(10_000).into(), "1".into(), "y".repeat(10_000).into()]);
        for columns in [1, 5, 40, 80] {
            for line in texts(Table { heads: table.heads.clone(), rows: table.rows.clone() }, Some(columns)) {
                assert!(text::width(&line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn a_file_gets_the_whole_name() {
        let mut table = table();
        table.row(vec!["x".repeat(10_000).into(), "1".into()]);
        assert!(texts(table, None)[3].len() > 10_000);
    }
}
