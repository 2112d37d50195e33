//! Ctrl-C and its kin: they end the command, never the bookkeeping around it.
//!
//! A signal sets the [`Cancel`] flag. The engine then ends the command's process tree and seals
//! its snapshot, or brings a rollback to a safe end; so further signals only say what is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::screen;
use crate::error::{Error, Result, Stage};
use crate::execute::Cancel;
use crate::sys::runtime::runtime;

/// Which texts a signal brings up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices {
    /// After the first signal.
    pub(crate) first: &'static str,
    /// After each further one.
    pub(crate) again: &'static str,
}

/// While a command runs.
pub(crate) const RUNNING: Notices = Notices {
    first: "stopping; where the command has begun, its snapshot is still sealed, so that it can be undone",
    again: "still tidying up, so that a command that has begun can be undone",
};

/// While entries are put back, deleted or copied out.
pub(crate) const FINISHING: Notices = Notices {
    first: "stopping at the next safe point",
    again: "still on the way to a safe point; no entry is left half done",
};

/// Tells which signal came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received(Arc<AtomicI32>);

impl Received {
    /// The number of the first signal that came, if any did.
    pub(crate) fn number(&self) -> Option<i32> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(number),
        }
    }

    fn set(&self, number: i32) -> bool {
        self.0
            .compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

/// Turns signals into `cancel` from now to the end of the program. `terminal` tells that standard error is one.
pub(crate) fn watch(cancel: &Cancel, notices: Notices, terminal: bool) -> Result<Received> {
    let failed = |source| Error::io(Stage::Request, "cannot watch for signals", source);
    let runtime = runtime().map_err(failed)?;
    let mut signals = {
        let _context = runtime.enter();
        source::Signals::register().map_err(failed)?
    };
    let received = Received::default();
    let (seen, cancel) = (received.clone(), cancel.clone());
    let work = async move {
        while let Some(number) = signals.next().await {
            let first = seen.set(number);
            cancel.cancel();
            let text = if first { notices.first } else { notices.again };
            // A terminal has just echoed the key.
            let start = if terminal { "\n" } else { "" };
            screen::say(&format!("{start}deployx: {text}\n"));
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(work))
        .map_err(failed)?;
    Ok(received)
}

#[cfg(unix)]
mod source {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// The signals that ask a program to end.
    pub(super) struct Signals {
        interrupt: Option<Signal>,
        terminate: Option<Signal>,
        hangup: Option<Signal>,
    }

    impl Signals {
        /// Registers for those that this process does not ignore: what `nohup` switched off stays
        /// off.
        pub(super) fn register() -> io::Result<Self> {
            let ignored = ignored_signals();
            let register = |kind: SignalKind| {
                let off = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
                (!off).then(|| signal(kind)).transpose()
            };
            Ok(Self {
                interrupt: register(SignalKind::interrupt())?,
                terminate: register(SignalKind::terminate())?,
                hangup: register(SignalKind::hangup())?,
            })
        }

        /// Waits for the next one and gives its number.
        pub(super) async fn next(&mut self) -> Option<i32> {
            let kind = tokio::select! {
                Some(()) = receive(&mut self.interrupt) => SignalKind::interrupt(),
                Some(()) = receive(&mut self.terminate) => SignalKind::terminate(),
                Some(()) = receive(&mut self.hangup) => SignalKind::hangup(),
                else => return None,
            };
            Some(kind.as_raw_value())
        }
    }

    async fn receive(signal: &mut Option<Signal>) -> Option<()> {
        match signal {
            Some(signal) => signal.recv().await,
            None => None,
        }
    }

    /// The mask of ignored signals, bit 0 for signal 1; 0 where the system does not tell.
    fn ignored_signals() -> u64 {
        std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| ignored_mask(&status))
            .unwrap_or_default()
    }

    fn ignored_mask(status: &str) -> Option<u64> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::ignored_mask;

        #[test]
        fn the_mask_of_ignored_signals_is_read() {
            let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
            assert_eq!(ignored_mask(status), Some(0x1001));
            assert_eq!(ignored_mask("Name:\tx\n"), None);
        }
    }
}

#[cfg(not(unix))]
mod source {
    use std::io;

    /// Ctrl-C, the one request to end that every system has.
    pub(super) struct Signals;

    impl Signals {
        /// Nothing is to be registered beforehand.
        pub(super) fn register() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for the next one; 2 is what `SIGINT` is elsewhere.
        pub(super) async fn next(&mut self) -> Option<i32> {
            tokio::signal::ctrl_c().await.ok().map(|()| 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_kept() {
        let received = Received::default();
        assert_eq!(received.number(), None);
        assert!(received.set(15));
        assert!(!received.set(2));
        assert_eq!(received.number(), Some(15));
    }
}
