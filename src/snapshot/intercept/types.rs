//! What interception and its twin for other systems are asked with, and answer with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How processes that answer for intercepted calls are started: a program that calls
/// [`answer`](super::answer) with the directory that follows its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptionHost {
    /// The program; absolute.
    pub program: PathBuf,
    /// Its arguments before the directory.
    pub arguments: Vec<OsString>,
}

impl InterceptionHost {
    /// A host of `program` with `arguments`.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
        }
    }
}

/// What is known of a shell before it is started.
#[derive(Debug)]
pub struct ToStart<'a> {
    /// The names of programs in its lines, as far as those are known.
    pub programs: Vec<String>,
    /// Where it looks for programs.
    pub path: &'a OsStr,
    /// Where it starts.
    pub cwd: &'a Path,
}

/// A session of which processes are, or were, intercepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// Its name: that of its directory in the store.
    pub session: String,
    /// The processes that answer for its calls: the one at work, and its stand-in.
    pub holders: Vec<HolderReport>,
    /// Its shells that are under a filter, or left processes that are.
    pub shells: Vec<u32>,
    /// The snapshot of the command that runs.
    pub command: Option<String>,
    /// The snapshot of the command that ran last, when none runs.
    pub last_command: Option<String>,
    /// Entries that processes of commands that are over have changed since the last one ended.
    pub late: u64,
    /// What is wrong with it, and what that means.
    pub problem: Option<String>,
}

/// A process that holds the listeners of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderReport {
    /// The process.
    pub pid: u32,
    /// It waits to take over.
    pub stand_in: bool,
    /// It lives.
    pub alive: bool,
    /// How many listeners it holds; `None` where that cannot be seen.
    pub listeners: Option<u64>,
}
