//! What probes found, as the store remembers it.

use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::entry::Timestamp;
use crate::path::WirePath;
use crate::sys::durable::{Directory, Durability};
use crate::sys::{self, Mount};

const FILE: &str = "probes.json";
const TEMPORARY: &str = ".probes.json.tmp";
/// Raised when what is remembered means something else.
const VERSION: u32 = 1;
/// Nobody has so many volumes; what is larger is not ours.
const MAX_BYTES: u64 = 1 << 20;
/// How long an answer holds, in seconds.
const LASTING: f64 = 24.0 * 3600.0;
/// How long one holds that may change at any time.
const PASSING: f64 = 60.0;

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    kind: String,
    device: u64,
    mount_point: WirePath,
    filesystem: String,
    source: String,
    /// Devices get other numbers when the system starts, and the kernel may be another.
    boot: String,
}

impl Key {
    pub(super) fn new(kind: &str, mount: &Mount) -> Self {
        Self {
            kind: kind.to_owned(),
            device: mount.device,
            mount_point: WirePath::from_bytes(mount.mount_point.as_os_str().as_encoded_bytes()),
            filesystem: mount.filesystem.clone(),
            source: mount.source.clone(),
            boot: sys::boot_id().unwrap_or_default(),
        }
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) key: Key,
    /// When it was found, in seconds since the epoch.
    at: f64,
    /// Why it does not work; nothing where it does.
    refused: Option<String>,
    /// It may change at any time; not written down.
    #[serde(skip)]
    passing: bool,
}

impl Record {
    pub(super) fn new(key: Key, finding: &Finding, now: f64) -> Self {
        let (refused, passing) = match finding {
            Finding::Works => (None, false),
            Finding::Never(reason) => (Some(reason.clone()), false),
            Finding::NotNow(reason) => (Some(reason.clone()), true),
        };
        Self {
            key,
            at: now,
            refused,
            passing,
        }
    }

    /// Whether it can still be relied on. A clock that was set back makes it too old.
    pub(super) fn holds(&self, now: f64) -> bool {
        let longest = if self.passing { PASSING } else { LASTING };
        (0.0..longest).contains(&(now - self.at))
    }

    pub(super) fn answer(&self) -> Result<(), String> {
        self.refused.clone().map_or(Ok(()), Err)
    }
}

#[derive(Serialize, Deserialize)]
struct Cache {
    version: u32,
    probes: Vec<Record>,
}

/// Seconds since the epoch.
pub(super) fn now() -> f64 {
    Timestamp::now().as_seconds()
}

/// What is remembered; nothing where that cannot be read or makes no sense.
pub(super) fn load(store: &Path) -> Vec<Record> {
    let read = Directory::open(store).and_then(|store| store.read(FILE, MAX_BYTES));
    let cache = read
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Cache>(&bytes).ok());
    cache
        .filter(|cache| cache.version == VERSION)
        .map_or_else(Vec::new, |cache| cache.probes)
}

/// Writes `records` down, and what other processes have written meanwhile.
pub(super) fn save(store: &Path, records: &[Record], now: f64) -> io::Result<()> {
    let mut probes: Vec<Record> = records.iter().filter(|r| !r.passing).cloned().collect();
    let others = load(store).into_iter();
    probes.extend(others.filter(|other| records.iter().all(|own| own.key != other.key)));
    probes.retain(|record| record.holds(now));
    let bytes = serde_json::to_vec(&Cache {
        version: VERSION,
        probes,
    })?;
    Directory::open(store)?.replace(TEMPORARY, FILE, Durability::Atomic, |file| {
        file.write_all(&bytes)
    })
}
