//! The behaviours, each with what the filesystem has to keep for it to make sense.

mod commands;
mod lasting;
mod limits;
mod rollbacks;

use crate::cell::Cell;
use crate::common::Keeps;

/// One behaviour.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it makes sense on a filesystem that keeps this.
    pub(crate) fits: fn(&Keeps) -> bool,
    pub(crate) check: Check,
}

impl Case {
    /// One that has a tree of its own and makes sense everywhere.
    const fn own(name: &'static str, check: fn(&Cell)) -> Self {
        Self {
            name,
            fits: |_| true,
            check: Check::Own(check),
        }
    }
}

/// How a behaviour is checked.
pub(crate) enum Check {
    /// The line is run on the fixture and taken back; the fixture is as before when it succeeded.
    Undone(&'static str),
    /// On a tree of its own, which is empty.
    Own(fn(&Cell)),
}

/// Single commands.
pub(crate) use commands::COMMANDS;

/// Everything else.
pub(crate) const OTHERS: &[&[Case]] = &[rollbacks::ROLLBACKS, limits::LIMITS, lasting::LASTING];

/// Whether all cases are asked for, everywhere and large.
pub(crate) fn all() -> bool {
    std::env::var_os("DEPLOYX_TEST_CONFORMANCE").is_some_and(|v| v == "all")
}

/// `small` unless all cases are asked for.
fn scale(small: usize, large: usize) -> usize {
    if all() { large } else { small }
}
