//! The process that answers for intercepted calls.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::cli::exit::Exit;
use crate::snapshot::intercept::{self, InterceptionHost};

/// The argument after which this program answers for intercepted calls. It is for DeployX itself, so
/// it is no command that the help names.
const HOST: &str = "interception-host";

/// How this program answers.
pub(crate) fn host(program: &Path) -> InterceptionHost {
    InterceptionHost::new(program, &[HOST])
}

/// Leaves a process behind that answers, where this one was started for that; `None` where it was not.
pub(crate) fn answer(arguments: impl IntoIterator<Item = OsString>) -> Option<Exit> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(HOST)) {
        return None;
    }
    let directory = arguments.next()?;
    match intercept::answer(Path::new(&directory)) {
        Ok(()) => Some(Exit::Done),
        Err(error) => {
            // Whoever started this reads it.
            println!("{error}");
            Some(Exit::Failed)
        }
    }
}
