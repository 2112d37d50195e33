//! Matching of shell patterns: `*`, `?`, `[…]`.

/// A byte of a pattern, and whether it is quoted and so stands for itself.
pub(crate) type PatternByte = (u8, bool);

/// How much work one match may take.
const MAX_STEPS: usize = 100_000;

/// Whether unquoted wildcards are in `pattern`.
pub(crate) fn has_wildcards(pattern: &[PatternByte]) -> bool {
    pattern
        .iter()
        .any(|(byte, quoted)| !quoted && b"*?[".contains(byte))
}

/// Whether unquoted text has wildcards. A bracket counts only where it is closed.
pub(crate) fn is_wild(text: &[u8]) -> bool {
    let bracket = text.iter().position(|b| *b == b'[');
    let closed = bracket.is_some_and(|at| text[at..].contains(&b']'));
    closed || text.iter().any(|b| b"*?".contains(b))
}

/// Whether the whole of `text` matches. Where that takes too long the answer is yes.
pub(crate) fn matches(pattern: &[PatternByte], text: &[u8], ignore_case: bool) -> bool {
    let mut steps = 0;
    run(pattern, text, ignore_case, &mut steps)
}

fn run(pattern: &[PatternByte], text: &[u8], ignore_case: bool, steps: &mut usize) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not fit.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        *steps += 1;
        if *steps > MAX_STEPS {
            return true;
        }
        if pattern.get(p) == Some(&(b'*', false)) {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if p < pattern.len()
            && t < text.len()
            && let Some((pattern_length, text_length)) = one(&pattern[p..], &text[t..], ignore_case)
        {
            p += pattern_length;
            t += text_length;
            continue;
        }
        match &mut retry {
            Some((after, from)) if *from < text.len() => {
                *from += 1;
                p = *after;
                t = *from;
            }
            _ => return false,
        }
    }
}

/// Matches one character; how much of pattern and text that takes.
fn one(pattern: &[PatternByte], text: &[u8], ignore_case: bool) -> Option<(usize, usize)> {
    let width = character(text);
    match pattern[0] {
        (b'?', false) => Some((1, width)),
        (b'[', false) => match bracket(pattern, &text[..width], ignore_case) {
            Some((length, true)) => Some((length, width)),
            Some((_, false)) => None,
            None => (text[0] == b'[').then_some((1, 1)),
        },
        (byte, _) => {
            let same = byte == text[0] || (ignore_case && byte.eq_ignore_ascii_case(&text[0]));
            same.then_some((1, 1))
        }
    }
}

/// The length of the character at the beginning of `text`; one byte where it is none.
fn character(text: &[u8]) -> usize {
    let length = match text[0] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    match text.get(..length) {
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => length,
        _ => 1,
    }
}

/// `[…]` at the beginning: its length and whether it has the character. `None` where it does not
/// end.
fn bracket(pattern: &[PatternByte], character: &[u8], ignore_case: bool) -> Option<(usize, bool)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some((b'!' | b'^', false)));
    at += usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        let &(byte, quoted) = pattern.get(at)?;
        if byte == b']' && !quoted && at > first {
            return Some((at + 1, found != negated));
        }
        if byte == b'[' && !quoted && matches!(pattern.get(at + 1), Some((b':', _))) {
            let close = pattern[at + 2..].windows(2);
            let length = close.take_while(|pair| (pair[0].0, pair[1].0) != (b':', b']'));
            let name_end = at + 2 + length.count();
            if name_end + 1 < pattern.len() {
                let name: Vec<u8> = pattern[at + 2..name_end].iter().map(|p| p.0).collect();
                found |= class(&name, character);
                at = name_end + 2;
                continue;
            }
        }
        let range = matches!(pattern.get(at + 1), Some((b'-', false)))
            && !matches!(pattern.get(at + 2), Some((b']', false)) | None);
        let last = if range { pattern[at + 2].0 } else { byte };
        found |= within(byte, last, character, ignore_case);
        at += if range { 3 } else { 1 };
    }
}

fn within(first: u8, last: u8, character: &[u8], ignore_case: bool) -> bool {
    // A list of bytes cannot tell characters of several bytes apart: any of them may be meant.
    if character.len() > 1 {
        return first >= 0x80 || last >= 0x80;
    }
    let byte = character[0];
    let fits = |byte: u8| (first..=last).contains(&byte);
    fits(byte)
        || (ignore_case && (fits(byte.to_ascii_lowercase()) || fits(byte.to_ascii_uppercase())))
}

fn class(name: &[u8], character: &[u8]) -> bool {
    if character.len() > 1 || character[0] >= 0x80 {
        return true;
    }
    let byte = character[0];
    match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 11,
        b"blank" => byte == b' ' || byte == b'\t',
        b"punct" => byte.is_ascii_punctuation(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        b"cntrl" => byte.is_ascii_control(),
        b"word" => byte.is_ascii_alphanumeric() || byte == b'_',
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        let pattern: Vec<_> = pattern.bytes().map(|b| (b, false)).collect();
        matches(&pattern, text.as_bytes(), false)
    }

    #[test]
    fn patterns_match_as_in_the_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "é", true),
            ("a?c", "abc", true),
            ("[abc]", "b", true),
            ("[!abc]", "b", false),
            ("[a-c]x", "bx", true),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[[:digit:]]*", "1a", true),
            ("[[:digit:]]*", "a1", false),
            ("[a-]", "-", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn quoted_wildcards_stand_for_themselves() {
        assert!(matches(&[(b'*', true)], b"*", false));
        assert!(!matches(&[(b'*', true)], b"a", false));
    }

    #[test]
    fn hostile_patterns_end() {
        let _ = fits(&"*a".repeat(2000), &"a".repeat(5000));
    }
}
