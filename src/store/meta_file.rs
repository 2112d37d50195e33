//! Reading and writing `<snapshot_id>.json`.
//!
//! The file is one JSON object on two lines. The first line holds the checksum of all that
//! follows, so that `tail -n +2 FILE | sha256sum` gives the same figure:
//!
//! ```text
//! {"checksum":"sha256:<64 hexadecimal digits>",
//! "format_version":1,"snapshot_id":"…",…}
//! ```

use serde::Deserialize;

use super::checksum::{self, Sealing};
use super::content::check_places;
use super::{SnapshotId, SnapshotMeta};
use crate::error::{Error, ErrorKind, Result, Stage};

/// The most bytes of a metadata file that are read.
pub(super) const MAX_BYTES: u64 = 256 << 20;

const PREFIX: &[u8] = b"{\"checksum\":\"";
const SUFFIX: &[u8] = b"\",\n";

/// A run of so many NUL bytes is what a filesystem leaves where data never reached the disk. JSON
/// has none, and a few flipped bits cannot make so many.
const UNWRITTEN_RUN: usize = 16;

/// The part of the metadata that every version of the format has.
#[derive(Deserialize)]
struct Version {
    format_version: u64,
}

/// The file's bytes.
pub(super) fn encode(meta: &SnapshotMeta, sealing: &Sealing) -> Result<Vec<u8>> {
    if !meta.timestamp.is_finite() {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Store,
            "the snapshot's timestamp is not a number",
        ));
    }
    let mut body = serde_json::to_vec(meta).map_err(|error| {
        Error::io(
            Stage::Store,
            format!("cannot write the metadata of {} as JSON", meta.snapshot_id),
            error.into(),
        )
    })?;
    body.push(b'\n');
    // The opening brace stands on the first line.
    let rest = &body[1..];
    let checksum = checksum::hex(&sealing.checksum(&[rest]));
    let first = [
        PREFIX,
        sealing.name().as_bytes(),
        b":",
        checksum.as_bytes(),
        SUFFIX,
    ];
    Ok([first.concat().as_slice(), rest].concat())
}

/// Checks and reads the file's bytes, which may be hostile.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where the checksum differs, is of another kind than `sealing`, or the
/// file is another snapshot's; [`ErrorKind::NewerFormat`] where a newer program wrote it.
pub(super) fn decode(id: &SnapshotId, bytes: &[u8], sealing: &Sealing) -> Result<SnapshotMeta> {
    let rest = match verified(bytes, sealing) {
        Ok(rest) => rest,
        Err(Mismatch::Frame) if is_newer(bytes) => return Err(newer(id)),
        Err(mismatch) => return Err(corrupt(id, mismatch.text())),
    };
    let object = [b"{", rest].concat();
    if is_newer(&object) {
        return Err(newer(id));
    }
    let meta: SnapshotMeta = serde_json::from_slice(&object)
        .map_err(|error| corrupt(id, &format!("is not the metadata of a snapshot ({error})")))?;
    if meta.snapshot_id != *id {
        return Err(corrupt(id, "is the metadata of another snapshot"));
    }
    check_places(id, &meta.places).map_err(|what| corrupt(id, &what))?;
    Ok(meta)
}

/// Whether the bytes are what a crash leaves of a file that was never synced.
pub(super) fn was_never_synced(bytes: &[u8]) -> bool {
    bytes.is_empty()
        || bytes
            .windows(UNWRITTEN_RUN)
            .any(|run| run.iter().all(|b| *b == 0))
}

/// Why a file does not pass.
enum Mismatch {
    /// The first line is not as it should be.
    Frame,
    /// The checksum is of the other kind: there is a key and there was none, or the reverse.
    Kind { keyed: bool },
    /// The checksum differs.
    Checksum,
}

impl Mismatch {
    fn text(&self) -> &'static str {
        match self {
            Self::Frame => "is damaged: its first line has no checksum",
            Self::Kind { keyed: true } => {
                "was written without a key and does not pass in a store with one"
            }
            Self::Kind { keyed: false } => "was written with a key: open the store with that key",
            Self::Checksum => "is damaged or was changed by hand: its checksum differs",
        }
    }
}

/// The bytes after the first line, once their checksum has passed.
fn verified<'a>(bytes: &'a [u8], sealing: &Sealing) -> std::result::Result<&'a [u8], Mismatch> {
    let after = bytes.strip_prefix(PREFIX).ok_or(Mismatch::Frame)?;
    let own = [sealing.name(), ":"].concat();
    let Some(after) = after.strip_prefix(own.as_bytes()) else {
        let other = after.starts_with(b"sha256:") || after.starts_with(b"hmac-sha256:");
        let keyed = sealing.is_keyed();
        return Err(if other {
            Mismatch::Kind { keyed }
        } else {
            Mismatch::Frame
        });
    };
    let (stored, after) = after
        .split_at_checked(2 * checksum::LENGTH)
        .ok_or(Mismatch::Frame)?;
    let rest = after.strip_prefix(SUFFIX).ok_or(Mismatch::Frame)?;
    let computed = checksum::hex(&sealing.checksum(&[rest]));
    if checksum::equal(computed.as_bytes(), stored) {
        Ok(rest)
    } else {
        Err(Mismatch::Checksum)
    }
}

fn is_newer(object: &[u8]) -> bool {
    serde_json::from_slice::<Version>(object)
        .is_ok_and(|v| v.format_version > u64::from(SnapshotMeta::FORMAT_VERSION))
}

fn newer(id: &SnapshotId) -> Error {
    Error::new(
        ErrorKind::NewerFormat,
        Stage::Store,
        format!("{id}.json was written by a newer version of deployx; use that version"),
    )
}

fn corrupt(id: &SnapshotId, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        Stage::Store,
        format!("{id}.json {what} (see `deployx verify {id}`)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::meta;

    fn keyed(byte: u8) -> Sealing {
        Sealing::new(Some(&[byte; 32])).unwrap()
    }

    /// The same metadata with `text` replaced in the body, and the checksum made good.
    fn rewritten(meta: &SnapshotMeta, from: &str, to: &str) -> Vec<u8> {
        let text = String::from_utf8(encode(meta, &Sealing::Plain).unwrap()).unwrap();
        let rest = text.split_once('\n').unwrap().1.replacen(from, to, 1);
        let sum = checksum::hex(&Sealing::Plain.checksum(&[rest.as_bytes()]));
        format!("{{\"checksum\":\"sha256:{sum}\",\n{rest}").into_bytes()
    }

    #[test]
    fn what_was_written_is_read_back_and_is_json() {
        let meta = meta("echo 'a\nb' \u{1b}");
        for sealing in [Sealing::Plain, keyed(1)] {
            let bytes = encode(&meta, &sealing).unwrap();
            assert_eq!(decode(&meta.snapshot_id, &bytes, &sealing).unwrap(), meta);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["snapshot_id"], meta.snapshot_id.as_str());
            assert_eq!(bytes.split(|b| *b == b'\n').count(), 3, "two lines");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let meta = meta("rm -rf build");
        let bytes = encode(&meta, &Sealing::Plain).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(&meta.snapshot_id, &damaged, &Sealing::Plain).is_err(),
                "bit {bit} was not noticed"
            );
        }
        for length in 0..bytes.len() {
            let result = decode(&meta.snapshot_id, &bytes[..length], &Sealing::Plain);
            assert_eq!(
                result.unwrap_err().kind(),
                ErrorKind::Corrupt,
                "cut at {length}"
            );
        }
    }

    #[test]
    fn another_key_no_key_or_a_key_too_many_is_refused() {
        let meta = meta("true");
        for (written, read) in [
            (keyed(1), keyed(2)),
            (keyed(1), Sealing::Plain),
            (Sealing::Plain, keyed(1)),
        ] {
            let bytes = encode(&meta, &written).unwrap();
            let error = decode(&meta.snapshot_id, &bytes, &read).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let meta = meta("true");
        let newer = rewritten(&meta, "\"format_version\":1", "\"format_version\":2");
        let other_frame = br#"{"format_version":2,"signature":"?"}"#.to_vec();
        for bytes in [newer, other_frame] {
            let error = decode(&meta.snapshot_id, &bytes, &Sealing::Plain).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NewerFormat, "{error}");
        }
    }

    #[test]
    fn fields_of_a_later_program_are_ignored() {
        let meta = meta("true");
        let bytes = rewritten(&meta, "\"state\":", "\"colour\":\"red\",\"state\":");
        assert_eq!(
            decode(&meta.snapshot_id, &bytes, &Sealing::Plain).unwrap(),
            meta
        );
    }

    #[test]
    fn the_metadata_of_another_snapshot_is_refused() {
        let bytes = encode(&meta("true"), &Sealing::Plain).unwrap();
        let error = decode(&SnapshotId::random(), &bytes, &Sealing::Plain).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn only_an_unwritten_file_counts_as_never_synced() {
        let bytes = encode(&meta("true"), &Sealing::Plain).unwrap();
        assert!(!was_never_synced(&bytes));
        assert!(was_never_synced(b""));
        assert!(was_never_synced(&[0; 100]));
        let mut one_flipped = bytes;
        one_flipped[5] = 0;
        assert!(!was_never_synced(&one_flipped));
    }

    #[test]
    fn a_timestamp_that_is_not_a_number_is_refused_when_written() {
        let mut meta = meta("true");
        meta.timestamp = f64::NAN;
        assert!(encode(&meta, &Sealing::Plain).is_err());
    }
}
