//! Brace expansion, a rewriting of a word's text before anything else is read from it.

use super::delimit;

/// How many words one word may become.
const MAX_WORDS: usize = 1024;

/// How deep braces may be nested.
const MAX_DEPTH: usize = 16;

/// The words that `raw` becomes; itself where it has nothing to expand. `None` where these are too
/// many.
pub(crate) fn expand(raw: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !raw.contains(&b'{') {
        return Some(vec![raw.to_vec()]);
    }
    expand_at(raw, 0)
}

fn expand_at(raw: &[u8], depth: usize) -> Option<Vec<Vec<u8>>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let Some((open, close, items)) = first_expression(raw) else {
        return Some(vec![raw.to_vec()]);
    };
    let mut middles = Vec::new();
    match items {
        Items::List(list) => {
            for item in list {
                middles.extend(expand_at(item, depth + 1)?);
            }
        }
        Items::Sequence(words) => middles = words?,
    }
    let tails = expand_at(&raw[close + 1..], depth + 1)?;
    if middles.len().checked_mul(tails.len())? > MAX_WORDS {
        return None;
    }
    let mut words = Vec::with_capacity(middles.len() * tails.len());
    for middle in &middles {
        for tail in &tails {
            words.push([&raw[..open], middle, tail].concat());
        }
    }
    Some(words)
}

enum Items<'a> {
    List(Vec<&'a [u8]>),
    /// `None`: too many.
    Sequence(Option<Vec<Vec<u8>>>),
}

/// The first brace expression: where it opens and closes, and what is in it.
fn first_expression(raw: &[u8]) -> Option<(usize, usize, Items<'_>)> {
    let mut at = 0;
    let mut tries = 0;
    while at < raw.len() {
        if raw[at] == b'{' {
            tries += 1;
            if tries > MAX_DEPTH * 2 {
                return None;
            }
            if let Some((close, items)) = expression(raw, at) {
                return Some((at, close, items));
            }
        }
        at = step(raw, at)?;
    }
    None
}

fn expression(raw: &[u8], open: usize) -> Option<(usize, Items<'_>)> {
    let mut items = Vec::new();
    let mut start = open + 1;
    let mut at = start;
    let mut depth = 0;
    loop {
        match raw.get(at)? {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' => break,
            b',' if depth == 0 => {
                items.push(&raw[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at = step(raw, at)?;
    }
    if !items.is_empty() {
        items.push(&raw[start..at]);
        return Some((at, Items::List(items)));
    }
    Some((at, sequence(&raw[open + 1..at])?))
}

/// Behind the quote, substitution or byte at `at`.
fn step(raw: &[u8], at: usize) -> Option<usize> {
    match raw[at] {
        b'\\' => Some((at + 2).min(raw.len())),
        b'\'' => delimit::single_quote(raw, at + 1),
        b'"' => delimit::double_quote(raw, at + 1, 0),
        b'`' => delimit::backtick(raw, at + 1),
        b'$' => delimit::dollar(raw, at, false, 0),
        b'<' | b'>' if raw.get(at + 1) == Some(&b'(') => delimit::parenthesis(raw, at + 2, 0),
        _ => Some(at + 1),
    }
}

/// `a..b` and `a..b..step`.
fn sequence(inner: &[u8]) -> Option<Items<'static>> {
    let inner = std::str::from_utf8(inner).ok()?;
    let mut parts = inner.split("..");
    let (first, last) = (parts.next()?, parts.next()?);
    let step = parts
        .next()
        .map_or(Some(1), |text| text.parse::<i64>().ok())?;
    if parts.next().is_some() {
        return None;
    }
    if let (Ok(from), Ok(to)) = (first.parse::<i64>(), last.parse::<i64>()) {
        let padded = |text: &str| {
            let digits = text.trim_start_matches('-');
            digits.len() > 1 && digits.starts_with('0')
        };
        let width = if padded(first) || padded(last) {
            first.len().max(last.len())
        } else {
            0
        };
        return Some(Items::Sequence(numbers(from, to, step).map(|values| {
            values
                .into_iter()
                .map(|value| format!("{value:0width$}").into_bytes())
                .collect()
        })));
    }
    let (&[from], &[to]) = (first.as_bytes(), last.as_bytes()) else {
        return None;
    };
    if !from.is_ascii_alphabetic() || !to.is_ascii_alphabetic() {
        return None;
    }
    let words = numbers(i64::from(from), i64::from(to), step).map(|values| {
        values
            .into_iter()
            // A backslash may lie between the letters; as a word of its own it is quoted.
            .map(|value| vec![b'\\', value as u8])
            .collect()
    });
    Some(Items::Sequence(words))
}

fn numbers(from: i64, to: i64, step: i64) -> Option<Vec<i64>> {
    let step = i128::from(step).abs().max(1);
    let (from, to) = (i128::from(from), i128::from(to));
    if (to - from).abs() / step >= MAX_WORDS as i128 {
        return None;
    }
    let mut values = Vec::new();
    let mut value = from;
    while if from <= to { value <= to } else { value >= to } {
        values.push(i64::try_from(value).ok()?);
        value += if from <= to { step } else { -step };
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(raw: &str) -> String {
        let words = expand(raw.as_bytes()).unwrap();
        let words: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
        words.join(" ")
    }

    #[test]
    fn braces_expand_as_in_bash() {
        for (raw, expected) in [
            ("a{b,c}d", "abd acd"),
            ("{a,b}{1,2}", "a1 a2 b1 b2"),
            ("x{,.bak}", "x x.bak"),
            ("{a,b{1,2}}", "a b1 b2"),
            ("{1..4}", "1 2 3 4"),
            ("{01..03}", "01 02 03"),
            ("{3..1}", "3 2 1"),
            ("{1..9..4}", "1 5 9"),
            ("{a..c}", r"\a \b \c"),
            ("{}", "{}"),
            ("{a}", "{a}"),
            ("{a,b", "{a,b"),
            ("'{a,b}'", "'{a,b}'"),
            ("${x,}", "${x,}"),
            (r"\{a,b}", r"\{a,b}"),
            ("{a}{b,c}", "{a}b {a}c"),
            ("{a,'b,c'}", "a 'b,c'"),
        ] {
            assert_eq!(words(raw), expected, "{raw}");
        }
    }

    #[test]
    fn too_many_words_are_refused() {
        assert_eq!(expand(b"{1..100000}"), None);
        assert_eq!(expand("{a,b}".repeat(14).as_bytes()), None);
    }
}
