//! Entries as they are after a command.

use std::ffi::OsStr;
use std::io;

use super::record::Stored;
use crate::entry::{ContentHash, EntryKind, EntryState};
use crate::path::AbsPath;
use crate::snapshot::tree::compare::read_after;
use crate::sys::{Dir, Stat, hash_file, read_open_state, read_state};

/// Looks at entries by their paths. Those in one directory are best asked for one after another.
#[derive(Default)]
pub(super) struct Looker {
    last: Option<(AbsPath, Option<Dir>)>,
}

impl Looker {
    /// What is at `path` now.
    pub(super) fn stat(&mut self, path: &AbsPath) -> io::Result<Option<Stat>> {
        match path.name() {
            None => Dir::open_path(path)?.stat_self().map(Some),
            Some(name) => match self.parent(path)? {
                Some(dir) => dir.stat_opt(name),
                None => Ok(None),
            },
        }
    }

    /// The whole state of the entry at `path`, which was just looked at; `None`: it is gone. The
    /// content of a file is hashed.
    pub(super) fn state(&mut self, path: &AbsPath, stat: &Stat) -> io::Result<Option<EntryState>> {
        if stat.kind == EntryKind::Directory {
            return found(
                Dir::open(path)
                    .or_else(|_| Dir::open_path(path))
                    .and_then(|dir| {
                        let stat = dir.stat_self()?;
                        read_open_state(&dir, &stat)
                    }),
            );
        }
        match (self.parent(path)?, path.name()) {
            (Some(dir), Some(name)) => found(read_after(dir, name, stat)),
            _ => Ok(None),
        }
    }

    /// The directory that holds `path`; `None` where there is none.
    pub(super) fn parent(&mut self, path: &AbsPath) -> io::Result<Option<&Dir>> {
        let Some(parent) = path.parent() else {
            return Ok(None);
        };
        if self.last.as_ref().is_none_or(|(known, _)| *known != parent) {
            let dir = match Dir::open_path(&parent) {
                Ok(dir) => Some(dir),
                Err(e) if is_absent(&e) => None,
                Err(e) => return Err(e),
            };
            self.last = Some((parent, dir));
        }
        Ok(self.last.as_ref().and_then(|(_, dir)| dir.as_ref()))
    }
}

/// The state of a file with the attributes and flags that it still has where it is kept.
pub(super) fn with_attributes(
    place: &Dir,
    stored: &Stored,
    was: &EntryState,
) -> io::Result<EntryState> {
    let name = stored.name();
    let name = OsStr::new(&name);
    let state = match place.open_file_with_stat(name) {
        Ok((file, stat)) => read_open_state(&file, &stat)?,
        Err(_) => read_state(place, name, &place.stat(name)?)?,
    };
    Ok(with_those_of(state, was))
}

/// What one look at a kept file tells of its content.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) hash: ContentHash,
    /// Whether no name elsewhere leads to it.
    pub(super) alone: bool,
    /// The name that it has in the snapshot already.
    pub(super) shelved: Option<String>,
}

/// As [`with_attributes`], and the content's hash where it is as long as it was: so that each of many
/// files is opened once.
pub(super) fn read_kept(
    place: &Dir,
    stored: &Stored,
    was: &EntryState,
) -> io::Result<(EntryState, Option<Reading>)> {
    let Ok((file, stat)) = place.open_file_with_stat(OsStr::new(&stored.name())) else {
        return Ok((with_attributes(place, stored, was)?, None));
    };
    let state = read_open_state(&file, &stat)?;
    let reading = if stat.size == was.size {
        Some(Reading {
            hash: hash_file(&file)?,
            alone: stat.identity.links == 1,
            shelved: None,
        })
    } else {
        None
    };
    Ok((with_those_of(state, was), reading))
}

fn with_those_of(state: EntryState, was: &EntryState) -> EntryState {
    EntryState {
        xattrs: state.xattrs,
        flags: state.flags,
        ..was.clone()
    }
}

/// Makes something of a name that an earlier attempt may have left, or a process that was killed.
pub(super) fn anew<T>(
    place: &Dir,
    name: &OsStr,
    make: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            place.unlink(name)?;
            make()
        }
        other => other,
    }
}

/// Nothing where the entry is gone.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether nothing is there, or cannot be because of what is above.
fn is_absent(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || [Some(libc::ENOTDIR), Some(libc::ELOOP)].contains(&code)
}
