//! Statements that begin with a keyword.

use super::ast::{Expr, StatementKind};
use super::command::plain;
use super::cursor::{Parsed, Parser};
use super::statement::expression_statement;

impl Parser<'_> {
    pub(super) fn if_statement(&mut self) -> Parsed<StatementKind> {
        let mut clauses = vec![(self.parenthesized()?, self.braces()?)];
        while self.take_keyword(b"elseif") {
            clauses.push((self.parenthesized()?, self.braces()?));
        }
        let otherwise = if self.take_keyword(b"else") {
            Some(self.braces()?)
        } else {
            None
        };
        Ok(StatementKind::If { clauses, otherwise })
    }

    pub(super) fn foreach(&mut self) -> Parsed<StatementKind> {
        self.expect(b"(", "a parenthesis is missing")?;
        self.blank_lines();
        let Some(Expr::Variable(variable)) = self.dollar()? else {
            return Err("'foreach' without a variable");
        };
        if !self.take_keyword(b"in") {
            return Err("'foreach' without 'in'");
        }
        self.blank_lines();
        let source = Box::new(self.statement()?);
        self.blank_lines();
        self.expect(b")", "a parenthesis is not closed")?;
        Ok(StatementKind::Foreach {
            variable,
            source,
            body: self.braces()?,
        })
    }

    pub(super) fn for_statement(&mut self) -> Parsed<StatementKind> {
        self.blank_lines();
        self.expect(b"(", "a parenthesis is missing")?;
        let head = self.nested(|p| p.statements_until(b")"))?;
        Ok(StatementKind::Loop {
            head,
            body: self.braces()?,
            once: false,
        })
    }

    pub(super) fn do_statement(&mut self) -> Parsed<StatementKind> {
        let body = self.braces()?;
        if !(self.take_keyword(b"while") || self.take_keyword(b"until")) {
            return Err("'do' without 'while' or 'until'");
        }
        let condition = self.parenthesized()?;
        Ok(StatementKind::Loop {
            head: vec![condition],
            body,
            once: true,
        })
    }

    pub(super) fn switch(&mut self) -> Parsed<StatementKind> {
        let mut file = false;
        loop {
            self.blanks();
            if !self.take(b"-") {
                break;
            }
            let option = self.keyword().to_ascii_lowercase();
            file |= !option.is_empty() && b"file".starts_with(&option);
        }
        let subject = Box::new(if file && self.peek() != Some(b'(') {
            let start = self.at;
            let name = self.word()?;
            let span = start..self.at;
            expression_statement(Expr::Word(name), span)
        } else {
            self.parenthesized()?
        });
        self.blank_lines();
        self.expect(b"{", "a block is missing")?;
        let mut clauses = Vec::new();
        loop {
            self.separators();
            if self.take(b"}") {
                return Ok(StatementKind::Switch {
                    subject,
                    file,
                    clauses,
                });
            }
            let start = self.at;
            let mut body = Vec::new();
            match self.peek() {
                Some(b'\'' | b'"' | b'$' | b'(' | b'{' | b'@') => {
                    let value = self.primary()?;
                    let span = start..self.at;
                    match self.postfix(value)? {
                        Expr::Script(block) => body.extend(block.body.iter().cloned()),
                        other => body.push(expression_statement(other, span)),
                    }
                }
                _ => {
                    if self.word()?.is_empty() {
                        return Err("'switch' without a value");
                    }
                }
            }
            body.extend(self.braces()?);
            clauses.push(body);
        }
    }

    pub(super) fn try_statement(&mut self) -> Parsed<StatementKind> {
        let body = self.braces()?;
        let mut catches = Vec::new();
        while self.take_keyword(b"catch") {
            loop {
                self.blank_lines();
                if self.peek() == Some(b'[') {
                    self.type_name()?;
                } else if !self.take(b",") {
                    break;
                }
            }
            catches.push(self.braces()?);
        }
        let finally = if self.take_keyword(b"finally") {
            Some(self.braces()?)
        } else {
            None
        };
        Ok(StatementKind::Try {
            body,
            catches,
            finally,
        })
    }

    pub(super) fn function(&mut self) -> Parsed<StatementKind> {
        self.blanks();
        let name = self.word()?;
        let name = plain(&name).ok_or("a function without a name")?.to_vec();
        self.blank_lines();
        let mut parameters = Vec::new();
        if self.take(b"(") {
            parameters = self.nested(Self::parameter_list)?;
            self.blank_lines();
        }
        self.expect(b"{", "a block is missing")?;
        let mut block = self.nested(Self::script_block)?;
        block.parameters.extend(parameters);
        Ok(StatementKind::Function {
            name,
            body: block.into(),
        })
    }

    pub(super) fn flow(&mut self, keyword: &[u8]) -> Parsed<StatementKind> {
        self.blanks();
        let ended = self
            .peek()
            .is_none_or(|b| matches!(b, b'\n' | b'\r' | b';' | b'}' | b')' | b'|' | b'&'));
        let value = if ended {
            None
        } else {
            Some(Box::new(self.statement()?))
        };
        Ok(StatementKind::Flow {
            value,
            leaves: !matches!(keyword, b"break" | b"continue"),
        })
    }
}
