//! Pipelines and commands.

use super::ast::{
    Argument, Command, ElementKind, Expr, Invocation, Part, Pipeline, PipelineElement, Redirection,
};
use super::cursor::{Parsed, Parser, ends_word, is_name};

impl Parser<'_> {
    /// Elements joined by `|`.
    pub(super) fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut elements = vec![self.element()?];
        loop {
            let before = self.at;
            // A `|` may stand at the beginning of the next line.
            self.blank_lines();
            if self.peek() == Some(b'|') && self.peek_at(1) != Some(b'|') {
                self.at += 1;
                self.blank_lines();
                elements.push(self.element()?);
            } else {
                self.at = before;
                return Ok(Pipeline { elements });
            }
        }
    }

    fn element(&mut self) -> Parsed<PipelineElement> {
        self.node()?;
        self.blanks();
        let start = self.at;
        let mut redirections = Vec::new();
        let what = if self.begins_expression() {
            let expression = self.expression()?;
            loop {
                self.blanks();
                if !self.begins_redirection() {
                    break;
                }
                redirections.extend(self.redirection()?);
            }
            ElementKind::Expression(expression)
        } else {
            ElementKind::Command(self.command(&mut redirections)?)
        };
        Ok(PipelineElement {
            what,
            redirections,
            span: start..self.at,
        })
    }

    /// Whether what comes next is an expression rather than the name of a command.
    fn begins_expression(&self) -> bool {
        let rest = self.rest();
        match rest.first() {
            Some(b'\'' | b'"' | b'$' | b'(' | b'[' | b'{' | b'!' | b',' | b'+' | b'-') => true,
            Some(b'@') => matches!(rest.get(1), Some(b'(' | b'{' | b'\'' | b'"')),
            Some(b'0'..=b'9') => {
                let end = rest.iter().position(|b| ends_word(*b));
                let word = &rest[..end.unwrap_or(rest.len())];
                is_number(word) || range_or_sum(word)
            }
            _ => false,
        }
    }

    fn command(&mut self, redirections: &mut Vec<Redirection>) -> Parsed<Command> {
        let mut invocation = Invocation::Plain;
        let name = if self.take(b"&") {
            invocation = Invocation::Call;
            self.blanks();
            self.argument_value()?
        } else if self.peek() == Some(b'.') && self.dot_is_operator() {
            invocation = Invocation::Dot;
            self.at += 1;
            self.blanks();
            self.argument_value()?
        } else {
            let word = self.word()?;
            if word.is_empty() {
                return Err("a command is missing or begins in a way that is not known");
            }
            Expr::Word(word)
        };
        let arguments = self.arguments(redirections)?;
        Ok(Command {
            invocation,
            name,
            arguments,
        })
    }

    fn dot_is_operator(&self) -> bool {
        matches!(
            self.peek_at(1),
            Some(b' ' | b'\t' | b'\'' | b'"' | b'$' | b'(' | b'{' | b'&')
        )
    }

    fn arguments(&mut self, redirections: &mut Vec<Redirection>) -> Parsed<Vec<Argument>> {
        let mut arguments = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None | Some(b'\n' | b'\r' | b';' | b'|' | b')' | b'}' | b'&' | 0) => {
                    return Ok(arguments);
                }
                _ if self.begins_redirection() => redirections.extend(self.redirection()?),
                Some(b'-') => arguments.push(self.dashed()?),
                _ => arguments.push(Argument::Value(self.argument_list()?)),
            }
        }
    }

    /// What begins with a dash: a parameter, `--%` or a word.
    fn dashed(&mut self) -> Parsed<Argument> {
        if self.rest().starts_with(b"--%") && self.peek_at(3).is_none_or(ends_word) {
            return Ok(Argument::Verbatim(self.verbatim_rest()));
        }
        let start = self.at;
        if !self.peek_at(1).is_some_and(|b| is_name(b) || b == b'?') {
            return Ok(Argument::Value(self.argument_list()?));
        }
        self.at += 1;
        while let Some(byte) = self.peek() {
            if matches!(byte, b'\'' | b'"' | b'$' | b'`') {
                // A word in quotes, as a program's option may be.
                self.at = start;
                return Ok(Argument::Value(self.argument_list()?));
            }
            if ends_word(byte) || matches!(byte, b':' | b'.' | b'[') {
                break;
            }
            self.at += 1;
        }
        let name = self.text(start + 1..self.at).to_vec();
        if !self.take(b":") {
            return Ok(Argument::Parameter { name, value: None });
        }
        self.blanks();
        let ended = self
            .peek()
            .is_none_or(|b| matches!(b, b'\n' | b'\r' | b';' | b'|' | b')' | b'}' | b'&'));
        let value = if ended {
            Expr::Word(Vec::new())
        } else {
            self.argument_list()?
        };
        Ok(Argument::Parameter {
            name,
            value: Some(value),
        })
    }

    fn verbatim_rest(&mut self) -> Vec<u8> {
        self.at += 3;
        let mut quoted = false;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' | b'\r' => break,
                b'|' if !quoted => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text(start..self.at).to_vec()
    }

    /// One argument, or several joined by commas.
    fn argument_list(&mut self) -> Parsed<Expr> {
        let first = self.argument_value()?;
        let mut all = vec![first];
        loop {
            let before = self.at;
            self.blanks();
            if !self.take(b",") {
                self.at = before;
                break;
            }
            self.blank_lines();
            all.push(self.argument_value()?);
        }
        Ok(if all.len() > 1 {
            Expr::Comma(all)
        } else {
            all.swap_remove(0)
        })
    }

    /// One value as an argument of a command.
    fn argument_value(&mut self) -> Parsed<Expr> {
        self.nested(|p| {
            p.node()?;
            match (p.peek(), p.peek_at(1)) {
                (Some(b'\'' | b'"' | b'(' | b'{'), _)
                | (Some(b'@'), Some(b'(' | b'{' | b'\'' | b'"'))
                | (Some(b'$'), Some(b'(')) => {
                    let value = p.primary()?;
                    p.postfix(value)
                }
                (Some(b'@'), Some(byte)) if is_name(byte) => {
                    p.at += 1;
                    Ok(Expr::Splat(p.variable_name()))
                }
                (Some(b'$'), _) => p.variable_argument(),
                _ => {
                    let word = p.word()?;
                    if word.is_empty() {
                        return Err("an argument is missing");
                    }
                    Ok(Expr::Word(word))
                }
            }
        })
    }

    /// `$x`, `$x.Member`, `$x[0]` are expressions; `$x\y` is a word.
    fn variable_argument(&mut self) -> Parsed<Expr> {
        let start = self.at;
        if let Some(variable) = self.dollar()? {
            let expression = match self.peek() {
                None | Some(b'[') => true,
                Some(b'.') => self.peek_at(1).is_some_and(|b| is_name(b) || b == b'$'),
                Some(b':') => self.peek_at(1) == Some(b':'),
                Some(byte) => ends_word(byte),
            };
            if expression {
                return self.postfix(variable);
            }
        }
        self.at = start;
        Ok(Expr::Word(self.word()?))
    }

    fn begins_redirection(&self) -> bool {
        match self.peek() {
            Some(b'>') => true,
            Some(b'1'..=b'6' | b'*') => self.peek_at(1) == Some(b'>'),
            Some(b'<') => self.peek_at(1) != Some(b'#'),
            _ => false,
        }
    }

    /// `> file`; nothing for `2>&1`.
    fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        if self.peek() == Some(b'<') {
            return Err("the operator '<' is reserved");
        }
        if self.peek() != Some(b'>') {
            self.at += 1;
        }
        self.at += 1;
        let append = self.take(b">");
        if self.take(b"&") {
            return match self.peek() {
                Some(b'1'..=b'6') => {
                    self.at += 1;
                    Ok(None)
                }
                _ => Err("a redirection without a target"),
            };
        }
        self.blanks();
        let target = self.argument_value()?;
        Ok(Some(Redirection { target, append }))
    }
}

/// The text of a word without variables.
pub(super) fn plain(parts: &[Part]) -> Option<&[u8]> {
    match parts {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

/// `10`, `0x1F`, `5kb`, `1.5`, `1e3`.
fn is_number(word: &[u8]) -> bool {
    let lower = word.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix(b"0x") {
        return !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit);
    }
    let digits = lower
        .iter()
        .take_while(|b| b.is_ascii_digit() || **b == b'.')
        .count();
    let unit = &lower[digits..];
    let mut dots = lower[..digits].iter().filter(|b| **b == b'.');
    dots.nth(1).is_none()
        && (matches!(
            unit,
            b"" | b"l" | b"d" | b"u" | b"kb" | b"mb" | b"gb" | b"tb" | b"pb"
        ) || unit.starts_with(b"e") && unit[1..].iter().all(u8::is_ascii_digit))
}

/// `1..5`, `2*3`, `1+1`: digits and operators alone.
fn range_or_sum(word: &[u8]) -> bool {
    word.iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'*' | b'+' | b'-' | b'/' | b'%' | b'$'))
}
