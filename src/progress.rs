//! What long work tells its caller while it runs.

use crate::path::AbsPath;

/// The part of the work that is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking at the scope before the command.
    Scan,
    /// Copying content that is not in the store yet.
    Secure,
    /// The command runs.
    Command,
    /// Comparing after with before.
    Seal,
    /// Saving what a rollback is about to overwrite.
    SaveCurrent,
    /// Writing old content beside its targets.
    Stage,
    /// Putting entries into place.
    Apply,
    /// Hashing stored content.
    Verify,
    /// Deleting expired snapshots.
    Expire,
    /// Compressing stored content.
    Compress,
}

/// Something worth showing to whoever waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A phase began; `total` in the phase's own unit where it is known.
    Begin {
        /// Which phase.
        phase: Phase,
        /// Entries, or bytes for [`Phase::Secure`], [`Phase::Stage`] and [`Phase::Verify`].
        total: Option<u64>,
    },
    /// So much of the current phase is done, in the unit of its total.
    Advance {
        /// Units done since the last event.
        by: u64,
    },
    /// The current phase ended.
    End,
    /// Another process holds what this one needs; work goes on when it is free.
    Waiting {
        /// For what.
        reason: String,
    },
    /// Something went wrong that did not stop the work.
    Warning {
        /// The entry, where there is one.
        path: Option<AbsPath>,
        /// What, in one sentence.
        message: String,
    },
}

/// Receives [`Event`]s, possibly from several threads at once. It must return quickly.
pub trait Progress: Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}

impl<F: Fn(Event) + Sync> Progress for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
