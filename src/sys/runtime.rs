//! Runtimes of tokio.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// A runtime of the thread that uses it, for descriptors, signals and time.
///
/// With the first one tokio makes a pair of sockets for signals, and panics where it gets none. So one is
/// made here before, which fails with an error.
pub(crate) fn runtime() -> io::Result<Runtime> {
    #[cfg(unix)]
    drop(std::os::unix::net::UnixStream::pair()?);
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}
