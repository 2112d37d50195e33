//! Being asked before system calls of other processes are carried out (seccomp user notification).
//!
//! ```text
//! parent: Program::mutations()          the filter, made before the fork
//! child:  Program::install()            between fork and exec; async-signal-safe
//!         hand_over(listener)           to whoever answers; async-signal-safe
//! answerer: Listener::receive() -> Call -> Listener::go_on(id)
//! ```
//!
//! The filter is inherited by everything that the process starts, for good. When the last descriptor
//! of its listener is closed, the calls that it asks about fail with `ENOSYS`; so whoever answers must
//! live as long as any process under the filter, which [`Listener::is_deserted`] tells.

mod filter;
mod handover;
mod listener;
mod memory;
mod numbers;
mod process;

pub(crate) use filter::Program;
pub(crate) use handover::{hand_over, receive_descriptor, send_descriptor};
pub(crate) use listener::{Call, Listener};
pub(crate) use memory::{read_bytes, read_c_string};
pub(crate) use numbers::{Asked, asked};
pub(crate) use process::{
    Copied, SharedSlot, copy_process, detach, end_of, handle_of, let_go_of_descriptors,
    take_descriptor, try_out,
};
