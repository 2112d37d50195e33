//! The process that is asked before a command's processes change anything.
//!
//! There are always two: one answers, and its stand-in waits. Both hold every listener, so that calls
//! are answered as long as one of them lives; when one dies, the other one makes a new stand-in. Both
//! end when nothing is under a filter any more and nobody asks.

mod calls;
mod guard;
mod inherited;
mod keep;
mod known;
mod late;
mod resolve;
mod seen;
mod serve;
mod volumes;
mod watch;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use self::serve::Host;
use super::protocol;
use crate::sys::seccomp::{Copied, copy_process, detach};

pub(super) use volumes::is_foreign;

/// Answers for the calls of a session whose directory is `session`: returns at once in the process
/// that called it, and leaves a copy behind that goes on and never returns.
///
/// To be called by a program that has no other thread and does nothing else. On success its standard
/// output has been closed for good by the copy, which holds nothing of whoever started it.
pub fn answer(session: &Path) -> io::Result<()> {
    let control = protocol::listen(session)?;
    match copy_process()? {
        Copied::Original(_) => Ok(()),
        Copied::Copy => {
            detach();
            let ended = let_go_of_streams()
                .and_then(|()| Host::new(session, control))
                .and_then(Host::live);
            if let Err(error) = ended {
                complain(session, &error);
            }
            crate::sys::process_unix::exit_now(0)
        }
    }
}

fn let_go_of_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    rustix::stdio::dup2_stderr(null.as_fd())?;
    Ok(())
}

/// Leaves word of what went wrong: there is nobody to tell.
fn complain(session: &Path, error: &io::Error) {
    let file = File::options()
        .append(true)
        .create(true)
        .open(session.join("problems"));
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{error}");
    }
}
