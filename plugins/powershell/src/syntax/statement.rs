//! Statements and blocks.

use super::ast::{Block, ElementKind, Expr, Pipeline, PipelineElement, Statement, StatementKind};
use super::cursor::{Parsed, Parser, ends_word, is_name};

/// After how many unreadable statements the rest is given up.
const MAX_FAILURES: usize = 8;

impl Parser<'_> {
    /// The whole line. What cannot be read becomes [`StatementKind::Opaque`].
    pub(super) fn script(&mut self) -> Block {
        let mut body = Vec::new();
        let mut failures = 0;
        if self.begins_parameters() {
            let _ = self.parameters();
            body.push(Statement {
                what: StatementKind::Opaque("the line is a script with parameters"),
                span: 0..self.at,
            });
        }
        loop {
            self.separators();
            if self.at >= self.source.len() {
                return body;
            }
            let start = self.at;
            match self.statement() {
                Ok(statement) => body.push(statement),
                Err(reason) => {
                    failures += 1;
                    let give_up = self.exhausted || failures > MAX_FAILURES;
                    self.at = if give_up {
                        self.source.len()
                    } else {
                        self.next_beginning(start)
                    };
                    body.push(Statement {
                        what: StatementKind::Opaque(reason),
                        span: start..self.at,
                    });
                }
            }
        }
    }

    /// Behind what may have ended the statement that could not be read.
    fn next_beginning(&self, start: usize) -> usize {
        let from = start + 1;
        let rest = &self.source[from.min(self.source.len())..];
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b';' | b'|' | b'&' | b'{' | b'}' | b'(' | b')'));
        end.map_or(self.source.len(), |end| from + end + 1)
    }

    /// Statements and the `close` behind them.
    pub(super) fn statements_until(&mut self, close: &[u8]) -> Parsed<Block> {
        let mut body = Vec::new();
        loop {
            self.separators();
            if self.take(close) {
                return Ok(body);
            }
            if self.at >= self.source.len() {
                return Err("a bracket is not closed");
            }
            body.push(self.statement()?);
        }
    }

    /// `{ … }`
    pub(super) fn braces(&mut self) -> Parsed<Block> {
        self.blank_lines();
        self.expect(b"{", "a block is missing")?;
        self.nested(|p| p.statements_until(b"}"))
    }

    /// One statement.
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        self.nested(|p| {
            p.node()?;
            p.blanks();
            let start = p.at;
            if p.peek() == Some(b':') && p.peek_at(1).is_some_and(is_name) {
                // A label before a loop.
                p.at += 1;
                p.keyword();
                p.blank_lines();
            }
            let at = p.at;
            let keyword = p.keyword().to_ascii_lowercase();
            let what = match p.by_keyword(&keyword)? {
                Some(what) => what,
                None => {
                    p.at = at;
                    p.simple()?
                }
            };
            Ok(Statement {
                what,
                span: start..p.at,
            })
        })
    }

    /// The word that comes next, where it is nothing but letters.
    pub(super) fn keyword(&mut self) -> &[u8] {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphabetic()) {
            self.at += 1;
        }
        if self.peek().is_none_or(|b| ends_word(b) || b == b'#') {
            self.text(start..self.at)
        } else {
            b""
        }
    }

    /// Takes `word` if it comes next, behind blanks and ends of lines.
    pub(super) fn take_keyword(&mut self, word: &[u8]) -> bool {
        let before = self.at;
        self.blank_lines();
        if self.keyword().eq_ignore_ascii_case(word) {
            return true;
        }
        self.at = before;
        false
    }

    fn by_keyword(&mut self, keyword: &[u8]) -> Parsed<Option<StatementKind>> {
        let what = match keyword {
            b"if" => self.if_statement()?,
            b"foreach" => {
                self.blanks();
                if !matches!(self.peek(), Some(b'(')) {
                    return Ok(None);
                }
                self.foreach()?
            }
            b"for" => self.for_statement()?,
            b"while" => {
                let condition = self.parenthesized()?;
                StatementKind::Loop {
                    head: vec![condition],
                    body: self.braces()?,
                    once: false,
                }
            }
            b"do" => self.do_statement()?,
            b"switch" => self.switch()?,
            b"try" => self.try_statement()?,
            b"function" | b"filter" => self.function()?,
            b"trap" => {
                self.blanks();
                if self.peek() == Some(b'[') {
                    self.type_name()?;
                }
                StatementKind::Perhaps(self.braces()?)
            }
            b"return" | b"throw" | b"exit" | b"break" | b"continue" => self.flow(keyword)?,
            b"class" | b"enum" | b"workflow" | b"configuration" | b"using" | b"param" => {
                return Err("a statement of a script that is not read");
            }
            b"data" | b"parallel" | b"sequence" | b"inlinescript" | b"dynamicparam" | b"begin"
            | b"process" | b"end" | b"clean" => {
                // Without a block these are names of commands.
                self.blank_lines();
                if self.peek() != Some(b'{') {
                    return Ok(None);
                }
                return Err("a statement of a script that is not read");
            }
            _ => return Ok(None),
        };
        Ok(Some(what))
    }

    /// `( statement )`
    pub(super) fn parenthesized(&mut self) -> Parsed<Statement> {
        self.blank_lines();
        self.expect(b"(", "a parenthesis is missing")?;
        self.blank_lines();
        let statement = self.statement()?;
        self.blank_lines();
        self.expect(b")", "a parenthesis is not closed")?;
        Ok(statement)
    }

    /// An assignment, or pipelines joined by `&&` and `||`.
    fn simple(&mut self) -> Parsed<StatementKind> {
        let start = self.at;
        let first = self.pipeline()?;
        self.blanks();
        if let Some(operator) = self.assignment_operator() {
            let [
                PipelineElement {
                    what: ElementKind::Expression(target),
                    ..
                },
            ] = first.elements.as_slice()
            else {
                return Err("an assignment to something that is no variable");
            };
            let target = target.clone();
            self.at += operator.len();
            self.blank_lines();
            let value = Box::new(self.statement()?);
            return Ok(StatementKind::Assign {
                target,
                operator,
                value,
            });
        }
        let mut pipelines = vec![first];
        let mut alternatives = false;
        loop {
            let before = self.at;
            self.blank_lines();
            let or = self.take(b"||");
            if or || self.take(b"&&") {
                alternatives |= or;
                self.blank_lines();
                pipelines.push(self.chained()?);
            } else {
                self.at = before;
                break;
            }
        }
        self.blanks();
        let background = self.peek() == Some(b'&') && self.peek_at(1) != Some(b'&');
        self.at += usize::from(background);
        if !background {
            self.ended(start)?;
        }
        Ok(StatementKind::Chain {
            pipelines,
            alternatives,
            background,
        })
    }

    /// What follows `&&` or `||`: a pipeline; `exit 1` and the like too.
    fn chained(&mut self) -> Parsed<Pipeline> {
        let before = self.at;
        let word = self.keyword().to_ascii_lowercase();
        if !matches!(word.as_slice(), b"exit" | b"return" | b"throw") {
            self.at = before;
            return self.pipeline();
        }
        let span = before..self.at;
        let StatementKind::Flow { value, .. } = self.flow(&word)? else {
            return Err("a pipeline is missing");
        };
        let block = value.map(|v| vec![*v]).unwrap_or_default();
        Ok(Pipeline {
            elements: vec![PipelineElement {
                what: ElementKind::Expression(Expr::Statements(block)),
                redirections: Vec::new(),
                span,
            }],
        })
    }

    fn ended(&self, start: usize) -> Parsed<()> {
        match self.peek() {
            None | Some(b'\n' | b'\r' | b';' | b')' | b'}') if self.at > start => Ok(()),
            _ => Err("text that does not belong there"),
        }
    }

    fn assignment_operator(&self) -> Option<Vec<u8>> {
        let rest = self.rest();
        let operators: [&[u8]; 7] = [b"??=", b"+=", b"-=", b"*=", b"/=", b"%=", b"="];
        let found = operators.iter().find(|o| rest.starts_with(o))?;
        Some(found.to_vec())
    }
}

pub(super) fn expression_statement(value: Expr, span: std::ops::Range<usize>) -> Statement {
    Statement {
        what: StatementKind::Chain {
            pipelines: vec![Pipeline {
                elements: vec![PipelineElement {
                    what: ElementKind::Expression(value),
                    redirections: Vec::new(),
                    span: span.clone(),
                }],
            }],
            alternatives: false,
            background: false,
        },
        span,
    }
}
