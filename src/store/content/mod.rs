//! Where the content of snapshots lies, and how it is kept and read.
//!
//! Usually it is in the snapshot's own `files/`. What a strategy has to keep on the volume it came
//! from (clones, links and renames work nowhere else) lies in that volume's *sibling* of the store:
//!
//! ```text
//! <mount point>/.deployx_snapshots/<store name>/     0700, owner checked, held by descriptor
//! ├── owner                                          which store it belongs to
//! ├── baseline/                                      cache of strategies
//! └── <snapshot_id>/files/                           the content
//! ```
//!
//! The metadata lists such directories as [`Place`]s. The store remembers in its file `siblings`
//! where it has some, before it first writes to one, so that deletions reach them all.

mod place;
mod sibling;

pub(crate) use place::OpenDirs;
pub(super) use place::check_places;
pub use place::{ContentDirs, Place};

/// The directory at a volume's mount point that holds the siblings of stores.
pub const SIBLINGS: &str = ".deployx_snapshots";
