//! DeployX runs shell commands on a host and takes them back.
//!
//! Before a command runs, the engine secures the old state of whatever the command may touch.
//! After it ran, the snapshot is *sealed* to an [`UndoRecord`](seal::UndoRecord): the state before
//! and after of exactly the entries that changed. A rollback is a pure plan computed from undo
//! records and the live filesystem, verified for conflicts, and applied under a journal.
//!
//! ```text
//! RunRequest -> Scope -> Capture -> Outcome -> UndoRecord -> stored snapshot
//! snapshot id(s) -> RollbackPlan -> VerifiedPlan -> RollbackReport (+ a redo snapshot)
//! ```
//!
//! Most programs need only [`engine::Engine`]; each stage is a module of its own and sees only the
//! output type of the stage to its left. Start with the [`engine`] module, which has an example.
//!
//! Paths in this API are absolute ([`path::AbsPath`]) unless said otherwise, sizes are bytes, and
//! instants are seconds plus nanoseconds since the Unix epoch.

pub mod engine;
pub mod entry;
pub mod error;
pub mod execute;
pub mod infer;
pub mod path;
pub mod plugin;
pub mod progress;
pub mod request;
pub mod rollback;
pub mod seal;
pub mod snapshot;
pub mod store;
pub mod sys;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "cli")]
pub mod cli;

pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use path::AbsPath;

/// The variable that holds the agent's token. Front ends without an agent keep it to themselves, too.
#[cfg(any(feature = "agent", feature = "cli"))]
pub(crate) const TOKEN_VARIABLE: &str = "DEPLOYX_AGENT_TOKEN";

/// A number with the right form of its noun: `1 entry`, `2 entries`.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
