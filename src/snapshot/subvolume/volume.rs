//! One subvolume of a capture, with its snapshot.

use std::io;
use std::path::PathBuf;

use super::locate::Site;
use super::shelf::{Kept, Shelf};
use super::token::VolumeToken;
use crate::entry::Timestamp;
use crate::error::{Error, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::{self, Dir, btrfs};

/// A subvolume and its state before.
pub(super) struct Volume {
    pub(super) mount_point: AbsPath,
    /// The subvolume's root.
    pub(super) root: AbsPath,
    pub(super) id: u64,
    pub(super) uuid: [u8; 16],
    pub(super) device: u64,
    /// No later than the snapshot.
    pub(super) taken: Timestamp,
    pub(super) kept: Kept,
}

impl Volume {
    /// Takes a snapshot of the subvolume of `site`, on stable storage on return.
    pub(super) fn take(site: &Site, shelf: &Shelf) -> io::Result<Self> {
        let live = Dir::open(&site.root)?;
        let info = btrfs::subvolume_of(&live)?;
        let taken = sys::system_clock();
        let volume = Self {
            mount_point: AbsPath::new(&*site.mount.mount_point).map_err(io::Error::other)?,
            root: site.root.clone(),
            id: info.id,
            uuid: info.uuid,
            device: live.stat_self()?.identity.device,
            taken,
            kept: shelf.take(&live)?,
        };
        match volume.shows(&site.directory) {
            Ok(true) => Ok(volume),
            other => {
                volume.let_go();
                other.and(Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!(
                        "{} is not where the subvolume has it: something is mounted above it",
                        site.directory
                    ),
                )))
            }
        }
    }

    /// Takes up the snapshot that a token names.
    pub(super) fn take_up(
        token: &VolumeToken,
        sibling: impl Fn(&AbsPath) -> Result<PathBuf>,
    ) -> Result<Self> {
        let context = || format!("the snapshot of {} cannot be used", token.root);
        let kept = Shelf::open(&sibling(&token.mount_point)?)
            .and_then(|shelf| shelf.take_up(&token.snapshot, token.snapshot_uuid))
            .context(Stage::Capture, context)
            .map_err(gone_for_good)?;
        Ok(Self {
            mount_point: token.mount_point.clone(),
            root: token.root.clone(),
            id: token.id,
            uuid: token.uuid,
            device: token.device,
            taken: token.taken,
            kept,
        })
    }

    pub(super) fn token(&self) -> VolumeToken {
        VolumeToken {
            mount_point: self.mount_point.clone(),
            root: self.root.clone(),
            id: self.id,
            uuid: self.uuid,
            device: self.device,
            taken: self.taken,
            snapshot: self.kept.name.clone(),
            snapshot_uuid: self.kept.info.uuid,
        }
    }

    /// Destroys the snapshot.
    pub(super) fn let_go(self) {
        let root = self.root;
        if let Err(error) = self.kept.destroy() {
            tracing::warn!(%root, %error, "a snapshot stays until it is swept");
        }
    }

    /// Whether the snapshot has a live directory where that is now.
    fn shows(&self, directory: &AbsPath) -> io::Result<bool> {
        let relative = directory
            .as_path()
            .strip_prefix(&self.root)
            .map_err(io::Error::other)?;
        let live = Dir::open_path(directory)?.stat_self()?.identity.inode;
        let kept = match self.kept.dir.open_beneath(relative) {
            Ok(dir) => dir.stat_self()?.identity.inode,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        Ok(live == kept)
    }
}

/// A snapshot that is damaged will not come back.
fn gone_for_good(error: Error) -> Error {
    let damaged = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::InvalidData);
    if damaged {
        error.with_kind(crate::error::ErrorKind::Corrupt)
    } else {
        error
    }
}
