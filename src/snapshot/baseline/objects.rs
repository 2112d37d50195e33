//! The files that hold the baseline's content, one per live file, named by number.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::entry::ContentHash;
use crate::error::{IoContext, Result, Stage};
use crate::execute::Cancel;
use crate::path::AbsPath;
use crate::snapshot::unless_cancelled;
use crate::sys::Dir;

/// Objects in one directory.
const FAN_OUT: u64 = 1024;

/// Above this many new objects one flush of the whole volume is cheaper than one for each file.
const SYNC_EACH_BELOW: usize = 48;

/// How often the cancel flag is looked at while new objects are flushed.
const CANCEL_TICK: Duration = Duration::from_millis(20);

/// The directory of objects.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    root: PathBuf,
}

impl Objects {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&root)
            .context(Stage::Capture, || format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// Makes the directories for objects `first..first + count`.
    pub(super) fn prepare(&self, first: u64, count: u64) -> Result<()> {
        let (from, to) = (first / FAN_OUT, (first + count.max(1) - 1) / FAN_OUT);
        (from..=to).try_for_each(|number| {
            let path = self.directory(number);
            match std::fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
            .context(Stage::Capture, || format!("cannot make {}", path.display()))
        })
    }

    fn directory(&self, number: u64) -> PathBuf {
        self.root.join(number.to_string())
    }

    /// Makes new objects durable. Where `cancel` asks for the end meanwhile this is an error, and the
    /// system goes on alone.
    pub(super) fn sync(&self, serials: Vec<u64>, cancel: &Cancel) -> Result<()> {
        let objects = self.clone();
        let (done, outcome) = mpsc::channel();
        let flush = move || {
            // Nobody waits any more after a cancel.
            let _ = done.send(objects.flush(&serials));
        };
        let flushed = std::thread::Builder::new()
            .name("deployx-flush".into())
            .spawn(flush)
            .and_then(|_| {
                loop {
                    match outcome.recv_timeout(CANCEL_TICK) {
                        Ok(flushed) => return flushed.map(|()| true),
                        Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                            return Ok(false);
                        }
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => {
                            return Err(io::Error::other("the thread that flushes panicked"));
                        }
                    }
                }
            });
        let flushed = flushed.context(Stage::Capture, || {
            format!("cannot flush {}", self.root.display())
        })?;
        if flushed {
            return Ok(());
        }
        unless_cancelled(cancel)
    }

    fn flush(&self, serials: &[u64]) -> io::Result<()> {
        let root = File::open(&self.root)?;
        if serials.len() > SYNC_EACH_BELOW {
            return crate::sys::sync_volume(&root);
        }
        let mut directories = BTreeSet::new();
        for serial in serials {
            File::open(self.path(*serial))?.sync_all()?;
            directories.insert(serial / FAN_OUT);
        }
        for number in directories {
            File::open(self.directory(number))?.sync_all()?;
        }
        root.sync_all()
    }

    /// Where object `serial` is.
    pub(super) fn path(&self, serial: u64) -> PathBuf {
        self.directory(serial / FAN_OUT).join(serial.to_string())
    }

    /// The directory number and name of object `serial`.
    pub(super) fn place(serial: u64) -> (u64, OsString) {
        (serial / FAN_OUT, serial.to_string().into())
    }

    /// Gives object `serial` the further name `to`; copies it where a link is not possible.
    pub(super) fn place_at(&self, serial: u64, to: &Path) -> io::Result<()> {
        let from = self.path(serial);
        match std::fs::hard_link(&from, to) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Left by an earlier attempt to seal.
                std::fs::remove_file(to)?;
                self.place_at(serial, to)
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::TooManyLinks
                        | io::ErrorKind::CrossesDevices
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::Unsupported
                ) =>
            {
                let copy = File::create_new(to)?;
                crate::sys::copy_content(&File::open(&from)?, &copy)?;
                copy.sync_all()
            }
            other => other,
        }
    }

    /// The hash of what object `serial` holds.
    pub(super) fn hash(&self, serial: u64) -> io::Result<ContentHash> {
        crate::sys::hash_file(&File::open(self.path(serial))?)
    }

    /// Removes object `serial`; nothing happens where it is gone already.
    pub(super) fn remove(&self, serial: u64) {
        let _ = std::fs::remove_file(self.path(serial));
        if serial % FAN_OUT == FAN_OUT - 1 {
            // Only goes when it is empty.
            let _ = std::fs::remove_dir(self.directory(serial / FAN_OUT));
        }
    }
}

/// The directory of objects that was used last. A capture fills hundreds of them: holding all would
/// take more descriptors than a process may have.
pub(super) struct Shelf<'a> {
    objects: &'a Objects,
    last: Option<(u64, Dir)>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        Self {
            objects,
            last: None,
        }
    }

    /// The directory with this number, which was [prepared](Objects::prepare).
    pub(super) fn directory(&mut self, number: u64) -> io::Result<&Dir> {
        let opened = match self.last.take() {
            Some(last) if last.0 == number => last,
            _ => {
                let path = AbsPath::new(self.objects.directory(number));
                (number, Dir::open(&path.map_err(io::Error::other)?)?)
            }
        };
        Ok(&self.last.insert(opened).1)
    }
}
