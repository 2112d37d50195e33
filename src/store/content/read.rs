//! Reading stored content back, in whatever form it is kept.
//!
//! What is read may be damaged or forged: nothing longer than the recorded size is ever produced,
//! the decoder's memory is bounded, and everything that does not fit is an error of kind
//! [`InvalidData`](io::ErrorKind::InvalidData). Whether the content is the one that was recorded is
//! known at its end only, from its hash.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::OpenDirs;
use super::delta::Delta;
use super::whole::{WHOLE_UP_TO, copy_whole};
use crate::entry::{ContentHash, EntryKind};
use crate::seal::{Change, Form, PreImage};
use crate::sys::{self, Dir};

/// The largest window of a frame, as a power of two: 8 MiB of memory. Frames are written with less.
const MAX_WINDOW: u32 = 23;
/// Content is decoded and written in pieces of this size; a piece of zeros becomes a hole where
/// the original file had some.
const PIECE: usize = 64 << 10;
/// From this size on a clone is tried before a copy.
const CLONE_FROM: u64 = 128 << 10;
const _: () = assert!(CLONE_FROM <= sys::KNOWN_UP_TO);

/// Stored content as the undo record speaks of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    /// Its file's name.
    pub(crate) name: &'a str,
    /// Bytes of the content itself.
    pub(crate) size: u64,
    /// SHA-256 of the content itself.
    pub(crate) hash: &'a ContentHash,
    /// How it is kept.
    pub(crate) form: &'a Form,
}

impl<'a> Stored<'a> {
    /// The content kept for a change, if any.
    pub(crate) fn of(change: &'a Change) -> Option<Self> {
        match (&change.content, &change.before) {
            (PreImage::Stored { name, hash, form }, Some(before)) => Some(Self {
                name,
                size: before.size,
                hash,
                form,
            }),
            _ => None,
        }
    }

    /// Its files: the one that bears its name, and the base it needs.
    pub(crate) fn files(self) -> impl Iterator<Item = &'a str> {
        let base = match self.form {
            Form::Delta(base) => Some(base.name.as_str()),
            Form::Raw | Form::Zstd => None,
        };
        std::iter::once(self.name).chain(base)
    }
}

/// Why stored content was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// It cannot be had, in words that follow "the backup …".
    #[error("{0}")]
    Stored(String),
    /// The new file cannot take it.
    #[error(transparent)]
    Target(#[from] io::Error),
}

/// Stored content, decoded. Ends with an error unless it has exactly its recorded size.
pub(crate) struct Reader(Exact<Source>);

enum Source {
    Raw(File),
    Zstd(Box<Frame<File>>),
    Delta(Box<Delta>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(file) => file.read(buffer),
            Self::Zstd(frame) => frame.read(buffer),
            Self::Delta(delta) => delta.read(buffer),
        }
    }
}

impl Reader {
    /// The same, ending with an error unless the content has this hash.
    pub(crate) fn verified(self, hash: ContentHash) -> Verified {
        Verified {
            reader: self,
            hasher: Sha256::new(),
            hash,
        }
    }
}

/// Content that is checked while it is read.
pub(crate) struct Verified {
    reader: Reader,
    hasher: Sha256,
    hash: ContentHash,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        let ended = length == 0 && !buffer.is_empty();
        if ended && ContentHash(self.hasher.clone().finalize().into()) != self.hash {
            return Err(damaged("its hash differs from what was recorded"));
        }
        Ok(length)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Opens stored content. An error says what is wrong, in words that follow "the backup …".
pub(crate) fn open(dirs: &OpenDirs, stored: &Stored<'_>) -> Result<Reader, String> {
    let dir = dirs.of(stored.name).map_err(unreachable)?;
    open_in(dir, stored)
}

fn open_in(dir: &Dir, stored: &Stored<'_>) -> Result<Reader, String> {
    let file = dir
        .open_file(stored.name.as_ref())
        .map_err(|e| unreadable(&e))?;
    let source = match stored.form {
        Form::Raw => Source::Raw(file),
        Form::Zstd => Source::Zstd(Box::new(Frame::new(file).map_err(|e| unreadable(&e))?)),
        Form::Delta(base) => {
            let delta = Delta::open(dir, file, stored.size, base).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => {
                    format!("cannot be read: its base {} is missing", base.name)
                }
                _ => unreadable(&e),
            })?;
            Source::Delta(Box::new(delta))
        }
    };
    Ok(Reader(Exact::new(source, stored.size)))
}

/// Looks whether stored content is there and has the right size, without reading it. Says what is
/// wrong, in words that follow "the backup …".
pub(crate) fn inspect(dirs: &OpenDirs, stored: &Stored<'_>) -> Result<(), String> {
    let dir = dirs.of(stored.name).map_err(unreachable)?;
    match stored.form {
        Form::Raw => {
            let stat = dir.stat(stored.name.as_ref()).map_err(|e| unreadable(&e))?;
            if stat.kind != EntryKind::File {
                return Err("cannot be read: it is not a regular file".into());
            }
            check_size(Some(stat.size), stored.size)
        }
        Form::Zstd => {
            let file = dir
                .open_file(stored.name.as_ref())
                .map_err(|e| unreadable(&e))?;
            let mut head = [0; FRAME_HEAD];
            let length = file.read_at(&mut head, 0).map_err(|e| unreadable(&e))?;
            check_size(content_size(&head[..length]), stored.size)
        }
        Form::Delta(_) => open_in(dir, stored).map(drop),
    }
}

fn check_size(found: Option<u64>, wanted: u64) -> Result<(), String> {
    match found {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(format!(
            "is damaged: it has {found} instead of {wanted} bytes"
        )),
        None => Err("is damaged: it does not begin as it should".into()),
    }
}

/// Copies stored content into the empty file `to`, and checks that it is what was recorded. Blocks
/// are shared where the filesystem can do that. Where the original was `sparse` (had less space
/// allocated than its size), holes stay holes and long runs of zeros become some.
pub(crate) fn copy_into(
    dirs: &OpenDirs,
    stored: &Stored<'_>,
    to: &File,
    sparse: bool,
) -> Result<(), CopyError> {
    let unusable = |what: String| CopyError::Stored(what);
    let intact = match stored.form {
        Form::Raw => {
            let dir = dirs.of(stored.name).map_err(|e| unusable(unreachable(e)))?;
            copy_raw(dir, stored, to, sparse)?
        }
        Form::Zstd if stored.size <= WHOLE_UP_TO && !sparse => {
            let dir = dirs.of(stored.name).map_err(|e| unusable(unreachable(e)))?;
            let from = dir
                .open_content(stored.name.as_ref())
                .map_err(|e| unusable(unreadable(&e)))?;
            copy_whole(&from, stored, to)?
        }
        Form::Zstd | Form::Delta(_) => {
            let mut reader = open(dirs, stored).map_err(unusable)?;
            decode(&mut reader, to, stored.size, sparse)? == *stored.hash
        }
    };
    if intact {
        Ok(())
    } else {
        let what = "is damaged: size or hash differ from what was recorded";
        Err(unusable(what.into()))
    }
}

/// Whether what was copied is what was recorded.
fn copy_raw(dir: &Dir, stored: &Stored<'_>, to: &File, sparse: bool) -> Result<bool, CopyError> {
    let name = stored.name.as_ref();
    let unusable = |e: io::Error| CopyError::Stored(unreadable(&e));
    if stored.size < CLONE_FROM && !sparse {
        // Its size and hash say all there is to know of it.
        let from = dir.open_content(name).map_err(unusable)?;
        return Ok(sys::copy_known(&from, (stored.size, stored.hash), to)?);
    }
    let (from, found) = dir.open_file_with_stat(name).map_err(unusable)?;
    let copied = if found.size >= CLONE_FROM && sys::clone_content(&from, to)? {
        (found.size, sys::hash_file(to)?)
    } else {
        sys::copy_content_of(&from, &found, to)?
    };
    Ok(copied == (stored.size, *stored.hash))
}

fn decode(
    reader: &mut Reader,
    to: &File,
    size: u64,
    sparse: bool,
) -> Result<ContentHash, CopyError> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE.min(size as usize + 1)];
    let mut offset = 0;
    loop {
        let length = fill(reader, &mut piece).map_err(|e| CopyError::Stored(unreadable(&e)))?;
        if length == 0 {
            break;
        }
        let content = &piece[..length];
        hasher.update(content);
        if !(sparse && length == PIECE && is_zero(content)) {
            to.write_all_at(content, offset)?;
        }
        offset += length as u64;
    }
    if sparse {
        to.set_len(size)?;
    }
    Ok(ContentHash(hasher.finalize().into()))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// Reads until the buffer is full or the content ends.
pub(super) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Reads the whole content and gives its hash; `each` is told of every piece's length.
pub(crate) fn hash(reader: &mut Reader, mut each: impl FnMut(u64)) -> io::Result<ContentHash> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE.min(reader.0.left as usize + 1)];
    loop {
        let length = fill(reader, &mut piece)?;
        if length == 0 {
            return Ok(ContentHash(hasher.finalize().into()));
        }
        hasher.update(&piece[..length]);
        each(length as u64);
    }
}

/// What cannot be read, in words that follow "the backup …".
pub(crate) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is missing".to_owned(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => format!("is damaged: {error}"),
        _ => format!("cannot be read: {error}"),
    }
}

fn unreachable(why: &str) -> String {
    format!("cannot be reached: {why}")
}

/// Passes on exactly so many bytes.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R> Exact<R> {
    fn new(inner: R, size: u64) -> Self {
        Self { inner, left: size }
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(damaged("it is longer than what was recorded")),
            };
        }
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.inner.read(&mut buffer[..wanted])? {
            0 => Err(damaged("it is shorter than what was recorded")),
            length => {
                self.left -= length as u64;
                Ok(length)
            }
        }
    }
}

/// One compressed frame, and nothing behind it.
pub(super) struct Frame<R: Read> {
    decoder: Option<zstd::stream::read::Decoder<'static, BufReader<R>>>,
}

impl<R: Read> Frame<R> {
    pub(super) fn new(from: R) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::new(from)?.single_frame();
        decoder.window_log_max(MAX_WINDOW)?;
        Ok(Self {
            decoder: Some(decoder),
        })
    }
}

impl<R: Read> Read for Frame<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(0);
        };
        let length = decoder.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Other => damaged(&e.to_string()),
            _ => e,
        })?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        let rest = self.decoder.take().map(zstd::Decoder::finish);
        match rest.map(|mut rest| rest.read(&mut [0])).transpose()? {
            Some(1..) => Err(damaged("something follows its end")),
            _ => Ok(0),
        }
    }
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Bytes of a frame that say how long its content is, at most.
const FRAME_HEAD: usize = 18;

/// The size of the content, as a frame's first bytes tell it.
fn content_size(head: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let descriptor = *head.strip_prefix(&MAGIC)?.first()?;
    let single_segment = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let width = match descriptor >> 6 {
        0 if single_segment => 1,
        0 => return None,
        n => 1 << n,
    };
    let at = 5 + usize::from(!single_segment) + dictionary;
    let mut size = [0; 8];
    size[..width].copy_from_slice(head.get(at..at + width)?);
    let size = u64::from_le_bytes(size);
    Some(if width == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_in_a_frames_head_is_read() {
        for size in [
            0_usize,
            1,
            255,
            256,
            257,
            65_535,
            65_791,
            65_792,
            1 << 20,
            9 << 20,
        ] {
            let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
            let frame = compressor.compress(&vec![7; size]).unwrap();
            let head = &frame[..frame.len().min(FRAME_HEAD)];
            assert_eq!(content_size(head), Some(size as u64));
        }
        for head in [
            &b""[..],
            b"\x28\xb5\x2f\xfd",
            b"\x28\xb5\x2f\xfd\xe0\x01",
            b"not a frame",
        ] {
            assert_eq!(content_size(head), None);
        }
    }
}
