//! The checks by owner and mode.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::path::escape;
use crate::plugin::{Reason, Refusal};

/// How many symbolic links to directories are followed.
const MAX_LINKS: usize = 40;

/// Opens the plugin at `path`, an absolute one, for reading.
pub(in crate::plugin) fn open(path: &Path) -> Result<File, Refusal> {
    if !path.is_absolute() {
        return Err(refuse(path, "the path is not absolute"));
    }
    let mut walk = Walk::new()?;
    let mut ahead = components(path);
    if ahead.first().is_none_or(|name| name == "..") {
        return Err(refuse(path, "not a regular file"));
    }
    while let Some(name) = ahead.pop() {
        if ahead.is_empty() {
            return walk.file(&name);
        }
        if let Some(target) = walk.enter(&name)? {
            ahead.extend(components(&target));
        }
    }
    Err(refuse(path, "not a regular file"))
}

/// The names of a path, the last first.
fn components(path: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect();
    names.reverse();
    names
}

/// The way from the root down to the file; every directory on it was checked.
struct Walk {
    at: OwnedFd,
    path: PathBuf,
    links: usize,
}

impl Walk {
    fn new() -> Result<Self, Refusal> {
        let path = PathBuf::from("/");
        let at = rustix::fs::openat(CWD, "/", directory_flags(), Mode::empty())
            .map_err(|error| failed(&path, error))?;
        check_directory(&path, &stat(&path, &at)?)?;
        Ok(Self { at, path, links: 0 })
    }

    /// Goes into the directory `name`. Where it is a symbolic link, gives what it says instead,
    /// having gone back to the root where that is absolute.
    fn enter(&mut self, name: &OsStr) -> Result<Option<PathBuf>, Refusal> {
        let path = self.path.join(name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = rustix::fs::openat(&self.at, name, flags, Mode::empty())
            .map_err(|error| failed(&path, error))?;
        let stat = stat(&path, &entry)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                check_directory(&path, &stat)?;
                (self.at, self.path) = (entry, path);
                Ok(None)
            }
            FileType::Symlink => {
                check_owner(&path, &stat)?;
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(refuse(&path, "too many symbolic links"));
                }
                let target = rustix::fs::readlinkat(&entry, "", Vec::new())
                    .map_err(|error| failed(&path, error))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    let links = self.links;
                    *self = Self {
                        links,
                        ..Self::new()?
                    };
                }
                Ok(Some(target))
            }
            _ => Err(refuse(&path, "not a directory")),
        }
    }

    /// Opens the file `name` of the directory reached.
    fn file(self, name: &OsStr) -> Result<File, Refusal> {
        let path = self.path.join(name);
        // Without NONBLOCK, opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.at, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => return Err(refuse(&path, "a symbolic link is not accepted")),
            other => other.map_err(|error| failed(&path, error))?,
        };
        let stat = stat(&path, &file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refuse(&path, "not a regular file"));
        }
        check_owner(&path, &stat)?;
        if let Some(who) = writers(&stat) {
            return Err(refuse(&path, format!("the file is writable by {who}")));
        }
        Ok(File::from(file))
    }
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn stat(path: &Path, fd: &OwnedFd) -> Result<Stat, Refusal> {
    rustix::fs::fstat(fd).map_err(|error| failed(path, error))
}

fn check_directory(path: &Path, stat: &Stat) -> Result<(), Refusal> {
    check_owner(path, stat)?;
    let sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
    match writers(stat) {
        Some(who) if !sticky => Err(refuse(path, format!("the directory is writable by {who}"))),
        _ => Ok(()),
    }
}

fn check_owner(path: &Path, stat: &Stat) -> Result<(), Refusal> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid == 0 || stat.st_uid == user {
        return Ok(());
    }
    Err(refuse(
        path,
        format!(
            "owned by user {}, neither by root nor by the current user",
            stat.st_uid
        ),
    ))
}

/// Who else may write; an access list counts as the group.
fn writers(stat: &Stat) -> Option<&'static str> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.contains(Mode::WOTH) {
        Some("everybody")
    } else if mode.contains(Mode::WGRP) {
        Some("its group")
    } else {
        None
    }
}

fn refuse(path: &Path, what: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::File, format!("{}: {what}", escape(path)))
}

fn failed(path: &Path, error: Errno) -> Refusal {
    refuse(path, std::io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            set_mode(dir.path(), 0o755);
            let site = Self(dir);
            fs::create_dir(site.at("d")).unwrap();
            set_mode(&site.at("d"), 0o755);
            fs::write(site.at("d/f"), "content").unwrap();
            set_mode(&site.at("d/f"), 0o644);
            site
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn refusal(&self, name: &str) -> String {
            open(&self.at(name)).unwrap_err().message
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_of_ours_is_opened() {
        let site = Site::new();
        assert!(open(&site.at("d/f")).is_ok());
        assert!(open(&site.at("d/../d/./f")).is_ok());
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let site = Site::new();
        assert!(site.refusal("d").ends_with("not a regular file"));
        assert!(site.refusal("d/f/x").ends_with("f: not a directory"));
        assert!(site.refusal("d/none").contains("No such file"));
        assert!(site.refusal("none/f").contains("No such file"));
        rustix::fs::mknodat(CWD, site.at("p"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(site.refusal("p").ends_with("not a regular file"));
        for path in ["/", "/..", "relative"] {
            assert!(open(Path::new(path)).is_err());
        }
    }

    #[test]
    fn a_link_to_the_file_is_refused_and_a_link_to_its_directory_followed() {
        let site = Site::new();
        symlink("f", site.at("d/l")).unwrap();
        symlink(site.at("d"), site.at("absolute")).unwrap();
        symlink("d/../d", site.at("relative")).unwrap();
        symlink("circle", site.at("circle")).unwrap();
        assert!(
            site.refusal("d/l")
                .ends_with("a symbolic link is not accepted")
        );
        assert!(open(&site.at("absolute/f")).is_ok());
        assert!(open(&site.at("relative/f")).is_ok());
        assert!(
            site.refusal("circle/f")
                .ends_with("too many symbolic links")
        );
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let site = Site::new();
        set_mode(&site.at("d/f"), 0o646);
        assert!(
            site.refusal("d/f")
                .ends_with("f: the file is writable by everybody")
        );
        set_mode(&site.at("d/f"), 0o664);
        assert!(
            site.refusal("d/f")
                .ends_with("f: the file is writable by its group")
        );
        set_mode(&site.at("d/f"), 0o644);
        set_mode(&site.at("d"), 0o777);
        assert!(
            site.refusal("d/f")
                .ends_with("d: the directory is writable by everybody")
        );
        set_mode(&site.at("d"), 0o775);
        assert!(
            site.refusal("d/f")
                .ends_with("d: the directory is writable by its group")
        );
        set_mode(&site.at("d"), 0o1777);
        assert!(open(&site.at("d/f")).is_ok());
    }
}
