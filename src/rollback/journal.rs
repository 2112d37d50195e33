//! The journal of a rollback in progress: everything that a later process needs to finish it.
//!
//! ```text
//! magic "DXROLLBK"  8 bytes
//! version           4 bytes, little endian
//! payload length    8 bytes, little endian
//! payload           postcard of `Journal`
//! SHA-256           32 bytes, of everything before
//! ```

use std::ffi::OsString;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::Step;
use super::verify::VerifiedPlan;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::sys::Dir;

const MAGIC: &[u8; 8] = b"DXROLLBK";
/// The format that this program writes and reads.
const VERSION: u32 = 2;
const HEADER: usize = 20;
const CHECKSUM: usize = 32;
/// What a journal's name ends in.
const SUFFIX: &str = ".journal";

/// A rollback in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The id of the snapshot that takes the rollback back.
    pub(crate) redo: String,
    /// Only part of the snapshots is undone.
    pub(crate) filtered: bool,
    /// Bytes of current content saved in the redo snapshot.
    pub(crate) saved_bytes: u64,
    pub(crate) plan: VerifiedPlan,
}

/// The file name of the journal of the rollback with this redo snapshot.
pub(crate) fn name(redo: &str) -> OsString {
    OsString::from(format!("{redo}{SUFFIX}"))
}

/// The redo snapshot's id of a journal's file name; `None` for other files.
pub(crate) fn redo_of(name: &std::ffi::OsStr) -> Option<&str> {
    name.to_str()?.strip_suffix(SUFFIX)
}

/// Writes the journal into `dir`. On stable storage on return.
pub(crate) fn write(dir: &Dir, journal: &Journal) -> Result<()> {
    let context = || format!("cannot write the journal of rollback {}", journal.redo);
    let bytes = encode(journal).map_err(|e| {
        Error::new(
            ErrorKind::Io,
            Stage::Rollback,
            format!("{}: {e}", context()),
        )
    })?;
    let temporary = OsString::from(format!("{}.new", journal.redo));
    let stored = store(dir, &temporary, &name(&journal.redo), &bytes);
    if stored.is_err() {
        // Best effort: the first error is the one to report. The journal itself is there when only
        // its directory could not be synced; nobody may take it up.
        let _ = dir.unlink(&temporary);
        let _ = dir.unlink(&name(&journal.redo));
    }
    stored.context(Stage::Rollback, context)
}

fn store(
    dir: &Dir,
    temporary: &std::ffi::OsStr,
    name: &std::ffi::OsStr,
    bytes: &[u8],
) -> io::Result<()> {
    let mut file = dir.create_file(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    dir.rename(temporary, dir, name)?;
    dir.sync()
}

/// Removes a journal; durable on return.
pub(crate) fn remove(dir: &Dir, redo: &str) -> Result<()> {
    dir.unlink(&name(redo))
        .and_then(|()| dir.sync())
        .context(Stage::Rollback, || {
            format!("cannot remove the journal of rollback {redo}")
        })
}

/// Reads the journal of the rollback with the redo snapshot `redo`.
pub(crate) fn read(dir: &Dir, redo: &str) -> Result<Journal> {
    let name = name(redo);
    let mut bytes = Vec::new();
    dir.open_file(&name)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .context(Stage::Rollback, || {
            format!("cannot read the journal of rollback {redo}")
        })?;
    let journal = decode(&bytes)?;
    if journal.redo == redo {
        Ok(journal)
    } else {
        Err(damaged("it belongs to another rollback"))
    }
}

fn encode(journal: &Journal) -> postcard::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    bytes = postcard::to_io(journal, bytes)?;
    let length = (bytes.len() - HEADER) as u64;
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..HEADER].copy_from_slice(&length.to_le_bytes());
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Journal> {
    if bytes.len() < HEADER + CHECKSUM || &bytes[..8] != MAGIC {
        return Err(damaged("it is cut short or not a journal"));
    }
    let mut version = [0; 4];
    version.copy_from_slice(&bytes[8..12]);
    if u32::from_le_bytes(version) > VERSION {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            Stage::Rollback,
            "the journal of a rollback was written by a newer version",
        ));
    }
    if u32::from_le_bytes(version) < VERSION {
        return Err(damaged("it is from before the first release"));
    }
    let (covered, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    let mut length = [0; 8];
    length.copy_from_slice(&bytes[12..HEADER]);
    let payload = &covered[HEADER..];
    if u64::from_le_bytes(length) != payload.len() as u64 {
        return Err(damaged("its length is wrong"));
    }
    if Sha256::digest(covered)[..] != *checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let journal: Journal = postcard::from_bytes(payload).map_err(|e| damaged(&e.to_string()))?;
    if is_sound(&journal.plan) {
        Ok(journal)
    } else {
        Err(damaged("its entries do not fit together"))
    }
}

/// Whether entries are in order and refer only to entries that are there.
fn is_sound(plan: &VerifiedPlan) -> bool {
    let entries = &plan.plan().entries;
    let refers = |step: Step| match step {
        Step::Link { to: other } | Step::Reuse { of: other } => (other as usize) < entries.len(),
        _ => true,
    };
    entries.is_sorted_by(|a, b| a.path < b.path) && entries.iter().all(|e| refers(e.step))
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        Stage::Rollback,
        format!("the journal of a rollback is damaged: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;
    use crate::request::OnConflict;
    use crate::rollback::plan::RollbackPlan;
    use crate::rollback::verify::{Verdict, verify};

    fn journal() -> Journal {
        let Verdict::Ready(plan) = verify(
            RollbackPlan {
                snapshots: vec!["0123456789abcdef".into()],
                notes: vec!["a note".into()],
                ..RollbackPlan::default()
            },
            OnConflict::Abort,
            &[],
        ) else {
            panic!("an empty plan has no conflicts");
        };
        Journal {
            redo: "00000000000000aa".into(),
            filtered: true,
            saved_bytes: 7,
            plan: *plan,
        }
    }

    #[test]
    fn a_journal_reads_back_and_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let dir =
            Dir::open(&AbsPath::new(scratch.path().canonicalize().unwrap()).unwrap()).unwrap();
        write(&dir, &journal()).unwrap();
        let names = dir.names().unwrap();
        assert_eq!(redo_of(&names[0]), Some("00000000000000aa"));
        let back = read(&dir, "00000000000000aa").unwrap();
        assert_eq!((back.filtered, back.saved_bytes), (true, 7));
        assert_eq!(back.plan.plan().notes, ["a note"]);
        remove(&dir, "00000000000000aa").unwrap();
        assert!(dir.names().unwrap().is_empty());
    }

    #[test]
    fn a_journal_under_another_name_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let dir =
            Dir::open(&AbsPath::new(scratch.path().canonicalize().unwrap()).unwrap()).unwrap();
        write(&dir, &journal()).unwrap();
        dir.rename(&name("00000000000000aa"), &dir, &name("00000000000000bb"))
            .unwrap();
        let error = read(&dir, "00000000000000bb").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encode(&journal()).unwrap();
        assert!(decode(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
