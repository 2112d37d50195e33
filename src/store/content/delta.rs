//! Content as its difference from another version of the same file.
//!
//! A delta names the blocks in which the content differs from its *base*, and holds these blocks;
//! the others are the base's at the same offset. The base is kept in full beside it, as a hard link
//! to what another snapshot keeps.
//!
//! ```text
//! "DPXDELT1"                     8 bytes
//! size of the content            8 bytes, little-endian
//! one zstd frame, with checksum, of
//!     number of a block          8 bytes, little-endian, ascending
//!     its content                64 KiB, less for the last block of the content
//!     …
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::read::{Frame, damaged, fill};
use crate::seal::Base;
use crate::sys::Dir;

pub(super) const BLOCK: usize = 64 << 10;
const MAGIC: &[u8; 8] = b"DPXDELT1";
const LEVEL: i32 = 3;

/// A delta that is being read.
pub(super) struct Delta {
    base: BaseReader,
    records: Frame<File>,
    /// The block that the next record is of.
    next: Option<u64>,
    /// The block that is read next.
    at: u64,
    size: u64,
    block: Vec<u8>,
    /// How much of the block was given out.
    given: usize,
}

impl Delta {
    /// Opens the delta in `file`, whose content has `size` bytes, with its base in `dir`.
    pub(super) fn open(dir: &Dir, mut file: File, size: u64, base: &Base) -> io::Result<Self> {
        let mut head = [0; 16];
        if fill(&mut file, &mut head)? < head.len() || !head.starts_with(MAGIC) {
            return Err(damaged("it does not begin as it should"));
        }
        let mut recorded = [0; 8];
        recorded.copy_from_slice(&head[8..]);
        if u64::from_le_bytes(recorded) != size {
            return Err(damaged("it is of content of another size"));
        }
        let mut delta = Self {
            base: BaseReader::open(dir, base)?,
            records: Frame::new(file)?,
            next: None,
            at: 0,
            size,
            block: Vec::new(),
            given: 0,
        };
        delta.next = delta.number(None)?;
        Ok(delta)
    }

    /// Reads the number of the next record's block, which has to come after `previous`.
    fn number(&mut self, previous: Option<u64>) -> io::Result<Option<u64>> {
        let mut bytes = [0; 8];
        match fill(&mut self.records, &mut bytes)? {
            0 => return Ok(None),
            8 => {}
            _ => return Err(damaged("it is cut short")),
        }
        let number = u64::from_le_bytes(bytes);
        let ascending = previous.is_none_or(|previous| number > previous);
        if ascending && number < self.size.div_ceil(BLOCK as u64) {
            Ok(Some(number))
        } else {
            Err(damaged("its blocks are out of order"))
        }
    }

    /// Reads the next block; it is empty at the end.
    fn advance(&mut self) -> io::Result<()> {
        let start = self.at * BLOCK as u64;
        let length = self.size.saturating_sub(start).min(BLOCK as u64) as usize;
        self.given = 0;
        self.block.resize(length, 0);
        if length == 0 {
            return Ok(());
        }
        if self.next == Some(self.at) {
            if fill(&mut self.records, &mut self.block)? < length {
                return Err(damaged("it is cut short"));
            }
            self.next = self.number(Some(self.at))?;
        } else {
            self.base.read_at(start, &mut self.block)?;
        }
        self.at += 1;
        Ok(())
    }
}

impl Read for Delta {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.block.len() {
            self.advance()?;
        }
        let length = buffer.len().min(self.block.len() - self.given);
        buffer[..length].copy_from_slice(&self.block[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// A base, from which blocks are read in ascending order.
pub(super) struct BaseReader {
    source: BaseSource,
    size: u64,
}

enum BaseSource {
    Raw(File),
    /// With the offset at which it is.
    Zstd(Box<Frame<File>>, u64),
}

impl BaseReader {
    pub(super) fn open(dir: &Dir, base: &Base) -> io::Result<Self> {
        let file = dir.open_file(base.name.as_ref())?;
        let source = if base.compressed {
            BaseSource::Zstd(Box::new(Frame::new(file)?), 0)
        } else {
            BaseSource::Raw(file)
        };
        Ok(Self {
            source,
            size: base.size,
        })
    }

    /// Fills the buffer with what is at `offset`.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size {
            return Err(damaged("its base is too short"));
        }
        let filled = match &mut self.source {
            BaseSource::Raw(file) => match file.read_exact_at(buffer, offset) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
                other => other.map(|()| true)?,
            },
            BaseSource::Zstd(frame, at) => {
                let skip = offset.saturating_sub(*at);
                let skipped = io::copy(&mut frame.by_ref().take(skip), &mut io::sink())?;
                let filled = fill(frame, buffer)?;
                *at += skipped + filled as u64;
                skipped == skip && filled == buffer.len()
            }
        };
        if filled {
            Ok(())
        } else {
            Err(damaged("its base is cut short"))
        }
    }
}

/// Writes the content of `from` (`size` bytes) to `to` as a delta against `base`. Gives the bytes
/// written; `None` where they would be more than `limit`, or where the file is not so long.
pub(super) fn encode(
    from: &File,
    size: u64,
    base: &mut BaseReader,
    to: &File,
    limit: u64,
) -> io::Result<Option<u64>> {
    let mut to = Counting {
        file: to,
        written: 0,
    };
    to.write_all(MAGIC)?;
    to.write_all(&size.to_le_bytes())?;
    let mut records = zstd::stream::write::Encoder::new(to, LEVEL)?;
    records.include_checksum(true)?;
    let (mut new, mut old) = (vec![0; BLOCK], vec![0; BLOCK]);
    for at in 0..size.div_ceil(BLOCK as u64) {
        let start = at * BLOCK as u64;
        let length = (size - start).min(BLOCK as u64) as usize;
        let (new, old) = (&mut new[..length], &mut old[..length]);
        match from.read_exact_at(new, start) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let in_base = start + length as u64 <= base.size;
        if in_base {
            base.read_at(start, old)?;
        }
        if !in_base || new != old {
            records.write_all(&at.to_le_bytes())?;
            records.write_all(new)?;
        }
        if records.get_ref().written > limit {
            return Ok(None);
        }
    }
    let written = records.finish()?.written;
    Ok((written <= limit).then_some(written))
}

struct Counting<'a> {
    file: &'a File,
    written: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
