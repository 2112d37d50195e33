//! `<snapshot_id>/manifest`: the undo record.
//!
//! ```text
//! offset  bytes  what
//!      0      8  magic "DPXUNDO\n"
//!      8      4  format version, little-endian
//!     12      4  flags, little-endian: bit 0 = the checksum is an HMAC; all others 0
//!     16      8  snapshot id as a big-endian number
//!     24      8  payload length, little-endian
//!     32      n  payload: the undo record in postcard encoding
//!   32+n     32  SHA-256, or HMAC-SHA256 with the store's key, of everything before
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::SnapshotId;
use super::checksum::{self, Checksum, Hasher, Sealing};
use super::validate::validate;
use crate::seal::UndoRecord;

const MAGIC: &[u8; 8] = b"DPXUNDO\n";
const VERSION: u32 = 2;
const KEYED: u32 = 1;
const HEADER: usize = 32;
/// From so many bytes on, a manifest is decoded while its checksum is computed.
const AT_ONCE_FROM: usize = 256 << 10;

/// Why a manifest does not pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ManifestError {
    /// A newer program wrote it.
    Newer,
    /// It is damaged; in which way.
    Damaged(String),
}

/// Writes the manifest and gives its checksum. Holds no second copy of the record in memory.
pub(super) fn write(
    file: &mut File,
    id: &SnapshotId,
    record: &UndoRecord,
    sealing: &Sealing,
) -> io::Result<Checksum> {
    let length = postcard::serialize_with_flavor(record, postcard::ser_flavors::Size::default())
        .map_err(encoding)?;
    let mut out = BufWriter::with_capacity(
        256 << 10,
        Hashing {
            file,
            hasher: sealing.hasher(),
            failure: None,
        },
    );
    out.write_all(&header(id, length as u64, sealing))?;
    let encoded = postcard::to_io(record, &mut out).map(drop);
    if let Err(error) = encoded {
        // The encoder only says that it could not write.
        let failure = out.get_mut().failure.take();
        return Err(failure.unwrap_or_else(|| encoding(error)));
    }
    let Hashing { file, hasher, .. } = out.into_inner().map_err(|failed| {
        let (error, mut out) = failed.into_parts();
        out.get_mut().failure.take().unwrap_or(error)
    })?;
    let checksum = hasher.finish();
    file.write_all(&checksum)?;
    Ok(checksum)
}

/// Checks and reads a whole manifest, which may be hostile.
pub(super) fn read(
    bytes: &[u8],
    id: &SnapshotId,
    sealing: &Sealing,
) -> Result<(UndoRecord, Checksum), ManifestError> {
    let verified = || verified(bytes, id, sealing);
    let decoded = || decode(bytes);
    // Where there is a key, nothing is decoded that others may have written.
    let (checksum, record) = if sealing.is_keyed() || bytes.len() < AT_ONCE_FROM {
        (verified()?, decoded())
    } else {
        let (verified, decoded) = rayon::join(verified, decoded);
        (verified?, decoded)
    };
    let record = record?;
    validate(&record).map_err(ManifestError::Damaged)?;
    Ok((record, checksum))
}

/// The record in a manifest, whether that is intact or not.
fn decode(bytes: &[u8]) -> Result<UndoRecord, ManifestError> {
    let damaged = |what: String| ManifestError::Damaged(what);
    let payload = bytes.len().checked_sub(checksum::LENGTH);
    let payload = payload.and_then(|end| bytes.get(HEADER..end));
    let (record, rest) = postcard::take_from_bytes::<UndoRecord>(payload.unwrap_or_default())
        .map_err(|error| damaged(format!("is not an undo record ({error})")))?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(damaged("has bytes after the undo record".into()))
    }
}

/// The checksum of a manifest, where that and the frame pass.
fn verified(bytes: &[u8], id: &SnapshotId, sealing: &Sealing) -> Result<Checksum, ManifestError> {
    let damaged = |what: &str| ManifestError::Damaged(what.to_owned());
    if bytes.len() < HEADER + checksum::LENGTH {
        return Err(damaged("is cut short"));
    }
    let (covered, stored) = bytes.split_at(bytes.len() - checksum::LENGTH);
    if !covered.starts_with(MAGIC) {
        return Err(damaged("does not begin like a manifest"));
    }
    if word(covered, 12) & KEYED != flags(sealing) {
        return Err(damaged(if sealing.is_keyed() {
            "was written without a key and does not pass in a store with one"
        } else {
            "was written with a key: open the store with that key"
        }));
    }
    let checksum = sealing.checksum(&[covered]);
    if !checksum::equal(&checksum, stored) {
        return Err(damaged("does not match its checksum"));
    }
    match word(covered, 8) {
        version if version > VERSION => return Err(ManifestError::Newer),
        VERSION => {}
        _ => return Err(damaged("is of a version before the first release")),
    }
    let payload = &covered[HEADER..];
    if covered[..HEADER] != header(id, payload.len() as u64, sealing) {
        return Err(damaged("has a header that does not fit"));
    }
    Ok(checksum)
}

fn header(id: &SnapshotId, length: u64, sealing: &Sealing) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&flags(sealing).to_le_bytes());
    header[16..24].copy_from_slice(&id.number().to_be_bytes());
    header[24..].copy_from_slice(&length.to_le_bytes());
    header
}

fn flags(sealing: &Sealing) -> u32 {
    if sealing.is_keyed() { KEYED } else { 0 }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn encoding(error: postcard::Error) -> io::Error {
    io::Error::other(error)
}

/// Hashes what it writes.
struct Hashing<'a> {
    file: &'a mut File,
    hasher: Hasher,
    /// Why the last write failed.
    failure: Option<io::Error>,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            io::Error::from(kind)
        })?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{deleted, record};

    fn written(record: &UndoRecord, id: &SnapshotId, sealing: &Sealing) -> Vec<u8> {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let mut file = temp.reopen().unwrap();
        let checksum = write(&mut file, id, record, sealing).unwrap();
        let bytes = std::fs::read(temp.path()).unwrap();
        assert!(bytes.ends_with(&checksum));
        bytes
    }

    /// The bytes with `change` made and the checksum made good.
    fn resealed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = bytes[..bytes.len() - checksum::LENGTH].to_vec();
        change(&mut bytes);
        let checksum = Sealing::Plain.checksum(&[&bytes]);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    fn damage(result: Result<(UndoRecord, Checksum), ManifestError>) -> String {
        match result {
            Err(ManifestError::Damaged(what)) => what,
            other => panic!("not found damaged: {other:?}"),
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named_whenever_it_is_noticed() {
        for changes in [1, 5_000] {
            let mut full = File::options().write(true).open("/dev/full").unwrap();
            let id = SnapshotId::random();
            let error = write(&mut full, &id, &record(changes), &Sealing::Plain).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
            assert!(error.raw_os_error().is_some(), "{error}");
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (id, record) = (SnapshotId::random(), record(3));
        for sealing in [Sealing::Plain, Sealing::new(Some(&[7; 32])).unwrap()] {
            let bytes = written(&record, &id, &sealing);
            assert_eq!(read(&bytes, &id, &sealing).unwrap().0, record);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let id = SnapshotId::random();
        let bytes = written(&record(2), &id, &Sealing::Plain);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damage(read(&damaged, &id, &Sealing::Plain));
        }
        for length in 0..bytes.len() {
            damage(read(&bytes[..length], &id, &Sealing::Plain));
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        damage(read(&longer, &id, &Sealing::Plain));
    }

    #[test]
    fn a_manifest_of_another_snapshot_or_key_is_refused() {
        let id = SnapshotId::random();
        let key = Sealing::new(Some(&[7; 32])).unwrap();
        let other = Sealing::new(Some(&[8; 32])).unwrap();
        let bytes = written(&record(1), &id, &Sealing::Plain);
        damage(read(&bytes, &SnapshotId::random(), &Sealing::Plain));
        damage(read(&bytes, &id, &key));
        let bytes = written(&record(1), &id, &key);
        damage(read(&bytes, &id, &Sealing::Plain));
        damage(read(&bytes, &id, &other));
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let id = SnapshotId::random();
        let bytes = written(&record(1), &id, &Sealing::Plain);
        let older = resealed(&bytes, |b| b[8] = 1);
        assert!(damage(read(&older, &id, &Sealing::Plain)).contains("before the first"));
        let newer = resealed(&bytes, |b| b[8] = 3);
        assert_eq!(
            read(&newer, &id, &Sealing::Plain).unwrap_err(),
            ManifestError::Newer
        );
        let unknown_flag = resealed(&bytes, |b| b[12] = 4);
        damage(read(&unknown_flag, &id, &Sealing::Plain));
    }

    #[test]
    fn hostile_lengths_inside_the_payload_are_refused_without_allocating() {
        let id = SnapshotId::random();
        let bytes = written(&record(1), &id, &Sealing::Plain);
        // The first field is the number of changes: claim 2^63 of them.
        let huge = resealed(&bytes, |b| {
            b.truncate(HEADER);
            b.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
            b[24..32].copy_from_slice(&9u64.to_le_bytes());
        });
        assert!(damage(read(&huge, &id, &Sealing::Plain)).contains("not an undo record"));
    }

    #[test]
    fn bytes_after_the_record_and_forged_names_are_refused() {
        let id = SnapshotId::random();
        let bytes = written(&record(1), &id, &Sealing::Plain);
        let length = bytes.len() - HEADER - checksum::LENGTH + 1;
        let trailing = resealed(&bytes, |b| {
            b.push(0);
            b[24..32].copy_from_slice(&(length as u64).to_le_bytes());
        });
        assert!(damage(read(&trailing, &id, &Sealing::Plain)).contains("bytes after"));
        let mut forged = record(0);
        forged.changes.push(deleted("/a", "../../etc/shadow", b"x"));
        let bytes = written(&forged, &id, &Sealing::Plain);
        assert!(damage(read(&bytes, &id, &Sealing::Plain)).contains("name"));
    }

    #[test]
    fn a_hundred_thousand_entries_pass() {
        let (id, record) = (SnapshotId::random(), record(100_000));
        let bytes = written(&record, &id, &Sealing::Plain);
        assert_eq!(
            read(&bytes, &id, &Sealing::Plain).unwrap().0.changes.len(),
            100_000
        );
    }
}
