//! Questions to a fresh plugin whose right answer is known.

use deployx_plugin_abi::Request;

/// A program that does not exist and that no rule set can know.
const UNKNOWN_LINE: &[u8] = b"deployx-no-such-program-7f3a --x /probe";

/// How long the longest garbage is, in bytes.
const LONG: usize = 64 * 1024;

/// A line that nobody understands: an answer without an unclear part is a lie.
pub(super) fn unknown_program(shell: &str) -> Request {
    request(shell, UNKNOWN_LINE.to_vec())
}

/// Lines that nobody writes; any answer will do.
pub(super) fn garbage(shell: &str) -> Vec<Request> {
    [
        Vec::new(),
        vec![0; 16],
        b"\xff\xfe\x80 \xc3\x28".to_vec(),
        vec![b'('; LONG],
    ]
    .into_iter()
    .map(|line| request(shell, line))
    .collect()
}

fn request(shell: &str, command: Vec<u8>) -> Request {
    Request {
        shell: shell.to_owned(),
        command,
        cwd: b"/".to_vec(),
        ..Request::default()
    }
}
