//! Says how many entries of a tree are not what they should be.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::process::output;

/// How many entries of `found` are not as in `expected`, judged by rsync: content, kind, mode,
/// owner, times to the nanosecond, ACLs, attributes and hard links, missing and surplus entries.
pub(crate) fn differences(expected: &Path, found: &Path) -> Result<u64> {
    let mut rsync = Command::new("rsync");
    rsync
        .args(["-aHAXnic", "--delete"])
        .args(["--numeric-ids", "--modify-window=-1"])
        .arg(expected.join(""))
        .arg(found.join(""));
    let lines = output(&mut rsync)?;
    Ok(lines.lines().filter(|line| !line.is_empty()).count() as u64)
}
