//! What the targets of a rollback are now.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::compose::{Composed, Target};
use super::cursor::{Cursor, Obstacle, obstacle};
use super::plan::LiveDir;
use crate::entry::{EntryKind, EntryState};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::seal::RecordedVolume;
use crate::sys::{Dir, Stat, hash_file, read_state};

/// Entries looked at by one thread in a row.
const PIECE: usize = 256;

/// What is found at a target's path.
#[derive(Debug, Clone)]
pub(crate) enum Sight {
    /// The entry, or nothing, in a directory that exists.
    Entry {
        live: Option<Box<EntryState>>,
        /// The directory that holds it.
        parent: Parent,
    },
    /// The way there is no directory any more.
    Blocked(Arc<Obstacle>),
    /// It cannot be looked at.
    Unreadable(String),
}

/// Where the directory that holds a target is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) device: u64,
    /// On another mount than the path of the scope that the target was found in: a mount has come
    /// in between.
    pub(crate) is_astray: bool,
}

/// The paths that each snapshot covered, with the mounts that these are on now.
pub(crate) struct Roots {
    scopes: Vec<Vec<(AbsPath, Depth, Option<u64>)>>,
}

impl Roots {
    /// Looks at every path of `scopes`.
    pub(crate) fn of(scopes: &[Vec<ScopePath>]) -> Self {
        let mount = |path: &AbsPath| {
            let stat = Dir::open_path(path).and_then(|dir| dir.stat_self()).ok()?;
            stat.mount
        };
        let look = |scope: &Vec<ScopePath>| {
            scope
                .iter()
                .map(|one| (one.path.clone(), one.depth, mount(&one.path)))
                .collect()
        };
        Self {
            scopes: scopes.iter().map(look).collect(),
        }
    }

    /// Whether what a snapshot found in `directory` was found on another mount than `mount`: walks
    /// stay on the mount of the path that they start at.
    fn is_astray(&self, snapshot: u32, directory: &AbsPath, mount: Option<u64>) -> bool {
        let scope = self.scopes.get(snapshot as usize);
        let root = scope
            .into_iter()
            .flatten()
            .filter(|(path, depth, _)| match depth {
                Depth::Entry => false,
                Depth::Children => path == directory,
                Depth::Tree => directory.starts_with(path),
            })
            .max_by_key(|(path, _, _)| path.to_bytes().len());
        root.is_some_and(|(_, _, on)| on.is_some() && mount.is_some() && *on != mount)
    }
}

/// A directory that was looked at before, with what is known of it for each snapshot.
struct Known {
    device: u64,
    mount: Option<u64>,
    astray: Vec<(u32, bool)>,
}

/// The live state of every target.
#[derive(Debug)]
pub(crate) struct View {
    /// One per target.
    pub(crate) sights: Vec<Sight>,
    /// The existing directories that hold targets, sorted by path.
    pub(crate) directories: Vec<LiveDir>,
}

/// Looks at every target; content is only read where the identity does not tell.
pub(crate) fn observe(targets: &[Target], roots: &Roots) -> View {
    let pieces: Vec<(Vec<Sight>, Vec<LiveDir>)> = targets
        .par_chunks(PIECE)
        .map(|piece| look_at(piece, roots))
        .collect();
    let mut view = View {
        sights: Vec::with_capacity(targets.len()),
        directories: Vec::new(),
    };
    for (sights, directories) in pieces {
        view.sights.extend(sights);
        view.directories.extend(directories);
    }
    view.directories.sort_by(|a, b| a.path.cmp(&b.path));
    view.directories.dedup_by(|a, b| a.path == b.path);
    view
}

fn look_at(targets: &[Target], roots: &Roots) -> (Vec<Sight>, Vec<LiveDir>) {
    let mut cursor = Cursor::default();
    let mut directories: HashMap<AbsPath, Known> = HashMap::new();
    let mut found = Vec::new();
    let mut blocked: Option<Arc<Obstacle>> = None;
    let mut sights = Vec::with_capacity(targets.len());
    for target in targets {
        if let Some(known) = blocked.as_ref().filter(|b| {
            // The obstacle itself is an entry that can be looked at.
            b.at != target.path && target.path.starts_with(&b.at)
        }) {
            sights.push(Sight::Blocked(Arc::clone(known)));
            continue;
        }
        sights.push(
            match look(target, roots, &mut cursor, &mut directories, &mut found) {
                Ok(sight) => sight,
                Err(e) => match target.path.parent().and_then(|p| obstacle(&p)) {
                    Some(what) => {
                        let what = Arc::new(what);
                        blocked = Some(Arc::clone(&what));
                        Sight::Blocked(what)
                    }
                    None => Sight::Unreadable(e.to_string()),
                },
            },
        );
    }
    (sights, found)
}

fn look(
    target: &Target,
    roots: &Roots,
    cursor: &mut Cursor,
    directories: &mut HashMap<AbsPath, Known>,
    found: &mut Vec<LiveDir>,
) -> io::Result<Sight> {
    let (Some(parent), Some(name)) = (target.path.parent(), target.path.name()) else {
        return look_at_root(cursor, &target.path);
    };
    let dir = cursor.dir(&parent)?;
    if !directories.contains_key(&parent) {
        let stat = dir.stat_self()?;
        found.push(live_dir(&parent, &stat));
        let known = Known {
            device: stat.identity.device,
            mount: stat.mount,
            astray: Vec::new(),
        };
        directories.insert(parent.clone(), known);
    }
    let live = live_state(dir, name, target)?;
    let holder = directories
        .get_mut(&parent)
        .map(|known| known.seen_by(target.newest, &parent, roots));
    Ok(Sight::Entry {
        live: live.map(Box::new),
        parent: holder.ok_or(io::ErrorKind::NotFound)?,
    })
}

impl Known {
    fn seen_by(&mut self, snapshot: u32, path: &AbsPath, roots: &Roots) -> Parent {
        let known = self.astray.iter().find(|(of, _)| *of == snapshot);
        let is_astray = if let Some((_, astray)) = known {
            *astray
        } else {
            let astray = roots.is_astray(snapshot, path, self.mount);
            self.astray.push((snapshot, astray));
            astray
        };
        Parent {
            device: self.device,
            is_astray,
        }
    }
}

fn look_at_root(cursor: &mut Cursor, root: &AbsPath) -> io::Result<Sight> {
    let dir = cursor.dir(root)?;
    let stat = dir.stat_self()?;
    let pinned = crate::sys::Pinned::of(&dir.fd())?;
    let mut state = EntryState::from_stat(&stat);
    state.xattrs = pinned.xattrs()?;
    state.flags = pinned.flags().unwrap_or(stat.flags);
    Ok(Sight::Entry {
        parent: Parent {
            device: state.identity.device,
            is_astray: false,
        },
        live: Some(Box::new(state)),
    })
}

fn live_dir(path: &AbsPath, stat: &Stat) -> LiveDir {
    LiveDir {
        path: path.clone(),
        device: stat.identity.device,
        inode: stat.identity.inode,
        modified: stat.modified,
        accessed: stat.accessed,
        flags: stat.flags,
    }
}

fn live_state(dir: &Dir, name: &OsStr, target: &Target) -> io::Result<Option<EntryState>> {
    let Some(stat) = dir.stat_opt(name)? else {
        return Ok(None);
    };
    let brief = EntryState::from_stat(&stat);
    if let Some(expected) = target
        .expected
        .as_deref()
        .filter(|e| e.same_version(&brief))
    {
        // Nothing was done to this inode since it was recorded.
        let mut state = expected.clone();
        state.accessed = brief.accessed;
        state.allocated = brief.allocated;
        return Ok(Some(state));
    }
    let mut state = match read_state(dir, name, &stat) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let comparable = [&target.expected, &target.desired]
        .into_iter()
        .flatten()
        .any(|known| known.is_file() && known.size == state.size);
    if state.kind == EntryKind::File && state.size > 0 && comparable {
        state.hash = Some(hash_file(&dir.open_file(name)?)?);
    }
    Ok(Some(state))
}

/// Names in the directory `path` for which `known` says no: how many, and the first three.
pub(crate) fn foreign_names(
    cursor: &mut Cursor,
    path: &AbsPath,
    known: impl Fn(&AbsPath) -> bool,
) -> io::Result<(usize, Vec<OsString>)> {
    let mut names = Vec::new();
    cursor.dir(path)?.for_each(|name, _| {
        if path.join(name).is_ok_and(|child| !known(&child)) {
            names.push(name.to_owned());
        }
    })?;
    names.sort_unstable();
    let count = names.len();
    names.truncate(3);
    Ok((count, names))
}

/// Rewrites recorded device ids to what the same volumes are called now.
///
/// A volume whose place is taken by another recorded one is not mounted: its entries get a device
/// id that nothing has.
pub(crate) fn map_devices(composed: &mut Composed) -> Devices {
    let mut maps: Vec<HashMap<u64, u64>> = Vec::new();
    let mut anchors = HashMap::new();
    for volumes in &composed.volumes {
        let mut map = HashMap::new();
        for volume in volumes {
            let now = *anchors
                .entry(volume.anchor.clone())
                .or_insert_with(|| device_of(volume));
            map.insert(volume.device, now);
        }
        let renamed: Vec<u64> = map
            .iter()
            .filter(|(was, now)| was != now && map.get(now) == Some(now))
            .map(|(was, _)| *was)
            .collect();
        for was in renamed {
            map.insert(was, NOWHERE);
        }
        maps.push(map);
    }
    for target in &mut composed.targets {
        let rename = |state: &mut Option<Box<EntryState>>, snapshot: u32| {
            if let Some(state) = state
                && let Some(now) = maps[snapshot as usize].get(&state.identity.device)
            {
                state.identity.device = *now;
            }
        };
        rename(&mut target.desired, target.oldest);
        rename(&mut target.expected, target.newest);
    }
    Devices {
        known: maps
            .into_iter()
            .map(|map| map.into_values().collect())
            .collect(),
    }
}

/// The device id of a volume that is not mounted.
const NOWHERE: u64 = u64::MAX;

/// The current device ids of each snapshot's volumes.
#[derive(Debug)]
pub(crate) struct Devices {
    known: Vec<Vec<u64>>,
}

impl Devices {
    /// Whether an entry that `recorded` says was on a device may be changed in a directory that is
    /// now on `device`.
    ///
    /// Some filesystems give files other device ids than directories; such ids are not among the
    /// recorded volumes, and then any of these will do.
    pub(crate) fn allow(&self, snapshot: u32, recorded: u64, device: u64) -> bool {
        let known = &self.known[snapshot as usize];
        if recorded == NOWHERE {
            false
        } else if known.is_empty() || known.contains(&recorded) {
            recorded == device
        } else {
            recorded == device || known.contains(&device)
        }
    }
}

/// The device that the volume's anchor is on now, or its nearest ancestor that still exists.
fn device_of(volume: &RecordedVolume) -> u64 {
    let mut at = Some(volume.anchor.clone());
    while let Some(path) = at {
        match Dir::open_path(&path).and_then(|dir| dir.stat_self()) {
            Ok(stat) => return stat.identity.device,
            Err(_) => at = path.parent(),
        }
    }
    volume.device
}
