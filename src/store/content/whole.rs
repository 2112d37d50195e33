//! Compressed content that is small enough to be decoded at once.
//!
//! Most files are, and for those a decoder that is made anew, with its window and its buffers, costs
//! more than the decoding. Here each thread keeps one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::compress_bound;

use super::read::{CopyError, Stored, damaged, unreadable};
use crate::entry::ContentHash;

/// The most bytes of content that are decoded at once.
pub(super) const WHOLE_UP_TO: u64 = 1 << 20;

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// What one thread decodes with.
struct Bench {
    decoder: Decompressor<'static>,
    frame: Vec<u8>,
    content: Vec<u8>,
}

/// Copies content of at most [`WHOLE_UP_TO`] bytes, kept as one frame in `from`, into the empty file
/// `to`. `false`: it is not what was recorded, and nothing was written.
pub(super) fn copy_whole(from: &File, stored: &Stored<'_>, to: &File) -> Result<bool, CopyError> {
    BENCH.with_borrow_mut(|bench| {
        let bench = match bench {
            Some(bench) => bench,
            None => bench.insert(Bench::new()?),
        };
        let content = bench
            .decode(from, stored.size.min(WHOLE_UP_TO) as usize)
            .map_err(|e| CopyError::Stored(unreadable(&e)))?;
        let is_known = content.len() as u64 == stored.size
            && ContentHash(Sha256::digest(content).into()) == *stored.hash;
        if is_known {
            to.write_all_at(content, 0)?;
        }
        Ok(is_known)
    })
}

impl Bench {
    fn new() -> io::Result<Self> {
        Ok(Self {
            decoder: Decompressor::new()?,
            frame: Vec::new(),
            content: Vec::new(),
        })
    }

    /// What the frame in `from` holds, which should have `size` bytes: never more than the buffer
    /// takes, whatever the frame says of itself.
    fn decode(&mut self, from: &File, size: usize) -> io::Result<&[u8]> {
        self.frame.clear();
        let longest = compress_bound(size);
        let length = from.take(longest as u64 + 1).read_to_end(&mut self.frame)?;
        if length > longest {
            return Err(damaged("it is longer than its content could make it"));
        }
        self.content.clear();
        self.content.reserve(size);
        self.decoder
            .decompress_to_buffer(&self.frame, &mut self.content)
            .map_err(|e| damaged(&e.to_string()))?;
        Ok(&self.content)
    }
}
