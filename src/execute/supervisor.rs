//! What the supervisor process of a shell does, and the words it exchanges with its session.
//!
//! It reaps every orphan of the shell's process tree, reports the shell's end, and ends the whole
//! tree when it is told to or when the session's process is gone. It runs in a forked copy of a
//! process that may have had other threads, so it allocates nothing and takes no lock.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::process_tree::signal_descendants;
use crate::sys::process_unix::{Supervision, exit_now};

/// What a session tells its supervisor, one byte each. Closing the channel without
/// [`Order::Release`] means that the session's process died: the tree is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// End the tree as Ctrl-C would, then less and less politely.
    Interrupt = b'i',
    /// End the tree politely, then not.
    Terminate = b't',
    /// Kill the shell alone.
    KillShell = b'k',
    /// Go, and leave alone what still runs.
    Release = b'r',
}

impl Order {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Interrupt,
            Self::Terminate,
            Self::KillShell,
            Self::Release,
        ]
        .into_iter()
        .find(|order| *order as u8 == byte)
    }
}

/// What a supervisor tells its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// The shell ended with this status.
    Exited(i32),
    /// This signal ended the shell.
    Signalled(i32),
    /// Nothing is left of the tree that was to be ended.
    TreeGone,
}

impl Notice {
    /// The length of a notice on the channel.
    pub(super) const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let (tag, number) = match self {
            Self::Exited(status) => (b'e', status),
            Self::Signalled(signal) => (b's', signal),
            Self::TreeGone => (b'g', 0),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [tag, a, b, c, d]
    }

    /// Reads a notice back; `None` for anything that is not one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [tag, number @ ..] = bytes else {
            return None;
        };
        let number = i32::from_le_bytes(number.try_into().ok()?);
        match tag {
            b'e' => Some(Self::Exited(number)),
            b's' => Some(Self::Signalled(number)),
            b'g' => Some(Self::TreeGone),
            _ => None,
        }
    }
}

/// The first and the longest pause between two rounds of SIGKILL. A process in an uninterruptible
/// wait dies only when that is over.
const KILL_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_KILL_PAUSE: Duration = Duration::from_millis(500);

/// The end of the tree: the next signal, and when it is due.
struct Ending {
    signal: Signal,
    due: Instant,
    pause: Duration,
}

struct Supervisor {
    channel: OwnedFd,
    child_events: OwnedFd,
    shell: Option<Pid>,
    grace: Duration,
    ending: Option<Ending>,
    orphaned: bool,
}

/// The supervisor's whole life.
pub(super) fn supervise(supervision: Supervision) -> ! {
    Supervisor {
        channel: supervision.channel,
        child_events: supervision.child_events,
        shell: Some(supervision.program),
        grace: supervision.grace,
        ending: None,
        orphaned: false,
    }
    .live()
}

impl Supervisor {
    fn live(mut self) -> ! {
        loop {
            let empty = self.reap();
            if empty && self.orphaned {
                exit_now(0);
            }
            if empty && self.ending.take().is_some() {
                self.tell(Notice::TreeGone);
            }
            self.signal_if_due();
            self.wait();
        }
    }

    /// Takes every ended child off the process table; tells whether none is left. Orphans of the
    /// tree become children of this process, so no child means no tree.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.shell => self.shell_ended(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn shell_ended(&mut self, status: WaitStatus) {
        self.shell = None;
        self.tell(match status.terminating_signal() {
            Some(signal) => Notice::Signalled(signal),
            None => Notice::Exited(status.exit_status().unwrap_or(0)),
        });
    }

    fn tell(&self, notice: Notice) {
        // When nobody listens any more, the channel's end is seen by the next read.
        let _ = rustix::io::write(&self.channel, &notice.to_bytes());
    }

    fn end_tree(&mut self, signal: Signal) {
        self.ending = Some(Ending {
            signal,
            due: Instant::now(),
            pause: KILL_PAUSE,
        });
    }

    /// Interrupt, half the grace later terminate, the rest of the grace later kill until nothing
    /// is left. Background jobs of shells without job control ignore interrupts, therefore the
    /// step in between.
    fn signal_if_due(&mut self) {
        let now = Instant::now();
        let Some(ending) = self.ending.as_mut().filter(|ending| ending.due <= now) else {
            return;
        };
        signal_descendants(rustix::process::getpid(), ending.signal);
        match ending.signal {
            Signal::INT => {
                ending.signal = Signal::TERM;
                ending.due = now + self.grace / 2;
                self.grace -= self.grace / 2;
            }
            Signal::TERM => {
                ending.signal = Signal::KILL;
                ending.due = now + self.grace;
            }
            _ => {
                ending.due = now + ending.pause;
                ending.pause = (ending.pause * 2).min(LONGEST_KILL_PAUSE);
            }
        }
    }

    /// Sleeps until a child ended, an order came or the next signal is due.
    fn wait(&mut self) {
        let timeout = self.ending.as_ref().map(|ending| {
            let left = ending.due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut watched = [
            PollFd::new(&self.child_events, PollFlags::IN),
            PollFd::new(&self.channel, PollFlags::IN),
        ];
        // The end of the channel would be reported again and again.
        let count = if self.orphaned { 1 } else { 2 };
        let Some(watched) = watched.get_mut(..count) else {
            return;
        };
        if poll(watched, timeout.as_ref()).is_err() {
            return;
        }
        let [children, orders @ ..] = watched else {
            return;
        };
        let ordered = orders.iter().any(|fd| !fd.revents().is_empty());
        if !children.revents().is_empty() {
            // Its content says nothing that `waitpid` does not.
            let mut ignored = [0_u8; 1024];
            let _ = rustix::io::read(&self.child_events, &mut ignored);
        }
        if ordered {
            self.take_order();
        }
    }

    fn take_order(&mut self) {
        let mut byte = [0_u8];
        match rustix::io::read(&self.channel, &mut byte) {
            Ok(1..) => match byte.first().copied().and_then(Order::from_byte) {
                Some(Order::Interrupt) => self.end_tree(Signal::INT),
                Some(Order::Terminate) => self.end_tree(Signal::TERM),
                Some(Order::KillShell) => {
                    if let Some(shell) = self.shell {
                        let _ = rustix::process::kill_process(shell, Signal::KILL);
                    }
                }
                Some(Order::Release) => exit_now(0),
                None => {}
            },
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(0) | Err(_) => {
                self.orphaned = true;
                if self.ending.is_none() {
                    self.end_tree(Signal::TERM);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_survive_the_channel() {
        for notice in [
            Notice::Exited(0),
            Notice::Exited(255),
            Notice::Signalled(9),
            Notice::TreeGone,
        ] {
            assert_eq!(Notice::from_bytes(&notice.to_bytes()), Some(notice));
        }
        assert_eq!(Notice::from_bytes(b"z1234"), None);
        assert_eq!(Notice::from_bytes(b"e12"), None);
    }

    #[test]
    fn unknown_orders_are_ignored() {
        assert_eq!(Order::from_byte(Order::Release as u8), Some(Order::Release));
        assert_eq!(Order::from_byte(0), None);
    }
}
