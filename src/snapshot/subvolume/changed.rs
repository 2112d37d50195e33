//! What changed in a live subvolume since its snapshot.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;

use super::view::Paths;
use super::volume::Volume;
use crate::path::AbsPath;
use crate::snapshot::tree::focus::Focus;
use crate::sys::{Dir, btrfs};

/// Of a directory in which more files changed than this, everything is looked at, by several threads.
const SINGLE: usize = 16;

/// What a search found.
pub(super) struct Changes {
    /// The live subvolume's device.
    pub(super) device: u64,
    /// Every inode that changed.
    pub(super) inodes: HashSet<u64>,
    /// The directories among them, and those of which many files changed.
    pub(super) focus: Focus,
    /// Changed files of other directories, whose names are what they were.
    pub(super) single: Vec<AbsPath>,
    /// The directories among the inodes, each with its number.
    pub(super) directories: Vec<(AbsPath, u64)>,
    /// Directories that hold changed files, and did not change themselves.
    pub(super) holders: HashSet<AbsPath>,
    /// The subvolumes directly beneath it now.
    pub(super) nested: Vec<AbsPath>,
}

/// Searches the subvolume of `volume`; says why that cannot tell what changed.
pub(super) fn search(volume: &Volume) -> Result<Changes, String> {
    let failed = |e: io::Error| format!("cannot be searched ({e})");
    let live = Dir::open(&volume.root).map_err(|e| format!("is not there any more ({e})"))?;
    let stat = live.stat_self().map_err(failed)?;
    let info = btrfs::subvolume_of(&live).map_err(failed)?;
    if (info.id, info.uuid) != (volume.id, volume.uuid) || stat.identity.inode != btrfs::ROOT_INODE
    {
        return Err("is another one now".into());
    }
    btrfs::settle(&live).map_err(failed)?;
    let found = btrfs::changed_since(&live, volume.kept.info.created).map_err(failed)?;
    let mut changes = Changes {
        device: stat.identity.device,
        inodes: found.iter().map(|changed| changed.inode).collect(),
        focus: Focus::default(),
        single: Vec::new(),
        directories: Vec::new(),
        holders: HashSet::new(),
        nested: nested(&live, &volume.root, volume.id).map_err(failed)?,
    };
    let mut paths = Paths::new(&live, &volume.root);
    // Changed files by the directories that hold their names.
    let mut held: HashMap<u64, Vec<OsString>> = HashMap::new();
    for changed in found {
        if changed.is_directory {
            let path = paths.directory(changed.inode).map_err(failed)?;
            if let Some(path) = path {
                changes.focus.mark_directory(path.clone());
                changes.directories.push((path, changed.inode));
            }
            continue;
        }
        for name in changed.names {
            held.entry(name.directory).or_default().push(name.name);
        }
    }
    for (directory, names) in held {
        // Where names came or went, the directory changed and is looked at anyway.
        if changes.inodes.contains(&directory) {
            continue;
        }
        let Some(path) = paths.directory(directory).map_err(failed)? else {
            continue;
        };
        if names.len() > SINGLE {
            changes.focus.mark_directory(path.clone());
        } else {
            let files = names.iter().filter_map(|name| path.join(name).ok());
            changes.single.extend(files);
        }
        changes.holders.insert(path);
    }
    Ok(changes)
}

/// The subvolumes directly beneath the one with the root `live`, which is at `root`.
pub(super) fn nested(live: &Dir, root: &AbsPath, id: u64) -> io::Result<Vec<AbsPath>> {
    let nested = btrfs::nested_subvolumes(live, id)?;
    let paths = nested.into_iter();
    Ok(paths
        .filter_map(|path| AbsPath::new(root.as_path().join(path)).ok())
        .collect())
}
