//! Copying and hashing file content.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::stat::Stat;
use crate::entry::ContentHash;

/// Content is read in pieces of this size.
const PIECE: usize = 256 * 1024;
/// From this size on the kernel copies (and shares blocks where the filesystem can); below it
/// reading once for the hash and the copy is faster.
const KERNEL_COPY_FROM: u64 = 1 << 20;
/// The most that the kernel is asked to copy at once: it does not stop on the way.
const KERNEL_PIECE: u64 = 64 << 20;

/// From this size on [`copy_known`] shares blocks where it can: a block at least.
const KNOWN_CLONED_FROM: u64 = 4 << 10;
/// The most bytes that [`copy_known`] copies.
pub const KNOWN_UP_TO: u64 = PIECE as u64 - 1;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Copies the whole content of `from` into the empty file `to` and gives its length and SHA-256.
///
/// Holes stay holes. The hash is of what was written, so a source that changes meanwhile gives a
/// copy that is consistent with its hash; whether it changed is for the caller to find out.
pub fn copy_content(from: &File, to: &File) -> io::Result<(u64, ContentHash)> {
    copy_content_of(from, &Stat::of(from)?, to)
}

/// [`copy_content`] of a file that was looked at already, and is `found`.
pub fn copy_content_of(from: &File, found: &Stat, to: &File) -> io::Result<(u64, ContentHash)> {
    copy_content_until(from, found, to, &|| false)
}

/// [`copy_content_of`] until `stop` says so: then an
/// error of the kind `Interrupted`, and `to` has a part of it.
pub fn copy_content_until(
    from: &File,
    found: &Stat,
    to: &File,
    stop: &dyn Fn() -> bool,
) -> io::Result<(u64, ContentHash)> {
    let sparse = found.allocated < found.size;
    if found.size >= KERNEL_COPY_FROM || sparse {
        copy_segments(from, to, found.size, stop)?;
        let hash = hash_file_until(to, stop)?;
        return Ok((found.size, hash));
    }
    with_buffer(|buffer| {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        loop {
            let length = read_piece(from, buffer, offset)?;
            if length == 0 {
                return Ok((offset, ContentHash(hasher.finalize().into())));
            }
            hasher.update(&buffer[..length]);
            to.write_all_at(&buffer[..length], offset)?;
            offset += length as u64;
            // A short answer for a regular file means that it ends here.
            if length < buffer.len() {
                return Ok((offset, ContentHash(hasher.finalize().into())));
            }
        }
    })
}

/// Copies the content of `from` into the empty file `to` if it has exactly this size, of at most
/// [`KNOWN_UP_TO`] bytes, and this hash; `false`: it has not, and nothing was written.
///
/// `from` is not looked at: whatever it is, one byte more than `size` is all that is read of it.
pub fn copy_known(from: &File, (size, hash): (u64, &ContentHash), to: &File) -> io::Result<bool> {
    with_buffer(|buffer| {
        let content = &mut buffer[..=size.min(KNOWN_UP_TO) as usize];
        let mut length = 0;
        while length < content.len() {
            match read_piece(from, &mut content[length..], length as u64)? {
                0 => break,
                more => length += more,
            }
            // One byte short of what was asked for: it ends here.
            if length as u64 == size {
                break;
            }
        }
        let content = &content[..length];
        let is_known =
            length as u64 == size && ContentHash(Sha256::digest(content).into()) == *hash;
        // A shared block is not written again.
        if is_known && !(size >= KNOWN_CLONED_FROM && clone_content(from, to)?) {
            to.write_all_at(content, 0)?;
        }
        Ok(is_known)
    })
}

/// Makes the empty file `to` a clone of `from`: both share their blocks until one is changed.
/// `false`: not possible between these two, and nothing was done.
pub fn clone_content(from: &File, to: &File) -> io::Result<bool> {
    match reflink_copy::reflink_file(from, to) {
        Ok(()) => Ok(true),
        Err(error) if cannot_clone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether cloning failed because of the filesystem, or because they are two; some say so in unusual
/// ways.
fn cannot_clone(error: &io::Error) -> bool {
    let unable = [
        Errno::XDEV,
        Errno::OPNOTSUPP,
        Errno::INVAL,
        Errno::NOTTY,
        Errno::NOSYS,
        Errno::PERM,
        Errno::ACCESS,
        Errno::TXTBSY,
        Errno::BADF,
    ];
    unable
        .iter()
        .any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// The SHA-256 of a file's content from its start, wherever its position is.
pub fn hash_file(file: &File) -> io::Result<ContentHash> {
    hash_file_until(file, &|| false)
}

/// [`hash_file`] until `stop` says so: then an error of the kind `Interrupted`.
pub fn hash_file_until(file: &File, stop: &dyn Fn() -> bool) -> io::Result<ContentHash> {
    with_buffer(|buffer| {
        let mut hasher = Sha256::new();
        let mut offset = 0;
        loop {
            check(stop)?;
            let length = read_piece(file, buffer, offset)?;
            if length == 0 {
                return Ok(ContentHash(hasher.finalize().into()));
            }
            hasher.update(&buffer[..length]);
            if length < buffer.len() {
                return Ok(ContentHash(hasher.finalize().into()));
            }
            offset += length as u64;
        }
    })
}

fn check(stop: &dyn Fn() -> bool) -> io::Result<()> {
    if stop() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(())
}

fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| work(&mut buffer.borrow_mut()))
}

fn read_piece(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Copies the data segments of `from` and leaves its holes out.
fn copy_segments(from: &File, to: &File, size: u64, stop: &dyn Fn() -> bool) -> io::Result<()> {
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // No data behind `at`: the rest is a hole.
            Err(Errno::NXIO) => break,
            // The filesystem cannot tell: everything is data.
            Err(Errno::INVAL | Errno::NOTSUP) => at,
            Err(e) => return Err(e.into()),
        };
        let end = match rustix::fs::seek(from, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => size,
            Err(e) => return Err(e.into()),
        };
        copy_range(from, to, start, end, stop)?;
        at = end.max(at + 1);
    }
    Ok(())
}

fn copy_range(
    from: &File,
    to: &File,
    start: u64,
    end: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    let (mut from_offset, mut to_offset) = (start, start);
    while from_offset < end {
        check(stop)?;
        let length = (end - from_offset).min(KERNEL_PIECE) as usize;
        match rustix::fs::copy_file_range(
            from,
            Some(&mut from_offset),
            to,
            Some(&mut to_offset),
            length,
        ) {
            // The file became shorter meanwhile.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these filesystems, or not at all.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
                return copy_by_hand(from, to, from_offset, end, stop);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(
    from: &File,
    to: &File,
    start: u64,
    end: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    with_buffer(|buffer| {
        let mut offset = start;
        while offset < end {
            check(stop)?;
            let wanted = buffer.len().min((end - offset) as usize);
            let length = read_piece(from, &mut buffer[..wanted], offset)?;
            if length == 0 {
                break;
            }
            to.write_all_at(&buffer[..length], offset)?;
            offset += length as u64;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn an_empty_file_has_the_known_hash() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        assert_eq!(copy_content(&from, &to).unwrap(), (0, ContentHash::EMPTY));
    }

    #[test]
    fn known_content_is_copied_and_any_other_is_not() {
        let content: Vec<u8> = (0..KNOWN_UP_TO).map(|i| (i * 31 % 251) as u8).collect();
        for size in [0, 1, 4096, content.len() - 1, content.len()] {
            let mut from = tempfile::tempfile().unwrap();
            from.write_all(&content[..size]).unwrap();
            let (known, hash) = (
                size as u64,
                ContentHash(Sha256::digest(&content[..size]).into()),
            );
            let to = tempfile::tempfile().unwrap();
            assert!(copy_known(&from, (known, &hash), &to).unwrap());
            assert_eq!(hash_file(&to).unwrap(), hash);
            let wrong = [
                (known + 1, hash),
                (known.wrapping_sub(1), hash),
                (known, ContentHash([7; 32])),
            ];
            for (size, hash) in wrong {
                let to = tempfile::tempfile().unwrap();
                assert!(!copy_known(&from, (size, &hash), &to).unwrap());
                assert_eq!(to.metadata().unwrap().len(), 0);
            }
        }
    }

    #[test]
    fn holes_stay_holes_and_content_is_equal() {
        let (mut from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all(b"head").unwrap();
        from.write_all_at(b"tail", 64 << 20).unwrap();
        from.set_len(100 << 20).unwrap();
        let (length, hash) = copy_content(&from, &to).unwrap();
        assert_eq!(length, 100 << 20);
        assert_eq!(hash, hash_file(&from).unwrap());
        assert_eq!(hash, hash_file(&to).unwrap());
        assert!(
            to.metadata().unwrap().blocks() * 512 < 1 << 20,
            "holes were filled"
        );
    }

    #[test]
    fn every_size_around_the_piece_and_kernel_borders_is_copied_whole() {
        for size in [
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            (1 << 20) - 1,
            1 << 20,
            (1 << 20) + 1,
        ] {
            let (mut from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            let content: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            from.write_all(&content).unwrap();
            let (length, hash) = copy_content(&from, &to).unwrap();
            assert_eq!(length, size as u64);
            let mut copied = vec![0; size];
            to.read_exact_at(&mut copied, 0).unwrap();
            assert_eq!(copied, content);
            assert_eq!(hash, ContentHash(Sha256::digest(&content).into()));
        }
    }
}
