//! Running programs and measuring them from outside: wall clock and peak memory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// How much of a failed program's complaint is shown, in bytes.
const COMPLAINT: usize = 2_000;

/// One run of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// From before it was started until it was reaped.
    pub(crate) seconds: f64,
    /// The largest resident set of the program or of any child it waited for, in bytes. The kernel
    /// starts counting at what this benchmark itself occupies, a few megabytes.
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its end; its output is thrown away.
///
/// # Errors
/// When it cannot be started or does not end with status 0.
pub(crate) fn measure(command: &mut Command) -> Result<Sample> {
    let mut complaint = tempfile::tempfile().context("cannot make a temporary file")?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaint.try_clone()?);
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    // The child is reaped here, so it must not be waited for through `Child`.
    let (status, peak_bytes) = reap(child.id())?;
    let seconds = start.elapsed().as_secs_f64();
    if status != 0 {
        let said = tail(&mut complaint)?;
        bail!("{command:?} ended with wait status {status:#x}: {said}");
    }
    Ok(Sample {
        seconds,
        peak_bytes,
    })
}

/// Runs `command` as [`measure`] does where only its success matters.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    measure(command).map(drop)
}

/// What `command` prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{command:?} failed: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Waits for the child and gives its wait status and its peak memory in bytes.
fn reap(pid: u32) -> io::Result<(i32, u64)> {
    let mut status = 0;
    loop {
        // SAFETY: `rusage` is a plain C structure of integers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live, writable values of the types that wait4 fills.
        let reaped = unsafe { libc::wait4(pid as libc::pid_t, &raw mut status, 0, &raw mut usage) };
        if reaped >= 0 {
            return Ok((status, usage.ru_maxrss as u64 * 1024));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn tail(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let from = bytes.len().saturating_sub(COMPLAINT);
    Ok(String::from_utf8_lossy(&bytes[from..]).trim().to_owned())
}
