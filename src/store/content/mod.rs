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
//!
//! A file of content has one of three [`Form`](crate::seal::Form)s: as it is, compressed, or as the
//! difference from another version that lies beside it. It is never changed in place: a smaller
//! form is a new file, and the old one goes once the record names the new one.

mod bases;
mod compact;
mod compress;
mod delta;
mod place;
mod read;
mod shrink;
mod sibling;
#[cfg(test)]
mod tests;
mod whole;

pub use compact::{Compaction, Compression};
pub(crate) use place::OpenDirs;
pub(super) use place::check_places;
pub use place::{ContentDirs, Place};
pub(crate) use read::{CopyError, Stored, copy_into, hash, inspect, open, unreadable};
pub(super) use shrink::stored_names;

/// The directory at a volume's mount point that holds the siblings of stores.
pub const SIBLINGS: &str = ".deployx_snapshots";
