//! Further names of files that changed and of which the scope holds only some.
//!
//! To restore such a file as the one inode it was, its other names must be known. The snapshot knows
//! them all; as with other strategies, those in the command's working directory are taken in.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{Paths, Roots, View};
use crate::entry::EntryKind;
use crate::error::{IoContext, Result, Stage};
use crate::infer::Depth;
use crate::path::AbsPath;
use crate::snapshot::Exclusions;
use crate::snapshot::tree::compare::Difference;
use crate::sys::btrfs;

/// What is known of further names.
#[derive(Default)]
pub(super) struct Further {
    /// Further paths of the scope, each with the number of its subvolume.
    pub(super) paths: Vec<(AbsPath, Depth, usize)>,
    /// What is said of names that stay outside.
    pub(super) note: Option<String>,
}

/// The names outside the scope of files that differ.
pub(super) fn further_names(
    views: &[View<'_>],
    roots: &Roots,
    exclusions: &Exclusions,
    differences: &BTreeMap<AbsPath, Difference>,
) -> Result<Further> {
    let mut outside: BTreeSet<(AbsPath, usize)> = BTreeSet::new();
    let mut parted: BTreeSet<AbsPath> = BTreeSet::new();
    let base = exclusions.base.as_ref();
    // Nobody asked for the whole filesystem.
    let base = base.filter(|base| base.parent().is_some());
    let mut paths: Vec<Paths<'_>> = views
        .iter()
        .map(|view| Paths::new(view.snapshot, view.root))
        .collect();
    let mut known: BTreeSet<(usize, u64)> = BTreeSet::new();
    for (path, difference) in differences {
        let Some(record) = &difference.before else {
            continue;
        };
        let identity = record.identity();
        let Some(covered) = roots.covering(path) else {
            continue;
        };
        let volume = covered.volume;
        if record.kind() == EntryKind::Directory
            || identity.links < 2
            || !known.insert((volume, identity.inode))
        {
            continue;
        }
        let context = || format!("cannot find the names of {path}");
        let names = btrfs::names_of(views[volume].snapshot, identity.inode)
            .context(Stage::Seal, context)?;
        for name in names {
            let name = paths[volume].name(&name).context(Stage::Seal, context)?;
            let Some(name) = name.filter(|name| roots.covering(name).is_none()) else {
                continue;
            };
            let left_alone = exclusions.covers(&name);
            if base.is_some_and(|base| name.starts_with(base)) && !left_alone {
                outside.insert((name, volume));
            } else {
                parted.insert(path.clone());
            }
        }
    }
    let mut further = Further {
        note: remark(&parted),
        ..Further::default()
    };
    let mut taken: BTreeSet<AbsPath> = BTreeSet::new();
    for (path, volume) in outside {
        let above = path
            .parent()
            .filter(|above| roots.covering(above).is_none());
        for path in above.into_iter().chain([path]) {
            if taken.insert(path.clone()) {
                further.paths.push((path, Depth::Entry, volume));
            }
        }
    }
    Ok(further)
}

/// What is said of files whose other names stay outside the scope.
fn remark(parted: &BTreeSet<AbsPath>) -> Option<String> {
    let first = parted.first()?;
    let others = match parted.len() {
        1 => String::new(),
        more => format!(" and {} more files", more - 1),
    };
    Some(format!(
        "{first}{others}: further names (hard links) are outside the scope, a rollback may part them"
    ))
}
