//! Paths that a command touches whatever its arguments: `~/.npm`, `^.git`, `${GOPATH:-~/go}`.

use deployx_plugin_abi::{Depth, Kind};

use super::findings::Findings;
use super::rule::Touch;

/// Defaults in defaults in …
const MAX_DEFAULTS: usize = 4;
/// How much of a `.git` file is read, in bytes.
const MAX_POINTER: usize = 4096;

/// Whether `path` has a form that can be expanded.
///
/// # Errors
/// A message that says what would be right.
pub(crate) fn check(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('$') else {
        return match path.trim_start_matches('^') {
            "" => Err("a name is missing after '^', as in '^.git'".into()),
            name if name.starts_with('/') => Err("'^' needs a name, as in '^.git'".to_string())
                .or_else(|e| {
                    if path.starts_with('^') {
                        Err(e)
                    } else {
                        Ok(())
                    }
                }),
            _ => Ok(()),
        };
    };
    let name = match rest.strip_prefix('{') {
        None => rest.split('/').next().unwrap_or(rest),
        Some(inner) => {
            let Some((inner, _)) = split_braces(inner) else {
                return Err(format!("'{path}' lacks its closing '}}'"));
            };
            match inner.split_once(":-") {
                Some((name, default)) => {
                    check(default)?;
                    name
                }
                None => inner,
            }
        }
    };
    let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if valid {
        Ok(())
    } else {
        Err(format!(
            "'{name}' is no variable; write $NAME or ${{NAME:-default}}"
        ))
    }
}

/// What is within braces, and what follows them.
fn split_braces(text: &str) -> Option<(&str, &str)> {
    let mut open = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

/// Lists what `touch` stands for.
pub(crate) fn apply(findings: &mut Findings<'_>, touch: &Touch) {
    match expand(findings, &touch.path, 0) {
        Ok(paths) => {
            for path in paths {
                findings.whole(
                    &path,
                    touch.depth,
                    touch.certainty,
                    true,
                    "changed by the command",
                );
            }
        }
        Err(reason) => findings.unclear(reason),
    }
}

fn expand(findings: &Findings<'_>, path: &str, level: usize) -> Result<Vec<Vec<u8>>, String> {
    if level > MAX_DEFAULTS {
        return Err(format!("'{path}' has too many defaults"));
    }
    if let Some(rest) = path.strip_prefix('$') {
        return variable(findings, rest, level);
    }
    if let Some(rest) = path.strip_prefix("^^") {
        return above(findings, rest, true);
    }
    if let Some(rest) = path.strip_prefix('^') {
        return above(findings, rest, false);
    }
    if path == "~" || path.starts_with("~/") || path.starts_with("~\\") {
        let home = findings
            .place()
            .home
            .ok_or("the home directory is not known")?;
        let mut full = home.to_vec();
        full.extend_from_slice(&path.as_bytes()[1..]);
        return resolve(findings, &full).map(|p| vec![p]);
    }
    resolve(findings, path.as_bytes()).map(|p| vec![p])
}

fn resolve(findings: &Findings<'_>, path: &[u8]) -> Result<Vec<u8>, String> {
    findings.resolve(path).ok_or_else(|| {
        let path = String::from_utf8_lossy(path);
        format!("it cannot be told where '{path}' is")
    })
}

fn variable(findings: &Findings<'_>, text: &str, level: usize) -> Result<Vec<Vec<u8>>, String> {
    let (name, default, rest) = match text.strip_prefix('{') {
        Some(inner) => {
            let (inner, rest) = split_braces(inner).ok_or("an unclosed brace")?;
            match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default), rest),
                None => (inner, None, rest),
            }
        }
        None => {
            let end = text.find(['/', '\\']).unwrap_or(text.len());
            (&text[..end], None, &text[end..])
        }
    };
    let value = (findings.place().variable)(name).filter(|value| !value.is_empty());
    match (value, default) {
        (Some(mut value), _) => {
            value.extend_from_slice(rest.as_bytes());
            resolve(findings, &value).map(|p| vec![p])
        }
        (None, Some(default)) => expand(findings, &format!("{default}{rest}"), level + 1),
        (None, None) => Err(format!("the variable {name} is not known")),
    }
}

/// `^NAME` and `^NAME/rest`, or with `holder` `^^NAME` and `^^NAME/rest`: the nearest in the working
/// directory or above, or the directory that holds it.
fn above(findings: &Findings<'_>, text: &str, holder: bool) -> Result<Vec<Vec<u8>>, String> {
    let (name, rest) = match text.split_once('/') {
        Some((name, rest)) => (name, rest),
        None => (text, ""),
    };
    let style = findings.place().style;
    let view = findings.place().view;
    let cwd = findings.cwd().ok_or("the working directory is not known")?;
    let mut at = Some(cwd.to_vec());
    while let Some(directory) = at {
        let path = style.join(&directory, name.as_bytes());
        let kind = path.as_deref().map_or(Kind::Missing, |p| view.kind(p));
        if kind == Kind::Unknown {
            return Err(format!("it cannot be told where the nearest '{name}' is"));
        }
        if let (Some(path), false) = (path, kind == Kind::Missing) {
            let mut bases = vec![if holder { directory } else { path }];
            if kind == Kind::File && !holder {
                bases.extend(pointed_to(findings, &bases[0]));
            }
            let found = bases.into_iter().map(|base| {
                let full = style.resolve(&base, rest.as_bytes());
                full.unwrap_or(base)
            });
            return Ok(found.collect());
        }
        at = style.parent(&directory);
    }
    if holder {
        return resolve(findings, rest.as_bytes()).map(|p| vec![p]);
    }
    Ok(Vec::new())
}

/// The directories that a `.git` file names: of a worktree or submodule, and the one it shares.
fn pointed_to(findings: &Findings<'_>, file: &[u8]) -> Vec<Vec<u8>> {
    let (style, view) = (findings.place().style, findings.place().view);
    let Some(directory) = style.parent(file) else {
        return Vec::new();
    };
    let pointer = view.read(file, MAX_POINTER).unwrap_or_default();
    let Some(own) = pointer
        .strip_prefix(b"gitdir: ")
        .and_then(|target| style.locate(view, &directory, target.trim_ascii()))
    else {
        return Vec::new();
    };
    let shared = style
        .join(&own, b"commondir")
        .and_then(|path| view.read(&path, MAX_POINTER))
        .and_then(|target| style.locate(view, &own, target.trim_ascii()));
    std::iter::once(own).chain(shared).collect()
}

/// The depth that covers a new entry.
pub(crate) fn depth_for(kind: Kind, depth: Depth) -> Depth {
    match kind {
        Kind::Missing | Kind::Unknown => Depth::Tree,
        _ => depth,
    }
}
