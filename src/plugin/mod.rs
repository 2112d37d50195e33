//! Rule sets from libraries.
//!
//! A plugin is a shared library with the interface of `deployx-plugin-abi`. Its code is trusted not
//! to do harm on purpose (its file and every directory above it must belong to the administrator
//! or the user, see [`check`]), but not to be right: it runs in a process of its own, which the
//! caller names in a [`PluginHost`]. A plugin that crashes, hangs or answers nonsense is disabled
//! with a [`Refusal`] that says why; from then on its lines count as not understood, so that the
//! fallback covers them.
//!
//! ```text
//! this process                                   plugin host process
//! search -> check -> image -> remote  == frames ==  serve -> check -> image -> library
//!                    probe -> LoadedPlugin
//! ```
//!
//! The host process ends when the descriptor it is asked through is closed, so it never outlives
//! the process that started it.

mod check;
mod frame;
mod hello;
mod image;
mod library;
mod loaded;
mod probe;
mod refusal;
mod remote;
mod report;
mod search;
mod serve;

/// Opens a file of the administrator or the current user that nobody else can have written; see
/// the checks of a plugin's file.
pub(crate) fn open_own(path: &std::path::Path) -> Result<std::fs::File, Refusal> {
    check::open(path)
}

pub use loaded::{LoadedPlugin, Plugins, check, load};
pub use refusal::{Reason, Refusal};
pub use remote::PluginHost;
pub use report::{CheckOutcome, CheckReport, PluginReport, PluginState};
pub use search::candidates;
pub use serve::serve;
