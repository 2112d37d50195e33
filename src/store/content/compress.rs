//! Which content is worth compressing, and doing it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use sha2::{Digest, Sha256};

use super::read::fill;
use crate::entry::ContentHash;

/// Space is given out in blocks of this size, so that less cannot be saved.
pub(super) const SPACE: u64 = 4096;
/// How much of a file tells whether it can be compressed.
const SAMPLE: usize = 128 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What came of compressing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressed {
    /// The new file has so many bytes.
    To(u64),
    /// It is not worth it.
    Incompressible,
    /// The file is not what was recorded. It stays, and `verify` names it.
    Damaged,
}

/// Whether a file with so much content can become any smaller. One that is mostly holes is left
/// alone: it occupies little.
pub(super) fn is_worth_a_try(file: &File, size: u64) -> io::Result<bool> {
    let allocated = file.metadata()?.blocks() * 512;
    Ok(size > SPACE && allocated > SPACE && allocated >= size / 2)
}

/// Whether `new` bytes in place of `old` save at least an eighth, and any space at all.
fn saves(old: u64, new: u64) -> bool {
    new <= old - old / 8 && new.div_ceil(SPACE) < old.div_ceil(SPACE)
}

/// Writes `from`, whose content has the size and hash that were recorded, to `to` as one frame.
/// What is in `to` is of no use unless the answer is [`Compressed::To`].
pub(super) fn compress(
    from: &File,
    (size, hash): (u64, &ContentHash),
    level: i32,
    to: &File,
) -> io::Result<Compressed> {
    BUFFER.with(|buffer| {
        let buffer = &mut *buffer.borrow_mut();
        buffer.resize(SAMPLE.min(size as usize), 0);
        if from.read_at(buffer, 0)? < buffer.len() {
            return Ok(Compressed::Damaged);
        }
        let sample = compressor(level)?.compress(buffer)?;
        if !saves(buffer.len() as u64, sample.len() as u64) {
            return Ok(Compressed::Incompressible);
        }
        if size > buffer.len() as u64 {
            return compress_long(from, (size, hash), level, to, buffer);
        }
        if ContentHash(Sha256::digest(&*buffer).into()) != *hash {
            return Ok(Compressed::Damaged);
        }
        to.write_all_at(&sample, 0)?;
        Ok(Compressed::To(sample.len() as u64))
    })
}

/// How many bytes a sample of the file becomes, for each of its own, at most 1.
pub(super) fn ratio(from: &File, size: u64) -> io::Result<f64> {
    let mut sample = vec![0; SAMPLE.min(size as usize)];
    let at = (size - sample.len() as u64) / 2;
    let length = from.read_at(&mut sample, at)?;
    let compressed = compressor(1)?.compress(&sample[..length])?.len();
    Ok((compressed as f64 / length.max(1) as f64).min(1.0))
}

fn compressor(level: i32) -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

fn compress_long(
    from: &File,
    (size, hash): (u64, &ContentHash),
    level: i32,
    to: &File,
    buffer: &mut [u8],
) -> io::Result<Compressed> {
    let mut encoder = zstd::stream::write::Encoder::new(to, level)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    let mut hasher = Sha256::new();
    let mut from = from.take(size + 1);
    let mut length = 0;
    loop {
        let filled = fill(&mut from, buffer)?;
        if filled == 0 {
            break;
        }
        length += filled as u64;
        if length > size {
            return Ok(Compressed::Damaged);
        }
        hasher.update(&buffer[..filled]);
        encoder.write_all(&buffer[..filled])?;
    }
    if length != size || ContentHash(hasher.finalize().into()) != *hash {
        return Ok(Compressed::Damaged);
    }
    encoder.finish()?;
    let written = to.metadata()?.len();
    Ok(if saves(size, written) {
        Compressed::To(written)
    } else {
        Compressed::Incompressible
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saving_has_to_be_an_eighth_and_a_block() {
        assert!(saves(8192, 4096));
        assert!(!saves(8192, 4097));
        assert!(!saves(4096, 10));
        assert!(saves(1 << 20, 900_000));
        assert!(!saves(1 << 20, 930_000));
        assert!(!saves(0, 0));
    }
}
