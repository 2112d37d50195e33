//! Strings, words and variables.

use super::ast::{Expr, Part};
use super::cursor::{Parsed, Parser, ends_word, is_name};

impl Parser<'_> {
    /// `'…'`
    pub(super) fn verbatim_string(&mut self) -> Parsed<Vec<u8>> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None => return Err("a quote is not closed"),
                Some(b'\'') if self.peek_at(1) == Some(b'\'') => {
                    text.push(b'\'');
                    self.at += 2;
                }
                Some(b'\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// `"…"`
    pub(super) fn expandable_string(&mut self) -> Parsed<Vec<Part>> {
        self.at += 1;
        let mut parts = Parts::default();
        loop {
            match self.peek() {
                None => return Err("a quote is not closed"),
                Some(b'"') if self.peek_at(1) == Some(b'"') => {
                    parts.push(b'"');
                    self.at += 2;
                }
                Some(b'"') => {
                    self.at += 1;
                    return Ok(parts.finish());
                }
                Some(_) => self.expandable_piece(&mut parts)?,
            }
        }
    }

    /// One character, escape, variable or `$(…)`.
    fn expandable_piece(&mut self, parts: &mut Parts) -> Parsed<()> {
        match self.peek() {
            Some(b'`') => self.escape(parts),
            Some(b'$') => match self.dollar()? {
                Some(value) => parts.value(value),
                None => {
                    parts.push(b'$');
                    self.at += 1;
                }
            },
            Some(byte) => {
                parts.push(byte);
                self.at += 1;
            }
            None => {}
        }
        Ok(())
    }

    fn escape(&mut self, parts: &mut Parts) {
        self.at += 1;
        let Some(byte) = self.peek() else {
            return;
        };
        self.at += 1;
        match byte {
            b'n' => parts.push(b'\n'),
            b't' => parts.push(b'\t'),
            b'r' => parts.push(b'\r'),
            b'0' => parts.push(0),
            b'a' => parts.push(7),
            b'b' => parts.push(8),
            b'f' => parts.push(12),
            b'v' => parts.push(11),
            b'e' => parts.push(27),
            b'u' if self.peek() == Some(b'{') => self.code_point(parts),
            b'\r' if self.peek() == Some(b'\n') => self.at += 1,
            b'\n' | b'\r' => {}
            other => parts.push(other),
        }
    }

    /// `` `u{1F600} ``
    fn code_point(&mut self, parts: &mut Parts) {
        let rest = self.rest();
        let end = rest.iter().take(9).position(|b| *b == b'}');
        let value = end.and_then(|end| std::str::from_utf8(&rest[1..end]).ok());
        let value = value.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if let (Some(end), Some(c)) = (end, value.and_then(char::from_u32)) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                parts.push(byte);
            }
            self.at += end + 1;
        } else {
            parts.push(b'u');
        }
    }

    /// `@'…'@` and `@"…"@`. The parser stands at `@`.
    pub(super) fn here_string(&mut self) -> Parsed<Vec<Part>> {
        const OPEN: &str = "a here-string is not closed";
        let quote = self.peek_at(1).ok_or(OPEN)?;
        self.at += 2;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
        if self.peek() != Some(b'\n') {
            return Err("text behind the beginning of a here-string");
        }
        let mut parts = Parts::default();
        // The end of line before the closing quote does not belong to the string.
        let close = [b'\n', quote, b'@'];
        let mut first = true;
        loop {
            if self.rest().starts_with(&close) {
                self.at += 3;
                return Ok(parts.finish());
            }
            if self.rest().starts_with(b"\r\n") && self.rest()[1..].starts_with(&close) {
                self.at += 4;
                return Ok(parts.finish());
            }
            match self.peek() {
                None => return Err(OPEN),
                Some(b'\n') if first => self.at += 1,
                Some(b'$' | b'`') if quote == b'"' => self.expandable_piece(&mut parts)?,
                Some(byte) => {
                    parts.push(byte);
                    self.at += 1;
                }
            }
            first = false;
        }
    }

    /// `$name`, `${name}`, `$scope:name` or `$(…)`; `None` where the `$` is only a character.
    pub(super) fn dollar(&mut self) -> Parsed<Option<Expr>> {
        match self.peek_at(1) {
            Some(b'(') => {
                self.at += 2;
                let statements = self.nested(|p| p.statements_until(b")"))?;
                Ok(Some(Expr::Statements(statements)))
            }
            Some(b'{') => {
                let name = self.rest()[2..].iter().position(|b| *b == b'}');
                let name = name.ok_or("a variable's name is not closed")?;
                let name = self.text(self.at + 2..self.at + 2 + name).to_vec();
                self.at += name.len() + 3;
                Ok(Some(Expr::Variable(name)))
            }
            Some(byte @ (b'$' | b'^' | b'?')) => {
                self.at += 2;
                Ok(Some(Expr::Variable(vec![byte])))
            }
            Some(byte) if is_name(byte) => {
                self.at += 1;
                Ok(Some(Expr::Variable(self.variable_name())))
            }
            _ => Ok(None),
        }
    }

    /// The name of a variable with its scope or drive. The parser stands behind `$` or `@`.
    pub(super) fn variable_name(&mut self) -> Vec<u8> {
        let start = self.at;
        let mut scoped = false;
        while let Some(byte) = self.peek() {
            let scope =
                byte == b':' && !scoped && self.at > start && self.peek_at(1).is_some_and(is_name);
            if !(is_name(byte) || byte == b'?' || scope) {
                break;
            }
            scoped |= scope;
            self.at += 1;
        }
        self.text(start..self.at).to_vec()
    }

    /// A word of a command, until something that ends it. Quotes within it belong to it.
    pub(super) fn word(&mut self) -> Parsed<Vec<Part>> {
        self.node()?;
        let mut parts = Parts::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'`' if matches!(self.peek_at(1), Some(b'\n' | b'\r')) => break,
                b'\'' => {
                    for byte in self.verbatim_string()? {
                        parts.push(byte);
                    }
                }
                b'"' => {
                    for part in self.expandable_string()? {
                        parts.part(part);
                    }
                }
                byte if ends_word(byte) => break,
                _ => self.expandable_piece(&mut parts)?,
            }
        }
        Ok(parts.finish())
    }
}

/// Collects the pieces of a string.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    text: Vec<u8>,
}

impl Parts {
    fn push(&mut self, byte: u8) {
        self.text.push(byte);
    }

    fn value(&mut self, value: Expr) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text)));
        }
        self.parts.push(Part::Value(value));
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::Text(text) => self.text.extend(text),
            Part::Value(value) => self.value(value),
        }
    }

    fn finish(mut self) -> Vec<Part> {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(self.text));
        }
        self.parts
    }
}
