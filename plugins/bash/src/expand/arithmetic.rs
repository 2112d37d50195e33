//! Shell arithmetic on what is known.

/// How deep an expression may be nested.
const MAX_DEPTH: usize = 32;

/// Variables of an expression.
pub(crate) trait Variables {
    /// The value of a variable; `None` where it is not known.
    fn get(&mut self, name: &str) -> Option<i64>;
    /// Sets a variable, to something unknown with `None`.
    fn set(&mut self, name: &str, value: Option<i64>);
}

/// Evaluates `expression`; `None` where the value cannot be told.
pub(crate) fn evaluate(expression: &[u8], variables: &mut dyn Variables) -> Option<i64> {
    let pairs = || expression.windows(2);
    if (expression.contains(&b'?') || pairs().any(|pair| pair == b"&&" || pair == b"||"))
        && sets(expression)
    {
        // What is set depends on values.
        forget(expression, variables);
        return None;
    }
    let mut reader = Reader {
        text: expression,
        at: 0,
        variables,
        depth: 0,
    };
    let value = reader.comma();
    reader.blanks();
    if reader.at < expression.len() {
        // Not understood: whatever may be set in the rest is not known any more.
        forget(expression, reader.variables);
        return None;
    }
    value
}

/// Makes every variable that `expression` may set unknown.
pub(crate) fn forget(expression: &[u8], variables: &mut dyn Variables) {
    if !sets(expression) {
        return;
    }
    for word in expression.split(|b| !b.is_ascii_alphanumeric() && *b != b'_') {
        if word.first().is_some_and(|b| !b.is_ascii_digit()) {
            variables.set(&String::from_utf8_lossy(word), None);
        }
    }
}

/// Whether `expression` may set a variable.
fn sets(expression: &[u8]) -> bool {
    let compares: [&[u8]; 4] = [b"==", b"!=", b"<=", b">="];
    let mut pairs = expression.windows(2);
    let steps = pairs.any(|pair| pair == b"++" || pair == b"--");
    let signs = expression.iter().enumerate().filter(|(_, b)| **b == b'=');
    steps
        || signs.into_iter().any(|(at, _)| {
            let before = at.checked_sub(1).and_then(|from| expression.get(from..=at));
            let behind = expression.get(at..at + 2);
            let shift = at >= 2 && matches!(&expression[at - 2..at], b"<<" | b">>");
            shift
                || ![before, behind]
                    .into_iter()
                    .flatten()
                    .any(|pair| compares.contains(&pair))
        })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    variables: &'a mut dyn Variables,
    depth: usize,
}

/// Operators of two operands by how tightly they bind.
const LEVELS: &[&[&[u8]]] = &[
    &[b"||"],
    &[b"&&"],
    &[b"|"],
    &[b"^"],
    &[b"&"],
    &[b"==", b"!="],
    &[b"<=", b">=", b"<", b">"],
    &[b"<<", b">>"],
    &[b"+", b"-"],
    &[b"*", b"/", b"%"],
];

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &[u8]) -> bool {
        self.blanks();
        let found = self.text[self.at.min(self.text.len())..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn comma(&mut self) -> Option<i64> {
        let mut value = self.assignment();
        while self.take(b",") {
            value = self.assignment();
        }
        value
    }

    fn assignment(&mut self) -> Option<i64> {
        self.blanks();
        let start = self.at;
        if let Some(name) = self.name() {
            self.blanks();
            let rest = &self.text[self.at..];
            let op: Option<&[u8]> = [
                b"=".as_slice(),
                b"+=",
                b"-=",
                b"*=",
                b"/=",
                b"%=",
                b"<<=",
                b">>=",
                b"&=",
                b"|=",
                b"^=",
            ]
            .into_iter()
            .find(|op| rest.starts_with(op) && !rest.starts_with(b"=="));
            if let Some(op) = op {
                self.at += op.len();
                let right = self.nested(Self::assignment);
                let value = if op == b"=" {
                    right
                } else {
                    let left = self.variables.get(&name);
                    binary(&op[..op.len() - 1], left, right)
                };
                self.variables.set(&name, value);
                return value;
            }
        }
        self.at = start;
        self.ternary()
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<i64>) -> Option<i64> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn ternary(&mut self) -> Option<i64> {
        let condition = self.level(0);
        if !self.take(b"?") {
            return condition;
        }
        let yes = self.nested(Self::comma);
        if !self.take(b":") {
            return None;
        }
        let no = self.nested(Self::ternary);
        match condition {
            Some(0) => no,
            Some(_) => yes,
            None if yes == no => yes,
            None => None,
        }
    }

    fn level(&mut self, level: usize) -> Option<i64> {
        let Some(operators) = LEVELS.get(level) else {
            return self.power();
        };
        let mut left = self.level(level + 1);
        loop {
            self.blanks();
            let rest = &self.text[self.at..];
            let Some(op) = operators
                .iter()
                .find(|op| rest.starts_with(op) && !longer(op, rest))
            else {
                return left;
            };
            self.at += op.len();
            let right = self.level(level + 1);
            left = binary(op, left, right);
        }
    }

    fn power(&mut self) -> Option<i64> {
        let base = self.unary();
        if !self.take(b"**") {
            return base;
        }
        let exponent = self.nested(Self::power);
        base?.checked_pow(u32::try_from(exponent?).ok()?)
    }

    fn unary(&mut self) -> Option<i64> {
        self.blanks();
        let rest = &self.text[self.at..];
        for (op, change) in [(b"++", 1), (b"--", -1)] {
            if rest.starts_with(op) {
                self.at += 2;
                self.blanks();
                let name = self.name()?;
                let value = self.variables.get(&name).map(|v| v.wrapping_add(change));
                self.variables.set(&name, value);
                return value;
            }
        }
        match rest.first() {
            Some(b'+') => self.step_into(Some),
            Some(b'-') => self.step_into(i64::checked_neg),
            Some(b'!') => self.step_into(|v| Some(i64::from(v == 0))),
            Some(b'~') => self.step_into(|v| Some(!v)),
            _ => self.primary(),
        }
    }

    fn step_into(&mut self, apply: fn(i64) -> Option<i64>) -> Option<i64> {
        self.at += 1;
        self.nested(Self::unary).and_then(apply)
    }

    fn primary(&mut self) -> Option<i64> {
        if self.take(b"(") {
            let value = self.nested(Self::comma);
            return if self.take(b")") { value } else { None };
        }
        if self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            let start = self.at;
            while self
                .text
                .get(self.at)
                .is_some_and(|b| b.is_ascii_alphanumeric() || b"#@_".contains(b))
            {
                self.at += 1;
            }
            return number(&self.text[start..self.at]);
        }
        let name = self.name()?;
        let value = self.variables.get(&name);
        for (op, change) in [(b"++".as_slice(), 1), (b"--", -1)] {
            if self.take(op) {
                let changed = value.map(|v| v.wrapping_add(change));
                self.variables.set(&name, changed);
                return value;
            }
        }
        value
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..)?;
        let rest = rest.strip_prefix(b"$").unwrap_or(rest);
        let length = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        if length == 0 || rest[0].is_ascii_digit() {
            return None;
        }
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at = self.text.len() - rest.len() + length;
        // An element of an array: its value is not followed.
        (self.text.get(self.at) != Some(&b'[')).then_some(name)
    }
}

/// Whether a longer operator of another level stands there.
fn longer(op: &[u8], rest: &[u8]) -> bool {
    let next = rest.get(op.len());
    match op {
        b"|" | b"&" | b"<" | b">" | b"*" if next == op.first() => true,
        b"+" | b"-" | b"*" | b"/" | b"%" | b"^" | b"|" | b"&" | b"<<" | b">>" => {
            next == Some(&b'=')
        }
        _ => false,
    }
}

fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some((base, digits)) = text.split_once('#') {
        let base = base.parse().ok().filter(|base| (2..=36).contains(base))?;
        return i64::from_str_radix(digits, base).ok();
    }
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => i64::from_str_radix(&text[2..], 16).ok(),
        [b'0', _, ..] => i64::from_str_radix(&text[1..], 8).ok(),
        _ => text.parse().ok(),
    }
}

fn binary(op: &[u8], left: Option<i64>, right: Option<i64>) -> Option<i64> {
    let (left, right) = (left?, right?);
    Some(match op {
        b"||" => i64::from(left != 0 || right != 0),
        b"&&" => i64::from(left != 0 && right != 0),
        b"|" => left | right,
        b"^" => left ^ right,
        b"&" => left & right,
        b"==" => i64::from(left == right),
        b"!=" => i64::from(left != right),
        b"<=" => i64::from(left <= right),
        b">=" => i64::from(left >= right),
        b"<" => i64::from(left < right),
        b">" => i64::from(left > right),
        b"<<" => left.wrapping_shl(right as u32),
        b">>" => left.wrapping_shr(right as u32),
        b"+" => left.wrapping_add(right),
        b"-" => left.wrapping_sub(right),
        b"*" => left.wrapping_mul(right),
        b"/" => left.checked_div(right)?,
        b"%" => left.checked_rem(right)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Map(BTreeMap<String, i64>);

    impl Variables for Map {
        fn get(&mut self, name: &str) -> Option<i64> {
            self.0.get(name).copied()
        }
        fn set(&mut self, name: &str, value: Option<i64>) {
            match value {
                Some(value) => drop(self.0.insert(name.into(), value)),
                None => drop(self.0.remove(name)),
            }
        }
    }

    fn value(expression: &str) -> Option<i64> {
        let mut map = Map(BTreeMap::from([("x".into(), 5)]));
        evaluate(expression.as_bytes(), &mut map)
    }

    #[test]
    fn expressions_have_their_values() {
        for (expression, expected) in [
            ("1+2*3", Some(7)),
            ("(1+2)*3", Some(9)),
            ("x", Some(5)),
            ("$x + 1", Some(6)),
            ("x++ + x", Some(11)),
            ("++x", Some(6)),
            ("y = x << 1, y + 1", Some(11)),
            ("x += 2", Some(7)),
            ("2**10", Some(1024)),
            ("-3 % 2", Some(-1)),
            ("x > 3 ? 1 : 0", Some(1)),
            ("x == 5 && x != 4", Some(1)),
            ("0x10 + 010 + 2#11", Some(27)),
            ("!x", Some(0)),
            ("1/0", None),
            ("unknown", None),
            ("a[1]", None),
            ("1 +", None),
        ] {
            assert_eq!(value(expression), expected, "{expression}");
        }
    }

    #[test]
    fn hostile_expressions_end() {
        for text in ["(", "-", "!", "1?", "x=", "2**"] {
            let _ = value(&text.repeat(20_000));
        }
    }
}
