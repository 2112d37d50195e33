//! The crate `notify` where its backend watches a whole tree at once: `FSEvents` on macOS,
//! `ReadDirectoryChangesW` on Windows.
//!
//! On Linux its backend keeps a watch for each directory, as `inotify` does here, but by paths: a
//! directory that cannot be watched is passed over in silence, and so are unmounting and a watch
//! that a move took away. There it serves the tests only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use ::notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{BarrierError, EventSource, Sink, Told, WatchError};
use crate::path::AbsPath;

/// How long a barrier waits for the events before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a mark may take before another is written: an overflow takes marks along.
const RETRY: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Notify {
    watcher: Mutex<RecommendedWatcher>,
    roots: Arc<Mutex<BTreeSet<AbsPath>>>,
    /// A private directory that is watched too. Events come in their order, so a file that is made
    /// in it is told after everything before.
    scratch: PathBuf,
    next_mark: AtomicU64,
    marks: Mutex<Receiver<PathBuf>>,
}

impl Notify {
    /// Makes a source that watches nothing yet but `scratch`.
    pub(super) fn new(sink: Sink, scratch: &Path) -> Result<Notify, WatchError> {
        let scratch = scratch.canonicalize()?;
        let roots = Arc::new(Mutex::new(BTreeSet::new()));
        let (seen, marks) = mpsc::channel();
        let handler = Handler {
            sink,
            roots: Arc::clone(&roots),
            scratch: scratch.clone(),
            seen,
        };
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(move |outcome| handler.take_in(outcome), config)
            .map_err(refusal)?;
        watcher
            .watch(&scratch, RecursiveMode::NonRecursive)
            .map_err(refusal)?;
        Ok(Notify {
            watcher: Mutex::new(watcher),
            roots,
            scratch,
            next_mark: AtomicU64::new(0),
            marks: Mutex::new(marks),
        })
    }
}

impl EventSource for Notify {
    fn name(&self) -> &'static str {
        "notify"
    }

    fn watch(&self, root: &AbsPath) -> Result<(), WatchError> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = || self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if !locked().insert(root.clone()) {
            return Ok(());
        }
        // The lock is free again: the handler needs it while the watcher works.
        let outcome = watcher.watch(root.as_path(), RecursiveMode::Recursive);
        if outcome.is_err() {
            locked().remove(root);
            let _ = watcher.unwatch(root.as_path());
        }
        outcome.map_err(refusal)
    }

    fn try_out(&self, root: &AbsPath) -> Result<(), WatchError> {
        root.as_path().metadata()?;
        Ok(())
    }

    fn unwatch(&self, root: &AbsPath) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = roots.remove(root);
        drop(roots);
        if watched {
            let _ = watcher.unwatch(root.as_path());
        }
    }

    fn barrier(&self) -> Result<(), BarrierError> {
        let marks = self.marks.lock().map_err(|_| BarrierError::Stopped)?;
        let start = Instant::now();
        let mut written = Vec::new();
        let outcome = loop {
            let number = self.next_mark.fetch_add(1, Ordering::Relaxed);
            let mark = self.scratch.join(format!("mark-{number}"));
            if std::fs::write(&mark, []).is_err() {
                break Err(BarrierError::Stopped);
            }
            written.push(mark);
            match wait_for(&marks, &written) {
                Ok(()) => break Ok(()),
                Err(RecvTimeoutError::Disconnected) => break Err(BarrierError::Stopped),
                Err(RecvTimeoutError::Timeout) if start.elapsed() >= PATIENCE => {
                    break Err(BarrierError::Late);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        for mark in written {
            let _ = std::fs::remove_file(mark);
        }
        outcome
    }
}

/// Waits until one of `written` is seen; older marks may still arrive.
fn wait_for(marks: &Receiver<PathBuf>, written: &[PathBuf]) -> Result<(), RecvTimeoutError> {
    let end = Instant::now() + RETRY;
    loop {
        let seen = marks.recv_timeout(end.saturating_duration_since(Instant::now()))?;
        if written.contains(&seen) {
            return Ok(());
        }
    }
}

/// What the watcher's thread calls.
struct Handler {
    sink: Sink,
    roots: Arc<Mutex<BTreeSet<AbsPath>>>,
    scratch: PathBuf,
    seen: Sender<PathBuf>,
}

impl Handler {
    fn take_in(&self, outcome: ::notify::Result<Event>) {
        match outcome {
            Ok(event) if event.need_rescan() => {
                self.lost(None, "the event queue overflowed".to_owned(), false);
            }
            Ok(event) => {
                for path in &event.paths {
                    self.tell(event.kind, path);
                }
            }
            Err(error) => self.lost(None, error.to_string(), false),
        }
    }

    fn tell(&self, kind: EventKind, path: &Path) {
        if path.parent() == Some(&self.scratch) {
            if kind.is_create() {
                let _ = self.seen.send(path.to_owned());
            }
            return;
        }
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if kind.is_access() && kind != closed {
            return;
        }
        let Ok(path) = AbsPath::new(path) else { return };
        let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        let is_root = roots.contains(&path);
        if !roots.iter().any(|root| path.starts_with(root)) {
            return;
        }
        drop(roots);
        (self.sink)(Told::Entry(path.clone()));
        let left = matches!(
            kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        let appeared = matches!(
            kind,
            EventKind::Create(CreateKind::Folder | CreateKind::Any | CreateKind::Other)
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Any
        );
        let is_dir = || {
            path.as_path()
                .symlink_metadata()
                .is_ok_and(|found| found.is_dir())
        };
        if is_root && left {
            let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
            roots.remove(&path);
            drop(roots);
            let reason = "the directory was deleted or moved away".to_owned();
            self.lost(Some(path), reason, true);
        } else if appeared && is_dir() {
            (self.sink)(Told::NewDirectory(path));
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

fn refusal(error: ::notify::Error) -> WatchError {
    match error.kind {
        ::notify::ErrorKind::Io(error) => WatchError::Io(error),
        ::notify::ErrorKind::MaxFilesWatch => WatchError::Limit("watches"),
        _ => WatchError::Unsupported(error.to_string()),
    }
}
