//! The filter: a program that the kernel runs at every system call.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::sock_filter;

use super::numbers::{Rule, rules};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// Numbers with this bit are of the x32 interface, which does everything by other numbers.
#[cfg(target_arch = "x86_64")]
const OTHER_INTERFACE: u32 = 0x4000_0000;

/// Where the kernel's description of a call has its number, its architecture and its arguments.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;
const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A filter that can be installed. Making it allocates, installing it does not.
#[derive(Clone)]
pub(crate) struct Program(Vec<sock_filter>);

impl Program {
    /// The filter that asks about every call which can change a file or a name, and makes
    /// `io_uring` and the calls of other architectures seem missing; `None` where this architecture is
    /// not known.
    ///
    /// Calls that it does not ask about whatever their arguments are cost nothing: the kernel
    /// remembers their numbers.
    pub(crate) fn mutations() -> Option<Self> {
        let mut rules = rules();
        rules.sort_unstable_by_key(|(number, _)| *number);
        let mut code = vec![
            step(LOAD, ARCH),
            branch(IF_EQUAL, ARCHITECTURE?, 1, 0),
            step(RETURN, MISSING),
            step(LOAD, NUMBER),
        ];
        #[cfg(target_arch = "x86_64")]
        code.extend([
            branch(IF_AT_LEAST, OTHER_INTERFACE, 0, 1),
            step(RETURN, MISSING),
        ]);
        code.extend(search(&rules));
        Some(Self(code))
    }

    /// Puts this thread under the filter and gives the listener. Where only the administrator may
    /// do so, the thread gives up gaining rights by `exec` (set-uid programs) first.
    ///
    /// Allocates nothing and takes no lock: may be called between `fork` and `exec`.
    pub(crate) fn install(&self) -> io::Result<OwnedFd> {
        match self.install_as_it_is() {
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
                // SAFETY: `prctl` with these arguments touches no memory.
                let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
                if done != 0 {
                    return Err(io::Error::last_os_error());
                }
                self.install_as_it_is()
            }
            other => other,
        }
    }

    fn install_as_it_is(&self) -> io::Result<OwnedFd> {
        let listening = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // Kernels before 5.19 do not know it: then a signal makes a call be asked about again.
        let waiting = listening | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        match self.install_with(waiting) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => self.install_with(listening),
            other => other,
        }
    }

    fn install_with(&self, flags: libc::c_ulong) -> io::Result<OwnedFd> {
        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes the instructions of this value, which the kernel copies.
        let listener = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if listener < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel made this descriptor for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
    }
}

fn step(code: u16, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Looks the number, which was loaded, up in the sorted `rules`.
fn search(rules: &[(u32, Rule)]) -> Vec<sock_filter> {
    match rules {
        [] => vec![step(RETURN, ALLOW)],
        [(number, rule)] => {
            let mut code = vec![branch(IF_EQUAL, *number, 1, 0), step(RETURN, ALLOW)];
            code.extend(apply(*rule));
            code
        }
        _ => {
            let (low, high) = rules.split_at(rules.len() / 2);
            let low_code = search(low);
            // Conditional jumps reach 255 instructions, the other one everywhere.
            let mut code = vec![
                branch(IF_AT_LEAST, high[0].0, 0, 1),
                step(JUMP, low_code.len() as u32),
            ];
            code.extend(low_code);
            code.extend(search(high));
            code
        }
    }
}

fn apply(rule: Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Always => vec![step(RETURN, ASK)],
        Rule::Missing => vec![step(RETURN, MISSING)],
        Rule::AnyBit(argument, bits) => vec![
            load(argument),
            branch(IF_ANY_BIT, bits, 0, 1),
            step(RETURN, ASK),
            step(RETURN, ALLOW),
        ],
        Rule::OneOf(argument, values) => {
            let mut code = vec![load(argument)];
            for value in values {
                code.extend([branch(IF_EQUAL, *value, 0, 1), step(RETURN, ASK)]);
            }
            code.push(step(RETURN, ALLOW));
            code
        }
        Rule::IsWithout((argument, value), (other, bits)) => vec![
            load(argument),
            branch(IF_EQUAL, value, 1, 0),
            step(RETURN, ALLOW),
            load(other),
            branch(IF_ANY_BIT, bits, 1, 0),
            step(RETURN, ASK),
            step(RETURN, ALLOW),
        ],
        Rule::IsWith((argument, value), (other, bits)) => vec![
            load(argument),
            branch(IF_EQUAL, value, 1, 0),
            step(RETURN, ALLOW),
            load(other),
            branch(IF_ANY_BIT, bits, 0, 1),
            step(RETURN, ASK),
            step(RETURN, ALLOW),
        ],
    }
}

/// The lower half of an argument; what is looked at here is an `int` in every case.
fn load(argument: usize) -> sock_filter {
    step(LOAD, ARGUMENTS + 8 * argument as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does and gives what it decides.
    fn decide(program: &Program, number: i64, arguments: [u64; 6]) -> u32 {
        let mut data = [0_u8; 64];
        data[0..4].copy_from_slice(&(number as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&ARCHITECTURE.unwrap_or(0).to_ne_bytes());
        for (at, argument) in arguments.iter().enumerate() {
            data[16 + 8 * at..24 + 8 * at].copy_from_slice(&argument.to_ne_bytes());
        }
        let (mut at, mut held) = (0, 0_u32);
        loop {
            let one = program.0[at];
            at += 1;
            match one.code {
                LOAD => {
                    let from = one.k as usize;
                    held = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                }
                JUMP => at += one.k as usize,
                RETURN => return one.k,
                code => {
                    let holds = match code {
                        IF_EQUAL => held == one.k,
                        IF_AT_LEAST => held >= one.k,
                        IF_ANY_BIT => held & one.k != 0,
                        other => panic!("an instruction {other} that no filter has"),
                    };
                    at += usize::from(if holds { one.jt } else { one.jf });
                }
            }
        }
    }

    #[test]
    fn reading_is_allowed_and_writing_is_asked_about() {
        let program = Program::mutations().unwrap();
        let open = |flags: i32| decide(&program, libc::SYS_openat, [0, 0, flags as u64, 0, 0, 0]);
        assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC), ALLOW);
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC] {
            assert_eq!(open(flags), ASK, "{flags:o}");
        }
        for number in [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_execve,
            libc::SYS_clone,
        ] {
            assert_eq!(decide(&program, number, [0; 6]), ALLOW, "{number}");
        }
    }

    #[test]
    fn every_rule_is_found_and_its_neighbours_are_not() {
        let program = Program::mutations().unwrap();
        let rules = rules();
        for (number, rule) in &rules {
            let found = decide(&program, i64::from(*number), [0; 6]);
            let expected = match rule {
                Rule::Always => ASK,
                Rule::Missing => MISSING,
                _ => ALLOW,
            };
            assert_eq!(found, expected, "{number}");
        }
        for number in 0..600_u32 {
            if rules.iter().all(|(known, _)| *known != number) {
                assert_eq!(decide(&program, i64::from(number), [u64::MAX; 6]), ALLOW);
            }
        }
    }

    #[test]
    fn only_some_arguments_are_asked_about() {
        let program = Program::mutations().unwrap();
        let flags = |arguments| decide(&program, libc::SYS_fcntl, arguments);
        let set = libc::F_SETFL as u64;
        assert_eq!(flags([3, set, libc::O_NONBLOCK as u64, 0, 0, 0]), ASK);
        assert_eq!(flags([3, set, libc::O_APPEND as u64, 0, 0, 0]), ALLOW);
        assert_eq!(flags([3, libc::F_GETFL as u64, 0, 0, 0, 0]), ALLOW);
        let control = |request: u64| decide(&program, libc::SYS_ioctl, [3, request, 0, 0, 0, 0]);
        assert_eq!(control(0x4004_9409), ASK);
        assert_eq!(control(libc::TIOCGWINSZ), ALLOW);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_other_interface_of_the_architecture_seems_missing() {
        let program = Program::mutations().unwrap();
        assert_eq!(decide(&program, 0x4000_0001, [0; 6]), MISSING);
    }
}
