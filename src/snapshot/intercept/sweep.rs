//! Clearing up after sessions.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::protocol;
use super::session::DIRECTORY;
use super::token::Token;
use super::{LEFTOVERS, NAME};
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::store::{ListFilter, SnapshotId, SnapshotState, Store};

/// Removes the directory of a session in which nothing is left to do. With `in_use` its shell may
/// begin another command.
pub(super) fn forget_session(store: &Store, session: &AbsPath, in_use: bool) {
    let own = store.path().join(DIRECTORY);
    if !in_use && session.as_path().parent() == Some(&own) && !is_answered(session.as_path()) {
        remove_when_done(session.as_path());
    }
}

/// Removes a session's directory unless a command has something in it.
pub(super) fn remove_when_done(session: &Path) {
    for name in LEFTOVERS {
        let _ = std::fs::remove_file(session.join(name));
    }
    // Fails where a command's directory is left, which is needed then.
    let _ = std::fs::remove_dir(session);
}

/// Removes what sessions left that nobody needs any more.
pub(super) fn sweep(store: &Store) -> Result<()> {
    super::late::sweep(store, |snapshot| {
        SnapshotId::parse(snapshot).is_ok_and(|id| store.meta(&id).is_ok())
    });
    let context = || "cannot sweep what interceptions left".to_owned();
    let own = store.path().join(DIRECTORY);
    let sessions = match std::fs::read_dir(&own) {
        Ok(sessions) => sessions,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).context(Stage::Store, context),
    };
    let Some(needed) = needed(store) else {
        return Ok(());
    };
    for session in sessions {
        let session = session.context(Stage::Store, context)?.path();
        if needed.iter().any(|one| one.as_path() == session) || is_answered(&session) {
            continue;
        }
        remove_beside(store, &session);
        std::fs::remove_dir_all(&session).context(Stage::Store, context)?;
    }
    Ok(())
}

/// Whether a process answers for the session.
fn is_answered(session: &Path) -> bool {
    protocol::connect(session, protocol::QUESTIONS).is_ok()
}

/// The sessions that captures in the store need; `None`: that is not known.
fn needed(store: &Store) -> Option<Vec<AbsPath>> {
    let (metas, damaged) = store.list(&ListFilter::default()).ok()?;
    if !damaged.is_empty() {
        return None;
    }
    let begun = |state| matches!(state, SnapshotState::Capturing | SnapshotState::Captured);
    let mut needed = Vec::new();
    for meta in metas.iter().filter(|meta| begun(meta.state)) {
        let meta = store.meta(&meta.snapshot_id).ok()?;
        if meta.state == SnapshotState::Capturing {
            // Its token is not written yet.
            return None;
        }
        for (_, token) in meta.capture_tokens.iter().filter(|(name, _)| name == NAME) {
            needed.push(Token::decode(&BASE64.decode(token).ok()?)?.session);
        }
    }
    Some(needed)
}

/// Removes what a session's commands have on other volumes.
fn remove_beside(store: &Store, session: &Path) {
    let Some(name) = session.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    for volume in store.sibling_volumes().unwrap_or_default() {
        let Ok(sibling) = store.sibling(&volume) else {
            continue;
        };
        let all = std::fs::read_dir(sibling.join(DIRECTORY))
            .into_iter()
            .flatten()
            .flatten();
        for place in all {
            let of_session = place
                .file_name()
                .to_str()
                .is_some_and(|place| place.starts_with(name));
            if of_session {
                let _ = std::fs::remove_dir_all(place.path());
            }
        }
    }
}
