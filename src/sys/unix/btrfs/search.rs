//! Searches in a subvolume's tree.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::super::dir::Dir;
use super::ioctl::{Search, SearchKey, path_of_directory, tree_search};

/// The tree that lists the subvolumes.
const ROOT_TREE: u64 = 1;
/// The first and last number that an inode can have.
const FIRST_INODE: u64 = 256;
const LAST_INODE: u64 = 0u64.wrapping_sub(256);

/// Kinds of items.
const INODE_ITEM: u32 = 1;
const INODE_REF: u32 = 12;
const INODE_EXTREF: u32 = 13;
const ROOT_REF: u32 = 156;

/// Bytes before each found item.
const HEADER: usize = 32;

/// An inode that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangedInode {
    /// Its number.
    pub(crate) inode: u64,
    /// It is a directory.
    pub(crate) is_directory: bool,
    /// Every name that it has now; none where only a descriptor keeps it.
    pub(crate) names: Vec<InodeName>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InodeName {
    /// The directory's inode.
    pub(crate) directory: u64,
    /// The name.
    pub(crate) name: OsString,
}

/// One item of a tree.
struct Item<'a> {
    object: u64,
    kind: u32,
    offset: u64,
    data: &'a [u8],
}

/// Every inode, of the subvolume whose root is `root`, that a transaction after `generation`
/// changed, in the order of their numbers. Needs the administrator's rights. Call
/// [`settle`](super::settle) first.
pub(crate) fn changed_since(root: &Dir, generation: u64) -> io::Result<Vec<ChangedInode>> {
    let mut changed: Vec<ChangedInode> = Vec::new();
    let mut links: Vec<usize> = Vec::new();
    let key = SearchKey {
        min_object: FIRST_INODE,
        max_object: LAST_INODE,
        max_offset: u64::MAX,
        min_generation: generation + 1,
        max_generation: u64::MAX,
        max_type: u32::from(u8::MAX),
        ..SearchKey::default()
    };
    search(root, key, |item| match item.kind {
        INODE_ITEM => {
            let inode = InodeItem::read(item.data).ok_or_else(malformed)?;
            if inode.generation > generation {
                changed.push(ChangedInode {
                    inode: item.object,
                    is_directory: inode.mode & libc::S_IFMT == libc::S_IFDIR,
                    names: Vec::new(),
                });
                links.push(inode.links as usize);
            }
            Ok(())
        }
        INODE_REF | INODE_EXTREF => match changed.last_mut().filter(|c| c.inode == item.object) {
            Some(inode) => read_names(item, &mut inode.names),
            None => Ok(()),
        },
        _ => Ok(()),
    })?;
    // Names may stand in a node that did not change.
    for (inode, links) in changed.iter_mut().zip(links) {
        if inode.names.len() != links {
            inode.names = names_of(root, inode.inode)?;
        }
    }
    Ok(changed)
}

/// Every name of an inode of the subvolume whose root is `root`.
pub(crate) fn names_of(root: &Dir, inode: u64) -> io::Result<Vec<InodeName>> {
    let key = SearchKey {
        min_object: inode,
        max_object: inode,
        max_offset: u64::MAX,
        max_generation: u64::MAX,
        min_type: INODE_REF,
        max_type: INODE_EXTREF,
        ..SearchKey::default()
    };
    let mut names = Vec::new();
    search(root, key, |item| read_names(item, &mut names))?;
    Ok(names)
}

/// The subvolumes directly beneath the one with the number `id` and the root `root`: where they
/// are, relative to the root.
pub(crate) fn nested_subvolumes(root: &Dir, id: u64) -> io::Result<Vec<PathBuf>> {
    let key = SearchKey {
        tree: ROOT_TREE,
        min_object: id,
        max_object: id,
        max_offset: u64::MAX,
        max_generation: u64::MAX,
        min_type: ROOT_REF,
        max_type: ROOT_REF,
        ..SearchKey::default()
    };
    let mut found: Vec<InodeName> = Vec::new();
    search(root, key, |item| {
        // `struct btrfs_root_ref`: directory, sequence, length of the name, name.
        found.push(InodeName {
            directory: number(item.data, 0).ok_or_else(malformed)?,
            name: name(item.data, 16).ok_or_else(malformed)?.0,
        });
        Ok(())
    })?;
    let path = |nested: InodeName| {
        let mut path = path_of_directory(root.as_fd(), nested.directory)?;
        path.extend(nested.name.into_vec());
        Ok(PathBuf::from(OsString::from_vec(path)))
    };
    let mut paths: Vec<PathBuf> = found.into_iter().map(path).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Calls `each` with every item whose key is within the range.
fn search(
    root: &Dir,
    key: SearchKey,
    mut each: impl FnMut(&Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut search = Search::new(key);
    loop {
        search.key.items = u32::MAX;
        tree_search(root.as_fd(), &mut search)?;
        if search.key.items == 0 {
            return Ok(());
        }
        let mut rest = &search.buffer[..];
        let mut last = (0, 0, 0);
        for _ in 0..search.key.items {
            let (item, after) = split_item(rest).ok_or_else(malformed)?;
            last = (item.object, item.kind, item.offset);
            each(&item)?;
            rest = after;
        }
        let Some((object, kind, offset)) = successor(last) else {
            return Ok(());
        };
        search.key.min_object = object;
        search.key.min_type = kind;
        search.key.min_offset = offset;
    }
}

/// The key after this one.
fn successor((object, kind, offset): (u64, u32, u64)) -> Option<(u64, u32, u64)> {
    if let Some(offset) = offset.checked_add(1) {
        return Some((object, kind, offset));
    }
    if kind < u32::from(u8::MAX) {
        return Some((object, kind + 1, 0));
    }
    object.checked_add(1).map(|object| (object, 0, 0))
}

/// `struct btrfs_ioctl_search_header` and the item after it: generation, object, offset, type,
/// length, in the machine's byte order.
fn split_item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let long = |at: usize| Some(u64::from_ne_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let (data, rest) = rest.split_at_checked(short(28)? as usize)?;
    let item = Item {
        object: long(8)?,
        offset: long(16)?,
        kind: short(24)?,
        data,
    };
    Some((item, rest))
}

/// What is read of a `struct btrfs_inode_item`, which is little-endian.
struct InodeItem {
    generation: u64,
    links: u32,
    mode: u32,
}

impl InodeItem {
    fn read(data: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            generation: number(data, 8)?,
            links: short(40)?,
            mode: short(52)?,
        })
    }
}

/// Adds the names in an item that refers to directories.
fn read_names(item: &Item<'_>, names: &mut Vec<InodeName>) -> io::Result<()> {
    let mut rest = item.data;
    while !rest.is_empty() {
        // `struct btrfs_inode_ref` has index, length, name; the extended form the directory first.
        let (directory, start) = match item.kind {
            INODE_REF => (item.offset, 8),
            _ => (number(rest, 0).ok_or_else(malformed)?, 16),
        };
        let (name, length) = name(rest, start).ok_or_else(malformed)?;
        names.push(InodeName { directory, name });
        rest = &rest[length..];
    }
    Ok(())
}

/// The name whose length stands at `at`, and where it ends.
fn name(data: &[u8], at: usize) -> Option<(OsString, usize)> {
    let length = u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?);
    let end = at + 2 + usize::from(length);
    let bytes = data.get(at + 2..end)?;
    Some((OsString::from_vec(bytes.to_vec()), end))
}

fn number(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "an item of the tree is malformed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_the_last_offset_is_of_the_next_kind() {
        assert_eq!(successor((5, 1, 7)), Some((5, 1, 8)));
        assert_eq!(successor((5, 1, u64::MAX)), Some((5, 2, 0)));
        assert_eq!(successor((5, 255, u64::MAX)), Some((6, 0, 0)));
        assert_eq!(successor((u64::MAX, 255, u64::MAX)), None);
    }

    #[test]
    fn items_cut_short_are_refused() {
        let mut data = vec![0; 8];
        data.extend(3u16.to_le_bytes());
        data.extend(b"abc");
        for length in 1..data.len() {
            let item = Item {
                object: 257,
                kind: INODE_REF,
                offset: 256,
                data: &data[..length],
            };
            assert!(read_names(&item, &mut Vec::new()).is_err(), "{length}");
        }
        assert!(InodeItem::read(&[0; 55]).is_none());
        assert!(split_item(&[0; HEADER - 1]).is_none());
    }
}
