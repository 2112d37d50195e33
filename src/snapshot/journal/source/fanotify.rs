//! One mark on a whole filesystem, kept by fanotify.
//!
//! Events name the directory by its handle and the entry by its name. They are queued inside the
//! system call that caused them, so whoever empties the queue has heard of everything before.
//!
//! A handle is turned into the path that the directory has when it is asked for. Where that was
//! asked before a move, the move's own event follows, and tells both ends.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use fanotify_fid::consts::{
    FAN_ATTRIB, FAN_CLASS_NOTIF, FAN_CLOEXEC, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE,
    FAN_MARK_ADD, FAN_MARK_FILESYSTEM, FAN_MARK_REMOVE, FAN_MODIFY, FAN_MOVED_FROM, FAN_MOVED_TO,
    FAN_NONBLOCK, FAN_ONDIR, FAN_REPORT_DFID_NAME,
};
use fanotify_fid::fid::FidEvent;
use fanotify_fid::handle::{Fsid, fsid_of_fd, handle_from_fd, open_by_handle_at};
use fanotify_fid::{Fanotify as Group, FanotifyError};

use super::inotify::absence;
use super::pump::{Pump, Queue};
use super::{BarrierError, EventSource, Sink, Told, WatchError};
use crate::path::AbsPath;
use crate::sys::{self, Dir, Place, Standing};

/// Everything that changes an entry; reading is left out. Both ends of a move are events of their
/// own, each with its directory and name.
pub(super) const CHANGES: u64 = FAN_ATTRIB
    | FAN_MODIFY
    | FAN_CLOSE_WRITE
    | FAN_CREATE
    | FAN_DELETE
    | FAN_MOVED_FROM
    | FAN_MOVED_TO
    | FAN_ONDIR;
/// Most directories whose path is remembered for one mount.
const REMEMBERED: usize = 1 << 16;
/// How often a handle is opened again that could not be.
const ATTEMPTS: u32 = 20;
const OVERFLOW: &str = "the event queue overflowed (fs.fanotify.max_queued_events)";

/// See the module.
pub(super) struct Fanotify {
    pump: Pump<State>,
}

struct State {
    group: Arc<Group>,
    sink: Sink,
    volumes: Vec<Volume>,
    /// The group's marks as the kernel lists them, by filesystem. A mark that could not be removed
    /// stays here.
    marks: HashMap<Fsid, String>,
    buffer: Vec<u8>,
    /// A directory left its place: roots may be gone.
    moved: bool,
    /// Events could not be told: why.
    blind: Option<String>,
}

/// A filesystem with a mark.
struct Volume {
    fsid: Fsid,
    views: Vec<View>,
}

/// One mount of a filesystem: handles lead to paths beneath it.
struct View {
    mount: u64,
    roots: Vec<(AbsPath, Standing)>,
    places: HashMap<Vec<u8>, Place>,
}

impl Fanotify {
    /// Makes a source that watches nothing yet; fails without the privilege.
    pub(super) fn new(sink: Sink) -> Result<Fanotify, WatchError> {
        let group = new_group()?;
        let readable = group.as_fd().try_clone_to_owned()?;
        let state = State {
            group: Arc::new(group),
            sink,
            volumes: Vec::new(),
            marks: HashMap::new(),
            buffer: Vec::new(),
            moved: false,
            blind: None,
        };
        Ok(Fanotify {
            pump: Pump::start(state, readable)?,
        })
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, WatchError> {
        self.pump
            .lock()
            .map_err(|error| WatchError::Unsupported(error.to_string()))
    }
}

impl EventSource for Fanotify {
    fn name(&self) -> &'static str {
        "fanotify"
    }

    fn watch(&self, root: &AbsPath) -> Result<(), WatchError> {
        self.lock()?.watch(root)
    }

    fn try_out(&self, root: &AbsPath) -> Result<(), WatchError> {
        // One mark, however much is in it.
        let mut state = self.lock()?;
        let known = state.roots().any(|(path, _)| path == root);
        state.watch(root)?;
        if !known {
            state.unwatch(root);
        }
        Ok(())
    }

    fn unwatch(&self, root: &AbsPath) {
        if let Ok(mut state) = self.pump.lock() {
            state.unwatch(root);
        }
    }

    fn barrier(&self) -> Result<(), BarrierError> {
        let mut state = self.pump.lock()?;
        state.moved = true;
        state.drain().map_err(|_| BarrierError::Stopped)
    }
}

impl Queue for State {
    fn drain(&mut self) -> io::Result<()> {
        let group = Arc::clone(&self.group);
        let mut buffer = std::mem::take(&mut self.buffer);
        // The system counts an event as 24 bytes here, so these are waiting.
        let waiting = rustix::io::ioctl_fionread(group.as_fd())? / 24;
        let mut seen = 0;
        while seen < waiting {
            let events = match group.read_events(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.is_would_block() => break,
                Err(FanotifyError::Read(libc::EINTR)) => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            seen += events.len() as u64;
            // Opened for a moment only: an open directory would keep its volume from being
            // unmounted.
            let mut opened = HashMap::new();
            for event in &events {
                self.take_in(event, &mut opened);
            }
        }
        self.buffer = buffer;
        if let Some(reason) = self.blind.take() {
            self.lost(None, reason, false);
        }
        if std::mem::take(&mut self.moved) {
            self.check_roots()?;
        }
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        let reason = format!("the events cannot be read: {error}");
        for volume in std::mem::take(&mut self.volumes) {
            for (root, _) in volume.views.into_iter().flat_map(|view| view.roots) {
                self.lost(Some(root), reason.clone(), true);
            }
        }
    }
}

/// Directories that lead to a mount, opened while one batch of events is taken in.
type Opened = HashMap<u64, Option<Dir>>;

impl State {
    fn take_in(&mut self, event: &FidEvent<'_>, opened: &mut Opened) {
        if event.is_overflow() {
            self.forget_places();
            self.lost(None, OVERFLOW.to_owned(), false);
            return;
        }
        let (Some(fsid), Some(handle), Some(name)) =
            (event.fsid(), event.dfid_name_handle(), event.dfid_name())
        else {
            // What has no name is a file that was removed.
            return;
        };
        let on_directory = event.mask() & FAN_ONDIR != 0;
        let appeared = on_directory && event.mask() & (FAN_CREATE | FAN_MOVED_TO) != 0;
        let left = on_directory && event.mask() & (FAN_DELETE | FAN_MOVED_FROM) != 0;
        self.moved |= left;
        if on_directory && event.mask() & (FAN_MOVED_FROM | FAN_MOVED_TO) != 0 {
            self.forget_places();
        }
        for view in self
            .volumes
            .iter_mut()
            .filter(|volume| volume.fsid == fsid)
            .flat_map(|volume| &mut volume.views)
        {
            let mut path = match view.place(handle, opened) {
                Ok(Some(Place::At(path))) => path,
                Ok(Some(Place::Beneath(path))) => {
                    if let Err(reason) = tell_depths(&self.sink, &view.roots, path) {
                        self.blind = Some(reason);
                    }
                    continue;
                }
                Ok(None) => continue,
                Err(error) => {
                    self.blind = Some(format!("a directory could not be found: {error}"));
                    self.moved = true;
                    continue;
                }
            };
            if name != "." {
                path.push(name);
            }
            if !view.roots.iter().any(|(root, _)| path.starts_with(root)) {
                continue;
            }
            let Ok(path) = AbsPath::new(path) else {
                continue;
            };
            (self.sink)(Told::Entry(path.clone()));
            if appeared {
                (self.sink)(Told::NewDirectory(path));
            }
        }
    }

    /// A directory moved: any path may be another now, on other volumes too.
    fn forget_places(&mut self) {
        for view in self.volumes.iter_mut().flat_map(|v| &mut v.views) {
            view.places.clear();
        }
    }

    fn watch(&mut self, root: &AbsPath) -> Result<(), WatchError> {
        let dir = Dir::open(root)?;
        if let Some(filesystem) = sys::changes_without_events(&dir)? {
            return Err(WatchError::Unsupported(format!(
                "entries on {filesystem} change without events"
            )));
        }
        let standing = Standing::of_dir(&dir)?;
        let before = self.roots().find(|(path, _)| path == root).cloned();
        if let Some((_, before)) = before {
            if before == standing {
                return Ok(());
            }
            self.unwatch(root);
        }
        let fsid = fsid_of_fd(dir.fd())?;
        self.mark(fsid, &dir)?;
        match leads_back(root, &dir) {
            Ok(true) => {
                let view = self.volume(fsid).view(standing.mount);
                view.roots.push((root.clone(), standing));
                Ok(())
            }
            outcome => {
                self.unmark_unused(Some((fsid, &dir)));
                let said = outcome.err().map(|error| format!(": {error}"));
                Err(WatchError::Unsupported(format!(
                    "handles of this filesystem do not lead back to paths{}",
                    said.unwrap_or_default()
                )))
            }
        }
    }

    /// Marks the filesystem of `dir`; where the mark is there already, nothing changes.
    fn mark(&mut self, fsid: Fsid, dir: &Dir) -> Result<(), WatchError> {
        let before = listed(&self.group)?;
        self.group
            .mark_fd(dir.fd(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, CHANGES)
            .map_err(|error| refusal(&error))?;
        let mut after = listed(&self.group)?.into_iter();
        if let Some(new) = after.find(|mark| !before.contains(mark)) {
            self.marks.insert(fsid, new);
        }
        Ok(())
    }

    fn volume(&mut self, fsid: Fsid) -> &mut Volume {
        let index = self.volumes.iter().position(|volume| volume.fsid == fsid);
        let index = index.unwrap_or_else(|| {
            self.volumes.push(Volume {
                fsid,
                views: Vec::new(),
            });
            self.volumes.len() - 1
        });
        &mut self.volumes[index]
    }

    fn roots(&self) -> impl Iterator<Item = &(AbsPath, Standing)> {
        self.volumes
            .iter()
            .flat_map(|volume| &volume.views)
            .flat_map(|view| &view.roots)
    }

    fn unwatch(&mut self, root: &AbsPath) {
        let mut way = None;
        for volume in &mut self.volumes {
            for view in &mut volume.views {
                if view.roots.iter().any(|(path, _)| path == root) {
                    way = open_mount(&view.roots).map(|dir| (volume.fsid, dir));
                    view.roots.retain(|(path, _)| path != root);
                }
            }
            volume.views.retain(|view| !view.roots.is_empty());
        }
        self.volumes.retain(|volume| !volume.views.is_empty());
        self.unmark_unused(way.as_ref().map(|(fsid, dir)| (*fsid, dir)));
    }

    /// Removes the mark of the filesystem that `way` leads to, where no root needs it. A mark without
    /// a way to it stays, and its events go to nobody.
    fn unmark_unused(&mut self, way: Option<(Fsid, &Dir)>) {
        if let Some((fsid, dir)) = way
            && self.volumes.iter().all(|volume| volume.fsid != fsid)
        {
            let flags = FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM;
            if self.group.mark_fd(dir.fd(), flags, CHANGES).is_ok() {
                self.marks.remove(&fsid);
            }
        }
    }

    /// Tells of roots that are not where they were, and of volumes whose mark went with them.
    fn check_roots(&mut self) -> io::Result<()> {
        let marks = listed(&self.group)?;
        let mut gone = Vec::new();
        for volume in &self.volumes {
            let mark = self.marks.get(&volume.fsid);
            let marked = mark.is_some_and(|mark| marks.contains(mark));
            for (root, standing) in volume.views.iter().flat_map(|view| &view.roots) {
                let unmarked = (!marked).then(|| "the volume was unmounted".to_owned());
                let reason = absence(root, standing).or(unmarked);
                gone.extend(reason.map(|reason| (root.clone(), reason)));
            }
        }
        for (root, reason) in gone {
            self.unwatch(&root);
            self.lost(Some(root), reason, true);
        }
        Ok(())
    }

    fn lost(&self, root: Option<AbsPath>, reason: String, ended: bool) {
        (self.sink)(Told::Lost {
            root,
            reason,
            ended,
        });
    }
}

impl Volume {
    fn view(&mut self, mount: u64) -> &mut View {
        let index = self.views.iter().position(|view| view.mount == mount);
        let index = index.unwrap_or_else(|| {
            self.views.push(View {
                mount,
                roots: Vec::new(),
                places: HashMap::new(),
            });
            self.views.len() - 1
        });
        &mut self.views[index]
    }
}

impl View {
    /// Where the directory behind `handle` is; `None` when it is gone or cannot be reached through
    /// this mount.
    fn place(&mut self, handle: &[u8], opened: &mut Opened) -> io::Result<Option<Place>> {
        if let Some(place) = self.places.get(handle) {
            return Ok(Some(place.clone()));
        }
        let mount = opened
            .entry(self.mount)
            .or_insert_with(|| open_mount(&self.roots))
            .as_ref()
            .ok_or(io::ErrorKind::NotFound)?;
        let Some(dir) = open_handle(mount, handle)? else {
            return Ok(None);
        };
        let Some(place) = sys::place_of(dir.as_fd())? else {
            return Ok(None);
        };
        if self.places.len() >= REMEMBERED {
            self.places.clear();
        }
        self.places.insert(handle.to_vec(), place.clone());
        Ok(Some(place))
    }
}

/// Tells of something somewhere beneath `above`, too deep to be told by its path.
fn tell_depths(sink: &Sink, roots: &[(AbsPath, Standing)], above: PathBuf) -> Result<(), String> {
    if roots.iter().any(|(root, _)| above.starts_with(root)) {
        if let Ok(above) = AbsPath::new(above) {
            sink(Told::NewDirectory(above));
        }
        return Ok(());
    }
    if roots
        .iter()
        .any(|(root, _)| root.as_path().starts_with(&above))
    {
        return Err("a directory is deeper than a path can tell".to_owned());
    }
    Ok(())
}

/// Opens the directory behind `handle`; `None` when it was removed, which the directory that held it
/// tells. While directories above it are moved, the system may fail with either error; asking again
/// helps.
pub(super) fn open_handle(mount: &Dir, handle: &[u8]) -> io::Result<Option<OwnedFd>> {
    let mut attempts = 0;
    loop {
        let error = match open_by_handle_at(mount.fd(), handle) {
            Ok(dir) => return Ok(Some(dir)),
            Err(error) => error,
        };
        attempts += 1;
        match error.raw_os_error() {
            Some(libc::ESTALE) if attempts < 2 => {}
            Some(libc::ESTALE) => return Ok(None),
            Some(libc::ENOMEM) if attempts < ATTEMPTS => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return Err(error),
        }
    }
}

/// Opens a root that is still where it was.
fn open_mount(roots: &[(AbsPath, Standing)]) -> Option<Dir> {
    roots.iter().find_map(|(root, standing)| {
        let dir = Dir::open(root).ok()?;
        (Standing::of_dir(&dir).ok()? == *standing).then_some(dir)
    })
}

/// A group whose events name directory and entry. The queue keeps the administrator's limit: what
/// does not fit is lost and told so, which costs a walk; without a limit it would be memory of the
/// system.
pub(super) fn new_group() -> Result<Group, WatchError> {
    Group::new(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME).map_err(
        |error| match error.errno() {
            Some(libc::EMFILE) => WatchError::Limit("fs.fanotify.max_user_groups"),
            _ => refusal(&error),
        },
    )
}

pub(super) fn refusal(error: &FanotifyError) -> WatchError {
    WatchError::Unsupported(match error.errno() {
        Some(libc::EPERM) => "only the administrator may watch a whole filesystem".to_owned(),
        Some(libc::EINVAL | libc::ENOSYS) => "this system is too old for it".to_owned(),
        Some(libc::EXDEV) => "a subvolume cannot be watched for itself".to_owned(),
        Some(libc::EOPNOTSUPP | libc::ENODEV) => {
            "entries of this filesystem cannot be opened by handle".to_owned()
        }
        Some(libc::ENOSPC) => return WatchError::Limit("fs.fanotify.max_user_marks"),
        _ => error.to_string(),
    })
}

/// The group's marks on filesystems, as the kernel lists them.
fn listed(group: &Group) -> io::Result<Vec<String>> {
    let number = group.as_fd().as_raw_fd();
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let marks = text.lines().filter_map(|line| {
        let mark = line.strip_prefix("fanotify sdev:")?;
        mark.split_ascii_whitespace().next().map(str::to_owned)
    });
    Ok(marks.collect())
}

/// Whether the handle of `dir` leads back to `root`.
fn leads_back(root: &AbsPath, dir: &Dir) -> io::Result<bool> {
    let handle = handle_from_fd(dir.fd())?;
    let opened = open_by_handle_at(dir.fd(), &handle)?;
    Ok(sys::place_of(opened.as_fd())? == Some(Place::At(root.as_path().to_owned())))
}
