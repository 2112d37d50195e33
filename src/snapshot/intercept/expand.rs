//! From what was touched to everything that a command changed.
//!
//! A renamed directory is one record, and what lies in a new one is none: here they become the entries
//! that went and came with them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::sync::Mutex;

use rayon::prelude::*;

use super::live::{Looker, Reading, read_kept};
use super::model::Model;
use super::places::Places;
use super::record::{Inode, Stored};
use super::rules::Rulebook;
use crate::entry::{EntryKind, EntryState};
use crate::error::{IoContext, Result, Stage};
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::tree::compare::read_after;
use crate::snapshot::tree::walk::{Bounds, Descend, Visit, Visitor, lock, walk};
use crate::snapshot::{Exclusions, Unobserved};
use crate::sys::{Dir, Stat, read_open_state, read_state};

/// What a command made must be found however much it is.
pub(super) const UNBOUNDED: Bounds<'static> = Bounds::NONE;
/// Entries that one task looks at.
const CHUNK: usize = 64;

/// The state before, of everything that may have changed.
pub(super) type Before = BTreeMap<AbsPath, Option<Box<EntryState>>>;

/// Everything that may have changed, before and after.
pub(super) struct Expanded {
    pub(super) before: Before,
    /// What is there now.
    pub(super) after: BTreeMap<AbsPath, EntryState>,
    /// Where each file is now.
    pub(super) places: HashMap<Inode, AbsPath>,
    /// Of content that was read already.
    pub(super) readings: HashMap<Inode, Reading>,
    pub(super) unobserved: Vec<Unobserved>,
}

/// Looks at everything that `model` speaks of. What the rules leave out is taken out of it.
pub(super) fn expand(
    model: &mut Model,
    exclusions: &Exclusions,
    rules: &mut Rulebook<'_>,
    places: &Places,
) -> Result<Expanded> {
    let mut before = Before::new();
    for (now, origin) in model.territory.moved() {
        carry_along(model, now, origin, &mut before)
            .context(Stage::Seal, || format!("cannot look through {now}"))?;
    }
    let mut whole = HashMap::new();
    let touched = model.take_was().into_iter().map(|(path, was)| {
        if let Some(stored) = was.whole {
            whole.insert(path.clone(), stored);
        }
        (path, was.state)
    });
    before.append(&mut touched.collect());
    leave_out(&mut before, rules)?;
    let readings = complete(&mut before, &whole, places)?;
    let mut expanded = Expanded {
        before,
        readings,
        after: BTreeMap::new(),
        places: HashMap::new(),
        unobserved: Vec::new(),
    };
    expanded.look();
    expanded.walk_new(exclusions)?;
    for (path, state) in &expanded.after {
        if state.is_file() {
            let inode = (state.identity.device, state.identity.inode);
            expanded.places.insert(inode, path.clone());
        }
    }
    Ok(expanded)
}

/// Reads attributes, flags and content of files that are kept as they were.
fn complete(
    before: &mut Before,
    whole: &HashMap<AbsPath, Stored>,
    places: &Places,
) -> Result<HashMap<Inode, Reading>> {
    let kept: Vec<(&mut EntryState, &Dir, &Stored)> = before
        .iter_mut()
        .filter_map(|(path, state)| {
            let stored = whole.get(path)?;
            Some((state.as_deref_mut()?, places.dir_of(stored).ok()?, stored))
        })
        .collect();
    let readings = kept
        .into_par_iter()
        .filter_map(
            |(state, place, stored)| match read_kept(place, stored, state) {
                Ok((complete, reading)) => {
                    *state = complete;
                    let inode = (state.identity.device, state.identity.inode);
                    Some(Ok((inode, reading?)))
                }
                // Its content is missed as well, and that is said.
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(error) => Some(Err(error)),
            },
        )
        .collect::<io::Result<_>>();
    readings.context(Stage::Seal, || "cannot read what was kept")
}

/// Takes out what is left alone.
fn leave_out(before: &mut Before, rules: &mut Rulebook<'_>) -> Result<()> {
    let mut out = Vec::new();
    for (path, state) in before.iter() {
        let is_dir = match state {
            Some(state) => state.is_dir(),
            None => path.as_path().symlink_metadata().is_ok_and(|m| m.is_dir()),
        };
        if rules.excludes(path, is_dir)? {
            out.push(path.clone());
        }
    }
    for path in out {
        before.remove(&path);
    }
    Ok(())
}

/// Adds what lay in a directory that was moved to `now`, and was not touched by itself: it is there as
/// it was.
fn carry_along(
    model: &Model,
    now: &AbsPath,
    origin: &AbsPath,
    before: &mut Before,
) -> io::Result<()> {
    let Ok(root) = Dir::open(now) else {
        // It is gone, and what was in it was touched when it went.
        return Ok(());
    };
    let device = root.stat_self()?.identity.device;
    let mut waiting = vec![(now.clone(), origin.clone(), root)];
    while let Some((at, was_at, dir)) = waiting.pop() {
        for name in dir.names()? {
            let (Some(stat), Ok(path), Ok(slot)) =
                (dir.stat_opt(&name)?, at.join(&name), was_at.join(&name))
            else {
                continue;
            };
            let is_dir = stat.kind == EntryKind::Directory;
            if stat.identity.device != device {
                continue;
            }
            let same = match model.was.get(&slot) {
                None => {
                    let known = model.known((stat.identity.device, stat.identity.inode));
                    let state = match known {
                        Some(known) => known.clone(),
                        None => state_of(&dir, &name, &stat)?,
                    };
                    before.insert(slot.clone(), Some(Box::new(state)));
                    is_dir
                }
                Some(was) => was.state.as_ref().is_some_and(|state| {
                    state.is_dir() && state.identity.inode == stat.identity.inode
                }),
            };
            if is_dir && same && !model.territory.knows(&path) {
                waiting.push((path, slot, dir.open_dir(&name)?));
            }
        }
    }
    Ok(())
}

/// The state of an entry without the hash of its content.
fn state_of(dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<EntryState> {
    match stat.kind {
        EntryKind::Directory => match dir.open_dir(name) {
            Ok(open) => read_open_state(&open, stat),
            Err(_) => read_state(dir, name, stat),
        },
        _ => read_state(dir, name, stat),
    }
}

impl Expanded {
    /// Looks at what is now at every path that may have changed.
    fn look(&mut self) {
        let paths: Vec<&AbsPath> = self.before.keys().collect();
        let looked: Vec<(AbsPath, io::Result<EntryState>)> = paths
            .par_chunks(CHUNK)
            .flat_map_iter(|paths| {
                let mut looker = Looker::default();
                let look = move |path: &&AbsPath| {
                    let state = match looker.stat(path).transpose()? {
                        Ok(stat) => looker.state(path, &stat).transpose()?,
                        Err(error) => Err(error),
                    };
                    Some(((*path).clone(), state))
                };
                paths.iter().filter_map(look).collect::<Vec<_>>()
            })
            .collect();
        for (path, state) in looked {
            match state {
                Ok(state) => {
                    self.after.insert(path, state);
                }
                Err(error) => {
                    self.before.remove(&path);
                    let reason = format!("cannot be looked at after the command: {error}");
                    self.unobserved.push(Unobserved { path, reason });
                }
            }
        }
    }

    /// Adds what lies in directories that are not those which were there before.
    fn walk_new(&mut self, exclusions: &Exclusions) -> Result<()> {
        let mut roots: Vec<ScopePath> = Vec::new();
        for (path, after) in self.after.iter().filter(|(_, after)| after.is_dir()) {
            let same = self
                .before
                .get(path)
                .and_then(Option::as_ref)
                .is_some_and(|before| {
                    before.is_dir() && before.identity.inode == after.identity.inode
                });
            let within = roots
                .last()
                .is_some_and(|root| path.starts_with(&root.path));
            if !same && !within {
                roots.push(whole(path.clone()));
            }
        }
        let newcomers = Newcomers::default();
        let walked = walk(&roots, exclusions, true, UNBOUNDED, &newcomers)?;
        self.unobserved.extend(walked.unobserved);
        self.unobserved
            .extend(newcomers.unobserved.into_inner().unwrap_or_default());
        for (path, state) in newcomers.found.into_inner().unwrap_or_default() {
            self.before.entry(path.clone()).or_insert(None);
            self.after.insert(path, state);
        }
        Ok(())
    }
}

/// All of a tree.
pub(super) fn whole(path: AbsPath) -> ScopePath {
    ScopePath {
        path,
        depth: Depth::Tree,
        reason: String::new(),
        certainty: Certainty::Certain,
        rule: String::new(),
    }
}

/// Collects every entry that a walk comes to.
#[derive(Default)]
struct Newcomers {
    found: Mutex<Vec<(AbsPath, EntryState)>>,
    unobserved: Mutex<Vec<Unobserved>>,
}

impl Newcomers {
    fn add(&self, path: AbsPath, state: io::Result<EntryState>) {
        match state {
            Ok(state) => lock(&self.found).push((path, state)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let reason = format!("cannot be looked at after the command: {error}");
                lock(&self.unobserved).push(Unobserved { path, reason });
            }
        }
    }
}

impl Visitor for Newcomers {
    fn directory(&self, visit: &Visit<'_>) -> Descend {
        self.add(visit.path.clone(), read_open_state(visit.dir, visit.stat));
        let files = visit.entries.unwrap_or_default();
        files.par_chunks(CHUNK).for_each(|entries| {
            for (name, stat) in entries {
                if stat.kind != EntryKind::Directory
                    && let Ok(path) = visit.path.join(name)
                {
                    self.add(path, read_after(visit.dir, name, stat));
                }
            }
        });
        Descend::All
    }

    fn root(&self, _: &AbsPath, _: Option<&Dir>, _: &OsStr, _: Option<&Stat>) {}
}
