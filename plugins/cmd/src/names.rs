//! Names of files as Windows takes them: devices, streams, wildcards.

use deployx_plugin_sdk::path::Style;

/// Whether the last component of `path` names a device: `nul`, `C:\x\con`, `com1:`, `nul.txt`.
pub(crate) fn is_device(path: &[u8]) -> bool {
    if let Some(rest) = path.strip_prefix(br"\\.\") {
        // `\\.\C:\x` is a file, `\\.\C:` the volume, `\\.\pipe\x` a pipe.
        return !is_on_drive(rest);
    }
    let name = path
        .rsplit(|b| matches!(b, b'\\' | b'/'))
        .next()
        .unwrap_or(path);
    let stem = name
        .split(|b| matches!(b, b'.' | b':'))
        .next()
        .unwrap_or(name)
        .trim_ascii_end()
        .to_ascii_lowercase();
    match stem.as_slice() {
        b"nul" | b"con" | b"prn" | b"aux" | b"conin$" | b"conout$" => true,
        [b'c', b'o', b'm', digit] | [b'l', b'p', b't', digit] => digit.is_ascii_digit(),
        _ => false,
    }
}

fn is_on_drive(path: &[u8]) -> bool {
    matches!(path, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}

/// Whether `path` names a file in a way that no drive or share tells: `\\?\Volume{…}\x`,
/// `\\?\GLOBALROOT\…`.
pub(crate) fn is_raw(path: &[u8]) -> bool {
    let rest = path.strip_prefix(br"\\?\").or(path.strip_prefix(br"\??\"));
    rest.is_some_and(|rest| {
        let unc = rest.len() > 4 && rest[..4].eq_ignore_ascii_case(br"UNC\");
        !unc && !is_on_drive(rest)
    })
}

/// `path` as the file that it names: without `\\?\`, the name of a stream, and dots and blanks
/// at the ends of components.
pub(crate) fn plain(path: &[u8]) -> Vec<u8> {
    let mut path = match path {
        [b'\\', b'\\', b'.', b'\\', rest @ ..] if is_on_drive(rest) => rest.to_vec(),
        [b'\\', b'\\' | b'?', b'?', b'\\', rest @ ..] => match rest {
            [u, n, c, b'\\', share @ ..] if [*u, *n, *c].eq_ignore_ascii_case(b"UNC") => {
                [br"\\".as_slice(), share].concat()
            }
            _ => rest.to_vec(),
        },
        _ => path.to_vec(),
    };
    let name = path
        .iter()
        .rposition(|b| matches!(b, b'\\' | b'/'))
        .map_or(0, |at| at + 1);
    let drive = usize::from(name == 0 && path.get(1) == Some(&b':')) * 2;
    let from = (name + drive).min(path.len());
    if let Some(stream) = path[from..].iter().position(|b| *b == b':') {
        path.truncate(from + stream);
    }
    without_trailing_dots(&path)
}

fn without_trailing_dots(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for piece in path.split_inclusive(|b| matches!(b, b'\\' | b'/')) {
        let (name, separator) = match piece {
            [name @ .., last @ (b'\\' | b'/')] => (name, Some(*last)),
            name => (name, None),
        };
        let only_dots = name.iter().all(|b| *b == b'.');
        let end = name
            .iter()
            .rposition(|b| !matches!(b, b'.' | b' '))
            .map_or(0, |at| at + 1);
        out.extend_from_slice(if only_dots { name } else { &name[..end] });
        out.extend(separator);
    }
    out
}

/// Whether `text` has wildcards.
pub(crate) fn has_wildcard(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Directory, with its separator, and last component of a path as it was given.
pub(crate) fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path
        .iter()
        .rposition(|b| matches!(b, b'\\' | b'/'))
        .map_or_else(|| usize::from(path.get(1) == Some(&b':')) * 2, |at| at + 1);
    path.split_at(at)
}

/// Whether the name fits the pattern, as the file functions of Windows see it: either case, `*.*`
/// is everything, `?` may stand for nothing at the end, and the short name of a file counts too.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let pattern = match lower(pattern) {
        p if p.ends_with(b"*.*") => p[..p.len() - 2].to_vec(),
        p => p,
    };
    let name = lower(name);
    if glob(&pattern, &name) {
        return true;
    }
    // `*.` is a name without extension, `a?.` likewise.
    if let [stem @ .., b'.'] = pattern.as_slice()
        && glob(stem, &name)
    {
        return true;
    }
    short_names(&name).any(|short| glob(&pattern, &short))
}

fn lower(text: &[u8]) -> Vec<u8> {
    std::str::from_utf8(text).map_or_else(
        |_| text.to_ascii_lowercase(),
        |text| text.to_lowercase().into_bytes(),
    )
}

/// Whether `name` looks like a short one: `LONGNA~1.TXT`.
pub(crate) fn is_short(name: &[u8]) -> bool {
    let tilde = name.iter().position(|b| *b == b'~');
    tilde.is_some_and(|at| at > 0 && name.get(at + 1).is_some_and(u8::is_ascii_digit))
}

/// Whether the long name may have the short one.
pub(crate) fn may_be_short_for(short: &[u8], name: &[u8]) -> bool {
    let short = lower(short);
    short_names(&lower(name)).any(|own| own == short)
}

/// The short names (`LONGNA~1.TXT`) that a long name may have.
fn short_names(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
    let (stem, extension) = match dot {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, &name[name.len()..]),
    };
    let fits =
        stem.len() <= 8 && extension.len() <= 3 && !stem.iter().any(|b| b" .+,;=[]".contains(b));
    let kept: Vec<u8> = stem
        .iter()
        .copied()
        .filter(|b| !matches!(b, b' ' | b'.'))
        .take(6)
        .collect();
    let extension = extension[..extension.len().min(3)].to_vec();
    let numbers = 1..=if fits { 0 } else { 9 };
    numbers.map(move |n| {
        let mut short = kept.clone();
        short.extend_from_slice(format!("~{n}").as_bytes());
        if !extension.is_empty() {
            short.push(b'.');
            short.extend_from_slice(&extension);
        }
        short
    })
}

/// Matches with `*` and `?`; without recursion.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') if n < name.len() && name[n] != b'.' => {
                p += 1;
                n += 1;
                continue;
            }
            // At the end of a part, `?` stands for nothing.
            Some(b'?') if n == name.len() || name[n] == b'.' => {
                p += 1;
                continue;
            }
            Some(c) if name.get(n) == Some(c) => {
                p += 1;
                n += 1;
                continue;
            }
            None if n == name.len() => return true,
            _ => {}
        }
        match star {
            Some((after, from)) if from < name.len() => {
                star = Some((after, from + 1));
                p = after;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

/// The name that `ren` and `copy` give to `name` for a mask such as `*.bak`; `None` where the
/// mask has another form.
pub(crate) fn masked(mask: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut new = masked_as_given(mask, name)?;
    // Dots and blanks at the end are dropped.
    while matches!(new.last(), Some(b'.' | b' ')) && new.iter().any(|b| *b != b'.') {
        new.pop();
    }
    Some(new)
}

fn masked_as_given(mask: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    if !has_wildcard(mask) {
        return Some(mask.to_vec());
    }
    if matches!(mask, b"*" | b"*.*") {
        return Some(name.to_vec());
    }
    let extension = mask.strip_prefix(b"*.")?;
    if has_wildcard(extension) || extension.contains(&b'.') {
        return None;
    }
    let stem = name
        .iter()
        .rposition(|b| *b == b'.')
        .map_or(name, |at| &name[..at]);
    Some([stem, b".", extension].concat())
}

/// How paths look.
pub(crate) const STYLE: Style = Style::Windows;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_from_files() {
        for device in [
            "nul",
            "NUL:",
            r"C:\x\con",
            "com1",
            "LPT1:",
            "nul.txt",
            r"\\.\COM3",
            r"\\.\C:",
            r"\\.\pipe\x",
        ] {
            assert!(is_device(device.as_bytes()), "{device}");
        }
        for file in ["null", "console.log", "com", r"nul\x", "com12", r"\\.\C:\x"] {
            assert!(!is_device(file.as_bytes()), "{file}");
        }
    }

    #[test]
    fn other_spellings_name_the_same_file() {
        for (path, expected) in [
            (r"a.txt:s", "a.txt"),
            (r"C:\a.txt::$DATA", r"C:\a.txt"),
            (r"C:x", "C:x"),
            (r"\\?\C:\a", r"C:\a"),
            (r"\\.\C:\a", r"C:\a"),
            (r"\??\C:\a", r"C:\a"),
            (r"\\?\UNC\h\s\a", r"\\h\s\a"),
            (r"dir. \a..", r"dir\a"),
            (r"..\.\a", r"..\.\a"),
        ] {
            assert_eq!(plain(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn wildcards_are_those_of_windows() {
        for (pattern, name, expected) in [
            ("*.*", "README", true),
            ("*", "a.b", true),
            ("*.c", "A.C", true),
            ("*.c", "a.cpp", false),
            ("*.htm", "index.html", true),
            ("a?.txt", "a.txt", true),
            ("a?.txt", "ab.txt", true),
            ("?.txt", "ab.txt", false),
            ("*.", "README", true),
            ("*~1*", "long file name.txt", true),
            ("ä*", "Äb", true),
            ("util.?", "util.c", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn masks_give_new_names() {
        assert_eq!(masked(b"*.bak", b"a.b.log").unwrap(), b"a.b.bak");
        assert_eq!(masked(b"x.txt", b"a").unwrap(), b"x.txt");
        assert_eq!(masked(b"*.", b"a.txt").unwrap(), b"a");
        assert_eq!(masked(b"b. ", b"a.txt").unwrap(), b"b");
        assert_eq!(masked(b"a?c", b"abc"), None);
    }
}
