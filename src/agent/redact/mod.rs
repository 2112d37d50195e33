//! Known shapes of secrets, taken out of what leaves the host.

mod shapes;

use super::secret::Secret;

/// What stands in the place of a secret.
const MARK: &str = "[redacted]";
/// The most text of a line that is held back because a secret might begin in it.
const HELD: usize = 1024;
/// The longest secret whose end is waited for, a private key for example.
const LONGEST: usize = 64 << 10;

/// Takes secrets out of text.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    shapes: bool,
    values: Vec<Secret>,
}

impl Redactor {
    /// One that knows the common shapes where `shapes` is set, and these values in any case.
    pub fn new(shapes: bool, values: Vec<Secret>) -> Self {
        let values = values
            .into_iter()
            .filter(|value| value.reveal().len() >= 4)
            .collect();
        Self { shapes, values }
    }

    /// The text without its secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.reveal()) {
                text = text.replace(value.reveal(), MARK);
            }
        }
        if self.shapes {
            shapes::clean(&text, MARK)
        } else {
            text
        }
    }

    /// How many bytes at the end of `text` may belong to a secret that goes on.
    fn open_end(&self, text: &str) -> usize {
        if !self.shapes && self.values.is_empty() {
            return 0;
        }
        if let Some(begin) = shapes::open_key(text)
            && text.len() - begin < LONGEST
        {
            return text.len() - begin;
        }
        let line = text.rfind('\n').map_or(0, |at| at + 1);
        let line = &text[line..];
        let open = if shapes::is_suspicious(line) {
            line.len()
        } else {
            line.rfind(char::is_whitespace)
                .map_or(line.len(), |at| line.len() - at)
        };
        let values = self.values.iter().map(|value| value.reveal().len());
        let held = values.max().unwrap_or_default().max(HELD);
        if open <= held {
            return open;
        }
        // The line is too long to be waited for. What is held back is enough for a secret to be known.
        let mut cut = text.len() - held;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let begin = self.secret_across(text, cut).unwrap_or(cut);
        text.len()
            - if text.len() - begin < LONGEST {
                begin
            } else {
                cut
            }
    }

    /// Where the secret begins that goes on at `cut`, where there is one.
    fn secret_across(&self, text: &str, cut: usize) -> Option<usize> {
        let value = self.values.iter().find_map(|value| {
            let mut found = text.match_indices(value.reveal());
            found.find_map(|(at, value)| (at < cut && cut < at + value.len()).then_some(at))
        });
        let shape = self.shapes.then(|| shapes::across(text, cut)).flatten();
        value.into_iter().chain(shape).min()
    }
}

/// Turns a stream of bytes into redacted text, piece by piece.
#[derive(Default)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    text: String,
}

impl Stream {
    /// Adds bytes and gives the text that is certain by now.
    pub(super) fn push(&mut self, redactor: &Redactor, piece: &[u8]) -> String {
        self.bytes.extend_from_slice(piece);
        self.decode(false);
        let open = redactor.open_end(&self.text);
        let rest = self.text.split_off(self.text.len() - open);
        let certain = std::mem::replace(&mut self.text, rest);
        redactor.clean(&certain)
    }

    /// The rest.
    pub(super) fn finish(&mut self, redactor: &Redactor) -> String {
        self.decode(true);
        redactor.clean(&std::mem::take(&mut self.text))
    }

    /// Moves whole characters from the bytes to the text; others become U+FFFD.
    fn decode(&mut self, all: bool) {
        let mut kept = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            let rest = chunk.invalid();
            kept += chunk.valid().len();
            if rest.is_empty() {
                continue;
            }
            let at_end = kept + rest.len() == self.bytes.len();
            if at_end && !all && is_begin(rest) {
                break;
            }
            kept += rest.len();
            self.text.push('\u{fffd}');
        }
        self.bytes.drain(..kept);
    }
}

/// Whether these bytes may be the begin of a character.
fn is_begin(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(true, vec![Secret::new("tok-of-this-agent")])
    }

    const TEXT: &str = "clone https://bob:hunter22@git.example/x.git\n\
        AWS_SECRET_ACCESS_KEY=abcd1234efgh and AKIAABCDEFGHIJKLMNOP\n\
        Authorization: Bearer abcdefghijklmnop.qrst\n\
        {\"db_password\": \"p4ssw0rd\"} é ok\n\
        -----BEGIN RSA PRIVATE KEY-----\nMIIabc+/=\ndef\n-----END RSA PRIVATE KEY-----\n\
        ghp_abcdefghijklmnopqrstuvwxyz0123456789 tok-of-this-agent done";
    const SECRETS: [&str; 8] = [
        "hunter22",
        "abcd1234efgh",
        "AKIAABCDEFGHIJKLMNOP",
        "abcdefghijklmnop.qrst",
        "p4ssw0rd",
        "MIIabc",
        "ghp_abc",
        "tok-of-this-agent",
    ];

    #[test]
    fn known_shapes_are_taken_out_and_the_rest_stays() {
        let clean = redactor().clean(TEXT);
        for secret in SECRETS {
            assert!(!clean.contains(secret), "{secret} is in {clean}");
        }
        for kept in [
            "https://bob:[redacted]@git.example/x.git",
            "AWS_SECRET_ACCESS_KEY=[redacted]",
            "é ok",
            "done",
        ] {
            assert!(clean.contains(kept), "{kept} is not in {clean}");
        }
        let plain = "error: unexpected token: foo\nkeyboard = no\npath=/a/b\n";
        assert_eq!(redactor().clean(plain), plain);
    }

    #[test]
    fn secrets_are_found_wherever_the_stream_is_cut() {
        let whole = redactor().clean(TEXT);
        for size in [1, 2, 3, 7, 16, 50] {
            let mut stream = Stream::default();
            let mut text = String::new();
            for piece in TEXT.as_bytes().chunks(size) {
                text.push_str(&stream.push(&redactor(), piece));
            }
            text.push_str(&stream.finish(&redactor()));
            for secret in SECRETS {
                assert!(
                    !text.contains(secret),
                    "{secret} got through in pieces of {size}"
                );
            }
            assert_eq!(text, whole, "pieces of {size}");
        }
    }

    #[test]
    fn secrets_in_lines_that_are_too_long_to_be_held_back_are_found_wherever_they_are_cut() {
        let filler = r#""name":"value","list":[1,2,3],"#.repeat(100);
        let text = format!(
            "{{{filler}\"db_password\": \"p4ssw0rd with words\",{filler}\"url\": \
             \"https://bob:hunter22@git.example\",{filler}tok-of-this-agent,{filler}}}"
        );
        let whole = redactor().clean(&text);
        let last = text.find("tok-of").unwrap() + 100;
        for cut in (1..last).filter(|at| at % 7 == 0 || text[*at..].starts_with("ssw0rd")) {
            let mut stream = Stream::default();
            let mut clean = stream.push(&redactor(), &text.as_bytes()[..cut]);
            clean.push_str(&stream.push(&redactor(), &text.as_bytes()[cut..]));
            clean.push_str(&stream.finish(&redactor()));
            assert!(clean == whole, "cut at {cut}: {clean}");
        }
        for size in [1, 500, 1000, 1500, 4096] {
            let mut stream = Stream::default();
            let mut clean = String::new();
            for piece in text.as_bytes().chunks(size) {
                clean.push_str(&stream.push(&redactor(), piece));
            }
            clean.push_str(&stream.finish(&redactor()));
            assert!(clean == whole, "pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_wherever_they_are_cut() {
        let bytes = b"a\xff\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x82 \xc3";
        let whole = String::from_utf8_lossy(bytes);
        for size in 1..bytes.len() {
            let mut stream = Stream::default();
            let redactor = Redactor::default();
            let mut text = String::new();
            for piece in bytes.chunks(size) {
                text.push_str(&stream.push(&redactor, piece));
            }
            text.push_str(&stream.finish(&redactor));
            assert_eq!(text, whole, "pieces of {size}");
        }
    }

    #[test]
    fn nothing_is_held_back_for_long() {
        let mut stream = Stream::default();
        assert_eq!(stream.push(&redactor(), b"50% done "), "50% done");
        let long = "x".repeat(5000);
        let given = stream.push(&redactor(), long.as_bytes()).len();
        assert!(given >= 5000 - HELD, "{given}");
    }
}
