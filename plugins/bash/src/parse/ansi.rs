//! `$'…'`: escapes as in C.

/// The bytes that the text between the quotes stands for; `None` where that depends on the locale.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some(&escape) = text.get(at) else {
            plain.push(b'\\');
            break;
        };
        at += 1;
        match escape {
            b'a' => plain.push(7),
            b'b' => plain.push(8),
            b'e' | b'E' => plain.push(27),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'v' => plain.push(11),
            b'\\' | b'\'' | b'"' | b'?' => plain.push(escape),
            b'0'..=b'7' => plain.push(number(text, &mut { at - 1 }, 3, 8, &mut at) as u8),
            b'x' => plain.push(number(text, &mut { at }, 2, 16, &mut at) as u8),
            b'u' | b'U' => {
                let digits = if escape == b'u' { 4 } else { 8 };
                let code = number(text, &mut { at }, digits, 16, &mut at);
                if code > 0x7f {
                    return None;
                }
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                let mut buffer = [0; 4];
                plain.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            }
            b'c' => {
                if let Some(&control) = text.get(at) {
                    plain.push(if control == b'?' {
                        0x7f
                    } else {
                        control & 0x1f
                    });
                    at += 1;
                }
            }
            other => plain.extend([b'\\', other]),
        }
    }
    // The value ends at its first NUL, as in the shell.
    let end = plain.iter().position(|b| *b == 0).unwrap_or(plain.len());
    plain.truncate(end);
    Some(plain)
}

/// Up to `most` digits of a number, from `from`; `at` is moved behind them.
fn number(text: &[u8], from: &mut usize, most: usize, base: u32, at: &mut usize) -> u32 {
    let mut value = 0_u32;
    for _ in 0..most {
        let Some(digit) = text.get(*from).and_then(|b| (*b as char).to_digit(base)) else {
            break;
        };
        value = value.wrapping_mul(base).wrapping_add(digit);
        *from += 1;
    }
    *at = *from;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (text, expected) in [
            (r"a\nb", b"a\nb".as_slice()),
            (r"\x41\101\u0041", b"AAA"),
            (r"\'\\\q", br"'\\q"),
            (r"a\0b", b"a"),
            (r"\xff", b"\xff"),
            (r"\c?\ca", b"\x7f\x01"),
            ("\\", b"\\"),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }
}
