//! Files that processes of earlier commands, or the shell itself, have open for writing when a command
//! begins: no call will tell that they are written to.

use std::collections::HashSet;
use std::io;

use super::keep::Fate;
use super::known::{Directories, Threads};
use super::late::Owner;
use super::resolve::Caller;
use super::watch::Watch;
use crate::entry::EntryKind;

impl Watch {
    /// Keeps the content of every file that one of `relatives` of shells may write to without opening it.
    /// `whose` tells which command a process belongs to.
    pub(super) fn keep_what_is_open(
        &mut self,
        relatives: &[u32],
        other_root: bool,
        mut whose: impl FnMut(u32) -> Owner,
    ) {
        let (threads, directories) = (Threads::default(), Directories::default());
        for process in relatives.iter().copied() {
            self.owner = whose(process);
            let caller = Caller {
                thread: process,
                other_root,
                threads: &threads,
                directories: &directories,
            };
            for (descriptor, appends) in open_for_writing(process).unwrap_or_default() {
                let fate = if appends { Fate::Grown } else { Fate::Written };
                // What cannot be looked at has gone, or has no name.
                let _ = self.keep_open(caller, descriptor, fate);
            }
        }
        self.owner = Owner::Current;
    }

    fn keep_open(&mut self, caller: Caller<'_>, descriptor: i32, fate: Fate) -> io::Result<()> {
        match Self::spot_of_open(caller, descriptor as u64)? {
            Some((spot, stat)) if stat.kind == EntryKind::File => {
                self.content_at(&spot, &stat, fate)
            }
            _ => Ok(()),
        }
    }
}

/// The shells and everything that descends from their parents.
pub(super) fn relatives(shells: &[u32]) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(process) = process
            && let Some(parent) = parent_of(process)
        {
            parents.push((process, parent));
        }
    }
    let is_shell = |process: &u32| shells.contains(process);
    let mut family: HashSet<u32> = parents
        .iter()
        .filter(|(process, _)| is_shell(process))
        .map(|(_, parent)| *parent)
        .collect();
    let above = family.clone();
    loop {
        let before = family.len();
        let children = parents.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<u32> = children.map(|(process, _)| *process).collect();
        family.extend(children);
        if family.len() == before {
            break;
        }
    }
    family.difference(&above).copied().collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The descriptors through which a process can write, but for its standard streams, which whoever
/// runs the command has opened; each with whether it can only add.
fn open_for_writing(process: u32) -> io::Result<Vec<(i32, bool)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(descriptor) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = text
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
            .unwrap_or(0);
        let access = flags & libc::O_ACCMODE;
        if descriptor > 2 && access != libc::O_RDONLY && flags & libc::O_PATH == 0 {
            let appends = access == libc::O_WRONLY && flags & libc::O_APPEND != 0;
            found.push((descriptor, appends));
        }
    }
    Ok(found)
}
