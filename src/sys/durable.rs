//! Directories held by descriptor, and files in them that survive a power cut.
//!
//! A [`Directory`] is opened once, without following a symbolic link; everything in it is then
//! reached by one-component names relative to the descriptor, so that a path that is swapped later
//! redirects nothing.
//!
//! # Durability
//! [`Directory::replace`] writes a new file beside its target, syncs it, renames it over the target
//! and, where asked, syncs the directory. A reader sees the old or the new file, never a mixture. A
//! file whose sync failed is removed and never synced again: the kernel may have dropped its dirty
//! pages, and a second sync would then report success for lost data.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o700);
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);

/// The most levels that [`Directory::remove_tree`] descends.
const MAX_DEPTH: u32 = 32;

/// How often [`Directory::remove_tree`] tries to remove a directory that fills again.
const REMOVALS: usize = 8;

/// Tells one version of a file from the next: a file replaced by [`Directory::replace`] differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileVersion {
    /// Inode number.
    pub(crate) inode: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// When the content last changed, nanoseconds since the epoch.
    pub(crate) modified: i64,
    /// When content or metadata last changed, nanoseconds since the epoch.
    pub(crate) changed: i64,
}

/// Owner and permissions of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// Owner, as a number.
    pub(crate) uid: u32,
    /// The low 12 bits of the mode.
    pub(crate) mode: u32,
}

/// Whether a new file waits for stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The new file survives a power cut once it is committed.
    Durable,
    /// After a power cut there may be the old file, the new one, an empty one or one with zeros.
    Atomic,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    handle: File,
}

impl Directory {
    /// Opens the directory at `path`; fails where the last component is a symbolic link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_from(rustix::fs::CWD, path)
    }

    /// Opens the directory at `path`; fails where any component is a symbolic link.
    pub(crate) fn open_strictly(path: &crate::path::AbsPath) -> io::Result<Self> {
        let fd = std::os::fd::OwnedFd::from(super::Dir::open(path)?);
        Ok(Self {
            handle: File::from(fd),
        })
    }

    /// Opens the directory `name` in this one.
    pub(crate) fn open_at(&self, name: &str) -> io::Result<Self> {
        Self::open_from(&self.handle, name)
    }

    fn open_from<P: rustix::path::Arg>(
        parent: impl std::os::fd::AsFd,
        path: P,
    ) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, path, flags, Mode::empty())?;
        Ok(Self {
            handle: File::from(fd),
        })
    }

    /// Creates the directory `name` with mode 0700 and opens it; `AlreadyExists` where there is one.
    pub(crate) fn create_at(&self, name: &str) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.handle, name, DIRECTORY_MODE)?;
        self.open_at(name)
    }

    /// Opens the directory `name`, creating it where there is none.
    pub(crate) fn open_or_create_at(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = name.as_ref();
        match rustix::fs::mkdirat(&self.handle, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => Self::open_from(&self.handle, name),
            Err(error) => Err(error.into()),
        }
    }

    /// Another descriptor of this directory, independent for locks.
    pub(crate) fn reopen(&self) -> io::Result<File> {
        Ok(self.open_at(".")?.handle)
    }

    /// Owner and permissions.
    pub(crate) fn ownership(&self) -> io::Result<Ownership> {
        let stat = rustix::fs::fstat(&self.handle)?;
        Ok(Ownership {
            uid: stat.st_uid,
            mode: stat.st_mode & 0o7777,
        })
    }

    /// Calls `visit` with every name except `.` and `..`, in no particular order.
    pub(crate) fn each_name(&self, mut visit: impl FnMut(&CStr)) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                visit(name);
            }
        }
        Ok(())
    }

    /// Opens the regular file `name` for reading.
    pub(crate) fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        // Without NONBLOCK a planted FIFO would hold the caller up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.handle, name.as_ref(), flags, Mode::empty())?;
        let file = File::from(fd);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file",
            ));
        }
        Ok(file)
    }

    /// Reads the regular file `name`; refuses more than `limit` bytes before allocating.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.read_version(name, limit).map(|(bytes, _)| bytes)
    }

    /// Like [`read`](Self::read), with the version of the very file that was read.
    pub(crate) fn read_version(
        &self,
        name: &str,
        limit: u64,
    ) -> io::Result<(Vec<u8>, FileVersion)> {
        let file = self.open_file(name)?;
        let version = version(&rustix::fs::fstat(&file)?);
        if version.size > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} bytes, more than the {limit} expected", version.size),
            ));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(version.size as usize)?;
        file.take(limit).read_to_end(&mut bytes)?;
        Ok((bytes, version))
    }

    /// The version of the entry `name`; `None` where there is none.
    pub(crate) fn version(&self, name: impl AsRef<OsStr>) -> io::Result<Option<FileVersion>> {
        match rustix::fs::statat(&self.handle, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(version(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is an entry `name`.
    pub(crate) fn contains(&self, name: &str) -> io::Result<bool> {
        Ok(self.version(name)?.is_some())
    }

    /// Opens the file `name` for locking, creating it where there is none.
    pub(crate) fn open_lock(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, FILE_MODE)?.into())
    }

    /// Creates the file `name` with mode 0600; `AlreadyExists` where there is an entry.
    pub(crate) fn create_file(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, FILE_MODE)?.into())
    }

    /// Writes a new file that [`Staged::commit`] puts into its place; `write` fills it. It is called
    /// `temporary` until then: the caller sees to it that nobody else uses that name. A leftover
    /// of that name is replaced.
    pub(crate) fn stage<'a, T>(
        &'a self,
        temporary: &'a str,
        durability: Durability,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<(Staged<'a>, T)> {
        self.remove_file_if_present(temporary)?;
        let mut file = self.create_file(temporary)?;
        let staged = Staged {
            directory: self,
            temporary,
            durability,
            committed: false,
        };
        let value = write(&mut file)?;
        if durability == Durability::Durable {
            sync(&file)?;
        }
        Ok((staged, value))
    }

    /// Puts a new file in the place of `target`; see [`stage`](Self::stage).
    pub(crate) fn replace<T>(
        &self,
        temporary: &str,
        target: &str,
        durability: Durability,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let (staged, value) = self.stage(temporary, durability, write)?;
        staged.commit(target)?;
        Ok(value)
    }

    /// Renames the file `from` over `to`.
    pub(crate) fn rename(&self, from: &str, to: &str, durability: Durability) -> io::Result<()> {
        rustix::fs::renameat(&self.handle, from, &self.handle, to)?;
        if durability == Durability::Durable {
            self.sync()?;
        }
        Ok(())
    }

    /// Puts the directory's names on stable storage.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.handle)
    }

    /// Removes the entry `name`, which is not a directory. Gives whether there was one.
    pub(crate) fn remove_file_if_present(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.handle, name.as_ref(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory `name` with all that is in it, `last` of its own files at the end.
    /// Symbolic links are removed, never followed; a directory of another filesystem is an error.
    pub(crate) fn remove_tree(&self, name: &str, last: &str) -> io::Result<()> {
        let directory = match self.open_at(name) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let device = rustix::fs::fstat(&directory.handle)?.st_dev;
        // Whoever waits for the lock that is `last` may create it once more behind our back.
        for _ in 0..REMOVALS {
            directory.clear(Some(last), device, MAX_DEPTH)?;
            directory.remove_file_if_present(last)?;
            match rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::NOTEMPTY.into())
    }

    fn clear(&self, except: Option<&str>, device: u64, depth: u32) -> io::Result<()> {
        let mut names = Vec::new();
        self.each_name(|name| names.push(name.to_owned()))?;
        for name in names {
            if except.is_some_and(|except| except.as_bytes() == name.to_bytes()) {
                continue;
            }
            match rustix::fs::unlinkat(&self.handle, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) if self.is_directory(&name)? => {
                    self.clear_directory(&name, device, depth)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn clear_directory(&self, name: &CStr, device: u64, depth: u32) -> io::Result<()> {
        let inner = Self::open_from(&self.handle, name)?;
        if depth == 0 || rustix::fs::fstat(&inner.handle)?.st_dev != device {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a directory that is too deep or on another filesystem",
            ));
        }
        inner.clear(None, device, depth - 1)?;
        rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    fn is_directory(&self, name: &CStr) -> io::Result<bool> {
        let stat = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

/// A written file that is not in its place yet; removed when dropped.
#[must_use = "dropping it abandons the file"]
pub(crate) struct Staged<'a> {
    directory: &'a Directory,
    temporary: &'a str,
    durability: Durability,
    committed: bool,
}

impl Staged<'_> {
    /// Renames the file over `target`; on stable storage on return where it is to be durable.
    pub(crate) fn commit(mut self, target: &str) -> io::Result<()> {
        let handle = &self.directory.handle;
        rustix::fs::renameat(handle, self.temporary, handle, target)?;
        self.committed = true;
        if self.durability == Durability::Durable {
            self.directory.sync()?;
        }
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // Whoever abandons it has an error to report already; a leftover is replaced next time.
            let _ = self.directory.remove_file_if_present(self.temporary);
        }
    }
}

/// The user that this process acts as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether the open file or directory has no name any more.
pub(crate) fn is_unlinked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink == 0)
}

/// Whether opening a directory failed because something else, or a symbolic link, is in its place.
pub(crate) fn is_no_directory(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NOTDIR, Errno::LOOP]
        .map(|e| Some(e.raw_os_error()))
        .contains(&code)
}

fn version(stat: &rustix::fs::Stat) -> FileVersion {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000) + rest;
    FileVersion {
        inode: stat.st_ino,
        size: stat.st_size as u64,
        modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
        changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

/// Puts a file on stable storage.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::next()?;
    file.sync_all()
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;
