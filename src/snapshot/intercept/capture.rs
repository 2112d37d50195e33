//! A capture by interception, from begin to seal.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::changes::Candidates;
use super::expand::expand;
use super::follow::{self, Followed, Follower};
use super::late::write_list;
use super::model::Model;
use super::names::add_names;
use super::outcome::{finish, needed, observed, without_set_uid};
use super::place::Placing;
use super::places::{Places, Shelf};
use super::protocol::{Ask, Begin, LOG};
use super::record::{Kept, Stored};
use super::rules::Rulebook;
use super::session::{DIRECTORY, Interception, ask_with};
use super::token::Token;
use crate::entry::EntryState;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::seal::{Change, LateChange};
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::{Capture, CaptureRequest, Exclusions, Placement, Sealed, Unobserved};
use crate::store::{SIBLINGS, Store};
use crate::sys::{self, Dir};

/// So many kept files are removed before a command's end is told; more, by another process after it.
const REMOVED_AT_ONCE: u64 = 200;
/// The most bytes of an ignore file.
const IGNORE_BYTES: u64 = 1 << 20;

/// What is on record, and where something may be missing why.
#[derive(Default)]
struct Ended {
    followed: Followed,
    unseen: Option<String>,
}

/// A capture in progress.
pub(super) struct InterceptCapture {
    store: Store,
    session: Option<Arc<Interception>>,
    token: Token,
    directory: AbsPath,
    /// Its snapshot; `None`: a later process seals it.
    snapshot: Option<String>,
    notes: Vec<String>,
    /// Where content of further volumes goes.
    further: Vec<(AbsPath, Shelf)>,
    /// Reads what is written down while the command runs.
    follower: Option<Follower>,
    /// What is on record, once nothing more is written down.
    ended: Option<Ended>,
    /// Where content was kept, once that is known.
    places: Option<Vec<AbsPath>>,
    /// How many files were at most.
    kept: u64,
}

impl InterceptCapture {
    /// Begins: from now on everything that the session's processes change is written down.
    pub(super) fn begin(
        store: &Store,
        session: &Arc<Interception>,
        request: CaptureRequest<'_>,
    ) -> Result<Self> {
        request.exclusions.check()?;
        let number = session.next_command();
        let token = Token {
            session: session.directory().clone(),
            number,
            exclusions: request.exclusions,
            limits: bounded(request.limits, request.room),
            boot: sys::boot_id(),
        };
        let context = || "cannot prepare to keep what the command changes".to_owned();
        let directory = token
            .directory()
            .ok_or_else(|| damaged("a directory's name"))?;
        Dir::open(session.directory())
            .and_then(|dir| super::session::make(&dir, &number.to_string()))
            .context(Stage::Capture, context)?;
        let root = AbsPath::new(store.path())
            .map_err(io::Error::other)
            .context(Stage::Capture, context)?;
        let began = sys::ticks_since_boot();
        session.ask(&Ask::Begin(Begin {
            number,
            directory: directory.clone(),
            store: root,
            excluded: token.exclusions.subtrees.clone(),
            limits: token.limits,
            snapshot: request.snapshot.to_owned(),
            began,
            earlier: session.note_begin(request.snapshot, began),
        }))?;
        let notes = without_set_uid().map(|limit| limit.reason);
        Ok(Self {
            store: store.clone(),
            session: Some(Arc::clone(session)),
            token,
            directory,
            snapshot: Some(request.snapshot.to_owned()),
            notes: notes.into_iter().collect(),
            further: Vec::new(),
            follower: None,
            ended: None,
            places: None,
            kept: 0,
        })
    }

    /// Takes up the capture of a process that died.
    pub(super) fn resume(store: &Store, token: Token) -> Result<Self> {
        let own = store.path().join(DIRECTORY);
        if token.session.as_path().parent() != Some(&own) {
            return Err(damaged("a directory that is not the store's"));
        }
        let directory = token
            .directory()
            .ok_or_else(|| damaged("a directory's name"))?;
        Ok(Self {
            store: store.clone(),
            session: None,
            token,
            directory,
            snapshot: None,
            notes: Vec::new(),
            further: Vec::new(),
            follower: None,
            ended: None,
            places: None,
            kept: 0,
        })
    }

    /// Makes sure that nothing more is written down. Gives a remark where not all was.
    fn end(&self) -> Option<String> {
        let end = Ask::End {
            number: self.token.number,
        };
        let asked = match &self.session {
            Some(session) => session.ask(&end),
            None => ask_with(&mut None, self.token.session.as_path(), &end),
        };
        if self.token.boot != sys::boot_id() {
            return Some(
                "the system stopped while the command ran: what it changed in the last second before \
                 may not be covered"
                    .into(),
            );
        }
        let error = asked.err()?;
        // A later process finds nobody when all processes of the command have ended.
        (self.session.is_some() || error.kind() != ErrorKind::NotFound)
            .then(|| format!("what was changed last may not be covered: {error}"))
    }

    /// What is on record, with renames settled.
    fn read(&mut self) -> Result<Followed> {
        let followed = self.follower.take().and_then(Follower::finish);
        let mut followed = match followed.map_or_else(|| self.read_all(), Ok) {
            Ok(followed) => followed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Followed::default(),
            Err(e) => {
                return Err(e).context(Stage::Seal, || "cannot read what the command changed");
            }
        };
        let model = &mut followed.model;
        for moving in std::mem::take(&mut model.moving) {
            let moved = inode_at(&moving.to) == Some(moving.inode);
            let serial = moving.serial;
            model.moving.push(moving);
            model.apply(super::record::Record::Settled { serial, moved });
        }
        Ok(followed)
    }

    fn read_all(&self) -> io::Result<Followed> {
        follow::read_all(&self.directory.as_path().join(LOG))
    }

    /// What is on record when nothing more is written down.
    fn ended(&mut self) -> Result<&mut Ended> {
        let ended = match self.ended.take() {
            Some(ended) => ended,
            None => {
                let unseen = self.end();
                let followed = self.read()?;
                self.places = Some(followed.model.places.clone());
                self.kept = followed.model.number();
                Ended { followed, unseen }
            }
        };
        Ok(self.ended.insert(ended))
    }

    /// The ignore files that the command changed, as they were.
    fn old_ignore_files(model: &Model, places: &Places) -> HashMap<AbsPath, Option<String>> {
        let is_ignore_file = |path: &AbsPath| path.name().is_some_and(|name| name == IGNORE_FILE);
        let files = model.was.iter().filter(|(path, _)| is_ignore_file(path));
        files
            .filter_map(|(path, was)| match &was.state {
                None => Some(((**path).clone(), None)),
                Some(state) => {
                    let text = kept_text(model, places, state)?;
                    Some(((**path).clone(), Some(text)))
                }
            })
            .collect()
    }

    /// Leaves of `late` what is in the record, and writes that down for those whose processes they were.
    fn keep_late(&self, late: &mut Vec<LateChange>, changes: &[Change]) {
        late.retain(|one| {
            let found = changes.binary_search_by(|change| change.path.cmp(&one.path));
            found.is_ok()
        });
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        let session = self.token.session.as_path();
        let written = AbsPath::new(self.store.path())
            .map_err(io::Error::other)
            .and_then(|store| write_list(&store, session, snapshot, late));
        if let Err(error) = written {
            tracing::warn!(%error, "late changes were not listed with their command");
        }
    }

    fn open_places(&self, model: &Model, placement: Placement<'_>) -> Result<Places> {
        let own = Shelf {
            files: placement.files.to_path_buf(),
            prefix: placement.prefix.to_owned(),
        };
        let shelf = |place: &AbsPath| {
            let volume = volume_of(place)?;
            let found = self.further.iter().find(|(known, _)| *known == volume);
            found.map(|(_, shelf)| shelf)
        };
        let places: Vec<_> = model
            .places
            .iter()
            .map(|place| (place, shelf(place)))
            .collect();
        Places::open(&places, &own)
    }
}

impl Capture for InterceptCapture {
    fn token(&self) -> Vec<u8> {
        self.token.encode()
    }

    fn entries(&self) -> u64 {
        0
    }

    fn unobserved(&self) -> &[Unobserved] {
        &[]
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn exclusions(&self) -> &Exclusions {
        &self.token.exclusions
    }

    fn spans_volumes(&self) -> bool {
        true
    }

    fn further_volumes(&mut self) -> Result<Vec<AbsPath>> {
        let mut volumes: Vec<AbsPath> = self
            .ended()?
            .followed
            .model
            .places
            .iter()
            .filter_map(volume_of)
            .collect();
        volumes.sort();
        volumes.dedup();
        Ok(volumes)
    }

    fn prepare(&mut self, placement: Placement<'_>) {
        let shelf = Shelf {
            files: placement.files.to_path_buf(),
            prefix: placement.prefix.to_owned(),
        };
        match Follower::start(self.directory.as_path().join(LOG), &shelf) {
            Ok(follower) => self.follower = Some(follower),
            Err(error) => tracing::debug!(%error, "records are read when the command is over"),
        }
    }

    fn place_further(&mut self, volume: &AbsPath, placement: Placement<'_>) {
        let shelf = Shelf {
            files: placement.files.to_path_buf(),
            prefix: placement.prefix.to_owned(),
        };
        self.further.push((volume.clone(), shelf));
    }

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        progress.event(Event::Begin {
            phase: Phase::Seal,
            total: None,
        });
        self.ended()?;
        // Sealed again, it is read again.
        let Ended { followed, unseen } = self.ended.take().unwrap_or_default();
        let Followed {
            mut model,
            mut looked,
            ..
        } = followed;
        let complete = unseen.is_none();
        if let Some(reason) = unseen {
            let root = AbsPath::new("/").map_err(|_| damaged("no root"))?;
            model.missed.insert(root, reason);
        }
        let mut observed = observed(&mut model, complete);
        let mut notes: Vec<String> = model.notes.iter().cloned().collect();
        let places = self.open_places(&model, placement)?;
        let old_files = Self::old_ignore_files(&model, &places);
        let mut readings = looked.still_true(&places);
        let exclusions = self.token.exclusions.clone();
        let mut rules = Rulebook::new(&exclusions, old_files);
        let mut expanded = expand(&mut model, &exclusions, &mut rules, &places)?;
        notes.extend(add_names(&mut expanded, &exclusions)?);
        let files = rules.into_found();
        let mut unobserved = std::mem::take(&mut expanded.unobserved);
        let missed = std::mem::take(&mut model.missed).into_iter();
        unobserved.extend(missed.map(|(path, reason)| Unobserved { path, reason }));
        let entries = expanded.after.len() as u64;
        readings.extend(std::mem::take(&mut expanded.readings));
        let candidates = Candidates::of(expanded, &model, &mut readings);
        let placing = Placing {
            places,
            first_number: model.number(),
            limits: &self.token.limits,
        };
        let hashes = placing.hashes(&candidates.wanted)?;
        let needed = needed(&candidates, &hashes);
        let placed = placing.place(&candidates.wanted, &needed)?;
        let mut strays = looked.strays;
        strays.extend(readings.into_values().filter_map(|reading| reading.shelved));
        placing.clear_away(&strays, &candidates.wanted, &placed)?;
        if self.session.is_none() {
            placing.sweep(&placed)?;
        }
        let stored = candidates.wanted.iter().zip(&placed);
        let stored_bytes = stored
            .filter(|(_, placed)| matches!(placed, Some(Ok(_))))
            .map(|(wanted, _)| wanted.size)
            .sum();
        let (changes, written) = finish(candidates, &hashes, placed, &mut unobserved);
        observed.written_as_before = written;
        self.keep_late(&mut observed.late, &changes);
        self.token.exclusions.files = files;
        progress.event(Event::End);
        Ok(Sealed {
            changes,
            unobserved,
            entries,
            stored_bytes,
            notes,
            observed,
        })
    }

    fn finish(mut self: Box<Self>) {
        let places = self.places.clone().unwrap_or_else(|| {
            // Nothing more is written down, whether it was sealed or not.
            let _ = self.end();
            self.read().unwrap_or_default().model.places
        });
        let mut directories = places;
        directories.push(self.directory.clone());
        let by_host = self.session.as_ref().is_some_and(|session| {
            let directories = directories.clone();
            self.kept > REMOVED_AT_ONCE && session.ask(&Ask::Remove { directories }).is_ok()
        });
        if !by_host {
            for directory in &directories {
                let _ = std::fs::remove_dir_all(directory.as_path());
            }
        }
        super::sweep::forget_session(&self.store, &self.token.session, self.session.is_some());
    }
}

/// Text that a file had.
fn kept_text(model: &Model, places: &Places, state: &EntryState) -> Option<String> {
    let inode = (state.identity.device, state.identity.inode);
    let stored: Stored = match model.kept(inode)? {
        Kept::Link(stored) | Kept::Copy(stored) => stored,
        Kept::Empty => return Some(String::new()),
        Kept::Prefix(_) | Kept::Lost(_) => return None,
    };
    let place = places.dir_of(&stored).ok()?;
    let file = place.open_file(stored.name().as_ref()).ok()?;
    let mut bytes = Vec::new();
    file.take(IGNORE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is at a path now.
fn inode_at(path: &AbsPath) -> Option<super::record::Inode> {
    let stat = Dir::open_path(&path.parent()?)
        .ok()?
        .stat(path.name()?)
        .ok()?;
    Some((stat.identity.device, stat.identity.inode))
}

/// The mount point of the volume on which a place is, unless it is in the store itself:
/// `<mount point>/.deployx_snapshots/<store name>/intercept/<name>`.
pub(super) fn volume_of(place: &AbsPath) -> Option<AbsPath> {
    let siblings = place.as_path().ancestors().nth(3)?;
    if siblings.file_name()? != SIBLINGS
        || place.as_path().ancestors().nth(1)?.file_name()? != DIRECTORY
    {
        return None;
    }
    AbsPath::new(PathBuf::from(siblings.parent()?)).ok()
}

/// Bounds within the room that the store has.
fn bounded(
    mut limits: crate::request::Limits,
    room: &(dyn Fn(crate::snapshot::Room) -> crate::snapshot::Room + Sync),
) -> crate::request::Limits {
    let none = crate::snapshot::Room { bytes: 0, files: 0 };
    limits.max_bytes = limits.max_bytes.min(room(none).bytes);
    limits
}

fn damaged(what: &str) -> Error {
    let context = format!("the capture cannot be resumed: its token names {what}");
    Error::new(ErrorKind::Corrupt, Stage::Capture, context)
}
