//! Where the parser stands, white space, and the bounds that it keeps.

use std::ops::Range;

/// How deep blocks, parentheses and operators may nest.
const MAX_DEPTH: usize = 48;
/// How many expressions, words and statements a line may have.
const MAX_NODES: usize = 6_000;

/// Why reading stopped.
pub(super) type Failure = &'static str;
pub(super) type Parsed<T> = Result<T, Failure>;

pub(super) const TOO_DEEP: Failure = "nested too deeply";
pub(super) const TOO_LONG: Failure = "the line is too long";

/// The parser: a position in the source.
pub(super) struct Parser<'a> {
    pub(super) source: &'a [u8],
    pub(super) at: usize,
    depth: usize,
    nodes: usize,
    /// A bound was met: reading on makes no sense.
    pub(super) exhausted: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self {
            source,
            at: 0,
            depth: 0,
            nodes: 0,
            exhausted: false,
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.source[self.at.min(self.source.len())..]
    }

    pub(super) fn text(&self, span: Range<usize>) -> &'a [u8] {
        &self.source[span]
    }

    /// Takes `token` if it comes next.
    pub(super) fn take(&mut self, token: &[u8]) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &[u8], otherwise: Failure) -> Parsed<()> {
        if self.take(token) {
            Ok(())
        } else {
            Err(otherwise)
        }
    }

    /// Runs `inner` one level deeper.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            self.exhausted = true;
            return Err(TOO_DEEP);
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Counts a node.
    pub(super) fn node(&mut self) -> Parsed<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.exhausted = true;
            return Err(TOO_LONG);
        }
        Ok(())
    }

    /// Passes blanks, comments and continued lines.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | 0x0b | 0x0c) => self.at += 1,
                Some(b'`') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                Some(b'`') if self.rest().starts_with(b"`\r\n") => self.at += 3,
                Some(b'<') if self.peek_at(1) == Some(b'#') => {
                    let end = find(&self.rest()[2..], b"#>");
                    self.at = end.map_or(self.source.len(), |end| self.at + end + 4);
                }
                Some(b'#') => {
                    let rest = self.rest();
                    let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
                    self.at += end.unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Passes blanks and ends of lines.
    pub(super) fn blank_lines(&mut self) {
        loop {
            self.blanks();
            match self.peek() {
                Some(b'\n' | b'\r') => self.at += 1,
                _ => return,
            }
        }
    }

    /// Passes blanks, ends of lines and semicolons.
    pub(super) fn separators(&mut self) {
        loop {
            self.blank_lines();
            if self.peek() != Some(b';') {
                return;
            }
            self.at += 1;
        }
    }
}

pub(super) fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|w| w == pattern)
}

/// A letter, digit, underscore or part of a character beyond ASCII.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// What ends a word of a command wherever it stands.
pub(super) fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | 0x0b
            | 0x0c
            | 0
            | b'('
            | b')'
            | b'{'
            | b'}'
            | b';'
            | b','
            | b'|'
            | b'&'
            | b'<'
            | b'>'
    )
}
