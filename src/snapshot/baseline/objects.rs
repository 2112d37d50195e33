//! The files that hold the baseline's content, one per live file, named by number.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

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

/// Numbers taken by one capture. While the claim file is locked, its process lives.
pub(super) struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Objects {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(root.join("claims"))
            .context(Stage::Capture, || format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// Notes that objects `first..first + count` are being made, so that they can be removed if
    /// this process dies before the index knows them.
    pub(super) fn claim(&self, first: u64, count: u64) -> Result<Claim> {
        let path = self.root.join("claims").join(format!("{first}-{count}"));
        let make = || -> io::Result<Claim> {
            // Nobody may sweep between the two steps, after which the claim is known to be alive.
            let turn = File::create(self.sweeping())?;
            turn.lock_shared()?;
            let lock = File::create(&path)?;
            lock.try_lock().map_err(io::Error::from)?;
            Ok(Claim {
                path: path.clone(),
                _lock: lock,
            })
        };
        make().context(Stage::Capture, || {
            format!("cannot write {}", path.display())
        })
    }

    /// The file that is locked by who makes or sweeps claims.
    fn sweeping(&self) -> PathBuf {
        self.root.with_extension("lock")
    }

    /// Removes what captures left that died before the index knew their objects. `known` tells which
    /// of a range of objects the index does know: the capture may have died right after it told the
    /// index and before it removed the claim.
    pub(super) fn sweep(&self, known: impl Fn(u64, u64) -> Result<BTreeSet<u64>>) {
        // Who makes a claim now holds it; what is left over waits for the next start.
        let Ok(turn) = File::create(self.sweeping()) else {
            return;
        };
        if turn.try_lock().is_err() {
            return;
        }
        let Ok(claims) = std::fs::read_dir(self.root.join("claims")) else {
            return;
        };
        for claim in claims.flatten() {
            let name = claim.file_name();
            let range = name.to_str().and_then(|n| n.split_once('-'));
            let Some((Ok(first), Ok(count))) =
                range.map(|(f, c)| (f.parse::<u64>(), c.parse::<u64>()))
            else {
                continue;
            };
            let dead = File::open(claim.path()).is_ok_and(|file| file.try_lock().is_ok());
            if dead {
                let Ok(known) = known(first, count) else {
                    continue;
                };
                (first..first.saturating_add(count))
                    .filter(|serial| !known.contains(serial))
                    .for_each(|serial| self.remove(serial));
                let _ = std::fs::remove_file(claim.path());
            }
        }
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

    /// Removes object `serial`; nothing happens where it is gone already.
    pub(super) fn remove(&self, serial: u64) {
        let _ = std::fs::remove_file(self.path(serial));
        if serial % FAN_OUT == FAN_OUT - 1 {
            // Only goes when it is empty.
            let _ = std::fs::remove_dir(self.root.join((serial / FAN_OUT).to_string()));
        }
    }
}

impl Claim {
    /// The index knows the objects now.
    pub(super) fn settle(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
