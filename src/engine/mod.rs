//! The one public API over all stages.
//!
//! ```no_run
//! use deployx::engine::{Engine, EngineConfig, RunContext};
//! use deployx::execute::{Cancel, Output};
//! use deployx::progress::Silent;
//! use deployx::request::{RollbackRequest, RunRequest};
//! use deployx::AbsPath;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open(EngineConfig::new("/var/lib/deployx/snapshots"))?;
//! let request = RunRequest::new("rm -rf build", AbsPath::new("/srv/app")?);
//! let cancel = Cancel::default();
//! let report = engine.run(&request, RunContext::new(Output::inherit(), &cancel, &Silent))?;
//! if !report.success {
//!     engine.rollback(&RollbackRequest::new("last"), &cancel, &Silent)?;
//! }
//! # Ok(())
//! # }
//! ```

mod diff;
mod doctor;
mod gather;
mod live;
mod orphans;
mod outside;
mod own_rules;
mod query;
mod receipt;
mod recover;
mod report;
mod restore;
mod rules;
mod run;
mod scope;
mod score;
mod secure;
mod space;
mod undo;

pub use live::LiveShell;
pub use report::*;
pub use rules::Rules;
pub use score::{CommandScore, Miss, Score, ScoreReport};
pub use undo::Undoable;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::execute::{Cancel, Output};
use crate::infer::Scope;
use crate::path::AbsPath;
use crate::plugin::PluginHost;
use crate::progress::Progress;
use crate::request::{Limits, RetentionPolicy, ShellName};
use crate::snapshot::copy::Copy;
use crate::snapshot::intercept::{Intercept, InterceptionHost};
use crate::snapshot::journal::{Events, Journal};
use crate::snapshot::probe::Probes;
use crate::snapshot::reflink::Reflink;
#[cfg(target_os = "linux")]
use crate::snapshot::subvolume::Subvolume;
use crate::snapshot::volumes::Volumes;
use crate::snapshot::{Registry, SnapshotStrategy};
use crate::store::{
    Compression, ExpiryReport, ListFilter, Selection, SnapshotId, SnapshotMeta, Store, StoreOptions,
};

/// What was in no scope for this long is dropped from the baseline at the next cleanup.
const KEEP_BASELINE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Everything an engine needs to know that does not come with a request.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The store's directory.
    pub store: PathBuf,
    /// Bounds on snapshots.
    pub limits: Limits,
    /// Most bytes that the store may hold: all snapshots and the cache of old content together. The
    /// oldest snapshots expire to stay within. `None`: no bound.
    pub max_store_bytes: Option<u64>,
    /// Patterns left alone by every snapshot.
    pub exclude: Vec<String>,
    /// Whether old content is compressed.
    pub compression: Compression,
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
    /// Directories with rule plugins; those of the first take precedence.
    pub plugin_dirs: Vec<PathBuf>,
    /// How processes that host plugins are started; without it no plugins are loaded.
    pub plugin_host: Option<PluginHost>,
    /// How the process is started that answers for intercepted calls; without it the strategy
    /// `intercept` cannot be used.
    pub interception_host: Option<InterceptionHost>,
    /// The engine lives on between commands, so that what strategies learn in between is of use.
    pub resident: bool,
    /// Where the `journal` strategy gets its events from.
    pub events: Events,
    /// Directories with the user's own rules, `SHELL.toml`; those of the first take precedence.
    pub rules_dirs: Vec<PathBuf>,
    /// Directories besides the store that this program keeps its own records in. No snapshot looks
    /// into them: taking them back would make it forget what it has done since.
    pub own_dirs: Vec<PathBuf>,
}

impl EngineConfig {
    /// Defaults for everything but the store.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            limits: Limits::default(),
            max_store_bytes: None,
            exclude: Vec::new(),
            compression: Compression::default(),
            key: None,
            lock_timeout: Duration::from_secs(30),
            kill_grace: Duration::from_secs(2),
            env_allow: ["PATH", "HOME", "USER", "SHELL", "LANG", "PWD"]
                .map(String::from)
                .to_vec(),
            environment: Vec::new(),
            home: None,
            plugin_dirs: Vec::new(),
            plugin_host: None,
            interception_host: None,
            resident: false,
            events: Events::default(),
            rules_dirs: Vec::new(),
            own_dirs: Vec::new(),
        }
    }
}

/// Is asked before a command; see [`RunContext::on_start`].
pub type OnStart<'a> = &'a mut dyn FnMut(&Starting<'_>) -> Result<()>;

/// Is told of a command without a snapshot; see [`RunContext::on_unsecured`].
pub type OnUnsecured<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

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
    /// Is asked before each command, ahead of its snapshot. It may wait; an error keeps the command
    /// from running and is what the call ends with.
    pub on_start: Option<OnStart<'a>>,
    /// Is told before a command runs that there is no snapshot of it, and why. An error keeps the
    /// command from running: where nobody can be told, nobody would know that it cannot be undone.
    pub on_unsecured: Option<OnUnsecured<'a>>,
    /// Is told each command's report as soon as it is there (batches).
    pub on_report: Option<&'a mut dyn FnMut(&RunReport)>,
}

/// A command that is about to be run.
pub struct Starting<'a> {
    /// Its position in its batch; 0 for a single command.
    pub index: u64,
    /// The command line.
    pub command: &'a OsStr,
    /// Where it starts.
    pub cwd: &'a AbsPath,
    /// What it is expected to touch, before paths of the request replace or extend that.
    pub scope: &'a Scope,
}

impl<'a> RunContext<'a> {
    /// A context without standard input and without interest in the reports of a batch.
    pub fn new(output: Output, cancel: &'a Cancel, progress: &'a dyn Progress) -> Self {
        Self {
            output,
            inherit_stdin: false,
            cancel,
            progress,
            on_start: None,
            on_unsecured: None,
            on_report: None,
        }
    }
}

/// Runs commands and takes them back. May be shared by threads.
pub struct Engine {
    config: EngineConfig,
    store: Store,
    volumes: Arc<Volumes>,
    strategies: Registry,
    intercept: Arc<Intercept>,
    rules: Rules,
    recovered: RecoverReport,
}

impl Engine {
    /// Opens the store, which is made where it does not exist, and finishes whatever an earlier
    /// process left unfinished.
    pub fn open(config: EngineConfig) -> Result<Self> {
        let mut engine = Self::assemble(config, true)?;
        engine.recovered = engine.recover(&crate::progress::Silent)?;
        Ok(engine)
    }

    /// Opens an existing store for looking: nothing is created or recovered.
    pub fn open_existing(config: EngineConfig) -> Result<Self> {
        Self::assemble(config, false)
    }

    fn assemble(config: EngineConfig, create: bool) -> Result<Self> {
        let options = StoreOptions {
            create,
            key: config.key.clone(),
            lock_timeout: config.lock_timeout,
        };
        let store = Store::open(&config.store, options)?;
        let mut strategies = Registry::default();
        let probes = Arc::new(Probes::new(store.path()));
        let volumes = Arc::new(Volumes::new(store.clone(), Arc::clone(&probes)));
        strategies.register(Arc::new(Copy::new(volumes.own().clone())));
        strategies.register(Arc::new(Reflink::new(Arc::clone(&volumes))));
        let journal = Arc::new(Journal::new(Arc::clone(&volumes), config.events));
        if config.resident {
            strategies.register(journal);
        } else {
            strategies.offer(journal);
        }
        #[cfg(target_os = "linux")]
        strategies.offer(Arc::new(Subvolume::new(store.clone(), probes)));
        let host = config.interception_host.clone();
        let intercept = Arc::new(Intercept::new(store.clone(), host));
        strategies.offer(intercept.clone());
        let rules = Rules::new(&config)?;
        Ok(Self {
            config,
            store,
            volumes,
            strategies,
            intercept,
            rules,
            recovered: RecoverReport::default(),
        })
    }

    /// Adds a directory to [`EngineConfig::own_dirs`].
    pub fn leave_alone(&mut self, directory: impl Into<PathBuf>) {
        self.config.own_dirs.push(directory.into());
    }

    /// Adds a strategy; `auto` prefers it to the built-in ones.
    pub fn register_strategy(&mut self, strategy: Arc<dyn SnapshotStrategy>) {
        self.strategies.register(strategy);
    }

    /// The names of the strategies, in the order in which `auto` prefers them.
    pub fn strategy_names(&self) -> Vec<&str> {
        self.strategies
            .all()
            .map(|strategy| strategy.name())
            .collect()
    }

    /// Adds a rule set; it takes precedence over the built-in ones.
    pub fn register_rules(&mut self, rules: Box<dyn crate::infer::PathInference>) {
        self.rules.register(rules);
    }

    /// The store, for front ends that show where things are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the engine was configured with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What was unfinished when this engine was opened, and what became of it.
    pub fn recovered(&self) -> &RecoverReport {
        &self.recovered
    }

    /// Exempts snapshots from expiry, or ends that. Gives the ids.
    pub fn pin(&self, target: &str, pinned: bool) -> Result<Vec<SnapshotId>> {
        let ids = self.select(target)?;
        for id in &ids {
            self.store.update(id, &mut |meta| meta.pinned = pinned)?;
        }
        Ok(ids)
    }

    /// Expires snapshots: those named, or those the policy picks. With the latter, content that was
    /// left to be compressed later is compressed.
    pub fn cleanup(
        &self,
        targets: &[String],
        policy: &RetentionPolicy,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<ExpiryReport> {
        let plan = if targets.is_empty() {
            self.store.plan_expiry(policy)?
        } else {
            self.store.plan_removal(&self.select_all(targets)?)?
        };
        if dry_run {
            let freed_bytes = plan.expire.iter().map(|e| e.bytes).sum();
            return Ok(ExpiryReport {
                expired: plan.expire,
                freed_bytes,
                ..ExpiryReport::default()
            });
        }
        let mut report = self.store.expire(&plan, progress)?;
        if targets.is_empty() && self.config.compression == Compression::Auto {
            report.compacted = self.store.compact(progress)?;
        }
        // The cache is no snapshot: that it could not be trimmed is no failure of the expiry.
        for baseline in self.volumes.all()? {
            if let Err(error) = baseline.forget_unused(KEEP_BASELINE) {
                tracing::warn!(%error, "a baseline was not trimmed");
            }
        }
        for strategy in self.strategies.all() {
            if let Err(error) = strategy.sweep() {
                tracing::warn!(%error, strategy = strategy.name(), "leftovers stay");
            }
        }
        Ok(report)
    }

    /// Re-hashes stored content; of everything where no target is named.
    pub fn verify(&self, targets: &[String], progress: &dyn Progress) -> Result<VerifyReport> {
        let ids = self.select_all(targets)?;
        let problems = self.store.verify(&ids, progress)?;
        let checked = if ids.is_empty() {
            let (metas, damaged) = self.store.list(&ListFilter::default())?;
            metas.len() + damaged.len()
        } else {
            ids.len()
        };
        Ok(VerifyReport {
            checked: checked as u64,
            problems,
        })
    }

    /// The scope that the rules give; runs nothing. See [`Rules::infer`].
    pub fn infer(&self, shell: &ShellName, command: &OsStr, cwd: &OsStr) -> Scope {
        self.rules.infer(shell, command, cwd)
    }

    /// One snapshot's metadata.
    pub fn meta(&self, id: &SnapshotId) -> Result<SnapshotMeta> {
        self.store.meta(id)
    }

    fn allowed_environment(&self) -> BTreeMap<String, String> {
        let allowed = |name: &String| self.config.env_allow.contains(name);
        self.config
            .environment
            .iter()
            .filter(|(name, _)| allowed(name))
            .cloned()
            .collect()
    }

    fn select(&self, target: &str) -> Result<Vec<SnapshotId>> {
        Ok(match self.store.resolve(target)? {
            Selection::Snapshot(id) => vec![id],
            Selection::Batch(_, ids) => ids,
        })
    }

    fn select_all(&self, targets: &[String]) -> Result<Vec<SnapshotId>> {
        let groups = targets
            .iter()
            .map(|t| self.select(t))
            .collect::<Result<Vec<_>>>()?;
        Ok(groups.into_iter().flatten().collect())
    }

    /// The one snapshot that `target` names.
    fn select_one(&self, target: &str) -> Result<SnapshotId> {
        match self.store.resolve(target)? {
            Selection::Snapshot(id) => Ok(id),
            Selection::Batch(batch, ids) => match ids.as_slice() {
                [one] => Ok(one.clone()),
                _ => Err(crate::Error::new(
                    crate::ErrorKind::Ambiguous,
                    crate::error::Stage::Request,
                    format!(
                        "'{batch}' is a batch of {} snapshots; name one of them",
                        ids.len()
                    ),
                )),
            },
        }
    }
}
