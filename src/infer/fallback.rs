//! The conservative fallback: what a line could touch if nothing is known about its commands.
//!
//! It covers the working directory as a tree, every word that names something, existing or not, as a
//! tree, and every target of a redirection. It reads words, not grammar, so it
//! errs on the side of covering too much.

use std::collections::HashSet;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{Certainty, Depth, FileView, Kind, PathUse, Request};

/// How the fallback is called where rule sets are listed.
pub const NAME: &str = "fallback";

/// Why a working directory is covered.
pub(crate) const WORKING_DIRECTORY: &str = "working directory";

/// Covers `cwd` and everything that `line` could name when it runs there. What the request says of
/// the user's home and of variables is used.
pub fn cover(
    request: &Request,
    line: &[u8],
    cwd: &[u8],
    style: Style,
    view: &dyn FileView,
) -> Vec<PathUse> {
    let reader = Reader {
        request,
        cwd,
        style,
        view,
    };
    let mut paths = vec![tree(
        cwd.to_vec(),
        WORKING_DIRECTORY,
        Certainty::Likely,
        false,
    )];
    // A word that stands there again says nothing new, and looking costs system calls.
    let words = words(line, style);
    let mut seen = HashSet::new();
    for word in words.iter().filter(|word| seen.insert(*word)) {
        for candidate in candidates(word) {
            paths.extend(reader.cover(candidate, word.redirect));
        }
    }
    paths.sort_by(|a, b| a.path.cmp(&b.path).then(b.certainty.cmp(&a.certainty)));
    paths.dedup_by(|a, b| a.path == b.path);
    paths
}

/// One word of a command line.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Word {
    text: Vec<u8>,
    /// It follows `>`, `>>`, `<>` or `>|`.
    redirect: bool,
}

/// Splits a line at white space and operators, and takes quotes and escapes away.
fn words(line: &[u8], style: Style) -> Vec<Word> {
    let escape = match style {
        Style::Unix => b'\\',
        Style::Windows => b'^',
    };
    let mut words = Vec::new();
    let mut word = Word::default();
    let mut started = false;
    let mut redirect = false;
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\'' => {
                started = true;
                word.text.extend(rest.by_ref().take_while(|b| *b != b'\''));
            }
            b'"' => {
                started = true;
                while let Some(byte) = rest.next_if(|b| *b != b'"') {
                    let escaped = style == Style::Unix
                        && byte == b'\\'
                        && matches!(rest.peek(), Some(b'"' | b'\\' | b'$' | b'`'));
                    word.text.push(if escaped {
                        rest.next().unwrap_or(byte)
                    } else {
                        byte
                    });
                }
                rest.next();
            }
            byte if byte == escape => {
                started = true;
                word.text.extend(rest.next());
            }
            b'$' if rest.peek() == Some(&b'{') => {
                started = true;
                word.text.push(byte);
                word.text.extend(rest.by_ref().take_while(|b| *b != b'}'));
                word.text.push(b'}');
            }
            b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'(' | b')' | b'{' | b'}'
            | b'`' | b'<' | b'>' => {
                if started {
                    word.redirect = std::mem::take(&mut redirect);
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
                match byte {
                    b'>' => redirect = true,
                    // `>&file`, `>|file` and blanks keep the redirection open.
                    b' ' | b'\t' | b'&' | b'|' => {}
                    _ => redirect = false,
                }
            }
            other => {
                started = true;
                word.text.push(other);
            }
        }
    }
    if started {
        word.redirect = redirect;
        words.push(word);
    }
    words
}

/// The texts in a word that could be paths: the word, and what follows `=`, `:` or `,` in it
/// (`--output=x`, `of=x`, `host:x`), and what follows a one-letter option (`-ox`).
fn candidates(word: &Word) -> Vec<&[u8]> {
    let text = word.text.as_slice();
    let mut found = vec![text];
    for (at, byte) in text.iter().enumerate() {
        if matches!(byte, b'=' | b':' | b',') {
            let rest = &text[at + 1..];
            if rest.starts_with(b"//") && *byte == b':' {
                // `https://…` names nothing here.
                continue;
            }
            found.push(rest);
            // `${NAME:-/the/default}`
            let default = rest.strip_prefix(b"-").or(rest.strip_prefix(b"="));
            found.extend(default.and_then(|rest| rest.split(|b| *b == b'}').next()));
        }
    }
    if text.len() > 2 && text[0] == b'-' && text[1] != b'-' {
        found.push(&text[2..]);
    }
    found.retain(|c| !c.is_empty());
    found
}

/// What a word is read with.
struct Reader<'a> {
    request: &'a Request,
    cwd: &'a [u8],
    style: Style,
    view: &'a dyn FileView,
}

impl Reader<'_> {
    fn cover(&self, text: &[u8], redirect: bool) -> Option<PathUse> {
        let path = self.expand(text)?;
        // A pattern covers the directory in which its first wildcard stands.
        if let Some(base) = self.before_wildcard(&path) {
            let known = self.view.kind(&base) != Kind::Missing;
            return known.then(|| tree(base, "named by a pattern", Certainty::Likely, true));
        }
        let (reason, certainty) = if redirect {
            ("target of a redirection", Certainty::Certain)
        } else {
            ("named in the command", Certainty::Likely)
        };
        let there = match self.view.kind(&path) {
            Kind::Missing => redirect || self.leads_elsewhere(&path, text),
            _ => true,
        };
        there.then(|| tree(path, reason, certainty, true))
    }

    /// A name that does not exist yet is covered unless it lies in the working directory, which is
    /// covered anyway (but for the root of the filesystem, see `reading`).
    fn leads_elsewhere(&self, path: &[u8], text: &[u8]) -> bool {
        let has_separator = text.iter().any(|b| self.style.is_separator(*b));
        let within =
            self.style.starts_with(path, self.cwd) && self.style.parent(self.cwd).is_some();
        has_separator && !within
    }

    /// The absolute path that a text names; `~` and known variables at its start are expanded.
    fn expand(&self, text: &[u8]) -> Option<Vec<u8>> {
        let is_end = |rest: &[u8]| rest.first().is_none_or(|b| self.style.is_separator(*b));
        let replaced = self.prefixes().find_map(|(prefix, value)| {
            let rest = text.strip_prefix(prefix.as_bytes())?;
            is_end(rest).then(|| [value, rest].concat())
        });
        let text = replaced.as_deref().unwrap_or(text);
        self.style.locate(self.view, self.cwd, text)
    }

    /// What may stand for a directory at the start of a word, with its value.
    fn prefixes(&self) -> impl Iterator<Item = (String, &[u8])> {
        let home = self.request.home.as_deref();
        let known = self
            .request
            .env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .chain(home.map(|home| ("HOME", home)))
            .chain([("PWD", self.cwd)]);
        home.map(|home| ("~".to_owned(), home))
            .into_iter()
            .chain(known.flat_map(|(name, value)| {
                [
                    format!("${name}"),
                    format!("${{{name}}}"),
                    format!("%{name}%"),
                    format!("$env:{name}"),
                ]
                .map(|prefix| (prefix, value))
            }))
    }

    /// The directory above the first component with a wildcard or a variable.
    fn before_wildcard(&self, path: &[u8]) -> Option<Vec<u8>> {
        let wild = path
            .iter()
            .position(|b| matches!(b, b'*' | b'?' | b'[' | b'$' | b'%'))?;
        let end = path[..wild]
            .iter()
            .rposition(|b| self.style.is_separator(*b))?;
        self.style.resolve(&path[..=end], b"")
    }
}

fn tree(path: Vec<u8>, reason: &str, certainty: Certainty, follow: bool) -> PathUse {
    PathUse {
        path,
        depth: Depth::Tree,
        certainty,
        follow,
        reason: reason.into(),
        rule: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployx_plugin_sdk::testing::MemoryView;

    fn infer(view: &MemoryView, style: Style, cwd: &str, line: &str) -> Vec<String> {
        let request = Request {
            home: Some(b"/home/u".to_vec()),
            env: vec![("RELEASES".into(), b"/srv/releases".to_vec())],
            ..Request::default()
        };
        cover(&request, line.as_bytes(), cwd.as_bytes(), style, view)
            .into_iter()
            .map(|used| String::from_utf8(used.path).unwrap())
            .collect()
    }

    #[test]
    fn quotes_and_operators_are_read() {
        let texts: Vec<_> = words(br#"a 'b c'"d\"e";f>g 2>>"h i" \j"#, Style::Unix)
            .into_iter()
            .map(|w| (String::from_utf8(w.text).unwrap(), w.redirect))
            .collect();
        let expected = [
            ("a", false),
            ("b cd\"e", false),
            ("f", false),
            ("g", true),
            ("2", false),
            ("h i", true),
            ("j", false),
        ];
        assert_eq!(texts, expected.map(|(t, r)| (t.to_owned(), r)));
    }

    #[test]
    fn covers_the_working_directory_existing_names_and_redirections() {
        let view = MemoryView::new(&["/work/", "/out/"]);
        let line =
            "cp /out /gone/x/y --target=/out/new ${X:-/out/y} https://a/b; echo > /nowhere/at/all";
        let found = infer(&view, Style::Unix, "/work", line);
        let expected = [
            "/gone/x/y",
            "/nowhere/at/all",
            "/out",
            "/out/new",
            "/out/y",
            "/work",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn home_and_known_variables_are_expanded() {
        let view = MemoryView::new(&["/work/", "/home/u/a", "/srv/releases/1/"]);
        let found = infer(&view, Style::Unix, "/work", "x ~/a $RELEASES/1 ${RELEASES}");
        assert_eq!(
            found,
            ["/home/u/a", "/srv/releases", "/srv/releases/1", "/work"]
        );
    }

    #[test]
    fn a_pattern_covers_its_directory() {
        let view = MemoryView::new(&["/work/", "/other/a1/b"]);
        let found = infer(&view, Style::Unix, "/work", "rm /other/a*/b");
        assert_eq!(found, ["/other", "/work"]);
    }

    #[test]
    fn windows_lines_keep_their_backslashes() {
        let view = MemoryView::new(&[r"C:\work\a b\x", r"C:\logs\"]);
        let line = r#"tool "a b\x" C:\logs\new.txt %TEMP%\y"#;
        let found = infer(&view, Style::Windows, r"C:\work", line);
        assert_eq!(found, [r"C:\logs\new.txt", r"C:\work", r"C:\work\a b\x"]);
    }

    #[test]
    fn hostile_lines_do_not_panic() {
        let view = MemoryView::new(&["/work/"]);
        for line in [
            "'",
            "\"",
            "\\",
            ">",
            "a\0b",
            "~",
            "$HOME",
            "=",
            "-",
            "a=b=c",
            ">>>",
            "\u{1b}[31m",
        ] {
            infer(&view, Style::Unix, "/", line);
            infer(&view, Style::Windows, r"C:\", line);
        }
    }
}
