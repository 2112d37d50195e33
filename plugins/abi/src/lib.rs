//! The binary interface between DeployX and its rule plugins.
//!
//! - [`model`] has what crosses the interface as plain data: a [`Request`] goes to the plugin, an
//!   [`Inference`] comes back.
//! - [`wire`] turns that data into bytes and back.
//! - [`layout`] has the C structures and functions through which the bytes pass.
//! - [`caller`] is the host's side of those functions with every check in one place.
//!
//! This crate does no I/O and has no dependencies. `src/docs/plugin_abi.md` describes the interface
//! for plugins in other languages.

pub mod caller;
pub mod layout;
pub mod model;
pub mod wire;

pub use model::*;
