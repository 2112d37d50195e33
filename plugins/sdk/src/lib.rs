//! What a rule set for DeployX needs.
//!
//! A rule set reads command lines of a shell and says which paths they touch. It implements
//! [`PathInference`]; the same implementation can be linked into a program or be loaded from a
//! library.
//!
//! - [`path`]: paths in the syntax of the shell, Unix or Windows, on any host.
//! - [`table`]: commands described by data, in TOML.
//! - [`export`] and [`export_plugin!`]: the rule set as a library that DeployX loads.
//! - [`view`]: a filesystem view that crosses the interface.
//! - [`testing`]: a filesystem in memory for tests.
//! - `harness` (feature of that name): the same rule set linked and loaded, compared.
//!
//! # A library and a crate at once
//! A rule set's crate is built both ways: `crate-type = ["cdylib", "rlib"]`. The exported symbol has
//! the same name in every plugin, so it must not be there when several rule sets are linked into
//! one program. Put the macro behind a feature of the crate that is off by default:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [features]
//! plugin = []
//! ```
//! ```ignore
//! #[cfg(feature = "plugin")]
//! deployx_plugin_sdk::export_plugin!(MyRules::new);
//! ```
//! `cargo build --release --features plugin` then makes the library.

pub mod export;
#[cfg(feature = "harness")]
pub mod harness;
pub mod inference;
pub mod path;
pub mod table;
pub mod testing;
pub mod view;

pub use deployx_plugin_abi::{
    Certainty, Depth, Effect, Inference, Kind, PathUse, Request, SessionState, Unclear,
};
pub use inference::{FileView, PathInference};
