//! A plugin as a rule set.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deployx_plugin_abi::wire;
use deployx_plugin_sdk::table::RuleError;
use deployx_plugin_sdk::{FileView, Inference, PathInference, Request, SessionState, Unclear};

use super::frame::{Frame, FrameKind};
use super::hello::{Hello, encode_table, message};
use super::remote::Remote;
use super::{
    CheckOutcome, CheckReport, PluginHost, PluginReport, PluginState, Reason, Refusal,
    check as file, image, probe, search,
};
use crate::path::{WirePath, escape};

/// The checks in order, as reports name them.
const CHECKS: [&str; 5] = [
    "file and directories",
    "library",
    "interface",
    "unknown program",
    "garbage",
];

/// What loading directories of plugins has given.
#[derive(Debug, Default)]
pub struct Plugins {
    /// Plugins in use, those with precedence first.
    pub active: Vec<LoadedPlugin>,
    /// Files that were refused.
    pub refused: Vec<PluginReport>,
}

/// Loads the plugins in `directories`, those of the first with precedence. A plugin that is refused
/// is logged and reported; it stops nothing.
pub fn load(directories: &[PathBuf], host: &PluginHost) -> Plugins {
    let mut plugins = Plugins::default();
    for path in search::candidates(directories) {
        let mut loading = Loading::default();
        match loading.open(&path, host) {
            Ok(connected) => plugins.active.push(loading.finish(&path, connected, host)),
            Err(refusal) => {
                tracing::warn!(plugin = %escape(&path), "plugin refused: {refusal}");
                plugins.refused.push(loading.refused(&path, &refusal));
            }
        }
    }
    plugins
}

/// Loads one plugin, tells how each check went, and unloads it.
pub fn check(path: &Path, host: &PluginHost) -> PluginReport {
    let mut loading = Loading::default();
    match loading.open(path, host) {
        Ok(connected) => loading.finish(path, connected, host).report(),
        Err(refusal) => loading.refused(path, &refusal),
    }
}

/// A connection with what the plugin says of itself.
struct Connected {
    remote: Remote,
    hello: Hello,
}

/// A plugin on its way through the checks.
#[derive(Debug, Default)]
struct Loading {
    checks: Vec<CheckReport>,
    hello: Hello,
}

impl Loading {
    fn open(&mut self, path: &Path, host: &PluginHost) -> Result<Connected, Refusal> {
        let file = self.record(file::open(path), "nobody else can have written it")?;
        self.record(image::examine(&file), "complete, for this machine")?;
        let connected = connect(path, host);
        let detail = connected.as_ref().map_or(String::new(), |connected| {
            format!("reads {}", connected.hello.shells.join(", "))
        });
        let mut connected = self.record(connected, &detail)?;
        self.hello = connected.hello.clone();
        let asked = ask_unknown(&mut connected, host);
        self.record(asked, "says that it does not know one")?;
        let asked = ask_garbage(&mut connected, host);
        self.record(asked, "survives it")?;
        Ok(connected)
    }

    fn record<T>(&mut self, result: Result<T, Refusal>, passed: &str) -> Result<T, Refusal> {
        let (outcome, detail) = match &result {
            Ok(_) => (CheckOutcome::Passed, passed.to_owned()),
            Err(refusal) => (CheckOutcome::Failed, refusal.message.clone()),
        };
        self.checks.push(CheckReport {
            check: CHECKS.get(self.checks.len()).copied().unwrap_or_default(),
            outcome,
            detail,
        });
        result
    }

    fn refused(mut self, path: &Path, refusal: &Refusal) -> PluginReport {
        for check in CHECKS.iter().skip(self.checks.len()) {
            self.checks.push(CheckReport {
                check,
                outcome: CheckOutcome::NotReached,
                detail: String::new(),
            });
        }
        PluginReport {
            path: wire_path(path),
            name: self.hello.name,
            version: self.hello.version,
            shells: self.hello.shells,
            state: PluginState::Refused,
            reason: Some(refusal.reason),
            message: Some(refusal.message.clone()),
            checks: self.checks,
        }
    }

    fn finish(self, path: &Path, connected: Connected, host: &PluginHost) -> LoadedPlugin {
        // The trait wants slices of slices; a plugin is loaded once and stays.
        let shells: Vec<&'static str> = connected
            .hello
            .shells
            .iter()
            .map(|shell| &*Box::leak(shell.clone().into_boxed_str()))
            .collect();
        LoadedPlugin {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                name: connected.hello.name,
                version: connected.hello.version,
                shells: Box::leak(shells.into_boxed_slice()),
                tables: connected.hello.tables,
                call_limit: host.call_limit,
                checks: self.checks,
                connection: Mutex::new(Ok(connected.remote)),
            }),
        }
    }
}

fn connect(path: &Path, host: &PluginHost) -> Result<Connected, Refusal> {
    let (remote, first) = Remote::start(host, path)?;
    let decoded = match first.kind {
        FrameKind::Hello => Hello::decode(&first.body).ok_or(None),
        FrameKind::Refused => Err(Refusal::decode(&first.body)),
        _ => Err(None),
    };
    match decoded {
        Ok(hello) => Ok(Connected { remote, hello }),
        Err(refusal) => Err(refusal.unwrap_or_else(|| {
            Refusal::new(
                Reason::BadAnswer,
                "the plugin host process did not say what it hosts",
            )
        })),
    }
}

fn ask_unknown(connected: &mut Connected, host: &PluginHost) -> Result<(), Refusal> {
    for shell in &connected.hello.shells {
        let request = probe::unknown_program(shell);
        let answer = ask(&mut connected.remote, &request, host.call_limit)?;
        if matches!(&answer, Reply::Inference(inference) if inference.unclear.is_empty()) {
            return Err(Refusal::new(
                Reason::Lies,
                format!("it claims to understand a program that does not exist (shell '{shell}')"),
            ));
        }
    }
    Ok(())
}

fn ask_garbage(connected: &mut Connected, host: &PluginHost) -> Result<(), Refusal> {
    for shell in &connected.hello.shells {
        for request in probe::garbage(shell) {
            ask(&mut connected.remote, &request, host.call_limit)?;
        }
    }
    Ok(())
}

/// What a plugin made of a line.
enum Reply {
    Inference(Inference),
    /// It would not answer, which is its right.
    Declined(String),
}

fn ask(remote: &mut Remote, request: &Request, limit: Duration) -> Result<Reply, Refusal> {
    let body = wire::encode_request(request);
    if body.len() > wire::MAX_BYTES {
        return Ok(Reply::Declined("the line is too long for a plugin".into()));
    }
    let answer = remote.call(FrameKind::Infer, body, limit)?;
    match answer.kind {
        FrameKind::Answer => wire::decode_inference(&answer.body)
            .map(Reply::Inference)
            .map_err(|error| {
                let message = format!("its answer is malformed: {error}");
                Refusal::new(Reason::BadAnswer, message)
            }),
        FrameKind::Declined => Ok(Reply::Declined(message(&answer.body))),
        _ => Err(failure(&answer)),
    }
}

fn failure(answer: &Frame) -> Refusal {
    match answer.kind {
        FrameKind::Failed => Refusal::new(Reason::Failed, message(&answer.body)),
        FrameKind::BadAnswer => Refusal::new(Reason::BadAnswer, message(&answer.body)),
        _ => Refusal::new(Reason::BadAnswer, "the plugin host process gave no answer"),
    }
}

/// A rule set that answers from a process of its own. Clones are the same plugin.
///
/// The plugin looks at the filesystem through the view of its process, not through the one that
/// [`infer`](PathInference::infer) is given. Once it has failed it is not asked again: every line
/// then counts as not understood.
#[derive(Debug, Clone)]
pub struct LoadedPlugin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    name: String,
    version: String,
    shells: &'static [&'static str],
    tables: bool,
    call_limit: Duration,
    checks: Vec<CheckReport>,
    /// The connection, or why there is none any more.
    connection: Mutex<Result<Remote, Refusal>>,
}

impl LoadedPlugin {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What is known of the plugin now.
    pub fn report(&self) -> PluginReport {
        let failed = self.connection().as_ref().err().cloned();
        PluginReport {
            path: wire_path(&self.inner.path),
            name: self.inner.name.clone(),
            version: self.inner.version.clone(),
            shells: self.inner.shells.iter().map(ToString::to_string).collect(),
            state: match failed {
                None => PluginState::Active,
                Some(_) => PluginState::Disabled,
            },
            reason: failed.as_ref().map(|refusal| refusal.reason),
            message: failed.map(|refusal| refusal.message),
            checks: self.inner.checks.clone(),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Result<Remote, Refusal>> {
        self.inner
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `call` with the connection. A failure ends it for good.
    fn with<T>(&self, call: impl FnOnce(&mut Remote) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut connection = self.connection();
        let result = match connection.as_mut() {
            Ok(remote) => call(remote),
            Err(refusal) => return Err(refusal.clone()),
        };
        if let Err(refusal) = &result {
            tracing::warn!(plugin = %escape(&self.inner.path), "plugin disabled: {refusal}");
            *connection = Err(refusal.clone());
        }
        result
    }

    fn rule_error(&self, source: &str, message: &str) -> RuleError {
        RuleError {
            source: source.into(),
            line: 1,
            column: 1,
            message: format!("the plugin {}: {message}", escape(&self.inner.path)),
        }
    }
}

impl PathInference for LoadedPlugin {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn version(&self) -> &str {
        &self.inner.version
    }

    fn shells(&self) -> &[&str] {
        self.inner.shells
    }

    fn infer(&self, request: &Request, _view: &dyn FileView) -> Inference {
        let name = &self.inner.name;
        match self.with(|remote| ask(remote, request, self.inner.call_limit)) {
            Ok(Reply::Inference(inference)) => inference,
            Ok(Reply::Declined(message)) => {
                not_understood(request, format!("the plugin '{name}' declined: {message}"))
            }
            Err(refusal) => not_understood(
                request,
                format!("the plugin '{name}' is disabled: {refusal}"),
            ),
        }
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        if !self.inner.tables {
            return Err(self.rule_error(source, "it takes no rules of this form"));
        }
        let body = encode_table(source, toml);
        let limit = self.inner.call_limit;
        let answer = self.with(|remote| {
            let answer = remote.call(FrameKind::AddRules, body, limit)?;
            match answer.kind {
                FrameKind::Answer => Ok(Ok(())),
                FrameKind::RuleError => wire::decode_rule_error(&answer.body)
                    .map(Err)
                    .map_err(|error| Refusal::new(Reason::BadAnswer, error.to_string())),
                FrameKind::Declined => Ok(Err(self.rule_error(source, &message(&answer.body)))),
                _ => Err(failure(&answer)),
            }
        });
        answer.unwrap_or_else(|refusal| Err(self.rule_error(source, &refusal.message)))
    }
}

fn not_understood(request: &Request, reason: String) -> Inference {
    Inference {
        unclear: vec![Unclear {
            text: request.command.clone(),
            cwd: None,
            reason,
        }],
        session: SessionState {
            unknown: true,
            ..SessionState::default()
        },
        ..Inference::default()
    }
}

fn wire_path(path: &Path) -> WirePath {
    WirePath::from_bytes(path.as_os_str().as_encoded_bytes())
}
