//! Scripts of `sed`: which files they write, and whether they run commands.

/// What a script does besides editing its input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    /// Files that `w`, `W` and `s///w` name.
    pub(super) writes: Vec<Vec<u8>>,
    /// Why it is not understood.
    pub(super) unclear: Option<&'static str>,
}

/// Reads a script.
pub(super) fn read(script: &[u8]) -> Deeds {
    let mut reader = Reader {
        text: script,
        at: 0,
        deeds: Deeds::default(),
    };
    if reader.run().is_none() {
        reader
            .deeds
            .unclear
            .get_or_insert("the script cannot be read");
    }
    reader.deeds
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    deeds: Deeds,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, set: &[u8]) {
        while self.peek().is_some_and(|b| set.contains(&b)) {
            self.at += 1;
        }
    }

    /// The rest of the line.
    fn line(&mut self) -> Vec<u8> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_vec()
    }

    /// `None`: it cannot be read.
    fn run(&mut self) -> Option<()> {
        loop {
            self.skip(b" \t\n;}");
            if self.peek().is_none() {
                return Some(());
            }
            self.addresses()?;
            self.skip(b" \t!");
            self.command()?;
        }
    }

    fn addresses(&mut self) -> Option<()> {
        self.address()?;
        self.skip(b" \t");
        if self.peek() == Some(b',') {
            self.at += 1;
            self.skip(b" \t+~");
            self.address()?;
        }
        Some(())
    }

    fn address(&mut self) -> Option<()> {
        match self.peek() {
            Some(b'0'..=b'9') => self.skip(b"0123456789~"),
            Some(b'$') => self.at += 1,
            Some(b'/') => {
                self.at += 1;
                self.delimited(b'/')?;
                self.skip(b"IM");
            }
            Some(b'\\') => {
                self.at += 1;
                let delimiter = self.next()?;
                self.delimited(delimiter)?;
                self.skip(b"IM");
            }
            _ => {}
        }
        Some(())
    }

    /// Skips to behind the next `delimiter` that is not escaped; brackets hold it, too, as in `[/]`.
    fn delimited(&mut self, delimiter: u8) -> Option<()> {
        loop {
            match self.next()? {
                b'\\' => self.at += 1,
                b if b == delimiter => return Some(()),
                _ => {}
            }
        }
    }

    fn command(&mut self) -> Option<()> {
        match self.next()? {
            b'{' | b'}' | b'=' | b'd' | b'D' | b'g' | b'G' | b'h' | b'H' | b'n' | b'N' | b'p'
            | b'P' | b'x' | b'z' | b'F' => Some(()),
            b'l' | b'L' | b'q' | b'Q' => {
                self.skip(b" \t0123456789");
                Some(())
            }
            b'#' | b'r' | b'R' | b'v' => {
                self.line();
                Some(())
            }
            b':' | b'b' | b't' | b'T' => {
                while self
                    .peek()
                    .is_some_and(|b| !matches!(b, b';' | b'\n' | b'}'))
                {
                    self.at += 1;
                }
                Some(())
            }
            b'a' | b'i' | b'c' => {
                self.text_lines();
                Some(())
            }
            b'w' | b'W' => {
                self.file();
                Some(())
            }
            b'e' => {
                self.deeds.unclear = Some("the script runs commands");
                self.line();
                Some(())
            }
            b's' => self.substitution(),
            b'y' => {
                let delimiter = self.next()?;
                self.delimited(delimiter)?;
                self.delimited(delimiter)
            }
            _ => None,
        }
    }

    /// The text of `a`, `i` and `c`: lines that end with a backslash go on.
    fn text_lines(&mut self) {
        loop {
            let line = self.line();
            let slashes = line.iter().rev().take_while(|b| **b == b'\\').count();
            if slashes % 2 == 0 || self.next().is_none() {
                return;
            }
        }
    }

    fn file(&mut self) {
        self.skip(b" \t");
        let file = self.line();
        if !file.is_empty() && file != b"/dev/stdout" && file != b"/dev/stderr" {
            self.deeds.writes.push(file);
        }
    }

    fn substitution(&mut self) -> Option<()> {
        let delimiter = self.next()?;
        self.delimited(delimiter)?;
        self.delimited(delimiter)?;
        loop {
            match self.peek() {
                Some(b'g' | b'p' | b'i' | b'I' | b'm' | b'M' | b'0'..=b'9') => self.at += 1,
                Some(b'e') => {
                    self.deeds.unclear = Some("the script runs commands");
                    self.at += 1;
                }
                Some(b'w') => {
                    self.at += 1;
                    self.file();
                    return Some(());
                }
                Some(b' ' | b'\t' | b';' | b'\n' | b'}' | b'#') | None => return Some(()),
                Some(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Deeds, read};

    #[test]
    fn plain_scripts_do_nothing_else() {
        for script in [
            "s/a/b/g",
            "1,10p",
            "/x/,/y/d",
            "$!N;P;D",
            "s|/a|/b|gI",
            r"\,x,d",
            "1~2d",
            "2q",
            "y/ab/cd/",
            "/x/{s/a/b/;p}",
            "a\\\nnew line",
            "/x/i\\  w text",
            "s/w/e/",
            ":a;N;$!ba;s/\\n/ /g",
            "0,/x/s//y/",
            "# w comment",
            "s/a\\/b/c/",
            "/^$/d",
            "r w",
            "/a/!d",
            "/a/I,+2d",
            "5iw file",
            "",
        ] {
            assert_eq!(read(script.as_bytes()), Deeds::default(), "{script}");
        }
    }

    #[test]
    fn files_are_found() {
        assert_eq!(read(b"/x/w out.txt").writes, [b"out.txt"]);
        assert_eq!(
            read(b"s/a/b/gw out;x\nw two").writes,
            [&b"out;x"[..], b"two"]
        );
        assert_eq!(read(b"w /dev/stdout").writes, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn commands_and_riddles_are_unclear() {
        for script in ["e date", "s/a/date/e", "1e", "s/a", "k", "s/a/b/Z", "/a"] {
            assert!(read(script.as_bytes()).unclear.is_some(), "{script}");
        }
    }
}
