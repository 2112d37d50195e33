//! Does a clone of a file share its content until one of the two is changed?

use std::io;
use std::os::unix::fs::FileExt as _;

use super::Finding;
use super::scratch::Scratch;

/// More than filesystems keep in the inode itself.
const SIZE: usize = 256 * 1024;

/// Filesystems whose code has no clones, where trying would mean to write on somebody's volume
/// for nothing.
pub(super) fn is_hopeless(filesystem: &str) -> bool {
    matches!(
        filesystem,
        "ext2" | "ext3" | "ext4" | "tmpfs" | "ramfs" | "vfat" | "msdos" | "exfat"
    )
}

/// Clones a file in `scratch`.
pub(super) fn try_out(scratch: &Scratch, filesystem: &str) -> Finding {
    match clone(scratch) {
        Ok(true) => Finding::Works,
        Ok(false) => Finding::Never(format!(
            "a clone on {filesystem} did not keep its content apart from the original's"
        )),
        Err(error) if is_lasting(&error) => Finding::Never(format!("{filesystem} has no clones")),
        Err(error) => Finding::NotNow(format!("a clone could not be tried: {error}")),
    }
}

/// Whether the clone has the original's content, and a change of it leaves the original alone.
fn clone(scratch: &Scratch) -> io::Result<bool> {
    let (old, new) = (vec![b'o'; SIZE], vec![b'n'; SIZE / 2]);
    let original = scratch.file("original")?;
    original.write_all_at(&old, 0)?;
    let copy = scratch.file("clone")?;
    reflink_copy::reflink_file(&original, &copy)?;
    let cloned = read(&copy)? == old;
    copy.write_all_at(&new, 0)?;
    copy.sync_data()?;
    let changed = [&new[..], &old[SIZE / 2..]].concat();
    Ok(cloned && read(&copy)? == changed && read(&original)? == old)
}

fn read(file: &std::fs::File) -> io::Result<Vec<u8>> {
    let mut content = vec![0; SIZE];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

/// Whether the error says that the filesystem cannot do it, rather than that it did not work now.
fn is_lasting(error: &io::Error) -> bool {
    let unable = [
        libc::EOPNOTSUPP,
        libc::ENOTTY,
        libc::ENOSYS,
        libc::EINVAL,
        libc::EXDEV,
    ];
    error.kind() == io::ErrorKind::Unsupported
        || error
            .raw_os_error()
            .is_some_and(|code| unable.contains(&code))
}
