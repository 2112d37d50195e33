//! A capture in progress, and how it is sealed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::before::Known;
use super::idle::Idle;
use super::index::{Index, Registered};
use super::objects::Objects;
use super::place::place;
use super::rows::Rows;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::request::Limits;
use crate::seal::Observed;
use crate::snapshot::tree::compare::{Compared, Comparer, Difference};
use crate::snapshot::tree::focus::Focus;
use crate::snapshot::tree::links::LinkedName;
use crate::snapshot::tree::walk::{Bounds, Walked, walk, walk_focus};
use crate::snapshot::{Capture, Exclusions, Placement, Sealed, Unobserved};

/// What a command made must be found however much it is.
const UNBOUNDED: Bounds<'static> = Bounds::NONE;
/// What a later process needs to take up a capture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) registered: (i64, i64),
    pub(super) scope: Vec<(AbsPath, Depth)>,
    pub(super) exclusions: Exclusions,
    pub(super) unobserved: Vec<Unobserved>,
    pub(super) limits: Limits,
    pub(super) beside: Option<AbsPath>,
    pub(super) cloned: bool,
}

/// A capture in progress.
pub struct BaselineCapture {
    pub(super) beside: Option<AbsPath>,
    /// Content is cloned into the baseline.
    pub(super) cloned: bool,
    pub(super) objects: Objects,
    pub(super) index: Mutex<Index>,
    /// Where the index goes in the end.
    pub(super) idle: Arc<Idle>,
    pub(super) registered: Registered,
    pub(super) scope: Vec<ScopePath>,
    pub(super) exclusions: Exclusions,
    pub(super) limits: Limits,
    pub(super) before: Rows,
    /// Trees of which `before` has only what was looked at; the index has the rest.
    pub(super) trusted: Vec<AbsPath>,
    pub(super) entries: u64,
    pub(super) unobserved: Vec<Unobserved>,
    pub(super) notes: Vec<String>,
}

impl Capture for BaselineCapture {
    fn token(&self) -> Vec<u8> {
        let token = Token {
            registered: (self.registered.token, self.registered.generation),
            scope: self
                .scope
                .iter()
                .map(|s| (s.path.clone(), s.depth))
                .collect(),
            exclusions: self.exclusions.clone(),
            unobserved: self.unobserved.clone(),
            limits: self.limits,
            beside: self.beside.clone(),
            cloned: self.cloned,
        };
        postcard::to_stdvec(&token).unwrap_or_default()
    }

    fn entries(&self) -> u64 {
        self.entries
    }

    fn unobserved(&self) -> &[Unobserved] {
        &self.unobserved
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    fn content_beside(&self) -> Option<&AbsPath> {
        self.beside.as_ref()
    }

    fn content_is_cloned(&self) -> bool {
        self.cloned
    }

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        self.seal_with(placement, &HashMap::new(), progress)
    }

    fn finish(self: Box<Self>) {
        let mut index = self
            .index
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match index.unregister(self.registered) {
            Ok(freed) => {
                freed
                    .into_iter()
                    .for_each(|serial| self.objects.remove(serial));
                // An open file would keep another volume from being unmounted.
                if self.beside.is_none() {
                    self.idle.keep(index);
                }
            }
            Err(error) => tracing::warn!(%error, "a capture stays registered in the baseline"),
        }
    }
}

impl BaselineCapture {
    /// Seals for somebody who knows what may have changed in trees of the scope since begin: the
    /// other trees are walked.
    pub(in crate::snapshot) fn seal_with(
        &mut self,
        placement: Placement<'_>,
        watched: &HashMap<AbsPath, Watched>,
        progress: &dyn Progress,
    ) -> Result<Sealed> {
        progress.event(Event::Begin {
            phase: Phase::Seal,
            total: None,
        });
        let mut seen = Seen::default();
        let mut walked = Vec::with_capacity(self.scope.len());
        for path in &self.scope {
            match watched.get(&path.path) {
                Some(watched) if path.depth == Depth::Tree => {
                    let (few, linked) = (&watched.focus, &watched.linked);
                    // Names in the same directory are what is missing most often.
                    if !self.compare_parts(path, few, linked, &mut seen)?
                        && !self.compare_parts(path, &few.widened(), linked, &mut seen)?
                    {
                        seen.notes.push(format!(
                            "{}: a file got a further name (hard link), so all of it was walked",
                            path.path
                        ));
                        walked.push(path.clone());
                    }
                }
                _ => walked.push(path.clone()),
            }
        }
        self.load_trusted(&walked)?;
        self.compare_all(&walked, &mut seen)?;
        let sealed = self.settle(seen, placement)?;
        progress.event(Event::End);
        Ok(sealed)
    }

    /// The generation of the index that has what this capture saw.
    pub(in crate::snapshot) fn generation(&self) -> i64 {
        self.registered.generation
    }

    fn known(&self) -> Known<'_> {
        Known {
            loaded: &self.before,
            trusted: &self.trusted,
            index: &self.index,
            generation: self.registered.generation,
            objects: &self.objects,
        }
    }

    /// Loads what is known of trees that were not walked before the command and are to be now.
    fn load_trusted(&mut self, walked: &[ScopePath]) -> Result<()> {
        let (walk, keep): (Vec<AbsPath>, Vec<AbsPath>) = std::mem::take(&mut self.trusted)
            .into_iter()
            .partition(|tree| walked.iter().any(|path| path.path == *tree));
        let trees: Vec<(&AbsPath, bool)> = walk.iter().map(|tree| (tree, true)).collect();
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = index.load(&trees, self.registered.generation);
        self.trusted = keep;
        // What was looked at is among the rows that were written.
        self.before.fill_up(loaded?);
        Ok(())
    }

    fn compare_all(&self, scope: &[ScopePath], seen: &mut Seen) -> Result<()> {
        let known = self.known();
        let comparer = Comparer::new(&known, &self.scope);
        let walked = walk(scope, &self.exclusions, true, UNBOUNDED, &comparer)?;
        seen.add(comparer.finish(), walked);
        Ok(())
    }

    /// Compares the parts of a tree that may have changed. `false`: a file has names elsewhere in it
    /// that it did not have, so that all of it must be compared.
    fn compare_parts(
        &self,
        root: &ScopePath,
        focus: &Focus,
        linked: &[LinkedName],
        seen: &mut Seen,
    ) -> Result<bool> {
        let known = self.known();
        let comparer = Comparer::new(&known, &self.scope);
        let focused = walk_focus(root, focus, &self.exclusions, UNBOUNDED, &comparer)?;
        let compared = comparer.finish();
        let elsewhere: Vec<&LinkedName> = linked
            .iter()
            .filter(|name| !focused.came_to(&name.path))
            .collect();
        let whole = compared.groups.incomplete_beside(&elsewhere).is_empty();
        if whole {
            seen.add(compared, focused.walked);
        }
        Ok(whole)
    }

    /// Makes changes of what was seen.
    fn settle(&self, seen: Seen, placement: Placement<'_>) -> Result<Sealed> {
        let lost: HashMap<&AbsPath, &str> = self
            .unobserved
            .iter()
            .map(|u| (&u.path, u.reason.as_str()))
            .collect();
        // A path that cannot be seen now may well be there: it did not go.
        let hidden: Vec<&AbsPath> = seen.unobserved.iter().map(|u| &u.path).collect();
        let visible = seen.differences.into_iter().filter(|(path, difference)| {
            difference.after.is_some() || !hidden.iter().any(|h| path.starts_with(h))
        });
        let (changes, stored_bytes) = place(&self.objects, visible.collect(), placement, &lost)?;
        Ok(Sealed {
            changes,
            unobserved: seen.unobserved,
            entries: seen.entries,
            stored_bytes,
            notes: seen.notes,
            observed: Observed::default(),
        })
    }
}

/// What may have changed in a tree since a capture began.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Watched {
    pub(in crate::snapshot) focus: Focus,
    /// The names that files with several had before.
    pub(in crate::snapshot) linked: Vec<LinkedName>,
}

/// What comparing found so far.
#[derive(Default)]
struct Seen {
    differences: BTreeMap<AbsPath, Difference>,
    unobserved: Vec<Unobserved>,
    entries: u64,
    notes: Vec<String>,
}

impl Seen {
    fn add(&mut self, compared: Compared, walked: Walked) {
        self.differences.extend(compared.differences);
        self.unobserved.extend(compared.unobserved);
        self.unobserved.extend(walked.unobserved);
        self.entries += walked.entries;
    }
}

pub(super) fn read_token(token: &[u8]) -> Result<Token> {
    postcard::from_bytes(token).map_err(|_| lost("its token is not readable"))
}

pub(super) fn lost(why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        Stage::Capture,
        format!("the capture cannot be resumed: {why}"),
    )
}
