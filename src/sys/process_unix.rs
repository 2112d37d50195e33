//! Starts a program under a supervisor process.
//!
//! ```text
//! this process ── fork ──> supervisor ── fork ──> program
//! ```
//!
//! The supervisor is a copy of this process that never executes anything else. It is a *child
//! subreaper*: every process that the program leaves behind, however it detached itself, becomes
//! its child, so that the whole tree can be found and ended. Between `fork` and `exec`, and for
//! the whole life of the supervisor, only async-signal-safe calls are allowed: another thread may
//! have held the allocator's lock at the moment of the fork.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::Pid;

/// What is to be started, with everything allocated before the fork.
pub(crate) struct Launch<'a> {
    /// Absolute path of the program.
    pub(crate) program: &'a CStr,
    /// Its argument vector, beginning with its name.
    pub(crate) arguments: &'a [CString],
    /// Its whole environment, as `NAME=value`.
    pub(crate) environment: &'a [CString],
    /// The directory it starts in.
    pub(crate) directory: &'a CStr,
    /// Its standard input, output and error. It gets no other descriptor.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// The supervisor's end of its channel. The supervisor gets no other descriptor.
    pub(crate) channel: BorrowedFd<'a>,
    /// Handed to `supervise`.
    pub(crate) grace: Duration,
    /// What the supervisor does; it must allocate nothing and never return.
    pub(crate) supervise: fn(Supervision) -> !,
    /// What the program is put under last before it is executed.
    pub(crate) restraint: Option<&'a dyn Restraint>,
}

/// Something that a process takes on between `fork` and `exec`, and keeps.
pub(crate) trait Restraint {
    /// Takes it on, in the new process. Allocates nothing, takes no lock and leaves no descriptor open
    /// that `exec` would not close.
    fn take_on(&self) -> io::Result<()>;
}

/// What the supervisor has to work with.
pub(crate) struct Supervision {
    /// Its end of the channel.
    pub(crate) channel: OwnedFd,
    /// Becomes readable when a child changed its state.
    pub(crate) child_events: OwnedFd,
    /// The program.
    pub(crate) program: Pid,
    /// From [`Launch::grace`].
    pub(crate) grace: Duration,
}

/// A program that runs under its supervisor.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The supervisor, a child of this process that must be waited for.
    pub(crate) supervisor: Pid,
    /// The program, a child of the supervisor.
    pub(crate) program: Pid,
}

/// What was being done when a launch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaunchStep {
    /// Creating the processes.
    Fork,
    /// Giving the program its descriptors.
    Descriptors,
    /// Entering the directory.
    Directory,
    /// Taking the restraint on.
    Restrain,
    /// Executing the program.
    Execute,
}

/// Why a launch failed.
#[derive(Debug)]
pub(crate) struct LaunchError {
    /// At which step.
    pub(crate) step: LaunchStep,
    /// What the system said.
    pub(crate) source: io::Error,
}

impl LaunchError {
    fn last(step: LaunchStep) -> Self {
        let source = io::Error::last_os_error();
        Self { step, source }
    }
}

/// One report of the launching children: a tag and a number, small enough for an atomic write.
const REPORT_BYTES: usize = 5;
const TAG_PROGRAM: u8 = b'p';
const TAG_FORK: u8 = b'f';
const TAG_DESCRIPTORS: u8 = b'd';
const TAG_DIRECTORY: u8 = b'c';
const TAG_RESTRAIN: u8 = b'r';
const TAG_EXECUTE: u8 = b'x';

/// The lowest number that a descriptor is moved to before it is put into its place, so that no
/// move overwrites one that is still needed.
const PARKING: RawFd = 10;

/// Starts `launch.program` under a supervisor. Returns when the program was executed.
pub(crate) fn launch(launch: &Launch<'_>) -> Result<Launched, LaunchError> {
    let argv = pointers(launch.arguments);
    let envp = pointers(launch.environment);
    let (reader, writer) = io::pipe().map_err(|source| LaunchError {
        step: LaunchStep::Fork,
        source,
    })?;
    let prepared = Prepared {
        launch,
        argv: &argv,
        envp: &envp,
        report: writer.as_raw_fd(),
    };
    let blocked = BlockedSignals::new();
    // SAFETY: the child allocates nothing and never returns: `become_supervisor` diverges and a
    // panic in it ends in `ExitOnUnwind`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let _guard = ExitOnUnwind;
        prepared.become_supervisor();
    }
    drop(blocked);
    drop(writer);
    let Some(supervisor) = child_of(pid) else {
        return Err(LaunchError::last(LaunchStep::Fork));
    };
    match read_reports(reader) {
        Ok(program) => Ok(Launched {
            supervisor,
            program,
        }),
        Err(error) => {
            // Its tree is empty, so it ends as soon as the caller closes the channel; it cannot be
            // told to from here, and it holds nothing that is worth a polite end.
            let _ = rustix::process::kill_process(supervisor, rustix::process::Signal::KILL);
            wait_for(supervisor);
            Err(error)
        }
    }
}

/// The child that `fork` gave; `None` where it failed.
fn child_of(pid: libc::pid_t) -> Option<Pid> {
    if pid > 0 { Pid::from_raw(pid) } else { None }
}

/// Waits until `child` has ended. Not being able to wait (somebody else did) is no failure.
pub(crate) fn wait_for(child: Pid) {
    let options = rustix::process::WaitOptions::empty();
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(child), options) {}
}

/// Ends this process at once, without running anything that was registered for its end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Reads the children's reports until both have closed their end, the program by being executed.
fn read_reports(mut reader: io::PipeReader) -> Result<Pid, LaunchError> {
    let mut reports = Vec::new();
    io::Read::read_to_end(&mut reader, &mut reports).map_err(|source| LaunchError {
        step: LaunchStep::Fork,
        source,
    })?;
    let mut program = None;
    for report in reports.chunks_exact(REPORT_BYTES) {
        let [tag, number @ ..] = report else { continue };
        let number = i32::from_le_bytes(number.try_into().unwrap_or_default());
        let step = match *tag {
            TAG_PROGRAM => {
                program = Pid::from_raw(number);
                continue;
            }
            TAG_DESCRIPTORS => LaunchStep::Descriptors,
            TAG_DIRECTORY => LaunchStep::Directory,
            TAG_RESTRAIN => LaunchStep::Restrain,
            TAG_EXECUTE => LaunchStep::Execute,
            _ => LaunchStep::Fork,
        };
        let source = io::Error::from_raw_os_error(number);
        return Err(LaunchError { step, source });
    }
    program.ok_or_else(|| LaunchError {
        step: LaunchStep::Fork,
        source: io::Error::other("the supervisor ended before it started the program"),
    })
}

/// Ends the process when a panic unwinds through it: the parent's code must not run in the child.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit_now(70);
    }
}

/// Holds all signals back, so that no handler of this process runs in a child that shares its
/// descriptors. Dropping it restores the thread's mask.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        let mut all = empty_signal_set();
        let mut before = empty_signal_set();
        // SAFETY: both sets are initialised and live for the calls.
        unsafe {
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        }
        Self(before)
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the system gave when the signals were blocked.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

fn empty_signal_set() -> libc::sigset_t {
    // SAFETY: an all-zero `sigset_t` is a valid value, which `sigemptyset` then initialises.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    }
}

/// What the children need, allocated by the parent.
struct Prepared<'a> {
    launch: &'a Launch<'a>,
    argv: &'a [*const libc::c_char],
    envp: &'a [*const libc::c_char],
    report: RawFd,
}

impl Prepared<'_> {
    /// The life of the first child.
    fn become_supervisor(&self) -> ! {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        // A parent that ignores SIGCHLD would make the exit statuses vanish.
        set_signal_action(libc::SIGCHLD, libc::SIG_DFL);
        // SAFETY: the child allocates nothing and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            self.become_program();
        }
        let Some(program) = child_of(pid) else {
            self.report(TAG_FORK, last_errno());
            exit_now(71)
        };
        self.report(TAG_PROGRAM, pid);
        let _ = rustix::process::chdir(c"/");
        let mut child = empty_signal_set();
        // SAFETY: the set is initialised; the name is a NUL-terminated literal.
        let events = unsafe {
            libc::prctl(libc::PR_SET_NAME, c"deployx-super".as_ptr());
            libc::sigaddset(&raw mut child, libc::SIGCHLD);
            libc::signalfd(-1, &raw const child, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if events < 0 {
            self.report(TAG_DESCRIPTORS, last_errno());
            exit_now(71);
        }
        let channel = self.launch.channel.as_raw_fd();
        close_all_but(channel.min(events), channel.max(events));
        // SAFETY: both descriptors are open in this process and have no other owner here: this
        // copy of the parent never returns to the code that owns the originals.
        let (channel, child_events) =
            unsafe { (OwnedFd::from_raw_fd(channel), OwnedFd::from_raw_fd(events)) };
        (self.launch.supervise)(Supervision {
            channel,
            child_events,
            program,
            grace: self.launch.grace,
        })
    }

    /// The life of the second child until it is another program.
    fn become_program(&self) -> ! {
        let mut report = self.report;
        if let Err(errno) = place_descriptors(&self.launch.stdio, &mut report) {
            write_report(report, TAG_DESCRIPTORS, errno);
            exit_now(126);
        }
        if let Err(errno) = rustix::process::chdir(self.launch.directory) {
            write_report(report, TAG_DIRECTORY, errno.raw_os_error());
            exit_now(126);
        }
        reset_signals();
        if let Some(Err(error)) = self.launch.restraint.map(Restraint::take_on) {
            write_report(report, TAG_RESTRAIN, error.raw_os_error().unwrap_or(0));
            exit_now(126);
        }
        // SAFETY: program, arguments and environment are NUL-terminated strings in arrays that end
        // with a null pointer; the parent made them before the fork and this copy keeps them.
        unsafe {
            libc::execve(
                self.launch.program.as_ptr(),
                self.argv.as_ptr(),
                self.envp.as_ptr(),
            );
        }
        write_report(report, TAG_EXECUTE, last_errno());
        exit_now(127)
    }

    fn report(&self, tag: u8, number: i32) {
        write_report(self.report, tag, number);
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn write_report(descriptor: RawFd, tag: u8, number: i32) {
    let [a, b, c, d] = number.to_le_bytes();
    let report: [u8; REPORT_BYTES] = [tag, a, b, c, d];
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::write(descriptor, report.as_ptr().cast(), report.len()) };
}

/// Puts `stdio` at 0, 1 and 2 and marks everything else to be closed by `exec`. `report` is moved
/// out of the way.
fn place_descriptors(stdio: &[BorrowedFd<'_>; 3], report: &mut RawFd) -> Result<(), i32> {
    let park = |descriptor: RawFd| {
        // SAFETY: `fcntl` with an integer argument touches no memory.
        match unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, PARKING) } {
            -1 => Err(last_errno()),
            parked => Ok(parked),
        }
    };
    *report = park(*report)?;
    let [input, output, error] = stdio;
    let parked = [
        park(input.as_raw_fd())?,
        park(output.as_raw_fd())?,
        park(error.as_raw_fd())?,
    ];
    for (place, descriptor) in (0..).zip(parked) {
        // SAFETY: `dup2` touches no memory.
        if unsafe { libc::dup2(descriptor, place) } < 0 {
            return Err(last_errno());
        }
    }
    close_on_exec_from(3);
    Ok(())
}

/// `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> bool {
    // SAFETY: the call takes integers only; which descriptors are closed is the caller's business.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
}

/// For kernels without `close_range`: how far descriptors are looked at one by one.
fn descriptor_limit() -> RawFd {
    // SAFETY: `sysconf` has no preconditions.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    limit.clamp(256, 1 << 20) as RawFd
}

fn close_on_exec_from(first: RawFd) {
    if close_range(first, RawFd::MAX, CLOSE_RANGE_CLOEXEC) {
        return;
    }
    for descriptor in first..descriptor_limit() {
        // SAFETY: `fcntl` with an integer argument touches no memory.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Closes every descriptor but `low` and `high`.
fn close_all_but(low: RawFd, high: RawFd) {
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)] {
        if first > last || close_range(first, last, 0) {
            continue;
        }
        for descriptor in first..=last.min(descriptor_limit()) {
            // SAFETY: this copy of the parent never uses the descriptors that it closes.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Gives handled signals (and SIGPIPE, which the Rust runtime ignores) their default action, leaves
/// ignored ones ignored, and lets all of them through.
fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: the structure is written by the call before it is read.
        let handled = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN
        };
        if handled || signal == libc::SIGPIPE {
            set_signal_action(signal, libc::SIG_DFL);
        }
    }
    let none = empty_signal_set();
    // SAFETY: the set is initialised.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

fn set_signal_action(signal: libc::c_int, action: libc::sighandler_t) {
    // SAFETY: the structure is fully initialised and `action` is one of the system's constants.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        libc::sigaction(signal, &raw const new, std::ptr::null_mut());
    }
}
