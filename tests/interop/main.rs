//! The agent against real Socket.IO servers: Node's `socket.io` and `python-socketio`.

#[path = "../common/mod.rs"]
mod common;

mod backend;
mod example;
mod faults;
mod figures;
mod half_open;
mod hardships;
mod hostile;
mod lists;
mod load;
mod memory;
mod restarts;
mod security;
mod seed;
mod service;
