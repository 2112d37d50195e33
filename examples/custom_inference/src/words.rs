//! Splits a fish line into words and operators.

/// One piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A word.
    Word(Word),
    /// `;`, a line break, `&`, `|`, `&&`, `||`: a command ends here.
    End,
    /// `>`, `>>`, `2>`, `&>` and their like: the next word is a file that is written.
    Write,
    /// `<`: the next word is a file that is read.
    Read,
}

/// A word with quotes taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its text.
    pub(crate) text: Vec<u8>,
    /// It begins with a `~` that stands for the home directory.
    pub(crate) tilde: bool,
    /// Some of it is for fish to expand: a variable, a wildcard, braces, a substitution.
    pub(crate) expanded: bool,
}

/// The pieces of a line; `None` where it is not well-formed.
pub(crate) fn pieces(line: &[u8]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut word: Option<Word> = None;
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' => pieces.extend(word.take().map(Piece::Word)),
            b';' | b'\n' | b'|' => {
                pieces.extend(word.take().map(Piece::Word));
                rest.next_if_eq(&b'|');
                pieces.push(Piece::End);
            }
            b'&' => {
                pieces.extend(word.take().map(Piece::Word));
                if rest.next_if_eq(&b'>').is_some() {
                    finish_redirection(&mut rest);
                    pieces.push(Piece::Write);
                } else {
                    rest.next_if_eq(&b'&');
                    pieces.push(Piece::End);
                }
            }
            b'>' | b'<' => {
                // `2>`: the number belongs to the redirection.
                let descriptor = word
                    .take_if(|word| word.text.iter().all(u8::is_ascii_digit))
                    .is_some();
                if !descriptor {
                    pieces.extend(word.take().map(Piece::Word));
                }
                if byte == b'<' {
                    pieces.push(Piece::Read);
                } else if finish_redirection(&mut rest) {
                    pieces.push(Piece::Write);
                }
            }
            b'#' if word.is_none() => while rest.next_if(|byte| *byte != b'\n').is_some() {},
            b'\'' | b'"' => quoted(byte, &mut rest, word.get_or_insert_default())?,
            b'\\' => word.get_or_insert_default().text.push(rest.next()?),
            b'~' if word.is_none() => word.get_or_insert_default().tilde = true,
            other => {
                let word = word.get_or_insert_default();
                word.expanded |= b"$*?(){}[]".contains(&other);
                word.text.push(other);
            }
        }
    }
    pieces.extend(word.map(Piece::Word));
    Some(pieces)
}

/// Takes the rest of `>>`, `>?`, `>&1`; false where the target is a descriptor.
fn finish_redirection(rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> bool {
    while rest.next_if(|byte| matches!(byte, b'>' | b'?')).is_some() {}
    if rest.next_if_eq(&b'&').is_none() {
        return true;
    }
    while rest
        .next_if(|byte| byte.is_ascii_digit() || *byte == b'-')
        .is_some()
    {}
    false
}

/// Reads up to the closing quote; `None` where there is none.
fn quoted(quote: u8, rest: &mut impl Iterator<Item = u8>, word: &mut Word) -> Option<()> {
    loop {
        match rest.next()? {
            byte if byte == quote => return Some(()),
            b'\\' => match rest.next()? {
                escaped if escaped == quote || escaped == b'\\' => word.text.push(escaped),
                other => word.text.extend([b'\\', other]),
            },
            byte => {
                word.expanded |= quote == b'"' && byte == b'$';
                word.text.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Vec<String> {
        pieces(line.as_bytes())
            .unwrap()
            .into_iter()
            .map(|piece| match piece {
                Piece::Word(word) => String::from_utf8(word.text).unwrap(),
                other => format!("<{other:?}>"),
            })
            .collect()
    }

    #[test]
    fn quotes_escapes_and_operators_are_read() {
        assert_eq!(
            shown(r#"rm 'a b' "c\"d" e\ f; echo x 2>>log >&2 | cat <in && ls # end"#),
            [
                "rm", "a b", "c\"d", "e f", "<End>", "echo", "x", "<Write>", "log", "<End>", "cat",
                "<Read>", "in", "<End>", "ls"
            ]
        );
    }

    #[test]
    fn an_open_quote_is_not_well_formed() {
        assert_eq!(pieces(b"rm 'a"), None);
        assert_eq!(pieces(b"rm a\\"), None);
    }

    #[test]
    fn what_fish_expands_is_marked() {
        for (text, expanded) in [
            ("$x", true),
            ("'$x'", false),
            ("\"$x\"", true),
            ("a*", true),
        ] {
            let found = pieces(text.as_bytes()).unwrap();
            assert!(matches!(&found[..], [Piece::Word(word)] if word.expanded == expanded));
        }
    }
}
