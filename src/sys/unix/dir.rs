//! Directory descriptors: the only way to reach entries.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::stat::{Stat, kind_of, stat_at};
use crate::entry::{DeviceNumber, EntryKind};
use crate::path::AbsPath;

/// How often a directory is looked for that is moved at the same time.
const MOVES: usize = 16;

/// Longest path given to one system call; longer ones are descended in steps.
const CHUNK: usize = 3_000;

/// A pinned directory. Operations take one name, which must not contain `/`, and never follow a
/// symbolic link of that name.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl From<OwnedFd> for Dir {
    /// A directory that is open already, by whatever means.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.fd
    }
}

impl Dir {
    /// Opens the directory at `path` for listing; fails with `ELOOP`/`ENOTDIR` when any component
    /// is a symbolic link. Works for paths of any length.
    pub fn open(path: &AbsPath) -> io::Result<Dir> {
        Self::open_with(path, OFlags::RDONLY)
    }

    /// Like [`open`](Self::open) but without the right to list it, so that search permission on
    /// its parents is enough.
    pub fn open_path(path: &AbsPath) -> io::Result<Dir> {
        Self::open_with(path, OFlags::PATH)
    }

    fn open_with(path: &AbsPath, access: OFlags) -> io::Result<Dir> {
        let root = rustix::fs::open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let relative = path.as_path().strip_prefix("/").unwrap_or(path.as_path());
        descend(root.as_fd(), relative, access)
    }

    /// Opens a directory beneath this one for listing. `relative` may have several components but
    /// no `..`; symbolic links are refused. An empty path opens this directory again.
    pub fn open_beneath(&self, relative: &Path) -> io::Result<Dir> {
        descend(self.fd.as_fd(), relative, OFlags::RDONLY)
    }

    /// Opens the directory `name` in this one for listing.
    pub fn open_dir(&self, name: &OsStr) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Dir {
            fd: rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?,
        })
    }

    /// The directory once more, with the right to list it.
    pub fn reopen(&self) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Dir {
            fd: rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?,
        })
    }

    /// Calls `each` with every name in the directory (not `.` and `..`), in the order in which the
    /// filesystem gives them, and the kind where the filesystem tells it.
    pub fn for_each(&self, mut each: impl FnMut(&OsStr, Option<EntryKind>)) -> io::Result<()> {
        // The position belongs to the descriptor: start over on each call.
        match rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)) {
            Ok(_) => list(self.fd.as_fd(), &mut each),
            // Opened without the right to list.
            Err(Errno::BADF) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
                list(fd.as_fd(), &mut each)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Every name in the directory, sorted.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        self.for_each(|name, _| names.push(name.to_owned()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// What is at `name`; a symbolic link is not followed.
    pub fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        stat_at(self.fd.as_fd(), one(name)?, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Like [`stat`](Self::stat), with `None` where there is nothing.
    pub fn stat_opt(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match self.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What this directory itself is.
    pub fn stat_self(&self) -> io::Result<Stat> {
        stat_at(self.fd.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH)
    }

    /// Opens the regular file `name` for reading. Refuses anything else, does not wait for fifos,
    /// and leaves the access time alone where the system allows that.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        self.open_file_with_stat(name).map(|(file, _)| file)
    }

    /// Like [`open_file`](Self::open_file), with what the opened file is.
    pub fn open_file_with_stat(&self, name: &OsStr) -> io::Result<(File, Stat)> {
        let file = self.open_content(name)?;
        let stat = Stat::of(&file)?;
        if stat.kind != EntryKind::File {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok((file, stat))
    }

    /// Like [`open_file`](Self::open_file), but leaves it to the caller to see whether it is a
    /// regular file.
    pub fn open_content(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let name = one(name)?;
        let fd = match rustix::fs::openat(&self.fd, name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner and the administrator may ask for O_NOATIME.
            Err(Errno::PERM) => rustix::fs::openat(&self.fd, name, flags, Mode::empty())?,
            other => other?,
        };
        Ok(File::from(fd))
    }

    /// Creates the file `name`, which must not exist, with mode 0600 for reading and writing.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(
            &self.fd,
            one(name)?,
            flags,
            Mode::RUSR | Mode::WUSR,
        )?))
    }

    /// Makes the directory `name` with mode 0700.
    pub fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, one(name)?, Mode::RWXU)?)
    }

    /// Makes the symbolic link `name`.
    pub fn make_symlink(&self, name: &OsStr, target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(
            OsStr::from_bytes(target),
            &self.fd,
            one(name)?,
        )?)
    }

    /// Makes a fifo, socket or device node with mode 0600.
    pub fn make_node(
        &self,
        name: &OsStr,
        kind: EntryKind,
        device: Option<DeviceNumber>,
    ) -> io::Result<()> {
        let file_type = match kind {
            EntryKind::Fifo => FileType::Fifo,
            EntryKind::Socket => FileType::Socket,
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            EntryKind::File | EntryKind::Directory | EntryKind::Symlink => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "not a device node",
                ));
            }
        };
        let device = device.map_or(0, |d| rustix::fs::makedev(d.major, d.minor));
        Ok(rustix::fs::mknodat(
            &self.fd,
            one(name)?,
            file_type,
            Mode::RUSR | Mode::WUSR,
            device,
        )?)
    }

    /// Gives the entry `from` in this directory the further name `to` in `to_dir`.
    pub fn link(&self, from: &OsStr, to_dir: &Dir, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            &self.fd,
            one(from)?,
            &to_dir.fd,
            one(to)?,
            AtFlags::empty(),
        )?)
    }

    /// Renames `from` to `to` in `to_dir`; what is there is replaced atomically.
    pub fn rename(&self, from: &OsStr, to_dir: &Dir, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.fd,
            one(from)?,
            &to_dir.fd,
            one(to)?,
        )?)
    }

    /// Renames `from` to `to` in `to_dir`; fails with `AlreadyExists` where something is there.
    pub fn rename_new(&self, from: &OsStr, to_dir: &Dir, to: &OsStr) -> io::Result<()> {
        let (from, to) = (one(from)?, one(to)?);
        match rustix::fs::renameat_with(&self.fd, from, &to_dir.fd, to, RenameFlags::NOREPLACE) {
            // Some filesystems cannot do this in one step.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to_dir.stat_opt(to)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                self.rename(from, to_dir, to)
            }
            other => Ok(other?),
        }
    }

    /// Removes the entry `name`, which is not a directory.
    pub fn unlink(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes the empty directory `name`.
    pub fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.fd,
            one(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Where the symbolic link `name` points.
    pub fn read_link(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, one(name)?, Vec::new())?.into_bytes())
    }

    /// Makes names in this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        Ok(rustix::fs::fsync(fd)?)
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn list(fd: BorrowedFd<'_>, each: &mut dyn FnMut(&OsStr, Option<EntryKind>)) -> io::Result<()> {
    let mut buffer = Vec::<u8>::with_capacity(32 * 1024);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(OsStr::from_bytes(name), kind_of(entry.file_type()));
        }
    }
    Ok(())
}

/// Refuses anything that is not one component, so that a name can never lead elsewhere.
pub(crate) fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    let lone = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
    if lone && !bytes.contains(&0) {
        Ok(name)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a single name",
        ))
    }
}

/// Opens `relative` beneath `base` in steps short enough for the system.
fn descend(base: BorrowedFd<'_>, relative: &Path, access: OFlags) -> io::Result<Dir> {
    let mut current: Option<OwnedFd> = None;
    let mut step = PathBuf::new();
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        match component {
            Component::Normal(name) => step.push(name),
            Component::CurDir => {}
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "not a path beneath",
                ));
            }
        }
        if components.peek().is_some() && step.as_os_str().len() > CHUNK {
            let from = current.as_ref().map_or(base, |fd| fd.as_fd());
            current = Some(open_step(from, &step, OFlags::PATH)?);
            step.clear();
        }
    }
    if step.as_os_str().is_empty() {
        step.push(".");
    }
    let from = current.as_ref().map_or(base, |fd| fd.as_fd());
    Ok(Dir {
        fd: open_step(from, &step, access)?,
    })
}

/// Opens a directory without following symbolic links in any component.
fn open_step(base: BorrowedFd<'_>, path: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(base, path, flags, Mode::empty(), resolve);
    // What was moved out of `base` on the way is refused like this; it is not there the next time.
    let moved = |result: &rustix::io::Result<OwnedFd>| matches!(result, Err(Errno::XDEV));
    let mut opened = open();
    for _ in 0..MOVES {
        if !moved(&opened) {
            break;
        }
        opened = open();
    }
    match opened {
        // One component at a time: before Linux 5.6, under some seccomp filters, and where a rename
        // raced with the resolution.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_by_component(base, path, access),
        other => Ok(other?),
    }
}

fn open_by_component(base: BorrowedFd<'_>, path: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let common = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut current = rustix::fs::openat(base, ".", OFlags::PATH | common, Mode::empty())?;
    for component in path.components() {
        if let Component::Normal(name) = component {
            current = rustix::fs::openat(&current, name, OFlags::PATH | common, Mode::empty())?;
        }
    }
    Ok(rustix::fs::openat(
        &current,
        ".",
        access | common,
        Mode::empty(),
    )?)
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, AbsPath) {
        let dir = tempfile::tempdir().unwrap();
        let path = AbsPath::new(dir.path().canonicalize().unwrap()).unwrap();
        (dir, path)
    }

    #[test]
    fn refuses_a_symlink_in_any_component() {
        let (_keep, root) = scratch();
        std::fs::create_dir_all(root.as_path().join("real/sub")).unwrap();
        std::os::unix::fs::symlink("real", root.as_path().join("link")).unwrap();
        let through = AbsPath::new(root.as_path().join("link/sub")).unwrap();
        assert!(Dir::open(&through).is_err());
        let last = AbsPath::new(root.as_path().join("link")).unwrap();
        assert!(Dir::open(&last).is_err());
        let dir = Dir::open(&root).unwrap();
        assert!(dir.open_beneath(Path::new("link/sub")).is_err());
        assert!(dir.open_beneath(Path::new("../x")).is_err());
        assert!(dir.open_beneath(Path::new("real/sub")).is_ok());
        assert!(dir.open_dir(OsStr::new("link")).is_err());
    }

    #[test]
    fn names_with_a_slash_are_refused() {
        let (_keep, root) = scratch();
        let dir = Dir::open(&root).unwrap();
        for bad in ["", ".", "..", "a/b", "/etc"] {
            assert!(dir.stat(OsStr::new(bad)).is_err(), "{bad:?} was accepted");
            assert!(
                dir.create_file(OsStr::new(bad)).is_err(),
                "{bad:?} was accepted"
            );
        }
    }

    #[test]
    fn reaches_directories_deeper_than_path_max() {
        let (_keep, root) = scratch();
        let mut dir = Dir::open(&root).unwrap();
        let mut path = root.as_path().to_path_buf();
        let name = OsString::from("d".repeat(200));
        for _ in 0..50 {
            dir.make_dir(&name).unwrap();
            dir = dir.open_dir(&name).unwrap();
            path.push(&name);
        }
        dir.create_file(OsStr::new("leaf")).unwrap();
        let deep = AbsPath::new(&path).unwrap();
        assert!(deep.to_bytes().len() > 10_000);
        assert_eq!(Dir::open(&deep).unwrap().names().unwrap(), ["leaf"]);
    }

    #[test]
    fn opening_a_fifo_as_a_file_fails_at_once() {
        let (_keep, root) = scratch();
        let dir = Dir::open(&root).unwrap();
        dir.make_node(OsStr::new("pipe"), EntryKind::Fifo, None)
            .unwrap();
        assert!(dir.open_file(OsStr::new("pipe")).is_err());
    }
}
