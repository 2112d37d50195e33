//! Text of which parts may not be known.
//!
//! A line is read as cells: a byte, or a mark for text that cannot be told.

/// One byte of a line, or one of the marks below.
pub(crate) type Cell = u16;

/// Any text; it stays where it is and brings no operators with it.
pub(crate) const UNKNOWN: Cell = 0x100;
/// Any text from a `%NAME%`. Since `cmd` puts it in before it looks for operators, it may hold some.
pub(crate) const OPEN: Cell = 0x101;
/// A name, or a part of one, without separators.
pub(crate) const ANY_NAME: Cell = 0x102;
/// Names with separators between them: something beneath the directory that stands before it.
pub(crate) const ANY_DEEP: Cell = 0x103;

/// The cells of `bytes`.
pub(crate) fn cells(bytes: &[u8]) -> Vec<Cell> {
    bytes.iter().map(|b| Cell::from(*b)).collect()
}

/// The bytes that are known; what stands for names becomes a wildcard, what is not known is left out.
pub(crate) fn bytes(cells: &[Cell]) -> Vec<u8> {
    let mut text = Vec::with_capacity(cells.len());
    for cell in cells {
        match *cell {
            ANY_NAME => text.push(b'*'),
            ANY_DEEP => text.extend_from_slice(br"*\*"),
            UNKNOWN | OPEN => {}
            byte => text.push(byte as u8),
        }
    }
    text
}

/// Whether a part is not known at all.
pub(crate) fn has_unknown(cells: &[Cell]) -> bool {
    cells.iter().any(|c| matches!(*c, UNKNOWN | OPEN))
}

/// Whether every cell is a byte.
pub(crate) fn is_plain(cells: &[Cell]) -> bool {
    cells.iter().all(|c| *c < 0x100)
}

/// Whether `cell` is the byte `byte`.
pub(crate) fn is(cell: Option<&Cell>, byte: u8) -> bool {
    cell == Some(&Cell::from(byte))
}

/// The byte of a cell, 0 for a mark.
pub(crate) fn byte(cell: Cell) -> u8 {
    if cell < 0x100 { cell as u8 } else { 0 }
}

/// Whether a cell separates words for `cmd` itself.
pub(crate) fn is_delimiter(cell: Cell) -> bool {
    matches!(byte(cell), b' ' | b'\t' | b',' | b';' | b'=' | 0x0b | 0x0c)
}

/// Without delimiters at both ends.
pub(crate) fn trim(mut cells: &[Cell]) -> &[Cell] {
    while let [first, rest @ ..] = cells
        && is_delimiter(*first)
    {
        cells = rest;
    }
    while let [rest @ .., last] = cells
        && is_delimiter(*last)
    {
        cells = rest;
    }
    cells
}

/// Without quotes.
pub(crate) fn unquoted(cells: &[Cell]) -> Vec<Cell> {
    let quote = Cell::from(b'"');
    cells.iter().copied().filter(|c| *c != quote).collect()
}
