//! The conservative fallback: what a line could touch if nothing is known about its commands.
//!
//! It covers the working directory as a tree, every word that names something existing (or whose
//! parent exists) as a tree, and every target of a redirection. It reads words, not grammar, so it
//! errs on the side of covering too much.

use std::ffi::OsString;
use std::path::Path;

use super::{Certainty, Context, Depth, PathInference, Scope, ScopePath};
use crate::path::{AbsPath, os_string};

/// Covers the working directory and everything the line could name.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConservativeFallback;

impl PathInference for ConservativeFallback {
    fn name(&self) -> &'static str {
        "fallback"
    }

    fn shells(&self) -> &[&str] {
        &[]
    }

    fn infer(&self, context: &Context<'_>) -> Scope {
        let mut paths = vec![ScopePath {
            path: context.cwd.clone(),
            depth: Depth::Tree,
            reason: "working directory".into(),
            certainty: Certainty::Likely,
        }];
        for word in words(context.command) {
            for candidate in candidates(&word) {
                paths.extend(cover(context, candidate, word.redirect));
            }
        }
        paths.sort_by(|a, b| a.path.cmp(&b.path).then(b.depth.cmp(&a.depth)));
        paths.dedup_by(|a, b| a.path == b.path);
        Scope {
            paths,
            cwd_after: None,
            destructive: false,
            irreversible: Vec::new(),
        }
    }
}

/// One word of a command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Word {
    text: Vec<u8>,
    /// It follows `>`, `>>`, `<>` or `>|`.
    redirect: bool,
}

/// Splits a line at white space and operators, and takes quotes and backslashes away.
fn words(line: &[u8]) -> Vec<Word> {
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
                    let escaped =
                        byte == b'\\' && matches!(rest.peek(), Some(b'"' | b'\\' | b'$' | b'`'));
                    word.text.push(if escaped {
                        rest.next().unwrap_or(byte)
                    } else {
                        byte
                    });
                }
                rest.next();
            }
            b'\\' => {
                started = true;
                word.text.extend(rest.next());
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
            found.push(&text[at + 1..]);
        }
    }
    if text.len() > 2 && text[0] == b'-' && text[1] != b'-' {
        found.push(&text[2..]);
    }
    found.retain(|c| !c.is_empty());
    found
}

fn cover(context: &Context<'_>, text: &[u8], redirect: bool) -> Vec<ScopePath> {
    let Some(path) = expand(context, text) else {
        return Vec::new();
    };
    // A pattern covers the directory in which its first wildcard stands.
    if let Some(base) = before_wildcard(&path) {
        return existing(&base)
            .map(|p| tree(p, "named by a pattern", Certainty::Likely))
            .into_iter()
            .collect();
    }
    let reason = if redirect {
        "target of a redirection"
    } else {
        "named in the command"
    };
    let certainty = if redirect {
        Certainty::Certain
    } else {
        Certainty::Likely
    };
    let mut covered = Vec::new();
    if path.as_path().symlink_metadata().is_ok() {
        covered.push(tree(path.clone(), reason, certainty));
        // A symbolic link is covered itself, and what it leads to.
        if let Some(target) = existing(&path).filter(|target| *target != path) {
            covered.push(tree(target, "behind a symbolic link", certainty));
        }
    } else if redirect || has_parent(&path, text) {
        covered.push(tree(path, reason, certainty));
    }
    covered
}

/// A name that does not exist yet is covered where its directory exists. A bare word is not: it
/// would lie in the working directory, which is covered anyway.
fn has_parent(path: &AbsPath, text: &[u8]) -> bool {
    text.contains(&b'/')
        && path
            .parent()
            .is_some_and(|parent| parent.as_path().is_dir())
}

fn tree(path: AbsPath, reason: &str, certainty: Certainty) -> ScopePath {
    ScopePath {
        path,
        depth: Depth::Tree,
        reason: reason.into(),
        certainty,
    }
}

/// The absolute path that a text names; `~` and `$HOME` are the home directory, `$PWD` the working
/// directory.
fn expand(context: &Context<'_>, text: &[u8]) -> Option<AbsPath> {
    let replaced = [
        (b"~".as_slice(), context.home),
        (b"$HOME", context.home),
        (b"${HOME}", context.home),
        (b"$PWD", Some(context.cwd)),
        (b"${PWD}", Some(context.cwd)),
    ]
    .into_iter()
    .find_map(|(prefix, base)| {
        let rest = text.strip_prefix(prefix)?;
        (rest.is_empty() || rest[0] == b'/')
            .then(|| base.map(|base| (base, rest.strip_prefix(b"/").unwrap_or(rest))))?
    });
    let (base, rest) = replaced.unwrap_or((context.cwd, text));
    let rest: OsString = os_string(rest).ok()?;
    AbsPath::normalize(base, Path::new(&rest)).ok()
}

/// The directory above the first component with a wildcard or a variable.
fn before_wildcard(path: &AbsPath) -> Option<AbsPath> {
    let wild = |c: &std::path::Component<'_>| {
        c.as_os_str()
            .as_encoded_bytes()
            .iter()
            .any(|b| matches!(b, b'*' | b'?' | b'[' | b'$'))
    };
    let at = path.as_path().components().position(|c| wild(&c))?;
    let base: std::path::PathBuf = path.as_path().components().take(at).collect();
    AbsPath::new(base).ok()
}

fn existing(path: &AbsPath) -> Option<AbsPath> {
    path.as_path()
        .canonicalize()
        .ok()
        .and_then(|p| AbsPath::new(p).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn infer(cwd: &Path, line: &str) -> Vec<String> {
        let cwd = AbsPath::new(cwd.canonicalize().unwrap()).unwrap();
        let env = BTreeMap::new();
        let context = Context {
            shell: "bash",
            command: line.as_bytes(),
            cwd: &cwd,
            home: None,
            env: &env,
        };
        let scope = ConservativeFallback.infer(&context);
        scope.paths.iter().map(|p| p.path.to_string()).collect()
    }

    #[test]
    fn quotes_and_operators_are_read() {
        let texts: Vec<_> = words(br#"a 'b c'"d\"e";f>g 2>>"h i" \j"#)
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
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = outside.path().canonicalize().unwrap();
        let found = infer(
            dir.path(),
            &format!(
                "cp {o} --target={o}/new x; echo > /nowhere-at-all/{{}}",
                o = out.display()
            ),
        );
        assert!(found.contains(&dir.path().canonicalize().unwrap().display().to_string()));
        assert!(found.contains(&out.display().to_string()), "{found:?}");
        assert!(
            found.contains(&out.join("new").display().to_string()),
            "{found:?}"
        );
    }

    #[test]
    fn a_link_is_covered_with_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(target.path(), dir.path().join("link")).unwrap();
        let found = infer(dir.path(), "rm -r link/x link");
        assert!(found.contains(&target.path().canonicalize().unwrap().display().to_string()));
    }

    #[test]
    fn a_pattern_covers_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let found = infer(dir.path(), &format!("rm {}/a*/b", other.path().display()));
        assert!(found.contains(&other.path().canonicalize().unwrap().display().to_string()));
    }

    #[test]
    fn hostile_lines_do_not_panic() {
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
            infer(Path::new("/"), line);
        }
    }
}
