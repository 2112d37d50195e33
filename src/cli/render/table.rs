//! Aligned columns.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::Palette;

/// Columns under a bold header, without rules. Cells are not wrapped.
pub(crate) struct Columns {
    table: Table,
}

/// The colour of a cell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    /// None.
    Plain,
    /// See [`Palette::good`].
    Good,
    /// See [`Palette::bad`].
    Bad,
    /// See [`Palette::warn`].
    Warn,
    /// See [`Palette::accent`].
    Accent,
}

impl Columns {
    /// A table with these titles.
    pub(crate) fn new(palette: Palette, titles: &[&str]) -> Self {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(
                titles
                    .iter()
                    .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
            );
        if palette.is_on() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { table }
    }

    /// Aligns these columns to the right.
    pub(crate) fn right(&mut self, columns: &[usize]) {
        for &index in columns {
            if let Some(column) = self.table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }

    /// Adds a row.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Tone)>) {
        self.table.add_row(cells.into_iter().map(|(text, tone)| {
            let cell = Cell::new(text);
            match tone {
                Tone::Plain => cell,
                Tone::Good => cell.fg(comfy_table::Color::DarkGreen),
                Tone::Bad => cell.fg(comfy_table::Color::DarkRed),
                Tone::Warn => cell.fg(comfy_table::Color::DarkYellow),
                Tone::Accent => cell.fg(comfy_table::Color::DarkCyan),
            }
        }));
    }

    /// How wide all columns but the last are together.
    pub(crate) fn width_before_last(&self) -> usize {
        let widths = self.table.column_max_content_widths();
        let before = widths.len().saturating_sub(1);
        widths
            .iter()
            .take(before)
            .map(|width| usize::from(*width) + 2)
            .sum()
    }

    /// The table's text, each line ended, without spaces at line ends.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for line in self.table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// How wide the terminal behind standard output is; `None` where there is none.
pub(crate) fn terminal_width() -> Option<usize> {
    Table::new().width().map(usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut columns = Columns::new(Palette::new(false), &["ID", "SIZE", "COMMAND"]);
        columns.right(&[1]);
        columns.row([
            ("a", Tone::Plain),
            ("5 B", Tone::Plain),
            ("ls", Tone::Plain),
        ]);
        columns.row([
            ("bcd", Tone::Bad),
            ("500 KiB", Tone::Plain),
            ("", Tone::Plain),
        ]);
        assert_eq!(
            columns.text(),
            "ID      SIZE  COMMAND\n\
             a        5 B  ls\n\
             bcd  500 KiB\n"
        );
        assert_eq!(columns.width_before_last(), 5 + 9);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut columns = Columns::new(Palette::new(true), &["A", "B"]);
        columns.row([("x", Tone::Good), ("y", Tone::Plain)]);
        let text = columns.text();
        assert!(text.contains("\u{1b}["), "{text:?}");
    }
}
