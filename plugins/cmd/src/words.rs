//! Arguments out of what stands behind a command's name: the way `cmd` splits them for its own
//! commands, and the way programs do it for themselves.

use deployx_plugin_sdk::table::{Arg, Known};

use crate::cell::{
    ANY_DEEP, ANY_NAME, Cell, OPEN, UNKNOWN, byte, bytes, has_unknown, is_delimiter,
};

/// An argument without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) cells: Vec<Cell>,
    /// At least a part stood in quotes.
    pub(crate) quoted: bool,
}

impl Word {
    /// The text, where all of it is known.
    pub(crate) fn text(&self) -> Option<Vec<u8>> {
        crate::cell::is_plain(&self.cells).then(|| bytes(&self.cells))
    }

    /// As an argument of a rule.
    pub(crate) fn arg(&self) -> Arg {
        if let Some(unknown) = self.cells.iter().position(|c| matches!(*c, UNKNOWN | OPEN)) {
            let known = if self.quoted {
                Known::Beginning
            } else {
                Known::Several
            };
            return Arg {
                text: bytes(&self.cells[..unknown]),
                known,
            };
        }
        let text = bytes(&self.cells);
        let names = self.cells.iter().any(|c| matches!(*c, ANY_NAME | ANY_DEEP));
        let wild = names || text.iter().any(|b| matches!(b, b'*' | b'?'));
        let switch = matches!(text.first(), Some(b'/' | b'-'));
        // An address may have a question mark; it is no pattern.
        let address = text.windows(3).any(|w| w == b"://");
        let known = if wild && !switch && !address {
            Known::Pattern
        } else {
            Known::Whole
        };
        Arg { text, known }
    }
}

/// Splits as `cmd` does for its own commands: blanks, `,`, `;` and `=` separate, and a `/` outside
/// quotes begins a switch. A `/` within a word is left, since it may as well be a part of a path.
pub(crate) fn split_for_cmd(tail: &[Cell]) -> Vec<Word> {
    split(
        tail,
        |cell| is_delimiter(cell) || byte(cell) == b'\n',
        false,
    )
}

/// Splits as programs built with Microsoft's runtime do: blanks separate, `\"` is a quote.
pub(crate) fn split_for_program(tail: &[Cell]) -> Vec<Word> {
    split(
        tail,
        |cell| matches!(byte(cell), b' ' | b'\t' | b'\n'),
        true,
    )
}

fn split(tail: &[Cell], separates: impl Fn(Cell) -> bool, runtime: bool) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quoted = false;
    let mut at = 0;
    while at < tail.len() {
        let cell = tail[at];
        if !quoted && separates(cell) {
            words.extend(word.take());
            at += 1;
            continue;
        }
        let current = word.get_or_insert_with(|| Word {
            cells: Vec::new(),
            quoted: false,
        });
        match byte(cell) {
            b'"' => {
                quoted = !quoted;
                current.quoted = true;
            }
            b'\\' if runtime => {
                let run = tail[at..].iter().take_while(|c| byte(**c) == b'\\').count();
                let before_quote = tail.get(at + run).is_some_and(|c| byte(*c) == b'"');
                // A path such as "C:\dir\" is meant as one by the user, whatever the runtime does.
                let escapes = before_quote && run % 2 == 1 && !ends_word(tail, at + run, quoted);
                let keep = if escapes { run / 2 } else { run };
                current
                    .cells
                    .extend(std::iter::repeat_n(Cell::from(b'\\'), keep));
                at += run;
                if escapes {
                    current.cells.push(Cell::from(b'"'));
                    at += 1;
                }
                continue;
            }
            _ => current.cells.push(cell),
        }
        at += 1;
    }
    words.extend(word);
    words
}

/// Whether the quote at `at` closes the word that it stands in.
fn ends_word(tail: &[Cell], at: usize, quoted: bool) -> bool {
    let next = tail.get(at + 1);
    quoted && next.is_none_or(|c| matches!(byte(*c), b' ' | b'\t'))
}

/// A part of a command line for people and for the host's fallback.
pub(crate) fn shown(name: &[Cell], tail: &[Cell]) -> Vec<u8> {
    let mut text = bytes(name);
    text.extend(bytes(tail));
    if has_unknown(name) && text.is_empty() {
        text.push(b'%');
    }
    text.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::cells;

    fn texts(words: &[Word]) -> Vec<String> {
        words
            .iter()
            .map(|w| String::from_utf8(bytes(&w.cells)).unwrap())
            .collect()
    }

    #[test]
    fn cmd_splits_at_its_delimiters() {
        let words = split_for_cmd(&cells(br#"/q a,b;c=d "e f,g" "h"i\"j k""#));
        assert_eq!(
            texts(&words),
            ["/q", "a", "b", "c", "d", "e f,g", r"hi\j k"]
        );
    }

    #[test]
    fn programs_split_at_blanks() {
        let words = split_for_program(&cells(br#"a,b "c d" x\"y "C:\dir\" e"#));
        assert_eq!(texts(&words), ["a,b", "c d", "x\"y", r"C:\dir\", "e"]);
    }

    #[test]
    fn what_is_not_known_is_an_argument_of_its_kind() {
        let mut line = cells(b"a");
        line.push(UNKNOWN);
        assert_eq!(split_for_program(&line)[0].arg().known, Known::Several);
        let pattern = split_for_program(&cells(br"x\*.c /im *.c"));
        assert_eq!(pattern[0].arg().known, Known::Pattern);
        assert_eq!(pattern[1].arg().known, Known::Whole);
    }
}
