//! A tree that is watched, and what is known of it since it was captured last.

use crate::path::AbsPath;
use crate::snapshot::Exclusions;
use crate::snapshot::baseline::{Besides, Trust};
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::tree::focus::Focus;

/// More than this is not kept track of; the tree is walked instead.
pub(super) const MOST_IN_FOCUS: usize = 200_000;

/// What was left alone when a tree was captured, as far as that tells which entries were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    patterns: Vec<String>,
    subtrees: Vec<AbsPath>,
    base: Option<AbsPath>,
}

/// A tree's capture.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub(super) kept: Kept,
    /// As of when the index has the tree's state.
    pub(super) generation: i64,
    /// Later generations that wrote rows of the tree and fit to that state.
    pub(super) fitting: Vec<i64>,
    pub(super) besides: Besides,
    /// Where other volumes were mounted in the tree.
    pub(super) mounts: Vec<AbsPath>,
}

/// A tree that is watched.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: AbsPath,
    /// `None`: it has to be walked.
    pub(super) captured: Option<Captured>,
    /// What may have changed since.
    pub(super) pending: Focus,
    /// A capture of it is being begun.
    pub(super) busy: bool,
    /// When it was used last, in uses of any tree.
    pub(super) used: u64,
}

impl Kept {
    pub(super) fn of(exclusions: &Exclusions) -> Self {
        Self {
            patterns: exclusions.patterns.clone(),
            subtrees: exclusions.subtrees.clone(),
            base: exclusions.base.clone(),
        }
    }

    /// Whether `base` has a say in what is left alone beneath `root`: ignore files above a root hold
    /// for it as far up as the working directory.
    fn base_matters(&self, root: &AbsPath) -> bool {
        let within = |base: &AbsPath| root.starts_with(base) && root != base;
        self.base.as_ref().is_some_and(within)
    }
}

impl Captured {
    /// Whether what this capture of `tree` left alone at and beneath `root` is what one with `kept`
    /// and the scope `root` leaves alone.
    pub(super) fn fits(&self, tree: &AbsPath, root: &AbsPath, kept: &Kept) -> bool {
        if self.kept.patterns != kept.patterns || self.kept.subtrees != kept.subtrees {
            return false;
        }
        if self.kept.base == kept.base && tree == root {
            return true;
        }
        // Other names of files are looked for in the working directory.
        let besides = &self.besides;
        let alone = besides.further.is_empty() && besides.notes.is_empty();
        if tree == root {
            return alone && !self.kept.base_matters(root) && !kept.base_matters(root);
        }
        let linked = besides
            .linked
            .iter()
            .any(|name| name.path.starts_with(root));
        alone
            && !linked
            && besides.ignore_files.is_empty()
            && !self.kept.base_matters(tree)
            && kept.patterns.iter().all(|pattern| is_floating(pattern))
    }
}

/// Whether a pattern means the same from whichever directory it is read.
fn is_floating(pattern: &str) -> bool {
    !pattern.trim_end_matches('/').contains('/') && !pattern.starts_with('!')
}

impl Tree {
    pub(super) fn new(root: AbsPath) -> Self {
        Self {
            root,
            captured: None,
            pending: Focus::default(),
            busy: false,
            used: 0,
        }
    }

    /// Whether what is known of the tree is known of `root` in it too, for a capture with `kept`.
    pub(super) fn says_enough(&self, root: &AbsPath, kept: &Kept) -> bool {
        self.captured
            .as_ref()
            .is_some_and(|captured| captured.fits(&self.root, root, kept))
    }

    /// Takes note of a change.
    pub(super) fn note(&mut self, path: &AbsPath, whole: bool) {
        if self.captured.is_none() && !self.busy {
            return;
        }
        if path.name().is_some_and(|name| name == IGNORE_FILE) {
            // What is left alone may be something else now.
            return self.forget();
        }
        if whole {
            self.pending.mark_whole(path.clone());
        } else {
            self.pending.mark(path.clone());
        }
        if self.pending.len() > MOST_IN_FOCUS {
            self.forget();
        }
    }

    /// Takes over what was found of the part at and beneath `root`.
    pub(super) fn learn_part(&mut self, root: &AbsPath, part: Besides) {
        let Some(captured) = &mut self.captured else {
            return;
        };
        let outside = |path: &AbsPath| !path.starts_with(root);
        let besides = &mut captured.besides;
        besides.linked.retain(|name| outside(&name.path));
        besides.linked.extend(part.linked);
        besides.unobserved.retain(|skipped| outside(&skipped.path));
        besides.unobserved.extend(part.unobserved);
        besides.ignore_files.retain(|(path, _)| outside(path));
        besides.ignore_files.extend(part.ignore_files);
    }

    /// It has to be walked the next time.
    pub(super) fn forget(&mut self) {
        self.captured = None;
        self.pending = Focus::default();
    }

    /// What is known of the part at and beneath `root`, once what may have changed was added.
    pub(super) fn trust(&self, captured: &Captured, root: &AbsPath, focus: Focus) -> Trust {
        let within = |path: &AbsPath| path.starts_with(root);
        let mut besides = captured.besides.clone();
        besides.linked.retain(|name| within(&name.path));
        besides.unobserved.retain(|skipped| within(&skipped.path));
        Trust {
            root: root.clone(),
            captured_as: self.root.clone(),
            generation: captured.generation,
            fitting: captured.fitting.clone(),
            focus,
            besides,
        }
    }
}
