//! Runs the program under `ptrace` and lets one of its system calls go wrong.
//!
//! Calls are counted by one counter for all threads of the process, so that a number names one
//! call of the whole program. Counting begins when the program's `main` is about to: what the
//! dynamic loader does is no work of the program. Processes that execute something else (the
//! shell) are let go.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libc::{c_int, c_void, pid_t};

use crate::calls::{Call, FAULTS, Fault};

/// Nothing of what is tested takes nearly this long, not on a disk that others keep busy either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Whose calls count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The process that was started, with its threads.
    Agent,
    /// Processes that it forked, as long as they execute nothing else.
    Child,
}

/// Which call goes wrong, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Injection {
    pub(crate) role: Role,
    pub(crate) fault: Fault,
    /// The first call of those that the fault can happen to is number 1.
    pub(crate) at: usize,
    /// Only calls count that have all of these in their description, which begins with the call's
    /// name and has the paths of its descriptor and argument.
    pub(crate) on: &'static [&'static str],
}

/// How it went.
pub(crate) struct Traced {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The call that went wrong, in words; `None` when the program made fewer calls.
    pub(crate) hit: Option<String>,
    /// It did not end by itself.
    pub(crate) hung: bool,
    /// How often each fault could have happened.
    pub(crate) chances: HashMap<(Role, Fault), usize>,
}

/// Whether programs can be traced here.
pub(crate) fn is_possible() -> bool {
    run(Command::new("true"), None).is_ok()
}

/// Runs `command` to its end, with everything it forks, and lets one call go wrong.
pub(crate) fn run(mut command: Command, injection: Option<Injection>) -> io::Result<Traced> {
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(out.try_clone()?))
        .stderr(Stdio::from(err.try_clone()?));
    // SAFETY: the closure makes one system call, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| request(libc::PTRACE_TRACEME, 0, 0, 0));
    }
    let child = command.spawn()?;
    let mut tracer = Tracer {
        root: child.id() as pid_t,
        injection,
        tasks: HashMap::new(),
        main_begun: false,
        counted: 0,
        status: None,
        hit: None,
        killed: false,
        chances: HashMap::new(),
        processes: Arc::default(),
    };
    let hung = tracer.follow()?;
    let status = tracer.status.ok_or_else(|| io::Error::other("no status"))?;
    Ok(Traced {
        status,
        stdout: read_all(&out)?,
        stderr: read_all(&err)?,
        hit: tracer.hit,
        hung,
        chances: tracer.chances,
    })
}

fn read_all(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One thread that is traced.
#[derive(Default)]
struct Task {
    process: pid_t,
    in_call: bool,
    /// What is to be done when the call returns.
    pending: Option<Pending>,
}

enum Pending {
    /// The call was not made: give it this error.
    Fail(c_int),
    /// Give the program its argument back.
    Restore { length: usize, value: u64 },
}

struct Tracer {
    root: pid_t,
    injection: Option<Injection>,
    tasks: HashMap<pid_t, Task>,
    main_begun: bool,
    counted: usize,
    status: Option<ExitStatus>,
    hit: Option<String>,
    killed: bool,
    chances: HashMap<(Role, Fault), usize>,
    /// What the watchdog kills.
    processes: Arc<Mutex<BTreeSet<pid_t>>>,
}

impl Tracer {
    /// Follows all of it to the end. Gives whether that had to be forced.
    fn follow(&mut self) -> io::Result<bool> {
        let (done, watch) = mpsc::channel::<()>();
        let processes = Arc::clone(&self.processes);
        let watchdog = std::thread::spawn(move || {
            let mut hung = false;
            while watch.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                hung = true;
                processes
                    .lock()
                    .expect("not poisoned")
                    .iter()
                    .for_each(|p| kill(*p));
            }
            hung
        });
        while let Some((task, status)) = wait()? {
            if libc::WIFSTOPPED(status) {
                match self.stopped(task, status) {
                    // One that was killed meanwhile has nothing more to say.
                    Err(e) if e.raw_os_error() != Some(libc::ESRCH) => return Err(e),
                    _ => {}
                }
                continue;
            }
            self.tasks.remove(&task);
            self.processes.lock().expect("not poisoned").remove(&task);
            if task == self.root {
                self.status = Some(ExitStatus::from_raw(status));
            }
        }
        drop(done);
        watchdog
            .join()
            .map_err(|_| io::Error::other("the watchdog panicked"))
    }

    fn stopped(&mut self, task: pid_t, status: c_int) -> io::Result<()> {
        let signal = libc::WSTOPSIG(status);
        let event = status >> 16;
        if !self.tasks.contains_key(&task) {
            return self.appeared(task);
        }
        if event == libc::PTRACE_EVENT_EXEC {
            self.tasks.remove(&task);
            self.processes.lock().expect("not poisoned").remove(&task);
            return request(libc::PTRACE_DETACH, task, 0, 0);
        }
        if event != 0 {
            return self.resume(task, 0);
        }
        if signal == libc::SIGTRAP | 0x80 {
            self.at_call(task)?;
            return self.resume(task, 0);
        }
        self.resume(task, signal)
    }

    /// The first stop of a task: it was executed, or begun by one that is traced.
    fn appeared(&mut self, task: pid_t) -> io::Result<()> {
        let process = process_of(task);
        self.tasks.insert(
            task,
            Task {
                process,
                ..Task::default()
            },
        );
        self.processes.lock().expect("not poisoned").insert(process);
        if task == self.root {
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            request(libc::PTRACE_SETOPTIONS, task, 0, options as usize)?;
        }
        self.resume(task, 0)
    }

    fn resume(&self, task: pid_t, signal: c_int) -> io::Result<()> {
        // After a kill nothing is of interest but the end of the rest.
        let how = if self.killed {
            libc::PTRACE_CONT
        } else {
            libc::PTRACE_SYSCALL
        };
        request(how, task, 0, signal as usize)
    }

    fn at_call(&mut self, task: pid_t) -> io::Result<()> {
        let Some(state) = self.tasks.get_mut(&task) else {
            return Ok(());
        };
        state.in_call = !state.in_call;
        let process = state.process;
        if state.in_call {
            return self.entering(task, process);
        }
        match state.pending.take() {
            None => Ok(()),
            Some(Pending::Fail(error)) => {
                let mut registers = registers(task)?;
                registers.rax = i64::from(-error).cast_unsigned();
                set_registers(task, &registers)
            }
            Some(Pending::Restore { length, value }) => {
                let mut registers = registers(task)?;
                *argument(&mut registers, length) = value;
                set_registers(task, &registers)
            }
        }
    }

    fn entering(&mut self, task: pid_t, process: pid_t) -> io::Result<()> {
        let mut registers = registers(task)?;
        let number = registers.orig_rax.cast_signed();
        // The runtime gives the main thread its signal stack right before `main`.
        self.main_begun |= number == libc::SYS_sigaltstack;
        if !self.main_begun || self.killed {
            return Ok(());
        }
        let arguments = [0, 1, 2, 3, 4, 5].map(|at| *argument(&mut registers, at));
        let call = Call::new(
            number,
            &arguments,
            |name| open_flags(task, name, &arguments),
            |fd| is_on_file(task, fd),
        );
        let Some(call) = call else { return Ok(()) };
        let role = if process == self.root {
            Role::Agent
        } else {
            Role::Child
        };
        self.count(role, &call);
        let Some(injection) = self.injection else {
            return Ok(());
        };
        if injection.role != role || !call.can_meet(injection.fault) {
            return Ok(());
        }
        if !injection.on.is_empty() {
            let described = describe(task, &call, &arguments);
            if !injection.on.iter().all(|part| described.contains(part)) {
                return Ok(());
            }
        }
        self.counted += 1;
        let again = matches!(injection.fault, Fault::FromThenOn(_)) && self.counted > injection.at;
        if self.counted != injection.at && !again {
            return Ok(());
        }
        if !again {
            self.hit = Some(describe(task, &call, &arguments));
        }
        self.inject(task, process, injection.fault, &call, &mut registers)
    }

    fn count(&mut self, role: Role, call: &Call) {
        for fault in FAULTS.into_iter().chain([Fault::Kill]) {
            if call.can_meet(fault) {
                *self.chances.entry((role, fault)).or_default() += 1;
            }
        }
    }

    fn inject(
        &mut self,
        task: pid_t,
        process: pid_t,
        fault: Fault,
        call: &Call,
        registers: &mut libc::user_regs_struct,
    ) -> io::Result<()> {
        let pending = match fault {
            Fault::Kill => {
                self.killed = true;
                kill(process);
                return Ok(());
            }
            Fault::Once(error) | Fault::FromThenOn(error) => {
                registers.orig_rax = u64::MAX;
                Pending::Fail(error)
            }
            Fault::Short => {
                let length = call.kind.length.unwrap_or_default();
                let value = *argument(registers, length);
                *argument(registers, length) = if value > 1 { value / 2 } else { value };
                Pending::Restore { length, value }
            }
        };
        set_registers(task, registers)?;
        if let Some(state) = self.tasks.get_mut(&task) {
            state.pending = Some(pending);
        }
        Ok(())
    }
}

fn process_of(task: pid_t) -> pid_t {
    let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|id| id.trim().parse().ok()).unwrap_or(task)
}

fn is_on_file(task: pid_t, fd: u64) -> bool {
    let target = fs::read_link(format!("/proc/{task}/fd/{fd}")).unwrap_or_default();
    target.is_absolute() && !target.starts_with("/dev") || target.starts_with("/dev/shm")
}

fn open_flags(task: pid_t, name: &str, arguments: &[u64; 6]) -> u64 {
    match name {
        "open" => arguments[1],
        "openat" => arguments[2],
        _ => {
            let mut flags = [0; 8];
            let memory = File::open(format!("/proc/{task}/mem"));
            let read = memory.and_then(|memory| memory.read_exact_at(&mut flags, arguments[2]));
            if read.is_ok() {
                u64::from_ne_bytes(flags)
            } else {
                0
            }
        }
    }
}

/// A call in words, with its descriptor and its path.
fn describe(task: pid_t, call: &Call, arguments: &[u64; 6]) -> String {
    let text = |address: u64| {
        let mut bytes = [0; 256];
        let memory = File::open(format!("/proc/{task}/mem")).ok()?;
        let length = memory.read_at(&mut bytes, address).ok()?;
        let end = bytes[..length].iter().position(|b| *b == 0)?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let fd = |fd: u64| fs::read_link(format!("/proc/{task}/fd/{}", fd as u32)).ok();
    let (descriptor, path) = call.names();
    let on = descriptor.and_then(|at| fd(arguments[at]));
    let on = on.map_or(String::new(), |path| path.display().to_string());
    let path = path.and_then(|at| text(arguments[at])).unwrap_or_default();
    format!("{}({on} {path:?})", call.kind.name)
}

fn argument(registers: &mut libc::user_regs_struct, at: usize) -> &mut u64 {
    match at {
        0 => &mut registers.rdi,
        1 => &mut registers.rsi,
        2 => &mut registers.rdx,
        3 => &mut registers.r10,
        4 => &mut registers.r8,
        _ => &mut registers.r9,
    }
}

fn registers(task: pid_t) -> io::Result<libc::user_regs_struct> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::uninit();
    let address = registers.as_mut_ptr() as usize;
    request(libc::PTRACE_GETREGS, task, 0, address)?;
    // SAFETY: the request succeeded, so the kernel has filled all of it.
    Ok(unsafe { registers.assume_init() })
}

fn set_registers(task: pid_t, registers: &libc::user_regs_struct) -> io::Result<()> {
    request(
        libc::PTRACE_SETREGS,
        task,
        0,
        std::ptr::from_ref(registers) as usize,
    )
}

fn request(what: libc::c_uint, task: pid_t, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the only requests that use `data` as an address are those of `registers` and
    // `set_registers`, which pass that of a live value of the right type.
    let result = unsafe { libc::ptrace(what, task, address as *mut c_void, data as *mut c_void) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The next change of a task that this thread traces; `None` when there is none left.
fn wait() -> io::Result<Option<(pid_t, c_int)>> {
    let mut status = 0;
    loop {
        // Only this thread's own: other tests wait for theirs.
        // SAFETY: `status` is live for the call.
        let task = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        if task > 0 {
            return Ok(Some((task, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

fn kill(process: pid_t) {
    // SAFETY: it has no preconditions; a process that is gone gives an error that means just that.
    unsafe { libc::kill(process, libc::SIGKILL) };
}
