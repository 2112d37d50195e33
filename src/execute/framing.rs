//! What a session writes to the driver of its shell, see [`shells`](super::shells).

use super::quoting::{quote_fish, quote_posix};
use super::shells::Framing;

/// A command as the driver takes it: it assigns the command's text and the status that `$?` is to
/// have, and that no end is asked for. `command` has no NUL byte.
pub(super) fn frame(framing: Framing, last_status: i32, command: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(command.len() + command.len() / 8 + 64);
    match framing {
        Framing::Fish => {
            message.extend(b"builtin set -g __deployx_e 0; ");
            let status = format!("builtin set -g __deployx_s {last_status}; ");
            message.extend(status.bytes());
            message.extend(b"builtin set -g __deployx_c ");
            quote_fish(command, &mut message);
            message.push(0);
        }
        Framing::DollarQuoted => {
            message.extend(assignments(last_status).bytes());
            message.extend(b"$'");
            for byte in command {
                match byte {
                    b'\n' => message.extend(b"\\n"),
                    b'\'' | b'\\' => message.extend([b'\\', *byte]),
                    other => message.push(*other),
                }
            }
            message.extend(b"'");
            message.extend(POSIX_END);
        }
        Framing::Quoted => {
            message.extend(assignments(last_status).bytes());
            for (index, line) in command.split(|byte| *byte == b'\n').enumerate() {
                if index > 0 {
                    message.extend(b"\"$__deployx_n\"");
                }
                quote_posix(line, &mut message);
            }
            message.extend(POSIX_END);
        }
    }
    message
}

/// The end of a message to a POSIX shell: a comment, of which `read` may take what it likes, and the
/// line break.
const POSIX_END: &[u8] = b" #.\n";

/// The assignments of a message to a POSIX shell up to the command's text.
fn assignments(last_status: i32) -> String {
    format!("__deployx_e=; __deployx_s={last_status}; __deployx_c=")
}

/// What makes the driver leave its loop, so that the shell ends as at the end of a script.
pub(super) fn end_of_input(framing: Framing) -> &'static [u8] {
    match framing {
        Framing::Fish => b"builtin set -g __deployx_e 1\0",
        Framing::DollarQuoted | Framing::Quoted => b"__deployx_e=1 #.\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_the_command_is() {
        let command = b"a\n'b'\\\n";
        for (framing, end) in [
            (Framing::DollarQuoted, b'\n'),
            (Framing::Quoted, b'\n'),
            (Framing::Fish, 0),
        ] {
            for message in [&frame(framing, 3, command)[..], end_of_input(framing)] {
                let first = message.iter().position(|byte| *byte == end);
                assert_eq!(first, Some(message.len() - 1));
            }
        }
    }
}
