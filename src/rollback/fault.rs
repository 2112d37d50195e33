//! Points at which an apply can be stopped, so that tests can interrupt it everywhere.

use std::fmt;
use std::io;

/// The work stopped as if the process had died: nothing was tidied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// Is asked between any two changes of the disk.
pub(crate) trait Fault: Sync {
    /// `Err` stops the work here, now and for good.
    fn point(&self) -> Result<(), Interrupted>;
}

/// Never stops anything.
#[derive(Debug)]
pub(crate) struct Never;

impl Fault for Never {
    fn point(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// Why one entry was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Everything stops.
    Interrupted,
    /// This entry is left; the sentence says why.
    Entry(String),
}

impl From<Interrupted> for Trouble {
    fn from(_: Interrupted) -> Self {
        Trouble::Interrupted
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Entry(explain(&error))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Interrupted => f.write_str("interrupted"),
            Trouble::Entry(reason) => f.write_str(reason),
        }
    }
}

/// The system's message with what it means for whoever wants the entry restored.
pub(crate) fn explain(error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::ResourceBusy => "it is a mount point or in use by the system",
        io::ErrorKind::ReadOnlyFilesystem => "the filesystem is mounted read-only",
        io::ErrorKind::StorageFull => "free some space and roll back again",
        io::ErrorKind::QuotaExceeded => "the quota is used up",
        io::ErrorKind::PermissionDenied => {
            "this user may not do that; roll back as the user who ran the command"
        }
        io::ErrorKind::DirectoryNotEmpty => "entries appeared in it while rolling back",
        io::ErrorKind::AlreadyExists => "an entry of that name appeared while rolling back",
        io::ErrorKind::TooManyLinks => "the file has as many names as the filesystem allows",
        _ => return error.to_string(),
    };
    format!("{error} ({hint})")
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Fault, Interrupted};

    /// Stops after a number of points.
    pub(crate) struct After {
        left: AtomicU64,
        passed: AtomicU64,
    }

    impl After {
        pub(crate) fn new(points: u64) -> Self {
            Self {
                left: AtomicU64::new(points),
                passed: AtomicU64::new(0),
            }
        }

        /// How many points were passed.
        pub(crate) fn passed(&self) -> u64 {
            self.passed.load(Ordering::SeqCst)
        }
    }

    impl Fault for After {
        fn point(&self) -> Result<(), Interrupted> {
            self.left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .map_err(|_| Interrupted)?;
            self.passed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
}
