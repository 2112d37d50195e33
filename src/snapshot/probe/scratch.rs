//! A private directory to try things out in.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use crate::path::AbsPath;
use crate::sys::{Dir, Pinned};

/// A new directory of mode 0700, removed with all that is in it when dropped.
pub(super) struct Scratch {
    parent: Dir,
    name: OsString,
    dir: Dir,
}

impl Scratch {
    /// Makes one in the directory `parent` (absolute, no symbolic link in it).
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let parent = AbsPath::new(parent)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let parent = Dir::open(&parent)?;
        let name = OsString::from(format!(".deployx-probe-{:016x}", rand::random::<u64>()));
        parent.make_dir(&name)?;
        match parent.open_dir(&name) {
            Ok(dir) => Ok(Self { parent, name, dir }),
            Err(error) => {
                // The first error says more than a second one would.
                let _ = parent.remove_dir(&name);
                Err(error)
            }
        }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Makes a file in it.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        self.dir.create_file(OsStr::new(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cleared = self.dir.names().and_then(|names| {
            for name in names {
                if self.dir.unlink(&name).is_err() {
                    // Perhaps a flag forbids it.
                    Pinned::open(&self.dir, &name).and_then(|entry| entry.set_flags(0))?;
                    self.dir.unlink(&name)?;
                }
            }
            Ok(())
        });
        if let Err(error) = cleared.and_then(|()| self.parent.remove_dir(&self.name)) {
            tracing::warn!(%error, name = %self.name.display(), "a probe's directory is left");
        }
    }
}
