//! A capture on the baseline, from begin to seal.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::assemble::{assemble, restrict, roots};
use super::compare::{Comparer, Difference};
use super::index::{Index, Registered, Rows, Update};
use super::objects::Objects;
use super::record::{Content, Record};
use super::scan::scan;
use super::secure;
use super::walk::{Bounds, walk};
use crate::entry::EntryState;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::request::Limits;
use crate::seal::{Change, PreImage};
use crate::snapshot::{Capture, CaptureRequest, Exclusions, Placement, Sealed, Unobserved};
use crate::sys;

/// How long a capture waits for another one's write to the index.
const WAIT: Duration = Duration::from_secs(30);
/// Longest part of an entry's name that is repeated in the name of its stored content.
const NAME_BYTES: usize = 80;

/// The baseline of one store.
#[derive(Debug, Clone)]
pub struct Baseline {
    root: Arc<PathBuf>,
}

/// What a later process needs to take up a capture.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    registered: (i64, i64),
    scope: Vec<(AbsPath, Depth)>,
    exclusions: Exclusions,
    unobserved: Vec<Unobserved>,
    limits: Limits,
}

/// A capture in progress.
pub struct BaselineCapture {
    objects: Objects,
    index: Index,
    registered: Registered,
    scope: Vec<ScopePath>,
    exclusions: Exclusions,
    limits: Limits,
    before: Rows,
    entries: u64,
    unobserved: Vec<Unobserved>,
    notes: Vec<String>,
}

impl Baseline {
    /// The baseline in the directory `root` (absolute), which is made on first use.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Arc::new(root.into()),
        }
    }

    fn open(&self) -> Result<(Index, Objects)> {
        let objects = Objects::open(self.root.join("objects"))?;
        let path = self.root.join("index.sqlite");
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
    pub fn begin(&self, request: CaptureRequest<'_>) -> Result<BaselineCapture> {
        request.exclusions.check()?;
        let (mut index, objects) = self.open()?;
        let registered = index.register()?;
        let begun = self.begin_registered(request, index, objects, registered);
        if begun.is_err()
            && let Ok((mut index, objects)) = self.open()
        {
            // The first error says more than a second one would.
            let freed = index.unregister(registered).unwrap_or_default();
            freed.into_iter().for_each(|serial| objects.remove(serial));
        }
        begun
    }

    fn begin_registered(
        &self,
        request: CaptureRequest<'_>,
        mut index: Index,
        objects: Objects,
        registered: Registered,
    ) -> Result<BaselineCapture> {
        let deadline = Instant::now() + request.limits.max_duration;
        sweep(&mut index, &objects)?;
        request.progress.event(Event::Begin {
            phase: Phase::Scan,
            total: None,
        });
        let bounds = Bounds {
            max_entries: request.limits.max_entries,
            deadline: Some(deadline),
        };
        let mut scanned = scan(
            request.scope,
            request.exclusions,
            bounds,
            &index,
            registered,
        )?;
        request.progress.event(Event::End);
        let room = sys::space(&self.root).map_or(u64::MAX, |space| {
            // Of a small volume a twentieth stays free instead.
            let reserve = request.limits.min_free_bytes.min(space.total_bytes / 20);
            space.free_bytes.saturating_sub(reserve)
        });
        let context = secure::Context {
            scope: &scanned.scope,
            limits: request.limits,
            deadline,
            room,
            objects: &objects,
            progress: request.progress,
        };
        let secured = secure::secure(&mut scanned.found, &context, |count| {
            index.reserve_serials(count)
        })?;
        let mut unobserved = scanned.unobserved;
        unobserved.extend(secured.unobserved);
        let assembled = assemble(scanned.found, &scanned.known, &scanned.scope, &unobserved);
        if !secured.serials.is_empty() {
            objects.sync(&secured.dirs, &secured.serials)?;
        }
        let update = Update {
            upsert: &assembled.upsert,
            remove: &assembled.remove,
            roots: &scanned.scope,
            claim: secured.claim,
        };
        let (registered, freed) = index.commit(registered, &update)?;
        freed.into_iter().for_each(|serial| objects.remove(serial));
        Ok(BaselineCapture {
            objects,
            index,
            registered,
            scope: scanned.scope,
            exclusions: scanned.exclusions,
            limits: request.limits,
            before: assembled.before,
            entries: scanned.entries,
            unobserved,
            notes: scanned.notes,
        })
    }

    /// Lets go of what was in no scope for `age`, so that the cache does not grow for ever. Takes
    /// time in proportion to what goes. Gives the number of files deleted.
    pub fn forget_unused(&self, age: Duration) -> Result<u64> {
        let (mut index, objects) = self.open()?;
        sweep(&mut index, &objects)?;
        let freed = index.forget_unused(age)?;
        freed.iter().for_each(|serial| objects.remove(*serial));
        Ok(freed.len() as u64)
    }

    /// Takes up a capture of a process that died.
    pub fn resume(&self, token: &[u8]) -> Result<BaselineCapture> {
        let damaged = |why: &str| {
            Error::new(
                ErrorKind::Corrupt,
                Stage::Capture,
                format!("the capture cannot be resumed: {why}"),
            )
        };
        let token: Token =
            postcard::from_bytes(token).map_err(|_| damaged("its token is not readable"))?;
        let (index, objects) = self.open()?;
        let registered = Registered {
            token: token.registered.0,
            generation: token.registered.1,
        };
        if !index.is_registered(registered)? {
            return Err(damaged("the baseline it was made on is gone"));
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
            objects,
            index,
            registered,
            scope,
            exclusions: token.exclusions,
            limits: token.limits,
            entries: before.len() as u64,
            before,
            unobserved: token.unobserved,
            notes: Vec::new(),
        })
    }
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

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        progress.event(Event::Begin {
            phase: Phase::Seal,
            total: None,
        });
        // What a command made must be found however much it is, so there are no bounds here.
        let bounds = Bounds {
            max_entries: u64::MAX,
            deadline: None,
        };
        let comparer = Comparer::new(&self.before, &self.scope);
        let walked = walk(&self.scope, &self.exclusions, true, bounds, &comparer)?;
        let (differences, mut unobserved) = comparer.finish();
        unobserved.extend(walked.unobserved);
        let lost: HashMap<&AbsPath, &str> = self
            .unobserved
            .iter()
            .map(|u| (&u.path, u.reason.as_str()))
            .collect();
        // A path that cannot be seen now may well be there: it did not go.
        let hidden: Vec<&AbsPath> = unobserved.iter().map(|u| &u.path).collect();
        let visible = differences.into_iter().filter(|(path, difference)| {
            difference.after.is_some() || !hidden.iter().any(|h| path.starts_with(h))
        });
        let (changes, stored_bytes) = self.place(visible.collect(), placement, &lost)?;
        progress.event(Event::End);
        Ok(Sealed {
            changes,
            unobserved,
            entries: walked.entries,
            stored_bytes,
        })
    }

    fn finish(mut self: Box<Self>) {
        match self.index.unregister(self.registered) {
            Ok(freed) => freed
                .into_iter()
                .for_each(|serial| self.objects.remove(serial)),
            Err(error) => tracing::warn!(%error, "a capture stays registered in the baseline"),
        }
    }
}

impl BaselineCapture {
    /// Links the old content of everything that changed into the snapshot's directory.
    fn place(
        &self,
        differences: Vec<(AbsPath, Difference)>,
        Placement { files, prefix }: Placement<'_>,
        lost: &HashMap<&AbsPath, &str>,
    ) -> Result<(Vec<Change>, u64)> {
        // One stored file for every object, however many names it had.
        let mut names: HashMap<u64, String> = HashMap::new();
        let mut changes: Vec<Change> = Vec::with_capacity(differences.len());
        let mut stored_bytes = 0;
        for (path, Difference { before, after }) in differences {
            let content = match &before {
                Some(record) if needs_content(record, after.as_ref()) => match record.content {
                    Content::Object(object, hash) => {
                        let next = names.len();
                        let name = names.entry(object.serial).or_insert_with(|| {
                            stored_bytes += record.state().size;
                            format!("{prefix}{}", stored_name(next, &path))
                        });
                        PreImage::raw(name.clone(), hash)
                    }
                    Content::Unkept(reason) => {
                        let reason = lost.get(&path).copied().unwrap_or(reason.reason());
                        PreImage::Lost {
                            reason: reason.to_owned(),
                        }
                    }
                    Content::None => PreImage::NotNeeded,
                },
                _ => PreImage::NotNeeded,
            };
            changes.push(Change {
                path,
                before: before.map(|r| r.state()),
                after,
                content,
            });
        }
        let links: Vec<(u64, String)> = names.into_iter().collect();
        let missing = self.link_all(&links, files)?;
        for change in &mut changes {
            if matches!(&change.content, PreImage::Stored { name, .. } if missing.contains(name)) {
                let reason = "the baseline has lost it".to_owned();
                change.content = PreImage::Lost { reason };
            }
        }
        if !links.is_empty() {
            std::fs::File::open(files)
                .and_then(|dir| dir.sync_all())
                .context(Stage::Seal, || format!("cannot flush {}", files.display()))?;
        }
        Ok((changes, stored_bytes))
    }

    /// Gives every object its name in `files`. Gives the names of those that are not there: the
    /// rest of the snapshot is worth keeping all the same.
    fn link_all(&self, links: &[(u64, String)], files: &Path) -> Result<HashSet<String>> {
        let objects = &self.objects;
        let missing = links
            .par_iter()
            .filter_map(|(serial, name)| {
                let to = files.join(name);
                match objects.place_at(*serial, &to) {
                    Ok(()) => None,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(Ok(name.clone())),
                    Err(e) => Some(Err(Error::io(
                        Stage::Seal,
                        format!("cannot keep old content as {}", to.display()),
                        e,
                    ))),
                }
            })
            .collect::<Result<HashSet<String>>>()?;
        for name in &missing {
            tracing::warn!(name, "the baseline has lost an object");
        }
        Ok(missing)
    }
}

/// Removes what captures left that died before the index knew their objects.
fn sweep(index: &mut Index, objects: &Objects) -> Result<()> {
    for (first, count) in index.dead_claims()? {
        (first..first.saturating_add(count)).for_each(|serial| objects.remove(serial));
        index.drop_claim(first)?;
    }
    Ok(())
}

/// Whether the old content is needed to bring the entry back.
fn needs_content(before: &Record, after: Option<&EntryState>) -> bool {
    !after.is_some_and(|after| before.state().same_content(after))
}

/// A name for stored content that tells a person what it is.
fn stored_name(number: usize, path: &AbsPath) -> String {
    let name = path
        .name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut plain: String = name
        .chars()
        .map(|c| {
            // A backslash separates components elsewhere, so that no stored name may have one.
            if c.is_control() || matches!(c, '\\' | char::REPLACEMENT_CHARACTER) {
                '_'
            } else {
                c
            }
        })
        .collect();
    while plain.len() > NAME_BYTES {
        plain.pop();
    }
    format!("{number:06}-{plain}")
}
