//! The published table of exit codes.
//!
//! Scripts are written against it: a code keeps its meaning for good.

use std::process::ExitCode;

use crate::error::{ErrorKind, Stage};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done (`0`).
    Done,
    /// It failed for a reason that has no code of its own (`1`).
    Failed,
    /// The arguments, the configuration or the request make no sense (`2`).
    Usage,
    /// The snapshot, batch, path or store that was named does not exist (`3`).
    NotFound,
    /// Live entries differ from what the command left; nothing was changed (`4`).
    Conflicts,
    /// Some entries could not be restored; they are listed (`5`).
    Partial,
    /// Another process holds the store or the snapshot (`6`).
    Busy,
    /// Stored data is damaged (`7`).
    Corrupt,
    /// `run`, `batch`: the command reached its time limit (`124`).
    TimedOut,
    /// `run`, `batch`: failed before the command ran (`125`).
    NotStarted,
    /// `run`, `batch`: the command could not be started, or was refused (`126`).
    Refused,
    /// `run`, `batch`: the shell is not on this host (`127`).
    ShellNotFound,
    /// `run`, `batch`: the command's own status; 128 + signal when a signal ended it.
    Command(u8),
}

/// Whose codes apply: a command that was to be run has its own ones from 124 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `run` and `batch`; `required` when the command must not run without its snapshot.
    Running {
        /// `--require-snapshot` is in force.
        required: bool,
    },
    /// Everything else.
    Other,
}

impl Exit {
    /// Every fixed code with its meaning, as `--help` and the manual page print it.
    pub const TABLE: [(Exit, &'static str); 12] = [
        (Exit::Done, "done"),
        (Exit::Failed, "failed"),
        (Exit::Usage, "wrong usage or configuration"),
        (Exit::NotFound, "no such snapshot, batch, path or store"),
        (Exit::Conflicts, "conflicts; nothing was changed"),
        (Exit::Partial, "some entries could not be restored"),
        (Exit::Busy, "the store or a snapshot is in use"),
        (Exit::Corrupt, "stored data is damaged"),
        (Exit::TimedOut, "run, batch: the command timed out"),
        (Exit::NotStarted, "run, batch: failed before it ran"),
        (Exit::Refused, "run, batch: not executable or refused"),
        (Exit::ShellNotFound, "run, batch: shell not found"),
    ];

    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflicts => 4,
            Exit::Partial => 5,
            Exit::Busy => 6,
            Exit::Corrupt => 7,
            Exit::TimedOut => 124,
            Exit::NotStarted => 125,
            Exit::Refused => 126,
            Exit::ShellNotFound => 127,
            Exit::Command(code) => code,
        }
    }

    /// The code for a command's exit status. Statuses that do not fit a byte (Windows has 32-bit
    /// ones) become 255, so that a failure never turns into 0.
    pub fn command(status: i32) -> Self {
        Exit::Command(u8::try_from(status).unwrap_or(u8::MAX))
    }

    /// The code for work that a signal ended, as shells report it.
    pub fn signal(number: i32) -> Self {
        Exit::command(128 + number)
    }

    /// The code for a library error.
    pub fn for_error(kind: ErrorKind, stage: Stage, family: Family) -> Self {
        match family {
            Family::Running { required } => match kind {
                ErrorKind::ShellNotFound => Exit::ShellNotFound,
                ErrorKind::NotExecutable => Exit::Refused,
                _ if required && stage == Stage::Capture => Exit::Refused,
                _ => Exit::NotStarted,
            },
            Family::Other => match kind {
                ErrorKind::InvalidRequest | ErrorKind::Ambiguous => Exit::Usage,
                ErrorKind::NotFound | ErrorKind::ShellNotFound => Exit::NotFound,
                ErrorKind::Conflict => Exit::Conflicts,
                ErrorKind::Busy => Exit::Busy,
                ErrorKind::Corrupt => Exit::Corrupt,
                ErrorKind::NewerFormat
                | ErrorKind::UnsafeStore
                | ErrorKind::PermissionDenied
                | ErrorKind::NoSpace
                | ErrorKind::NotExecutable
                | ErrorKind::Cancelled
                | ErrorKind::Unsupported
                | ErrorKind::Io => Exit::Failed,
            },
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_is_distinct() {
        let mut codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 124, 125, 126, 127]);
    }

    #[test]
    fn a_failed_command_never_looks_successful() {
        assert_eq!(Exit::command(0).code(), 0);
        assert_eq!(Exit::command(3).code(), 3);
        assert_eq!(Exit::command(256).code(), 255);
        assert_eq!(Exit::command(-1).code(), 255);
        assert_eq!(Exit::signal(2).code(), 130);
    }

    #[test]
    fn errors_before_the_command_have_the_codes_of_run() {
        let family = Family::Running { required: false };
        let code = |kind, stage| Exit::for_error(kind, stage, family).code();
        assert_eq!(code(ErrorKind::ShellNotFound, Stage::Execute), 127);
        assert_eq!(code(ErrorKind::NotExecutable, Stage::Execute), 126);
        assert_eq!(code(ErrorKind::Busy, Stage::Store), 125);
        assert_eq!(code(ErrorKind::InvalidRequest, Stage::Request), 125);
        assert_eq!(code(ErrorKind::NoSpace, Stage::Capture), 125);
    }

    #[test]
    fn a_command_without_its_required_snapshot_is_refused() {
        let family = Family::Running { required: true };
        let exit = Exit::for_error(ErrorKind::NoSpace, Stage::Capture, family);
        assert_eq!(exit, Exit::Refused);
        let exit = Exit::for_error(ErrorKind::Busy, Stage::Store, family);
        assert_eq!(exit, Exit::NotStarted);
    }

    #[test]
    fn errors_of_other_commands_follow_the_table() {
        let code = |kind| Exit::for_error(kind, Stage::Store, Family::Other).code();
        assert_eq!(code(ErrorKind::InvalidRequest), 2);
        assert_eq!(code(ErrorKind::Ambiguous), 2);
        assert_eq!(code(ErrorKind::NotFound), 3);
        assert_eq!(code(ErrorKind::Conflict), 4);
        assert_eq!(code(ErrorKind::Busy), 6);
        assert_eq!(code(ErrorKind::Corrupt), 7);
        assert_eq!(code(ErrorKind::UnsafeStore), 1);
        assert_eq!(code(ErrorKind::Io), 1);
    }
}
