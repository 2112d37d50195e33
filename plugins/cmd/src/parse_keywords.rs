//! Reads `if` and `for`.

use crate::cell::{Cell, OPEN, byte, is_delimiter};
use crate::parse::{ParseError, Parser};
use crate::syntax::{Command, For, Form, If, List};

impl Parser<'_> {
    /// Reads a word of a condition: up to a delimiter. Parentheses have no meaning in it.
    fn word(&mut self) -> Vec<Cell> {
        self.skip_blank();
        let mut out = Vec::new();
        let mut quoted = false;
        while let Some(&cell) = self.cells.get(self.at) {
            match byte(cell) {
                b'"' => quoted = !quoted,
                b'\n' => break,
                _ if quoted => {}
                b'&' | b'|' | b'<' | b'>' | b'\r' => break,
                b'^' => {
                    self.at += 1;
                    let Some(&next) = self.cells.get(self.at) else {
                        break;
                    };
                    out.push(next);
                    self.at += 1;
                    continue;
                }
                _ if is_delimiter(cell) => break,
                _ => self.open |= cell == OPEN,
            }
            out.push(cell);
            self.at += 1;
        }
        out
    }

    /// Reads what follows `if`.
    pub(crate) fn condition(&mut self) -> Result<Command, ParseError> {
        self.open = false;
        let mut word = self.word();
        let mut negated = false;
        while matches!(lower(&word).as_slice(), b"not" | b"/i") {
            negated |= lower(&word) == b"not";
            word = self.word();
        }
        let mut exist = None;
        match lower(&word).as_slice() {
            b"exist" | b"defined" | b"errorlevel" | b"cmdextversion" => {
                let value = self.word();
                if value.is_empty() {
                    return Err("a condition without a value");
                }
                exist = (lower(&word) == b"exist" && !negated).then_some(value);
            }
            _ => self.comparison(&word)?,
        }
        let open = std::mem::take(&mut self.open);
        let then = self.body()?;
        self.skip_blank();
        let is_block =
            matches!(then.0.as_slice(), [(_, stage)] if matches!(stage.command, Command::Group(_)));
        let otherwise = if is_block && self.keyword(b"else") {
            Some(self.body()?)
        } else {
            None
        };
        Ok(Command::If(Box::new(If {
            open,
            exist,
            then,
            otherwise,
        })))
    }

    /// Reads the operator and the right side of a comparison.
    fn comparison(&mut self, left: &[Cell]) -> Result<(), ParseError> {
        // Blanks include `=`, so that `==` has to be looked for in what was passed over.
        let from = self.at;
        self.skip_blank();
        let equals = self.cells[from..self.at]
            .iter()
            .filter(|c| byte(**c) == b'=')
            .count();
        if equals < 2 {
            let operator = lower(&self.word());
            let operators: [&[u8]; 6] = [b"equ", b"neq", b"lss", b"leq", b"gtr", b"geq"];
            if left.is_empty() || !operators.contains(&operator.as_slice()) {
                return Err("a condition that cannot be read");
            }
        }
        if self.word().is_empty() {
            return Err("a condition without a right side");
        }
        Ok(())
    }

    /// Reads what a condition or a loop governs: a block, or the rest of the line.
    fn body(&mut self) -> Result<List, ParseError> {
        self.skip_blank();
        let mut list = List::default();
        if self.peek() == b'(' {
            self.block_alone(&mut list)?;
        } else {
            self.list(&mut list, true)?;
        }
        if list.0.is_empty() {
            return Err("a condition or a loop without a command");
        }
        Ok(list)
    }

    /// Passes over `keyword`, where it stands here.
    fn keyword(&mut self, keyword: &[u8]) -> bool {
        let end = self.at + keyword.len();
        let Some(found) = self.cells.get(self.at..end) else {
            return false;
        };
        let ends = self
            .cells
            .get(end)
            .is_none_or(|c| is_delimiter(*c) || matches!(byte(*c), b'(' | b'\n' | b'\r'));
        let matches = ends && lower(found) == keyword;
        if matches {
            self.at = end;
        }
        matches
    }

    /// Reads what follows `for`.
    pub(crate) fn repetition(&mut self) -> Result<Command, ParseError> {
        self.open = false;
        let mut form = Form::Items;
        let mut word = self.word();
        while byte(word.first().copied().unwrap_or(0)) == b'/' {
            form = match (lower(&word).as_slice(), form) {
                (b"/d", Form::Recursive { root, .. }) => Form::Recursive {
                    directories: true,
                    root,
                },
                (b"/d", _) => Form::Directories,
                (b"/r", before) => Form::Recursive {
                    directories: matches!(before, Form::Directories),
                    root: Vec::new(),
                },
                (b"/l", _) => Form::Numbers,
                (b"/f", _) => Form::Lines {
                    options: Vec::new(),
                },
                _ => return Err("a switch of 'for' that is not known"),
            };
            word = self.word();
            if byte(word.first().copied().unwrap_or(0)) != b'%' {
                match &mut form {
                    Form::Recursive { root: value, .. } | Form::Lines { options: value }
                        if byte(word.first().copied().unwrap_or(0)) != b'/' =>
                    {
                        *value = std::mem::replace(&mut word, self.word());
                    }
                    _ => {}
                }
            }
        }
        let variable = match word.as_slice() {
            [percent, letter] if byte(*percent) == b'%' && byte(*letter) > b' ' => byte(*letter),
            _ => return Err("a 'for' without its variable"),
        };
        self.skip_blank();
        if !self.keyword(b"in") {
            return Err("a 'for' without 'in'");
        }
        let set = self.set()?;
        let open = std::mem::take(&mut self.open);
        self.skip_blank();
        if !self.keyword(b"do") {
            // `do@echo` is read as well.
            let end = self.at + 3;
            match self.cells.get(self.at..end) {
                Some(found) if lower(found) == b"do@" => self.at += 2,
                _ => return Err("a 'for' without 'do'"),
            }
        }
        let body = self.body()?;
        Ok(Command::For(Box::new(For {
            form,
            variable,
            open,
            set,
            body,
        })))
    }

    /// Reads the parentheses of a `for`.
    fn set(&mut self) -> Result<Vec<Cell>, ParseError> {
        self.skip_blank();
        if self.peek() != b'(' {
            return Err("a 'for' without its set");
        }
        self.at += 1;
        let mut out = Vec::new();
        let mut quoted = false;
        while let Some(&cell) = self.cells.get(self.at) {
            self.at += 1;
            match byte(cell) {
                b'"' => quoted = !quoted,
                b')' if !quoted => return Ok(out),
                b'^' if !quoted => {
                    if let Some(&next) = self.cells.get(self.at) {
                        out.push(next);
                        self.at += 1;
                    }
                    continue;
                }
                _ if !quoted => self.open |= cell == OPEN,
                _ => {}
            }
            out.push(cell);
        }
        Err("the set of a 'for' is not closed")
    }
}

fn lower(cells: &[Cell]) -> Vec<u8> {
    cells
        .iter()
        .map(|c| byte(*c).to_ascii_lowercase())
        .collect()
}
