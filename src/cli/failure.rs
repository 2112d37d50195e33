//! A failure as the program reports it: the library's error and what to do next.

use serde::Serialize;

use super::exit::Exit;
use crate::error::{Error, ErrorKind};

/// Ends a command of the program early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong.
    pub(crate) error: Error,
    /// What to do next, where the place of the failure knows better than [`super::hints`].
    pub(crate) hint: Option<String>,
    /// The exit code, where it does not follow from the error.
    pub(crate) exit: Option<Exit>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            hint: None,
            exit: None,
        }
    }
}

impl Failure {
    /// The same failure with its own hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error under `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDocument<'a> {
    error: ErrorFields<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorFields<'a> {
    kind: &'static str,
    stage: String,
    message: String,
    hint: Option<&'a str>,
}

impl<'a> ErrorDocument<'a> {
    /// The document for `error`.
    pub(crate) fn new(error: &Error, hint: Option<&'a str>) -> Self {
        Self {
            error: ErrorFields {
                kind: kind_name(error.kind()),
                stage: error.stage().to_string(),
                message: error.to_string(),
                hint,
            },
        }
    }
}

/// The name of `kind` in JSON.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Ambiguous => "ambiguous",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Busy => "busy",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::NewerFormat => "newer_format",
        ErrorKind::UnsafeStore => "unsafe_store",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::NoSpace => "no_space",
        ErrorKind::ShellNotFound => "shell_not_found",
        ErrorKind::NotExecutable => "not_executable",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Io => "io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    #[test]
    fn the_document_has_the_published_fields() {
        let error = Error::new(ErrorKind::NotFound, Stage::Store, "no snapshot 'x'");
        let json = serde_json::to_string(&ErrorDocument::new(&error, Some("look"))).unwrap();
        assert_eq!(
            json,
            r#"{"error":{"kind":"not_found","stage":"store","message":"no snapshot 'x'","hint":"look"}}"#
        );
        let json = serde_json::to_string(&ErrorDocument::new(&error, None)).unwrap();
        assert!(json.ends_with(r#""hint":null}}"#), "{json}");
    }
}
