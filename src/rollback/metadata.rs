//! Gives entries metadata step by step, so that an interruption can happen between any two.

use super::fault::{Fault, Never, Trouble};
use crate::entry::{EntryKind, EntryState, Timestamp, flags};
use crate::sys::{Pinned, Stat};

/// Makes the metadata of a pinned entry that of `wanted`: owner, attributes, mode, times, flags,
/// in the order in which none undoes another.
///
/// Where a step fails, `previous` is put back, so that the entry is either as wanted or as it was.
pub(crate) fn change(
    pinned: &Pinned,
    wanted: &EntryState,
    previous: Option<&EntryState>,
    fault: &dyn Fault,
) -> Result<(), Trouble> {
    let result = set(pinned, wanted, fault);
    if let (Err(Trouble::Entry(_)), Some(previous)) = (&result, previous) {
        // The first error says why; a second one could not be acted on.
        let _ = set(pinned, previous, &Never);
    }
    result
}

fn set(pinned: &Pinned, wanted: &EntryState, fault: &dyn Fault) -> Result<(), Trouble> {
    let now = pinned.stat()?;
    let flagged = matches!(now.kind, EntryKind::File | EntryKind::Directory);
    // Read first: the wanted mode may forbid it.
    let mut current = if flagged {
        pinned.flags().unwrap_or(now.flags)
    } else {
        wanted.flags
    };
    if current & flags::LOCKING != 0 {
        fault.point()?;
        current &= !flags::LOCKING;
        pinned.set_flags(current)?;
    }
    let owned = (now.uid, now.gid) == (wanted.uid, wanted.gid);
    if !owned {
        fault.point()?;
        pinned.set_owner(wanted.uid, wanted.gid)?;
    }
    fault.point()?;
    pinned.set_xattrs(&wanted.xattrs)?;
    if wanted.kind != EntryKind::Symlink {
        fault.point()?;
        pinned.set_mode(wanted.mode)?;
    }
    fault.point()?;
    pinned.set_times(wanted.accessed, wanted.modified)?;
    if current != wanted.flags {
        fault.point()?;
        pinned.set_flags(wanted.flags)?;
    }
    match inexact(&pinned.stat()?, wanted) {
        Some(what) => Err(Trouble::Entry(what)),
        None => Ok(()),
    }
}

/// Gives a directory times, and the locking flags among `locks`, without touching the rest.
pub(crate) fn set_times(
    pinned: &Pinned,
    (accessed, modified): (Timestamp, Timestamp),
    locks: u32,
    fault: &dyn Fault,
) -> Result<(), Trouble> {
    let now = pinned.stat()?;
    let locks = locks & flags::LOCKING;
    if now.modified != modified {
        if now.flags & flags::LOCKING != 0 {
            fault.point()?;
            unlock(pinned)?;
        }
        fault.point()?;
        pinned.set_times(accessed, modified)?;
    }
    if locks != 0 && pinned.stat()?.flags & flags::LOCKING != locks {
        fault.point()?;
        lock(pinned, locks)?;
    }
    Ok(())
}

/// Takes the flags off that stop an entry from being changed.
pub(crate) fn unlock(pinned: &Pinned) -> Result<(), Trouble> {
    Ok(pinned.set_flags(pinned.flags()? & !flags::LOCKING)?)
}

/// Puts such flags back.
pub(crate) fn lock(pinned: &Pinned, locks: u32) -> Result<(), Trouble> {
    let found = pinned.flags()?;
    Ok(pinned.set_flags(found & !flags::LOCKING | locks & flags::LOCKING)?)
}

/// In what an entry that was just made is not as wanted. The system drops some mode bits without
/// an error.
pub(crate) fn inexact(now: &Stat, wanted: &EntryState) -> Option<String> {
    let mode = wanted.kind != EntryKind::Symlink && now.mode != wanted.mode;
    if mode {
        Some(format!(
            "the mode {:04o} cannot be set, only {:04o}",
            wanted.mode, now.mode
        ))
    } else if (now.uid, now.gid) != (wanted.uid, wanted.gid) {
        Some("the owner cannot be set".into())
    } else if now.modified != wanted.modified {
        Some("the modification time cannot be set".into())
    } else if now.size != wanted.size && wanted.is_file() {
        Some("the size differs".into())
    } else {
        None
    }
}
