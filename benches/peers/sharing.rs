//! How much of a directory occupies blocks of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::common::process::output;

/// Bytes of the files beneath `directory` that lie in blocks which no other file has, as `filefrag`
/// tells. What the filesystem keeps among its metadata (inline files) takes no block.
pub(crate) fn own_bytes(directory: &Path) -> Result<u64> {
    let listing = output(
        Command::new("find")
            .arg(directory)
            .args(["-type", "f", "-size", "+0"])
            .args(["-exec", "filefrag", "-v", "-b1", "{}", "+"]),
    )?;
    Ok(listing.lines().filter_map(own_extent).sum())
}

/// The length of the extent that a line of `filefrag -v -b1` is about, unless it is shared.
fn own_extent(line: &str) -> Option<u64> {
    let mut fields = line.split(':');
    let number = fields.next()?.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length = fields.nth(2)?.trim().parse().ok()?;
    let flags = fields.next_back()?;
    let elsewhere = ["shared", "inline", "delalloc"];
    (!elsewhere.iter().any(|flag| flags.contains(flag))).then_some(length)
}
