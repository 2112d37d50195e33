//! Shell patterns as `find -name` reads them.

/// Whether `name` fits `pattern` (`*`, `?`, `[a-z]`, `\x`). A pattern that cannot be read fits
/// everything.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match step(pattern, p, name[n]) {
            Step::Star => {
                retry = Some((p, n));
                p += 1;
            }
            Step::Fits(next) => {
                p = next;
                n += 1;
            }
            Step::Unreadable => return true,
            Step::No => match retry {
                Some((star, from)) => {
                    p = star + 1;
                    n = from + 1;
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

enum Step {
    Star,
    /// The byte fits; the pattern goes on there.
    Fits(usize),
    No,
    Unreadable,
}

fn step(pattern: &[u8], at: usize, byte: u8) -> Step {
    match pattern.get(at) {
        Some(b'*') => Step::Star,
        Some(b'?') => Step::Fits(at + 1),
        Some(b'[') => bracket(pattern, at, byte),
        Some(b'\\') if pattern.get(at + 1) == Some(&byte) => Step::Fits(at + 2),
        Some(other) if *other == byte && byte != b'\\' => Step::Fits(at + 1),
        None | Some(_) => Step::No,
    }
}

fn bracket(pattern: &[u8], at: usize, byte: u8) -> Step {
    let mut inner = at + 1;
    let negated = matches!(pattern.get(inner), Some(b'!' | b'^'));
    inner += usize::from(negated);
    let Some(length) = pattern[inner..].iter().skip(1).position(|b| *b == b']') else {
        return Step::Unreadable;
    };
    let set = &pattern[inner..=inner + length];
    if set.contains(&b'[') || set.contains(&b'\\') {
        return Step::Unreadable;
    }
    let mut found = false;
    let mut i = 0;
    while i < set.len() {
        if i + 2 < set.len() && set[i + 1] == b'-' {
            found |= (set[i]..=set[i + 2]).contains(&byte);
            i += 3;
        } else {
            found |= set[i] == byte;
            i += 1;
        }
    }
    if found == negated {
        Step::No
    } else {
        Step::Fits(inner + length + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("a*b*c", "a1b2bc", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]y", "]y", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("", "", true),
            ("*", "", true),
        ] {
            let found = fits(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}
