//! Bytes as text and back, for a parser that takes text only.
//!
//! A command line is bytes. Bytes that are not UTF-8 are carried as characters of the last private
//! plane, and characters of that range that stand in the line themselves are carried byte by byte,
//! so that every line comes back as it was.

/// The character that stands for byte 0; byte `b` is `FIRST + b`.
const FIRST: u32 = 0x0010_FF00;

/// `bytes` as text; [`to_bytes`] gives them back.
pub(crate) fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if (character as u32) >= FIRST {
                let mut buffer = [0; 4];
                let encoded = character.encode_utf8(&mut buffer);
                text.extend(encoded.bytes().map(carrier));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(carrier));
    }
    text
}

/// The bytes that `text` stands for.
pub(crate) fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match (character as u32).checked_sub(FIRST) {
            Some(byte) => bytes.push(byte as u8),
            None => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    bytes
}

fn carrier(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_back() {
        for bytes in [
            b"plain".as_slice(),
            "ünï".as_bytes(),
            b"\xff\xfe a\x80",
            "\u{10FFFF}\u{10FF41}x".as_bytes(),
        ] {
            assert_eq!(to_bytes(&from_bytes(bytes)), bytes);
        }
    }
}
