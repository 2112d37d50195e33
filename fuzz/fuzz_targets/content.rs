//! Any bytes as what the store keeps of a file, in every form. Whatever they are, no more than the
//! recorded size comes out, and without an error only the recorded content.
#![no_main]

use std::io::Read;
use std::path::PathBuf;
use std::sync::LazyLock;

use deployx::AbsPath;
use deployx::entry::{ContentHash, EntryKind, EntryState, Identity, Timestamp};
use deployx::seal::{Base, Change, Form, PreImage};
use deployx::store::ContentDirs;

/// The content that is recorded, and its SHA-256.
const CONTENT: &[u8] = b"abc";
const HASH: [u8; 32] = [
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
];

static FILES: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().canonicalize().unwrap();
    (temp, path)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(4) else {
        return;
    };
    let (kind, split) = (head[0], usize::from(head[1]) * rest.len() / 255);
    // Mostly the size that is right for the hash, else up to a few blocks.
    let size = match head[2] {
        0..128 => CONTENT.len() as u64,
        high => u64::from(high & 7) << 16 | u64::from(head[3]),
    };
    let (file, base) = rest.split_at(split);
    let files = &FILES.1;
    std::fs::write(files.join("file"), file).unwrap();
    std::fs::write(files.join("base"), base).unwrap();
    let form = match kind % 4 {
        0 => Form::Raw,
        1 => Form::Zstd,
        n => Form::Delta(Base {
            name: "base".into(),
            size: base.len() as u64,
            compressed: n == 3,
        }),
    };
    let change = Change {
        path: AbsPath::new("/x").unwrap(),
        before: Some(state(size)),
        after: None,
        content: PreImage::Stored {
            name: "file".into(),
            hash: ContentHash(HASH),
            form,
        },
    };
    let dirs = ContentDirs::from(files.clone());
    let Ok(reader) = dirs.read(&change) else {
        return;
    };
    let mut read = Vec::new();
    let done = reader.unwrap().read_to_end(&mut read);
    assert!(read.len() as u64 <= size);
    if done.is_ok() {
        assert_eq!(read, CONTENT);
    }
});

fn state(size: u64) -> EntryState {
    EntryState {
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        allocated: size,
        modified: Timestamp::default(),
        accessed: Timestamp::default(),
        hash: Some(ContentHash(HASH)),
        target: None,
        device: None,
        xattrs: Vec::new(),
        flags: 0,
        identity: Identity {
            device: 1,
            inode: 2,
            links: 1,
            changed: Timestamp::default(),
        },
    }
}
