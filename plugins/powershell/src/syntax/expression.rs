//! Expressions.

use super::ast::Expr;
use super::cursor::{Parsed, Parser, TOO_DEEP, is_name};

/// How many operators or members may follow one another.
const MAX_CHAIN: usize = 100;

const LOGICAL: u8 = 2;
const UNARY_WORDS: [&[u8]; 5] = [b"not", b"bnot", b"split", b"isplit", b"join"];

impl Parser<'_> {
    /// An expression with all operators.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.nested(|p| {
            let left = p.binary(LOGICAL, true)?;
            p.alternatives(left)
        })
    }

    /// `a ?? b`, `a ? b : c`.
    fn alternatives(&mut self, left: Expr) -> Parsed<Expr> {
        self.blanks();
        if self.rest().starts_with(b"??") && self.peek_at(2) != Some(b'=') {
            self.at += 2;
            self.blank_lines();
            let right = self.expression()?;
            return Ok(Expr::Either(
                Box::new(left.clone()),
                Box::new(left),
                Box::new(right),
            ));
        }
        if self.peek() == Some(b'?') && self.peek_at(1) != Some(b'?') {
            self.at += 1;
            self.blank_lines();
            let yes = self.expression()?;
            self.blank_lines();
            self.expect(b":", "'?' without ':'")?;
            self.blank_lines();
            let no = self.expression()?;
            return Ok(Expr::Either(Box::new(left), Box::new(yes), Box::new(no)));
        }
        Ok(left)
    }

    /// Operators of `level` and above. In the arguments of a method commas separate.
    fn binary(&mut self, level: u8, commas: bool) -> Parsed<Expr> {
        let mut left = self.list(commas)?;
        for _ in 0..MAX_CHAIN {
            let before = self.at;
            self.blanks();
            let Some((operator, found, length)) = self.operator() else {
                self.at = before;
                return Ok(left);
            };
            if found < level {
                self.at = before;
                return Ok(left);
            }
            self.at += length;
            self.blank_lines();
            let right = self.nested(|p| p.binary(found + 1, commas))?;
            left = Expr::Binary(Box::new(left), operator, Box::new(right));
        }
        Err(TOO_DEEP)
    }

    /// The operator that comes next, its level, and its length.
    fn operator(&self) -> Option<(Vec<u8>, u8, usize)> {
        let next = self.peek_at(1);
        let symbol = |level| Some((vec![self.peek()?], level, 1));
        match self.peek()? {
            b'.' if next == Some(b'.') => Some((b"..".to_vec(), 8, 2)),
            b'*' if !matches!(next, Some(b'=' | b'>')) => symbol(6),
            b'/' | b'%' if next != Some(b'=') => symbol(6),
            b'-' if next.is_some_and(|b| b.is_ascii_alphabetic()) => {
                let word = self.rest()[1..]
                    .iter()
                    .take_while(|b| is_name(**b))
                    .map(u8::to_ascii_lowercase)
                    .collect::<Vec<u8>>();
                let length = word.len() + 1;
                let (name, level) = word_operator(&word)?;
                Some((name.to_vec(), level, length))
            }
            b'+' | b'-' if next != Some(b'=') => symbol(5),
            _ => None,
        }
    }

    /// Values joined by commas.
    fn list(&mut self, commas: bool) -> Parsed<Expr> {
        let first = self.unary()?;
        if !commas {
            return Ok(first);
        }
        let mut all = vec![first];
        loop {
            let before = self.at;
            self.blanks();
            if !self.take(b",") {
                self.at = before;
                break;
            }
            self.blank_lines();
            all.push(self.unary()?);
        }
        Ok(if all.len() > 1 {
            Expr::Comma(all)
        } else {
            all.swap_remove(0)
        })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        self.nested(|p| {
            p.node()?;
            p.blanks();
            match p.peek() {
                Some(b'+' | b'-') if p.peek_at(1) == p.peek() => {
                    let by = if p.peek() == Some(b'+') { 1 } else { -1 };
                    p.at += 2;
                    let operand = Box::new(p.unary()?);
                    Ok(Expr::Step {
                        operand,
                        by,
                        before: true,
                    })
                }
                Some(b'-') if p.peek_at(1).is_some_and(|b| b.is_ascii_alphabetic()) => {
                    let rest = &p.rest()[1..];
                    let word = rest.iter().take_while(|b| is_name(**b)).count();
                    let known = UNARY_WORDS
                        .iter()
                        .any(|w| rest[..word].eq_ignore_ascii_case(w));
                    if !known {
                        return Err("an operator that is not known");
                    }
                    p.operand_of(word + 1)
                }
                Some(b'!' | b',' | b'+' | b'-') => p.operand_of(1),
                Some(b'[') => p.type_or_cast(),
                _ => {
                    let value = p.primary()?;
                    p.postfix(value)
                }
            }
        })
    }

    fn operand_of(&mut self, length: usize) -> Parsed<Expr> {
        let operator = self.text(self.at..self.at + length).to_ascii_lowercase();
        self.at += length;
        self.blanks();
        let operand = self.unary()?;
        Ok(Expr::Unary(operator, Box::new(operand)))
    }

    /// `[type]`, `[type]::Member`, `[type]value`.
    fn type_or_cast(&mut self) -> Parsed<Expr> {
        let name = self.type_name()?;
        if self.rest().starts_with(b"::") {
            return self.postfix(Expr::Type(name));
        }
        let before = self.at;
        self.blanks();
        let cast = matches!(
            self.peek(),
            Some(b'$' | b'\'' | b'"' | b'(' | b'@' | b'[' | b'{' | b'0'..=b'9')
        ) || self.peek() == Some(b'-')
            && self.peek_at(1).is_some_and(|b| b.is_ascii_digit());
        if cast {
            let value = self.unary()?;
            return Ok(Expr::Cast(name, Box::new(value)));
        }
        self.at = before;
        self.postfix(Expr::Type(name))
    }

    /// The text between brackets.
    pub(super) fn type_name(&mut self) -> Parsed<Vec<u8>> {
        let start = self.at + 1;
        let mut open = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => open += 1,
                b']' => open -= 1,
                b'.' | b',' | b' ' | b'+' | b'`' | b'\\' => {}
                byte if is_name(byte) => {}
                _ => return Err("a type that cannot be read"),
            }
            self.at += 1;
            if open == 0 {
                return Ok(self.text(start..self.at - 1).to_vec());
            }
        }
        Err("a bracket is not closed")
    }

    /// A value without operators.
    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        self.node()?;
        match (self.peek(), self.peek_at(1)) {
            (Some(b'\''), _) => {
                let text = self.verbatim_string()?;
                Ok(Expr::Text(vec![super::ast::Part::Text(text)]))
            }
            (Some(b'"'), _) => Ok(Expr::Text(self.nested(Self::expandable_string)?)),
            (Some(b'@'), Some(b'\'' | b'"')) => Ok(Expr::Text(self.nested(Self::here_string)?)),
            (Some(b'@'), Some(b'(')) => {
                self.at += 2;
                let statements = self.nested(|p| p.statements_until(b")"))?;
                Ok(Expr::Array(statements))
            }
            (Some(b'@'), Some(b'{')) => self.nested(Self::hash),
            (Some(b'@'), Some(byte)) if is_name(byte) => {
                self.at += 1;
                Ok(Expr::Splat(self.variable_name()))
            }
            (Some(b'('), _) => self.nested(|p| {
                p.at += 1;
                p.blank_lines();
                let statement = p.statement()?;
                p.blank_lines();
                p.expect(b")", "a parenthesis is not closed")?;
                Ok(Expr::Paren(Box::new(statement)))
            }),
            (Some(b'{'), _) => self.nested(|p| {
                p.at += 1;
                let block = p.script_block()?;
                Ok(Expr::Script(block.into()))
            }),
            (Some(b'$'), _) => self.dollar()?.ok_or("a variable without a name"),
            (Some(b'0'..=b'9'), _) => Ok(Expr::Number(self.number())),
            (Some(b'['), _) => self.type_or_cast(),
            _ => Err("an expression is missing or begins in a way that is not known"),
        }
    }

    fn number(&mut self) -> Vec<u8> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            let fraction = byte == b'.' && self.peek_at(1).is_some_and(|b| b.is_ascii_digit());
            if !(byte.is_ascii_alphanumeric() || fraction) {
                break;
            }
            self.at += 1;
        }
        self.text(start..self.at).to_vec()
    }

    fn hash(&mut self) -> Parsed<Expr> {
        self.at += 2;
        let mut entries = Vec::new();
        loop {
            self.separators();
            if self.take(b"}") {
                return Ok(Expr::Hash(entries));
            }
            let key = if self.peek().is_some_and(is_name) {
                let start = self.at;
                while self.peek().is_some_and(|b| is_name(b) || b == b'-') {
                    self.at += 1;
                }
                Expr::Number(self.text(start..self.at).to_vec())
            } else {
                self.unary()?
            };
            self.blanks();
            self.expect(b"=", "a hash table without '='")?;
            self.blank_lines();
            let value = self.statement()?;
            entries.push((key, value));
        }
    }

    /// Members, methods and indices that follow a value without a blank.
    pub(super) fn postfix(&mut self, mut value: Expr) -> Parsed<Expr> {
        for _ in 0..MAX_CHAIN {
            let fixed = self.rest().starts_with(b"::");
            let null_safe = self.rest().starts_with(b"?.") || self.rest().starts_with(b"?[");
            let at = self.at + usize::from(null_safe);
            let member = fixed
                || self.source.get(at) == Some(&b'.')
                    && self
                        .source
                        .get(at + 1)
                        .is_some_and(|b| is_name(*b) || matches!(b, b'$' | b'\'' | b'"' | b'('));
            if member {
                self.at = at + if fixed { 2 } else { 1 };
                let name = self.member_name()?;
                value = self.member_of(value, name, fixed)?;
            } else if self.source.get(at) == Some(&b'[') {
                self.at = at + 1;
                self.blank_lines();
                let index = self.expression()?;
                self.blank_lines();
                self.expect(b"]", "a bracket is not closed")?;
                value = Expr::Index(Box::new(value), Box::new(index));
            } else if self.rest().starts_with(b"++") || self.rest().starts_with(b"--") {
                let by = if self.peek() == Some(b'+') { 1 } else { -1 };
                self.at += 2;
                value = Expr::Step {
                    operand: Box::new(value),
                    by,
                    before: false,
                };
            } else {
                return Ok(value);
            }
        }
        Err(TOO_DEEP)
    }

    fn member_name(&mut self) -> Parsed<Expr> {
        match self.peek() {
            Some(byte) if is_name(byte) => {
                let start = self.at;
                while self.peek().is_some_and(is_name) {
                    self.at += 1;
                }
                Ok(Expr::Number(self.text(start..self.at).to_vec()))
            }
            _ => self.nested(Self::primary),
        }
    }

    fn member_of(&mut self, object: Expr, name: Expr, fixed: bool) -> Parsed<Expr> {
        let (object, name) = (Box::new(object), Box::new(name));
        let arguments = if self.take(b"(") {
            self.nested(Self::method_arguments)?
        } else if self.peek() == Some(b'{') {
            // `.ForEach{ … }`
            vec![self.nested(Self::primary)?]
        } else {
            return Ok(Expr::Member {
                object,
                name,
                fixed,
            });
        };
        Ok(Expr::Invoke {
            object,
            name,
            arguments,
            fixed,
        })
    }

    /// An expression where commas mean something else.
    pub(super) fn value_without_commas(&mut self) -> Parsed<Expr> {
        self.binary(LOGICAL, false)
    }

    fn method_arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut arguments = Vec::new();
        loop {
            self.blank_lines();
            if self.take(b")") {
                return Ok(arguments);
            }
            arguments.push(self.binary(LOGICAL, false)?);
            self.blank_lines();
            if self.peek() != Some(b')') {
                self.expect(b",", "a parenthesis is not closed")?;
            }
        }
    }
}

/// The operator of this name, without the letter for upper and lower case, and its level.
fn word_operator(word: &[u8]) -> Option<(&'static [u8], u8)> {
    const OPERATORS: [(&[u8], u8); 31] = [
        (b"and", LOGICAL),
        (b"or", LOGICAL),
        (b"xor", LOGICAL),
        (b"band", 3),
        (b"bor", 3),
        (b"bxor", 3),
        (b"eq", 4),
        (b"ne", 4),
        (b"gt", 4),
        (b"ge", 4),
        (b"lt", 4),
        (b"le", 4),
        (b"like", 4),
        (b"notlike", 4),
        (b"match", 4),
        (b"notmatch", 4),
        (b"contains", 4),
        (b"notcontains", 4),
        (b"in", 4),
        (b"notin", 4),
        (b"replace", 4),
        (b"split", 4),
        (b"join", 4),
        (b"is", 4),
        (b"isnot", 4),
        (b"as", 4),
        (b"shl", 4),
        (b"shr", 4),
        (b"f", 7),
        (b"creplace", 4),
        (b"ireplace", 4),
    ];
    let find = |name: &[u8]| OPERATORS.iter().find(|(known, _)| *known == name).copied();
    find(word).or_else(|| match word {
        [b'c' | b'i', rest @ ..] => find(rest).filter(|(_, level)| *level == 4),
        _ => None,
    })
}
