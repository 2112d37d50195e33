//! A snapshot around one command: begin, captured, sealed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::gather::{beyond, gather, prefix_of};
use super::outside::Look;
use super::scope::{drop_covered, named, no_longer_read_only, prepare, volume_of};
use super::space::{Budget, Spared};
use super::{Engine, orphans, receipt};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::Cancel;
use crate::infer::{Scope, ScopePath};
use crate::path::{AbsPath, WirePath};
use crate::progress::Progress;
use crate::request::RunRequest;
use crate::seal::Limit;
use crate::snapshot::select::{self, Assignment, assign};
use crate::snapshot::{
    Capture, CaptureRequest, Exclusions, Placement, Registry, Unobserved, unless_cancelled,
};
use crate::store::{
    Compression, OpenSnapshot, Outcome, SnapshotId, SnapshotMeta, SnapshotState, StrategyUse,
};
use crate::sys::{self, Mount};

/// Directories that stores make for themselves; never part of a snapshot.
const STORE_NAME: &str = ".deployx_snapshots";

/// The command that a snapshot is for.
pub(super) struct Subject<'a> {
    pub(super) request: &'a RunRequest,
    pub(super) command: &'a OsStr,
    pub(super) cwd: AbsPath,
    /// `cwd` stands for a directory beneath it that was deleted.
    pub(super) cwd_deleted: bool,
    pub(super) batch: Option<(&'a str, u64)>,
    /// The process that everything which the command starts descends from.
    pub(super) ancestor: Option<u32>,
    /// What the rules say of the command.
    pub(super) scope: Scope,
    /// The strategies, as they are for the shell that runs it.
    pub(super) strategies: &'a Registry,
    /// Ends the capture.
    pub(super) cancel: &'a Cancel,
}

/// A snapshot whose command may now run.
pub(super) struct Secured {
    open: OpenSnapshot,
    captures: Vec<(String, Box<dyn Capture>)>,
    scope: Vec<ScopePath>,
    compression: Compression,
    /// What changes outside, where the strategies do not see it.
    look: Look,
}

impl Engine {
    /// Secures the state before a command. On return it is on stable storage.
    ///
    /// `Cancelled` where [`Subject::cancel`] asked for the end: then nothing is left of it.
    pub(super) fn secure(&self, subject: &Subject<'_>, progress: &dyn Progress) -> Result<Secured> {
        let mounts = sys::mounts().unwrap_or_default();
        let (scope, read) = self.scope_of(subject, &mounts);
        let wanted = &subject.request.snapshot.strategies;
        let selected = assign(subject.strategies, wanted, &scope, |p| {
            volume_of(p, &mounts)
        })?;
        let mut meta = self.new_meta(subject, &scope);
        meta.receipt = Some(receipt::begin(&subject.scope, &selected));
        meta.strategies = selected.uses;
        meta.coverage.irreversible = read.irreversible;
        meta.coverage.not_understood = read.not_understood;
        meta.coverage.notes = self.overlapping(&scope);
        meta.coverage.notes.extend(selected.notes);
        let mut open = self.store.begin(meta)?;
        let budget = Budget::new(
            self,
            Spared {
                batch: subject.batch.map(|(id, _)| id.to_owned()),
                ids: vec![open.id().clone()],
            },
        );
        let begun = self.begin_within(
            &budget,
            (&selected.assignments, open.id().as_str()),
            subject,
            progress,
        );
        let mut captures = match begun {
            Ok(captures) => captures,
            Err(error) => {
                open.discard()?;
                return Err(error);
            }
        };
        let mut unobserved: Vec<Unobserved> = captures
            .iter()
            .flat_map(|(_, c)| c.unobserved().iter().cloned())
            .collect();
        drop_covered(&mut unobserved, &scope);
        let tokens = captures
            .iter()
            .map(|(n, c)| (n.clone(), BASE64.encode(c.token())))
            .collect();
        let notes: Vec<String> = captures
            .iter()
            .flat_map(|(_, c)| c.notes().iter().cloned())
            .collect();
        let stored = open.update(|meta| {
            meta.state = SnapshotState::Captured;
            meta.coverage.notes.extend(budget.notes());
            meta.coverage.notes.extend(notes);
            meta.coverage.observed(unobserved);
            meta.capture_tokens = tokens;
        });
        if let Err(error) = stored {
            captures
                .into_iter()
                .for_each(|(_, capture)| capture.finish());
            // The first error says more than a second one would.
            let _ = open.discard();
            return Err(error);
        }
        let alone = captures.len() == 1;
        for (at, (_, capture)) in captures.iter_mut().enumerate() {
            if capture.content_beside().is_none() {
                capture.prepare(Placement {
                    files: &open.files_dir(),
                    prefix: &prefix_of(at, alone),
                });
            }
        }
        Ok(Secured {
            open,
            captures,
            scope,
            compression: self.config.compression,
            look: Look::Not("not asked for".into()),
        })
    }

    /// What the command may touch, fit for a walk, and what else its line says.
    fn scope_of(&self, subject: &Subject<'_>, mounts: &[Mount]) -> (Vec<ScopePath>, Scope) {
        let options = &subject.request.snapshot;
        let mut read = subject.scope.clone();
        let mut paths = std::mem::take(&mut read.paths);
        if !options.replace_paths.is_empty() {
            paths = options
                .replace_paths
                .iter()
                .map(|p| named(p.clone(), "given with --path"))
                .collect();
            read.not_understood.clear();
        } else if subject.cwd_deleted && subject.cwd.parent().is_none() {
            // Nobody asked for the whole filesystem.
            paths.retain(|path| path.path != subject.cwd);
        }
        paths.extend(
            options
                .extra_paths
                .iter()
                .map(|p| named(p.clone(), "given with --also")),
        );
        (prepare(paths, mounts, &self.excluded_subtrees()), read)
    }

    /// Subtrees that are never looked into.
    fn excluded_subtrees(&self) -> Vec<AbsPath> {
        // As walks meet them, also where they come into being later.
        let physical = |path: &PathBuf| match (path.canonicalize(), path.parent(), path.file_name())
        {
            (Ok(path), ..) => Some(path),
            (Err(_), Some(parent), Some(name)) => Some(parent.canonicalize().ok()?.join(name)),
            _ => None,
        };
        let own = self.config.own_dirs.iter().filter_map(physical);
        std::iter::once(self.store.path().to_owned())
            .chain(own)
            .filter_map(|path| AbsPath::new(path).ok())
            .collect()
    }

    /// Begins all captures. Where the store's bound leaves less room than they need, what only the
    /// cache holds of other trees goes first, and they begin once more.
    fn begin_within(
        &self,
        budget: &Budget<'_>,
        what: (&[Assignment], &str),
        subject: &Subject<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<(String, Box<dyn Capture>)>> {
        let started = Instant::now();
        let captures = self.begin_captures(budget, what, subject, progress)?;
        if !budget.was_short() {
            return Ok(captures);
        }
        captures
            .into_iter()
            .for_each(|(_, capture)| capture.finish());
        // What is in this scope was used since then.
        let unused = started.elapsed() + Duration::from_secs(1);
        if let Err(error) = self.volumes.own().forget_unused(unused) {
            tracing::warn!(%error, "the baseline was not trimmed");
        }
        self.begin_captures(budget, what, subject, progress)
    }

    fn begin_captures(
        &self,
        budget: &Budget<'_>,
        (assignments, snapshot): (&[Assignment], &str),
        subject: &Subject<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<(String, Box<dyn Capture>)>> {
        let options = &subject.request.snapshot;
        let patterns = self.config.exclude.iter().chain(&options.exclude).cloned();
        // The stores that other users or volumes keep are not part of anyone's work.
        let patterns: Vec<String> = patterns.chain([format!("{STORE_NAME}/")]).collect();
        let mut captures: Vec<(String, Box<dyn Capture>)> = Vec::new();
        for assignment in assignments {
            let exclusions = Exclusions {
                subtrees: self.excluded_subtrees(),
                patterns: patterns.clone(),
                base: Some(subject.cwd.clone()),
                files: Vec::new(),
            };
            let request = CaptureRequest {
                scope: &assignment.scope,
                exclusions,
                snapshot,
                limits: self.config.limits,
                room: &|needed| budget.grant(needed),
                cancel: subject.cancel,
                progress,
            };
            let begun = unless_cancelled(subject.cancel);
            match begun.and_then(|()| assignment.strategy.begin(request)) {
                Ok(capture) => captures.push((assignment.strategy.name().to_owned(), capture)),
                Err(error) => {
                    captures
                        .into_iter()
                        .for_each(|(_, capture)| capture.finish());
                    return Err(error);
                }
            }
        }
        Ok(captures)
    }

    fn new_meta(&self, subject: &Subject<'_>, scope: &[ScopePath]) -> SnapshotMeta {
        let monitored = scope
            .iter()
            .filter(|s| s.depth != crate::infer::Depth::Entry);
        let command = WirePath::from_bytes(subject.command.as_encoded_bytes());
        let shell = subject.request.shell.as_str();
        SnapshotMeta {
            command_index: subject.batch.map(|(_, index)| index),
            batch_id: subject.batch.map(|(id, _)| id.to_owned()),
            monitored_paths: monitored.map(|s| s.path.clone()).collect(),
            environment_vars: self.allowed_environment(),
            metadata: subject.request.snapshot.metadata.clone(),
            scope: scope.to_vec(),
            supervisor: orphans::supervisor(subject.ancestor),
            ..SnapshotMeta::new(command, shell, subject.cwd.clone())
        }
    }

    /// Remarks on other commands that run now in overlapping scopes: their changes and this
    /// command's cannot be told apart.
    fn overlapping(&self, scope: &[ScopePath]) -> Vec<String> {
        let Ok(running) = self.store.running() else {
            return Vec::new();
        };
        let overlaps = |meta: &SnapshotMeta| {
            let mut pairs = meta
                .monitored_paths
                .iter()
                .flat_map(|a| scope.iter().map(move |b| (a, b)));
            pairs.any(|(a, b)| {
                b.depth != crate::infer::Depth::Entry
                    && (a.starts_with(&b.path) || b.path.starts_with(a))
            })
        };
        running
            .iter()
            .filter_map(|id| self.store.meta(id).ok())
            .filter(overlaps)
            .map(|meta| {
                format!(
                    "ran at the same time as {}: their changes cannot be told apart",
                    meta.snapshot_id
                )
            })
            .collect()
    }
}

impl Secured {
    pub(super) fn id(&self) -> &SnapshotId {
        self.open.id()
    }

    pub(super) fn meta(&self) -> &SnapshotMeta {
        self.open.meta()
    }

    /// Begins to look at what changes outside of the scope, unless the strategies see that. Processes of
    /// the command descend from `ancestor`.
    pub(super) fn look_outside(&mut self, engine: &Engine, ancestor: Option<u32>) {
        if !self.captures.iter().any(|(_, one)| one.spans_volumes()) {
            self.look = Look::begin(&self.scope, engine.excluded_subtrees(), ancestor);
        }
    }

    /// Gives the snapshot up before its command ran.
    pub(super) fn discard(self) -> Result<()> {
        self.captures
            .into_iter()
            .for_each(|(_, capture)| capture.finish());
        self.open.discard()
    }

    /// Finds what the command changed and stores it. On return it is on stable storage.
    ///
    /// On failure the snapshot stays as it is and is sealed by the next recovery.
    pub(super) fn seal(
        mut self,
        outcome: Outcome,
        notes: Vec<String>,
        limits: Vec<Limit>,
        progress: &dyn Progress,
    ) -> Result<SnapshotMeta> {
        let outside = self.look.end();
        let (mut record, found) =
            gather(&mut self.captures, &mut self.open, &self.scope, progress)?;
        let changed = no_longer_read_only(&self.open.meta().strategies, &self.scope);
        record.unobserved.extend(changed);
        drop_covered(&mut record.unobserved, &self.scope);
        let unobserved = record.unobserved.clone();
        let saved = self.open.shrink(&mut record, self.compression)?;
        let stored_bytes = found.stored_bytes.saturating_sub(saved);
        let spans = self
            .captures
            .iter()
            .any(|(_, capture)| capture.spans_volumes());
        let beyond = if spans {
            beyond(&record, &self.scope)
        } else {
            Vec::new()
        };
        let mut observed = found.observed;
        observed.limits.extend(limits);
        let begun = self.open.meta().receipt.clone().unwrap_or_default();
        let receipt = receipt::complete(begun, self.open.id(), &record, observed, outside);
        let sealed = self.open.seal(&record, |meta| {
            meta.receipt = Some(receipt);
            meta.scope.extend(beyond);
            meta.outcome = outcome;
            meta.stored_bytes = stored_bytes;
            meta.coverage.observed(unobserved);
            meta.coverage.notes.extend(found.notes);
            meta.coverage.notes.extend(notes);
            meta.capture_tokens = Vec::new();
        })?;
        self.captures
            .into_iter()
            .for_each(|(_, capture)| capture.finish());
        Ok(sealed)
    }

    /// Takes up a snapshot whose process died.
    pub(super) fn resume(
        engine: &Engine,
        open: OpenSnapshot,
    ) -> Result<Self, Box<(OpenSnapshot, Error)>> {
        match resume_captures(engine, open.meta()) {
            Ok(captures) => {
                let scope = open.meta().scope.clone();
                Ok(Self {
                    open,
                    captures,
                    scope,
                    compression: engine.config.compression,
                    look: Look::Not("what ran the command was interrupted".into()),
                })
            }
            Err(error) => Err(Box::new((open, error))),
        }
    }
}

fn resume_captures(
    engine: &Engine,
    meta: &SnapshotMeta,
) -> Result<Vec<(String, Box<dyn Capture>)>> {
    meta.capture_tokens
        .iter()
        .map(|(name, token)| {
            let token = BASE64.decode(token).map_err(|_| {
                Error::new(
                    ErrorKind::Corrupt,
                    Stage::Store,
                    format!("the token of strategy '{name}' is damaged"),
                )
            })?;
            Ok((name.clone(), engine.strategies.get(name)?.resume(&token)?))
        })
        .collect()
}

/// The name of the strategy, or strategies, in one word.
pub(super) fn strategy_name(uses: &[StrategyUse]) -> String {
    let mut names = uses
        .iter()
        .map(|one| one.strategy.as_str())
        .filter(|name| *name != select::NONE);
    match names.next() {
        None => select::NONE.into(),
        Some(first) if names.all(|name| name == first) => first.into(),
        Some(_) => "mixed".into(),
    }
}
