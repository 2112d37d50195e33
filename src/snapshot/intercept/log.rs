//! The file with the records of one command.
//!
//! A record is its length, a check sum and its bytes. What follows the last whole one was being
//! written when the process was killed: the call that it speaks of was not carried out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::record::Record;

/// Bytes before each record.
const HEADER: usize = 8;

/// The records of a command that runs.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    buffer: Vec<u8>,
    unsynced: bool,
}

impl Log {
    /// Opens the log at `path`, which need not exist, and gives what is in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, whole) = decode(&bytes);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let log = Self {
            file,
            buffer: Vec::new(),
            unsynced: false,
        };
        Ok((log, records))
    }

    /// Adds a record, which [`flush`](Self::flush) writes.
    pub(super) fn add(&mut self, record: &Record) -> io::Result<()> {
        let at = self.buffer.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(at + HEADER, 0);
        self.buffer = postcard::to_extend(record, buffer).map_err(io::Error::other)?;
        let (header, body) = self.buffer[at..].split_at_mut(HEADER);
        header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[4..].copy_from_slice(&sum(body).to_le_bytes());
        Ok(())
    }

    /// Writes what was added. It outlives this process on return.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.unsynced = true;
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }

    /// Puts what was added on stable storage.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Whether something is not on stable storage yet.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }
}

/// The records in the file at `path`.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record>> {
    Ok(decode(&std::fs::read(path)?).0)
}

/// The whole records at the beginning of `bytes`, and how many bytes they take.
pub(super) fn decode(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((record, length)) = decode_one(&bytes[at..]) {
        records.push(record);
        at += length;
    }
    (records, at)
}

fn decode_one(bytes: &[u8]) -> Option<(Record, usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let body = rest.get(..length)?;
    if length == 0 || header[4..] != sum(body).to_le_bytes() {
        return None;
    }
    Some((postcard::from_bytes(body).ok()?, HEADER + length))
}

/// FNV-1a: finds what was written in part, not what somebody changed on purpose.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: usize) -> Record {
        Record::Note {
            text: "x".repeat(number),
        }
    }

    #[test]
    fn a_log_cut_anywhere_gives_the_whole_records_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut log, found) = Log::open(&path).unwrap();
        assert!(found.is_empty());
        let mut ends = vec![0];
        for number in 1..5 {
            log.add(&note(number)).unwrap();
            log.flush().unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let expected: Vec<_> = (1..=whole).map(note).collect();
            assert_eq!(read(&path).unwrap(), expected, "{cut}");
            let (mut log, found) = Log::open(&path).unwrap();
            assert_eq!(found, expected);
            log.add(&note(9)).unwrap();
            log.flush().unwrap();
            assert_eq!(read(&path).unwrap().last(), Some(&note(9)));
        }
    }

    #[test]
    fn a_damaged_record_ends_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut log, _) = Log::open(&path).unwrap();
        for number in 1..4 {
            log.add(&note(number)).unwrap();
        }
        log.flush().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap(), [note(1), note(2)]);
    }
}
