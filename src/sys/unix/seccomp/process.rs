//! Processes that stand in for each other.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use super::filter::Program;
use super::listener::Slot;

/// Which of the two processes this is after [`copy_process`].
pub(crate) enum Copied {
    /// The one that was there; the copy has this number.
    Original(u32),
    /// The copy.
    Copy,
}

/// Copies this process. It must have no other thread: the copy goes on as if nothing had happened,
/// with everything that the original has open.
pub(crate) fn copy_process() -> io::Result<Copied> {
    debug_assert!(
        std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1),
        "another thread may hold a lock that the copy needs"
    );
    // SAFETY: there is no other thread, so the copy can do what the original can.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Copied::Copy),
        process => Ok(Copied::Original(process as u32)),
    }
}

/// Closes everything that this process has open but its standard streams. For a copy that shares
/// nothing with its original and never returns: what owns the descriptors must not be used again.
pub(crate) fn let_go_of_descriptors() {
    // SAFETY: the call takes numbers only; nobody uses the descriptors afterwards.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// Leaves the terminal and the process group of whoever started this process, so that signals for
/// them do not reach it.
pub(crate) fn detach() {
    // SAFETY: these calls touch no memory of this process.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // Copies that end are of no interest.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
}

/// Whether calls of processes that this one starts can be asked about, tried out in one that ends at
/// once; else why not.
pub(crate) fn try_out() -> Result<(), String> {
    let program = Program::mutations().ok_or("calls cannot be intercepted on this architecture")?;
    // SAFETY: the child allocates nothing and never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = match program.install() {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        crate::sys::process_unix::exit_now(code);
    }
    let status = rustix::process::Pid::from_raw(child)
        .filter(|_| child > 0)
        .and_then(|child| {
            let options = rustix::process::WaitOptions::empty();
            rustix::process::waitpid(Some(child), options)
                .ok()
                .flatten()
        })
        .and_then(|(_, status)| status.exit_status());
    match status {
        Some(0) => may_read(),
        Some(libc::EBUSY) => {
            Err("another program intercepts the calls of this process, and only one can".into())
        }
        Some(code) => Err(format!(
            "the system does not intercept calls: {}",
            io::Error::from_raw_os_error(code)
        )),
        None => Err(format!(
            "a process to try it in could not be made: {}",
            io::Error::last_os_error()
        )),
    }
}

/// Whether the memory of processes that are no descendants may be read.
fn may_read() -> Result<(), String> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if matches!(scope.trim(), "" | "0") || crate::sys::is_root() {
        return Ok(());
    }
    Err(format!(
        "kernel.yama.ptrace_scope is {}: without the administrator's rights the arguments of calls \
         cannot be read",
        scope.trim()
    ))
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn end_of(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only, and makes a descriptor for the caller.
    unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, process as libc::pid_t, 0);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor as i32))
    }
}

/// A handle of a thread, which never stands for another one.
pub(crate) fn handle_of(thread: u32) -> io::Result<OwnedFd> {
    /// `PIDFD_THREAD` of `linux/pidfd.h`; before Linux 6.9 only the first thread of a process has one.
    const ANY_THREAD: libc::c_int = libc::O_EXCL;
    let open = |flags: libc::c_int| {
        // SAFETY: the call takes numbers only, and makes a descriptor for the caller.
        unsafe {
            let handle = libc::syscall(libc::SYS_pidfd_open, thread as libc::pid_t, flags);
            if handle < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(OwnedFd::from_raw_fd(handle as i32))
        }
    };
    match open(ANY_THREAD) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
        other => other,
    }
}

/// What the thread's descriptor of this number is open for, by a descriptor of this process.
pub(crate) fn take_descriptor(handle: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only, and makes a descriptor for the caller.
    unsafe {
        let taken = libc::syscall(libc::SYS_pidfd_getfd, handle.as_raw_fd(), number, 0);
        if taken < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(taken as i32))
    }
}

/// A [`Slot`] that this process and its copies have in common.
pub(crate) struct SharedSlot(*mut Slot);

impl SharedSlot {
    /// An empty one. It lasts as long as a process has it.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a new mapping overlaps nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Slot>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(page.cast()))
    }

    /// The slot. Only one of the processes uses it at a time: another one takes over when it is gone.
    pub(crate) fn get(&mut self) -> &mut Slot {
        // SAFETY: the mapping is as large as a slot, aligned to a page, never unmapped, and all zeros
        // or what the kernel wrote, which are valid values.
        unsafe { &mut *self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let end = end_of(child.id()).unwrap();
        child.kill().unwrap();
        let mut watched = [rustix::event::PollFd::new(
            &end,
            rustix::event::PollFlags::IN,
        )];
        assert_eq!(rustix::event::poll(&mut watched, None).unwrap(), 1);
        child.wait().unwrap();
    }
}
