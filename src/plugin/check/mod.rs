//! Opens a plugin's file so that nobody but its rightful owner can have written it.
//!
//! The file is opened without following a symbolic link, must be a regular file of the
//! administrator or the current user, and must not be writable by others; the same holds for every
//! directory on the way. A directory that anybody may write to but only owners may remove from
//! (`/tmp`) is accepted, because what lies directly in it must be owned likewise.
//! What is loaded later is the opened file, not the path.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use other::open;
#[cfg(unix)]
pub(super) use unix::open;
