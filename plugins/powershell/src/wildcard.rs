//! PowerShell's wildcards: `*`, `?`, `[a-z]`; a backtick takes their meaning away.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{FileView, Kind};

/// How many names a pattern may stand for before it is given up.
const MAX_MATCHES: usize = 256;
/// How many directories are listed for one pattern.
const MAX_LISTS: usize = 64;

/// Whether `text` has wildcards.
pub(crate) fn has_wildcards(text: &[u8]) -> bool {
    let mut escaped = false;
    for byte in text {
        match byte {
            b'`' => escaped = !escaped,
            b'*' | b'?' | b'[' if !escaped => return true,
            _ => escaped = false,
        }
    }
    false
}

/// `text` without its backticks.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut escaped = false;
    for byte in text {
        if *byte == b'`' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            plain.push(*byte);
        }
    }
    plain
}

/// Whether `name` fits `pattern`; letters of either case are the same.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Iterative with one point to come back to: the last `*`.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        match one(&pattern[p..], name[n]) {
            Some(length) => {
                p += length;
                n += 1;
            }
            None => {
                let Some((after, from)) = star else {
                    return false;
                };
                p = after;
                n = from + 1;
                star = Some((after, from + 1));
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// The length of the piece of `pattern` that fits `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'`', literal, ..] => literal.eq_ignore_ascii_case(&byte).then_some(2),
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|b| *b == b']') else {
                return (byte == b'[').then_some(1);
            };
            set(&rest[..end], byte.to_ascii_lowercase()).then_some(end + 2)
        }
        [literal, ..] => literal.eq_ignore_ascii_case(&byte).then_some(1),
        [] => None,
    }
}

fn set(members: &[u8], byte: u8) -> bool {
    let mut rest = members;
    loop {
        match rest {
            [from, b'-', to, after @ ..] => {
                if (from.to_ascii_lowercase()..=to.to_ascii_lowercase()).contains(&byte) {
                    return true;
                }
                rest = after;
            }
            [member, after @ ..] => {
                if member.eq_ignore_ascii_case(&byte) {
                    return true;
                }
                rest = after;
            }
            [] => return false,
        }
    }
}

/// The entries that a pattern stands for. `None` where the filesystem gives no answer or there are
/// too many.
pub(crate) fn expand(
    style: Style,
    view: &dyn FileView,
    cwd: &[u8],
    pattern: &[u8],
) -> Option<Vec<(Vec<u8>, Kind)>> {
    let components: Vec<&[u8]> = pattern
        .split(|b| style.is_separator(*b) || *b == b'\\')
        .collect();
    let first = components.iter().position(|c| has_wildcards(c))?;
    let before = components[..first]
        .iter()
        .map(|c| c.len() + 1)
        .sum::<usize>();
    let base = unescape(&pattern[..before]);
    let mut found = vec![(style.resolve(cwd, &base)?, Kind::Directory)];
    let mut lists = 0;
    for component in &components[first..] {
        if component.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        for (directory, _) in &found {
            if !has_wildcards(component) {
                let path = style.resolve(directory, &unescape(component))?;
                match view.kind(&path) {
                    Kind::Missing => {}
                    kind => next.push((path, kind)),
                }
                continue;
            }
            lists += 1;
            if lists > MAX_LISTS {
                return None;
            }
            let directory_kind = style.kind_behind(view, directory);
            if matches!(directory_kind, Kind::File | Kind::Other) {
                continue;
            }
            for (name, kind) in view.list(directory)? {
                if fits(component, &name) {
                    next.push((style.join(directory, &name)?, kind));
                }
            }
        }
        if next.len() > MAX_MATCHES {
            return None;
        }
        found = next;
    }
    Some(found)
}
