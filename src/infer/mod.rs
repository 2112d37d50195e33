//! Which paths will a command line touch?
//!
//! A rule set ([`PathInference`]) reads a command line of its shell and gives an [`Inference`]: the
//! paths that the line touches, and the parts it did not understand. The [`Registry`] makes a
//! [`Scope`] of that. Where anything was not understood, or there is no rule set for the shell, the
//! conservative [`fallback`] is added: the working directory as a tree and everything that the line
//! could name. So a rule set can make a scope larger but never smaller than the fallback for what it
//! did not understand.

pub mod built_in;
mod commands;
pub mod fallback;
mod reading;
mod registry;
mod scope;
mod view;

pub use commands::program_names;
pub use deployx_plugin_sdk::{
    FileView, Inference, PathInference, PathUse, Request, SessionState, Unclear,
};
pub use registry::{Origin, Registry, RuleSetReport, is_foreign};
pub use scope::{
    Certainty, Depth, ForeignPath, Irreversible, NotUnderstood, Scope, ScopePath, Session,
};
pub use view::DiskView;
