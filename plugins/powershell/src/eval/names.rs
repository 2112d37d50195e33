//! Names of files as Windows takes them.

/// `path` as Windows takes it: without `\\?\` before a drive, and without dots and blanks at the
/// ends of its parts.
pub(super) fn plain(path: &[u8]) -> Vec<u8> {
    let path = without_prefix(path);
    let mut out = Vec::with_capacity(path.len());
    for piece in path.split_inclusive(|b| matches!(b, b'\\' | b'/')) {
        let (name, separator) = match piece {
            [name @ .., last @ (b'\\' | b'/')] => (name, Some(*last)),
            name => (name, None),
        };
        let end = name.iter().rposition(|b| !matches!(b, b'.' | b' '));
        let end = end.map_or(name.len(), |at| at + 1);
        out.extend_from_slice(&name[..end]);
        out.extend(separator);
    }
    out
}

/// `\\?\C:\x` as `C:\x`.
pub(super) fn without_prefix(path: &[u8]) -> &[u8] {
    let prefixes: [&[u8]; 2] = [br"\\?\", br"\\.\"];
    let rest = prefixes
        .iter()
        .find_map(|prefix| path.strip_prefix(*prefix));
    match rest {
        Some(rest @ [letter, b':', b'\\' | b'/', ..]) if letter.is_ascii_alphabetic() => rest,
        _ => path,
    }
}

/// Whether `path` names a file in a way that neither a drive nor a share tells, or through a share of
/// this computer.
pub(super) fn is_indirect(path: &[u8], computer: Option<&[u8]>) -> bool {
    let Some(rest) = path.strip_prefix(br"\\".as_slice()) else {
        return false;
    };
    let host = rest.split(|b| matches!(b, b'\\' | b'/')).next();
    let host = host.unwrap_or_default();
    let local: [&[u8]; 5] = [b"localhost", b"127.0.0.1", b"::1", b".", b"?"];
    let known = local.iter().copied().chain(computer);
    known
        .into_iter()
        .any(|name| host.eq_ignore_ascii_case(name))
}
