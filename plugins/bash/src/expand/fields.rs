//! From the parts of a word to arguments.

use deployx_plugin_sdk::table::{Arg, Known};

use super::pattern::{PatternByte, is_wild};

/// A piece of an expanded word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text; quoted text has no wildcards.
    Text(Vec<u8>, bool),
    /// Something not known; `several` where it may be split into words or vanish.
    Hole { several: bool },
    /// Something not known without `/`, blanks and wildcards.
    Token,
}

/// An argument before its wildcards are expanded.
pub(crate) type Field = Vec<Piece>;

/// Fields as they come about.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    done: Vec<Field>,
    current: Field,
    started: bool,
}

impl Fields {
    /// Adds text that is not split.
    pub(crate) fn text(&mut self, text: &[u8], quoted: bool) {
        self.started |= quoted || !text.is_empty();
        if !text.is_empty() {
            self.current.push(Piece::Text(text.to_vec(), quoted));
        }
    }

    /// Adds the value of an expansion outside quotes.
    pub(crate) fn split(&mut self, text: &[u8], separators: &[u8]) {
        let blank = |byte: &u8| b" \t\n".contains(byte);
        let mut at = 0;
        // A separator that is no blank ends a field even where nothing stands before it.
        let mut empty_counts = false;
        while at < text.len() {
            if !separators.contains(&text[at]) {
                let rest = &text[at..];
                let length = rest.iter().position(|b| separators.contains(b));
                let length = length.unwrap_or(rest.len());
                self.text(&rest[..length], false);
                at += length;
                empty_counts = false;
                continue;
            }
            let hard = !blank(&text[at]);
            self.end_field(hard && empty_counts);
            empty_counts |= hard;
            at += 1;
        }
    }

    /// Adds something not known.
    pub(crate) fn hole(&mut self, several: bool) {
        self.started = true;
        self.current.push(Piece::Hole { several });
    }

    /// Adds something not known that is a name.
    pub(crate) fn token(&mut self) {
        self.started = true;
        self.current.push(Piece::Token);
    }

    /// Ends the current field; an empty one counts only where `keep_empty` is set.
    pub(crate) fn end_field(&mut self, keep_empty: bool) {
        if self.started || keep_empty {
            self.done.push(std::mem::take(&mut self.current));
        }
        self.current.clear();
        self.started = false;
    }

    /// The fields.
    pub(crate) fn finish(mut self) -> Vec<Field> {
        self.end_field(false);
        self.done
    }
}

/// The pattern that a field without anything unknown is.
pub(crate) fn pattern(field: &Field) -> Option<Vec<PatternByte>> {
    let mut pattern = Vec::new();
    for piece in field {
        match piece {
            Piece::Text(text, quoted) => pattern.extend(text.iter().map(|b| (*b, *quoted))),
            Piece::Hole { .. } | Piece::Token => return None,
        }
    }
    Some(pattern)
}

/// The field as an argument, wildcards as they stand.
pub(crate) fn argument(field: &Field, wildcards: bool) -> Arg {
    let mut text = Vec::new();
    let mut known = Known::Whole;
    for piece in field {
        match piece {
            Piece::Hole { several: true } => {
                return Arg {
                    text: before_wildcards(text, known),
                    known: Known::Several,
                };
            }
            _ if known == Known::Beginning => {}
            Piece::Text(more, quoted) => {
                let wild = is_wild(more);
                if !quoted && wildcards && wild {
                    known = Known::Pattern;
                }
                text.extend_from_slice(more);
            }
            Piece::Token => {
                known = Known::Pattern;
                text.push(b'*');
            }
            // What a pattern with something unknown in it stands for is several names.
            Piece::Hole { several: false } if known == Known::Pattern => {
                return Arg {
                    text: before_wildcards(text, known),
                    known: Known::Several,
                };
            }
            Piece::Hole { several: false } => known = Known::Beginning,
        }
    }
    Arg { text, known }
}

fn before_wildcards(mut text: Vec<u8>, known: Known) -> Vec<u8> {
    if known == Known::Pattern {
        let first = text.iter().position(|b| b"*?[".contains(b));
        text.truncate(first.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, separators: &str) -> Vec<String> {
        let mut fields = Fields::default();
        fields.split(text.as_bytes(), separators.as_bytes());
        let fields = fields.finish();
        let texts = fields.iter().map(|f| argument(f, false).text);
        texts.map(|t| String::from_utf8(t).unwrap()).collect()
    }

    #[test]
    fn values_are_split() {
        assert_eq!(split("  a  b\nc ", " \t\n"), ["a", "b", "c"]);
        assert_eq!(split("a::b:", ":"), ["a", "", "b"]);
        assert_eq!(split("", " "), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_known_shows() {
        let field = vec![
            Piece::Text(b"a/".to_vec(), true),
            Piece::Hole { several: false },
            Piece::Text(b"/b".to_vec(), true),
        ];
        assert_eq!(argument(&field, true).text, b"a/");
        assert_eq!(argument(&field, true).known, Known::Beginning);
        let field = vec![Piece::Text(b"a-".to_vec(), true), Piece::Token];
        assert_eq!(argument(&field, true).text, b"a-*");
        assert_eq!(argument(&field, true).known, Known::Pattern);
    }
}
