//! The baseline: the cached copy of files' current content that several strategies share.
//!
//! It knows the state of every entry that was ever in a scope (`index`) and keeps the content of
//! every file among them as an object of its own (`objects`). Before a command, a stat walk
//! (`walk`) finds what is new since the last time (`observe`), and only that is copied (`secure`).
//! After the command a second walk finds what changed (`compare`), and the objects of changed files
//! are linked into the snapshot. Between two commands in the same tree only what changed is touched.
//!
//! The baseline is a cache: deleting it costs time, never data.

mod capture;
mod compare;
mod exclude;
mod index;
mod links;
mod objects;
mod observe;
mod record;
mod scan;
mod secure;
mod versions;
mod walk;

#[cfg(all(test, unix))]
mod tests;

pub use capture::{Baseline, BaselineCapture};
pub use exclude::IGNORE_FILE;
