//! The files that hold the baseline's content, one per live file, named by number.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::entry::ContentHash;
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::Dir;

/// Objects in one directory.
const FAN_OUT: u64 = 1024;

/// Above this many new objects one flush of the whole volume is cheaper than one for each file.
const SYNC_EACH_BELOW: usize = 48;

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

    /// Makes the directories for objects `first..first + count` and opens them.
    pub(super) fn prepare(&self, first: u64, count: u64) -> Result<Vec<(u64, Dir)>> {
        let (from, to) = (first / FAN_OUT, (first + count.max(1) - 1) / FAN_OUT);
        (from..=to)
            .map(|number| {
                let path = self.root.join(number.to_string());
                match std::fs::create_dir(&path) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                }
                .and_then(|()| {
                    let path = AbsPath::new(&*path).map_err(io::Error::other)?;
                    Ok((number, Dir::open(&path)?))
                })
                .context(Stage::Capture, || format!("cannot make {}", path.display()))
            })
            .collect()
    }

    /// Makes new objects durable.
    pub(super) fn sync(&self, dirs: &[(u64, Dir)], serials: &[u64]) -> Result<()> {
        let flush = || -> io::Result<()> {
            let root = File::open(&self.root)?;
            if serials.len() > SYNC_EACH_BELOW {
                return crate::sys::sync_volume(&root);
            }
            for serial in serials {
                File::open(self.path(*serial))?.sync_all()?;
            }
            for (_, dir) in dirs {
                dir.sync()?;
            }
            root.sync_all()
        };
        flush().context(Stage::Capture, || {
            format!("cannot flush {}", self.root.display())
        })
    }

    /// Where object `serial` is.
    pub(super) fn path(&self, serial: u64) -> PathBuf {
        self.root
            .join((serial / FAN_OUT).to_string())
            .join(serial.to_string())
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
            let _ = std::fs::remove_dir(self.root.join((serial / FAN_OUT).to_string()));
        }
    }
}
