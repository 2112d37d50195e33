//! The `journal` strategy: changes are found by filesystem events, so that a snapshot costs what
//! changed since the last one.
//!
//! The first capture of a tree walks it and begins to watch it. From then on `source` tells what
//! changes in it, and `watch` keeps that for the next capture and for those in progress. A capture
//! looks only at what may have changed (`begin`), and so does sealing it (`capture`).
//!
//! Events are hints. Wherever any may have been lost (an overflow, a limit, a volume that was
//! unmounted), and wherever something is not told by events alone (a new hard link, another mount),
//! the tree is walked, and the coverage says so. A capture whose process died is sealed by a walk.

mod begin;
mod capture;
mod source;
#[cfg(all(test, unix))]
mod tests;
mod tree;
mod watch;

#[cfg(target_os = "linux")]
pub(crate) use source::outside;

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use self::capture::JournalCapture;
use self::watch::Watch;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::snapshot::volumes::Volumes;
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};

/// The strategy's name.
pub const NAME: &str = "journal";

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Events {
    /// The best source that works, for each tree.
    #[default]
    Auto,
    /// One mark for each filesystem (Linux, administrator).
    Fanotify,
    /// One watch for each directory (Linux).
    Inotify,
}

impl Events {
    fn only(self) -> Option<&'static str> {
        match self {
            Events::Auto => None,
            Events::Fanotify => Some("fanotify"),
            Events::Inotify => Some("inotify"),
        }
    }
}

/// Watches trees, and keeps their content in the baselines of `volumes`.
pub struct Journal {
    volumes: Arc<Volumes>,
    events: Events,
    /// Opened on first use: most processes never watch anything.
    watch: OnceLock<std::result::Result<Arc<Watch>, String>>,
}

impl Journal {
    /// The strategy on these baselines.
    pub fn new(volumes: Arc<Volumes>, events: Events) -> Self {
        Self {
            volumes,
            events,
            watch: OnceLock::new(),
        }
    }

    fn watch(&self) -> std::result::Result<&Arc<Watch>, String> {
        let open = || {
            Watch::new(&self.volumes, self.events.only())
                .map(Arc::new)
                .map_err(|error| error.to_string())
        };
        self.watch.get_or_init(open).as_ref().map_err(Clone::clone)
    }
}

impl SnapshotStrategy for Journal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            resume: true,
            zero_copy: false,
        }
    }

    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
        let source = self.watch()?.can_watch(path)?;
        Ok(format!("changes are told by {source}"))
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        let watch = self.watch().map_err(|why| {
            let context = format!("filesystem events cannot be had: {why}");
            Error::new(ErrorKind::Unsupported, Stage::Capture, context)
        })?;
        let capture = begin::begin(&self.volumes, watch, request)?;
        Ok(Box::new(capture))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        let capture = self.volumes.resume(token)?;
        Ok(Box::new(JournalCapture::unwatched(capture)))
    }
}
