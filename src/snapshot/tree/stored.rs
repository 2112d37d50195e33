//! Which old content a snapshot keeps, and under which names.

use super::record::Record;
use crate::entry::EntryState;
use crate::path::AbsPath;

/// Longest part of an entry's name that is repeated in the name of its stored content.
const NAME_BYTES: usize = 80;

/// Whether the old content is needed to bring the entry back.
pub(in crate::snapshot) fn needs_content(before: &Record, after: Option<&EntryState>) -> bool {
    !after.is_some_and(|after| before.state().same_content(after))
}

/// A name for stored content that tells a person what it is.
pub(in crate::snapshot) fn stored_name(number: usize, path: &AbsPath) -> String {
    let name = path
        .name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut plain: String = name
        .chars()
        .map(|c| {
            // A backslash separates components elsewhere, so that no stored name may have one.
            if c.is_control() || matches!(c, '\\' | char::REPLACEMENT_CHARACTER) {
                '_'
            } else {
                c
            }
        })
        .collect();
    while plain.len() > NAME_BYTES {
        plain.pop();
    }
    format!("{number:06}-{plain}")
}
