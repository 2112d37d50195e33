//! One command that runs: what it is about to change is looked at and written down first.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::known::{Directories, Exempt, Made};
use super::late::Owner;
use super::resolve::{Caller, Spot, path_of, same};
use super::volumes::{Volume, Volumes};
use crate::entry::{EntryKind, EntryState};
use crate::path::AbsPath;
use crate::snapshot::intercept::log::Log;
use crate::snapshot::intercept::model::Model;
use crate::snapshot::intercept::protocol::{Begin, LOG};
use crate::snapshot::intercept::record::{Inode, Moving, Record};
use crate::store::SIBLINGS;
use crate::sys::{self, Dir, Stat, read_open_state, read_state};

/// What shows the system's state, or is gone after a restart.
const LEFT_ALONE: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// What is known of a command that runs.
pub(super) struct Watch {
    pub(super) begin: Begin,
    pub(super) model: Model,
    pub(super) volumes: Volumes,
    /// The directories in which content is kept, by their number.
    pub(super) places: Vec<Dir>,
    /// Bytes that were copied.
    pub(super) copied: u64,
    pub(super) made: Made,
    /// Whose process asks.
    pub(super) owner: Owner,
    /// What is touched is listed, and nothing is kept: no command runs.
    listing: bool,
    left_alone: Vec<AbsPath>,
    log: Log,
    synced: Instant,
    failed: Option<io::Error>,
}

impl Watch {
    /// Begins, or takes up what another process began.
    pub(super) fn new(begin: Begin) -> io::Result<Self> {
        let log = begin.directory.as_path().join(LOG);
        Self::with_log(begin, &log, false)
    }

    /// Lists in `log` what is touched from now on, after the command of `begin`.
    pub(super) fn listing(begin: Begin, log: &Path) -> io::Result<Self> {
        Self::with_log(begin, log, true)
    }

    fn with_log(begin: Begin, log: &Path, listing: bool) -> io::Result<Self> {
        let (log, records) = Log::open(log)?;
        let model = Model::of(records);
        let places = model
            .places
            .iter()
            .map(Dir::open)
            .collect::<io::Result<_>>()?;
        let mut left_alone: Vec<AbsPath> = LEFT_ALONE
            .iter()
            .filter_map(|path| AbsPath::new(*path).ok())
            .collect();
        left_alone.extend(begin.excluded.iter().cloned());
        Ok(Self {
            begin,
            model,
            volumes: Volumes::default(),
            places,
            copied: 0,
            made: Made::new(),
            owner: Owner::Current,
            listing,
            left_alone,
            log,
            synced: Instant::now(),
            failed: None,
        })
    }

    /// Takes a record down; [`flush`](Self::flush) writes it.
    pub(super) fn add(&mut self, record: Record) -> io::Result<()> {
        self.log.add(&record)?;
        self.model.apply(record);
        Ok(())
    }

    /// Writes what was taken down. Nothing that it speaks of may happen before.
    pub(super) fn flush(&mut self) {
        if let Err(error) = self.log.flush() {
            self.fail(error);
        }
    }

    /// Something could not be written down.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.failed.get_or_insert(error);
    }

    /// What went wrong when something was to be written, since that was asked last.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Writes a remark down, once.
    pub(super) fn note(&mut self, text: String) -> io::Result<()> {
        if self.model.notes.contains(&text) {
            return Ok(());
        }
        self.add(Record::Note { text })
    }

    /// Writes down that changes may have been missed there, once.
    pub(super) fn miss(&mut self, path: AbsPath, reason: String) -> io::Result<()> {
        if self.model.missed.contains_key(&path) {
            return Ok(());
        }
        self.add(Record::Missed { path, reason })
    }

    /// Puts the records on stable storage.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.log.sync()
    }

    /// Since when records wait for that.
    pub(super) fn unsynced_since(&self) -> Option<Instant> {
        self.log.is_unsynced().then_some(self.synced)
    }

    /// Whether changes at this spot are followed, and on which mount it is.
    ///
    /// `stat` is what is there, where that is known.
    pub(super) fn mount_followed(
        &mut self,
        spot: &Spot,
        stat: Option<&Stat>,
    ) -> io::Result<Option<u64>> {
        let Some(path) = spot.path() else {
            return Ok(None);
        };
        if self.is_left_alone(spot) {
            self.see_outside(path)?;
            return Ok(None);
        }
        // What is mounted over a name is on another mount than the directory.
        let own = stat.filter(|stat| stat.kind != EntryKind::Directory);
        let mount = match (own, spot.directory.mount) {
            (Some(stat), _) => stat.mount,
            (None, Some(mount)) if spot.name.is_some() => Some(mount),
            (None, _) => spot.dir.stat_self()?.mount,
        };
        let Some(mount) = mount else {
            return Ok(None);
        };
        let (volume, remark) = self.volumes.of(mount);
        if let Some((path, reason)) = remark {
            self.miss(path, reason)?;
        }
        match volume {
            Volume::Followed(_) => {
                self.see_late(&path)?;
                Ok((!self.listing).then_some(mount))
            }
            Volume::LeftAlone => Ok(None),
            Volume::Hidden => self.seen_elsewhere(spot),
        }
    }

    /// Whether a spot is where nothing is to be followed.
    fn is_left_alone(&self, spot: &Spot) -> bool {
        let directory = &spot.directory;
        let exempt = directory
            .exempt
            .get_or_init(|| self.exempt(&directory.path));
        match exempt {
            Exempt::All => true,
            Exempt::None => spot.name.as_deref() == Some(OsStr::new(SIBLINGS)),
            Exempt::Some => spot.path().is_none_or(|path| {
                path.name() == Some(OsStr::new(SIBLINGS))
                    || self.left_alone.iter().any(|alone| path.starts_with(alone))
            }),
        }
    }

    fn exempt(&self, directory: &AbsPath) -> Exempt {
        let (bytes, sibling) = (directory.to_bytes(), SIBLINGS.as_bytes());
        let within = |alone: &AbsPath| directory.starts_with(alone);
        if bytes.windows(sibling.len()).any(|part| part == sibling)
            || self.left_alone.iter().any(within)
        {
            return Exempt::All;
        }
        let above = |alone: &AbsPath| alone.starts_with(directory);
        if self.left_alone.iter().any(above) {
            Exempt::Some
        } else {
            Exempt::None
        }
    }

    /// A mount that only the command sees may be another view of what is seen here.
    fn seen_elsewhere(&mut self, spot: &Spot) -> io::Result<Option<u64>> {
        let here = Dir::open_path(&spot.directory.path).and_then(|dir| dir.stat_self());
        let there = spot.dir.stat_self()?;
        if let Ok(here) = here
            && same(&here, &there)
            && let Some(mount) = here.mount
            && matches!(self.volumes.of(mount).0, Volume::Followed(_))
        {
            return Ok(Some(mount));
        }
        let reason = "on a filesystem that only the command could see".to_owned();
        self.miss(spot.directory.path.clone(), reason)?;
        Ok(None)
    }

    /// Writes down what is at a spot, unless something was before. Tells whether what is there existed
    /// when the command began.
    pub(super) fn touch(&mut self, spot: &Spot, stat: Option<&Stat>) -> io::Result<bool> {
        if let Some(stat) = stat {
            // It was to go, and is here still, or again.
            self.complete(inode(stat))?;
        }
        if spot.name.is_some() {
            // Also for a name that is known: it may be so for what is in it alone.
            self.touch_directory(spot)?;
        }
        if let Some(slot) = self.slot(spot)
            && !self.model.was.contains_key(&slot)
        {
            let state = match stat {
                Some(stat) => Some(Box::new(self.first_state(spot, stat)?)),
                None => None,
            };
            self.add(Record::Was { path: slot, state })?;
        }
        Ok(stat.is_some_and(|stat| self.model.is_old(inode(stat))))
    }

    /// How what is at a spot was when the command began.
    fn first_state(&self, spot: &Spot, stat: &Stat) -> io::Result<EntryState> {
        // A name that was not touched leads to what it led to then, also where that lost other names.
        match self.model.known(inode(stat)) {
            Some(known) => Ok(known.clone()),
            None => state_of(spot, stat),
        }
    }

    /// Writes down how the directory of a spot is: its times change with the names in it.
    pub(super) fn touch_directory(&mut self, spot: &Spot) -> io::Result<()> {
        if spot.directory.recorded.get() {
            return Ok(());
        }
        if let Some(origin) = self.origin(spot)
            && !self.model.was.contains_key(origin)
        {
            let state = directory_state(&spot.dir)?;
            self.add(Record::Was {
                path: origin.clone(),
                state: Some(Box::new(state)),
            })?;
        }
        spot.directory.recorded.set(true);
        Ok(())
    }

    /// Where the directory of a spot was when the command began; `None`: it did not exist.
    fn origin<'s>(&self, spot: &'s Spot) -> Option<&'s AbsPath> {
        let directory = &spot.directory;
        let origin = || self.model.territory.origin(&directory.path);
        directory.origin.get_or_init(origin).as_ref()
    }

    /// The path that the name of a spot had when the command began; `None`: the directory that holds
    /// it did not exist.
    pub(super) fn slot(&self, spot: &Spot) -> Option<AbsPath> {
        match &spot.name {
            Some(name) => self.origin(spot)?.join(name).ok(),
            None => Some(spot.directory.path.clone()),
        }
    }

    /// Finds out which renames worked. One of `thread` is over, because the thread asks again.
    pub(super) fn settle(
        &mut self,
        thread: Option<u32>,
        directories: &Directories,
    ) -> io::Result<()> {
        if self.model.moving.is_empty() {
            return Ok(());
        }
        let waiting: Vec<Moving> = self.model.moving.clone();
        for moving in waiting {
            let moved = is_at(&moving.to, moving.inode);
            let over = thread.is_none_or(|thread| thread == moving.thread)
                || sys::process_started(moving.thread).is_none();
            if moved || over {
                let serial = moving.serial;
                self.add(Record::Settled { serial, moved })?;
            }
        }
        if self.model.moving.is_empty() {
            directories.resume();
        }
        Ok(())
    }

    /// The spot where the file is by whose descriptor it is changed. What has no name any more is of
    /// no interest: it cannot come back.
    pub(super) fn spot_of_open(
        caller: Caller<'_>,
        descriptor: u64,
    ) -> io::Result<Option<(Spot, Stat)>> {
        let open = caller.descriptor(descriptor as i32)?;
        let stat = Stat::of(&open)?;
        if stat.identity.links == 0 || path_of(&open).is_err() {
            return Ok(None);
        }
        let spot = super::resolve::spot_of(&open)?;
        let stat = spot.stat()?;
        Ok(stat.map(|stat| (spot, stat)))
    }
}

/// Whether this inode is at `path`.
fn is_at(path: &AbsPath, wanted: Inode) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return false;
    };
    let stat = Dir::open_path(&parent).and_then(|dir| dir.stat_opt(name));
    stat.is_ok_and(|stat| stat.is_some_and(|stat| inode(&stat) == wanted))
}

/// The whole state of what is at a spot, but for the hash of content.
fn state_of(spot: &Spot, stat: &Stat) -> io::Result<EntryState> {
    let Some(name) = &spot.name else {
        return directory_state(&spot.dir);
    };
    if stat.kind == EntryKind::File
        && let Ok((file, stat)) = spot.dir.open_file_with_stat(name)
    {
        return read_open_state(&file, &stat);
    }
    read_state(&spot.dir, name, stat)
}

fn directory_state(dir: &Dir) -> io::Result<EntryState> {
    let stat = dir.stat_self()?;
    match dir.reopen() {
        Ok(open) => read_open_state(&open, &stat),
        // Without the right to list it.
        Err(_) => read_open_state(dir, &stat),
    }
}

/// What tells a file from others.
pub(super) fn inode(stat: &Stat) -> Inode {
    (stat.identity.device, stat.identity.inode)
}
