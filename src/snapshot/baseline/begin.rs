//! The baseline of a store, and how a capture on it is begun.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::assemble::{assemble, restrict, roots};
use super::capture::{BaselineCapture, lost, read_token};
use super::idle::Idle;
use super::index::{Index, Registered, Update};
use super::objects::Objects;
use super::scan::{Scan, Scanned, scan};
use super::secure::{self, Keep};
use super::trust::{Learnt, Trust};
use crate::error::{ErrorKind, IoContext, Result, Stage};
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Phase};
use crate::request::Limits;
use crate::snapshot::tree::walk::Bounds;
use crate::snapshot::{CaptureRequest, Room, unless_cancelled};
use crate::sys;

/// Inodes that stay free: the snapshot itself needs some, and so does the command.
const RESERVED_INODES: u64 = 64;
/// How long a capture waits for another one's write to the index.
const WAIT: Duration = Duration::from_secs(30);

/// How long a capture that was given up removes what it stored. A million files take a minute.
const TIDYING: Duration = Duration::from_millis(700);
/// Objects that are removed before somebody looks whether to go on.
const AT_ONCE: u64 = 1024;

/// The baseline of one store.
#[derive(Debug, Clone)]
pub struct Baseline {
    root: Arc<PathBuf>,
    /// The mount point of the volume that it is kept beside, where that is not the store's.
    beside: Option<AbsPath>,
    idle: Arc<Idle>,
}

/// How a capture is begun.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Beginning {
    /// Trees that need not be walked.
    pub(in crate::snapshot) trusts: Vec<Trust>,
    /// How new content is kept.
    pub(in crate::snapshot) keep: Keep,
}

impl Baseline {
    /// The baseline in the directory `root` (absolute), which is made on first use.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Arc::new(root.into()),
            beside: None,
            idle: Arc::default(),
        }
    }

    /// A baseline in the directory `root` on the volume that is mounted at `volume`: what captures
    /// store is to be on that volume too.
    pub fn beside(root: impl Into<PathBuf>, volume: AbsPath) -> Self {
        Self {
            root: Arc::new(root.into()),
            beside: Some(volume),
            idle: Arc::default(),
        }
    }

    /// The volume beside which the baseline of a capture is; `None`: it is the store's own.
    pub fn volume_of(token: &[u8]) -> Result<Option<AbsPath>> {
        read_token(token).map(|token| token.beside)
    }

    fn open(&self) -> Result<(Index, Objects)> {
        let objects = Objects::open(self.root.join("objects"))?;
        let path = self.root.join("index.sqlite");
        if let Some(index) = self.idle.take(&path) {
            return Ok((index, objects));
        }
        let index = match Index::open(&path, WAIT) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                // Only a cache: start over, under new numbers would be wrong, so drop all of it.
                tracing::warn!(error = %e, "the baseline is damaged and is built anew");
                std::fs::remove_dir_all(&*self.root).context(Stage::Capture, || {
                    format!("cannot clear {}", self.root.display())
                })?;
                return self.open_new();
            }
            other => other?,
        };
        Ok((index, objects))
    }

    fn open_new(&self) -> Result<(Index, Objects)> {
        let objects = Objects::open(self.root.join("objects"))?;
        Ok((Index::open(&self.root.join("index.sqlite"), WAIT)?, objects))
    }

    /// Secures the state of a scope; see [`crate::snapshot::SnapshotStrategy::begin`].
    pub fn begin(&self, request: CaptureRequest<'_>, keep: Keep) -> Result<BaselineCapture> {
        let beginning = Beginning {
            keep,
            ..Beginning::default()
        };
        self.begin_with(request, beginning)
            .map(|(capture, _)| capture)
    }

    /// The same for somebody who knows of trees what changed in them since an earlier capture. Gives
    /// what was learnt of every tree in the scope.
    pub(in crate::snapshot) fn begin_with(
        &self,
        request: CaptureRequest<'_>,
        beginning: Beginning,
    ) -> Result<(BaselineCapture, Vec<Learnt>)> {
        request.exclusions.check()?;
        let (mut index, objects) = self.open()?;
        let registered = index.register()?;
        let mut begin = Begin {
            registered,
            claimed: None,
        };
        let begun = self.begin_registered(request, beginning, (index, objects), &mut begin);
        if begun.is_err()
            && let Ok((mut index, objects)) = self.open()
        {
            // The first error says more than a second one would.
            let freed = index.unregister(registered).unwrap_or_default();
            freed.into_iter().for_each(|serial| objects.remove(serial));
            if let Some(claim) = begin.claimed {
                let given_up = Instant::now();
                let go_on = || given_up.elapsed() < TIDYING;
                let _ = give_back(&mut index, &objects, claim, &go_on);
            }
        }
        begun
    }

    fn begin_registered(
        &self,
        request: CaptureRequest<'_>,
        beginning: Beginning,
        (mut index, objects): (Index, Objects),
        begin: &mut Begin,
    ) -> Result<(BaselineCapture, Vec<Learnt>)> {
        let registered = begin.registered;
        unless_cancelled(request.cancel)?;
        let deadline = Instant::now() + request.limits.max_duration;
        let keep = beginning.keep;
        sweep(&mut index, &objects, &|| !request.cancel.is_cancelled())?;
        unless_cancelled(request.cancel)?;
        request.progress.event(Event::Begin {
            phase: Phase::Scan,
            total: None,
        });
        let with = Scan {
            index: &index,
            registered,
            bounds: Bounds {
                max_entries: request.limits.max_entries,
                deadline: Some(deadline),
                cancel: Some(request.cancel),
            },
        };
        let since: Vec<Since> = beginning
            .trusts
            .iter()
            .map(|trust| Since {
                root: trust.root.clone(),
                generation: trust.generation,
                fitting: trust.fitting.clone(),
            })
            .collect();
        let mut scanned = scan(request.scope, request.exclusions, beginning.trusts, &with)?;
        request.progress.event(Event::End);
        let context = secure::Context {
            scope: &scanned.scope,
            keep,
            limits: request.limits,
            deadline,
            cancel: request.cancel,
            room: &|needed| {
                let possible = self.room(&request.limits).min(needed);
                (request.room)(possible).min(possible)
            },
            objects: &objects,
            progress: request.progress,
        };
        let secured = secure::secure(&mut scanned.found, &context, |count| {
            let first = index.reserve_serials(count)?;
            begin.claimed = Some((first, count));
            Ok(first)
        })?;
        scanned.unobserved.extend(secured.unobserved);
        let assembled = assemble(
            std::mem::take(&mut scanned.found),
            &scanned.known,
            &scanned.scope,
            &scanned.swept,
            &scanned.unobserved,
        );
        if !secured.serials.is_empty() {
            objects.sync(secured.serials, request.cancel)?;
        }
        unless_cancelled(request.cancel)?;
        // From here on rows may refer to them.
        begin.claimed = None;
        let update = Update {
            upsert: &assembled.upsert,
            remove: &assembled.remove,
            roots: &scanned.scope,
            claim: secured.claim,
        };
        let (committed, freed) = index.commit(registered, &update)?;
        freed.into_iter().for_each(|serial| objects.remove(serial));
        let learnt = learn(&scanned, &index, registered, committed, &since)?;
        let capture = BaselineCapture {
            beside: self.beside.clone(),
            cloned: keep == Keep::Clone,
            objects,
            index: Mutex::new(index),
            idle: Arc::clone(&self.idle),
            registered: committed,
            scope: scanned.scope,
            exclusions: scanned.exclusions,
            limits: request.limits,
            before: assembled.before,
            trusted: scanned.trusted,
            entries: scanned.entries,
            unobserved: scanned.unobserved,
            notes: scanned.notes,
        };
        Ok((capture, learnt))
    }

    /// What a capture may put on the baseline's volume.
    fn room(&self, limits: &Limits) -> Room {
        let wanted = Room {
            bytes: limits.max_bytes,
            ..Room::UNLIMITED
        };
        let Ok(space) = sys::space(&self.root) else {
            return wanted;
        };
        // Of a small volume a twentieth stays free instead.
        let reserve = limits.min_free_bytes.min(space.total_bytes / 20);
        let files = space.free_inodes.map_or(u64::MAX, |free| {
            free.saturating_sub(RESERVED_INODES.max(free / 20))
        });
        wanted.min(Room {
            bytes: space.free_bytes.saturating_sub(reserve),
            files,
        })
    }

    /// Lets go of what was in no scope for `age`, so that the cache does not grow for ever. Takes
    /// time in proportion to what goes. Gives the number of files deleted.
    pub fn forget_unused(&self, age: Duration) -> Result<u64> {
        let (mut index, objects) = self.open()?;
        sweep(&mut index, &objects, &|| true)?;
        let freed = index.forget_unused(age)?;
        freed.iter().for_each(|serial| objects.remove(*serial));
        Ok(freed.len() as u64)
    }

    /// Takes up a capture of a process that died.
    pub fn resume(&self, token: &[u8]) -> Result<BaselineCapture> {
        let token = read_token(token)?;
        let (index, objects) = self.open()?;
        let registered = Registered {
            token: token.registered.0,
            generation: token.registered.1,
        };
        if !index.is_registered(registered)? {
            return Err(lost("the baseline it was made on is gone"));
        }
        let scope: Vec<ScopePath> = token
            .scope
            .into_iter()
            .map(|(path, depth)| ScopePath {
                path,
                depth,
                reason: String::new(),
                certainty: Certainty::Possible,
                rule: String::new(),
            })
            .collect();
        let rows = index.load(&roots(&scope), registered.generation)?;
        let before = restrict(rows, &scope);
        Ok(BaselineCapture {
            beside: token.beside,
            cloned: token.cloned,
            objects,
            index: Mutex::new(index),
            idle: Arc::clone(&self.idle),
            registered,
            scope,
            exclusions: token.exclusions,
            limits: token.limits,
            entries: before.len() as u64,
            before,
            trusted: Vec::new(),
            unobserved: token.unobserved,
            notes: Vec::new(),
        })
    }
}

/// As of when a tree was trusted.
struct Since {
    root: AbsPath,
    generation: i64,
    fitting: Vec<i64>,
}

/// What a begin learnt of every tree in its scope.
fn learn(
    scanned: &Scanned,
    index: &Index,
    began: Registered,
    committed: Registered,
    trusted_since: &[Since],
) -> Result<Vec<Learnt>> {
    let trees = scanned.scope.iter().filter(|s| s.depth == Depth::Tree);
    trees
        .map(|tree| {
            let root = &tree.path;
            let trusted = scanned.trusted.contains(root);
            let since = trusted_since
                .iter()
                .find(|since| trusted && since.root == *root);
            let (from, mut fitting) = since.map_or((began.generation, Vec::new()), |since| {
                (since.generation, since.fitting.clone())
            });
            fitting.push(committed.generation);
            let disturbed = index.written_by_others(root, from, &fitting)?;
            Ok(Learnt {
                root: root.clone(),
                generation: (!disturbed).then_some(committed.generation),
                besides: scanned.besides(root),
            })
        })
        .collect()
}

/// What stands in the index of a capture that is about to begin.
struct Begin {
    registered: Registered,
    /// The object numbers (first and count) that it took and that no row refers to yet.
    claimed: Option<(u64, u64)>,
}

/// Removes the objects of a capture that was given up, for as long as `go_on` says. The rest is left
/// as by a process that died.
pub(super) fn give_back(
    index: &mut Index,
    objects: &Objects,
    (first, count): (u64, u64),
    go_on: &dyn Fn() -> bool,
) -> Result<()> {
    let end = first.saturating_add(count);
    let mut from = first;
    while from < end {
        if !go_on() {
            return index.leave_claim(first, (from, end - from));
        }
        let to = end.min(from.saturating_add(AT_ONCE));
        (from..to)
            .into_par_iter()
            .for_each(|serial| objects.remove(serial));
        from = to;
    }
    index.drop_claim(first)
}

/// Removes what captures left that died before the index knew their objects.
fn sweep(index: &mut Index, objects: &Objects, go_on: &dyn Fn() -> bool) -> Result<()> {
    for (first, count) in index.dead_claims()? {
        give_back(index, objects, (first, count), go_on)?;
    }
    Ok(())
}
