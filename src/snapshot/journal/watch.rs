//! The trees that are watched, and what was told of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::source::{self, Chosen, EventSource as _, Told, WatchError};
use super::tree::{Kept, MOST_IN_FOCUS, Tree};
use crate::path::AbsPath;
use crate::snapshot::tree::focus::Focus;
use crate::snapshot::tree::links::LinkedName;
use crate::snapshot::tree::walk::lock;
use crate::snapshot::volumes::Volumes;
use crate::sys::{self, Dir};

/// The directory in the baseline in which a source may write.
const SCRATCH: &str = "events";

/// More trees are not watched at the same time; the one that was used longest ago goes.
const MOST_TREES: usize = 64;

/// Trees that are watched, with the captures in progress.
pub(super) struct Watch {
    source: Chosen,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) trees: Vec<Tree>,
    open: Vec<Open>,
    next: u64,
    uses: u64,
    /// Why trees have to be walked by their next capture, which says so.
    reasons: BTreeMap<AbsPath, String>,
    /// What is never looked at.
    own: Vec<AbsPath>,
}

/// What was told since a capture began.
struct Open {
    number: u64,
    roots: Vec<AbsPath>,
    focus: Focus,
    lost: BTreeMap<AbsPath, String>,
}

/// What may have changed in the trees of a capture.
pub(super) struct Since {
    pub(super) focus: Focus,
    /// Trees of which events may be missing, with the reason.
    pub(super) lost: BTreeMap<AbsPath, String>,
}

impl Watch {
    /// A watch for the captures of a store; what changes in that is of no interest.
    /// `source` is the only event source to use.
    pub(super) fn new(volumes: &Volumes, source: Option<&'static str>) -> Result<Self, WatchError> {
        let store = volumes.store();
        let state = State {
            own: AbsPath::new(store.path()).into_iter().collect(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let told = Arc::clone(&state);
        let sink: source::Sink = Arc::new(move |what| lock(&told).take_in(what));
        let scratch = store.baseline_dir().join(SCRATCH);
        std::fs::create_dir_all(&scratch)?;
        Ok(Self {
            source: source::open(source, &scratch, &sink)?,
            state,
        })
    }

    /// The name of the source that would watch what is at `path`.
    pub(super) fn can_watch(&self, path: &AbsPath) -> Result<&'static str, String> {
        let mut directory = path.clone();
        while Dir::open_path(&directory).is_err() {
            directory = directory.parent().ok_or("there is no such directory")?;
        }
        self.source
            .would_watch(&directory)
            .map_err(|error| error.to_string())
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sees to it that `root` is watched, by itself or as part of a tree of which the capture says
    /// enough.
    pub(super) fn watch(&self, root: &AbsPath, kept: &Kept) -> Result<(), WatchError> {
        if let Some(tree) = self.state().holding(root)
            && (tree.root == *root || tree.says_enough(root, kept))
        {
            return Ok(());
        }
        self.source.watch(root)?;
        let dropped = self.state().add(root);
        dropped.iter().for_each(|tree| self.source.unwatch(tree));
        Ok(())
    }

    /// Waits until everything that happened so far was told. Where that cannot be, everything counts
    /// as lost.
    pub(super) fn catch_up(&self) {
        if let Err(error) = self.source.barrier() {
            self.state().take_in(Told::Lost {
                root: None,
                reason: error.to_string(),
                ended: true,
            });
        }
    }

    /// What may have changed in the trees of a capture since it began. `linked` are the names of
    /// files with several. `None`: that is not known.
    pub(super) fn since(&self, number: u64, linked: &[LinkedName]) -> Option<Since> {
        self.catch_up();
        let (roots, mut since) = {
            let state = self.state();
            let open = state.open.iter().find(|open| open.number == number)?;
            let since = Since {
                focus: open.focus.clone(),
                lost: open.lost.clone(),
            };
            (open.roots.clone(), since)
        };
        mark_unseen(&roots, linked, &mut since.focus);
        Some(since)
    }

    /// Ends what [`State::open`] began.
    pub(super) fn close(&self, number: u64) {
        self.state().open.retain(|open| open.number != number);
    }
}

/// Adds what changes without an event: files that are mapped, and files that may have been changed
/// through another of their names.
pub(super) fn mark_unseen(roots: &[AbsPath], linked: &[LinkedName], focus: &mut Focus) {
    match sys::shared_writable_mappings(roots) {
        Ok(mapped) => {
            for path in mapped.paths {
                if let Ok(path) = AbsPath::new(path) {
                    focus.mark(path);
                }
            }
        }
        Err(error) => tracing::debug!(%error, "mapped files are not known"),
    }
    for name in linked {
        let stat = name
            .path
            .parent()
            .zip(name.path.name())
            .map(|(dir, file)| Dir::open_path(&dir).and_then(|dir| dir.stat(file)));
        let same = matches!(stat, Some(Ok(stat)) if stat.identity == name.identity);
        if !same {
            focus.mark(name.path.clone());
        }
    }
}

impl State {
    fn take_in(&mut self, told: Told) {
        match told {
            Told::Entry(path) => self.note(&path, false),
            Told::NewDirectory(path) => self.note(&path, true),
            Told::Lost {
                root,
                reason,
                ended,
            } => self.lose(root.as_ref(), &reason, ended),
        }
    }

    fn note(&mut self, path: &AbsPath, whole: bool) {
        if self.own.iter().any(|own| path.starts_with(own)) {
            return;
        }
        let trees = self.trees.iter_mut();
        for tree in trees.filter(|tree| path.starts_with(&tree.root)) {
            tree.note(path, whole);
        }
        for open in &mut self.open {
            if open.focus.len() > MOST_IN_FOCUS || !open.concerns(path) {
                continue;
            }
            if whole {
                open.focus.mark_whole(path.clone());
            } else {
                open.focus.mark(path.clone());
            }
            if open.focus.len() > MOST_IN_FOCUS {
                let roots = open.roots.clone();
                let reason = "more changes than are kept track of";
                open.lost
                    .extend(roots.into_iter().map(|root| (root, reason.to_owned())));
            }
        }
    }

    /// Whatever lies beneath `root`, or everything, has to be walked.
    fn lose(&mut self, root: Option<&AbsPath>, reason: &str, ended: bool) {
        let concerned = |path: &AbsPath| {
            root.is_none_or(|root| path.starts_with(root) || root.starts_with(path))
        };
        for tree in self.trees.iter_mut().filter(|tree| concerned(&tree.root)) {
            if tree.captured.is_some() && self.reasons.len() < MOST_TREES {
                self.reasons.insert(tree.root.clone(), reason.to_owned());
            }
            tree.forget();
        }
        if ended {
            self.trees
                .retain(|tree| root.is_some_and(|root| *root != tree.root));
        }
        for open in &mut self.open {
            let roots = open.roots.iter().filter(|path| concerned(path));
            let lost: Vec<_> = roots.map(|r| (r.clone(), reason.to_owned())).collect();
            open.lost.extend(lost);
        }
    }

    /// Why what is known of `root`, or of what lies in it, was not enough.
    pub(super) fn take_reason(&mut self, root: &AbsPath) -> Option<String> {
        let mut first = None;
        self.reasons.retain(|path, reason| {
            let concerned = path.starts_with(root);
            if concerned && first.is_none() {
                first = Some(std::mem::take(reason));
            }
            !concerned
        });
        first
    }

    /// The tree that `root` is, or lies in.
    pub(super) fn holding(&mut self, root: &AbsPath) -> Option<&mut Tree> {
        self.uses += 1;
        let uses = self.uses;
        let trees = self.trees.iter_mut();
        let tree = trees
            .filter(|tree| root.starts_with(&tree.root))
            .max_by_key(|tree| tree.root.to_bytes().len())?;
        tree.used = uses;
        Some(tree)
    }

    /// From now on everything that is told of `roots` is kept for a capture.
    pub(super) fn open(&mut self, roots: Vec<AbsPath>) -> u64 {
        self.next += 1;
        self.open.push(Open {
            number: self.next,
            roots,
            focus: Focus::default(),
            lost: BTreeMap::new(),
        });
        self.next
    }

    /// Whether events of `root` were lost since a capture began.
    pub(super) fn has_lost(&self, number: u64, root: &AbsPath) -> bool {
        let open = self.open.iter().find(|open| open.number == number);
        open.is_none_or(|open| open.lost.contains_key(root))
    }

    /// Adds a tree. Gives those that need not be watched any more.
    fn add(&mut self, root: &AbsPath) -> Vec<AbsPath> {
        // Those within the new one are told of with it.
        let within = |tree: &mut Tree| tree.root.starts_with(root) && !tree.busy;
        let mut dropped: Vec<AbsPath> = self
            .trees
            .extract_if(.., within)
            .map(|tree| tree.root)
            .collect();
        if self.trees.len() >= MOST_TREES {
            let oldest = (0..self.trees.len())
                .filter(|at| !self.is_in_use(&self.trees[*at]))
                .min_by_key(|at| self.trees[*at].used);
            dropped.extend(oldest.map(|at| self.trees.remove(at).root));
        }
        self.trees.push(Tree::new(root.clone()));
        dropped
    }

    fn is_in_use(&self, tree: &Tree) -> bool {
        let mut roots = self.open.iter().flat_map(|open| &open.roots);
        tree.busy || roots.any(|root| root.starts_with(&tree.root))
    }
}

impl Open {
    fn concerns(&self, path: &AbsPath) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }
}
