//! Makes the rules' answer fit for a walk: physical paths, parents added, overlaps removed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::snapshot::select::{NONE, Volume};
use crate::snapshot::tree::is_parting;
use crate::store::StrategyUse;
use crate::sys::{self, Dir, Mount};

/// Prepares `paths`: resolves symbolic links in their directory parts, leaves out what lies on
/// pseudo filesystems or in `excluded`, adds the directories above (their times change when entries
/// in them come and go), and removes what lies within another tree.
pub(super) fn prepare(
    paths: Vec<ScopePath>,
    mounts: &[Mount],
    excluded: &[AbsPath],
) -> Vec<ScopePath> {
    let mut all: Vec<ScopePath> = Vec::with_capacity(paths.len() * 2);
    for path in paths {
        let Some(path) = physical(path) else { continue };
        let within_store = excluded.iter().any(|e| path.path.starts_with(e));
        if within_store || sys::mount_of(path.path.as_path(), mounts).is_some_and(Mount::is_pseudo)
        {
            continue;
        }
        if let Some(parent) = path.path.parent() {
            all.push(ScopePath {
                path: parent,
                depth: Depth::Entry,
                reason: format!("holds {}", path.path),
                certainty: path.certainty,
                rule: String::new(),
            });
        }
        all.push(path);
    }
    merge(all)
}

/// Resolves everything but the last component; where directories above it are missing, the first
/// missing one stands for the path, since whatever comes into being lies beneath it.
pub(super) fn physical(scope: ScopePath) -> Option<ScopePath> {
    let mut above: Option<PathBuf> = None;
    let mut missing: Option<PathBuf> = None;
    let mut name = scope.path.name().map(Path::new);
    let mut at = scope.path.as_path().parent();
    if at.is_none() {
        return Some(scope);
    }
    while let Some(directory) = at {
        match directory.canonicalize() {
            Ok(found) => {
                above = Some(found);
                break;
            }
            Err(_) => {
                name = directory.file_name().map(Path::new);
                missing = Some(directory.to_path_buf());
                at = directory.parent();
            }
        }
    }
    let path = AbsPath::new(above?.join(name?)).ok()?;
    let depth = if missing.is_some() {
        Depth::Tree
    } else {
        scope.depth
    };
    Some(ScopePath {
        path,
        depth,
        ..scope
    })
}

/// One entry for each path, none of them within a tree of another on the same volume.
fn merge(mut all: Vec<ScopePath>) -> Vec<ScopePath> {
    all.sort_by(|a, b| {
        a.path
            .cmp(&b.path)
            .then(b.depth.cmp(&a.depth))
            .then(b.certainty.cmp(&a.certainty))
    });
    let mut merged: Vec<ScopePath> = Vec::with_capacity(all.len());
    // The trees above the path at hand, by their place in `merged`: paths are in tree order.
    let mut trees: Vec<usize> = Vec::new();
    for next in all {
        if let Some(same) = merged.last_mut().filter(|m| m.path == next.path) {
            same.certainty = same.certainty.max(next.certainty);
            continue;
        }
        while trees
            .pop_if(|at| !next.path.starts_with(&merged[*at].path))
            .is_some()
        {}
        let within = trees
            .iter()
            .any(|at| same_volume(&merged[*at].path, &next.path));
        if within {
            continue;
        }
        if next.depth == Depth::Tree {
            trees.push(merged.len());
        }
        merged.push(next);
    }
    merged
}

/// Whether a walk from `root` reaches `path`: it stays on one mount and one device.
fn same_volume(root: &AbsPath, path: &AbsPath) -> bool {
    let volume = |path: &AbsPath| {
        Dir::open_path(path)
            .and_then(|d| d.stat_self())
            .ok()
            .map(|s| (s.identity.device, s.mount))
    };
    // What is no directory, or is not there, lies on its parent's volume.
    let of_path = volume(path).or_else(|| path.parent().and_then(|p| volume(&p)));
    match (volume(root), of_path) {
        (Some(root), Some(path)) => root == path,
        _ => true,
    }
}

/// The volume that holds `path`, which need not exist.
pub(super) fn volume_of(path: &AbsPath, mounts: &[Mount]) -> Volume {
    let mount = sys::mount_of(path.as_path(), mounts);
    let device = |path: &AbsPath| {
        let stat = Dir::open_path(path).and_then(|dir| dir.stat_self()).ok()?;
        Some(stat.identity.device)
    };
    Volume {
        mount_point: mount.map_or_else(|| PathBuf::from("/"), |m| m.mount_point.clone()),
        device: device(path).or_else(|| device(&path.parent()?)),
        read_only: mount.is_some_and(|m| m.read_only),
    }
}

/// Takes out what only one walk left out because it lies on another volume, where the scope names
/// it by itself.
pub(super) fn drop_covered(unobserved: &mut Vec<Unobserved>, scope: &[ScopePath]) {
    let trees: HashSet<&AbsPath> = scope
        .iter()
        .filter(|one| one.depth == Depth::Tree)
        .map(|one| &one.path)
        .collect();
    unobserved.retain(|one| !(is_parting(one) && trees.contains(&one.path)));
}

/// The paths of a scope on volumes that could not change when `uses` were chosen, but can now.
pub(super) fn no_longer_read_only(uses: &[StrategyUse], scope: &[ScopePath]) -> Vec<Unobserved> {
    let fixed: Vec<&AbsPath> = uses
        .iter()
        .filter(|one| one.strategy == NONE)
        .map(|one| &one.volume)
        .collect();
    if fixed.is_empty() {
        return Vec::new();
    }
    // Without a table nothing is known of them.
    let mounts = sys::mounts().unwrap_or_default();
    let writable = |path: &AbsPath| {
        sys::mount_of(path.as_path(), &mounts).is_none_or(|mount| {
            let was_fixed = fixed.iter().any(|v| v.as_path() == mount.mount_point);
            was_fixed && !mount.read_only
        })
    };
    scope
        .iter()
        .filter(|one| writable(&one.path))
        .map(|one| Unobserved {
            path: one.path.clone(),
            reason: "its volume was mounted for reading only and is not any more".into(),
        })
        .collect()
}

/// A scope path that the caller named.
pub(super) fn named(path: AbsPath, reason: &str) -> ScopePath {
    ScopePath {
        path,
        depth: Depth::Tree,
        reason: reason.into(),
        certainty: Certainty::Certain,
        rule: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &Path) -> ScopePath {
        named(AbsPath::new(path).unwrap(), "test")
    }

    #[test]
    fn paths_within_a_tree_are_dropped_and_parents_added() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        let scope = prepare(
            vec![
                tree(&root.join("a")),
                tree(&root.join("a/b")),
                tree(&root.join("c")),
            ],
            &[],
            &[],
        );
        let found: Vec<_> = scope
            .iter()
            .map(|s| (s.path.as_path().to_path_buf(), s.depth))
            .collect();
        assert_eq!(
            found,
            [
                (root.clone(), Depth::Entry),
                (root.join("a"), Depth::Tree),
                (root.join("c"), Depth::Tree)
            ]
        );
    }

    #[test]
    fn the_first_missing_directory_stands_for_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let scope = prepare(vec![tree(&root.join("x/y/z"))], &[], &[]);
        assert_eq!(scope[1].path.as_path(), root.join("x"));
    }

    #[cfg(unix)]
    #[test]
    fn links_above_are_resolved_and_a_link_itself_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let scope = prepare(
            vec![tree(&root.join("link/f")), tree(&root.join("link"))],
            &[],
            &[],
        );
        let found: Vec<_> = scope
            .iter()
            .map(|s| s.path.as_path().to_path_buf())
            .collect();
        assert!(found.contains(&root.join("real/f")) && found.contains(&root.join("link")));
    }
}
