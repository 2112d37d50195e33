//! Script blocks and their parameters.

use super::ast::{Expr, Parameter, ScriptBlock};
use super::cursor::{Parsed, Parser};

impl Parser<'_> {
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
    pub(super) fn begins_parameters(&mut self) -> bool {
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

    pub(super) fn parameters(&mut self) -> Parsed<Vec<Parameter>> {
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
    pub(super) fn parameter_list(&mut self) -> Parsed<Vec<Parameter>> {
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
