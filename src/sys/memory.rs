//! Memory that was freed but not given back.

/// Gives freed memory back to the system, where the allocator keeps it. Takes some milliseconds: for
/// after something that needed far more than usual.
pub(crate) fn give_back() {
    // SAFETY: it takes no pointers, and the allocator locks what it works on.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
