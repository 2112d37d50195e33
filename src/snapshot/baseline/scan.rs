//! The first walk: the state before a command, with all names of the files it meets.

use super::capture::roots;
use super::index::{Index, Registered, Rows};
use super::links::Seeker;
use super::observe::{Found, Observer};
use super::walk::{Bounds, walk};
use crate::error::Result;
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::{Exclusions, Unobserved};

/// What the first walk gives.
pub(super) struct Scanned {
    /// The scope, with further names of files that it held only in part.
    pub(super) scope: Vec<ScopePath>,
    /// What the baseline knew of it.
    pub(super) known: Rows,
    pub(super) found: Vec<(AbsPath, Found)>,
    pub(super) unobserved: Vec<Unobserved>,
    pub(super) exclusions: Exclusions,
    pub(super) entries: u64,
    pub(super) notes: Vec<String>,
}

/// Walks `scope`.
pub(super) fn scan(
    scope: &[ScopePath],
    exclusions: Exclusions,
    bounds: Bounds,
    index: &Index,
    registered: Registered,
) -> Result<Scanned> {
    let mut known = index.load(&roots(scope), registered.generation)?;
    let observer = Observer::new(&known);
    let walked = walk(scope, &exclusions, false, bounds, &observer)?;
    let (mut found, mut unobserved, groups) = observer.finish();
    unobserved.extend(walked.unobserved);
    let mut entries = walked.entries;
    let mut exclusions = Exclusions {
        files: walked.ignore_files,
        ..exclusions
    };
    let mut whole = scope.to_vec();
    let further = further_names(scope, &exclusions, bounds, &groups.incomplete())?;
    if !further.is_empty() {
        let known_further = index.load(&roots(&further), registered.generation)?;
        let observer = Observer::new(&known_further);
        let walked = walk(&further, &exclusions, false, bounds, &observer)?;
        let (more, not_seen, met) = observer.finish();
        groups.add(met);
        found.extend(more);
        unobserved.extend(not_seen);
        unobserved.extend(walked.unobserved);
        entries += walked.entries;
        exclusions.files.extend(walked.ignore_files);
        exclusions.files.sort();
        exclusions.files.dedup();
        known.extend(known_further);
        whole.extend(further);
        whole.sort_by(|a, b| a.path.cmp(&b.path));
    }
    let notes = remark(groups.incomplete().into_values().collect());
    Ok(Scanned {
        scope: whole,
        known,
        found,
        unobserved,
        exclusions,
        entries,
        notes,
    })
}

/// Names in the working directory, outside the scope, of files that have some in it; with the
/// directories that hold them.
fn further_names(
    scope: &[ScopePath],
    exclusions: &Exclusions,
    bounds: Bounds,
    incomplete: &std::collections::HashMap<(u64, u64), AbsPath>,
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
