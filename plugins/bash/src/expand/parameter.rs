//! What `${…}` makes of a value that is known.

use super::pattern::{PatternByte, has_wildcards, matches};
use crate::state::Value;
use crate::syntax::ReplaceMode;

/// `${x#p}`, `${x%%p}`. `pattern` is `None` where it is not known.
pub(crate) fn trim(
    value: &Value,
    pattern: Option<&[PatternByte]>,
    suffix: bool,
    longest: bool,
) -> Value {
    match (value, pattern) {
        (Value::Known(text), Some(pattern)) => {
            Value::Known(trim_text(text, pattern, suffix, longest).to_vec())
        }
        (Value::Begins(text), Some(pattern)) if suffix && !has_wildcards(pattern) => {
            // At most the pattern's own length goes.
            let kept = text.len().saturating_sub(pattern.len());
            Value::Begins(text[..kept].to_vec())
        }
        (Value::Unset, _) => Value::Unset,
        (Value::Unknown, _) => Value::Unknown,
        _ => Value::Begins(Vec::new()),
    }
}

fn trim_text<'a>(text: &'a [u8], pattern: &[PatternByte], suffix: bool, longest: bool) -> &'a [u8] {
    let lengths = 0..=text.len();
    let fits = |length: &usize| {
        let part = if suffix {
            &text[text.len() - length..]
        } else {
            &text[..*length]
        };
        matches(pattern, part, false)
    };
    let found = if longest {
        lengths.rev().find(fits)
    } else {
        lengths.into_iter().find(fits)
    };
    match found {
        Some(length) if suffix => &text[..text.len() - length],
        Some(length) => &text[length..],
        None => text,
    }
}

/// `${x/p/r}`
pub(crate) fn replace(
    value: &Value,
    pattern: Option<&[PatternByte]>,
    with: Option<&[u8]>,
    mode: ReplaceMode,
) -> Value {
    let (Value::Known(text), Some(pattern), Some(with)) = (value, pattern, with) else {
        return match value {
            Value::Unset => Value::Unset,
            Value::Unknown => Value::Unknown,
            _ => Value::Begins(Vec::new()),
        };
    };
    if pattern.is_empty() || text.len() > 4096 {
        return if pattern.is_empty() {
            value.clone()
        } else {
            Value::Begins(Vec::new())
        };
    }
    Value::known(replace_text(text, pattern, with, mode))
}

fn replace_text(text: &[u8], pattern: &[PatternByte], with: &[u8], mode: ReplaceMode) -> Vec<u8> {
    // In the replacement `&` may stand for what matched; only newer shells do so, and only where it
    // is not quoted. Such replacements are rare; the text is taken as it is.
    let longest_from = |at: usize| {
        (at..=text.len())
            .rev()
            .find(|end| matches(pattern, &text[at..*end], false))
    };
    match mode {
        ReplaceMode::Prefix => match longest_from(0) {
            Some(end) => [with, &text[end..]].concat(),
            None => text.to_vec(),
        },
        ReplaceMode::Suffix => {
            let start = (0..=text.len()).find(|at| matches(pattern, &text[*at..], false));
            match start {
                Some(at) => [&text[..at], with].concat(),
                None => text.to_vec(),
            }
        }
        ReplaceMode::First | ReplaceMode::All => {
            let mut result = Vec::new();
            let mut at = 0;
            while at < text.len() {
                match longest_from(at).filter(|end| *end > at) {
                    Some(end) => {
                        result.extend_from_slice(with);
                        at = end;
                        if mode == ReplaceMode::First {
                            break;
                        }
                    }
                    None => {
                        result.push(text[at]);
                        at += 1;
                    }
                }
            }
            result.extend_from_slice(&text[at..]);
            result
        }
    }
}

/// `${x:offset:length}`. The offset is `None` where it is not known, the length where there is none.
pub(crate) fn slice(value: &Value, offset: Option<i64>, length: Option<i64>) -> Value {
    let (Value::Known(text), Some(offset)) = (value, offset) else {
        return match value {
            Value::Unset => Value::Unset,
            Value::Begins(text) if offset == Some(0) && length.is_none() => {
                Value::Begins(text.clone())
            }
            _ => Value::Unknown,
        };
    };
    // Characters are counted, so only plain text is cut.
    if !text.is_ascii() {
        return Value::Unknown;
    }
    let size = text.len() as i64;
    let start = if offset < 0 { size + offset } else { offset };
    if start < 0 || start > size {
        return Value::Known(Vec::new());
    }
    let end = match length {
        None => size,
        Some(length) if length < 0 => size + length,
        Some(length) => start.saturating_add(length).min(size),
    };
    let cut = text.get(start as usize..end.max(start) as usize);
    Value::Known(cut.unwrap_or_default().to_vec())
}

/// `${x^^}`, `${x,}`
pub(crate) fn case(value: &Value, upper: bool, all: bool) -> Value {
    let convert = |text: &[u8]| -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        let change = |part: &str| {
            if upper {
                part.to_uppercase()
            } else {
                part.to_lowercase()
            }
        };
        let first = text.chars().next().map_or(0, char::len_utf8);
        Some(if all {
            change(text).into_bytes()
        } else {
            [change(&text[..first]).as_bytes(), &text.as_bytes()[first..]].concat()
        })
    };
    match value {
        Value::Known(text) => convert(text).map_or(Value::Unknown, Value::Known),
        Value::Begins(text) => convert(text).map_or(Value::Unknown, Value::Begins),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<PatternByte> {
        text.bytes().map(|b| (b, false)).collect()
    }

    fn known(text: &str) -> Value {
        Value::Known(text.into())
    }

    #[test]
    fn values_are_trimmed() {
        let path = known("/a/b.tar.gz");
        for (pattern, suffix, longest, expected) in [
            (".*", true, false, "/a/b.tar"),
            (".*", true, true, "/a/b"),
            ("*/", false, false, "a/b.tar.gz"),
            ("*/", false, true, "b.tar.gz"),
            ("x", false, true, "/a/b.tar.gz"),
        ] {
            let trimmed = trim(&path, Some(&plain(pattern)), suffix, longest);
            assert_eq!(trimmed, known(expected), "{pattern}");
        }
        let begins = Value::Begins("/srv/dir/".into());
        assert_eq!(
            trim(&begins, Some(&plain(".c")), true, false),
            Value::Begins("/srv/di".into())
        );
    }

    #[test]
    fn parts_are_replaced() {
        let text = known("a-b-c");
        for (mode, pattern, expected) in [
            (ReplaceMode::First, "-", "a_b-c"),
            (ReplaceMode::All, "-", "a_b_c"),
            (ReplaceMode::Prefix, "a", "_-b-c"),
            (ReplaceMode::Suffix, "c", "a-b-_"),
            (ReplaceMode::Suffix, "x", "a-b-c"),
        ] {
            let replaced = replace(&text, Some(&plain(pattern)), Some(b"_"), mode);
            assert_eq!(replaced, known(expected), "{mode:?}");
        }
    }

    #[test]
    fn slices_and_cases() {
        assert_eq!(slice(&known("abcdef"), Some(1), Some(2)), known("bc"));
        assert_eq!(slice(&known("abcdef"), Some(-2), None), known("ef"));
        assert_eq!(slice(&known("abcdef"), Some(1), Some(-1)), known("bcde"));
        assert_eq!(case(&known("aB"), true, true), known("AB"));
        assert_eq!(case(&known("ab"), true, false), known("Ab"));
    }
}
