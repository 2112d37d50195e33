//! The side that is asked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of `linux/seccomp.h`: whoever waits is woken on the same
/// processor, which saves most of the time that an answer takes.
const SYNC_WAKE_UP: u64 = 1;

/// Where a call that is asked about is written by the kernel. Two processes can share one: what one
/// of them received and did not answer, because it was killed, the other finds here.
#[repr(C)]
pub(crate) struct Slot(libc::seccomp_notif);

/// One call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// What the answer names it by.
    pub(crate) id: u64,
    /// The thread that waits, as this process sees it.
    pub(crate) thread: u32,
    /// The call's number.
    pub(crate) number: i32,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

impl Slot {
    /// The call that was received here and not yet cleared.
    pub(crate) fn pending(&self) -> Option<Call> {
        (self.0.id != 0).then_some(Call {
            id: self.0.id,
            thread: self.0.pid,
            number: self.0.data.nr,
            arguments: self.0.data.args,
        })
    }

    /// Forgets what was received. The kernel wants the place empty.
    pub(crate) fn clear(&mut self) {
        // SAFETY: all zeros is a valid value of this structure of numbers. It is written as it stands
        // here, because another process may look at any time.
        unsafe { std::ptr::write_volatile(&raw mut self.0, std::mem::zeroed()) };
    }
}

/// Receives calls and answers them. Several processes may hold the same one.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl From<OwnedFd> for Listener {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Asks for the quick way of waking whoever waits. Older kernels have none, which is fine.
    pub(crate) fn wake_quickly(&self) {
        // SAFETY: the argument of this request is a number, not an address.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            );
        }
    }

    /// Takes the next call into `slot`, which is empty. `None`: whoever asked is gone.
    ///
    /// Blocks unless the descriptor was reported to be readable.
    pub(crate) fn receive(&self, slot: &mut Slot) -> io::Result<Option<Call>> {
        // SAFETY: the kernel writes one such structure, or nothing.
        let received = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut slot.0,
            )
        };
        if received == 0 {
            return Ok(slot.pending());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }

    /// Whether whoever asked still waits: what was read of it before is then of that process.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one number.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const id,
            ) == 0
        }
    }

    /// Lets the call be carried out. That whoever asked is gone is no error.
    pub(crate) fn go_on(&self, id: u64) -> io::Result<()> {
        let mut answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        loop {
            // SAFETY: the kernel reads one such structure.
            let sent = unsafe {
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_SEND,
                    &raw mut answer,
                )
            };
            if sent == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT) => return Ok(()),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }

    /// Whether no process is under the filter any more, so that nothing will be asked again.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut watched = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure is given, and lives for the call.
        let ready = unsafe { libc::poll(&raw mut watched, 1, 0) };
        ready > 0 && watched.revents & libc::POLLHUP != 0
    }
}
