//! `deployx agent`: the Socket.IO agent as a service.

use std::sync::Arc;
use std::sync::mpsc as sync;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::agent::transport::socketio::SocketIo;
use crate::agent::transport::{Inbound, Transport};
use crate::agent::{Agent, PROTOCOL_VERSION};
use crate::cli::agent_settings::AgentSettings;
use crate::cli::app::App;
use crate::cli::args::AgentArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result, Stage};
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
    notify(&[sd_notify::NotifyState::Stopping]);
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
    state_dir: String,
    snapshot_dir: String,
    shells: Vec<String>,
    token: bool,
}

/// Tests the configuration and the connection. The agent is not registered: one that runs already
/// stays undisturbed.
fn check(app: &App, settings: &AgentSettings) -> Result<Exit, Failure> {
    let engine = app.open_for_questions()?;
    let (events, _requests) = tokio::sync::mpsc::channel(32);
    let transport = SocketIo {
        server: settings.server.clone(),
        token: settings.token.clone(),
        tls: settings.tls.clone(),
        agent_id: settings.config.agent_id.clone().unwrap_or_default(),
    };
    let patience = settings.config.patience;
    let connected = transport
        .connect(Inbound::new(events, Arc::new(|| {})), patience)
        .and_then(|mut line| line.emit("agent_probe", json!({}), None, patience));
    let checked = Checked {
        server: settings.server.to_string(),
        connected: connected.is_ok(),
        error: connected.as_ref().err().map(ToString::to_string),
        state_dir: settings.config.state_dir.display().to_string(),
        snapshot_dir: engine.store().path().display().to_string(),
        shells: crate::execute::available_shells()
            .into_iter()
            .map(|(name, _)| name.0)
            .filter(|name| settings.config.policy.check_shell(name).is_ok())
            .collect(),
        token: settings.token.is_some(),
    };
    app.screen.result(&checked, || {
        format!(
            "server        {}\nconnection    {}\ntoken         {}\nsnapshots     {}\nagent's files {}\nshells        {}\n",
            checked.server,
            checked.error.as_deref().unwrap_or("works"),
            if checked.token { "is sent" } else { "none" },
            checked.snapshot_dir,
            checked.state_dir,
            checked.shells.join(", "),
        )
    })?;
    if checked.shells.is_empty() {
        let error = Error::new(
            ErrorKind::ShellNotFound,
            Stage::Request,
            "none of the allowed shells is on this host",
        );
        return Err(error.into());
    }
    Ok(if checked.connected {
        Exit::Done
    } else {
        Exit::Failed
    })
}
