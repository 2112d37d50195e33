//! The first thing that `cmd` does with a line: `%NAME%` is replaced, before anything else is read.

use crate::cell::{Cell, OPEN, UNKNOWN};

/// The longest name, or name with a modification, that is looked for.
const MAX_NAME: usize = 1024;

/// What a variable is.
pub(crate) enum Variable {
    /// Its value.
    Known(Vec<u8>),
    /// Not known, but it is text without operators.
    Tame,
    /// Not known.
    Unknown,
}

/// Replaces the variables of a line. `None` when the result would be longer than `max` cells.
///
/// A single letter in a line with a `for` is taken for the variable of the loop and left as it is.
pub(crate) fn expand(
    line: &[u8],
    lookup: &dyn Fn(&str) -> Variable,
    max: usize,
) -> Option<Vec<Cell>> {
    let loops = Loops::of(line);
    let has_loop = !loops.letters.is_empty();
    let mut out = Vec::with_capacity(line.len());
    let mut at = 0;
    while at < line.len() {
        if out.len() > max {
            return None;
        }
        if line[at] != b'%' {
            out.push(Cell::from(line[at]));
            at += 1;
            continue;
        }
        let rest = &line[at + 1..];
        if rest.first() == Some(&b'%') {
            at += doubled(rest, has_loop, &mut out);
        } else if let Some((name, change, used)) = named(rest)
            && !loops.may_name(name)
        {
            out.extend(value(name, change, lookup));
            at += 1 + used;
        } else if is_batch_argument(rest) {
            out.push(OPEN);
            at += 1 + batch_argument_len(rest);
        } else {
            out.push(Cell::from(b'%'));
            at += 1;
        }
    }
    Some(out)
}

/// `%%`: before a loop's variable it is one sign, as in a batch file. Returns how much was read.
fn doubled(rest: &[u8], has_loop: bool, out: &mut Vec<Cell>) -> usize {
    out.push(Cell::from(b'%'));
    let before_variable = rest
        .get(1)
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'~');
    if has_loop && before_variable {
        let run = rest[1..]
            .iter()
            .take_while(|b| b.is_ascii_alphabetic() || **b == b'~');
        let length = run.take(1).count();
        out.extend(rest[1..=length].iter().map(|b| Cell::from(*b)));
        2 + length
    } else {
        out.push(Cell::from(b'%'));
        2
    }
}

/// The variables of the loops in a line.
struct Loops {
    letters: Vec<u8>,
    /// A `for /f` may bind letters that follow, too.
    binds_more: bool,
}

impl Loops {
    /// Finds each `%x in`.
    fn of(line: &[u8]) -> Self {
        let mut letters = Vec::new();
        for at in 1..line.len().saturating_sub(3) {
            if line[at - 1] != b'%' {
                continue;
            }
            let ends = line[at + 1..]
                .iter()
                .position(|b| !matches!(b, b' ' | b'\t' | b',' | b';' | b'='));
            let behind = ends.map_or(&[][..], |skip| &line[at + 1 + skip..]);
            let before_in = ends != Some(0)
                && behind.len() > 2
                && behind[..2].eq_ignore_ascii_case(b"in")
                && matches!(behind[2], b' ' | b'\t' | b'(');
            if before_in {
                letters.push(line[at]);
            }
        }
        let binds_more = line.windows(2).any(|w| w.eq_ignore_ascii_case(b"/f"));
        Self {
            letters,
            binds_more,
        }
    }

    /// Whether `%name%` is a loop's variable with what happens to follow: `%a%b`, `%a.txt+%b`.
    fn may_name(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let first = name[0];
        let bound = self.letters.iter().any(|letter| {
            *letter == first
                || self.binds_more && (*letter..=letter.saturating_add(25)).contains(&first)
        });
        let alone =
            name.len() == 1 || !name[1].is_ascii_alphanumeric() && !matches!(name[1], b'_' | b'(');
        bound && alone
    }
}

/// The name and the modification that follow a `%`, and how many bytes they take with the `%` at
/// the end.
fn named(rest: &[u8]) -> Option<(&str, Option<&[u8]>, usize)> {
    let window = &rest[..rest.len().min(MAX_NAME)];
    let end = window.iter().position(|b| {
        matches!(
            b,
            b'%' | b':' | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'&' | b'|'
        )
    })?;
    let name = std::str::from_utf8(&window[..end]).ok()?;
    let begins_name = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b >= 0x80);
    let all_name = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b >= 0x80 || b"_()#$@!-.{}[]".contains(&b));
    if !begins_name || !all_name {
        return None;
    }
    if window[end] == b'%' {
        return Some((name, None, end + 1));
    }
    if window[end] != b':' {
        return None;
    }
    let change = &window[end + 1..];
    let close = change.iter().position(|b| matches!(b, b'%' | b'\n'))?;
    let is_change = change[close] == b'%' && (change[..close].contains(&b'=') || change[0] == b'~');
    is_change.then(|| (name, Some(&change[..close]), end + 1 + close + 1))
}

/// `%1`, `%*`, `%~dp0`, but not the `%20` of an address.
fn is_batch_argument(rest: &[u8]) -> bool {
    batch_argument_len(rest) > 0
}

fn batch_argument_len(rest: &[u8]) -> usize {
    match rest {
        [b'*', ..] => 1,
        [digit, next, ..] if digit.is_ascii_digit() && next.is_ascii_hexdigit() => 0,
        [digit, ..] if digit.is_ascii_digit() => 1,
        [b'~', tail @ ..] => {
            let letters = tail
                .iter()
                .take_while(|b| b"fdpnxsatzFDPNXSATZ".contains(b))
                .count();
            match tail.get(letters) {
                Some(digit) if digit.is_ascii_digit() => letters + 2,
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn value(name: &str, change: Option<&[u8]>, lookup: &dyn Fn(&str) -> Variable) -> Vec<Cell> {
    match lookup(name) {
        Variable::Known(value) => match change {
            None => crate::cell::cells(&value),
            Some(change) => {
                changed(&value, change).map_or_else(|| vec![OPEN], |v| crate::cell::cells(&v))
            }
        },
        Variable::Tame => vec![UNKNOWN],
        Variable::Unknown => vec![OPEN],
    }
}

/// `VAR:~start,length` and `VAR:from=to`. `None` where the modification is not understood.
pub(crate) fn changed(value: &[u8], change: &[u8]) -> Option<Vec<u8>> {
    if let Some(range) = change.strip_prefix(b"~") {
        return substring(value, range);
    }
    let equals = change.iter().position(|b| *b == b'=')?;
    let (from, to) = (&change[..equals], &change[equals + 1..]);
    if let Some(from) = from.strip_prefix(b"*") {
        let end = find(value, from)? + from.len();
        return Some([to, &value[end..]].concat());
    }
    if from.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    let mut rest = value;
    while let Some(at) = find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
        if out.len() > 1 << 16 {
            return None;
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    text.windows(part.len())
        .position(|w| w.eq_ignore_ascii_case(part))
}

fn substring(value: &[u8], range: &[u8]) -> Option<Vec<u8>> {
    // `cmd` counts characters.
    let text: Vec<char> = std::str::from_utf8(value).ok()?.chars().collect();
    let range = std::str::from_utf8(range).ok()?;
    let mut numbers = range.splitn(2, ',').map(|n| n.trim().parse::<i64>());
    let length = text.len() as i64;
    let start = match numbers.next()? {
        Ok(n) if n < 0 => (length + n).max(0),
        Ok(n) => n.min(length),
        Err(_) => return None,
    };
    let end = match numbers.next() {
        None => length,
        Some(Ok(n)) if n < 0 => (length + n).max(start),
        Some(Ok(n)) => start.saturating_add(n).min(length),
        Some(Err(_)) => return None,
    };
    let part: String = text[start as usize..end as usize].iter().collect();
    Some(part.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::cells;

    fn lookup(name: &str) -> Variable {
        match name.to_ascii_lowercase().as_str() {
            "app" => Variable::Known(b"deploy".to_vec()),
            "date" => Variable::Tame,
            _ => Variable::Unknown,
        }
    }

    fn expanded(line: &str) -> Vec<Cell> {
        expand(line.as_bytes(), &lookup, 10_000).unwrap()
    }

    #[test]
    fn known_values_are_put_in() {
        assert_eq!(expanded("del %APP%.txt"), cells(b"del deploy.txt"));
        assert_eq!(expanded("%app:~0,3%"), cells(b"dep"));
        assert_eq!(expanded("%app:~-2%"), cells(b"oy"));
        assert_eq!(expanded("%app:~1,-2%"), cells(b"epl"));
        assert_eq!(expanded("%app:PLOY=fence%"), cells(b"defence"));
        assert_eq!(expanded("%app:*p=x%"), cells(b"xloy"));
    }

    #[test]
    fn unknown_values_are_marked() {
        assert_eq!(expanded("%x%"), [OPEN]);
        assert_eq!(expanded("%date%"), [UNKNOWN]);
        assert_eq!(expanded("%1"), [OPEN]);
        assert_eq!(expanded("%~dp0"), [OPEN]);
        assert_eq!(expanded("%*"), [OPEN]);
        assert_eq!(expanded("%x:a=b%"), [OPEN]);
    }

    #[test]
    fn other_signs_stay() {
        for line in ["100%", "a % b % c", "http://x/a%20b%2Fc", "50% of %"] {
            assert_eq!(expanded(line), cells(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn variables_of_loops_stay() {
        for line in [
            "for %f in (a) do del %f",
            "for %f in (a) do copy %f.txt+%f.log %~nf%~xf",
            "for %f in (a) do echo %f%f",
        ] {
            assert_eq!(expanded(line), cells(line.as_bytes()), "{line}");
        }
        assert_eq!(
            expanded("for %%f in (a) do del %%~nf"),
            cells(b"for %f in (a) do del %~nf")
        );
        assert_eq!(
            expanded("for %f in (a) do del %APP%%f"),
            cells(b"for %f in (a) do del deploy%f")
        );
    }
}
