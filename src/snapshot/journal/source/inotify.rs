//! A watch on every directory, kept by inotify.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::inotify::ReadFlags;

use super::pump::{Pump, Queue};
use super::tree::{Place, Tree};
use super::{BarrierError, EventSource, Sink, Told, WatchError};
use crate::entry::EntryKind;
use crate::path::AbsPath;
use crate::sys::{self, Dir, Noted, Standing};

/// The limit on watches, as people know it.
const WATCHES: &str = "fs.inotify.max_user_watches";
/// The limit on queued events.
const EVENTS: &str = "the event queue overflowed (fs.inotify.max_queued_events)";

/// See the module.
pub(super) struct Inotify {
    pump: Pump<State>,
}

struct State {
    inotify: Arc<sys::Inotify>,
    sink: Sink,
    tree: Tree,
    roots: BTreeMap<AbsPath, Standing>,
    /// Directories that could not be opened, by the one that holds them.
    closed: HashSet<(i32, OsString)>,
    /// Events were lost: the tree may not fit the filesystem.
    behind: bool,
    /// A directory left its place: roots may be gone.
    moved: bool,
}

/// What keeps a tree from being watched.
enum Hindrance {
    Limit,
    /// A directory is watched already, under another path.
    Twice(PathBuf),
    Io(PathBuf, io::Error),
}

impl Inotify {
    /// Makes a source that watches nothing yet.
    pub(super) fn new(sink: Sink) -> Result<Inotify, WatchError> {
        let inotify = sys::Inotify::new().map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => WatchError::Limit("fs.inotify.max_user_instances"),
            _ => WatchError::Io(error),
        })?;
        let readable = inotify.as_fd().try_clone_to_owned()?;
        let state = State {
            inotify: Arc::new(inotify),
            sink,
            tree: Tree::default(),
            roots: BTreeMap::new(),
            closed: HashSet::new(),
            behind: false,
            moved: false,
        };
        Ok(Inotify {
            pump: Pump::start(state, readable)?,
        })
    }

    /// How many directories are watched.
    #[cfg(test)]
    pub(super) fn watches(&self) -> usize {
        self.pump.lock().unwrap().tree.len()
    }

    /// Loses every watch but the roots', as if the events that told of directories had been lost.
    #[cfg(test)]
    pub(super) fn overflow(&self) {
        let mut state = self.pump.lock().unwrap();
        for top in state.tree.tops() {
            if let Some(watch) = state.tree.top(&top) {
                state.tree.keep_only(watch, &HashSet::new());
            }
        }
        state.end_watches();
        state.behind = true;
    }
}

impl EventSource for Inotify {
    fn name(&self) -> &'static str {
        "inotify"
    }

    fn watch(&self, root: &AbsPath) -> Result<(), WatchError> {
        let mut state = self.lock()?;
        // What is queued is told by the names that the tree knows now.
        state.drain()?;
        state.watch(root)
    }

    fn try_out(&self, root: &AbsPath) -> Result<(), WatchError> {
        match crate::sys::changes_without_events(&crate::sys::Dir::open(root)?)? {
            Some(filesystem) => Err(WatchError::Unsupported(format!(
                "entries on {filesystem} change without events"
            ))),
            None => Ok(()),
        }
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

impl Inotify {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, State>, WatchError> {
        self.pump
            .lock()
            .map_err(|error| WatchError::Unsupported(error.to_string()))
    }
}

impl Queue for State {
    fn drain(&mut self) -> io::Result<()> {
        let inotify = Arc::clone(&self.inotify);
        inotify.read(|event| self.take_in(event))?;
        self.end_watches();
        if std::mem::take(&mut self.behind) {
            self.catch_up();
        }
        if std::mem::take(&mut self.moved) {
            self.check_roots();
        }
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        for root in std::mem::take(&mut self.roots).into_keys() {
            self.lost(
                Some(root),
                format!("the events cannot be read: {error}"),
                true,
            );
        }
    }
}

impl State {
    fn take_in(&mut self, event: Noted<'_>) {
        if event.what.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.behind = true;
            return;
        }
        if event
            .what
            .intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT)
        {
            self.tree.forget(event.watch);
            self.moved = true;
            return;
        }
        let Some((top, mut path)) = self.tree.locate(event.watch) else {
            return;
        };
        path.extend(event.name);
        let Ok(path) = AbsPath::new(path) else {
            return;
        };
        (self.sink)(Told::Entry(path.clone()));
        if let Some(name) = event.name
            && event.what.contains(ReadFlags::ISDIR)
        {
            self.directory(event.watch, name, event.what, &top, path);
        }
    }

    /// Follows what happened to the directory `name` in a watched one.
    fn directory(
        &mut self,
        parent: i32,
        name: &OsStr,
        what: ReadFlags,
        top: &AbsPath,
        path: AbsPath,
    ) {
        if what.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            self.moved = true;
        }
        if what.contains(ReadFlags::MOVED_FROM) {
            self.tree.leave(parent, name);
        }
        let opened = what.contains(ReadFlags::ATTRIB)
            && !self.closed.is_empty()
            && self.closed.remove(&(parent, name.to_owned()));
        // Of two directories that were exchanged, the second leaves a place after the first came there.
        let came = ReadFlags::CREATE | ReadFlags::MOVED_TO | ReadFlags::MOVED_FROM;
        if !opened && !what.intersects(came) {
            return;
        }
        match self.cover(Place::In(parent, name.to_owned()), &path, None) {
            Ok(true) => (self.sink)(Told::NewDirectory(path)),
            Ok(false) => {}
            Err(hindrance) => self.give_up(top, &hindrance),
        }
    }

    /// Watches the directory at `path` and everything beneath it on the same volume. A directory is
    /// watched before it is listed, so what appears in it later is told by an event. With `only`, a
    /// directory that another top holds already is a hindrance. Says whether there is one.
    fn cover(
        &mut self,
        place: Place,
        path: &AbsPath,
        only: Option<&AbsPath>,
    ) -> Result<bool, Hindrance> {
        let failed = |at: PathBuf, error| Hindrance::Io(at, error);
        let whole = |beneath: &PathBuf| path.as_path().join(beneath);
        let start = match Dir::open(path) {
            Ok(dir) => dir,
            Err(error) => {
                let whole = path.as_path().to_owned();
                return self.closed_or_gone(place, whole, error).map(|()| false);
            }
        };
        let device = device_of(&start).map_err(|e| failed(whole(&PathBuf::new()), e))?;
        let outer = match &place {
            Place::Top(_) => Some(device),
            Place::In(parent, _) => self.device_above(*parent),
        };
        if outer.is_some_and(|outer| outer != device) {
            return Ok(false);
        }
        let mut waiting = vec![(place, PathBuf::new())];
        while let Some((place, beneath)) = waiting.pop() {
            let dir = match start.open_beneath(&beneath) {
                Ok(dir) => dir,
                Err(error) => {
                    self.closed_or_gone(place, whole(&beneath), error)?;
                    continue;
                }
            };
            if device_of(&dir).map_err(|e| failed(whole(&beneath), e))? != device {
                continue;
            }
            let watch = self.inotify.add(&dir).map_err(|error| {
                if error.raw_os_error() == Some(libc::ENOSPC) {
                    Hindrance::Limit
                } else {
                    failed(whole(&beneath), error)
                }
            })?;
            if let Some(top) = only
                && let Some((other, known)) = self.tree.locate(watch)
                && other != *top
                && known != whole(&beneath)
            {
                return Err(Hindrance::Twice(known));
            }
            self.tree.attach(watch, place);
            let mut names = HashSet::new();
            let listed = dir.for_each(|name, kind| {
                if matches!(kind, Some(EntryKind::Directory) | None) {
                    names.insert(name.to_owned());
                }
            });
            match listed {
                // Removed meanwhile: empty, and its watch ends with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|e| failed(whole(&beneath), e))?,
            }
            self.tree.keep_only(watch, &names);
            for name in names {
                let beneath = beneath.join(&name);
                waiting.push((Place::In(watch, name), beneath));
            }
        }
        Ok(true)
    }

    /// A directory that is gone, or no directory, is the business of later events. One that may not
    /// be read is noted.
    fn closed_or_gone(
        &mut self,
        place: Place,
        path: PathBuf,
        error: io::Error,
    ) -> Result<(), Hindrance> {
        match (place, error.raw_os_error()) {
            (Place::In(parent, name), Some(libc::EACCES | libc::EPERM)) => {
                self.closed.insert((parent, name));
                Ok(())
            }
            (Place::In(..), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE)) => {
                Ok(())
            }
            _ => Err(Hindrance::Io(path, error)),
        }
    }

    /// The volume that the tree above `watch` lies on.
    fn device_above(&self, watch: i32) -> Option<u64> {
        let (top, _) = self.tree.locate(watch)?;
        self.roots.get(&top).map(|standing| standing.device)
    }

    fn end_watches(&mut self) {
        for watch in self.tree.settle() {
            self.inotify.remove(watch);
        }
        if !self.closed.is_empty() {
            let tree = &self.tree;
            self.closed.retain(|(parent, _)| tree.knows(*parent));
        }
    }

    /// Lists every tree again after events were lost, and tells of it once all is watched.
    fn catch_up(&mut self) {
        self.check_roots();
        for top in self.tree.tops() {
            if let Err(hindrance) = self.cover(Place::Top(top.clone()), &top, None) {
                self.give_up(&top, &hindrance);
            }
        }
        self.end_watches();
        self.moved = true;
        self.lost(None, EVENTS.to_owned(), false);
    }

    fn watch(&mut self, root: &AbsPath) -> Result<(), WatchError> {
        let dir = Dir::open(root)?;
        if let Some(filesystem) = sys::changes_without_events(&dir)? {
            return Err(WatchError::Unsupported(format!(
                "entries on {filesystem} change without events"
            )));
        }
        let standing = Standing::of_dir(&dir)?;
        drop(dir);
        if let Some(before) = self.roots.get(root) {
            if *before == standing {
                return Ok(());
            }
            self.unwatch(root);
        }
        self.roots.insert(root.clone(), standing);
        // It may lie in a tree that is watched already.
        if self.tree.find(root).is_some() {
            return Ok(());
        }
        let covered = self.cover(Place::Top(root.clone()), root, Some(root));
        let error = match covered {
            Ok(_) if self.tree.top(root).is_some() => return Ok(()),
            Ok(_) => WatchError::Unsupported("it was moved meanwhile".to_owned()),
            Err(Hindrance::Limit) => WatchError::Limit(WATCHES),
            Err(Hindrance::Twice(other)) => WatchError::Unsupported(format!(
                "it is watched already as {}",
                crate::path::escape(&other)
            )),
            Err(Hindrance::Io(at, error)) => {
                let at = crate::path::escape(&at);
                WatchError::Io(io::Error::new(error.kind(), format!("{at}: {error}")))
            }
        };
        self.unwatch(root);
        // Trees that it took in on the way are whole again after this.
        self.restore_tops();
        Err(error)
    }

    /// Makes a top again of every root that is in no tree.
    fn restore_tops(&mut self) {
        let roots: Vec<AbsPath> = self.roots.keys().cloned().collect();
        for root in roots {
            if self.tree.find(&root).is_none() {
                match self.cover(Place::Top(root.clone()), &root, None) {
                    Ok(_) => self.lost(Some(root), "its watch was renewed".to_owned(), false),
                    Err(hindrance) => self.give_up(&root, &hindrance),
                }
            }
        }
    }

    fn unwatch(&mut self, root: &AbsPath) {
        if self.roots.remove(root).is_some() && self.tree.top(root).is_some() {
            let kept: Vec<AbsPath> = self
                .roots
                .keys()
                .filter(|other| other.starts_with(root))
                .cloned()
                .collect();
            self.tree.remove_top(root, &kept);
        }
        self.end_watches();
    }

    /// Ends the watch of every root beneath `top`: not all of the tree can be watched.
    fn give_up(&mut self, top: &AbsPath, hindrance: &Hindrance) {
        let reason = match hindrance {
            Hindrance::Limit => format!("more directories than {WATCHES} allows"),
            Hindrance::Twice(_) => "its directories were moved".to_owned(),
            Hindrance::Io(at, error) => {
                format!("cannot watch {}: {error}", crate::path::escape(at))
            }
        };
        let beneath: Vec<AbsPath> = self
            .roots
            .keys()
            .filter(|root| root.starts_with(top))
            .cloned()
            .collect();
        for root in beneath.into_iter().rev() {
            self.unwatch(&root);
            self.lost(Some(root), reason.clone(), true);
        }
    }

    /// Tells of roots that are not where they were.
    fn check_roots(&mut self) {
        let gone: Vec<(AbsPath, String)> = self
            .roots
            .iter()
            .filter_map(|(root, standing)| Some((root.clone(), absence(root, standing)?)))
            .collect();
        for (root, reason) in gone.into_iter().rev() {
            self.unwatch(&root);
            self.lost(Some(root), reason, true);
        }
    }

    fn lost(&self, root: Option<AbsPath>, reason: String, ended: bool) {
        (self.sink)(Told::Lost {
            root,
            reason,
            ended,
        });
    }
}

/// Why the directory at `root` is not the one that stood there; `None` where it is.
pub(super) fn absence(root: &AbsPath, standing: &Standing) -> Option<String> {
    match Standing::of(root) {
        Ok(now) if now == *standing => None,
        Ok(now) if now.mount != standing.mount => {
            Some("the volume was unmounted, or another mounted over it".to_owned())
        }
        Ok(_) => Some("another directory took its place".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("the directory was deleted or moved away".to_owned())
        }
        Err(error) => Some(format!("the directory cannot be reached: {error}")),
    }
}

fn device_of(dir: &Dir) -> io::Result<u64> {
    Ok(dir.stat_self()?.identity.device)
}
