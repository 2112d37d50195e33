//! The bytes in which requests and answers cross the interface.
//!
//! Everything is a sequence of *records*: a tag (`u16`), a length (`u32`), both little-endian, and
//! that many bytes. A composite value is a sequence of records in the bytes of its own record. A
//! record of an unknown tag is skipped, so newer senders can say more. Lists repeat a tag; any
//! other tag stands at most once.
//!
//! Decoding is total: any bytes give a value or a [`DecodeError`], and no more memory is taken than
//! the input justifies.

mod error;
mod inference;
mod record;
mod request;
mod rule_error;
pub mod tag;

pub use error::{DecodeError, PathFault};
pub use inference::{decode_inference, encode_inference};
pub use record::{Reader, Record, Writer};
pub use request::{decode_request, encode_request};
pub use rule_error::{decode_rule_error, encode_rule_error};

/// The longest encoded value, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most paths in an answer.
pub const MAX_PATHS: usize = 100_000;

/// The most items in any other list.
pub const MAX_ITEMS: usize = 100_000;

/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 64 * 1024;
