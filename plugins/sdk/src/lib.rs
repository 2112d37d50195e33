//! What a rule set for DeployX needs.
//!
//! A rule set reads command lines of a shell and says which paths they touch. It implements
//! [`PathInference`]; the same implementation can be linked into a program or be loaded from a
//! library.
//!
//! - [`path`]: paths in the syntax of the shell, Unix or Windows, on any host.
//! - [`table`]: commands described by data, in TOML.
//! - [`testing`]: a filesystem in memory for tests.

pub mod inference;
pub mod path;
pub mod table;
pub mod testing;

pub use deployx_plugin_abi::{
    Certainty, Depth, Effect, Inference, Kind, PathUse, Request, SessionState, Unclear,
};
pub use inference::{FileView, PathInference};
