//! The system calls, with their arguments as `linux/btrfs.h` lays them out.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::Subvolume;

const GROUP: u8 = 0x94;
/// Bytes of found items that one search may return: no item is larger than a node can be.
pub(super) const SEARCH_BYTES: usize = 64 * 1024;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct NameArguments {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct SnapshotArguments {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_get_subvol_info_args`.
#[repr(C)]
struct SubvolumeInfo {
    id: u64,
    name: [u8; 256],
    parent_id: u64,
    directory: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    changed: u64,
    created: u64,
    sent: u64,
    received: u64,
    times: [[u64; 2]; 4],
    reserved: [u64; 8],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct InodeLookup {
    tree: u64,
    inode: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_search_key`: a range of keys, both ends within it, and of generations.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct SearchKey {
    pub(super) tree: u64,
    pub(super) min_object: u64,
    pub(super) max_object: u64,
    pub(super) min_offset: u64,
    pub(super) max_offset: u64,
    pub(super) min_generation: u64,
    pub(super) max_generation: u64,
    pub(super) min_type: u32,
    pub(super) max_type: u32,
    /// In: at most so many items; out: how many were found.
    pub(super) items: u32,
    pub(super) unused: u32,
    pub(super) reserved: [u64; 4],
}

/// `struct btrfs_ioctl_search_args_v2` as far as it has a fixed size, which is what the number of
/// the call is made of.
#[repr(C)]
struct SearchHead {
    key: SearchKey,
    buffer_size: u64,
}

/// The same with the buffer that follows it.
#[repr(C)]
pub(super) struct Search {
    pub(super) key: SearchKey,
    buffer_size: u64,
    pub(super) buffer: [u8; SEARCH_BYTES],
}

impl Search {
    #[expect(clippy::large_stack_arrays, reason = "on its way into the box only")]
    pub(super) fn new(key: SearchKey) -> Box<Self> {
        Box::new(Self {
            key,
            buffer_size: SEARCH_BYTES as u64,
            buffer: [0; SEARCH_BYTES],
        })
    }
}

const SNAP_DESTROY: Opcode = opcode::write::<NameArguments>(GROUP, 15);
const TREE_SEARCH_V2: Opcode = opcode::read_write::<SearchHead>(GROUP, 17);
const INO_LOOKUP: Opcode = opcode::read_write::<InodeLookup>(GROUP, 18);
const SNAP_CREATE_V2: Opcode = opcode::write::<SnapshotArguments>(GROUP, 23);
const GET_SUBVOL_INFO: Opcode = opcode::read::<SubvolumeInfo>(GROUP, 60);

/// In `SnapshotArguments::flags` and in `SubvolumeInfo::flags` respectively.
const CREATE_READ_ONLY: u64 = 1 << 1;
const IS_READ_ONLY: u64 = 1;

pub(super) fn create_snapshot(
    source: BorrowedFd<'_>,
    into: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    let mut arguments = SnapshotArguments {
        fd: source.as_raw_fd().into(),
        transaction: 0,
        flags: CREATE_READ_ONLY,
        unused: [0; 4],
        name: terminated(name)?,
    };
    // SAFETY: the call takes a pointer to `struct btrfs_ioctl_vol_args_v2`, of which
    // `SnapshotArguments` has the layout and which lives until it returns. The descriptor in it is
    // borrowed for as long.
    Ok(unsafe { ioctl(into, Updater::<SNAP_CREATE_V2, _>::new(&mut arguments)) }?)
}

pub(super) fn destroy_subvolume(from: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut arguments = NameArguments {
        fd: 0,
        name: terminated(name)?,
    };
    // SAFETY: the call takes a pointer to `struct btrfs_ioctl_vol_args`, of which `NameArguments`
    // has the layout and which lives until it returns; the name is terminated.
    Ok(unsafe { ioctl(from, Updater::<SNAP_DESTROY, _>::new(&mut arguments)) }?)
}

pub(super) fn subvolume_info(directory: BorrowedFd<'_>) -> io::Result<Subvolume> {
    let mut info = SubvolumeInfo {
        id: 0,
        name: [0; 256],
        parent_id: 0,
        directory: 0,
        generation: 0,
        flags: 0,
        uuid: [0; 16],
        parent_uuid: [0; 16],
        received_uuid: [0; 16],
        changed: 0,
        created: 0,
        sent: 0,
        received: 0,
        times: [[0; 2]; 4],
        reserved: [0; 8],
    };
    // SAFETY: the call fills a `struct btrfs_ioctl_get_subvol_info_args`, of which `SubvolumeInfo`
    // has the layout; every bit pattern is valid for its fields.
    unsafe { ioctl(directory, Updater::<GET_SUBVOL_INFO, _>::new(&mut info)) }?;
    Ok(Subvolume {
        id: info.id,
        uuid: info.uuid,
        parent_uuid: info.parent_uuid,
        generation: info.generation,
        created: info.created,
        read_only: info.flags & IS_READ_ONLY != 0,
    })
}

/// The path of the directory `inode` from the root of the subvolume that holds `directory`; with a
/// slash at its end, or empty for the root.
pub(super) fn path_of_directory(directory: BorrowedFd<'_>, inode: u64) -> io::Result<Vec<u8>> {
    let mut arguments = InodeLookup {
        tree: 0,
        inode,
        name: [0; 4080],
    };
    // SAFETY: the call reads and fills a `struct btrfs_ioctl_ino_lookup_args`, of which
    // `InodeLookup` has the layout; every bit pattern is valid for its fields.
    unsafe { ioctl(directory, Updater::<INO_LOOKUP, _>::new(&mut arguments)) }?;
    let length = arguments.name.iter().position(|byte| *byte == 0);
    Ok(arguments.name[..length.unwrap_or(0)].to_vec())
}

/// Fills `search.buffer` with `search.key.items` items.
pub(super) fn tree_search(directory: BorrowedFd<'_>, search: &mut Search) -> io::Result<()> {
    // SAFETY: the call takes a pointer to `struct btrfs_ioctl_search_args_v2`, whose fixed part and
    // buffer `Search` lays out alike, and writes at most `buffer_size` bytes into the buffer, which
    // `Search::new` sets to the buffer's size and nothing changes.
    Ok(unsafe { ioctl(directory, Updater::<TREE_SEARCH_V2, _>::new(search)) }?)
}

/// A name with zeros after it; refused where there is no room for one.
fn terminated<const N: usize>(name: &OsStr) -> io::Result<[u8; N]> {
    let bytes = name.as_bytes();
    if bytes.len() >= N {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut out = [0; N];
    out[..bytes.len()].copy_from_slice(bytes);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_sizes_of_the_kernels() {
        assert_eq!(size_of::<NameArguments>(), 4096);
        assert_eq!(size_of::<SnapshotArguments>(), 4096);
        assert_eq!(size_of::<InodeLookup>(), 4096);
        assert_eq!(size_of::<SearchHead>(), 112);
        assert_eq!(size_of::<SubvolumeInfo>(), 504);
        assert_eq!(
            std::mem::offset_of!(Search, buffer),
            size_of::<SearchHead>()
        );
    }

    #[test]
    fn names_that_leave_no_room_for_the_end_are_refused() {
        assert!(terminated::<4>(OsStr::new("abc")).is_ok());
        assert!(terminated::<4>(OsStr::new("abcd")).is_err());
    }
}
