//! Where snapshots are kept while their captures last.
//!
//! Each snapshot has a random name, and beside it a file `<name>.claim` that the process which needs
//! it holds locked. A snapshot whose claim nobody holds is either needed to resume a capture, which
//! the tokens in the store tell, or left of a process that died: then it is destroyed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::path::AbsPath;
use crate::sys::{Dir, Stat, btrfs};

/// The shelf's name in the store's directory on a volume.
const SHELF: &str = "subvolumes";
/// Hexadecimal digits of a snapshot's name.
const NAME_DIGITS: usize = 32;
/// How long a claim may be held by somebody who only looks whether it is needed.
const WAIT: Duration = Duration::from_secs(10);

/// A store's directory of snapshots on one volume.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: Dir,
}

/// A snapshot that this process keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    /// The snapshot's root.
    pub(super) dir: Dir,
    pub(super) info: btrfs::Subvolume,
    shelf: Dir,
    /// Locked for as long as this value lives.
    _claim: File,
}

impl Shelf {
    /// The shelf in the store's directory `sibling` on a volume, made where it is missing.
    pub(super) fn open(sibling: &Path) -> io::Result<Self> {
        let path = AbsPath::new(sibling).map_err(io::Error::other)?;
        let sibling = Dir::open(&path)?;
        let name = OsStr::new(SHELF);
        match sibling.make_dir(name) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        Ok(Self {
            dir: sibling.open_dir(name)?,
        })
    }

    /// The shelf, where there is one.
    pub(super) fn open_existing(sibling: &Path) -> io::Result<Option<Self>> {
        let path = AbsPath::new(sibling).map_err(io::Error::other)?;
        match Dir::open(&path)?.open_dir(OsStr::new(SHELF)) {
            Ok(dir) => Ok(Some(Self { dir })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a snapshot of the subvolume whose root is `source`. On stable storage on return.
    pub(super) fn take(&self, source: &Dir) -> io::Result<Kept> {
        let name = format!("{:032x}", rand::random::<u128>());
        let claim = self.new_claim(&name)?;
        let taken = btrfs::create_snapshot(source, &self.dir, OsStr::new(&name))
            .and_then(|()| self.keep(name.clone(), claim));
        if taken.is_err() {
            // The first error says more than a second one would.
            let _ = btrfs::destroy_subvolume(&self.dir, OsStr::new(&name));
            let _ = self.dir.unlink(&claim_of(&name));
        }
        taken
    }

    /// Takes up the snapshot `name`, which an earlier process made.
    pub(super) fn take_up(&self, name: &str, uuid: [u8; 16]) -> io::Result<Kept> {
        if !is_name(name) {
            return Err(damaged("a name that no snapshot has"));
        }
        let claim = self.old_claim(name)?;
        let kept = self.keep(name.to_owned(), claim)?;
        if kept.info.uuid != uuid || !kept.info.read_only {
            return Err(damaged("another subvolume has its name"));
        }
        Ok(kept)
    }

    fn keep(&self, name: String, claim: File) -> io::Result<Kept> {
        let dir = self.dir.open_dir(OsStr::new(&name))?;
        if dir.stat_self()?.identity.inode != btrfs::ROOT_INODE {
            return Err(damaged("what has its name is no snapshot"));
        }
        let info = btrfs::subvolume_of(&dir)?;
        Ok(Kept {
            name,
            dir,
            info,
            shelf: self.dir.open_beneath(Path::new(""))?,
            _claim: claim,
        })
    }

    /// Destroys every snapshot that no living process keeps and that is not in `needed`, which is
    /// asked only where there are any; `None`: that is not known.
    pub(super) fn sweep(&self, needed: impl Fn() -> Option<Vec<String>>) -> io::Result<()> {
        let mut names: Vec<String> = self.dir.names()?.iter().filter_map(name_in).collect();
        names.dedup();
        for name in names {
            let claim = match self.dir.open_file(&claim_of(&name)) {
                Ok(claim) => Some(claim),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            if claim
                .as_ref()
                .is_some_and(|claim| claim.try_lock().is_err())
            {
                continue;
            }
            // Asked while the claim is held: whoever resumes the capture waits for it.
            if needed().is_none_or(|needed| needed.contains(&name)) {
                continue;
            }
            tracing::info!(name, "a snapshot that no capture needs is destroyed");
            match btrfs::destroy_subvolume(&self.dir, OsStr::new(&name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            if claim.is_some() {
                self.dir.unlink(&claim_of(&name))?;
            }
        }
        Ok(())
    }

    fn new_claim(&self, name: &str) -> io::Result<File> {
        loop {
            let claim = self.dir.create_file(&claim_of(name))?;
            claim.lock()?;
            // Somebody who swept between these two calls has removed it.
            if self.is_claim(&claim, name)? {
                return Ok(claim);
            }
        }
    }

    fn old_claim(&self, name: &str) -> io::Result<File> {
        let claim = self.dir.open_file(&claim_of(name))?;
        let begun = Instant::now();
        loop {
            match claim.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < WAIT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
        if self.is_claim(&claim, name)? {
            Ok(claim)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn is_claim(&self, claim: &File, name: &str) -> io::Result<bool> {
        let there = self.dir.stat_opt(&claim_of(name))?;
        let held = Stat::of(claim)?;
        Ok(there.is_some_and(|there| there.identity.inode == held.identity.inode))
    }
}

impl Kept {
    /// Destroys the snapshot.
    pub(super) fn destroy(self) -> io::Result<()> {
        drop(self.dir);
        btrfs::destroy_subvolume(&self.shelf, OsStr::new(&self.name))?;
        self.shelf.unlink(&claim_of(&self.name))
    }
}

fn claim_of(name: &str) -> OsString {
    format!("{name}.claim").into()
}

/// The snapshot that a name on the shelf belongs to.
fn name_in(entry: &OsString) -> Option<String> {
    let text = entry.to_str()?;
    let name = text.strip_suffix(".claim").unwrap_or(text);
    is_name(name).then(|| name.to_owned())
}

fn is_name(name: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == NAME_DIGITS && name.bytes().all(digit)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
