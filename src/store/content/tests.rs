//! Every form, whole and damaged.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::compress::{Compressed, compress};
use super::delta::{BLOCK, BaseReader, encode};
use super::*;
use crate::entry::ContentHash;
use crate::seal::{Base, Form};
use crate::store::testing::hash as hash_of;
use crate::sys::Dir;

/// A directory with content in it.
struct Shelf {
    _temp: TempDir,
    path: PathBuf,
    dirs: OpenDirs,
}

impl Shelf {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap();
        Self {
            dirs: ContentDirs::from(path.clone()).open(),
            path,
            _temp: temp,
        }
    }

    fn dir(&self) -> &Dir {
        self.dirs.of("x").unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) -> File {
        fs::write(self.path.join(name), content).unwrap();
        File::open(self.path.join(name)).unwrap()
    }

    fn create(&self, name: &str) -> File {
        let path = self.path.join(name);
        let _ = fs::remove_file(&path);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        options.open(path).unwrap()
    }

    /// Keeps `content` as `new` in one form or the other; `old` is the base of a delta.
    fn keep(&self, kind: Kind, old: &[u8], content: &[u8]) -> Form {
        let raw = self.write("raw", content);
        let hash = hash_of(content);
        let base_file = self.write("plain", old);
        let compressed_base = matches!(kind, Kind::Delta { compressed: true });
        let base = Base {
            name: "base".into(),
            size: old.len() as u64,
            compressed: compressed_base,
        };
        if compressed_base {
            frame(&base_file, &self.create("base"));
        } else {
            self.write("base", old);
        }
        let to = self.create("new");
        match kind {
            Kind::Raw => {
                self.write("new", content);
                Form::Raw
            }
            Kind::Zstd => {
                let size = content.len() as u64;
                if compress(&raw, (size, &hash), 1, &to).unwrap() == Compressed::Incompressible {
                    frame(&raw, &self.create("new"));
                }
                Form::Zstd
            }
            Kind::Delta { .. } => {
                let mut reader = BaseReader::open(self.dir(), &base).unwrap();
                let size = content.len() as u64;
                encode(&raw, size, &mut reader, &to, u64::MAX)
                    .unwrap()
                    .unwrap();
                Form::Delta(base)
            }
        }
    }

    /// Reads `new` and copies it: what is copied is what was recorded, and what can be read can be
    /// copied. The other way round a frame that would need too much memory to be read piece by
    /// piece can be copied at once.
    fn read(&self, form: &Form, size: u64, hash: &ContentHash) -> Result<Vec<u8>, String> {
        let stored = Stored {
            name: "new",
            size,
            hash,
            form,
        };
        let inspected = inspect(&self.dirs, &stored);
        let mut content = Vec::new();
        let read = open(&self.dirs, &stored).and_then(|mut reader| {
            reader
                .by_ref()
                .take(size + 1)
                .read_to_end(&mut content)
                .map_err(|e| unreadable(&e))
        });
        let read = read.and_then(|_| {
            (hash_of(&content) == *hash)
                .then_some(content)
                .ok_or_else(|| "is damaged: other content".to_owned())
        });
        let to = tempfile::tempfile().unwrap();
        let copied = copy_into(&self.dirs, &stored, &to, false);
        assert!(copied.is_ok() || read.is_err(), "{read:?} {copied:?}");
        if copied.is_ok() {
            let mut whole = vec![0; to.metadata().unwrap().len() as usize];
            to.read_exact_at(&mut whole, 0).unwrap();
            assert_eq!(whole.len() as u64, size);
            assert_eq!(hash_of(&whole), *hash);
        }
        if read.is_ok() {
            assert_eq!(inspected, Ok(()));
            let mut copy = Vec::new();
            (&to).read_to_end(&mut copy).unwrap();
            let mut whole = vec![0; to.metadata().unwrap().len() as usize];
            to.read_exact_at(&mut whole, 0).unwrap();
            assert_eq!(Some(&whole), read.as_ref().ok());
        }
        read
    }
}

/// Any content as one frame, whether that saves anything or not.
fn frame(from: &File, to: &File) {
    let mut content = Vec::new();
    File::try_clone(from)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.include_checksum(true).unwrap();
    to.write_all_at(&compressor.compress(&content).unwrap(), 0)
        .unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Raw,
    Zstd,
    Delta { compressed: bool },
}

const KINDS: [Kind; 4] = [
    Kind::Raw,
    Kind::Zstd,
    Kind::Delta { compressed: false },
    Kind::Delta { compressed: true },
];

/// Content that is neither uniform nor random.
fn text(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..size)
        .map(|at| {
            if at % 16 == 0 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
            }
            (state >> 33) as u8
        })
        .collect()
}

/// `old` with some of it changed, and of another length.
fn edited(old: &[u8], edits: &[(usize, u8)], size: usize) -> Vec<u8> {
    let mut new = old.to_vec();
    new.resize(size, 0x5a);
    for (at, byte) in edits {
        if size > 0 {
            new[at % size] = *byte;
        }
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_form_gives_back_what_was_kept(
        seed: u64,
        old in 0..300_000_usize,
        size in prop_oneof![Just(0_usize), 1..300_000_usize, Just(BLOCK), Just(2 * BLOCK)],
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
    ) {
        let old = text(seed, old);
        let new = edited(&old, &edits, size);
        for kind in KINDS {
            let shelf = Shelf::new();
            let form = shelf.keep(kind, &old, &new);
            let read = shelf.read(&form, new.len() as u64, &hash_of(&new));
            prop_assert_eq!(read.as_ref(), Ok(&new), "{:?}", kind);
        }
    }

    #[test]
    fn damaged_files_are_noticed(
        seed: u64,
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        damage in prop::collection::vec((any::<usize>(), 0..8_u8), 1..3),
        cut: usize,
    ) {
        let old = text(seed, 150_000);
        let new = edited(&old, &edits, 160_000);
        for kind in KINDS {
            let shelf = Shelf::new();
            let form = shelf.keep(kind, &old, &new);
            let hash = hash_of(&new);
            let files = match kind {
                Kind::Delta { .. } => vec!["new", "base"],
                Kind::Raw | Kind::Zstd => vec!["new"],
            };
            for name in files {
                let path = shelf.path.join(name);
                let good = fs::read(&path).unwrap();
                let mut bad = good.clone();
                for (at, bit) in &damage {
                    let at = at % bad.len();
                    bad[at] ^= 1 << bit;
                }
                for bad in [bad, good[..cut % good.len()].to_vec(), [&good[..], b"x"].concat()] {
                    fs::write(&path, &bad).unwrap();
                    // What changes nothing of the content is harmless: a base may be longer, blocks
                    // of it that the delta replaces do not matter, and some bits of a frame's head
                    // are without meaning.
                    if let Ok(read) = shelf.read(&form, new.len() as u64, &hash) {
                        prop_assert!(read == new, "{:?} {}", kind, name);
                    }
                }
                fs::write(&path, &good).unwrap();
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_frame_and_a_delta_is_noticed() {
    let old = text(7, 3 * BLOCK);
    let new = edited(&old, &[(10, 1), (2 * BLOCK, 2)], 3 * BLOCK);
    let small = text(9, 5_000);
    let cases: [(Kind, &[u8]); 2] = [
        (Kind::Zstd, &small),
        (Kind::Delta { compressed: false }, &new),
    ];
    for (kind, content) in cases {
        let shelf = Shelf::new();
        let form = shelf.keep(kind, &old, content);
        let path = shelf.path.join("new");
        let good = fs::read(&path).unwrap();
        let (size, hash) = (content.len() as u64, hash_of(content));
        let step = good.len() / 300 + 1;
        for at in (0..good.len()).filter(|at| *at < 64 || at % step == 0) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            // A bit of a frame's head may be without meaning; the content never is another one.
            if let Ok(read) = shelf.read(&form, size, &hash) {
                assert_eq!(read, content, "{kind:?}: byte {at}");
            }
            fs::write(&path, &good[..at]).unwrap();
            shelf.read(&form, size, &hash).unwrap_err();
        }
    }
}

#[test]
fn another_size_or_hash_than_recorded_is_noticed_in_every_form() {
    let (old, new) = (text(1, 200_000), text(2, 100_000));
    for kind in KINDS {
        let shelf = Shelf::new();
        let form = shelf.keep(kind, &old, &new);
        let (size, hash) = (new.len() as u64, hash_of(&new));
        for wrong in [0, size - 1, size + 1, u64::from(u32::MAX)] {
            let error = shelf.read(&form, wrong, &hash).unwrap_err();
            assert!(error.contains("damaged"), "{kind:?} {wrong}: {error}");
        }
        let error = shelf.read(&form, size, &hash_of(b"other")).unwrap_err();
        assert!(error.contains("damaged"), "{kind:?}: {error}");
    }
}

#[test]
fn a_frame_that_would_fill_the_disk_gives_no_more_than_was_recorded() {
    let shelf = Shelf::new();
    let mut encoder = zstd::stream::write::Encoder::new(shelf.create("new"), 3).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(1 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let hash = hash_of(b"");
    let stored = Stored {
        name: "new",
        size: 1000,
        hash: &hash,
        form: &Form::Zstd,
    };
    let to = tempfile::tempfile().unwrap();
    let error = copy_into(&shelf.dirs, &stored, &to, false).unwrap_err();
    assert!(error.to_string().contains("longer"), "{error}");
    assert!(to.metadata().unwrap().len() <= 1000);
}

#[test]
fn a_frame_with_a_huge_window_is_refused() {
    let shelf = Shelf::new();
    let mut encoder = zstd::stream::write::Encoder::new(shelf.create("new"), 3).unwrap();
    encoder.window_log(27).unwrap();
    let content = text(3, 100_000);
    std::io::Write::write_all(&mut encoder, &content).unwrap();
    encoder.finish().unwrap();
    let (size, hash) = (content.len() as u64, hash_of(&content));
    let error = shelf.read(&Form::Zstd, size, &hash).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn missing_files_are_named() {
    for kind in KINDS {
        let shelf = Shelf::new();
        let content = text(1, 70_000);
        let form = shelf.keep(kind, &content, &content);
        let (size, hash) = (content.len() as u64, hash_of(&content));
        if let Form::Delta(base) = &form {
            fs::remove_file(shelf.path.join(&base.name)).unwrap();
            let error = shelf.read(&form, size, &hash).unwrap_err();
            assert!(error.contains("its base base is missing"), "{error}");
        }
        fs::remove_file(shelf.path.join("new")).unwrap();
        let error = shelf.read(&form, size, &hash).unwrap_err();
        assert_eq!(error, "is missing", "{kind:?}");
    }
}

#[test]
fn holes_stay_holes_in_every_form() {
    let mut content = vec![0; 8 << 20];
    content[100..200].fill(7);
    content[5 << 20..(5 << 20) + 10].fill(8);
    for kind in [Kind::Zstd, Kind::Delta { compressed: true }] {
        let shelf = Shelf::new();
        let form = shelf.keep(kind, &content[..1 << 20], &content);
        let hash = hash_of(&content);
        let stored = Stored {
            name: "new",
            size: content.len() as u64,
            hash: &hash,
            form: &form,
        };
        for (sparse, most) in [(true, 1 << 20), (false, u64::MAX)] {
            let to = tempfile::tempfile().unwrap();
            copy_into(&shelf.dirs, &stored, &to, sparse).unwrap();
            let mut copy = vec![0; content.len()];
            to.read_exact_at(&mut copy, 0).unwrap();
            assert_eq!(to.metadata().unwrap().len(), content.len() as u64);
            assert!(copy == content);
            let allocated = to.metadata().unwrap().blocks() * 512;
            assert!(allocated <= most, "{kind:?} {sparse}: {allocated}");
        }
    }
}

#[test]
fn a_delta_holds_the_blocks_that_differ_and_no_more() {
    let old = text(5, 40 * BLOCK);
    let new = edited(&old, &[(3 * BLOCK + 5, 1), (20 * BLOCK, 2)], 40 * BLOCK);
    let shelf = Shelf::new();
    shelf.keep(Kind::Delta { compressed: false }, &old, &new);
    let bytes = fs::metadata(shelf.path.join("new")).unwrap().len();
    assert!(bytes < 2 * BLOCK as u64, "{bytes}");
    // Under a limit that it would exceed nothing is kept.
    let base = Base {
        name: "base".into(),
        size: old.len() as u64,
        compressed: false,
    };
    let mut reader = BaseReader::open(shelf.dir(), &base).unwrap();
    let raw = File::open(shelf.path.join("raw")).unwrap();
    let to = shelf.create("limited");
    let limited = encode(&raw, new.len() as u64, &mut reader, &to, 1000).unwrap();
    assert_eq!(limited, None);
}

#[test]
fn blocks_out_of_order_are_refused() {
    let old = text(5, 3 * BLOCK);
    for numbers in [[1, 1], [1, 0], [0, 3], [2, u64::MAX]] {
        let shelf = Shelf::new();
        let form = shelf.keep(Kind::Delta { compressed: false }, &old, &old);
        let mut bytes = b"DPXDELT1".to_vec();
        bytes.extend_from_slice(&(old.len() as u64).to_le_bytes());
        let mut records = Vec::new();
        for number in numbers {
            records.extend_from_slice(&number.to_le_bytes());
            records.extend_from_slice(&old[..BLOCK]);
        }
        bytes.extend_from_slice(&zstd::bulk::compress(&records, 1).unwrap());
        fs::write(shelf.path.join("new"), bytes).unwrap();
        let error = shelf
            .read(&form, old.len() as u64, &hash_of(&old))
            .unwrap_err();
        assert!(error.contains("damaged"), "{numbers:?}: {error}");
    }
}
