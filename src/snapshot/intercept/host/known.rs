//! What earlier calls told of directories and of the threads that call: asking the system again for
//! each call takes longer than answering it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::resolve::path_of;
use crate::path::AbsPath;
use crate::snapshot::intercept::record::Inode;
use crate::sys::seccomp::{handle_of, take_descriptor};

/// So many directories are remembered at most.
const MOST_DIRECTORIES: usize = 512;
/// So many threads are.
const MOST_THREADS: usize = 64;

/// A directory, and what was found out about it.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: AbsPath,
    /// The mount that it was reached by, where that is known.
    pub(super) mount: Option<u64>,
    /// Where it was when the command began; `None` within: nowhere.
    pub(super) origin: OnceCell<Option<AbsPath>>,
    /// Whether names in it are left alone.
    pub(super) exempt: OnceCell<Exempt>,
    /// Whether its state is on record.
    pub(super) recorded: Cell<bool>,
}

/// Which names in a directory are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exempt {
    All,
    /// Some may be.
    Some,
    None,
}

impl Directory {
    pub(super) fn at(path: AbsPath, mount: Option<u64>) -> Rc<Self> {
        Rc::new(Self {
            path,
            mount,
            origin: OnceCell::new(),
            exempt: OnceCell::new(),
            recorded: Cell::new(false),
        })
    }
}

/// What tells a directory from every other one, also from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: (u32, u32),
    inode: u64,
    mount: u64,
    born: (i64, u32),
}

/// The directories that were met, as long as none of them can have been moved.
///
/// Whatever moves directories, or changes what lies where, is a call that is looked at before it is
/// carried out. From then on until it is known to be over nothing is remembered.
#[derive(Debug, Default)]
pub(super) struct Directories {
    known: RefCell<HashMap<Key, Rc<Directory>>>,
    suspended: Cell<bool>,
    expired: Cell<bool>,
}

impl Directories {
    /// The directory that is open.
    pub(super) fn of(&self, open: &OwnedFd) -> io::Result<Rc<Directory>> {
        let key = if self.suspended.get() || self.expired.get() {
            None
        } else {
            key_of(open)
        };
        let Some(key) = key else {
            return Ok(Directory::at(path_of(open)?, None));
        };
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let directory = Directory::at(path_of(open)?, Some(key.mount));
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST_DIRECTORIES {
            known.clear();
        }
        known.insert(key, Rc::clone(&directory));
        Ok(directory)
    }

    /// A directory is about to be moved.
    pub(super) fn suspend(&self) {
        self.known.borrow_mut().clear();
        self.suspended.set(true);
    }

    /// Every move of a directory is over.
    pub(super) fn resume(&self) {
        if self.suspended.replace(false) {
            self.known.borrow_mut().clear();
        }
    }

    /// Nothing is to be remembered any more: something may be moved, or be another root's, and it will
    /// not be known when that is over.
    pub(super) fn expire(&self) {
        self.known.borrow_mut().clear();
        self.expired.set(true);
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// Another command begins.
    pub(super) fn begin(&self) {
        self.known.borrow_mut().clear();
        self.suspended.set(false);
        self.expired.set(false);
    }
}

fn key_of(open: &OwnedFd) -> Option<Key> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID | StatxFlags::BTIME;
    let found = statx(
        open,
        "",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        wanted,
    )
    .ok()?;
    StatxFlags::from_bits_retain(found.stx_mask)
        .contains(wanted)
        .then_some(Key {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
            born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        })
}

/// Handles of the threads that called. One never leads to another thread, also when the number is
/// used again.
#[derive(Debug, Default)]
pub(super) struct Threads(RefCell<HashMap<u32, Rc<OwnedFd>>>);

impl Threads {
    /// The thread's descriptor of this number; `None` where it cannot be had in this way.
    ///
    /// It stands for the same open file as the thread's: it must be closed before the thread goes on,
    /// as a lock on that would last.
    pub(super) fn open(&self, thread: u32, number: i32) -> Option<OwnedFd> {
        let known = self.0.borrow().get(&thread).cloned();
        if let Some(handle) = known {
            if let Ok(taken) = take_descriptor(handle.as_fd(), number) {
                return Some(taken);
            }
            // The thread is gone, and its number is another's.
            self.0.borrow_mut().remove(&thread);
        }
        let handle = handle_of(thread).ok()?;
        let taken = take_descriptor(handle.as_fd(), number).ok()?;
        let mut handles = self.0.borrow_mut();
        if handles.len() >= MOST_THREADS {
            handles.clear();
        }
        handles.insert(thread, Rc::new(handle));
        Some(taken)
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// The files that the command made, as far as that is known: nothing of them has to be kept.
#[derive(Debug)]
pub(super) struct Made {
    /// Where each thread is about to make a file.
    asked: HashMap<u32, AbsPath>,
    inodes: HashSet<Inode>,
    /// When the command began.
    began: Duration,
}

impl Made {
    /// Of a command that begins now.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            asked: HashMap::new(),
            inodes: HashSet::new(),
            began: now.unwrap_or(Duration::MAX),
        }
    }

    /// The thread is about to make a file at `path`, where nothing is.
    pub(super) fn ask(&mut self, thread: u32, path: AbsPath) {
        self.asked.insert(thread, path);
    }

    /// Whether the command made the file that a thread has open. `is_old` says what is known to have
    /// been there before, and `may` whether numbers tell files apart on a mount.
    ///
    /// It is taken to be made where the thread asked last for a new file at its path, and it was born
    /// since the command began.
    pub(super) fn has(
        &mut self,
        thread: u32,
        open: &OwnedFd,
        is_old: impl Fn(Inode) -> bool,
        may: impl Fn(u64) -> bool,
    ) -> bool {
        let Some(key) = key_of(open).filter(|key| may(key.mount)) else {
            return false;
        };
        let device = rustix::fs::makedev(key.device.0, key.device.1);
        let inode = (device, key.inode);
        if self.inodes.contains(&inode) {
            return true;
        }
        let born = u64::try_from(key.born.0).map(|seconds| Duration::new(seconds, key.born.1));
        let asked = self.asked.remove(&thread);
        let made = asked.is_some()
            && born.is_ok_and(|born| born > self.began)
            && !is_old(inode)
            && path_of(open).ok() == asked;
        if made {
            self.inodes.insert(inode);
        }
        made
    }
}
