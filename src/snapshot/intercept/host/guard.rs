//! Copies of the process that answers.
//!
//! The stand-in: a copy of the process that answers, which holds the same listeners.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use crate::path::AbsPath;
use crate::sys::process_unix::exit_now;
use crate::sys::seccomp::{
    Copied, copy_process, end_of, let_go_of_descriptors, receive_descriptor, send_descriptor,
};

/// The stand-in, as the process that answers sees it.
#[derive(Debug)]
pub(super) struct Guard {
    channel: UnixStream,
    end: OwnedFd,
    process: u32,
}

/// What became of a process that makes itself a stand-in.
pub(super) enum Side {
    /// It goes on.
    Guarded(Guard),
    /// It is the stand-in, and the one before it is gone. These listeners came since it was made.
    TookOver(Vec<(OwnedFd, u64)>),
}

impl Guard {
    /// Makes a stand-in. In the stand-in this returns when it has to take over.
    pub(super) fn make() -> io::Result<Side> {
        let (own, others) = UnixStream::pair()?;
        match copy_process()? {
            Copied::Original(process) => Ok(Side::Guarded(Self {
                channel: own,
                end: end_of(process)?,
                process,
            })),
            Copied::Copy => {
                drop(own);
                Ok(Side::TookOver(wait(&others)))
            }
        }
    }

    /// Gives the stand-in a listener.
    pub(super) fn give(&self, listener: BorrowedFd<'_>, process: u64) -> io::Result<()> {
        send_descriptor(self.channel.as_fd(), listener, process)
    }

    /// Tells the stand-in that it is not needed any more.
    pub(super) fn dismiss(self) {
        // The null device stands for the end; a listener never has this number.
        if let Ok(null) = std::fs::File::open("/dev/null") {
            let _ = self.give(null.as_fd(), DISMISSED);
        }
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// Becomes readable when the stand-in is gone.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// No process has this number.
const DISMISSED: u64 = u64::MAX;

/// Waits for the end of the process that answers; gives the listeners that came.
fn wait(channel: &UnixStream) -> Vec<(OwnedFd, u64)> {
    let mut came = Vec::new();
    loop {
        let mut watched = [PollFd::new(channel, PollFlags::IN)];
        if poll(&mut watched, None).is_err() {
            continue;
        }
        match receive_descriptor(channel.as_fd()) {
            Ok(Some((_, DISMISSED))) => exit_now(0),
            Ok(Some(listener)) => came.push(listener),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(None) | Err(_) => return came,
        }
    }
}

/// Removes directories in a process of its own, whose end is told by the descriptor.
pub(super) fn remove_beside(directories: &[AbsPath]) -> io::Result<OwnedFd> {
    match copy_process()? {
        Copied::Original(process) => end_of(process),
        Copied::Copy => {
            // As long as it had the listeners, and the channel of the stand-in, nobody could tell that
            // the process that answers is gone.
            let_go_of_descriptors();
            for directory in directories {
                let _ = std::fs::remove_dir_all(directory.as_path());
            }
            exit_now(0)
        }
    }
}

/// Waits for a process's end.
pub(super) fn wait_for_end(end: &OwnedFd) {
    let mut watched = [PollFd::new(end, PollFlags::IN)];
    while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
}
