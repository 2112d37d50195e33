//! From a system call to what it may change.

use std::io;

use super::keep::Fate;
use super::resolve::{Caller, PATH, Spot};
use super::watch::{Watch, inode};
use crate::entry::EntryKind;
use crate::snapshot::intercept::record::{Moving, Record};
use crate::sys::Stat;
use crate::sys::seccomp::{Asked, Call, read_bytes, read_c_string};

const HERE: i32 = libc::AT_FDCWD;

impl Watch {
    /// Saves what the call may change. An error means that what it names cannot be found here; then
    /// the call fails in most cases.
    pub(super) fn before(
        &mut self,
        call: &Call,
        asked: Asked,
        caller: Caller<'_>,
    ) -> io::Result<()> {
        self.settle(Some(call.thread), caller.directories)?;
        let a = &call.arguments;
        let dir = |at: usize| a[at] as i32;
        let path = |at: usize| read_c_string(call.thread, a[at], PATH);
        match asked {
            Asked::Open => self.open(caller, HERE, &path(0)?, a[1]),
            Asked::Create => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                self.open(caller, HERE, &path(0)?, flags as u64)
            }
            Asked::OpenAt => self.open(caller, dir(0), &path(1)?, a[2]),
            Asked::OpenAt2 => {
                let flags = u64::from_ne_bytes(read_bytes(call.thread, a[2])?);
                self.open(caller, dir(0), &path(1)?, flags)
            }
            Asked::Truncate => {
                let spot = caller.spot(HERE, &path(0)?, true)?;
                self.content(&spot, Fate::Written)
            }
            Asked::ChangeOpen | Asked::AppendOff => self.content_of_open(caller, a[0]),
            Asked::Remove => self.remove(&caller.spot(HERE, &path(0)?, false)?),
            Asked::RemoveAt => self.remove(&caller.spot(dir(0), &path(1)?, false)?),
            Asked::Rename => {
                let (from, to) = (path(0)?, path(1)?);
                self.rename(caller, (HERE, &from), (HERE, &to), 0)
            }
            Asked::RenameAt { flags } => {
                let (from, to) = (path(1)?, path(3)?);
                let flags = if flags { a[4] as u32 } else { 0 };
                self.rename(caller, (dir(0), &from), (dir(2), &to), flags)
            }
            Asked::Link => {
                let from = caller.spot(HERE, &path(0)?, false);
                self.link(from, &caller.spot(HERE, &path(1)?, false)?)
            }
            Asked::LinkAt => {
                let (from, flags) = (path(1)?, a[4] as i32);
                let from = if from.is_empty() {
                    caller.spot_of(dir(0))
                } else {
                    caller.spot(dir(0), &from, flags & libc::AT_SYMLINK_FOLLOW != 0)
                };
                self.link(from, &caller.spot(dir(2), &path(3)?, false)?)
            }
            Asked::Symlink => self.create(&caller.spot(HERE, &path(1)?, false)?, false),
            Asked::SymlinkAt => self.create(&caller.spot(dir(1), &path(2)?, false)?, false),
            Asked::MakeNode => self.create(&caller.spot(HERE, &path(0)?, false)?, false),
            Asked::MakeNodeAt => self.create(&caller.spot(dir(0), &path(1)?, false)?, false),
            Asked::MakeDirectory => self.create(&caller.spot(HERE, &path(0)?, false)?, true),
            Asked::MakeDirectoryAt => self.create(&caller.spot(dir(0), &path(1)?, false)?, true),
            Asked::Metadata => self.metadata(&caller.spot(HERE, &path(0)?, true)?),
            Asked::MetadataOfLink => self.metadata(&caller.spot(HERE, &path(0)?, false)?),
            Asked::MetadataAt { flags } => {
                // Without a path the descriptor itself is meant.
                let path = if a[1] == 0 { Vec::new() } else { path(1)? };
                if path.is_empty() {
                    return self.metadata_of_open(caller, a[0]);
                }
                let flags = flags.map_or(0, |at| a[at] as i32);
                let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
                self.metadata(&caller.spot(dir(0), &path, follow)?)
            }
            Asked::MetadataOfOpen => self.metadata_of_open(caller, a[0]),
            Asked::Control => {
                self.content_of_open(caller, a[0])?;
                self.metadata_of_open(caller, a[0])
            }
            Asked::Bind => self.bind(call, caller),
            Asked::Connect => self.connect(call, caller),
            Asked::ChangeRoot => {
                caller.directories.expire();
                Ok(())
            }
            Asked::Mount => {
                caller.directories.expire();
                self.note(
                    "the command mounted or unmounted filesystems: that itself is not taken back"
                        .into(),
                )
            }
            Asked::OwnListener => self.meet_listener(),
        }
    }

    fn open(&mut self, caller: Caller<'_>, dir: i32, path: &[u8], flags: u64) -> io::Result<()> {
        let flags = flags as i32;
        let has = |bits: i32| flags & bits == bits;
        if has(libc::O_TMPFILE) || has(libc::O_PATH) {
            return Ok(());
        }
        let access = flags & libc::O_ACCMODE;
        let writes = access != libc::O_RDONLY || has(libc::O_TRUNC);
        let follow = !has(libc::O_NOFOLLOW) && !has(libc::O_CREAT | libc::O_EXCL);
        let spot = caller.spot(dir, path, follow)?;
        match spot.stat()? {
            None if has(libc::O_CREAT) => {
                self.create_absent(&spot, false)?;
                if let Some(path) = spot.path() {
                    self.made.ask(caller.thread, path);
                }
                Ok(())
            }
            Some(stat) if stat.kind == EntryKind::File && writes => {
                // What may be mapped can be written anywhere.
                let appends =
                    access == libc::O_WRONLY && has(libc::O_APPEND) && !has(libc::O_TRUNC);
                let fate = if appends { Fate::Grown } else { Fate::Written };
                self.content_at(&spot, &stat, fate)
            }
            // What is written into a pipe moves its times.
            Some(stat) if stat.kind == EntryKind::Fifo && writes => self.metadata(&spot),
            _ => Ok(()),
        }
    }

    /// The content of the file at a spot is about to change.
    fn content(&mut self, spot: &Spot, fate: Fate) -> io::Result<()> {
        match spot.stat()? {
            Some(stat) => self.content_at(spot, &stat, fate),
            None => Ok(()),
        }
    }

    pub(super) fn content_at(&mut self, spot: &Spot, stat: &Stat, fate: Fate) -> io::Result<()> {
        let Some(mount) = self.mount_followed(spot, Some(stat))? else {
            return Ok(());
        };
        if self.touch(spot, Some(stat))? {
            self.keep(spot, stat, mount, fate)?;
        }
        Ok(())
    }

    fn content_of_open(&mut self, caller: Caller<'_>, descriptor: u64) -> io::Result<()> {
        if self.has_made(caller, descriptor) {
            return Ok(());
        }
        match Self::spot_of_open(caller, descriptor)? {
            Some((spot, stat)) if stat.kind == EntryKind::File => {
                self.content_at(&spot, &stat, Fate::Written)
            }
            _ => Ok(()),
        }
    }

    fn remove(&mut self, spot: &Spot) -> io::Result<()> {
        let Some(stat) = spot.stat()? else {
            return Ok(());
        };
        let Some(mount) = self.mount_followed(spot, Some(&stat))? else {
            return Ok(());
        };
        if !self.keep_whole(spot, &stat, mount)? && self.touch(spot, Some(&stat))? {
            self.keep(spot, &stat, mount, Fate::Gone)?;
        }
        Ok(())
    }

    /// Something comes into being at a spot, unless it is there.
    fn create(&mut self, spot: &Spot, directory: bool) -> io::Result<()> {
        match spot.stat()? {
            Some(_) => Ok(()),
            None => self.create_absent(spot, directory),
        }
    }

    /// Something comes into being at a spot, where nothing is.
    fn create_absent(&mut self, spot: &Spot, directory: bool) -> io::Result<()> {
        if self.mount_followed(spot, None)?.is_none() {
            return Ok(());
        }
        self.touch(spot, None)?;
        match spot.path().filter(|_| directory) {
            Some(path) if self.model.territory.origin(&path).is_some() => {
                self.add(Record::Fresh { path })
            }
            _ => Ok(()),
        }
    }

    fn metadata(&mut self, spot: &Spot) -> io::Result<()> {
        match spot.stat()? {
            Some(stat) if self.mount_followed(spot, Some(&stat))?.is_some() => {
                self.touch(spot, Some(&stat)).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn metadata_of_open(&mut self, caller: Caller<'_>, descriptor: u64) -> io::Result<()> {
        if self.has_made(caller, descriptor) {
            return Ok(());
        }
        match Self::spot_of_open(caller, descriptor)? {
            Some((spot, _)) => self.metadata(&spot),
            None => {
                let stat = Stat::of(&caller.descriptor(descriptor as i32)?)?;
                self.complete(inode(&stat))
            }
        }
    }

    /// Whether the command itself made the file that is open.
    fn has_made(&mut self, caller: Caller<'_>, descriptor: u64) -> bool {
        let open = caller.threads.open(caller.thread, descriptor as i32);
        open.is_some_and(|open| {
            let is_old = |inode| self.model.is_old(inode);
            let may = |mount| self.volumes.tells_apart(mount);
            self.made.has(caller.thread, &open, is_old, may)
        })
    }

    fn link(&mut self, from: io::Result<Spot>, to: &Spot) -> io::Result<()> {
        // A file without a name may get one.
        if let Ok(from) = from {
            self.metadata(&from)?;
        }
        self.create(to, false)
    }

    fn rename(
        &mut self,
        caller: Caller<'_>,
        from: (i32, &[u8]),
        to: (i32, &[u8]),
        flags: u32,
    ) -> io::Result<()> {
        let done = self.rename_looked_at(caller, from, to, flags);
        if done.is_err() {
            // A directory may be moved all the same, and nobody will tell when.
            caller.directories.expire();
        }
        done
    }

    fn rename_looked_at(
        &mut self,
        caller: Caller<'_>,
        from: (i32, &[u8]),
        to: (i32, &[u8]),
        flags: u32,
    ) -> io::Result<()> {
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let from = caller.spot(from.0, from.1, false)?;
        let to = caller.spot(to.0, to.1, false)?;
        let Some(stat) = from.stat()? else {
            return Ok(());
        };
        let is_directory = |stat: &Stat| stat.kind == EntryKind::Directory;
        let (Some(from_mount), Some(to_mount)) = (
            self.mount_followed(&from, Some(&stat))?,
            self.mount_followed(&to, None)?,
        ) else {
            // From or to what is left alone: on this side it is a removal, or a creation.
            if is_directory(&stat) || exchange {
                caller.directories.expire();
            }
            if is_directory(&stat)
                && let Some(path) = from.path()
            {
                let reason = "moved from or to where changes are not followed".to_owned();
                self.miss(path, reason)?;
            }
            self.remove(&from)?;
            return match to.stat()? {
                Some(_) => self.remove(&to),
                None => self.create(&to, false),
            };
        };
        self.touch(&from, Some(&stat))?;
        let target = to.stat()?;
        let target_old = self.touch(&to, target.as_ref())?;
        if let Some(target) = &target
            && target_old
            && !exchange
            && flags & libc::RENAME_NOREPLACE == 0
            && inode(target) != inode(&stat)
        {
            self.keep(&to, target, to_mount, Fate::Gone)?;
        }
        if from_mount != to_mount {
            // Not possible, and not tried by the system.
            return Ok(());
        }
        let exchanged = target.filter(|_| exchange);
        if !is_directory(&stat) && !exchanged.as_ref().is_some_and(is_directory) {
            // Files are found by their inode afterwards.
            return Ok(());
        }
        caller.directories.suspend();
        let (Some(from), Some(to)) = (from.path(), to.path()) else {
            caller.directories.expire();
            return Ok(());
        };
        self.add(Record::Moving(Moving {
            serial: self.model.serial(),
            thread: caller.thread,
            from,
            to,
            inode: inode(&stat),
            is_directory: is_directory(&stat),
            exchanged: exchanged.map(|one| (inode(&one), is_directory(&one))),
        }))
    }

    /// A socket may get a name in the filesystem.
    fn bind(&mut self, call: &Call, caller: Caller<'_>) -> io::Result<()> {
        let [_, address, length, ..] = call.arguments;
        let family = u16::from_ne_bytes(read_bytes(call.thread, address)?);
        if i32::from(family) != libc::AF_UNIX || length <= 3 {
            return Ok(());
        }
        match socket_name(call.thread, address, length)? {
            name if name.is_empty() => Ok(()),
            name => self.create(&caller.spot(HERE, &name, false)?, false),
        }
    }
}

/// The name in the address of a local socket; empty: it is none of the filesystem.
pub(super) fn socket_name(thread: u32, address: u64, length: u64) -> io::Result<Vec<u8>> {
    let most = (length as usize).saturating_sub(2).min(108);
    let mut name = read_c_string(thread, address + 2, most)
        .or_else(|_| read_bytes::<1>(thread, address + 2).map(|_| Vec::new()))?;
    name.truncate(most);
    Ok(name)
}
