//! Begins a capture: what is known of watched trees is trusted, everything else is walked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::capture::{JournalCapture, Watching};
use super::tree::{Captured, Kept};
use super::watch::{Watch, mark_unseen};
use crate::error::Result;
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::baseline::{Baseline, Beginning, Keep, Learnt, Trust};
use crate::snapshot::tree::focus::Focus;
use crate::snapshot::volumes::Volumes;
use crate::snapshot::{CaptureRequest, Unobserved};
use crate::sys::{self, Dir};

/// One begin in progress.
struct Begin<'a> {
    watch: &'a Arc<Watch>,
    kept: Kept,
    /// By which the watch knows the capture.
    number: u64,
    trees: BTreeMap<AbsPath, Vec<AbsPath>>,
    /// Trees of which this begin keeps others away: those that it is going to learn of.
    busy: Vec<AbsPath>,
    notes: Vec<String>,
}

/// Secures the state of a scope.
pub(super) fn begin(
    volumes: &Volumes,
    watch: &Arc<Watch>,
    request: CaptureRequest<'_>,
) -> Result<JournalCapture> {
    let (baseline, keep) = place(volumes, request.scope)?;
    let mut begin = Begin {
        watch,
        kept: Kept::of(&request.exclusions),
        number: 0,
        trees: BTreeMap::new(),
        busy: Vec::new(),
        notes: Vec::new(),
    };
    begin.watch_trees(request.scope);
    let trusts = begin.open();
    let taken: Vec<(AbsPath, Focus)> = trusts
        .iter()
        .map(|trust| (trust.captured_as.clone(), trust.focus.clone()))
        .collect();
    let scope: Vec<ScopePath> = request.scope.to_vec();
    match baseline.begin_with(request, Beginning { trusts, keep }) {
        Ok((capture, learnt)) => {
            let linked = learnt.iter().flat_map(|l| l.besides.linked.iter().cloned());
            let watching = Watching {
                linked: linked.collect(),
                watch: Arc::clone(watch),
                number: begin.number,
                trees: begin.trees.clone(),
            };
            begin.learn(learnt, &scope, capture.generation());
            Ok(JournalCapture::new(capture, watching, begin.notes))
        }
        Err(error) => {
            begin.give_up(taken);
            Err(error)
        }
    }
}

/// Where content of the scope is kept, and how.
fn place(volumes: &Volumes, scope: &[ScopePath]) -> Result<(Baseline, Keep)> {
    match scope.first() {
        Some(first) if volumes.probes().clones(&first.path).is_ok() => {
            Ok((volumes.baseline_near(&first.path)?, Keep::Clone))
        }
        _ => Ok((volumes.own().clone(), Keep::Copy)),
    }
}

impl Begin<'_> {
    /// Watches every tree of the scope that can be.
    fn watch_trees(&mut self, scope: &[ScopePath]) {
        // A root that is not where it was must not count as watched.
        self.watch.catch_up();
        let trees = scope.iter().filter(|path| path.depth == Depth::Tree);
        // What is no directory costs nothing to look at.
        let roots: Vec<&AbsPath> = trees
            .map(|tree| &tree.path)
            .filter(|root| Dir::open(root).is_ok())
            .collect();
        if roots.is_empty() {
            return;
        }
        let mounts = mount_points();
        for root in roots {
            match self.watch.watch(root, &self.kept) {
                Ok(()) => drop(self.trees.insert(root.clone(), beneath(&mounts, root))),
                Err(error) => self.notes.push(format!(
                    "{root} is walked, since it cannot be watched: {error}"
                )),
            }
        }
    }

    /// Has the watch keep what it is told from now on, and takes what it was told before.
    fn open(&mut self) -> Vec<Trust> {
        self.watch.catch_up();
        let mut state = self.watch.state();
        let (trees, notes) = (&mut self.trees, &mut self.notes);
        trees.retain(|root, _| {
            let watched = state.holding(root).is_some();
            let reason = state.take_reason(root);
            let reason = reason.or((!watched).then(|| "its watch ended".to_owned()));
            notes.extend(reason.map(|reason| format!("{root} was walked: {reason}")));
            watched
        });
        self.number = state.open(self.trees.keys().cloned().collect());
        let mut trusts = Vec::new();
        for (root, mounts) in &self.trees {
            let Some(tree) = state.holding(root) else {
                continue;
            };
            if tree.busy {
                // Another begin is about to write rows of it.
                continue;
            }
            let known = tree.captured.as_ref();
            let fitting = known
                .filter(|known| known.fits(&tree.root, root, &self.kept))
                .filter(|known| beneath(&known.mounts, root) == *mounts);
            if let Some(captured) = fitting {
                let trust = tree.trust(captured, root, tree.pending.beneath(root));
                tree.pending.take_beneath(root);
                trusts.push(trust);
            } else if tree.root == *root {
                tree.forget();
            } else {
                continue;
            }
            tree.busy = true;
            self.busy.push(tree.root.clone());
        }
        drop(state);
        for trust in &mut trusts {
            let roots = [trust.root.clone()];
            mark_unseen(&roots, &trust.besides.linked, &mut trust.focus);
            mark_unobserved(&trust.besides.unobserved, &mut trust.focus);
        }
        trusts
    }

    /// Takes note of what is known now. `written` is the generation of the rows.
    fn learn(&self, learnt: Vec<Learnt>, scope: &[ScopePath], written: i64) {
        let mut state = self.watch.state();
        for tree in &mut state.trees {
            let mine = self.busy.contains(&tree.root);
            if tree.busy && !mine {
                // Whoever is at it finds these rows, and does not trust.
                continue;
            }
            tree.busy = false;
            if let Some(captured) = &mut tree.captured
                && fits_all(captured, &tree.root, scope, &self.kept)
            {
                captured.fitting.push(written);
            }
        }
        for learnt in learnt {
            let lost = state.has_lost(self.number, &learnt.root);
            let mounts = self.trees.get(&learnt.root).cloned();
            let mine = |root: &AbsPath| self.busy.contains(root);
            let Some(tree) = state.holding(&learnt.root).filter(|tree| mine(&tree.root)) else {
                continue;
            };
            match learnt.generation {
                None => tree.forget(),
                Some(_) if lost => tree.forget(),
                Some(_) if tree.root != learnt.root => {
                    tree.learn_part(&learnt.root, learnt.besides);
                }
                Some(generation) => {
                    tree.captured = Some(Captured {
                        kept: self.kept.clone(),
                        generation,
                        fitting: Vec::new(),
                        mounts: mounts.unwrap_or_default(),
                        besides: learnt.besides,
                    });
                }
            }
        }
    }

    /// Puts back what was taken.
    fn give_up(&self, taken: Vec<(AbsPath, Focus)>) {
        self.watch.close(self.number);
        let mut state = self.watch.state();
        for (root, focus) in taken {
            let trees = state.trees.iter_mut();
            for tree in trees.filter(|tree| tree.root == root && tree.captured.is_some()) {
                tree.pending.merge(focus.clone());
            }
        }
        for tree in &mut state.trees {
            tree.busy &= !self.busy.contains(&tree.root);
        }
    }
}

/// Whether everything that a capture of `scope` wrote in the tree `root` fits to what is known of it.
fn fits_all(captured: &Captured, root: &AbsPath, scope: &[ScopePath], kept: &Kept) -> bool {
    scope
        .iter()
        .filter(|path| path.depth != Depth::Entry)
        .filter(|path| path.path.starts_with(root) || root.starts_with(&path.path))
        .all(|path| path.path.starts_with(root) && captured.fits(root, &path.path, kept))
}

/// What could not be secured is tried again.
fn mark_unobserved(unobserved: &[Unobserved], focus: &mut Focus) {
    for skipped in unobserved {
        if Dir::open_path(&skipped.path).is_ok() {
            focus.mark_whole(skipped.path.clone());
        } else {
            focus.mark(skipped.path.clone());
        }
    }
}

/// Where volumes are mounted now.
pub(super) fn mount_points() -> Vec<AbsPath> {
    let mounts = sys::mounts().unwrap_or_default();
    let points = mounts.into_iter().map(|mount| mount.mount_point);
    points
        .filter_map(|point| AbsPath::new(point).ok())
        .collect()
}

/// Those of `mounts` that lie beneath `root`.
pub(super) fn beneath(mounts: &[AbsPath], root: &AbsPath) -> Vec<AbsPath> {
    let within = mounts
        .iter()
        .filter(|at| at.starts_with(root) && *at != root);
    let mut within: Vec<AbsPath> = within.cloned().collect();
    within.sort();
    within
}
