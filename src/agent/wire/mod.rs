//! The events of the protocol (`src/docs/protocol.md`): typed, and bounded in size.

mod bound;
mod decode;
mod reply;
mod request;
mod undone;

pub use bound::{MAX_MESSAGE, encoded_length, fit, fit_output, json_length, lost, pages, shorten};
pub use decode::{Decoded, Rejection, decode, weight};
pub use reply::*;
pub use request::*;
pub use undone::*;
