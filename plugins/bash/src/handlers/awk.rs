//! `awk`: programs that write files or run commands, and gawk's `-i inplace`.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Outcome, Role};
use deployx_rules_common::words::{directory_part, merged, new_names_in};

/// How much of a program file is read, in bytes.
const MAX_PROGRAM: usize = 65536;

/// The rule for `awk`.
pub(super) fn awk(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if parsed.has("-h") || parsed.has("-V") {
        return findings.finish();
    }
    let named = ["-f", "-e", "-E"].iter().any(|name| parsed.has(name));
    let mut operands = parsed.operand_args();
    for given in &parsed.options {
        let is_file = given.spec.is("-f") || given.spec.is("-E");
        if is_file || given.spec.is("-e") {
            given
                .values
                .iter()
                .for_each(|value| program(&mut findings, value, is_file));
        }
    }
    if !named && let Some(first) = operands.next() {
        program(&mut findings, first, false);
    }
    // Without a name these write where gawk says.
    for (option, file) in [
        ("-d", "awkvars.out"),
        ("-o", "awkprof.out"),
        ("-p", "awkprof.out"),
    ] {
        if parsed.has(option) && parsed.value(option).is_none() {
            findings.role(&Role::Write, &Arg::whole(file));
        }
    }
    if parsed.has("-l") || parsed.has("-D") {
        findings.unclear("an extension is loaded");
    }
    for library in parsed.values("-i") {
        if library.value() != Some(b"inplace") {
            findings.unclear("a library is included");
        }
    }
    if parsed.has("-i") {
        let backups = parsed.values("-v").any(|value| {
            value
                .value()
                .is_none_or(|text| text.to_ascii_lowercase().starts_with(b"inplace"))
        });
        for file in operands {
            findings.role(&Role::Edit, file);
            if backups {
                let directory = directory_part(&findings, &file.text);
                new_names_in(&mut findings, &directory, "backups");
            }
        }
    }
    merged(call.described(), findings.finish())
}

fn program(findings: &mut Findings<'_>, arg: &Arg, is_file: bool) {
    let Some(text) = arg.value() else {
        findings.unclear("the program is not known");
        return;
    };
    let read = if is_file {
        findings
            .resolve(text)
            .and_then(|path| findings.place().view.read(&path, MAX_PROGRAM + 1))
            .filter(|program| program.len() <= MAX_PROGRAM)
    } else {
        Some(text.to_vec())
    };
    match read.map(|program| outputs(&program)) {
        Some(Ok(files)) => {
            for file in files {
                findings.role(&Role::Write, &Arg::whole(file));
            }
        }
        Some(Err(reason)) => findings.unclear(reason),
        None => findings.unclear("the program cannot be read"),
    }
}

/// A part of a program.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    Text(Vec<u8>),
    Sign(u8),
    Append,
}

/// The files that a program writes.
///
/// # Errors
/// Why that cannot be told.
fn outputs(program: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let tokens = tokens(program)?;
    let mut files = Vec::new();
    let mut printing = false;
    let mut parens = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) => match word.as_slice() {
                b"print" | b"printf" => {
                    printing = true;
                    parens = 0;
                }
                b"system" => return Err("the program runs commands"),
                word if word.starts_with(b"@") => {
                    return Err("the program loads others or calls by name");
                }
                _ => {}
            },
            Token::Sign(b'|') => return Err("the program may run commands"),
            Token::Sign(b'(' | b'[') => parens += 1,
            Token::Sign(b')' | b']') => parens = parens.saturating_sub(1),
            Token::Sign(b';' | b'\n' | b'{' | b'}') => printing = false,
            Token::Sign(b'>') | Token::Append if printing && parens == 0 => {
                let ends = matches!(
                    tokens.get(at + 2),
                    None | Some(Token::Sign(b';' | b'\n' | b'}'))
                );
                match tokens.get(at + 1) {
                    Some(Token::Text(file)) if ends => {
                        if file.contains(&b'\\') {
                            return Err("the names of files that the program writes have escapes");
                        }
                        if !matches!(file.as_slice(), b"/dev/stdout" | b"/dev/stderr") {
                            files.push(file.clone());
                        }
                    }
                    _ => return Err("the names of files that the program writes are computed"),
                }
            }
            _ => {}
        }
    }
    Ok(files)
}

fn tokens(program: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(byte) = program.get(at).copied() {
        at += 1;
        match byte {
            b'"' => {
                let (text, end) = string(program, at)?;
                tokens.push(Token::Text(text));
                at = end;
            }
            b'#' => {
                while program.get(at).is_some_and(|b| *b != b'\n') {
                    at += 1;
                }
            }
            b'/' if after_step(&tokens) => {
                return Err("a slash behind '++' may be a division");
            }
            b'/' if begins_regex(tokens.last()) => at = regex_end(program, at)?,
            b'>' if program.get(at) == Some(&b'>') => {
                tokens.push(Token::Append);
                at += 1;
            }
            b'>' if program.get(at) == Some(&b'=') => at += 1,
            b'|' if program.get(at) == Some(&b'|') => {
                tokens.push(Token::Sign(b'o'));
                at += 1;
            }
            b' ' | b'\t' | b'\r' => {}
            b'\\' if program.get(at) == Some(&b'\n') => at += 1,
            b if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@') => {
                let from = at - 1;
                while program
                    .get(at)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
                {
                    at += 1;
                }
                tokens.push(Token::Word(program[from..at].to_vec()));
            }
            sign => tokens.push(Token::Sign(sign)),
        }
    }
    Ok(tokens)
}

/// The string whose first byte is at `at`, and where the program goes on.
fn string(program: &[u8], mut at: usize) -> Result<(Vec<u8>, usize), &'static str> {
    let mut text = Vec::new();
    loop {
        match program.get(at) {
            None => return Err("a string does not end"),
            Some(b'"') => return Ok((text, at + 1)),
            Some(b'\\') => {
                match program.get(at + 1) {
                    Some(b'\n') => {}
                    Some(plain @ (b'"' | b'/')) => text.push(*plain),
                    // Any other escape stays one.
                    escaped => {
                        text.push(b'\\');
                        text.extend(escaped);
                    }
                }
                at += 2;
            }
            Some(byte) => {
                text.push(*byte);
                at += 1;
            }
        }
    }
}

/// Whether a slash behind `before` begins a regular expression; otherwise it divides.
fn begins_regex(before: Option<&Token>) -> bool {
    match before {
        None | Some(Token::Append) => true,
        Some(Token::Word(word)) => {
            matches!(word.as_slice(), b"print" | b"in" | b"return" | b"case")
        }
        Some(Token::Text(_)) => false,
        Some(Token::Sign(sign)) => !matches!(sign, b')' | b']' | b'$'),
    }
}

/// Whether `x++` or `x--` stands before.
fn after_step(tokens: &[Token]) -> bool {
    let [.., first, second] = tokens else {
        return false;
    };
    first == second && matches!(first, Token::Sign(b'+' | b'-'))
}

fn regex_end(program: &[u8], mut at: usize) -> Result<usize, &'static str> {
    let mut in_brackets = false;
    loop {
        match program.get(at) {
            None | Some(b'\n') => return Err("a regular expression does not end"),
            Some(b'\\') => at += 1,
            Some(b'[') => in_brackets = true,
            Some(b']') => in_brackets = false,
            Some(b'/') if !in_brackets => return Ok(at + 1),
            Some(_) => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::outputs;

    #[test]
    fn programs_that_only_print() {
        for program in [
            "{print $1}",
            "$3 > 100 {print}",
            "/a>b/ {n++} END {print n/2}",
            r#"{print "a > b"}"#,
            "{ print ($1 > 2) }",
            "BEGIN{FS=\":\"} $1 ~ /x|y/ || $2 >= 3",
            "NR>1",
            "length > 72",
            "{gsub(/[/]/, \"-\"); print}",
        ] {
            assert_eq!(outputs(program.as_bytes()), Ok(Vec::new()), "{program}");
        }
    }

    #[test]
    fn files_are_found() {
        assert_eq!(
            outputs(br#"{print $1 > "out.txt"}"#),
            Ok(vec![b"out.txt".to_vec()])
        );
        assert_eq!(
            outputs(br#"{print >> "a"; print > "/dev/stderr"}"#),
            Ok(vec![b"a".to_vec()])
        );
    }

    #[test]
    fn the_rest_is_unclear() {
        for program in [
            "{print > $1}",
            r#"{print > "out" $1}"#,
            r#"{system("rm x")}"#,
            r#"{print | "sort"}"#,
            r#"{"date" | getline d}"#,
            r#"{print "x"#,
            r#"{print > "o\x75t"}"#,
            r#"BEGIN{f = "system"; @f("x")}"#,
            r#"{print x++/y > "out"; z = 2/1}"#,
        ] {
            assert!(outputs(program.as_bytes()).is_err(), "{program}");
        }
    }
}
