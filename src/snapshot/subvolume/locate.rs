//! Which subvolume holds a path.

use crate::path::AbsPath;
use crate::sys::{self, Dir, Stat, btrfs};

/// Where a path lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// The root of the subvolume.
    pub(super) root: AbsPath,
    /// Where the volume is mounted that shows the root.
    pub(super) mount: sys::Mount,
    /// The nearest directory at or above the path.
    pub(super) directory: AbsPath,
}

/// The subvolume that holds what is, or would be, at `path`; the reason where it cannot be used.
pub(super) fn locate(path: &AbsPath) -> Result<Site, String> {
    let (directory, stat) = nearest_directory(path)?;
    let on_btrfs = Dir::open_path(&directory).and_then(|dir| btrfs::is_btrfs(&dir));
    if !on_btrfs.map_err(|e| format!("cannot look at {directory}: {e}"))? {
        return Err("not on btrfs".into());
    }
    let root = subvolume_root(&directory, &stat)
        .ok_or("the root of its subvolume cannot be reached here: only a part of it is mounted")?;
    let mounts = sys::mounts().map_err(|e| format!("the mount table cannot be read: {e}"))?;
    let mount = sys::mount_of(root.as_path(), &mounts)
        .ok_or_else(|| format!("no volume holds {root}"))?
        .clone();
    Ok(Site {
        root,
        mount,
        directory,
    })
}

fn nearest_directory(path: &AbsPath) -> Result<(AbsPath, Stat), String> {
    let mut at = path.clone();
    loop {
        match Dir::open_path(&at).and_then(|dir| dir.stat_self()) {
            Ok(stat) => return Ok((at, stat)),
            Err(error) => {
                at = at
                    .parent()
                    .ok_or_else(|| format!("cannot look at {path}: {error}"))?;
            }
        }
    }
}

fn subvolume_root(directory: &AbsPath, stat: &Stat) -> Option<AbsPath> {
    let device = stat.identity.device;
    let mut at = directory.clone();
    let mut stat = *stat;
    while stat.identity.inode != btrfs::ROOT_INODE {
        at = at.parent()?;
        stat = Dir::open_path(&at).and_then(|dir| dir.stat_self()).ok()?;
        if stat.identity.device != device {
            return None;
        }
    }
    Some(at)
}
