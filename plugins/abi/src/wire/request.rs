//! Requests and the state of a session.

use super::record::{Once, Reader, Record, Writer, push};
use super::{DecodeError, MAX_ITEMS, tag};
use crate::{Request, SessionState};

/// The bytes of a request.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(tag::REQUEST_SHELL, request.shell.as_bytes());
    writer.put(tag::REQUEST_COMMAND, &request.command);
    writer.put(tag::REQUEST_CWD, &request.cwd);
    writer.put_some(tag::REQUEST_HOME, request.home.as_deref());
    for (name, value) in &request.env {
        writer.put_nested(tag::REQUEST_VARIABLE, |inner| {
            inner.put(tag::VARIABLE_NAME, name.as_bytes());
            inner.put(tag::VARIABLE_VALUE, value);
        });
    }
    put_session(&mut writer, tag::REQUEST_SESSION, &request.session);
    writer.finish()
}

/// The request that `bytes` encode.
///
/// # Errors
/// They do not encode one.
pub fn decode_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let mut shell = Once::new("request.shell");
    let mut command = Once::new("request.command");
    let mut cwd = Once::new("request.cwd");
    let mut home = Once::new("request.home");
    let mut session = Once::new("request.session");
    let mut env = Vec::new();
    let mut reader = Reader::new(bytes)?;
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::REQUEST_SHELL => shell.set(|field| record.text(field))?,
            tag::REQUEST_COMMAND => command.set(|_| Ok(record.content.to_vec()))?,
            tag::REQUEST_CWD => cwd.set(|field| record.path(field))?,
            tag::REQUEST_HOME => home.set(|field| record.path(field))?,
            tag::REQUEST_VARIABLE => {
                push(&mut env, variable(record)?, "request.variable", MAX_ITEMS)?;
            }
            tag::REQUEST_SESSION => session.set(|_| decode_session(record))?,
            _ => {}
        }
    }
    Ok(Request {
        shell: shell.needed()?,
        command: command.needed()?,
        cwd: cwd.needed()?,
        home: home.optional(),
        env,
        session: session.or_default(),
    })
}

fn variable(record: Record<'_>) -> Result<(String, Vec<u8>), DecodeError> {
    let mut name = Once::new("variable.name");
    let mut value = Once::new("variable.value");
    let mut reader = record.nested();
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::VARIABLE_NAME => name.set(|field| record.text(field))?,
            tag::VARIABLE_VALUE => value.set(|_| Ok(record.content.to_vec()))?,
            _ => {}
        }
    }
    Ok((name.needed()?, value.needed()?))
}

/// Adds the state of a session, unless there is nothing to tell.
pub(super) fn put_session(writer: &mut Writer, tag: u16, session: &SessionState) {
    if *session == SessionState::default() {
        return;
    }
    writer.put_nested(tag, |inner| {
        for name in &session.assigned {
            inner.put(tag::SESSION_ASSIGNED, name.as_bytes());
        }
        for name in &session.redefined {
            inner.put(tag::SESSION_REDEFINED, name.as_bytes());
        }
        inner.put_flag(tag::SESSION_OPTIONS_CHANGED, session.options_changed);
        inner.put_flag(tag::SESSION_UNKNOWN, session.unknown);
    });
}

/// The state of a session that a record holds.
pub(super) fn decode_session(record: Record<'_>) -> Result<SessionState, DecodeError> {
    let mut assigned = Vec::new();
    let mut redefined = Vec::new();
    let mut options_changed = Once::new("session.options_changed");
    let mut unknown = Once::new("session.unknown");
    let mut reader = record.nested();
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::SESSION_ASSIGNED => {
                let field = "session.assigned";
                push(&mut assigned, record.text(field)?, field, MAX_ITEMS)?;
            }
            tag::SESSION_REDEFINED => {
                let field = "session.redefined";
                push(&mut redefined, record.text(field)?, field, MAX_ITEMS)?;
            }
            tag::SESSION_OPTIONS_CHANGED => options_changed.set(|field| record.flag(field))?,
            tag::SESSION_UNKNOWN => unknown.set(|field| record.flag(field))?,
            _ => {}
        }
    }
    Ok(SessionState {
        assigned,
        redefined,
        options_changed: options_changed.or_default(),
        unknown: unknown.or_default(),
    })
}
