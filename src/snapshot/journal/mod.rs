//! The journal: changes are found by the filesystem's own events instead of a walk.
//!
//! `source` tells what changed beneath the roots that are watched, and says so when it cannot.

#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the strategy comes next")
)]
mod source;
