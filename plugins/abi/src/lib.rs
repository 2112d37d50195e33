//! The binary interface between DeployX and its rule plugins.
//!
//! [`model`] has what crosses the interface as plain data: a [`Request`] goes to the plugin, an
//! [`Inference`] comes back. This crate does no I/O and has no dependencies.

pub mod model;

pub use model::*;
