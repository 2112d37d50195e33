//! How large and how deeply nested a line may be.
//!
//! The grammar is read by recursive descent, and nested substitutions are read several times over.
//! So a line is measured before: in one pass, without recursion. A light one is read at once, on
//! the stack of the caller, for which 2 MiB are enough. A heavy one needs [`LARGE_STACK`]; the
//! parser's own limit of 1000 levels lies well below what that holds. What is nested deeper than
//! [`MAX_SUBSTITUTIONS`] is refused, because the time to read it grows with the square of the depth
//! and more.

use super::delimit;

/// The longest line that is read, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// How deep substitutions, parentheses and quotes may be nested.
const MAX_SUBSTITUTIONS: usize = 20;

/// How many reserved words that open something a line may have.
const MAX_KEYWORDS: usize = 400;

/// How many commands a line may have.
const MAX_COMMANDS: usize = 4000;

/// Up to this many opening marks, wherever they stand, a line is light.
const LIGHT_OPENINGS: usize = 14;

/// Up to this many separators of commands, wherever they stand, a line is light.
const LIGHT_SEPARATORS: usize = 64;

/// The stack for heavy lines, in bytes. Only what is used of it is ever backed by memory.
pub(crate) const LARGE_STACK: usize = 256 * 1024 * 1024;

/// What a line needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It can be read on any stack.
    Light,
    /// It needs [`LARGE_STACK`].
    Heavy,
}

/// Measures a line. The error says why it is not read at all.
pub(crate) fn weigh(text: &[u8]) -> Result<Weight, String> {
    if text.len() > MAX_LENGTH {
        return Err("the line is longer than 64 KiB".into());
    }
    if text.contains(&0) {
        return Err("the line has a NUL byte".into());
    }
    let openings = text.iter().filter(|b| b"({[`".contains(b)).count();
    let separators = text.iter().filter(|b| b"\n;&|".contains(b)).count();
    // Reserved words need a blank or line end behind them, unless they are counted above.
    let keywords = keywords(text);
    if openings + keywords <= LIGHT_OPENINGS && separators <= LIGHT_SEPARATORS {
        return Ok(Weight::Light);
    }
    let mut scan = Scan::new(text);
    scan.run()?;
    Ok(Weight::Heavy)
}

fn keywords(text: &[u8]) -> usize {
    text.split(|b| !b.is_ascii_alphanumeric() && *b != b'!')
        .filter(|word| opens(word))
        .count()
}

fn opens(word: &[u8]) -> bool {
    matches!(
        word,
        b"if"
            | b"elif"
            | b"while"
            | b"until"
            | b"for"
            | b"case"
            | b"select"
            | b"function"
            | b"time"
            | b"coproc"
            | b"!"
    )
}

/// What is open at a place of the line.
#[derive(Clone, Copy)]
enum Open {
    /// Commands in parentheses, with how many `case` in them are open.
    Parenthesis(usize),
    Brace,
    Quote,
    Backtick,
}

/// One pass over the line that keeps track of what is open, roughly as the grammar would.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<Open>,
    /// `case` that are open outside parentheses.
    cases: usize,
    commands: usize,
    keywords: usize,
    pending: Vec<Vec<u8>>,
    /// A word begins here.
    boundary: bool,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            cases: 0,
            commands: 0,
            keywords: 0,
            pending: Vec::new(),
            boundary: true,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(&byte) = self.text.get(self.at) {
            match self.open.last() {
                Some(Open::Quote) => self.in_quote(byte),
                Some(Open::Brace) => self.in_brace(byte),
                _ => self.in_commands(byte),
            }
            if self.open.len() > MAX_SUBSTITUTIONS || self.keywords > MAX_KEYWORDS {
                return Err("the line is nested too deeply".into());
            }
            if self.commands > MAX_COMMANDS {
                return Err("the line has too many commands".into());
            }
        }
        Ok(())
    }

    /// Marks that count between double quotes too.
    fn substitution(&mut self, byte: u8) -> bool {
        let next = self.text.get(self.at + 1);
        match (byte, next) {
            (b'\\', _) => self.at += 2,
            (b'$', Some(b'(')) => self.push(Open::Parenthesis(0), 2),
            (b'$', Some(b'{')) => self.push(Open::Brace, 2),
            (b'`', _) if matches!(self.open.last(), Some(Open::Backtick)) => self.pop(),
            (b'`', _) => self.push(Open::Backtick, 1),
            _ => return false,
        }
        true
    }

    fn in_quote(&mut self, byte: u8) {
        if byte == b'"' {
            self.pop();
        } else if !self.substitution(byte) {
            self.at += 1;
        }
    }

    fn in_brace(&mut self, byte: u8) {
        match byte {
            b'}' => self.pop(),
            b'"' => self.push(Open::Quote, 1),
            _ if self.substitution(byte) => {}
            _ => self.at += 1,
        }
    }

    fn in_commands(&mut self, byte: u8) {
        let boundary = std::mem::replace(&mut self.boundary, false);
        match byte {
            b'\'' => {
                let end = delimit::single_quote(self.text, self.at + 1);
                self.at = end.unwrap_or(self.at + 1);
            }
            b'"' => self.push(Open::Quote, 1),
            b'$' if self.text.get(self.at + 1) == Some(&b'\'') => {
                let end = delimit::ansi_quote(self.text, self.at + 2);
                self.at = end.unwrap_or(self.at + 2).min(self.text.len());
            }
            b'#' if boundary => {
                let rest = &self.text[self.at..];
                self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            }
            b'(' => self.push(Open::Parenthesis(0), 1),
            b')' => self.close_parenthesis(),
            b'\n' => {
                self.commands += 1;
                self.boundary = true;
                self.at += 1;
                self.skip_here_documents();
            }
            b';' | b'&' | b'|' => {
                self.commands += 1;
                self.boundary = true;
                self.at += 1;
            }
            b' ' | b'\t' => {
                self.boundary = true;
                self.at += 1;
            }
            b'<' if self.text[self.at..].starts_with(b"<<") => self.here_document(),
            _ if self.substitution(byte) => {}
            _ if boundary => self.word(),
            _ => self.at += 1,
        }
    }

    fn push(&mut self, open: Open, length: usize) {
        self.open.push(open);
        self.at += length;
        self.boundary = true;
    }

    fn pop(&mut self) {
        self.open.pop();
        self.at += 1;
    }

    fn cases(&mut self) -> &mut usize {
        match self.open.last_mut() {
            Some(Open::Parenthesis(cases)) => cases,
            _ => &mut self.cases,
        }
    }

    /// A parenthesis closes what is open, unless it may end a pattern of `case`.
    fn close_parenthesis(&mut self) {
        self.boundary = true;
        if *self.cases() == 0 && matches!(self.open.last(), Some(Open::Parenthesis(_))) {
            self.open.pop();
        }
        self.at += 1;
    }

    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'!')
            .count();
        let word = &rest[..length];
        self.keywords += usize::from(opens(word));
        match word {
            b"case" => *self.cases() += 1,
            b"esac" => {
                let cases = self.cases();
                *cases = cases.saturating_sub(1);
            }
            _ => {}
        }
        self.at += length.max(1);
    }

    fn here_document(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with(b"<<<") {
            self.at += 3;
            return;
        }
        self.at += 2 + usize::from(rest.get(2) == Some(&b'-'));
        while matches!(self.text.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if let Some(end) = delimit::word_end(self.text, self.at, 0) {
            let delimiter = delimit::unquote(&self.text[self.at..end]);
            self.pending.push(delimiter);
            self.at = end;
        }
    }

    /// Skips bodies whose end is there; others are read as commands, which counts too much.
    fn skip_here_documents(&mut self) {
        for delimiter in std::mem::take(&mut self.pending) {
            let mut at = self.at;
            for line in self.text[self.at..].split_inclusive(|b| *b == b'\n') {
                at += line.len();
                if line.trim_ascii() == delimiter.as_slice() {
                    self.at = at;
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_lines_are_light() {
        assert_eq!(weigh(b"cd x && rm -rf \"$(pwd)/y\""), Ok(Weight::Light));
    }

    #[test]
    fn long_documents_are_no_nesting() {
        let body = "print((((((((1\n".repeat(200);
        let line = format!("cat > x <<'EOF'\n{body}EOF\n");
        assert_eq!(weigh(line.as_bytes()), Ok(Weight::Heavy));
    }

    #[test]
    fn many_calls_in_one_line_are_no_nesting() {
        let line = "echo $(a) \"$(b)\" `c`; ".repeat(100);
        assert_eq!(weigh(line.as_bytes()), Ok(Weight::Heavy));
    }

    #[test]
    fn nesting_is_refused() {
        for opening in [
            "$(",
            "\"$(",
            "(",
            "`\"",
            "${x:-",
            "<(",
            "if ",
            "$((",
            "case x in a) $(",
        ] {
            let line = opening.repeat(1000);
            assert!(weigh(line.as_bytes()).is_err(), "{opening}");
        }
    }

    #[test]
    fn size_is_bounded() {
        assert!(weigh(&vec![b'a'; MAX_LENGTH + 1]).is_err());
        assert!(weigh(b"a\0b").is_err());
    }
}
