//! The first walk: the state before a command, with all names of the files it meets.

use std::collections::HashMap;

use super::assemble::roots;
use super::index::{Index, Registered};
use super::observe::{Found, Observed, Observer};
use super::rows::Rows;
use super::trust::{Besides, Trust};
use crate::error::Result;
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::tree::focus::Focus;
use crate::snapshot::tree::links::{LinkedName, Seeker};
use crate::snapshot::tree::walk::{Bounds, Focused, walk, walk_focus};
use crate::snapshot::{Exclusions, Unobserved};

/// What the first walk gives.
pub(super) struct Scanned {
    /// The scope, with further names of files that it held only in part.
    pub(super) scope: Vec<ScopePath>,
    /// What the baseline knew of what was walked.
    pub(super) known: Rows,
    pub(super) found: Vec<(AbsPath, Found)>,
    pub(super) unobserved: Vec<Unobserved>,
    pub(super) exclusions: Exclusions,
    pub(super) entries: u64,
    pub(super) notes: Vec<String>,
    /// Trees of which everything was looked at.
    pub(super) swept: Vec<AbsPath>,
    /// Trees of which only parts were.
    pub(super) trusted: Vec<AbsPath>,
    /// Every name that was met of files with several.
    pub(super) linked: Vec<LinkedName>,
    /// The paths that were added to the scope.
    pub(super) further: Vec<ScopePath>,
}

/// What a scan works with.
pub(super) struct Scan<'a> {
    pub(super) index: &'a Index,
    pub(super) registered: Registered,
    pub(super) bounds: Bounds<'a>,
}

/// Walks `scope`; of trees that are trusted only what may have changed.
pub(super) fn scan(
    scope: &[ScopePath],
    exclusions: Exclusions,
    trusts: Vec<Trust>,
    with: &Scan<'_>,
) -> Result<Scanned> {
    let mut scanned = Scanned {
        scope: scope.to_vec(),
        known: Rows::default(),
        found: Vec::new(),
        unobserved: Vec::new(),
        exclusions,
        entries: 0,
        notes: Vec::new(),
        swept: Vec::new(),
        trusted: Vec::new(),
        linked: Vec::new(),
        further: Vec::new(),
    };
    for trust in trusts {
        if trust.holds(with.index)? && !scanned.look_again(&trust, &trust.focus, with)? {
            // Names in the same directory are what is missing most often.
            scanned.look_again(&trust, &trust.focus.widened(), with)?;
        }
    }
    let walked: Vec<ScopePath> = scope
        .iter()
        .filter(|path| !scanned.trusted.contains(&path.path))
        .cloned()
        .collect();
    let groups = scanned.walk_all(&walked, with)?;
    let further = further_names(
        &scanned.scope,
        &scanned.exclusions,
        with.bounds,
        &groups.incomplete(),
    )?;
    if !further.is_empty() {
        groups.add(scanned.walk_all(&further, with)?);
        scanned.scope.extend(further.iter().cloned());
        scanned.scope.sort_by(|a, b| a.path.cmp(&b.path));
        scanned.further.extend(further);
    }
    scanned
        .notes
        .extend(remark(groups.incomplete().into_values().collect()));
    scanned.linked.extend(groups.names());
    Ok(scanned)
}

impl Scanned {
    /// What was found of one tree besides rows.
    pub(super) fn besides(&self, root: &AbsPath) -> Besides {
        let within = |path: &AbsPath| path.starts_with(root);
        let linked = self.linked.iter().filter(|name| within(&name.path));
        let unobserved = self
            .unobserved
            .iter()
            .filter(|skipped| within(&skipped.path));
        let files = self
            .exclusions
            .files
            .iter()
            .filter(|(path, _)| within(path));
        Besides {
            linked: linked.cloned().collect(),
            further: self.further.clone(),
            unobserved: unobserved.cloned().collect(),
            ignore_files: files.cloned().collect(),
            entries: self.entries,
            notes: self.notes.clone(),
        }
    }

    /// Walks all of `scope`. Gives the files with several names that were met.
    fn walk_all(
        &mut self,
        scope: &[ScopePath],
        with: &Scan<'_>,
    ) -> Result<crate::snapshot::tree::links::Groups> {
        let known = with.index.load(&roots(scope), with.registered.generation)?;
        let observer = Observer::new(&known, false, with.bounds.cancel);
        let walked = walk(scope, &self.exclusions, false, with.bounds, &observer)?;
        let observed = observer.finish();
        self.found.extend(observed.found);
        self.unobserved.extend(observed.unobserved);
        self.unobserved.extend(walked.unobserved);
        self.entries += walked.entries;
        self.exclusions.files.extend(walked.ignore_files);
        self.exclusions.files.sort();
        self.exclusions.files.dedup();
        self.known.extend(known);
        let trees = scope.iter().filter(|path| path.depth == Depth::Tree);
        self.swept.extend(trees.map(|tree| tree.path.clone()));
        Ok(observed.groups)
    }

    /// Looks at what may have changed in a trusted tree. `false`: that shows more than can be told
    /// from it, so the tree is not trusted, and walked like any other.
    fn look_again(&mut self, trust: &Trust, focus: &Focus, with: &Scan<'_>) -> Result<bool> {
        let Some(root) = self.scope.iter().find(|path| path.path == trust.root) else {
            return Ok(true);
        };
        let mut known = Trust::rows(with.index, focus, with.registered)?;
        let observer = Observer::new(&known, true, with.bounds.cancel);
        let frozen = Exclusions {
            files: trust.besides.ignore_files.clone(),
            ..self.exclusions.clone()
        };
        let focused = walk_focus(root, focus, &frozen, with.bounds, &observer)?;
        let observed = observer.finish();
        let besides = Besides::updated(trust.besides.clone(), &focused, &observed);
        let elsewhere: Vec<&LinkedName> = besides
            .linked
            .iter()
            .filter(|name| !focused.came_to(&name.path))
            .collect();
        let known_file = |path: &AbsPath| frozen.files.iter().any(|(at, _)| at == path);
        if observed.unclear
            || !observed.groups.incomplete_beside(&elsewhere).is_empty()
            || !observed.ignoring.iter().all(known_file)
        {
            return Ok(false);
        }
        let swept = swept(&focused, observed.vanished);
        let missing: Vec<(&AbsPath, bool)> = swept.iter().map(|tree| (tree, true)).collect();
        known.fill_up(with.index.load(&missing, with.registered.generation)?);
        self.found.extend(observed.found);
        self.known.extend(known);
        self.swept.extend(swept);
        self.trusted.push(trust.root.clone());
        self.entries += besides.entries;
        self.unobserved.extend(besides.unobserved);
        self.linked.extend(besides.linked);
        self.notes.extend(besides.notes);
        self.exclusions.files.extend(besides.ignore_files);
        for path in besides.further {
            // Where the scope has it anyway it is walked anyway.
            if !holds(&self.scope, &path.path) {
                self.walk_all(std::slice::from_ref(&path), with)?;
                self.scope.push(path.clone());
                self.further.push(path);
            }
        }
        self.scope.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(true)
    }
}

impl Besides {
    /// The same after some directories were looked at once more.
    fn updated(mut self, focused: &Focused, observed: &Observed) -> Self {
        self.linked
            .retain(|name| !focused.came_to(&name.path) && !is_gone(observed, &name.path));
        self.linked.extend(observed.groups.names());
        self.unobserved
            .retain(|skipped| !focused.came_to(&skipped.path) && !is_gone(observed, &skipped.path));
        self.unobserved.extend(observed.unobserved.iter().cloned());
        self.unobserved
            .extend(focused.walked.unobserved.iter().cloned());
        self.unobserved.sort_by(|a, b| a.path.cmp(&b.path));
        self.unobserved.dedup();
        self
    }
}

fn is_gone(observed: &Observed, path: &AbsPath) -> bool {
    observed.vanished.iter().any(|gone| path.starts_with(gone))
}

/// The trees of which a walk of a focus saw everything, none within another.
fn swept(focused: &Focused, vanished: Vec<AbsPath>) -> Vec<AbsPath> {
    let mut all: Vec<AbsPath> = focused.whole().cloned().collect();
    all.extend(vanished);
    all.sort();
    let mut tops: Vec<AbsPath> = Vec::new();
    for path in all {
        if !tops.last().is_some_and(|top| path.starts_with(top)) {
            tops.push(path);
        }
    }
    tops
}

/// Names in the working directory, outside the scope, of files that have some in it; with the
/// directories that hold them.
fn further_names(
    scope: &[ScopePath],
    exclusions: &Exclusions,
    bounds: Bounds<'_>,
    incomplete: &HashMap<(u64, u64), AbsPath>,
) -> Result<Vec<ScopePath>> {
    // Nobody asked for the whole filesystem.
    let base = exclusions.base.as_ref();
    let Some(base) = base.filter(|base| !incomplete.is_empty() && base.parent().is_some()) else {
        return Ok(Vec::new());
    };
    let seeker = Seeker::new(incomplete);
    let everywhere = ScopePath {
        path: base.clone(),
        depth: Depth::Tree,
        reason: String::new(),
        certainty: Certainty::Possible,
        rule: String::new(),
    };
    walk(&[everywhere], exclusions, false, bounds, &seeker)?;
    let mut further: Vec<ScopePath> = Vec::new();
    for path in seeker.finish() {
        for (path, reason) in [
            (path.parent(), "holds another name of a file in the scope"),
            (Some(path), "another name of a file in the scope"),
        ] {
            let new = path.filter(|path| !holds(scope, path) && !holds(&further, path));
            further.extend(new.map(|path| ScopePath {
                path,
                depth: Depth::Entry,
                reason: reason.into(),
                certainty: Certainty::Likely,
                rule: String::new(),
            }));
        }
    }
    Ok(further)
}

/// Whether a path is in a scope.
fn holds(scope: &[ScopePath], path: &AbsPath) -> bool {
    scope.iter().any(|root| {
        root.path == *path
            || match root.depth {
                Depth::Entry => false,
                Depth::Children => path.parent().as_ref() == Some(&root.path),
                Depth::Tree => path.starts_with(&root.path),
            }
    })
}

/// What is said of files whose other names were not found.
fn remark(mut examples: Vec<AbsPath>) -> Vec<String> {
    examples.sort();
    let Some(first) = examples.first() else {
        return Vec::new();
    };
    let others = match examples.len() {
        1 => String::new(),
        more => format!(" and {} more files", more - 1),
    };
    vec![format!(
        "{first}{others}: further names (hard links) are outside the scope, a rollback may part them"
    )]
}
