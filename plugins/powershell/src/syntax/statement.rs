//! Statements and blocks.

use super::ast::{
    Block, ElementKind, Expr, Parameter, Pipeline, PipelineElement, ScriptBlock, Statement,
    StatementKind,
};
use super::command::plain;
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
    fn braces(&mut self) -> Parsed<Block> {
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
    fn keyword(&mut self) -> &[u8] {
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
    fn take_keyword(&mut self, word: &[u8]) -> bool {
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
    fn parenthesized(&mut self) -> Parsed<Statement> {
        self.blank_lines();
        self.expect(b"(", "a parenthesis is missing")?;
        self.blank_lines();
        let statement = self.statement()?;
        self.blank_lines();
        self.expect(b")", "a parenthesis is not closed")?;
        Ok(statement)
    }

    fn if_statement(&mut self) -> Parsed<StatementKind> {
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

    fn foreach(&mut self) -> Parsed<StatementKind> {
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

    fn for_statement(&mut self) -> Parsed<StatementKind> {
        self.blank_lines();
        self.expect(b"(", "a parenthesis is missing")?;
        let head = self.nested(|p| p.statements_until(b")"))?;
        Ok(StatementKind::Loop {
            head,
            body: self.braces()?,
            once: false,
        })
    }

    fn do_statement(&mut self) -> Parsed<StatementKind> {
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

    fn switch(&mut self) -> Parsed<StatementKind> {
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

    fn try_statement(&mut self) -> Parsed<StatementKind> {
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

    fn function(&mut self) -> Parsed<StatementKind> {
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

    fn flow(&mut self, keyword: &[u8]) -> Parsed<StatementKind> {
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

    /// What stands between the braces of a script block, and the closing brace.
    pub(super) fn script_block(&mut self) -> Parsed<ScriptBlock> {
        let mut block = ScriptBlock::default();
        self.separators();
        if self.begins_parameters() {
            block.parameters = self.parameters()?;
            self.separators();
        }
        loop {
            let before = self.at;
            let word = self.keyword().to_ascii_lowercase();
            let named = matches!(
                word.as_slice(),
                b"begin" | b"process" | b"end" | b"clean" | b"dynamicparam"
            );
            self.blank_lines();
            if !(named && self.peek() == Some(b'{')) {
                self.at = before;
                break;
            }
            block.body.extend(self.braces()?);
            self.separators();
        }
        block.body.extend(self.statements_until(b"}")?);
        Ok(block)
    }

    /// Whether `param`, perhaps behind attributes, comes next.
    fn begins_parameters(&mut self) -> bool {
        let before = self.at;
        self.separators();
        while self.peek() == Some(b'[') {
            if self.attribute().is_err() {
                break;
            }
            self.separators();
        }
        let found = self.keyword().eq_ignore_ascii_case(b"param");
        self.at = before;
        found
    }

    fn parameters(&mut self) -> Parsed<Vec<Parameter>> {
        self.separators();
        while self.peek() == Some(b'[') {
            self.attribute()?;
            self.separators();
        }
        self.keyword();
        self.blank_lines();
        self.expect(b"(", "a parenthesis is missing")?;
        self.nested(Self::parameter_list)
    }

    /// Parameters and the closing parenthesis.
    fn parameter_list(&mut self) -> Parsed<Vec<Parameter>> {
        let mut parameters = Vec::new();
        let mut switch = false;
        loop {
            self.blank_lines();
            match self.peek() {
                Some(b')') => {
                    self.at += 1;
                    return Ok(parameters);
                }
                Some(b',') => self.at += 1,
                Some(b'[') => {
                    let start = self.at;
                    self.attribute()?;
                    switch |= self.text(start..self.at).eq_ignore_ascii_case(b"[switch]");
                }
                Some(b'$') => {
                    let Some(Expr::Variable(name)) = self.dollar()? else {
                        return Err("a parameter without a name");
                    };
                    self.blank_lines();
                    let default = if self.take(b"=") {
                        self.blank_lines();
                        let value = self.unary_default()?;
                        Some(value)
                    } else {
                        None
                    };
                    parameters.push(Parameter {
                        name,
                        default,
                        switch,
                    });
                    switch = false;
                }
                _ => return Err("a list of parameters that cannot be read"),
            }
        }
    }

    fn unary_default(&mut self) -> Parsed<Expr> {
        // Commas separate parameters.
        self.nested(Self::value_without_commas)
    }

    /// `[Attribute(…)]`, `[type]`.
    fn attribute(&mut self) -> Parsed<()> {
        let mut open = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => open += 1,
                b']' => open -= 1,
                b'\'' => {
                    self.verbatim_string()?;
                    continue;
                }
                b'"' => {
                    self.nested(Self::expandable_string)?;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Ok(());
            }
        }
        Err("a bracket is not closed")
    }
}

fn expression_statement(value: Expr, span: std::ops::Range<usize>) -> Statement {
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
