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

/// How many bytes a value has in JSON.
pub fn json_length(value: &Value) -> usize {
    match value {
        Value::String(text) => encoded_length(text) + 2,
        Value::Array(values) => 2 + joined(values.iter().map(json_length)),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| encoded_length(name) + 3 + json_length(value);
            2 + joined(fields.iter().map(field))
        }
        Value::Number(number) => number.to_string().len(),
        Value::Bool(true) | Value::Null => 4,
        Value::Bool(false) => 5,
    }
}

/// The lengths of parts and of the commas between them.
fn joined(parts: impl Iterator<Item = usize>) -> usize {
    let (count, bytes) = parts.fold((0, 0), |(count, bytes), part| (count + 1, bytes + part));
    bytes + usize::saturating_sub(count, 1)
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

/// How many bytes of a text are not in what became of it.
pub fn lost(whole: &str, fitting: &str) -> u64 {
    whole.len().saturating_sub(fitting.len()) as u64
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

/// Makes a value have at most `room` bytes in JSON: what is small stays, long texts lose their middle
/// and long lists their end.
pub fn fit(value: &mut Value, room: usize) {
    if json_length(value) <= room {
        return;
    }
    match value {
        Value::String(text) => *text = fit_output(text, room.saturating_sub(2)),
        Value::Array(values) => {
            let mut used = 2;
            let fitting = values.iter().take_while(|one| {
                used += json_length(one) + 1;
                used <= room
            });
            let fitting = fitting.count();
            values.truncate(fitting);
        }
        Value::Object(fields) => {
            let mut left = room.saturating_sub(2);
            let mut parts: Vec<(usize, &String, &mut Value)> = fields
                .iter_mut()
                .map(|(name, value)| (json_length(value), name, value))
                .collect();
            // What the small ones leave is for the large ones.
            parts.sort_by_key(|(length, ..)| *length);
            let mut count = parts.len();
            for (_, name, value) in parts {
                let label = encoded_length(name) + 4;
                fit(value, (left / count).saturating_sub(label));
                left = left.saturating_sub(label + json_length(value));
                count -= 1;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Distributes values over as few messages as have `room` bytes for them; at least one, maybe empty. A
/// value that is too large for any is shortened.
pub fn pages<T: Serialize>(values: Vec<T>, room: usize) -> Vec<Vec<Value>> {
    let mut pages = vec![Vec::new()];
    let mut used = 0;
    for value in values {
        let Ok(mut value) = serde_json::to_value(value) else {
            continue;
        };
        fit(&mut value, room - 1);
        let length = json_length(&value) + 1;
        if used + length > room {
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
    use serde_json::json;

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
        for value in [
            json!({}),
            json!([]),
            json!({ "a": [1, -2.5, 1e300, null, true, false], "\"": {"b": "\n", "c": [[], {}]} }),
        ] {
            assert_eq!(json_length(&value), value.to_string().len(), "{value}");
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
        let pages = pages(values.clone(), 900_000);
        assert!(pages.len() > 1);
        for page in &pages {
            assert!(Value::from(page.clone()).to_string().len() <= 900_001);
        }
        let all: Vec<Value> = pages.into_iter().flatten().collect();
        assert_eq!(all, values.into_iter().map(Value::from).collect::<Vec<_>>());
        assert_eq!(
            super::pages(Vec::<u8>::new(), 900_000),
            vec![Vec::<Value>::new()]
        );
        let large = super::pages(vec!["x".repeat(5000)], 1000);
        assert!(large.len() == 1 && large[0][0].to_string().len() < 1000);
    }

    #[test]
    fn what_is_small_stays_where_something_large_is_fitted() {
        let mut value = json!({
            "id": "abc", "success": true, "text": "x".repeat(50_000),
            "list": vec!["y".repeat(100); 1000], "deep": { "small": 1, "large": "z".repeat(9000) },
        });
        fit(&mut value, 10_000);
        assert!(json_length(&value) <= 10_000);
        assert_eq!(
            (&value["id"], &value["success"]),
            (&json!("abc"), &json!(true))
        );
        assert_eq!(value["deep"]["small"], 1);
        for large in [&value["text"], &value["deep"]["large"], &value["list"][20]] {
            assert!(large.as_str().is_some_and(|text| text.len() >= 100));
        }
        let mut none = json!({ "many": [1, 2, 3] });
        fit(&mut none, 0);
        assert_eq!(none, json!({ "many": [] }));
    }
}
