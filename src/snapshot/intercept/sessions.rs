//! What there is of intercepted sessions in a store.

use std::path::Path;
use std::time::Duration;

use super::protocol::{self, About, Answer, Ask};
use super::session::DIRECTORY;
use super::types::{HolderReport, SessionReport};
use crate::store::Store;

/// How long a process that answers has to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every session that the store has something of, in the order of their names.
pub fn sessions(store: &Store) -> Vec<SessionReport> {
    let all = std::fs::read_dir(store.path().join(DIRECTORY));
    let mut found: Vec<SessionReport> = all
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| report(&entry.path()))
        .collect();
    found.sort_by(|a, b| a.session.cmp(&b.session));
    found
}

/// `None` where the session went meanwhile.
fn report(session: &Path) -> Option<SessionReport> {
    let name = session.file_name()?.to_string_lossy().into_owned();
    let about = ask(session);
    if about.is_err() && !session.exists() {
        return None;
    }
    let mut report = SessionReport {
        session: name,
        holders: Vec::new(),
        shells: Vec::new(),
        command: None,
        last_command: None,
        late: 0,
        problem: None,
    };
    match about {
        Ok(about) => describe(&mut report, about),
        Err(error) => report.problem = Some(unanswered(&error)),
    }
    Some(report)
}

fn describe(report: &mut SessionReport, about: About) {
    report.holders.push(holder(about.host, false));
    let stand_in = about.stand_in.map(|pid| holder(pid, true));
    report.holders.extend(stand_in);
    let wanted = about.shells.len() as u64;
    let lacking = |one: &HolderReport| one.listeners.is_some_and(|held| held < wanted);
    if report.holders.len() < 2 || report.holders.iter().any(|one| !one.alive) {
        let text = "no stand-in waits: were the process that answers killed now, calls of its \
                    processes would fail";
        report.problem = Some(text.to_owned());
    } else if report.holders.iter().any(lacking) {
        let text = "one of the two that answer lacks a listener: calls of some processes would fail \
                    were the other one killed";
        report.problem = Some(text.to_owned());
    }
    report.shells = about.shells;
    report.command = about.command;
    report.last_command = about.last_command;
    report.late = about.late;
}

fn unanswered(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, TimedOut, WouldBlock};
    match error.kind() {
        ConnectionRefused | NotFound => "nobody answers any more: what still runs of it fails to change \
             anything (\"Function not implemented\") until it is started anew; what was on record is \
             kept, and 'deployx recover' and 'deployx cleanup' see to the rest"
            .to_owned(),
        TimedOut | WouldBlock => {
            "the process that answers does not say anything: it may be stopped".to_owned()
        }
        _ => format!("the process that answers cannot be asked: {error}"),
    }
}

fn ask(session: &Path) -> std::io::Result<About> {
    let mut stream = protocol::connect(session, protocol::QUESTIONS)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    protocol::send(&mut stream, &Ask::About)?;
    match protocol::receive(&mut stream)? {
        Some(Answer::About(about)) => Ok(about),
        Some(Answer::Done | Answer::Failed(_)) | None => {
            Err(std::io::Error::other("it is of another version"))
        }
    }
}

fn holder(pid: u32, stand_in: bool) -> HolderReport {
    let alive = is_alive(pid);
    HolderReport {
        pid,
        stand_in,
        alive,
        listeners: listeners(pid),
    }
}

/// Whether there is such a process, which has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, fields)| fields.trim_start());
    state.is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

fn listeners(pid: u32) -> Option<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = open.flatten().map(|one| std::fs::read_link(one.path()));
    let is_listener =
        |target: &std::path::PathBuf| target.as_os_str() == "anon_inode:seccomp notify";
    Some(links.flatten().filter(is_listener).count() as u64)
}
