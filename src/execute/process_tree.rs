//! Finds the descendants of a process in `/proc`.
//!
//! Used by the supervisor too, which must not allocate: nothing here does, but [`survivors`].

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Result;
use rustix::process::{Pid, Signal};

/// How many processes one look finds at most. Whoever ends a tree looks until none is left.
const MOST: usize = 4096;

/// One line of the process table.
struct Process {
    pid: i32,
    parent: i32,
    zombie: bool,
}

/// The descendants of a process at one moment, parents before their children.
struct Descendants {
    pids: [i32; MOST],
    len: usize,
}

impl Descendants {
    /// Looks for the living descendants of `root`. Zombies count as links between their parents
    /// and children only while they exist, so they are left out.
    fn of(root: Pid) -> Result<Self> {
        let mut found = Self {
            pids: [0; MOST],
            len: 0,
        };
        let root = root.as_raw_nonzero().get();
        // A child may be listed before its parent: look again until nothing new is found.
        loop {
            let before = found.len;
            for_each_process(|process| {
                let known = found.as_slice();
                let related = process.parent == root || known.contains(&process.parent);
                if related && !process.zombie && !known.contains(&process.pid) {
                    found.push(process.pid);
                }
            })?;
            if found.len == before {
                return Ok(found);
            }
        }
    }

    fn as_slice(&self) -> &[i32] {
        self.pids.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, pid: i32) {
        if let Some(slot) = self.pids.get_mut(self.len) {
            *slot = pid;
            self.len += 1;
        }
    }
}

/// Sends `signal` to every descendant of `root`, and lets stopped ones go on so that they can take
/// it. Errors (it just ended, it belongs to another user) are not reported: who wants to know
/// looks whether anything is left.
pub(super) fn signal_descendants(root: Pid, signal: Signal) {
    let Ok(descendants) = Descendants::of(root) else {
        return;
    };
    for pid in descendants.as_slice() {
        let Some(pid) = Pid::from_raw(*pid) else {
            continue;
        };
        let _ = rustix::process::kill_process(pid, signal);
        if signal != Signal::KILL {
            let _ = rustix::process::kill_process(pid, Signal::CONT);
        }
    }
}

/// The descendants of `root` without `except`. Empty where the process table cannot be read.
pub(super) fn survivors(root: Pid, except: Option<Pid>) -> Vec<u32> {
    let except = except.map_or(0, |pid| pid.as_raw_nonzero().get());
    if has_only_child(root, except) {
        return Vec::new();
    }
    let Ok(descendants) = Descendants::of(root) else {
        return Vec::new();
    };
    descendants
        .as_slice()
        .iter()
        .filter(|pid| **pid != except)
        .map(|pid| pid.cast_unsigned())
        .collect()
}

/// Whether `root` has no child but `only`, which has none itself. A look at two small files that
/// saves reading the whole process table after every command; `false` where they do not exist.
fn has_only_child(root: Pid, only: i32) -> bool {
    let children = |pid: i32| {
        let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        tasks.try_fold(String::new(), |mut all, task| {
            all += &std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
            Some(all)
        })
    };
    let own = children(root.as_raw_nonzero().get());
    let own_alone = own.is_some_and(|text| match text.trim_ascii() {
        "" => true,
        pid => pid.parse() == Ok(only),
    });
    own_alone && (only == 0 || children(only).is_some_and(|text| text.trim_ascii().is_empty()))
}

/// Calls `each` for every process of the system.
fn for_each_process(mut each: impl FnMut(&Process)) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut entries = RawDir::new(&proc, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.iter().all(u8::is_ascii_digit)
            && let Some(process) = read_process(proc.as_fd(), name)
        {
            each(&process);
        }
    }
    Ok(())
}

/// Reads one line of the process table; `None` when the process has just gone.
fn read_process(proc: BorrowedFd<'_>, pid: &[u8]) -> Option<Process> {
    let mut path = [0_u8; 32];
    let suffix = b"/stat\0";
    let end = pid.len() + suffix.len();
    path.get_mut(..pid.len())?.copy_from_slice(pid);
    path.get_mut(pid.len()..end)?.copy_from_slice(suffix);
    let path = CStr::from_bytes_with_nul(path.get(..end)?).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, path, flags, Mode::empty()).ok()?;
    let mut line = [0_u8; 512];
    let read = rustix::io::read(&file, &mut line).ok()?;
    let (parent, zombie) = parse_stat(line.get(..read)?)?;
    Some(Process {
        pid: parse_number(pid)?,
        parent,
        zombie,
    })
}

/// Parent and whether it is a zombie, of a line `pid (name) state parent ...`. The name may contain
/// anything, even `)`.
fn parse_stat(line: &[u8]) -> Option<(i32, bool)> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line
        .get(name_end + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let state = fields.next()?;
    let parent = parse_number(fields.next()?)?;
    Some((parent, matches!(state, b"Z" | b"X")))
}

fn parse_number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0_i32, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i32::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse_the_parser() {
        assert_eq!(parse_stat(b"17 (a) Z 1) S 4 17 17 0"), Some((4, false)));
        assert_eq!(parse_stat(b"17 (x) Z 5 1"), Some((5, true)));
        assert_eq!(parse_stat(b"17 (x"), None);
        assert_eq!(parse_stat(b"17 (x) S"), None);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(parse_number(b"4194304"), Some(4_194_304));
        assert_eq!(parse_number(b"99999999999"), None);
        assert_eq!(parse_number(b"-1"), None);
    }

    #[test]
    fn a_child_of_this_process_is_found_as_its_descendant() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep starts");
        let found = survivors(rustix::process::getpid(), None);
        child.kill().expect("sleep can be killed");
        child.wait().expect("sleep can be waited for");
        assert!(found.contains(&child.id()));
    }
}
