//! Files that running processes can change without a system call.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::path::AbsPath;

/// `PROCMAP_QUERY`: `_IOWR('f', 17, struct procmap_query)`.
const QUERY: libc::Ioctl = 0xC068_6611_u32 as libc::Ioctl;
/// Writable, shared, at the address or after it, mapped from a file.
const WANTED: u64 = 0x02 | 0x08 | 0x10 | 0x20;
/// Longest path that is taken from a mapping.
const NAME_BYTES: usize = 4096;

/// `struct procmap_query` of `linux/fs.h` (Linux 6.11).
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// Files that are mapped shared and writable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedMappings {
    /// Each file once, sorted.
    pub paths: Vec<PathBuf>,
    /// Every process could be looked at, and every file has a path here.
    pub complete: bool,
}

/// The files beneath one of `roots` that some process has mapped shared and writable. What is
/// stored through such a mapping gives no event, and shows in the file's times only when the system
/// writes it out.
///
/// Not seen: a file that was removed but has another name, and a mapping that is read-only now and
/// made writable later.
pub fn shared_writable_mappings(roots: &[AbsPath]) -> io::Result<SharedMappings> {
    let own_names = std::fs::read_link("/proc/self/ns/mnt")?;
    let mut devices = Vec::with_capacity(roots.len());
    for root in roots {
        devices.push(rustix::fs::stat(root.as_path())?.st_dev);
    }
    let mut found = SharedMappings {
        paths: Vec::new(),
        complete: true,
    };
    let mut name = vec![0; NAME_BYTES];
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        if !process.file_name().as_bytes()[0].is_ascii_digit() {
            continue;
        }
        let path = process.path();
        let mut mapped = Vec::new();
        match look(&path, &mut name, &mut mapped) {
            Ok(()) => {}
            // It ended meanwhile, or has no memory of its own (a thread of the kernel).
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(_) => found.complete = false,
        }
        // Paths of a process in another mount namespace are not ours; the volumes may be.
        if !mapped.is_empty()
            && std::fs::read_link(path.join("ns/mnt")).is_ok_and(|names| names != own_names)
        {
            found.complete &= mapped.iter().all(|file| {
                rustix::fs::stat(path.join("map_files").join(&file.range))
                    .is_ok_and(|stat| !devices.contains(&stat.st_dev))
            });
            continue;
        }
        found.paths.extend(
            mapped
                .into_iter()
                .map(|file| file.path)
                .filter(|path| roots.iter().any(|root| path.starts_with(root))),
        );
    }
    found.paths.sort_unstable();
    found.paths.dedup();
    Ok(found)
}

/// A file that one process has mapped shared and writable.
struct Mapped {
    path: PathBuf,
    /// The addresses, as `map_files` spells them.
    range: String,
}

/// Adds every shared writable mapping of the process at `process`.
fn look(process: &Path, name: &mut [u8], mapped: &mut Vec<Mapped>) -> io::Result<()> {
    let mut maps = File::open(process.join("maps"))?;
    let mut address = 0;
    loop {
        match query(&maps, address, name) {
            Ok((range, length)) => {
                let text = || format!("{:x}-{:x}", range.start, range.end);
                mapped.extend(named(&name[..length], text));
                address = range.end;
            }
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(()),
            // An older system.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTTY)) => break,
            Err(e) => return Err(e),
        }
    }
    let mut text = Vec::new();
    maps.read_to_end(&mut text)?;
    parse(&text, mapped);
    Ok(())
}

/// The first wanted mapping at or after `address`: its addresses, and how long the path is that was
/// written to `name`.
fn query(maps: &File, address: u64, name: &mut [u8]) -> io::Result<(Range<u64>, usize)> {
    let mut query = Query {
        size: size_of::<Query>() as u64,
        flags: WANTED,
        address,
        name_size: name.len() as u32,
        name: name.as_mut_ptr() as u64,
        ..Query::default()
    };
    // SAFETY: `query` is the structure that this request reads and writes, its size is in its first
    // field, and `name` points to as many writable bytes as `name_size` says, both for the whole
    // call. No build id is asked for.
    let outcome = unsafe { libc::ioctl(maps.as_raw_fd(), QUERY, &raw mut query) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    // The length counts the terminating zero.
    let length = (query.name_size as usize).saturating_sub(1);
    Ok((query.start..query.end, length.min(name.len())))
}

/// Reads the lines of a `maps` file: `start-end rw-s offset major:minor inode path`.
fn parse(text: &[u8], mapped: &mut Vec<Mapped>) {
    for line in text.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.splitn(6, |byte| *byte == b' ').collect();
        if let [range, rights, _, _, _, path] = fields[..]
            && rights.get(1) == Some(&b'w')
            && rights.get(3) == Some(&b's')
        {
            let range = || String::from_utf8_lossy(range).into_owned();
            mapped.extend(named(&unescape(path.trim_ascii_start()), range));
        }
    }
}

/// Undoes the one escape of a `maps` file, `\012` for a newline.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            out.push(b'\n');
            rest = after;
        } else {
            out.push(*byte);
            rest = tail;
        }
    }
    out
}

/// A mapping of a file that still has its name.
fn named(path: &[u8], range: impl Fn() -> String) -> Option<Mapped> {
    let file = Path::new(std::ffi::OsStr::from_bytes(path));
    let there = path.starts_with(b"/") && (!path.ends_with(b" (deleted)") || file.exists());
    there.then(|| Mapped {
        path: file.to_owned(),
        range: range(),
    })
}

/// A page of a file, mapped shared and writable.
#[cfg(test)]
pub struct SharedPage {
    at: *mut u8,
}

#[cfg(test)]
impl SharedPage {
    const BYTES: usize = 4096;

    /// Maps the first page of `file`.
    ///
    /// # Panics
    /// Where that fails.
    pub fn of(file: &File) -> SharedPage {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let number = file.as_raw_fd();
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice; nothing refers to it yet.
        let at = unsafe { libc::mmap(nowhere, Self::BYTES, rights, libc::MAP_SHARED, number, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        SharedPage { at: at.cast() }
    }

    /// Changes the first byte.
    pub fn store(&mut self, byte: u8) {
        // SAFETY: the page is mapped for writing as long as `self` lives, and only `self` has it.
        unsafe { self.at.write_volatile(byte) };
    }
}

#[cfg(test)]
impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: `of` mapped these bytes, and nothing refers to them any more.
        unsafe { libc::munmap(self.at.cast(), Self::BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_shared_writable_files_are_read() {
        let text = b"1000-2000 rw-s 00000000 fe:00 12   /data/a b\\012c\n\
            2000-3000 r--s 00000000 fe:00 13   /data/read-only\n\
            3000-4000 rw-p 00000000 fe:00 14   /data/private\n\
            4000-5000 rw-s 00000000 00:01 15   /SYSV00000000 (deleted)\n\
            5000-6000 rw-s 00000000 00:00 0 \n\
            garbage\n";
        let mut found = Vec::new();
        parse(text, &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, PathBuf::from("/data/a b\nc"));
        assert_eq!(found[0].range, "1000-2000");
    }

    #[test]
    fn a_file_that_is_mapped_is_found_until_the_mapping_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = AbsPath::new(dir.path().canonicalize().unwrap()).unwrap();
        let path = root.as_path().join("mapped file");
        std::fs::write(&path, [0; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let found = || {
            shared_writable_mappings(std::slice::from_ref(&root))
                .unwrap()
                .paths
        };

        assert_eq!(found(), [] as [PathBuf; 0]);
        let page = SharedPage::of(&file);
        assert_eq!(found(), [path]);
        drop(page);
        assert_eq!(found(), [] as [PathBuf; 0]);
    }
}
