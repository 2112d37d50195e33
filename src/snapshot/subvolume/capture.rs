//! A capture by snapshots of subvolumes, from begin to seal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

use rayon::prelude::*;

use super::before::Old;
use super::changed::{Changes, nested, search};
use super::further::further_names;
use super::place::place;
use super::rules::Rulebook;
use super::token::Token;
use super::view::{Roots, View, is_beneath, scope_path};
use super::volume::Volume;
use crate::entry::EntryKind;
use crate::error::{IoContext, Result, Stage};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::request::Limits;
use crate::seal::Observed;
use crate::snapshot::tree::compare::{Comparer, Difference};
use crate::snapshot::tree::walk::{Bounds, Descend, Visit, Visitor, Walked, walk, walk_focus};
use crate::snapshot::{Capture, CaptureRequest, Exclusions, Placement, Sealed, Unobserved};
use crate::sys::{self, Dir, Stat};

/// What a command made must be found however much it is.
const UNBOUNDED: Bounds<'static> = Bounds::NONE;
/// Files that one task looks at.
const CHUNK: usize = 64;
const NESTED: &str = "a btrfs subvolume of its own";
const MOUNTED: &str = "another filesystem is mounted here";

/// A capture in progress.
pub(super) struct SubvolumeCapture {
    volumes: Vec<Volume>,
    /// Each path with the number of its subvolume.
    scope: Vec<(AbsPath, Depth, usize)>,
    hidden: HashSet<AbsPath>,
    exclusions: Exclusions,
    limits: Limits,
    entries: u64,
    unobserved: Vec<Unobserved>,
    /// Where content is to be placed, unless in the store.
    beside: Option<AbsPath>,
}

impl SubvolumeCapture {
    /// The capture of a scope whose subvolumes have been snapshotted. `volume_of` are their numbers.
    pub(super) fn begin(
        request: CaptureRequest<'_>,
        volumes: Vec<Volume>,
        volume_of: &[usize],
        beside: Option<AbsPath>,
    ) -> Result<Self> {
        let paths = request.scope.iter().zip(volume_of);
        let mut capture = Self {
            volumes,
            scope: paths
                .map(|(path, volume)| (path.path.clone(), path.depth, *volume))
                .collect(),
            hidden: HashSet::new(),
            exclusions: request.exclusions,
            limits: request.limits,
            entries: 0,
            unobserved: Vec::new(),
            beside,
        };
        match capture.look_around() {
            Ok(()) => Ok(capture),
            Err(error) => {
                Box::new(capture).finish();
                Err(error)
            }
        }
    }

    /// Finds out what lies above and beneath the scope.
    fn look_around(&mut self) -> Result<()> {
        // Only the paths themselves: for what is above them, and whether they can be reached.
        let tops: Vec<ScopePath> = self
            .scope
            .iter()
            .map(|(path, _, _)| scope_path(path.clone(), Depth::Entry))
            .collect();
        let walked = walk(&tops, &self.exclusions, false, UNBOUNDED, &Nobody)?;
        self.exclusions.files = walked.ignore_files;
        self.entries = walked.entries;
        self.unobserved = walked.unobserved;
        for (path, reason) in self.inner_volumes()? {
            self.hidden.insert(path.clone());
            let reason = reason.to_owned();
            self.unobserved.push(Unobserved { path, reason });
        }
        Ok(())
    }

    /// The capture that a token describes.
    pub(super) fn resumed(token: Token, volumes: Vec<Volume>, beside: Option<AbsPath>) -> Self {
        Self {
            volumes,
            entries: token.scope.len() as u64,
            scope: token.scope,
            hidden: token.hidden.into_iter().collect(),
            exclusions: token.exclusions,
            limits: token.limits,
            unobserved: token.unobserved,
            beside,
        }
    }

    /// What lies beneath the scope in other subvolumes and filesystems, unless it is left alone.
    fn inner_volumes(&self) -> Result<Vec<(AbsPath, &'static str)>> {
        let mut inner: BTreeMap<AbsPath, &str> = BTreeMap::new();
        for volume in &self.volumes {
            let found = Dir::open(&volume.root)
                .and_then(|live| nested(&live, &volume.root, volume.id))
                .context(Stage::Capture, || {
                    format!("cannot list the subvolumes beneath {}", volume.root)
                })?;
            inner.extend(found.into_iter().map(|path| (path, NESTED)));
        }
        inner.extend(mount_points()?.into_iter().map(|path| (path, MOUNTED)));
        let roots = self.roots(&[]);
        let views = self.views(&[]);
        let rules = Rulebook::new(&self.exclusions, &views, &roots)?;
        inner.retain(|path, _| is_observed(path, &roots, &rules));
        Ok(inner.into_iter().collect())
    }

    fn roots(&self, further: &[(AbsPath, Depth, usize)]) -> Roots {
        let paths = self.scope.iter().chain(further).cloned();
        Roots::new(paths, self.hidden.clone())
    }

    /// The subvolumes as they were. `found` is what is known to have changed in each.
    fn views<'a>(&'a self, found: &'a [Option<Changes>]) -> Vec<View<'a>> {
        let volumes = self.volumes.iter().enumerate();
        volumes
            .map(|(at, volume)| {
                let changes = found.get(at).and_then(Option::as_ref);
                View {
                    root: &volume.root,
                    snapshot: &volume.kept.dir,
                    device: changes.map_or(volume.device, |changes| changes.device),
                    taken: volume.taken,
                    changed: changes.map(|changes| &changes.inodes),
                }
            })
            .collect()
    }
}

impl Capture for SubvolumeCapture {
    fn token(&self) -> Vec<u8> {
        let mut hidden: Vec<AbsPath> = self.hidden.iter().cloned().collect();
        hidden.sort();
        Token {
            volumes: self.volumes.iter().map(Volume::token).collect(),
            scope: self.scope.clone(),
            hidden,
            exclusions: self.exclusions.clone(),
            unobserved: self.unobserved.clone(),
            limits: self.limits,
        }
        .encode()
    }

    fn entries(&self) -> u64 {
        self.entries
    }

    fn unobserved(&self) -> &[Unobserved] {
        &self.unobserved
    }

    fn content_beside(&self) -> Option<&AbsPath> {
        self.beside.as_ref()
    }

    fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        progress.event(Event::Begin {
            phase: Phase::Seal,
            total: None,
        });
        let mut notes = Vec::new();
        let found: Vec<Option<Changes>> = self
            .volumes
            .iter()
            .map(|volume| {
                let changes = search(volume);
                changes
                    .map_err(|why| {
                        let root = &volume.root;
                        notes.push(format!("the subvolume {root} {why}, so all was walked"));
                    })
                    .ok()
            })
            .collect();
        let views = self.views(&found);
        let mut seen = Seen::default();
        let files = self.compare(&views, &found, &[], &mut seen)?;
        let further = further_names(
            &views,
            &self.roots(&[]),
            &self.exclusions,
            &seen.differences,
        )?;
        if !further.paths.is_empty() {
            self.compare(&views, &found, &further.paths, &mut seen)?;
        }
        notes.extend(further.note);
        let roots = self.roots(&further.paths);
        let differences = seen.visible();
        let placed = place(&views, &roots, differences, placement, &self.limits)?;
        drop(views);
        self.exclusions.files = files;
        progress.event(Event::End);
        Ok(Sealed {
            changes: placed.changes,
            unobserved: seen.unobserved,
            entries: seen.entries,
            stored_bytes: placed.stored_bytes,
            notes,
            observed: Observed::default(),
        })
    }

    fn finish(self: Box<Self>) {
        self.volumes.into_iter().for_each(Volume::let_go);
    }
}

impl SubvolumeCapture {
    /// Compares the scope, or, where there are any, only the `further` paths. Gives every ignore
    /// file that was read.
    fn compare(
        &self,
        views: &[View<'_>],
        found: &[Option<Changes>],
        further: &[(AbsPath, Depth, usize)],
        seen: &mut Seen,
    ) -> Result<Vec<(AbsPath, String)>> {
        let roots = self.roots(further);
        let rules = Rulebook::new(&self.exclusions, views, &roots)?;
        let all = if further.is_empty() {
            &self.scope
        } else {
            further
        };
        let (mut parts, mut whole) = (Vec::new(), Vec::new());
        for (path, depth, volume) in all {
            let root = scope_path(path.clone(), *depth);
            match &found[*volume] {
                Some(changes) if *depth == Depth::Tree && !is_elsewhere(path, changes) => {
                    parts.push((root, changes));
                }
                _ => whole.push(root),
            }
        }
        let late = late_volumes(&parts, &roots, &rules)?;
        let hidden_now: HashSet<AbsPath> = late.iter().map(|u| u.path.clone()).collect();
        let read = |e: std::io::Error| crate::Error::io(Stage::Seal, "cannot read a snapshot", e);
        for root in &whole {
            match root.depth {
                Depth::Tree => rules.read_beneath(&root.path).map_err(read)?,
                Depth::Children | Depth::Entry => read_rules(&rules, &roots, &root.path),
            }
        }
        for (root, changes) in &parts {
            let within = |path: &&AbsPath| path.starts_with(&root.path);
            for directory in changes.holders.iter().filter(within) {
                read_rules(&rules, &roots, directory);
            }
            for (directory, inode) in changes.directories.iter().filter(|d| within(&&d.0)) {
                read_rules(&rules, &roots, directory);
                if was_another(views, &roots, directory, *inode).map_err(read)? {
                    rules.read_beneath(directory).map_err(read)?;
                }
            }
        }
        let exclusions = Exclusions {
            files: merged(&self.exclusions.files, rules.found()),
            ..self.exclusions.clone()
        };
        let scope: Vec<ScopePath> = roots
            .iter()
            .map(|(path, depth, _)| scope_path(path.clone(), depth))
            .collect();
        let single = single_files(&parts, &roots, &rules, &hidden_now);
        let old = Old {
            views,
            roots: &roots,
            rules: &rules,
            single: &single,
        };
        let comparer = Comparer::new(&old, &scope);
        seen.unobserved.extend(late);
        seen.walked(walk(&whole, &exclusions, true, UNBOUNDED, &comparer)?);
        for (root, changes) in &parts {
            let mut focus = changes.focus.beneath(&root.path);
            if !is_still_directory(views, &roots, &root.path).map_err(read)? {
                // What went is in no tree that was searched.
                focus.mark(root.path.clone());
            }
            let focused = walk_focus(root, &focus, &exclusions, UNBOUNDED, &comparer)?;
            seen.walked(focused.walked);
        }
        let files: Vec<ScopePath> = single
            .iter()
            .map(|path| scope_path(path.clone(), Depth::Entry))
            .collect();
        // What is left alone is none of them.
        let nothing = Exclusions::default();
        let walked = files
            .par_chunks(CHUNK)
            .map(|files| walk(files, &nothing, true, UNBOUNDED, &comparer))
            .collect::<Result<Vec<_>>>()?;
        walked.into_iter().for_each(|walked| seen.walked(walked));
        let compared = comparer.finish();
        seen.differences.extend(compared.differences);
        seen.unobserved.extend(compared.unobserved);
        seen.tidy();
        Ok(merged(&self.exclusions.files, rules.found()))
    }
}

/// What comparing found so far.
#[derive(Default)]
struct Seen {
    differences: BTreeMap<AbsPath, Difference>,
    unobserved: Vec<Unobserved>,
    entries: u64,
}

impl Seen {
    fn walked(&mut self, walked: Walked) {
        self.entries += walked.entries;
        self.unobserved.extend(walked.unobserved);
    }

    fn tidy(&mut self) {
        self.unobserved.sort_by(|a, b| a.path.cmp(&b.path));
        self.unobserved.dedup_by(|a, b| a.path == b.path);
    }

    /// The differences without what went where nothing can be seen now: it may well be there.
    fn visible(&mut self) -> Vec<(AbsPath, Difference)> {
        let hidden: HashSet<&Path> = self.unobserved.iter().map(|u| u.path.as_path()).collect();
        let covered = |path: &AbsPath| path.as_path().ancestors().any(|at| hidden.contains(at));
        std::mem::take(&mut self.differences)
            .into_iter()
            .filter(|(path, difference)| difference.after.is_some() || !covered(path))
            .collect()
    }
}

/// Looks at nothing: for what the walk itself finds.
struct Nobody;

impl Visitor for Nobody {
    fn directory(&self, _: &Visit<'_>) -> Descend {
        Descend::Each(Vec::new())
    }

    fn root(&self, _: &AbsPath, _: Option<&Dir>, _: &OsStr, _: Option<&Stat>) {}
}

/// Whether what is at a path of the scope now lies in another subvolume than before.
fn is_elsewhere(path: &AbsPath, changes: &Changes) -> bool {
    Dir::open_path(path)
        .and_then(|dir| dir.stat_self())
        .is_ok_and(|stat| stat.identity.device != changes.device)
}

/// The changed files in trees of the scope that are looked at one by one.
fn single_files(
    parts: &[(ScopePath, &Changes)],
    roots: &Roots,
    rules: &Rulebook<'_>,
    hidden_now: &HashSet<AbsPath>,
) -> HashSet<AbsPath> {
    let mut single = HashSet::new();
    for (root, changes) in parts {
        let observed = |path: &&AbsPath| {
            let covered = roots.covering(path).filter(|c| *c.root == root.path);
            covered.is_some_and(|covered| !rules.excludes(path, covered, false))
                && !path.as_path().ancestors().any(|at| hidden_now.contains(at))
        };
        single.extend(changes.single.iter().filter(observed).cloned());
    }
    single
}

/// Whether a path of the scope is the directory that it was.
fn is_still_directory(views: &[View<'_>], roots: &Roots, path: &AbsPath) -> std::io::Result<bool> {
    let inode = Dir::open_path(path).and_then(|dir| dir.stat_self());
    let Some(inode) = inode.ok().map(|stat| stat.identity.inode) else {
        return Ok(false);
    };
    Ok(!was_another(views, roots, path, inode)?)
}

/// Whether another directory than `inode` was at a path before.
fn was_another(
    views: &[View<'_>],
    roots: &Roots,
    path: &AbsPath,
    inode: u64,
) -> std::io::Result<bool> {
    let Some(covered) = roots.covering(path) else {
        return Ok(false);
    };
    let was = views[covered.volume].stat(path)?;
    Ok(was.is_some_and(|was| was.kind == EntryKind::Directory && was.identity.inode != inode))
}

/// Reads the ignore files that hold in a directory.
fn read_rules(rules: &Rulebook<'_>, roots: &Roots, directory: &AbsPath) {
    if let Some(covered) = roots.covering(directory) {
        rules.within(directory, covered);
    }
}

/// Subvolumes and filesystems that came beneath the scope since the capture began.
fn late_volumes(
    parts: &[(ScopePath, &Changes)],
    roots: &Roots,
    rules: &Rulebook<'_>,
) -> Result<Vec<Unobserved>> {
    let mut late: HashMap<AbsPath, &str> = HashMap::new();
    let mounts = mount_points()?;
    for (root, changes) in parts {
        let beneath = |path: &&AbsPath| is_beneath(path, &root.path, root.depth);
        let nested = changes.nested.iter().filter(beneath);
        late.extend(nested.map(|path| (path.clone(), NESTED)));
        let mounted = mounts.iter().filter(beneath);
        late.extend(mounted.map(|path| (path.clone(), MOUNTED)));
    }
    late.retain(|path, _| is_observed(path, roots, rules));
    Ok(late
        .into_iter()
        .map(|(path, reason)| Unobserved {
            path,
            reason: reason.to_owned(),
        })
        .collect())
}

/// Whether the scope covers what lies beneath one of its paths, and it is not left alone.
fn is_observed(path: &AbsPath, roots: &Roots, rules: &Rulebook<'_>) -> bool {
    roots
        .covering(path)
        .is_some_and(|covered| covered.root != path && !rules.excludes(path, covered, true))
}

fn mount_points() -> Result<Vec<AbsPath>> {
    let mounts = sys::mounts().context(Stage::Capture, || "cannot read the mount table")?;
    Ok(mounts
        .into_iter()
        .filter_map(|mount| AbsPath::new(mount.mount_point).ok())
        .collect())
}

/// Ignore files, each directory once.
fn merged(above: &[(AbsPath, String)], found: Vec<(AbsPath, String)>) -> Vec<(AbsPath, String)> {
    let mut all: BTreeMap<AbsPath, String> = above.iter().cloned().collect();
    all.extend(found);
    all.into_iter().collect()
}
