//! Keeping messages below what servers accept: 1,000,000 bytes, beyond which they drop a message in
//! silence.

use serde::Serialize;
use serde_json::Value;

/// Longest message that is sent, in bytes of JSON. The rest is for the event's name and its frame.
pub const MAX_MESSAGE: usize = 950_000;

/// How many bytes a text has in JSON, without its quotes.
pub fn encoded_length(text: &str) -> usize {
    text.chars().map(encoded_char).sum()
}

/// How many bytes a value has in JSON, about: numbers count as the longest.
pub fn json_length(value: &Value) -> usize {
    match value {
        Value::String(text) => encoded_length(text) + 2,
        Value::Array(values) => values.iter().map(|one| json_length(one) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| encoded_length(name) + 4 + json_length(value);
            fields.iter().map(field).sum::<usize>() + 2
        }
        Value::Number(_) => 24,
        Value::Bool(_) | Value::Null => 5,
    }
}

fn encoded_char(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

/// At most `bytes` bytes of a text, marked where it was cut.
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A text that has at most `room` bytes in JSON: its begin and its end, and between them how much was
/// left out.
pub fn fit_output(text: &str, room: usize) -> String {
    if encoded_length(text) <= room {
        return text.to_owned();
    }
    let half = room.saturating_sub(64) / 2;
    let head = prefix(text.chars(), half);
    let tail = prefix(text.chars().rev(), half);
    let (head, tail) = (&text[..head], &text[text.len() - tail..]);
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n[… {left_out} bytes left out …]\n{tail}")
}

/// How many bytes of text fit into `room` bytes of JSON.
fn prefix(chars: impl Iterator<Item = char>, room: usize) -> usize {
    let mut used = 0;
    let mut bytes = 0;
    for c in chars {
        used += encoded_char(c);
        if used > room {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// Distributes values over as few messages as have room for them; at least one, maybe empty. A value
/// that is too large for any is left out.
pub fn pages<T: Serialize>(values: Vec<T>) -> Vec<Vec<Value>> {
    let mut pages = vec![Vec::new()];
    let mut used = 0;
    for value in values {
        let Ok(value) = serde_json::to_value(value) else {
            continue;
        };
        let length = value.to_string().len() + 1;
        if length > MAX_MESSAGE - 1000 {
            tracing::warn!(
                length,
                "an entry is too large for a message and is left out"
            );
            continue;
        }
        if used + length > MAX_MESSAGE - 1000 {
            pages.push(Vec::new());
            used = 0;
        }
        used += length;
        if let Some(page) = pages.last_mut() {
            page.push(value);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_in_json_is_exact() {
        for text in [
            "",
            "plain",
            "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}",
            "é€😀",
            "\0",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(encoded_length(text) + 2, json.len(), "{text:?}");
        }
    }

    #[test]
    fn long_output_keeps_both_ends_and_fits() {
        for unit in ["x", "\u{1}", "é", "😀", "\n"] {
            let text = format!("BEGIN{}END", unit.repeat(100_000));
            let short = fit_output(&text, 10_000);
            assert!(encoded_length(&short) <= 10_000, "{unit:?}");
            assert!(short.starts_with("BEGIN") && short.ends_with("END"));
            assert!(short.contains("bytes left out"));
        }
        assert_eq!(fit_output("short", 10_000), "short");
    }

    #[test]
    fn pages_lose_nothing_and_keep_their_order() {
        let values: Vec<String> = (0..5000).map(|n| format!("{n:0500}")).collect();
        let pages = pages(values.clone());
        assert!(pages.len() > 1);
        for page in &pages {
            assert!(Value::from(page.clone()).to_string().len() < MAX_MESSAGE);
        }
        let all: Vec<Value> = pages.into_iter().flatten().collect();
        assert_eq!(all, values.into_iter().map(Value::from).collect::<Vec<_>>());
        assert_eq!(super::pages(Vec::<u8>::new()), vec![Vec::<Value>::new()]);
    }
}
