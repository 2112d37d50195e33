//! `deployx agent`: the Socket.IO agent as a service.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as sync;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::agent::transport::socketio::SocketIo;
use crate::agent::transport::{Inbound, Transport};
use crate::agent::{Agent, Examined, PROTOCOL_VERSION, Redactor, StateDir, examine};
use crate::cli::agent_settings::AgentSettings;
use crate::cli::app::App;
use crate::cli::args::AgentArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::settings::{Settings, may_write};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::escape;
use crate::sys::runtime::runtime;

/// Between two looks at the agent's state.
const GLANCE: Duration = Duration::from_secs(1);

/// Runs the agent until a signal ends it.
pub(super) fn agent(app: &App, args: &AgentArgs) -> Result<Exit, Failure> {
    let base = app.base().ok();
    let settings = AgentSettings::resolve(args, &app.settings, &app.environment, base)?;
    if args.check {
        return check(app, &settings);
    }
    let signals = watch()?;
    let engine = app.open_resident()?;
    if !engine.doctor(&[], false)?.store.durable {
        tracing::warn!("snapshots are kept where a reboot deletes them; use --snapshot-dir");
    }
    let host = settings.host();
    let (server, token, tls) = (settings.server, settings.token, settings.tls);
    let own = SocketIo {
        server,
        token,
        tls,
        agent_id: String::new(),
    };
    let agent = Agent::start(engine, settings.config, &host, |id| {
        Arc::new(SocketIo {
            agent_id: id.to_owned(),
            ..own
        })
    })?;
    tracing::info!(
        agent_id = agent.id(),
        server = host,
        version = env!("CARGO_PKG_VERSION"),
        protocol = PROTOCOL_VERSION,
        metrics = agent.metrics_address().map(|address| address.to_string()),
        "the agent has started"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    let end = serve(app, args, &agent, &signals);
    // However long the settings give commands to end, systemd waits.
    let longest = u32::try_from(agent.stop_limit().as_micros()).unwrap_or(u32::MAX);
    notify(&[
        sd_notify::NotifyState::Stopping,
        sd_notify::NotifyState::ExtendTimeoutUsec(longest),
    ]);
    agent.stop();
    Ok(end)
}

/// Works until a signal asks for the end, or a defect has ended a part of the agent: then whoever
/// looks after this program has to start it again.
fn serve(app: &App, args: &AgentArgs, agent: &Agent, signals: &sync::Receiver<Signal>) -> Exit {
    let mut connected = None;
    loop {
        match signals.recv_timeout(GLANCE) {
            Ok(Signal::End) | Err(sync::RecvTimeoutError::Disconnected) => return Exit::Done,
            Ok(Signal::Reload) => reload(app, args, agent),
            Err(sync::RecvTimeoutError::Timeout) => {}
        }
        if !agent.is_whole() {
            tracing::error!(
                "a part of the agent has ended in a defect; it has to be started again"
            );
            return Exit::Failed;
        }
        let now = agent.is_connected();
        if connected != Some(now) {
            connected = Some(now);
            let status = if now { "connected" } else { "connecting" };
            notify(&[sd_notify::NotifyState::Status(status)]);
        }
        notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

/// Reads flags, environment and configuration again. What cannot be read leaves everything as it is.
fn reload(app: &App, args: &AgentArgs, agent: &Agent) {
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        notify(&[sd_notify::NotifyState::Reloading, now]);
    }
    let base = app.base().ok();
    let read = app.reread().and_then(|settings: Settings| {
        AgentSettings::resolve(args, &settings, &app.environment, base)
    });
    match read {
        Ok(settings) => {
            let transport = SocketIo {
                server: settings.server,
                token: settings.token,
                tls: settings.tls,
                agent_id: agent.id().to_owned(),
            };
            agent.reload(settings.config, Arc::new(transport));
        }
        Err(error) => tracing::error!(%error, "the settings stay as they were"),
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd, where that started this program.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// What a signal asks for.
enum Signal {
    End,
    Reload,
}

/// Watches for signals from now to the end of the program.
fn watch() -> Result<sync::Receiver<Signal>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |source| Error::io(Stage::Request, "cannot watch for signals", source);
    let runtime = runtime().map_err(failed)?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt()).map_err(failed)?,
            signal(SignalKind::terminate()).map_err(failed)?,
            signal(SignalKind::hangup()).map_err(failed)?,
        )
    };
    let (tell, signals) = sync::channel();
    let work = async move {
        loop {
            let signal = tokio::select! {
                _ = interrupt.recv() => Signal::End,
                _ = terminate.recv() => Signal::End,
                _ = hangup.recv() => Signal::Reload,
            };
            if tell.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(work))
        .map_err(failed)?;
    Ok(signals)
}

/// What `--check` found.
#[derive(Serialize)]
struct Checked {
    server: String,
    connected: bool,
    error: Option<String>,
    agent_id: Option<String>,
    state_dir: String,
    state: &'static str,
    state_error: Option<String>,
    snapshot_dir: String,
    shells: Vec<String>,
    token: bool,
    cannot_restore: Vec<&'static str>,
}

/// Tests the configuration, the agent's directory and the connection. The agent is not registered, and
/// its directory not made: one that runs already stays undisturbed.
fn check(app: &App, settings: &AgentSettings) -> Result<Exit, Failure> {
    let engine = app.open_for_questions()?;
    let config = &settings.config;
    let examined = examined(&config.state_dir);
    let found = examined.as_ref().ok();
    let known = found.and_then(|found| found.agent_id.clone());
    let agent_id = config.agent_id.clone().or(known);
    let connected = try_to_connect(settings, agent_id.as_deref().unwrap_or_default());
    let checked = Checked {
        server: settings.server.to_string(),
        connected: connected.is_ok(),
        // A server may have put the token into its answer.
        error: connected.err().map(|error| {
            Redactor::new(config.redact, config.secrets.clone()).clean(&error.to_string())
        }),
        agent_id,
        state_dir: config.state_dir.display().to_string(),
        state: found.map_or("cannot be used", |found| match found.state {
            StateDir::Usable => "can be used",
            StateDir::InUse => "in use by an agent that runs",
            StateDir::Absent => "made at the first start",
        }),
        cannot_restore: found.map_or_else(Vec::new, |found| found.cannot_restore.clone()),
        state_error: examined.err().map(|error| error.to_string()),
        snapshot_dir: engine.store().path().display().to_string(),
        shells: crate::execute::available_shells()
            .into_iter()
            .map(|(name, _)| name.0)
            .filter(|name| config.policy.check_shell(name).is_ok())
            .collect(),
        token: settings.token.is_some(),
    };
    app.screen.result(&checked, || checked.text())?;
    if checked.shells.is_empty() {
        let error = Error::new(
            ErrorKind::ShellNotFound,
            Stage::Request,
            "none of the allowed shells is on this host",
        );
        return Err(error.into());
    }
    Ok(if checked.connected && checked.state_error.is_none() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

impl Checked {
    fn text(&self) -> String {
        let state = self.state_error.as_deref().unwrap_or(self.state);
        let limits = match self.cannot_restore.as_slice() {
            [] => "everything can be restored".to_owned(),
            limits => format!("rollbacks cannot restore {}", limits.join(", ")),
        };
        [
            ("server", self.server.as_str()),
            ("connection", self.error.as_deref().unwrap_or("works")),
            ("token", if self.token { "is sent" } else { "none" }),
            (
                "agent's id",
                self.agent_id
                    .as_deref()
                    .unwrap_or("chosen at the first start"),
            ),
            ("snapshots", &self.snapshot_dir),
            ("agent's files", &format!("{} ({state})", self.state_dir)),
            ("shells", &self.shells.join(", ")),
            ("rights", &limits),
        ]
        .map(|(name, value)| format!("{name:<13} {value}\n"))
        .concat()
    }
}

/// Opens a line and sends the event that needs no handler.
fn try_to_connect(settings: &AgentSettings, agent_id: &str) -> Result<()> {
    let (events, _requests) = tokio::sync::mpsc::channel(32);
    let transport = SocketIo {
        server: settings.server.clone(),
        token: settings.token.clone(),
        tls: settings.tls.clone(),
        agent_id: agent_id.to_owned(),
    };
    let patience = settings.config.patience;
    let inbound = Inbound::new(events, Arc::new(|| {}));
    let mut line = transport.connect(inbound, patience)?;
    line.emit("agent_probe", json!({}), None, patience)
}

/// What the agent would find at its start; an error where that would fail of its directory.
fn examined(state_dir: &Path) -> Result<Examined> {
    let found = examine(state_dir)?;
    let place = state_dir.ancestors().find(|one| one.exists());
    if found.state == StateDir::Absent && !place.is_some_and(may_write) {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            Stage::Agent,
            format!("this user cannot make the directory {}", escape(state_dir)),
        ));
    }
    Ok(found)
}
