//! What commands write: sent while they run, kept for the result, and in a file where it is long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::cleanup;
use super::redact::{Redactor, Stream};
use super::shared::Shared;
use super::wire::{MAX_MESSAGE, Reply, encoded_length};
use crate::error::{IoContext as _, Stage};
use crate::execute::{Cancel, OutputSink, OutputStream};

/// Bytes of standard error that make up the error text of a failed command.
const ERROR_TEXT: usize = 4 << 10;
/// Output that has more bytes than this in JSON does not fit every result.
const MAX_IN_RESULT: usize = MAX_MESSAGE / 2 - 10_000;
/// The longest piece of text in one event.
const PIECE: usize = 100 << 10;

/// Whose output it is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A single command's.
    Command(String),
    /// A batch's.
    Batch(String),
}

/// Takes the output of one shell session.
pub(super) struct CommandOutput {
    shared: Arc<Shared>,
    source: Source,
    cancel: Cancel,
    redactor: Arc<Redactor>,
    inner: Mutex<Inner>,
}

struct Inner {
    stdout: Stream,
    stderr: Stream,
    sequence: u64,
    kept: Kept,
    errors: Ends,
    /// What all commands of a batch wrote together.
    all: Ends,
}

/// Output that belongs to one command.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Both streams, with the middle left out where they are long.
    pub(super) text: String,
    /// Bytes that are not in the text.
    pub(super) left_out: u64,
    /// The end of standard error.
    pub(super) errors: String,
    /// The file with everything, where the text has not.
    pub(super) file: Option<PathBuf>,
}

impl CommandOutput {
    /// An output of which results keep `room` bytes for each command.
    pub(super) fn new(shared: Arc<Shared>, source: Source, cancel: Cancel, room: usize) -> Self {
        let config = shared.config();
        let kept = Kept::new(room, config.output_file);
        Self {
            redactor: shared.redactor(),
            source,
            cancel,
            inner: Mutex::new(Inner {
                stdout: Stream::default(),
                stderr: Stream::default(),
                sequence: 0,
                kept,
                errors: Ends::new(0, ERROR_TEXT),
                all: Ends::new(config.result_output / 2, config.result_output / 2),
            }),
            shared,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the output of the current command and gives it; the next command starts anew.
    pub(super) fn take(&self) -> Collected {
        let mut inner = self.lock();
        let rest = inner.stdout.finish(&self.redactor);
        self.pass_on(&mut inner, OutputStream::Stdout, &rest);
        let rest = inner.stderr.finish(&self.redactor);
        self.pass_on(&mut inner, OutputStream::Stderr, &rest);
        let errors = inner.errors.take().0;
        let (text, left_out, file) = inner.kept.take();
        if file.is_some() {
            cleanup::bound_outputs(&self.shared);
        }
        Collected {
            text,
            left_out,
            errors,
            file,
        }
    }

    /// What all commands wrote, and how many bytes of it are missing.
    pub(super) fn take_all(&self) -> (String, u64) {
        self.lock().all.take()
    }

    fn pass_on(&self, inner: &mut Inner, stream: OutputStream, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = rest.len().min(PIECE);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (piece, more) = rest.split_at(end);
            rest = more;
            inner.kept.push(piece, &self.shared);
            inner.all.push(piece);
            if stream == OutputStream::Stderr {
                inner.errors.push(piece);
            }
            let reply = self.event(stream, piece, inner.sequence);
            inner.sequence += 1;
            self.shared
                .outgoing
                .live(reply, &|| !self.cancel.is_cancelled());
        }
    }

    fn event(&self, stream: OutputStream, text: &str, sequence: u64) -> Reply {
        let stream = match stream {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        };
        match &self.source {
            Source::Command(id) => Reply {
                event: "deployment_command_output",
                payload: json!({ "command_id": id, "output": text, "stream": stream, "seq": sequence }),
            },
            Source::Batch(id) => Reply {
                event: "batch_command_output",
                payload: json!({ "batch_id": id, "output": text, "stream": stream, "seq": sequence }),
            },
        }
    }
}

impl OutputSink for CommandOutput {
    fn write(&self, stream: OutputStream, piece: &[u8]) {
        self.shared.metrics.output_bytes.add(piece.len() as u64);
        let mut inner = self.lock();
        let text = match stream {
            OutputStream::Stdout => inner.stdout.push(&self.redactor, piece),
            OutputStream::Stderr => inner.stderr.push(&self.redactor, piece),
        };
        self.pass_on(&mut inner, stream, &text);
    }
}

/// The begin and the end of a text.
struct Ends {
    head: String,
    tail: VecDeque<u8>,
    room: (usize, usize),
    total: u64,
}

impl Ends {
    fn new(head: usize, tail: usize) -> Self {
        Self {
            head: String::new(),
            tail: VecDeque::new(),
            room: (head, tail),
            total: 0,
        }
    }

    fn push(&mut self, text: &str) {
        self.total += text.len() as u64;
        let mut rest = text;
        if self.tail.is_empty() && self.head.len() < self.room.0 {
            let mut end = rest.len().min(self.room.0 - self.head.len());
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            self.head.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        let skipped = rest.len().saturating_sub(self.room.1);
        self.tail.extend(rest.as_bytes()[skipped..].iter());
        let surplus = self.tail.len().saturating_sub(self.room.1);
        self.tail.drain(..surplus);
    }

    /// The text and how many of its bytes are missing.
    fn take(&mut self) -> (String, u64) {
        let mut tail: Vec<u8> = std::mem::take(&mut self.tail).into();
        let total = std::mem::take(&mut self.total);
        let held = self.head.len() as u64 + tail.len() as u64;
        let mut text = std::mem::take(&mut self.head);
        let mut left_out = total.saturating_sub(held);
        if left_out > 0 {
            // The begin of the tail may lie within a character.
            let begin = tail.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
            tail.drain(..begin);
            left_out += begin as u64;
            if self.room.0 > 0 {
                text.push_str("\n[… ");
                text.push_str(&left_out.to_string());
                text.push_str(" bytes left out …]\n");
            }
        }
        text.push_str(&String::from_utf8_lossy(&tail));
        (text, left_out)
    }
}

/// Output of one command: both ends in memory, and all of it in a file where it is long.
struct Kept {
    ends: Ends,
    file: Option<(File, PathBuf)>,
    /// Bytes that it has in JSON.
    encoded: usize,
    written: u64,
    limit: u64,
    broken: bool,
}

impl Kept {
    fn new(room: usize, limit: u64) -> Self {
        Self {
            ends: Ends::new(room / 2, room / 2),
            file: None,
            encoded: 0,
            written: 0,
            limit,
            broken: false,
        }
    }

    fn push(&mut self, text: &str, shared: &Shared) {
        let room = (self.ends.room.0 + self.ends.room.1) as u64;
        self.encoded += encoded_length(text);
        let is_long = self.ends.total + text.len() as u64 > room || self.encoded > MAX_IN_RESULT;
        if self.file.is_none() && !self.broken && is_long {
            self.begin_file(shared);
        }
        self.ends.push(text);
        if let Some((file, _)) = &mut self.file
            && self.written < self.limit
        {
            let left = (self.limit - self.written).min(text.len() as u64) as usize;
            self.written += left as u64;
            if let Err(error) = file.write_all(&text.as_bytes()[..left]) {
                tracing::warn!(%error, "a command's output is not kept whole");
                self.give_up();
            }
        }
    }

    /// A file that ends somewhere in the middle is of no use, and may be what filled the disk.
    fn give_up(&mut self) {
        self.broken = true;
        if let Some((_, path)) = self.file.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(%error, "a command's output is left behind");
        }
    }

    /// Starts the file with what is in memory, which is all there was until now.
    fn begin_file(&mut self, shared: &Shared) {
        let made = shared.state.new_output();
        let written = made.and_then(|made| {
            let (file, _) = self.file.insert(made);
            let (front, back) = self.ends.tail.as_slices();
            [self.ends.head.as_bytes(), front, back]
                .iter()
                .try_for_each(|part| file.write_all(part))
                .context(Stage::Agent, || "cannot write")
        });
        self.written = self.ends.total;
        if let Err(error) = written {
            tracing::warn!(%error, "a command's output is not kept whole");
            self.give_up();
        }
    }

    fn take(&mut self) -> (String, u64, Option<PathBuf>) {
        let (text, left_out) = self.ends.take();
        self.written = 0;
        self.encoded = 0;
        self.broken = false;
        (text, left_out, self.file.take().map(|(_, path)| path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_kept_and_the_gap_is_told() {
        let mut ends = Ends::new(4, 4);
        ends.push("ab");
        ends.push("cd");
        ends.push("ef");
        assert_eq!(ends.take(), ("abcdef".into(), 0));
        ends.push("0123456789");
        assert_eq!(
            ends.take(),
            ("0123\n[… 2 bytes left out …]\n6789".into(), 2)
        );
        ends.push("é€😀é€😀é€😀");
        let (text, left_out) = ends.take();
        assert_eq!(text, format!("é\n[… {left_out} bytes left out …]\n😀"));
        assert_eq!(
            left_out as usize,
            "é€😀é€😀é€😀".len() - "é".len() - "😀".len()
        );
    }
}
