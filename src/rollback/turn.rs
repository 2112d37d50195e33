//! Where journals are, and whose turn it is to roll back.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::execute::Cancel;
use crate::path::AbsPath;
use crate::progress::{Event, Progress};
use crate::store::Store;
use crate::sys::Dir;

/// How long to wait for another rollback to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory of journals.
pub(super) fn open_journals(store: &Store) -> Result<Dir> {
    let path = store.rollback_dir();
    let context = || format!("cannot open {}", path.display());
    let checked = AbsPath::new(&path).map_err(|e| {
        Error::new(
            ErrorKind::InvalidRequest,
            Stage::Rollback,
            format!("{}: {e}", context()),
        )
    })?;
    Dir::open(&checked).context(Stage::Rollback, context)
}

/// The right to roll back: one rollback per store at a time. Ends when dropped, or with the
/// process.
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes it if no live process has it.
    pub(super) fn try_take(store: &Store) -> Result<Option<Turn>> {
        let path = store.rollback_dir().join("lock");
        let context = || format!("cannot lock {}", path.display());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context(Stage::Rollback, context)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Turn { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::io(Stage::Rollback, context(), e)),
        }
    }

    /// Waits for it.
    pub(super) fn wait(store: &Store, cancel: &Cancel, progress: &dyn Progress) -> Result<Turn> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            if let Some(turn) = Self::try_take(store)? {
                return Ok(turn);
            }
            if !std::mem::replace(&mut told, true) {
                progress.event(Event::Waiting {
                    reason: "another rollback is going on".into(),
                });
            }
            let (kind, why) = if cancel.is_cancelled() {
                (ErrorKind::Cancelled, "the rollback was cancelled")
            } else if begun.elapsed() > PATIENCE {
                (ErrorKind::Busy, "another rollback is still going on")
            } else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            return Err(Error::new(kind, Stage::Rollback, why));
        }
    }
}
