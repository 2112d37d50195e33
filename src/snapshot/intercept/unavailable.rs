//! The `intercept` strategy where the system cannot be asked to stop calls: it says so.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::seal::LateChange;
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};
use crate::store::{SnapshotId, Store};

/// The strategy's name.
pub const NAME: &str = "intercept";

const WHY: &str = "calls can be intercepted on Linux only";

/// How processes that answer for intercepted calls would be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptionHost {
    /// The program; absolute.
    pub program: PathBuf,
    /// Its arguments before the directory.
    pub arguments: Vec<OsString>,
}

impl InterceptionHost {
    /// A host of `program` with `arguments`.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
        }
    }
}

/// What is known of a shell before it is started.
#[derive(Debug)]
pub struct ToStart<'a> {
    /// The names of programs in its lines, as far as those are known.
    pub programs: Vec<String>,
    /// Where it looks for programs.
    pub path: &'a OsStr,
    /// Where it starts.
    pub cwd: &'a Path,
}

/// There is none.
pub struct Interception(#[allow(dead_code)] Infallible);

/// A session of which processes are, or were, intercepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// Its name: that of its directory in the store.
    pub session: String,
    /// The processes that answer for its calls: the one at work, and its stand-in.
    pub holders: Vec<HolderReport>,
    /// Its shells that are under a filter, or left processes that are.
    pub shells: Vec<u32>,
    /// The snapshot of the command that runs.
    pub command: Option<String>,
    /// The snapshot of the command that ran last, when none runs.
    pub last_command: Option<String>,
    /// Entries that processes of commands that are over have changed since the last one ended.
    pub late: u64,
    /// What is wrong with it, and what that means.
    pub problem: Option<String>,
}

/// A process that holds the listeners of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderReport {
    /// The process.
    pub pid: u32,
    /// It waits to take over.
    pub stand_in: bool,
    /// It lives.
    pub alive: bool,
    /// How many listeners it holds; `None` where that cannot be seen.
    pub listeners: Option<u64>,
}

/// None.
pub fn sessions(_: &Store) -> Vec<SessionReport> {
    Vec::new()
}

/// None: no call is seen.
pub fn late_changes(_: &Store, _: &SnapshotId) -> Vec<LateChange> {
    Vec::new()
}

/// Always fails.
pub fn answer(_: &Path) -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, WHY))
}

/// The strategy that cannot be used.
pub struct Intercept(());

impl Intercept {
    /// The strategy of a store.
    pub fn new(_: Store, _: Option<InterceptionHost>) -> Self {
        Self(())
    }

    /// The same.
    #[must_use]
    pub fn for_shell(&self, _: &ToStart<'_>) -> (Self, Option<Arc<Interception>>) {
        (Self(()), None)
    }
}

impl SnapshotStrategy for Intercept {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability::default()
    }

    fn probe(&self, _: &AbsPath) -> std::result::Result<String, String> {
        Err(WHY.into())
    }

    fn begin(&self, _: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        Err(Error::new(ErrorKind::Unsupported, Stage::Capture, WHY))
    }

    fn resume(&self, _: &[u8]) -> Result<Box<dyn Capture>> {
        Err(Error::new(ErrorKind::Unsupported, Stage::Capture, WHY))
    }
}
