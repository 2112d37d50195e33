//! Lets a test fail the syncs of its own thread.

use std::cell::Cell;
use std::io;

thread_local! {
    static FAIL_AT: Cell<Option<u32>> = const { Cell::new(None) };
    static SYNCS: Cell<u32> = const { Cell::new(0) };
}

/// Makes the `n`th sync from now on fail once (0: the next one).
pub(crate) fn fail_sync(n: u32) {
    FAIL_AT.set(Some(n));
}

/// Syncs of this thread since it last asked.
pub(crate) fn take_syncs() -> u32 {
    SYNCS.replace(0)
}

pub(super) fn next() -> io::Result<()> {
    SYNCS.set(SYNCS.get() + 1);
    match FAIL_AT.get() {
        Some(0) => {
            FAIL_AT.set(None);
            Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ))
        }
        Some(n) => {
            FAIL_AT.set(Some(n - 1));
            Ok(())
        }
        None => Ok(()),
    }
}
