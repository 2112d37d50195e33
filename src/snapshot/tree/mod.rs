//! Looking at trees: what strategies that compare states share.
//!
//! A walk (`walk`) visits a scope, or only the parts of it that may have changed (`focus`). What is
//! known of the state before is asked of a `Before` (`before`); the comparison (`compare`) gives
//! what differs, `stored` says which old content has to be kept for that. `record` is the form of what is known, `exclude` knows what is left alone, `links`
//! counts the names of files that have several.

pub(in crate::snapshot) mod before;
pub(in crate::snapshot) mod compare;
pub(in crate::snapshot) mod exclude;
pub(in crate::snapshot) mod focus;
pub(in crate::snapshot) mod links;
pub(in crate::snapshot) mod record;
pub(in crate::snapshot) mod stored;
pub(in crate::snapshot) mod walk;

pub(crate) use walk::is_parting;

pub(in crate::snapshot) use before::Before;
pub use exclude::IGNORE_FILE;
