//! `perl`: one-liners that only substitute are understood, everything else is a script.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_rules_common::words::with_suffix;

/// What the switches say.
#[derive(Default)]
struct Switches {
    code: Vec<Arg>,
    /// `-i`, with its extension.
    in_place: Option<Vec<u8>>,
    loops: bool,
    unclear: Option<&'static str>,
    /// `-v` and the like: nothing runs.
    only_tells: bool,
}

/// The rule for `perl`.
pub(super) fn perl(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let args = call.rest();
    let mut switches = Switches::default();
    let mut at = 0;
    while let Some(arg) = args
        .get(at)
        .filter(|arg| arg.text.len() > 1 && arg.text[0] == b'-')
    {
        at += 1;
        if arg.value() == Some(b"--") {
            break;
        }
        at += switches.read(arg, args.get(at));
    }
    if switches.only_tells {
        return findings.finish();
    }
    let understood = !switches.code.is_empty()
        && switches
            .code
            .iter()
            .all(|code| code.value().is_some_and(only_substitutes));
    if let Some(reason) = switches.unclear {
        findings.unclear(reason);
    } else if switches.code.is_empty() {
        findings.unclear("a script runs");
    } else if !understood {
        findings.unclear("the code may do anything");
    }
    // Without `-i`, what stands for a file may be a command (`ls|`) or a target (`>x`).
    let magic = |file: &Arg| {
        let text = file.text.trim_ascii();
        text.ends_with(b"|") || matches!(text.first(), Some(b'|' | b'>' | b'+'))
    };
    if switches.loops && args.get(at..).unwrap_or(&[]).iter().any(magic) {
        findings.unclear("an argument may be a command");
    }
    if let Some(extension) = switches.in_place.filter(|_| switches.loops) {
        for file in args.get(at..).unwrap_or(&[]) {
            edit(&mut findings, file, &extension);
        }
    }
    findings.finish()
}

fn edit(findings: &mut Findings<'_>, file: &Arg, extension: &[u8]) {
    findings.role(&Role::Edit, file);
    if extension.is_empty() {
        return;
    }
    if extension.contains(&b'*') || extension.contains(&b'/') {
        findings.unclear("the names of backups are computed");
    } else {
        findings.role(&Role::Edit, &with_suffix(file, extension));
    }
}

impl Switches {
    /// Reads a bundle of switches; gives how many of the next arguments it takes.
    fn read(&mut self, arg: &Arg, next: Option<&Arg>) -> usize {
        if arg.known != Known::Whole {
            self.unclear = Some("a switch is not known");
            return 0;
        }
        let mut letters = arg.text[1..].iter().copied().enumerate();
        while let Some((index, letter)) = letters.next() {
            let rest = &arg.text[index + 2..];
            match letter {
                b'e' | b'E' => {
                    if rest.is_empty() {
                        self.code.extend(next.cloned());
                        return 1;
                    }
                    self.code.push(Arg::whole(rest));
                    return 0;
                }
                b'i' => {
                    self.in_place = Some(rest.to_vec());
                    return 0;
                }
                b'n' | b'p' => self.loops = true,
                b'0' | b'l' => {
                    let digits = rest.iter().take_while(|b| {
                        b.is_ascii_hexdigit() && !b.is_ascii_lowercase() || **b == b'x'
                    });
                    for _ in 0..digits.count() {
                        letters.next();
                    }
                }
                b'F' | b'x' | b'D' | b'C' => return usize::from(letter == b'F' && rest.is_empty()),
                b'a' | b'w' | b'W' | b'X' | b's' | b't' | b'T' | b'u' | b'U' => {}
                b'v' | b'V' | b'h' | b'?' => self.only_tells = true,
                _ => {
                    self.unclear = Some("a switch loads or checks other code");
                    return usize::from(letter == b'I' && rest.is_empty());
                }
            }
        }
        0
    }
}

/// Whether code is a row of substitutions and prints, none of which can run anything.
pub(super) fn only_substitutes(code: &[u8]) -> bool {
    let mut rest = code;
    loop {
        rest = trim(rest);
        match rest.first() {
            None => return true,
            Some(b';') => rest = &rest[1..],
            Some(_) => match statement(rest) {
                Some(after) => rest = after,
                None => return false,
            },
        }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// What follows a statement that is understood.
fn statement(text: &[u8]) -> Option<&[u8]> {
    let mut rest = if let Some(after) = operation(text) {
        after
    } else {
        let word = text.iter().take_while(|b| b.is_ascii_lowercase()).count();
        matches!(&text[..word], b"print" | b"next" | b"last" | b"chomp").then_some(&text[word..])?
    };
    rest = trim(rest);
    for word in [&b"if"[..], b"unless"] {
        if let Some(after) = rest.strip_prefix(word) {
            rest = trim(condition(trim(after))?);
            break;
        }
    }
    matches!(rest.first(), None | Some(b';')).then_some(rest)
}

/// `/x/`, `!/x/`, `$. == 3`, `eof`
fn condition(text: &[u8]) -> Option<&[u8]> {
    let text = trim(text.strip_prefix(b"!").unwrap_or(text));
    if let Some(after) = text.strip_prefix(b"/") {
        let (pattern, after) = part(after, b'/')?;
        harmless(pattern).then_some(())?;
        let flags = after.iter().take_while(|b| b"imsxg".contains(b)).count();
        return Some(&after[flags..]);
    }
    let length = text.iter().take_while(|b| **b != b';').count();
    let plain = text[..length]
        .iter()
        .all(|b| b.is_ascii_digit() || b" $.=<>!".contains(b));
    (plain && length > 0).then_some(&text[length..])
}

/// `s/a/b/g`, `tr/a/b/`, `y/a/b/`
fn operation(text: &[u8]) -> Option<&[u8]> {
    let (name, after): (&[u8], &[u8]) = if let Some(after) = text.strip_prefix(b"tr") {
        (b"tr", after)
    } else if let Some(after) = text.strip_prefix(b"y") {
        (b"y", after)
    } else {
        (b"s", text.strip_prefix(b"s")?)
    };
    let (open, after) = after.split_first()?;
    if open.is_ascii_alphanumeric()
        || open.is_ascii_whitespace()
        || *open == b'_'
        || b"=,;)".contains(open)
    {
        return None;
    }
    let close = match open {
        b'{' => b'}',
        b'(' => b')',
        b'[' => b']',
        b'<' => b'>',
        other => *other,
    };
    let (pattern, mut after) = part(after, close)?;
    if close != *open {
        after = trim(after).strip_prefix(&[*open])?;
    }
    let (replacement, after) = part(after, close)?;
    let allowed: &[u8] = if name == b"s" { b"gimsxnr" } else { b"cdsr" };
    let flags = after.iter().take_while(|b| allowed.contains(b)).count();
    let after = &after[flags..];
    let ends = after.first().is_none_or(|b| !b.is_ascii_alphanumeric());
    (ends && harmless(pattern) && harmless(replacement)).then_some(after)
}

/// What stands before the next `close` that is not escaped, and what follows it. Nested brackets
/// are not read.
fn part(text: &[u8], close: u8) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b if *b == close => return Some((&text[..at], &text[at + 1..])),
            b'{' | b'(' | b'[' | b'<' if matches!(close, b'}' | b')' | b']' | b'>') => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether interpolation in a pattern or replacement cannot run code.
fn harmless(text: &[u8]) -> bool {
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    !(has_subscript(text) || has(b"@{") || has(b"${") || has(b"(?{") || has(b"(??") || has(b"->"))
}

/// Whether an element of an array or hash is interpolated whose subscript may be code.
fn has_subscript(text: &[u8]) -> bool {
    let mut parts = text.split(|b| matches!(b, b'$' | b'@'));
    parts.next();
    parts.any(|after| {
        let name = after
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
            .count();
        if name == 0 {
            return false;
        }
        let rest = &after[name..];
        let plain = |close: u8, fits: fn(&u8) -> bool| {
            let end = rest.iter().position(|b| *b == close);
            end.is_some_and(|end| rest[1..end].iter().all(fits))
        };
        match rest.first() {
            Some(b'[') => !plain(b']', |b| b.is_ascii_digit() || *b == b'-'),
            Some(b'{') => !plain(b'}', |b| b.is_ascii_alphanumeric() || *b == b'_'),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::only_substitutes;

    #[test]
    fn substitutions_are_understood() {
        for code in [
            "s/a/b/g",
            "s|x|y|; s{a}{b}gi",
            "tr/a-z/A-Z/",
            "s/a/b/ if /c/",
            "print if /x/i",
            "print unless $. == 3",
            "s/\\/a/b/;",
            "y/a/b/",
            "s/(\\d+)/<$1>/",
            "chomp; print",
        ] {
            assert!(only_substitutes(code.as_bytes()), "{code}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for code in [
            "s/a/unlink $f/e",
            "s/a/b/ee",
            "unlink 'x'",
            "system('x')",
            "s/a/@{[unlink 1]}/",
            "print `date`",
            "open F, '>x'",
            "s/a",
            "s/(?{unlink 1})//",
            "print F",
            "sleep 1",
            "s/a/b/ if system 1",
            "s/a/$x[unlink 1]/",
            "s/$x{unlink 1}/b/",
            "system",
            "y = 3",
            "s/a/b/ and unlink 'x'",
        ] {
            assert!(!only_substitutes(code.as_bytes()), "{code}");
        }
    }
}
