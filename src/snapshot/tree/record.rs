//! Rows of the baseline: what is known about one directory and the entries in it.

use std::ffi::OsStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entry::{ContentHash, DeviceNumber, EntryKind, EntryState, Identity, Timestamp, Xattr};
use crate::path::{AbsPath, PathError, os_string};
use crate::sys::Stat;

/// A change time this close to the moment of looking proves nothing: filesystems stamp with a
/// coarse clock, so a later change can carry the same stamp.
pub(in crate::snapshot) const RACY_WINDOW: Duration = Duration::from_millis(20);

/// Where an entry's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::snapshot) enum Content {
    /// Not a file, or an empty one.
    None,
    /// Kept as an object, with its hash where it was read.
    Object(Object, Option<ContentHash>),
    /// Kept elsewhere, where the strategy finds it by the entry's path.
    Elsewhere,
    /// Not kept.
    Unkept(Unkept),
}

/// A file of the baseline that holds content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in crate::snapshot) struct Object {
    /// Its number.
    pub(in crate::snapshot) serial: u64,
    /// Several names of one inode have it in common, or it went from one row to another: rows that
    /// refer to it are counted.
    pub(in crate::snapshot) shared: bool,
}

/// Why content is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::snapshot) enum Unkept {
    /// Above the limit for one file.
    TooLarge,
    /// The limit for one snapshot, or the store's free space, was reached.
    NoRoom,
    /// This process may not read it.
    Unreadable,
    /// It kept changing while it was read.
    Unstable,
    /// The time for the snapshot was over.
    NoTime,
}

impl Unkept {
    pub(in crate::snapshot) fn reason(self) -> &'static str {
        match self {
            Unkept::TooLarge => "larger than the limit for one file (max_file_bytes)",
            Unkept::NoRoom => {
                "no room left for its content (max_bytes, min_free_bytes, max_store_bytes)"
            }
            Unkept::Unreadable => "cannot be read by this user",
            Unkept::Unstable => "kept changing while it was read",
            Unkept::NoTime => "the time for the snapshot was over (max_capture_seconds)",
        }
    }
}

/// The rarer parts of an entry's state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::snapshot) struct Extra {
    pub(in crate::snapshot) xattrs: Vec<Xattr>,
    pub(in crate::snapshot) target: Option<Vec<u8>>,
    pub(in crate::snapshot) device: Option<DeviceNumber>,
}

/// One entry's state and where its content is. Encodes to about 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::snapshot) struct Record {
    kind: EntryKind,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    allocated: u64,
    modified: Timestamp,
    accessed: Timestamp,
    flags: u32,
    identity: Identity,
    pub(in crate::snapshot) content: Content,
    /// The change time is too close to the moment of capture to prove anything later.
    racy: bool,
    extra: Option<Box<Extra>>,
}

impl Record {
    /// The record of `state`, looked at no later than `now`.
    pub(in crate::snapshot) fn new(state: EntryState, content: Content, now: Timestamp) -> Self {
        let extra = Extra {
            xattrs: state.xattrs,
            target: state.target,
            device: state.device,
        };
        Self {
            kind: state.kind,
            mode: state.mode,
            uid: state.uid,
            gid: state.gid,
            size: state.size,
            allocated: state.allocated,
            modified: state.modified,
            accessed: state.accessed,
            flags: state.flags,
            racy: is_racy(&state.identity, now),
            identity: state.identity,
            content,
            extra: (extra != Extra::default()).then(|| Box::new(extra)),
        }
    }

    /// Whether the live entry is this very version, as far as a `stat` can tell. Content of a
    /// [`racy`](Self::is_racy) record must be compared besides.
    pub(in crate::snapshot) fn matches(&self, stat: &Stat) -> bool {
        self.kind == stat.kind
            && self.identity == stat.identity
            && self.size == stat.size
            && self.modified == stat.modified
            && self.mode == stat.mode
            && self.uid == stat.uid
            && self.gid == stat.gid
    }

    /// Whether an equal `stat` does not yet prove that the entry is unchanged.
    pub(in crate::snapshot) fn is_racy(&self) -> bool {
        self.racy
    }

    /// The same record, proven unchanged at `now`.
    pub(in crate::snapshot) fn confirmed(&self, now: Timestamp) -> Self {
        Self {
            racy: is_racy(&self.identity, now),
            ..self.clone()
        }
    }

    /// The same record of an object whose hash was found out.
    pub(in crate::snapshot) fn hashed(&self, hash: ContentHash) -> Self {
        let content = match self.content {
            Content::Object(object, None) => Content::Object(object, Some(hash)),
            other => other,
        };
        Self {
            content,
            ..self.clone()
        }
    }

    pub(in crate::snapshot) fn kind(&self) -> EntryKind {
        self.kind
    }

    pub(in crate::snapshot) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The full state, as it stands in an undo record.
    pub(in crate::snapshot) fn state(&self) -> EntryState {
        let extra = self.extra.as_deref().cloned().unwrap_or_default();
        EntryState {
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            allocated: self.allocated,
            modified: self.modified,
            accessed: self.accessed,
            hash: self.hash(),
            target: extra.target,
            device: extra.device,
            xattrs: extra.xattrs,
            flags: self.flags,
            identity: self.identity,
        }
    }

    /// The content's hash, where it is known.
    pub(in crate::snapshot) fn hash(&self) -> Option<ContentHash> {
        match self.content {
            Content::Object(_, hash) => hash,
            Content::None if self.kind == EntryKind::File => Some(ContentHash::EMPTY),
            _ => None,
        }
    }

    /// The object that holds the content is referred to from several rows from now on.
    pub(in crate::snapshot) fn share_object(&mut self) {
        if let Content::Object(object, _) = &mut self.content {
            object.shared = true;
        }
    }

    /// The object that holds the content.
    pub(in crate::snapshot) fn object(&self) -> Option<Object> {
        match self.content {
            Content::Object(object, _) => Some(object),
            _ => None,
        }
    }
}

/// Whether a change right after `now` could leave the change time as it is.
pub(in crate::snapshot) fn is_racy(identity: &Identity, now: Timestamp) -> bool {
    identity.changed.as_nanos() + RACY_WINDOW.as_nanos() as i128 > now.as_nanos()
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::snapshot) enum Child {
    /// Anything but a directory.
    Entry(Record),
    /// A directory, which has a row of its own if it was looked into.
    Directory,
}

/// What is known about the entry at one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::snapshot) struct Row {
    /// The entry itself; `None`: nothing is there.
    pub(in crate::snapshot) own: Option<Record>,
    /// What is in it, sorted by name; `None`: it was not looked into, or is not a directory.
    pub(in crate::snapshot) children: Option<Vec<(Vec<u8>, Child)>>,
}

/// The child `name` of a directory, whose children are sorted by name.
pub(in crate::snapshot) fn child_named<'a>(
    children: &'a [(Vec<u8>, Child)],
    name: &OsStr,
) -> Option<&'a Child> {
    let by_name = |(n, _): &(Vec<u8>, Child)| n.as_slice().cmp(name.as_encoded_bytes());
    let at = children.binary_search_by(by_name).ok()?;
    Some(&children[at].1)
}

/// The path of a child by its name as stored.
pub(in crate::snapshot) fn child_path(
    directory: &AbsPath,
    name: &[u8],
) -> Result<AbsPath, PathError> {
    directory.join(&os_string(name)?)
}
