//! The rules that an undo record keeps, checked before it is written and after it is read.

use std::path::{Component, Path};

use rayon::prelude::*;

use crate::entry::{EntryKind, EntryState, Timestamp};
use crate::seal::{Change, Form, PreImage, UndoRecord};

/// Changes that one thread checks in a row.
const IN_A_ROW: usize = 1024;
/// The most bytes of a symbolic link's target.
const MAX_TARGET: usize = 64 << 10;
/// The most extended attributes of one entry.
const MAX_XATTRS: usize = 64 << 10;
/// The most bytes of an attribute's name, as Linux has it.
const MAX_XATTR_NAME: usize = 255;
/// The most bytes of an attribute's value (Linux: 64 KiB; others allow more).
const MAX_XATTR_VALUE: usize = 64 << 20;

/// Says what is wrong with a record, in words that follow "the manifest …".
pub(super) fn validate(record: &UndoRecord) -> Result<(), String> {
    let changes = &record.changes;
    if changes.len() <= IN_A_ROW {
        return check_all(changes);
    }
    let starts: Vec<usize> = (0..changes.len()).step_by(IN_A_ROW).collect();
    // Each piece has the first of the next one, so that nothing is out of order in between.
    let piece = |start: usize| &changes[start..changes.len().min(start + IN_A_ROW + 1)];
    let results = starts.into_par_iter().map(|start| check_all(piece(start)));
    results.find_first(Result::is_err).unwrap_or(Ok(()))
}

fn check_all(changes: &[Change]) -> Result<(), String> {
    for pair in changes.windows(2) {
        if pair[0].path >= pair[1].path {
            return Err(format!("is not sorted at {}", pair[1].path));
        }
    }
    changes.iter().try_for_each(|change| {
        check(change).map_err(|what| format!("has {what} at {}", change.path))
    })
}

fn check(change: &Change) -> Result<(), String> {
    if change.before.is_none() && change.after.is_none() {
        return Err("an entry that exists neither before nor after".into());
    }
    change.before.iter().try_for_each(check_state)?;
    change.after.iter().try_for_each(check_state)?;
    let PreImage::Stored { name, hash, form } = &change.content else {
        return Ok(());
    };
    let base = match form {
        Form::Delta(base) => Some(&base.name),
        Form::Raw | Form::Zstd => None,
    };
    if !is_one_component(name) || !base.is_none_or(|base| is_one_component(base)) {
        return Err("a name of stored content that is not one component".into());
    }
    if base == Some(name) {
        return Err("stored content that is its own base".into());
    }
    match &change.before {
        Some(before) if before.is_file() => match before.hash {
            Some(other) if other != *hash => Err("two hashes for one content".into()),
            _ => Ok(()),
        },
        _ => Err("stored content of what was no file".into()),
    }
}

fn check_state(state: &EntryState) -> Result<(), String> {
    let is_device = matches!(state.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let target_fits = match &state.target {
        Some(target) => {
            state.kind == EntryKind::Symlink
                && !target.is_empty()
                && target.len() <= MAX_TARGET
                && !target.contains(&0)
        }
        None => state.kind != EntryKind::Symlink,
    };
    let attributes_fit = state.xattrs.len() <= MAX_XATTRS
        && state.xattrs.iter().all(|xattr| {
            (1..=MAX_XATTR_NAME).contains(&xattr.name.len())
                && !xattr.name.contains(&0)
                && xattr.value.len() <= MAX_XATTR_VALUE
        });
    let is_instant = |t: &Timestamp| t.nanoseconds < 1_000_000_000;
    let instants = [&state.modified, &state.accessed, &state.identity.changed];
    if state.mode > 0o7777 {
        Err("a mode of more than 12 bits".into())
    } else if !target_fits {
        Err("a link target that does not fit its kind".into())
    } else if state.device.is_some() != is_device {
        Err("a device number that does not fit its kind".into())
    } else if !attributes_fit {
        Err("an extended attribute out of bounds".into())
    } else if !instants.into_iter().all(is_instant) {
        Err("an instant out of bounds".into())
    } else {
        Ok(())
    }
}

/// Whether `name` is a plain file name: it can only name something directly in its directory.
pub(super) fn is_one_component(name: &str) -> bool {
    // What the names that are made here look like.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !name.is_empty() && name.bytes().all(plain) {
        return true;
    }
    !name.contains('\0')
        && !name.contains('\\')
        && matches!(
            Path::new(name).components().collect::<Vec<_>>().as_slice(),
            [Component::Normal(one)] if *one == name
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ContentHash, DeviceNumber, Xattr};
    use crate::store::testing::{deleted, record};

    #[test]
    fn a_sound_record_passes() {
        assert_eq!(validate(&record(5)), Ok(()));
        assert_eq!(validate(&UndoRecord::default()), Ok(()));
    }

    #[test]
    fn paths_must_be_sorted_and_unique() {
        let mut swapped = record(3);
        swapped.changes.swap(0, 1);
        assert!(validate(&swapped).is_err());
        let mut long = record(2 * IN_A_ROW);
        assert_eq!(validate(&long), Ok(()));
        for at in [0, IN_A_ROW - 1, IN_A_ROW, long.changes.len() - 2] {
            long.changes.swap(at, at + 1);
            assert!(validate(&long).is_err(), "{at}");
            long.changes.swap(at, at + 1);
        }
        let mut twice = record(2);
        twice.changes[1] = twice.changes[0].clone();
        assert!(validate(&twice).is_err());
    }

    #[test]
    fn names_must_be_one_component() {
        for bad in [
            "", ".", "..", "/", "/a", "a/", "a/b", "../a", "./a", "a\0", "a\\b",
        ] {
            let record = UndoRecord {
                changes: vec![deleted("/a", bad, b"x")],
                ..UndoRecord::default()
            };
            assert!(validate(&record).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn states_that_contradict_themselves_are_refused() {
        let breaks: &[fn(&mut Change)] = &[
            |c| c.before = None,
            |c| c.before.as_mut().unwrap().mode = 0o10_0644,
            |c| c.before.as_mut().unwrap().kind = EntryKind::Directory,
            |c| c.before.as_mut().unwrap().kind = EntryKind::Symlink,
            |c| c.before.as_mut().unwrap().target = Some(b"x".to_vec()),
            |c| c.before.as_mut().unwrap().hash = Some(ContentHash::EMPTY),
            |c| c.before.as_mut().unwrap().modified.nanoseconds = 1_000_000_000,
            |c| c.before.as_mut().unwrap().device = Some(DeviceNumber { major: 1, minor: 3 }),
            |c| {
                c.before.as_mut().unwrap().xattrs.push(Xattr {
                    name: Vec::new(),
                    value: Vec::new(),
                });
            },
            |c| {
                c.before.as_mut().unwrap().xattrs.push(Xattr {
                    name: vec![b'x'; 256],
                    value: Vec::new(),
                });
            },
        ];
        for (index, spoil) in breaks.iter().enumerate() {
            let mut record = record(1);
            spoil(&mut record.changes[0]);
            assert!(validate(&record).is_err(), "case {index} was accepted");
        }
    }
}
