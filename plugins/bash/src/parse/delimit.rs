//! Where quotes and substitutions end.
//!
//! Every function gets the text and the place just behind the opening mark and answers with the
//! place just behind the closing one; `None` where there is none, or where constructs are nested
//! deeper than [`MAX_DEPTH`].

/// How deep quotes and substitutions may be nested in one word.
pub(crate) const MAX_DEPTH: usize = 32;

/// `'…'`
pub(crate) fn single_quote(text: &[u8], at: usize) -> Option<usize> {
    let found = text.get(at..)?.iter().position(|b| *b == b'\'')?;
    Some(at + found + 1)
}

/// `$'…'`
pub(crate) fn ansi_quote(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Backticks.
pub(crate) fn backtick(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'`' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `"…"`
pub(crate) fn double_quote(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    deep(depth)?;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            b'`' => at = backtick(text, at + 1)?,
            b'$' => at = dollar(text, at, true, depth + 1)?,
            _ => at += 1,
        }
    }
}

/// What begins with the `$` at `at`, where it is a bracketed construct or a quote; else one byte.
pub(crate) fn dollar(text: &[u8], at: usize, quoted: bool, depth: usize) -> Option<usize> {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some(b'('), Some(b'(')) => {
            arithmetic(text, at + 3, depth).or_else(|| parenthesis(text, at + 2, depth))
        }
        (Some(b'('), _) => parenthesis(text, at + 2, depth),
        (Some(b'{'), _) => brace(text, at + 2, quoted, depth),
        (Some(b'['), _) => bracket(text, at + 2, depth),
        (Some(b'\''), _) if !quoted => ansi_quote(text, at + 2),
        _ => Some(at + 1),
    }
}

/// `${…}`
pub(crate) fn brace(text: &[u8], mut at: usize, quoted: bool, depth: usize) -> Option<usize> {
    deep(depth)?;
    loop {
        match text.get(at)? {
            b'}' => return Some(at + 1),
            b'\\' => at += 2,
            b'\'' if !quoted => at = single_quote(text, at + 1)?,
            b'"' => at = double_quote(text, at + 1, depth + 1)?,
            b'`' => at = backtick(text, at + 1)?,
            b'$' => at = dollar(text, at, quoted, depth + 1)?,
            _ => at += 1,
        }
    }
}

/// `[…]` of a subscript or of `$[…]`.
pub(crate) fn bracket(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    deep(depth)?;
    loop {
        match text.get(at)? {
            b']' => return Some(at + 1),
            b'\\' => at += 2,
            b'[' => at = bracket(text, at + 1, depth + 1)?,
            b'\'' => at = single_quote(text, at + 1)?,
            b'"' => at = double_quote(text, at + 1, depth + 1)?,
            b'$' => at = dollar(text, at, false, depth + 1)?,
            _ => at += 1,
        }
    }
}

/// `$((…))`: behind both closing parentheses. `None` also where it is no arithmetic.
pub(crate) fn arithmetic(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    deep(depth)?;
    let mut open = 0_usize;
    loop {
        match text.get(at)? {
            b'(' => {
                open += 1;
                at += 1;
            }
            b')' if open > 0 => {
                open -= 1;
                at += 1;
            }
            b')' => return (text.get(at + 1) == Some(&b')')).then_some(at + 2),
            b'\\' => at += 2,
            b'"' => at = double_quote(text, at + 1, depth + 1)?,
            b'`' => at = backtick(text, at + 1)?,
            b'$' => at = dollar(text, at, true, depth + 1)?,
            _ => at += 1,
        }
    }
}

/// `$(…)`, `<(…)`: commands up to the parenthesis that closes them.
pub(crate) fn parenthesis(text: &[u8], at: usize, depth: usize) -> Option<usize> {
    deep(depth)?;
    Commands::new(text, at, depth).end()
}

fn deep(depth: usize) -> Option<()> {
    (depth < MAX_DEPTH).then_some(())
}

/// Reads commands only as far as is needed to find the parenthesis that closes them: comments,
/// here-documents and the patterns of `case` have parentheses of their own.
struct Commands<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Open parentheses, and `case` without its `esac`.
    open: Vec<Open>,
    /// Delimiters of here-documents whose bodies follow the next line end, with whether leading
    /// tabs are removed.
    pending: Vec<(Vec<u8>, bool)>,
    /// A command's first word is expected.
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Parenthesis,
    Case,
}

impl<'a> Commands<'a> {
    fn new(text: &'a [u8], at: usize, depth: usize) -> Self {
        Self {
            text,
            at,
            depth,
            open: Vec::new(),
            pending: Vec::new(),
            first: true,
        }
    }

    fn end(mut self) -> Option<usize> {
        loop {
            let byte = *self.text.get(self.at)?;
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.first = true;
                    self.skip_here_documents();
                }
                b' ' | b'\t' => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                b')' => {
                    self.at += 1;
                    self.first = true;
                    match self.open.last() {
                        None => return Some(self.at),
                        Some(Open::Parenthesis) => drop(self.open.pop()),
                        // The end of a pattern.
                        Some(Open::Case) => {}
                    }
                }
                b'(' => {
                    self.open.push(Open::Parenthesis);
                    self.first = true;
                    self.at += 1;
                }
                b';' | b'&' | b'|' => {
                    self.first = true;
                    self.at += 1;
                }
                b'<' | b'>' => self.redirection()?,
                _ => self.word()?,
            }
        }
    }

    fn redirection(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        if rest.starts_with(b"<<<") {
            self.at += 3;
        } else if rest.starts_with(b"<<") {
            let tabs = rest.get(2) == Some(&b'-');
            self.at += 2 + usize::from(tabs);
            self.at += blanks(&self.text[self.at..]);
            let start = self.at;
            self.at = word_end(self.text, self.at, self.depth)?;
            let delimiter = unquote(&self.text[start..self.at]);
            self.pending.push((delimiter, tabs));
        } else if rest.get(1) == Some(&b'(') {
            self.at = parenthesis(self.text, self.at + 2, self.depth + 1)?;
        } else {
            // The operator in one go: its `&` or `|` begins no command.
            self.at += 1;
            while matches!(self.text.get(self.at), Some(b'>' | b'&' | b'|')) {
                self.at += 1;
            }
        }
        Some(())
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        self.at = word_end(self.text, self.at, self.depth)?;
        // A byte that is part of no word cannot stop the reading.
        self.at = self.at.max(start + 1);
        let word = &self.text[start..self.at];
        if !self.first {
            return Some(());
        }
        match word {
            b"case" => {
                self.open.push(Open::Case);
                self.first = false;
            }
            b"esac" => {
                if self.open.last() == Some(&Open::Case) {
                    self.open.pop();
                }
                self.first = false;
            }
            b"then" | b"do" | b"else" | b"elif" | b"if" | b"while" | b"until" | b"{" | b"!"
            | b"time" => {}
            _ => self.first = false,
        }
        Some(())
    }

    fn skip_here_documents(&mut self) {
        for (delimiter, tabs) in std::mem::take(&mut self.pending) {
            while self.at < self.text.len() {
                let rest = &self.text[self.at..];
                let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                let mut line = &rest[..length];
                if tabs {
                    let leading = line.iter().take_while(|b| **b == b'\t').count();
                    line = &line[leading..];
                }
                let closed_with_it = line.strip_prefix(delimiter.as_slice()).is_some_and(|tail| {
                    tail.contains(&b')') && tail.iter().all(|b| b" \t)".contains(b))
                });
                if closed_with_it {
                    // `EOF)`: the parenthesis is read again.
                    let lead = length - line.len();
                    self.at += lead + delimiter.len();
                    break;
                }
                self.at += (length + 1).min(rest.len());
                if line == delimiter.as_slice() {
                    break;
                }
            }
        }
    }
}

/// The end of the word that begins at `at`.
pub(crate) fn word_end(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
            b'\\' => at = (at + 2).min(text.len()),
            b'\'' => at = single_quote(text, at + 1)?,
            b'"' => at = double_quote(text, at + 1, depth + 1)?,
            b'`' => at = backtick(text, at + 1)?,
            b'$' => at = dollar(text, at, false, depth + 1)?,
            _ => at += 1,
        }
    }
    Some(at)
}

fn blanks(text: &[u8]) -> usize {
    text.iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count()
}

/// A here-document's delimiter without its quotes.
pub(crate) fn unquote(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = word.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' | b'"' => {}
            b'\\' => plain.extend(bytes.next()),
            other => plain.push(*other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(text: &str) -> Option<&str> {
        parenthesis(text.as_bytes(), 2, 0).map(|end| &text[2..end - 1])
    }

    #[test]
    fn the_closing_parenthesis_is_found() {
        for (text, expected) in [
            ("$(a)b", "a"),
            ("$(a (b) c)d", "a (b) c"),
            ("$(echo ')' \")\" \\) )x", "echo ')' \")\" \\) "),
            ("$(case x in a) b;; esac)c", "case x in a) b;; esac"),
            ("$(case x in (a) b;; esac)c", "case x in (a) b;; esac"),
            ("$(echo case x)c", "echo case x"),
            ("$(a # )\n)c", "a # )\n"),
            ("$(cat <<'E'\nit's )\nE\n)c", "cat <<'E'\nit's )\nE\n"),
            ("$(cat <<E\n)\nE)", "cat <<E\n)\nE"),
            ("$(a $(b) $((1+(2))) ${x:-)})c", "a $(b) $((1+(2))) ${x:-)}"),
            ("$(a 2>&1 | b)c", "a 2>&1 | b"),
        ] {
            assert_eq!(inside(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_open_has_no_end() {
        for text in ["$(a", "$(a 'b)", "$(case x in a) b)", "$(a `b)"] {
            assert_eq!(inside(text), None, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_given_up() {
        let text = "$(".repeat(30_000);
        assert_eq!(parenthesis(text.as_bytes(), 2, 0), None);
    }
}
