//! The baseline: the cached copy of files' current content that several strategies share.
//!
//! It knows the state of every entry that was ever in a scope (`index`) and keeps the content of
//! every file among them as an object of its own (`objects`). Before a command, a walk finds what is
//! new since the last time (`observe`), and only that is copied or cloned (`secure`). After the
//! command a second walk finds what changed, and the objects of changed files are linked into the
//! snapshot (`place`). Between two commands in the same tree only what changed is touched.
//!
//! The baseline is a cache: deleting it costs time, never data.

mod assemble;
mod before;
mod begin;
mod capture;
mod idle;
mod index;
mod objects;
mod observe;
mod place;
mod rows;
mod scan;
mod secure;
mod trust;
mod versions;

#[cfg(all(test, unix))]
mod tests;

pub use begin::Baseline;
pub(in crate::snapshot) use begin::Beginning;
pub use capture::BaselineCapture;
pub(in crate::snapshot) use capture::Watched;
pub use secure::Keep;
pub(in crate::snapshot) use trust::{Besides, Learnt, Trust};
