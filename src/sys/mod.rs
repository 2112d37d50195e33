//! sys

#[cfg(unix)]
pub(crate) mod process_unix;
