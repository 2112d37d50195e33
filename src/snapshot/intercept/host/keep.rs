//! Keeping the content of files that are about to lose it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};

use super::resolve::{Spot, same};
use super::volumes::Volume;
use super::watch::{Watch, inode};
use crate::entry::{EntryKind, EntryState};
use crate::path::AbsPath;
use crate::snapshot::intercept::live::{anew, with_attributes};
use crate::snapshot::intercept::model::Was;
use crate::snapshot::intercept::record::{Inode, Kept, Record, Stored};
use crate::snapshot::tree::record::Unkept;
use crate::sys::{self, Dir, Stat, clone_content, copy_content};

/// What is about to happen to a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// One of its names goes.
    Gone,
    /// It is written to, or cut.
    Written,
    /// It is only added to.
    Grown,
}

impl Watch {
    /// Keeps the content of the file at a spot, which existed when the command began, unless it is
    /// kept already.
    pub(super) fn keep(
        &mut self,
        spot: &Spot,
        stat: &Stat,
        mount: u64,
        fate: Fate,
    ) -> io::Result<()> {
        if stat.kind != EntryKind::File {
            return Ok(());
        }
        let inode = inode(stat);
        let mut length = stat.size;
        // What was opened for adding to it may grow or shrink by whoever holds it open.
        let mut linkable = fate == Fate::Gone;
        let known = self.model.kept(inode);
        match (&known, fate) {
            (Some(Kept::Empty | Kept::Copy(_) | Kept::Lost(_)), _)
            | (Some(Kept::Link(_)), Fate::Gone)
            | (Some(Kept::Prefix(_)), Fate::Grown) => return Ok(()),
            (Some(Kept::Prefix(known)), _) => {
                length = *known;
                linkable = false;
            }
            (Some(Kept::Link(_)) | None, _) => {}
        }
        let kept = if length == 0 {
            Kept::Empty
        } else if fate == Fate::Grown {
            Kept::Prefix(length)
        } else {
            self.store(spot, stat, mount, (linkable, length))?
        };
        self.add(Record::Kept { inode, kept })?;
        if let Some(Kept::Link(stored)) = known {
            // A copy stands for it now; the file has one name less than with the link.
            self.flush();
            self.places[stored.place as usize].unlink(stored.name().as_ref())?;
        }
        // Such filesystems give a file another inode when it is changed, or gets another name.
        if self.volumes.renumbers(mount)
            && let Some(now) = spot.stat()?.filter(|now| !same(now, stat))
        {
            self.add(Record::Alias {
                inode,
                now: super::watch::inode(&now),
            })?;
        }
        Ok(())
    }

    /// Keeps a file whose only name goes as it is, with one record, where that is possible.
    pub(super) fn keep_whole(&mut self, spot: &Spot, stat: &Stat, mount: u64) -> io::Result<bool> {
        let inode = inode(stat);
        let (Some(path), Some(name)) = (self.slot(spot), &spot.name) else {
            return Ok(false);
        };
        let simple = stat.kind == EntryKind::File
            && stat.identity.links == 1
            && stat.size > 0
            && !self.model.was.contains_key(&path)
            && !self.model.is_old(inode)
            && !self.volumes.renumbers(mount);
        if !simple {
            return Ok(false);
        }
        self.touch_directory(spot)?;
        let stored = Stored {
            place: self.place(mount)?,
            number: self.model.number(),
        };
        let place = &self.places[stored.place as usize];
        let to = stored.name();
        let to = OsStr::new(&to);
        if anew(place, to, || spot.dir.link(name, place, to)).is_err() {
            return Ok(false);
        }
        self.add(Record::Went {
            path,
            state: Box::new(EntryState::from_stat(stat)),
            stored,
        })?;
        Ok(true)
    }

    /// Writes down attributes and flags of a file that is kept as it is, before they are changed by
    /// who has it open.
    pub(super) fn complete(&mut self, inode: Inode) -> io::Result<()> {
        let Some(path) = self.model.first_path(inode) else {
            return Ok(());
        };
        let Some(Was {
            state: Some(was),
            whole: Some(stored),
        }) = self.model.was.get(path)
        else {
            return Ok(());
        };
        let place = &self.places[stored.place as usize];
        let state = with_attributes(place, stored, was)?;
        let path = (**path).clone();
        self.add(Record::Was {
            path,
            state: Some(Box::new(state)),
        })
    }

    /// Stores the first `length` bytes: all of the file, by a link, where that may be.
    fn store(
        &mut self,
        spot: &Spot,
        stat: &Stat,
        mount: u64,
        (link, length): (bool, u64),
    ) -> io::Result<Kept> {
        let Some(name) = &spot.name else {
            return Ok(Kept::Lost("it has no name".into()));
        };
        let stored = Stored {
            place: self.place(mount)?,
            number: self.model.number(),
        };
        let place = &self.places[stored.place as usize];
        let to = stored.name();
        let to = OsStr::new(&to);
        if link && anew(place, to, || spot.dir.link(name, place, to)).is_ok() {
            return Ok(Kept::Link(stored));
        }
        let from = match spot.dir.open_file_with_stat(name) {
            Ok((from, found)) if same(&found, stat) => from,
            // It went meanwhile, by another hand.
            Ok(_) => return Ok(Kept::Lost("it was replaced meanwhile".into())),
            Err(_) => return Ok(lost(Unkept::Unreadable)),
        };
        let whole = length == stat.size;
        let copy = anew(place, to, || place.create_file(to))?;
        if whole && clone_content(&from, &copy)? {
            return Ok(Kept::Copy(stored));
        }
        if let Some(why) = self.refusal(&stored, stat.allocated.min(length), length) {
            self.places[stored.place as usize].unlink(to)?;
            return Ok(lost(why));
        }
        let copied = if whole {
            copy_content(&from, &copy).map(drop)
        } else {
            copy_beginning(&from, &copy, length)
        };
        match copied {
            Ok(()) => {
                self.copied += length;
                Ok(Kept::Copy(stored))
            }
            Err(error) => {
                self.places[stored.place as usize].unlink(to)?;
                Ok(Kept::Lost(format!("it could not be copied: {error}")))
            }
        }
    }

    /// Why this much must not be copied.
    fn refusal(&self, stored: &Stored, weight: u64, length: u64) -> Option<Unkept> {
        let limits = &self.begin.limits;
        if length > limits.max_file_bytes {
            return Some(Unkept::TooLarge);
        }
        let place = self.model.places.get(stored.place as usize);
        let free = place
            .and_then(|place| sys::space(place.as_path()).ok())
            .map_or(u64::MAX, |space| {
                let reserve = limits.min_free_bytes.min(space.total_bytes / 20);
                space.free_bytes.saturating_sub(reserve)
            });
        let room = limits.max_bytes.saturating_sub(self.copied).min(free);
        (weight > room).then_some(Unkept::NoRoom)
    }

    /// The place for content of a mount, made where there is none yet.
    fn place(&mut self, mount: u64) -> io::Result<u32> {
        if let (Volume::Followed(Some(place)), _) = self.volumes.of(mount) {
            return Ok(place);
        }
        let (path, dir) = self.volumes.make_place(mount, &self.begin)?;
        let place = match self.known_place(&path) {
            Some(known) => known,
            None => self.add_place(path, dir)?,
        };
        self.volumes.settle(mount, place);
        Ok(place)
    }

    fn known_place(&self, path: &AbsPath) -> Option<u32> {
        let at = self.model.places.iter().position(|known| known == path);
        at.map(|at| at as u32)
    }

    fn add_place(&mut self, directory: AbsPath, dir: Dir) -> io::Result<u32> {
        self.add(Record::Place { directory })?;
        self.places.push(dir);
        Ok((self.places.len() - 1) as u32)
    }
}

fn lost(why: Unkept) -> Kept {
    Kept::Lost(why.reason().to_owned())
}

fn copy_beginning(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut to = to;
    io::copy(&mut from.take(length), &mut to).map(drop)
}
