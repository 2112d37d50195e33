//! A look at whole filesystems while a command runs: what changes in them, by whomever.
//!
//! Nothing is preserved by it, and nothing is decided by it. It says what a strategy that trusts a scope
//! did not look at.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use fanotify_fid::consts::{
    FAN_CREATE, FAN_MARK_ADD, FAN_MARK_FILESYSTEM, FAN_MARK_FLUSH, FAN_MOVED_FROM, FAN_MOVED_TO,
    FAN_ONDIR,
};
use fanotify_fid::fid::FidEvent;
use fanotify_fid::handle::{Fsid, fsid_of_fd};
use fanotify_fid::{Fanotify as Group, FanotifyError};

use super::fanotify::{CHANGES, new_group, open_handle, refusal};
use super::pump::{Pump, Queue};
use crate::path::AbsPath;
use crate::seal::{By, Outside, Seen, Watch};
use crate::sys::{self, Dir, Mount, Place};

/// After so many events nothing more is looked at: each costs the command a microsecond or two.
const MOST_EVENTS: u64 = 4096;
/// The most filesystems that are looked at.
const MOST_FILESYSTEMS: usize = 16;
/// Where the system has filesystems of its own.
const SYSTEMS_OWN: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Generations between a process and the command's.
const GENERATIONS: usize = 64;

/// Whether changes at a path are somebody else's to look at: of the scope, or of a store.
pub(crate) type IsWithin = Box<dyn Fn(&AbsPath) -> bool + Send>;

/// The look, as long as it lasts.
pub(crate) struct Lookout {
    pump: Pump<State>,
}

struct State {
    group: Arc<Group>,
    filesystems: Vec<(Fsid, AbsPath)>,
    within: IsWithin,
    /// What processes descend from, to be the command's.
    ancestor: u32,
    places: HashMap<Vec<u8>, Option<PathBuf>>,
    /// Whose each process is.
    known: HashMap<i32, Whose>,
    changed: BTreeMap<AbsPath, Change>,
    events: u64,
    buffer: Vec<u8>,
    /// Why not everything was seen.
    lost: Option<String>,
}

/// What was seen of an entry.
struct Change {
    by: By,
    /// It came into being while the look lasted.
    born: bool,
}

#[derive(Clone, Copy)]
enum Whose {
    Command,
    Others,
    /// It had ended when its event was read.
    Unknown,
}

impl Lookout {
    /// Begins. From the return on changes are seen on the filesystems of `mounts` that hold files; those
    /// for which `within` says so are not told. Processes of the command descend from `ancestor`.
    pub(crate) fn begin(mounts: &[Mount], ancestor: u32, within: IsWithin) -> Result<Self, String> {
        let group = new_group().map_err(|error| error.to_string())?;
        let filesystems = mark(&group, mounts)?;
        let readable = group.as_fd().try_clone_to_owned();
        let state = State {
            group: Arc::new(group),
            filesystems,
            within,
            ancestor,
            places: HashMap::new(),
            known: HashMap::new(),
            changed: BTreeMap::new(),
            events: 0,
            buffer: Vec::new(),
            lost: None,
        };
        let pump = readable.and_then(|readable| Pump::start(state, readable));
        Ok(Self {
            pump: pump.map_err(|error| error.to_string())?,
        })
    }

    /// Ends. Gives what was seen; what came and went meanwhile is left out.
    pub(crate) fn end(self) -> Outside {
        let seen = match self.pump.lock() {
            Ok(mut state) => state.finish(),
            Err(_) => Outside::of(Watch::NotWatched, "the look was broken off", Vec::new()),
        };
        // The kernel takes some milliseconds to let go of a group.
        let _ = std::thread::Builder::new()
            .name("deployx look".to_owned())
            .spawn(move || drop(self));
        seen
    }
}

/// Marks each filesystem once; gives those that could be.
fn mark(group: &Group, mounts: &[Mount]) -> Result<Vec<(Fsid, AbsPath)>, String> {
    let mut marked: Vec<(Fsid, AbsPath)> = Vec::new();
    let mut devices: Vec<u64> = Vec::new();
    let mut refused = "there is no filesystem to look at".to_owned();
    let of_system = |mount: &Mount| {
        SYSTEMS_OWN
            .iter()
            .any(|own| mount.mount_point.starts_with(own))
    };
    let holds_files = |mount: &&Mount| {
        !mount.is_pseudo() && !mount.read_only && !mount.is_network() && !of_system(mount)
    };
    for mount in mounts.iter().filter(holds_files) {
        if devices.contains(&mount.device) || marked.len() >= MOST_FILESYSTEMS {
            continue;
        }
        devices.push(mount.device);
        let Ok(at) = AbsPath::new(&*mount.mount_point) else {
            continue;
        };
        let flags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM;
        let done = Dir::open(&at).and_then(|dir| {
            let fsid = fsid_of_fd(dir.fd())?;
            let added = group.mark_fd(dir.fd(), flags, CHANGES);
            added.map_err(|error| io::Error::other(refusal(&error).to_string()))?;
            Ok(fsid)
        });
        match done {
            Ok(fsid) => marked.push((fsid, at)),
            Err(error) => refused = error.to_string(),
        }
    }
    if marked.is_empty() {
        return Err(refused);
    }
    Ok(marked)
}

impl Queue for State {
    fn drain(&mut self) -> io::Result<()> {
        let group = Arc::clone(&self.group);
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let events = match group.read_events(&mut buffer) {
                Ok(events) if events.is_empty() => break,
                Ok(events) => events,
                Err(error) if error.is_would_block() => break,
                Err(FanotifyError::Read(libc::EINTR)) => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            for event in &events {
                self.take_in(event);
            }
            self.events += events.len() as u64;
        }
        self.buffer = buffer;
        if self.events > MOST_EVENTS && self.lost.is_none() {
            self.stop(format!("the look ended after {MOST_EVENTS} events"));
        }
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        self.lost
            .get_or_insert(format!("the events could not be read: {error}"));
    }
}

impl State {
    fn finish(&mut self) -> Outside {
        if let Err(error) = self.drain() {
            self.fail(&error);
        }
        let changed = std::mem::take(&mut self.changed).into_iter();
        let lasting = changed
            .filter(|(path, change)| !change.born || path.as_path().symlink_metadata().is_ok());
        let seen = lasting.map(|(path, change)| Seen {
            path,
            by: change.by,
        });
        let mut on: Vec<String> = self
            .filesystems
            .iter()
            .map(|(_, at)| at.to_string())
            .collect();
        on.sort();
        on.dedup();
        let mut reason = format!("events on {}", on.join(", "));
        if let Some(why) = &self.lost {
            reason = format!("{reason}, not all of them: {why}");
        }
        Outside::of(Watch::Events, reason, seen.collect())
    }

    fn take_in(&mut self, event: &FidEvent<'_>) {
        if event.is_overflow() {
            self.lost.get_or_insert("they were too many".into());
            return;
        }
        let (Some(fsid), Some(handle), Some(name)) =
            (event.fsid(), event.dfid_name_handle(), event.dfid_name())
        else {
            return;
        };
        if event.pid() == std::process::id().cast_signed() {
            return;
        }
        let moved = event.mask() & (FAN_MOVED_FROM | FAN_MOVED_TO) != 0;
        if moved && event.mask() & FAN_ONDIR != 0 {
            self.places.clear();
        }
        let Some(mut path) = self.place(fsid, handle) else {
            return;
        };
        if name != "." {
            path.push(name);
        }
        let Ok(path) = AbsPath::new(path) else { return };
        if (self.within)(&path) {
            return;
        }
        let by = match self.whose(event.pid()) {
            Whose::Others => return,
            Whose::Command => By::Command,
            Whose::Unknown => By::Anyone,
        };
        let born = event.mask() & (FAN_CREATE | FAN_MOVED_TO) != 0;
        let change = self.changed.entry(path).or_insert(Change { by, born });
        change.by = change.by.min(by);
    }

    /// Where the directory behind `handle` is; `None`: it is gone, or deeper than a path tells.
    fn place(&mut self, fsid: Fsid, handle: &[u8]) -> Option<PathBuf> {
        if let Some(known) = self.places.get(handle) {
            return known.clone();
        }
        let (_, at) = self.filesystems.iter().find(|(known, _)| *known == fsid)?;
        let mount = Dir::open(at).ok()?;
        let opened = open_handle(&mount, handle).ok().flatten();
        let found = opened.and_then(|dir| match sys::place_of(dir.as_fd()) {
            Ok(Some(Place::At(path))) => Some(path),
            _ => None,
        });
        self.places.insert(handle.to_vec(), found.clone());
        found
    }

    fn whose(&mut self, pid: i32) -> Whose {
        if let Some(known) = self.known.get(&pid) {
            return *known;
        }
        let whose = whose(pid.cast_unsigned(), self.ancestor);
        self.known.insert(pid, whose);
        whose
    }

    fn stop(&mut self, why: String) {
        let flags = FAN_MARK_FLUSH | FAN_MARK_FILESYSTEM;
        if let Some((_, at)) = self.filesystems.first()
            && let Ok(dir) = Dir::open(at)
        {
            let _ = self.group.mark_fd(dir.fd(), flags, 0);
        }
        self.lost = Some(why);
    }
}

/// Whether a process descends from `ancestor`, which outlives the command.
fn whose(process: u32, ancestor: u32) -> Whose {
    let mut process = process;
    for _ in 0..GENERATIONS {
        if process == ancestor {
            return Whose::Command;
        }
        match sys::process_family(process) {
            Some(family) if family.parent > 1 => process = family.parent,
            Some(_) => return Whose::Others,
            None => return Whose::Unknown,
        }
    }
    Whose::Unknown
}
