//! Splits a word's text into its parts.

use super::delimit;
use crate::syntax::{Index, Parameter, ParameterOp, Part, ReplaceMode, Word};

/// How text outside quotes is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A word of a command.
    Word,
    /// The right side of an assignment: a tilde counts behind a colon, too.
    Value,
    /// Between double quotes, where a double quote ends nothing and counts as text.
    HereDocument,
    /// Between double quotes.
    Quoted,
}

/// Reads `raw`; `None` where a quote or substitution does not end.
pub(crate) fn read(raw: &[u8], context: Context) -> Option<Word> {
    read_at(raw, context, 0)
}

fn read_at(raw: &[u8], context: Context, depth: usize) -> Option<Word> {
    if depth > delimit::MAX_DEPTH {
        return None;
    }
    let mut reader = Reader {
        raw,
        at: 0,
        depth,
        parts: Vec::new(),
    };
    reader.run(context)?;
    Some(Word {
        parts: reader.parts,
        raw: raw.to_vec(),
    })
}

struct Reader<'a> {
    raw: &'a [u8],
    at: usize,
    depth: usize,
    parts: Vec<Part>,
}

impl Reader<'_> {
    fn run(&mut self, context: Context) -> Option<()> {
        let quoted = !matches!(context, Context::Word | Context::Value);
        if !quoted {
            // `of=~/x`: a tilde counts behind what looks like an assignment, too.
            let name = self
                .raw
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_');
            let name = name.count();
            if name > 0 && self.raw[name..].starts_with(b"=~") && context == Context::Word {
                self.text(&self.raw[..=name], false);
                self.at = name + 1;
            }
            if self.raw.get(self.at) == Some(&b'~') {
                self.tilde();
            }
        }
        while let Some(&byte) = self.raw.get(self.at) {
            match byte {
                b'\\' => self.escape(quoted),
                b'\'' if !quoted => {
                    let end = delimit::single_quote(self.raw, self.at + 1)?;
                    self.text(&self.raw[self.at + 1..end - 1], true);
                    self.at = end;
                }
                b'"' if context != Context::HereDocument => self.double_quoted()?,
                b':' if context == Context::Value && self.raw.get(self.at + 1) == Some(&b'~') => {
                    self.text(b":", false);
                    self.at += 1;
                    self.tilde();
                    if self.raw.get(self.at) == Some(&b'~') {
                        self.text(b"~", false);
                        self.at += 1;
                    }
                }
                b'`' => {
                    let end = delimit::backtick(self.raw, self.at + 1)?;
                    let body = unescape_backticks(&self.raw[self.at + 1..end - 1], quoted);
                    self.parts.push(Part::Command { body, quoted });
                    self.at = end;
                }
                b'$' => self.dollar(quoted)?,
                b'<' | b'>' if !quoted && self.raw.get(self.at + 1) == Some(&b'(') => {
                    let end = delimit::parenthesis(self.raw, self.at + 2, self.depth)?;
                    let body = self.raw[self.at + 2..end - 1].to_vec();
                    self.parts.push(Part::Process { body });
                    self.at = end;
                }
                _ => {
                    self.text(&[byte], quoted);
                    self.at += 1;
                }
            }
        }
        Some(())
    }

    fn text(&mut self, text: &[u8], quoted: bool) {
        if let Some(Part::Text {
            text: before,
            quoted: same,
        }) = self.parts.last_mut()
            && *same == quoted
        {
            before.extend_from_slice(text);
            return;
        }
        self.parts.push(Part::Text {
            text: text.to_vec(),
            quoted,
        });
    }

    fn escape(&mut self, quoted: bool) {
        let next = self.raw.get(self.at + 1).copied();
        self.at += 2;
        match next {
            Some(b'\n') => {}
            // Between double quotes a backslash stays before most characters.
            Some(byte) if quoted && !b"$`\"\\".contains(&byte) => self.text(&[b'\\', byte], true),
            Some(byte) => self.text(&[byte], true),
            None => self.text(b"\\", true),
        }
    }

    fn double_quoted(&mut self) -> Option<()> {
        let end = delimit::double_quote(self.raw, self.at + 1, self.depth)?;
        let inner = read_at(
            &self.raw[self.at + 1..end - 1],
            Context::HereDocument,
            self.depth + 1,
        )?;
        // Quotes make a word even around nothing.
        self.text(b"", true);
        for part in inner.parts {
            match part {
                Part::Text { text, quoted } => self.text(&text, quoted),
                other => self.parts.push(other),
            }
        }
        self.at = end;
        Some(())
    }

    /// `~` at the beginning of a word. What it stands for is a matter of expansion.
    fn tilde(&mut self) {
        let rest = &self.raw[self.at..];
        let length = rest.iter().position(|b| b"/:".contains(b));
        let end = self.at + length.unwrap_or(rest.len());
        let name = &self.raw[self.at + 1..end];
        let parameter = match name {
            b"" => "HOME",
            b"+" => "PWD",
            b"-" => "OLDPWD",
            _ if name
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b)) =>
            {
                self.parts.push(Part::Unknown { quoted: true });
                self.at = end;
                return;
            }
            _ => return,
        };
        self.parts.push(simple(parameter, true));
        self.at = end;
    }

    fn dollar(&mut self, quoted: bool) -> Option<()> {
        let next = self.raw.get(self.at + 1).copied();
        match next {
            Some(b'(') if self.raw.get(self.at + 2) == Some(&b'(') => {
                if let Some(end) = delimit::arithmetic(self.raw, self.at + 3, self.depth) {
                    let expression = self.raw[self.at + 3..end - 2].to_vec();
                    self.parts.push(Part::Arithmetic { expression, quoted });
                    self.at = end;
                    return Some(());
                }
                self.command(quoted)
            }
            Some(b'(') => self.command(quoted),
            Some(b'{') => {
                let end = delimit::brace(self.raw, self.at + 2, quoted, self.depth)?;
                let inner = &self.raw[self.at + 2..end - 1];
                self.braced(inner, quoted)?;
                self.at = end;
                Some(())
            }
            Some(b'[') => {
                let end = delimit::bracket(self.raw, self.at + 2, self.depth)?;
                let expression = self.raw[self.at + 2..end - 1].to_vec();
                self.parts.push(Part::Arithmetic { expression, quoted });
                self.at = end;
                Some(())
            }
            Some(b'\'') if !quoted => {
                let end = delimit::ansi_quote(self.raw, self.at + 2)?;
                match super::ansi::decode(&self.raw[self.at + 2..end - 1]) {
                    Some(text) => self.text(&text, true),
                    None => self.parts.push(Part::Unknown { quoted: true }),
                }
                self.at = end;
                Some(())
            }
            Some(b'"') if !quoted => {
                self.at += 1;
                self.double_quoted()
            }
            _ => {
                let length = name_length(&self.raw[self.at + 1..]);
                if length == 0 {
                    self.text(b"$", quoted);
                    self.at += 1;
                } else {
                    let name = &self.raw[self.at + 1..=self.at + length];
                    let name = String::from_utf8_lossy(name);
                    self.parts.push(simple(&name, quoted));
                    self.at += 1 + length;
                }
                Some(())
            }
        }
    }

    fn command(&mut self, quoted: bool) -> Option<()> {
        let end = delimit::parenthesis(self.raw, self.at + 2, self.depth)?;
        let body = self.raw[self.at + 2..end - 1].to_vec();
        self.parts.push(Part::Command { body, quoted });
        self.at = end;
        Some(())
    }

    /// `${…}`
    fn braced(&mut self, inner: &[u8], quoted: bool) -> Option<()> {
        // `${ command; }` and `${| command; }`
        if let Some(b' ' | b'\t' | b'\n' | b'|') = inner.first() {
            self.parts.push(Part::Command {
                body: inner[1..].to_vec(),
                quoted,
            });
            return Some(());
        }
        let parameter = parameter(inner, quoted, self.depth)?;
        self.parts.push(Part::Parameter {
            parameter: Box::new(parameter),
            quoted,
        });
        Some(())
    }
}

fn simple(name: &str, quoted: bool) -> Part {
    Part::Parameter {
        parameter: Box::new(Parameter {
            name: name.into(),
            index: Index::None,
            op: ParameterOp::None,
        }),
        quoted,
    }
}

/// The length of the parameter name at the beginning: a name, digits or one special character.
fn name_length(text: &[u8]) -> usize {
    match text.first() {
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => text
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count(),
        Some(b) if b.is_ascii_digit() || b"@*#?-$!".contains(b) => 1,
        _ => 0,
    }
}

fn parameter(inner: &[u8], quoted: bool, depth: usize) -> Option<Parameter> {
    let other = |name: &[u8]| -> Option<Parameter> {
        Some(Parameter {
            name: String::from_utf8_lossy(name).into_owned(),
            index: Index::None,
            op: ParameterOp::Other(read_at(inner, Context::HereDocument, depth + 1)?),
        })
    };
    let length_of = inner.first() == Some(&b'#') && name_length(&inner[1..]) > 0;
    let body = if length_of { &inner[1..] } else { inner };
    let mut at = name_length(body);
    if at == 1 && body[0].is_ascii_digit() {
        at = body.iter().take_while(|b| b.is_ascii_digit()).count();
    }
    if at == 0 || (body[0] == b'!' && body.len() > 1) {
        return other(b"");
    }
    let name = String::from_utf8_lossy(&body[..at]).into_owned();
    let mut index = Index::None;
    if body.get(at) == Some(&b'[') {
        let end = delimit::bracket(body, at + 1, depth)?;
        index = match &body[at + 1..end - 1] {
            b"@" => Index::All,
            b"*" => Index::Joined,
            text => Index::At(text.to_vec()),
        };
        at = end;
    }
    let rest = &body[at..];
    if length_of && !rest.is_empty() {
        return other(name.as_bytes());
    }
    let op = if length_of {
        ParameterOp::Length
    } else {
        operation(rest, quoted, depth)?
    };
    Some(Parameter { name, index, op })
}

fn operation(rest: &[u8], quoted: bool, depth: usize) -> Option<ParameterOp> {
    let word = |text: &[u8]| {
        let context = if quoted {
            Context::Quoted
        } else {
            Context::Word
        };
        read_at(text, context, depth + 1)
    };
    // Quotes count within a pattern whatever stands around the expansion.
    let pattern = |text: &[u8]| read_at(text, Context::Word, depth + 1);
    let other = || {
        Some(ParameterOp::Other(read_at(
            rest,
            Context::HereDocument,
            depth + 1,
        )?))
    };
    match rest {
        [] => Some(ParameterOp::None),
        [b':', sign @ (b'-' | b'=' | b'?' | b'+'), text @ ..] => Some(ParameterOp::Default {
            sign: *sign,
            colon: true,
            word: word(text)?,
        }),
        [sign @ (b'-' | b'=' | b'?' | b'+'), text @ ..] => Some(ParameterOp::Default {
            sign: *sign,
            colon: false,
            word: word(text)?,
        }),
        [b'%', b'%', text @ ..] | [b'#', b'#', text @ ..] => Some(ParameterOp::Trim {
            suffix: rest[0] == b'%',
            longest: true,
            pattern: pattern(text)?,
        }),
        [b'%' | b'#', text @ ..] => Some(ParameterOp::Trim {
            suffix: rest[0] == b'%',
            longest: false,
            pattern: pattern(text)?,
        }),
        [b'/', text @ ..] => {
            let (mode, text) = match text {
                [b'/', text @ ..] => (ReplaceMode::All, text),
                [b'#', text @ ..] => (ReplaceMode::Prefix, text),
                [b'%', text @ ..] => (ReplaceMode::Suffix, text),
                text => (ReplaceMode::First, text),
            };
            let slash = separator(text, b'/', depth)?;
            let with = text.get(slash + 1..).unwrap_or_default();
            Some(ParameterOp::Replace {
                mode,
                pattern: pattern(&text[..slash])?,
                with: pattern(with)?,
            })
        }
        [b':', text @ ..] => {
            let colon = separator(text, b':', depth)?;
            Some(ParameterOp::Slice {
                offset: text[..colon].to_vec(),
                length: text.get(colon + 1..).map(<[u8]>::to_vec),
            })
        }
        [b'^', b'^'] => Some(ParameterOp::Case {
            upper: true,
            all: true,
        }),
        [b'^'] => Some(ParameterOp::Case {
            upper: true,
            all: false,
        }),
        [b',', b','] => Some(ParameterOp::Case {
            upper: false,
            all: true,
        }),
        [b','] => Some(ParameterOp::Case {
            upper: false,
            all: false,
        }),
        _ => other(),
    }
}

/// Where `mark` stands outside quotes and substitutions, or the end.
fn separator(text: &[u8], mark: u8, depth: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b if *b == mark => return Some(at),
            b'\\' => at += 2,
            b'\'' => at = delimit::single_quote(text, at + 1)?,
            b'"' => at = delimit::double_quote(text, at + 1, depth + 1)?,
            b'`' => at = delimit::backtick(text, at + 1)?,
            b'$' => at = delimit::dollar(text, at, false, depth + 1)?,
            _ => at += 1,
        }
    }
    Some(text.len())
}

fn unescape_backticks(body: &[u8], quoted: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        let next = body.get(at + 1);
        let dropped =
            byte == b'\\' && next.is_some_and(|b| b"$`\\".contains(b) || (quoted && *b == b'"'));
        if dropped {
            at += 1;
            plain.push(body[at]);
        } else {
            plain.push(byte);
        }
        at += 1;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(raw: &str) -> String {
        let word = read(raw.as_bytes(), Context::Word).unwrap();
        let mut shape = String::new();
        for part in &word.parts {
            let piece = match part {
                Part::Text { text, quoted: true } => {
                    format!("'{}'", String::from_utf8_lossy(text))
                }
                Part::Text { text, .. } => String::from_utf8_lossy(text).into_owned(),
                Part::Parameter { parameter, quoted } => {
                    format!("<{}{}>", parameter.name, if *quoted { " q" } else { "" })
                }
                Part::Command { body, .. } => format!("({})", String::from_utf8_lossy(body)),
                Part::Arithmetic { expression, .. } => {
                    format!("(({}))", String::from_utf8_lossy(expression))
                }
                Part::Process { body } => format!("<({})", String::from_utf8_lossy(body)),
                Part::Unknown { .. } => "?".into(),
            };
            shape.push_str(&piece);
        }
        shape
    }

    #[test]
    fn words_fall_into_parts() {
        for (raw, expected) in [
            ("abc", "abc"),
            ("a'b c'd", "a'b c'd"),
            (r#""a $x b""#, "'a '<x q>' b'"),
            (r"a\ b", "a' 'b"),
            ("$x/y", "<x>/y"),
            ("${x}y", "<x>y"),
            ("$(rm x)", "(rm x)"),
            ("`rm \\`x\\``", "(rm `x`)"),
            ("$((1+2))", "((1+2))"),
            ("$((a); b)", "((a); b)"),
            (r"$'a\tb'", "'a\tb'"),
            ("~/x", "<HOME q>/x"),
            ("~bob/x", "?/x"),
            ("a~", "a~"),
            ("<(ls)", "<(ls)"),
            ("$1$@", "<1><@>"),
            ("a$", "a$"),
            (r#""""#, "''"),
            (r#""\$x\n""#, r"'$x\n'"),
        ] {
            assert_eq!(shape(raw), expected, "{raw}");
        }
    }

    #[test]
    fn parameter_operations_are_told_apart() {
        let op = |raw: &str| {
            let word = read(raw.as_bytes(), Context::Word).unwrap();
            let Part::Parameter { parameter, .. } = &word.parts[0] else {
                panic!("{raw}")
            };
            format!("{:?}", parameter.op)
        };
        assert!(op("${x:-a b}").starts_with("Default"));
        assert!(op("${x%%.*}").contains("longest: true"));
        assert!(op("${x//a/b}").contains("All"));
        assert!(op("${x:1:2}").starts_with("Slice"));
        assert_eq!(op("${#x}"), "Length");
        assert!(op("${!x}").starts_with("Other"));
        assert!(op("${x@Q}").starts_with("Other"));
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for raw in ["'a", "\"a", "$(a", "${a", "`a"] {
            assert!(read(raw.as_bytes(), Context::Word).is_none(), "{raw}");
        }
    }
}
