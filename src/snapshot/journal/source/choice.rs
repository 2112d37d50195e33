//! Which source watches which root.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{BarrierError, EventSource, Sink, WatchError};
use crate::path::AbsPath;

/// Sources in the order of preference, behind the interface of one.
pub(crate) struct Chosen {
    /// Only the source of this name; `None`: any.
    wanted: Option<&'static str>,
    sources: Vec<Arc<dyn EventSource>>,
    /// Sources that there are not, and why.
    missing: Vec<(&'static str, WatchError)>,
    by_root: Mutex<HashMap<AbsPath, Arc<dyn EventSource>>>,
}

/// Opens the sources that this system offers to this process. `scratch` is a private directory that
/// a source may write to; `wanted` leaves only the source of that name. Fails when there is none.
pub(crate) fn open(
    wanted: Option<&'static str>,
    scratch: &Path,
    sink: &Sink,
) -> Result<Chosen, WatchError> {
    let mut chosen = Chosen {
        wanted,
        sources: Vec::new(),
        missing: Vec::new(),
        by_root: Mutex::default(),
    };
    chosen.open_all(scratch, sink);
    match (chosen.sources.is_empty(), chosen.missing.pop()) {
        (true, Some((_, error))) => Err(error),
        (_, missing) => {
            chosen.missing.extend(missing);
            Ok(chosen)
        }
    }
}

impl Chosen {
    #[cfg(target_os = "linux")]
    fn open_all(&mut self, _scratch: &Path, sink: &Sink) {
        self.add("fanotify", super::fanotify::Fanotify::new(Arc::clone(sink)));
        self.add("inotify", super::inotify::Inotify::new(Arc::clone(sink)));
    }

    #[cfg(not(target_os = "linux"))]
    fn open_all(&mut self, scratch: &Path, sink: &Sink) {
        self.add(
            "notify",
            super::notify::Notify::new(Arc::clone(sink), scratch),
        );
    }

    fn add<S: EventSource + 'static>(&mut self, name: &'static str, opened: Result<S, WatchError>) {
        if self.wanted.is_some_and(|wanted| wanted != name) {
            return;
        }
        match opened {
            Ok(source) => self.sources.push(Arc::new(source)),
            Err(error) => self.missing.push((name, error)),
        }
    }

    /// The name of the source that watches `root`.
    #[cfg(test)]
    pub(crate) fn source_of(&self, root: &AbsPath) -> Option<&'static str> {
        let by_root = self.by_root.lock().unwrap_or_else(PoisonError::into_inner);
        by_root.get(root).map(|source| source.name())
    }

    /// Whether some source there is not.
    #[cfg(test)]
    pub(crate) fn lacks_a_source(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The name of the source that would watch the directory `root`.
    pub(crate) fn would_watch(&self, root: &AbsPath) -> Result<&'static str, WatchError> {
        let mut outcome = Err(WatchError::Unsupported("no event source".to_owned()));
        for source in &self.sources {
            outcome = source.try_out(root).map(|()| source.name());
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl EventSource for Chosen {
    fn name(&self) -> &'static str {
        self.sources[0].name()
    }

    fn watch(&self, root: &AbsPath) -> Result<(), WatchError> {
        let mut by_root = self.by_root.lock().unwrap_or_else(PoisonError::into_inner);
        // A source that lost the root does not know it any more and begins anew.
        if let Some(source) = by_root.get(root)
            && source.watch(root).is_ok()
        {
            return Ok(());
        }
        by_root.remove(root);
        let mut outcome = Err(WatchError::Unsupported("no event source".to_owned()));
        for source in &self.sources {
            outcome = source.watch(root);
            if outcome.is_ok() {
                by_root.insert(root.clone(), Arc::clone(source));
                break;
            }
        }
        outcome
    }

    fn try_out(&self, root: &AbsPath) -> Result<(), WatchError> {
        self.would_watch(root).map(drop)
    }

    fn unwatch(&self, root: &AbsPath) {
        let mut by_root = self.by_root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = by_root.remove(root) {
            source.unwatch(root);
        }
    }

    fn barrier(&self) -> Result<(), BarrierError> {
        self.sources.iter().try_for_each(|source| source.barrier())
    }
}
