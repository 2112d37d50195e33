//! The one public API over all stages.

mod report;

pub use report::*;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::execute::{Cancel, Output};
use crate::infer::Scope;
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::request::{
    BatchRequest, Limits, RetentionPolicy, RollbackRequest, RunRequest, ShellName,
};
use crate::rollback::RollbackReport;
use crate::snapshot::SnapshotStrategy;
use crate::store::{ExpiryReport, ListFilter, SnapshotId, SnapshotMeta, Store};

/// Everything an engine needs to know that does not come with a request.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The store's directory.
    pub store: PathBuf,
    /// Bounds on snapshots.
    pub limits: Limits,
    /// Patterns left alone by every snapshot.
    pub exclude: Vec<String>,
    /// Key for the store's MACs.
    pub key: Option<Vec<u8>>,
    /// How long to wait for other processes.
    pub lock_timeout: Duration,
    /// Between the polite signal and the one that cannot be refused.
    pub kill_grace: Duration,
    /// Variables of the environment that are stored with snapshots.
    pub env_allow: Vec<String>,
    /// The variables of this process, read once at the edge (values of the allow-list are stored).
    pub environment: Vec<(String, String)>,
    /// The user's home directory.
    pub home: Option<AbsPath>,
}

impl EngineConfig {
    /// Defaults for everything but the store.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            limits: Limits::default(),
            exclude: Vec::new(),
            key: None,
            lock_timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(2),
            env_allow: ["PATH", "HOME", "USER", "SHELL", "LANG", "PWD"]
                .map(String::from)
                .to_vec(),
            environment: Vec::new(),
            home: None,
        }
    }
}

/// How a command is run besides what the request says: output, cancelling, progress.
pub struct RunContext<'a> {
    /// Where the command's output goes.
    pub output: Output,
    /// Give the command this process's standard input.
    pub inherit_stdin: bool,
    /// Ends the command early.
    pub cancel: &'a Cancel,
    /// Is told what goes on.
    pub progress: &'a dyn Progress,
    /// Is told each command's report as soon as it is there (batches).
    pub on_report: &'a mut dyn FnMut(&RunReport),
}

/// Runs commands and takes them back. May be shared by threads.
pub struct Engine {
    _store: Option<Store>,
}

impl Engine {
    /// Opens the store and finishes whatever an earlier process left unfinished.
    pub fn open(config: EngineConfig) -> Result<Self> {
        todo!()
    }
    /// Opens an existing store for looking only: nothing is created or recovered.
    pub fn open_existing(config: EngineConfig) -> Result<Self> {
        todo!()
    }
    /// Adds a strategy; `auto` prefers it to the built-in ones.
    pub fn register_strategy(&mut self, strategy: Arc<dyn SnapshotStrategy>) {
        todo!()
    }
    /// Adds a rule set; it takes precedence over the built-in ones.
    pub fn register_rules(&mut self, rules: Box<dyn crate::infer::PathInference>) {
        todo!()
    }
    /// Snapshot, run, seal.
    pub fn run(&self, request: &RunRequest, context: RunContext<'_>) -> Result<RunReport> {
        todo!()
    }
    /// The same for several commands in one shell.
    pub fn batch(&self, request: &BatchRequest, context: RunContext<'_>) -> Result<BatchReport> {
        todo!()
    }
    /// Undoes snapshots.
    pub fn rollback(
        &self,
        request: &RollbackRequest,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<RollbackReport> {
        todo!()
    }
    /// Snapshots, newest first; damaged ones with their errors.
    pub fn list(
        &self,
        filter: &ListFilter,
    ) -> Result<(Vec<SnapshotSummary>, Vec<(String, crate::Error)>)> {
        todo!()
    }
    /// Everything about one snapshot (`target` as in [`RollbackRequest::target`], but one only).
    pub fn show(&self, target: &str) -> Result<SnapshotDetail> {
        todo!()
    }
    /// What a command changed.
    pub fn diff(&self, target: &str, options: &DiffOptions) -> Result<Vec<FileDiff>> {
        todo!()
    }
    /// Copies before-state of `paths` into the directory `to`, without touching the live tree.
    pub fn restore(
        &self,
        target: &str,
        paths: &[AbsPath],
        to: &AbsPath,
        progress: &dyn Progress,
    ) -> Result<RestoreReport> {
        todo!()
    }
    /// Exempts snapshots from expiry, or ends that. Gives the ids.
    pub fn pin(&self, target: &str, pinned: bool) -> Result<Vec<SnapshotId>> {
        todo!()
    }
    /// Expires snapshots: those named, or those the policy picks.
    pub fn cleanup(
        &self,
        targets: &[String],
        policy: &RetentionPolicy,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<ExpiryReport> {
        todo!()
    }
    /// Re-hashes stored content.
    pub fn verify(&self, targets: &[String], progress: &dyn Progress) -> Result<VerifyReport> {
        todo!()
    }
    /// Finishes or undoes interrupted work.
    pub fn recover(&self, progress: &dyn Progress) -> Result<RecoverReport> {
        todo!()
    }
    /// The scope that the rules give; runs nothing.
    pub fn infer(&self, shell: &ShellName, command: &OsStr, cwd: &AbsPath) -> Result<Scope> {
        todo!()
    }
    /// What works on this host.
    pub fn doctor(&self, paths: &[AbsPath]) -> Result<DoctorReport> {
        todo!()
    }
    /// One snapshot's metadata.
    pub fn meta(&self, id: &SnapshotId) -> Result<SnapshotMeta> {
        todo!()
    }
}
