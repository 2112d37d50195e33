//! A capture of which events tell what changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::begin::{beneath, mount_points};
use super::watch::Watch;
use crate::error::Result;
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::snapshot::baseline::{BaselineCapture, Watched};
use crate::snapshot::tree::links::LinkedName;
use crate::snapshot::{Capture, Exclusions, Placement, Sealed, Unobserved};

/// A capture in progress.
pub(super) struct JournalCapture {
    inner: BaselineCapture,
    /// `None`: nobody watched, so that everything is walked.
    watching: Option<Watching>,
    notes: Vec<String>,
}

/// What a capture needs to ask what changed.
pub(super) struct Watching {
    pub(super) watch: Arc<Watch>,
    /// By which the watch knows the capture.
    pub(super) number: u64,
    /// The trees that are watched, with the volumes that were mounted in each.
    pub(super) trees: BTreeMap<AbsPath, Vec<AbsPath>>,
    /// The names of files that have several.
    pub(super) linked: Vec<LinkedName>,
}

impl JournalCapture {
    pub(super) fn new(inner: BaselineCapture, watching: Watching, notes: Vec<String>) -> Self {
        let notes = inner.notes().iter().cloned().chain(notes).collect();
        Self {
            inner,
            watching: Some(watching),
            notes,
        }
    }

    /// A capture that was begun by a process that is gone.
    pub(super) fn unwatched(inner: BaselineCapture) -> Self {
        Self {
            notes: inner.notes().to_vec(),
            inner,
            watching: None,
        }
    }
}

impl Watching {
    /// What may have changed in each tree, with remarks on those that have to be walked.
    fn ask(&self) -> (HashMap<AbsPath, Watched>, Vec<String>) {
        let walked = |root: &AbsPath, why: &str| format!("{root} was walked: {why}");
        let Some(since) = self.watch.since(self.number, &self.linked) else {
            let roots = self.trees.keys();
            let why = "it was not watched any more";
            return (
                HashMap::new(),
                roots.map(|root| walked(root, why)).collect(),
            );
        };
        let now = mount_points();
        let mut watched = HashMap::new();
        let mut notes = Vec::new();
        for (root, mounts) in &self.trees {
            if let Some(reason) = since.lost.get(root) {
                notes.push(walked(root, reason));
            } else if beneath(&now, root) != *mounts {
                notes.push(walked(root, "something was mounted or unmounted in it"));
            } else {
                let within = self.linked.iter().filter(|n| n.path.starts_with(root));
                let parts = Watched {
                    focus: since.focus.beneath(root),
                    linked: within.cloned().collect(),
                };
                watched.insert(root.clone(), parts);
            }
        }
        (watched, notes)
    }
}

impl Capture for JournalCapture {
    fn token(&self) -> Vec<u8> {
        self.inner.token()
    }

    fn entries(&self) -> u64 {
        self.inner.entries()
    }

    fn unobserved(&self) -> &[Unobserved] {
        self.inner.unobserved()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn exclusions(&self) -> &Exclusions {
        self.inner.exclusions()
    }

    fn content_beside(&self) -> Option<&AbsPath> {
        self.inner.content_beside()
    }

    fn content_is_cloned(&self) -> bool {
        self.inner.content_is_cloned()
    }

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        let (watched, notes) = match &self.watching {
            Some(watching) => watching.ask(),
            None => (HashMap::new(), Vec::new()),
        };
        let mut sealed = self.inner.seal_with(placement, &watched, progress)?;
        sealed.notes.extend(notes);
        Ok(sealed)
    }

    fn finish(self: Box<Self>) {
        if let Some(watching) = self.watching {
            watching.watch.close(watching.number);
        }
        Box::new(self.inner).finish();
    }
}
