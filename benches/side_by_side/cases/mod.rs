//! What is measured, one file per case.

pub(crate) mod edits;
pub(crate) mod first;
pub(crate) mod list;
pub(crate) mod start;
pub(crate) mod undo;
pub(crate) mod warm;
