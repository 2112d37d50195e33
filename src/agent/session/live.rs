//! Commands in the shell of a session, and that shell's end.

use std::sync::Arc;

use serde_json::json;

use super::parts::{absolute, shell, variables};
use crate::agent::shared::Shared;
use crate::agent::shells::{SessionShell, Slot, Switch, Ticket};
use crate::agent::wire::{Execute, Reply, SessionState};
use crate::engine::{RunContext, RunReport};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::{Output, OutputSink};
use crate::request::{RunRequest, ShellName};

/// Runs a command in its session's shell, which is started where there is none. `told` is brought up
/// to date whatever happens.
pub(super) fn run(
    shared: &Shared,
    (ticket, command): (&Ticket, &Execute),
    request: &RunRequest,
    sink: Arc<dyn OutputSink>,
    context: RunContext<'_>,
    told: &mut SessionState,
) -> Result<RunReport> {
    let slot = ticket.slot();
    let mut held = slot.shell();
    ticket.check().map_err(|reason| {
        refused(format!(
            "not run: the session's shell had ended before ({reason})"
        ))
    })?;
    notice_death(slot, held.as_mut(), told)?;
    if held.as_ref().is_none_or(|own| own.told) {
        expect(command, None)?;
        let old = held.take();
        *held = Some(start(shared, command, request, &context, old)?);
        told.session_new = true;
    }
    let Some(own) = held.as_mut() else {
        return Err(refused("the session has no shell".into()));
    };
    told.session_shell = Some(own.id.clone());
    own.output.set(Some(sink));
    let ran = expect(command, Some(own))
        .and_then(|()| allowed(shared, &own.kind))
        .and_then(|()| enter(own, command, &context))
        .and_then(|()| shared.engine.run_in(&mut own.live, request, context));
    own.output.set(None);
    told.session_cwd = Some(own.live.cwd());
    if !own.live.is_alive() {
        let reason = how_it_ended(ran.as_ref());
        slot.set_ended(&format!(
            "with the command {}: {reason}",
            command.command_id
        ));
        own.told = true;
        told.session_ended = Some(reason);
    }
    ran
}

/// A shell that ended between commands: nobody was told, so the next command is not run.
fn notice_death(
    slot: &Slot,
    own: Option<&mut SessionShell>,
    told: &mut SessionState,
) -> Result<()> {
    let Some(own) = own.filter(|own| !own.told) else {
        return Ok(());
    };
    if own.live.is_alive() {
        return Ok(());
    }
    let reason = "something ended it between two commands";
    own.told = true;
    slot.set_ended(reason);
    told.session_shell = Some(own.id.clone());
    told.session_ended = Some(reason.into());
    told.session_cwd = Some(own.live.cwd());
    Err(refused(format!(
        "not run: the session's shell has ended ({reason}), and what was set in it is gone; the next \
         command begins a new one"
    )))
}

/// A new shell, in the directory of the one before and with its variables where nothing else is said.
fn start(
    shared: &Shared,
    command: &Execute,
    request: &RunRequest,
    context: &RunContext<'_>,
    old: Option<SessionShell>,
) -> Result<SessionShell> {
    let output = Arc::new(Switch::default());
    let mut request = request.clone();
    let mut env = command.env.clone();
    if let Some(old) = old {
        if command.cwd.is_none() {
            request.cwd = old.live.cwd();
        }
        if command.shell.is_none() {
            request.shell = old.kind;
        }
        if env.is_none() {
            request.env = variables(old.env.as_ref())?;
            env = old.env;
        }
    }
    allowed(shared, &request.shell)?;
    let policy = &shared.config().policy;
    policy
        .check_variables(env.iter().flat_map(|env| env.keys()))
        .map_err(refused)?;
    let context = RunContext::new(
        Output::Stream(Arc::clone(&output) as _),
        context.cancel,
        context.progress,
    );
    let live = shared.engine.open_shell(&request, &context)?;
    Ok(SessionShell {
        id: format!("{:016x}", rand::random::<u64>()),
        live,
        kind: request.shell,
        env,
        output,
        told: false,
    })
}

/// Whether the command is meant for this shell.
fn expect(command: &Execute, own: Option<&SessionShell>) -> Result<()> {
    let id = own.map(|own| own.id.as_str());
    if let Some(wanted) = &command.session_shell
        && id != Some(wanted)
    {
        return Err(refused(
            "not run: session_shell names a shell that has ended".into(),
        ));
    }
    let Some(own) = own else { return Ok(()) };
    if command.shell.is_some() && shell(command.shell.as_deref()) != own.kind {
        return Err(refused(format!("shell: the session's is {}", own.kind)));
    }
    if command.env.is_some() && command.env != own.env {
        return Err(refused(
            "env: the variables of a session are given with the command that begins it; the shell can \
             set others"
                .into(),
        ));
    }
    Ok(())
}

/// Whether the lists in force allow the session's shell.
fn allowed(shared: &Shared, shell: &ShellName) -> Result<()> {
    let policy = &shared.config().policy;
    policy.check_shell(shell.as_str()).map_err(refused)
}

/// Takes the shell to where the command wants to start.
fn enter(own: &mut SessionShell, command: &Execute, context: &RunContext<'_>) -> Result<()> {
    match &command.cwd {
        Some(path) => own.live.enter(&absolute("cwd", path)?, context.cancel),
        None => Ok(()),
    }
}

fn how_it_ended(ran: Result<&RunReport, &Error>) -> String {
    match ran {
        Ok(report) if report.cancelled => {
            "cancelling ends the whole process tree, the shell with it".into()
        }
        Ok(report) if report.timed_out => {
            "a time limit ends the whole process tree, the shell with it".into()
        }
        Ok(report) => format!("the command ended it with exit code {}", report.exit_code),
        Err(error) => error.to_string(),
    }
}

/// Ends a session's shell and tells the backend.
pub(in crate::agent) fn end(shared: &Shared, slot: &Slot, reason: &str) {
    slot.set_ended(reason);
    let ended = slot.end();
    shared.shells.ended();
    let Some((id, cwd)) = ended else { return };
    tracing::info!(session = %slot.name.escape_debug(), reason, "a session has ended");
    let told = Reply::new(
        "session_ended",
        json!({
            "session": slot.name,
            "session_shell": id,
            "session_cwd": cwd,
            "reason": reason,
        }),
    );
    // Answers go first, and this comes after the results of the session's commands.
    shared.outgoing.live(told, &|| !shared.is_stopping());
}

/// Ends sessions that nobody uses, until the agent is closed.
pub(in crate::agent) fn end_idle(shared: &Shared) {
    let idle = || shared.config().session_idle;
    while let Some((slot, reason)) = shared.shells.next_idle(&idle) {
        end(shared, &slot, &reason);
    }
}

/// Ends all sessions, side by side: each shell may take its time.
pub(in crate::agent) fn end_all(shared: &Shared) {
    std::thread::scope(|scope| {
        for slot in shared.shells.take_all() {
            scope.spawn(move || end(shared, &slot, "the agent is being stopped"));
        }
    });
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::NotExecutable, Stage::Agent, why)
}
