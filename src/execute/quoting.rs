//! Joins argument vectors to command lines.

use std::ffi::OsString;

use super::shells::{Quoting, lookup};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::request::ShellName;

/// Words that mean something else than a command when they come first, in any of the shells.
const RESERVED: &[&str] = &[
    "and",
    "begin",
    "break",
    "builtin",
    "case",
    "command",
    "continue",
    "coproc",
    "do",
    "done",
    "elif",
    "else",
    "end",
    "esac",
    "exec",
    "fi",
    "for",
    "foreach",
    "function",
    "if",
    "in",
    "nocorrect",
    "noglob",
    "not",
    "or",
    "repeat",
    "return",
    "select",
    "switch",
    "then",
    "time",
    "until",
    "while",
];

/// Joins an argument vector to a command line for `shell`, quoting every argument so that the
/// shell passes exactly these bytes on. The first argument is the command's name; as in any command
/// line it may also name a builtin.
///
/// For `cmd` the line is meant for a script file (a percent sign is doubled), and an argument with
/// a line break is refused because there is no way to write one. `InvalidRequest` also for a NUL
/// byte, and for PowerShell for text that is not Unicode.
pub fn quote_arguments(shell: &ShellName, arguments: &[OsString]) -> Result<OsString> {
    let spec = lookup(shell)?;
    let mut line = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let bytes = argument.as_encoded_bytes();
        if bytes.contains(&0) {
            return Err(invalid("an argument has a NUL byte"));
        }
        if index > 0 {
            line.push(b' ');
        }
        match spec.quoting {
            Quoting::Posix | Quoting::Fish if is_plain(bytes, index) => line.extend(bytes),
            Quoting::Posix => quote_posix(bytes, &mut line),
            Quoting::Fish => {
                // fish takes even a quoted word for the keyword.
                if index == 0 && is_reserved(bytes) {
                    line.extend(b"command ");
                }
                quote_fish(bytes, &mut line);
            }
            Quoting::Cmd => quote_cmd(bytes, &mut line)?,
            Quoting::PowerShell { escaped } => {
                if index == 0 {
                    line.extend(b"& ");
                }
                let text = argument.to_str().ok_or_else(|| {
                    invalid("an argument is not Unicode, which PowerShell cannot pass on")
                })?;
                quote_powershell(text, escaped && index > 0, &mut line);
            }
        }
    }
    os_string(line)
}

fn invalid(context: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Execute, context)
}

/// Whether an argument can stay as it is, which reads better wherever the command line is shown.
fn is_plain(bytes: &[u8], index: usize) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-+:,@%".contains(byte);
    let harmless = !bytes.is_empty()
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| plain(byte) || (*byte == b'=' && at > 0 && index > 0));
    harmless && (index > 0 || !is_reserved(bytes))
}

fn is_reserved(word: &[u8]) -> bool {
    RESERVED.iter().any(|reserved| reserved.as_bytes() == word)
}

pub(super) fn quote_posix(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'\'');
    for byte in bytes {
        match byte {
            b'\'' => line.extend(b"'\\''"),
            other => line.push(*other),
        }
    }
    line.push(b'\'');
}

pub(super) fn quote_fish(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'\'');
    for byte in bytes {
        if matches!(byte, b'\'' | b'\\') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'\'');
}

/// The quoting that C programs on Windows take apart, then a caret before everything that `cmd`
/// would take as its own, so that `cmd` never sees a quoted part.
fn quote_cmd(bytes: &[u8], line: &mut Vec<u8>) -> Result<()> {
    if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        return Err(invalid(
            "an argument has a line break, which cmd cannot pass on",
        ));
    }
    let mut quoted = Vec::new();
    quote_for_c_programs(bytes, &mut quoted);
    for byte in quoted {
        match byte {
            b'%' => line.extend(b"%%"),
            b'"' | b'^' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'!' => {
                line.extend([b'^', byte]);
            }
            other => line.push(other),
        }
    }
    Ok(())
}

/// `"..."` with backslashes doubled before a quote, as `CommandLineToArgvW` documents.
fn quote_for_c_programs(bytes: &[u8], out: &mut Vec<u8>) {
    let needed = bytes.is_empty() || bytes.iter().any(|byte| b" \t\"".contains(byte));
    if !needed {
        out.extend(bytes);
        return;
    }
    out.push(b'"');
    escape_quotes(bytes, out);
    out.push(b'"');
}

/// Backslashes before each quote and doubled ones at the end, where a closing quote follows.
fn escape_quotes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut backslashes = 0;
    for byte in bytes {
        match byte {
            b'\\' => backslashes += 1,
            b'"' => {
                out.extend(std::iter::repeat_n(b'\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        out.push(*byte);
    }
    out.extend(std::iter::repeat_n(b'\\', backslashes));
}

/// PowerShell takes typographic quotes for straight ones, so they are doubled too.
fn quote_powershell(text: &str, escaped: bool, line: &mut Vec<u8>) {
    let text = if escaped {
        escape_for_windows_powershell(text)
    } else {
        text.to_owned()
    };
    line.push(b'\'');
    for character in text.chars() {
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        if matches!(
            character,
            '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}'
        ) {
            line.extend(encoded);
        }
        line.extend(encoded);
    }
    line.push(b'\'');
}

/// Windows PowerShell puts an argument with spaces between quotes without escaping anything inside,
/// and drops an empty one.
fn escape_for_windows_powershell(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut escaped = Vec::new();
    escape_quotes(text.as_bytes(), &mut escaped);
    if !text.contains(char::is_whitespace) {
        let doubled = text.len() - text.trim_end_matches('\\').len();
        escaped.truncate(escaped.len() - doubled);
    }
    String::from_utf8_lossy(&escaped).into_owned()
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Result<OsString> {
    String::from_utf8(bytes)
        .map(OsString::from)
        .map_err(|_| invalid("an argument is not Unicode"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(shell: &str, arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        quote_arguments(&ShellName::new(shell), &arguments)
            .expect("these arguments can be quoted")
            .into_string()
            .expect("these arguments are text")
    }

    #[test]
    fn plain_arguments_stay_readable() {
        assert_eq!(
            quoted("bash", &["git", "log", "--format=%H", "a/b.c"]),
            "git log --format=%H a/b.c"
        );
    }

    #[test]
    fn special_first_words_are_quoted() {
        assert_eq!(quoted("bash", &["if"]), "'if'");
        assert_eq!(quoted("fish", &["if", "if"]), "command 'if' if");
        assert_eq!(quoted("bash", &["A=b", "A=b"]), "'A=b' A=b");
        assert_eq!(quoted("zsh", &["x", "=ls", "~", ""]), "x '=ls' '~' ''");
    }

    #[test]
    fn quotes_and_backslashes_follow_each_shells_rules() {
        assert_eq!(quoted("sh", &["a'b\\"]), "'a'\\''b\\'");
        assert_eq!(quoted("fish", &["a'b\\"]), "'a\\'b\\\\'");
        assert_eq!(
            quoted("cmd", &["a b\\", "%x%", "\""]),
            "^\"a b\\\\^\" %%x%% ^\"\\^\"^\""
        );
        assert_eq!(
            quoted("pwsh", &["a", "b'\u{2019}\""]),
            "& 'a' 'b''\u{2019}\u{2019}\"'"
        );
        assert_eq!(quoted("powershell", &["a", "x\\\"y"]), "& 'a' 'x\\\\\\\"y'");
    }

    #[test]
    fn what_cannot_be_passed_is_refused() {
        let refused = |shell: &str, argument: &str| {
            quote_arguments(&ShellName::new(shell), &[OsString::from(argument)])
                .map_err(|error| error.kind())
                .err()
        };
        assert_eq!(refused("bash", "a\0b"), Some(ErrorKind::InvalidRequest));
        assert_eq!(refused("cmd", "a\nb"), Some(ErrorKind::InvalidRequest));
        assert_eq!(refused("nosuch", "a"), Some(ErrorKind::ShellNotFound));
    }
}
