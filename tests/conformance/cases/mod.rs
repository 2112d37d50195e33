//! The behaviours, each with what the filesystem has to keep for it to make sense.

mod commands;

use crate::cell::Cell;
use crate::common::Keeps;

/// One behaviour.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it makes sense on a filesystem that keeps this.
    pub(crate) fits: fn(&Keeps) -> bool,
    pub(crate) check: Check,
}

/// How a behaviour is checked.
pub(crate) enum Check {
    /// The line is run on the fixture and taken back; the fixture is as before when it succeeded.
    Undone(&'static str),
    /// On a tree of its own.
    Own(fn(&Cell)),
}

pub(crate) use commands::COMMANDS;
