//! Aligned columns.
//!
//! A table library that wraps, draws rules and measures every cell twice took most of the time of a
//! long `list`; columns padded by display width are all that is needed.

use unicode_width::UnicodeWidthStr;

use super::Palette;

/// Blanks between columns.
const GAP: usize = 2;

/// Columns under a bold header, without rules. Cells are not wrapped.
pub(crate) struct Columns {
    palette: Palette,
    titles: Vec<String>,
    /// The cells of all rows, one row after the other.
    cells: Vec<(String, Tone)>,
    widths: Vec<usize>,
    right: Vec<bool>,
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
        Self {
            palette,
            titles: titles.iter().map(|title| (*title).to_owned()).collect(),
            cells: Vec::new(),
            widths: titles.iter().map(|title| title.width()).collect(),
            right: vec![false; titles.len()],
        }
    }

    /// Aligns these columns to the right.
    pub(crate) fn right(&mut self, columns: &[usize]) {
        for &index in columns {
            self.right[index] = true;
        }
    }

    /// Adds a row, which has a cell for every title.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Tone)>) {
        let mut cells = cells.into_iter();
        for width in &mut self.widths {
            let (text, tone) = cells.next().unwrap_or(("", Tone::Plain));
            *width = (*width).max(text.width());
            self.cells.push((text.to_owned(), tone));
        }
    }

    /// How wide all columns but the last are together.
    pub(crate) fn width_before_last(&self) -> usize {
        let before = self.widths.len().saturating_sub(1);
        self.widths
            .iter()
            .take(before)
            .map(|width| width + GAP)
            .sum()
    }

    /// The table's text, each line ended, without spaces at line ends.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.line(&mut out, self.titles.iter(), |palette, title| {
            (title.clone(), palette.bold(title))
        });
        for row in self.cells.chunks(self.titles.len()) {
            self.line(&mut out, row.iter(), |palette, (text, tone)| {
                let painted = match tone {
                    Tone::Plain => text.clone(),
                    Tone::Good => palette.good(text),
                    Tone::Bad => palette.bad(text),
                    Tone::Warn => palette.warn(text),
                    Tone::Accent => palette.accent(text),
                };
                (text.clone(), painted)
            });
        }
        out
    }

    /// Writes one line; `look` gives a cell's text and the same with colours.
    fn line<'c, C: 'c>(
        &self,
        out: &mut String,
        cells: impl Iterator<Item = &'c C>,
        look: impl Fn(Palette, &C) -> (String, String),
    ) {
        let mut pending = 0;
        for ((cell, width), right) in cells.zip(&self.widths).zip(&self.right) {
            let (text, painted) = look(self.palette, cell);
            let blanks = width.saturating_sub(text.width());
            if !text.is_empty() {
                let before = pending + if *right { blanks } else { 0 };
                out.extend(std::iter::repeat_n(' ', before));
                out.push_str(&painted);
                pending = 0;
            } else if *right {
                pending += blanks;
            }
            pending += GAP + if *right { 0 } else { blanks };
        }
        out.push('\n');
    }
}

/// How wide the terminal behind standard output is; `None` where there is none.
pub(crate) fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
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
