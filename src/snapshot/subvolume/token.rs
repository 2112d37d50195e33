//! What a later process needs to take up a capture.

use serde::{Deserialize, Serialize};

use crate::entry::Timestamp;
use crate::infer::Depth;
use crate::path::AbsPath;
use crate::request::Limits;
use crate::snapshot::{Exclusions, Unobserved};

/// A capture as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) volumes: Vec<VolumeToken>,
    /// Each path with the number of its subvolume in `volumes`.
    pub(super) scope: Vec<(AbsPath, Depth, usize)>,
    pub(super) hidden: Vec<AbsPath>,
    pub(super) exclusions: Exclusions,
    pub(super) unobserved: Vec<Unobserved>,
    pub(super) limits: Limits,
}

/// A subvolume of a capture and its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeToken {
    /// Where the filesystem is mounted: its sibling of the store holds the snapshot.
    pub(super) mount_point: AbsPath,
    /// Where the subvolume's root was.
    pub(super) root: AbsPath,
    pub(super) id: u64,
    pub(super) uuid: [u8; 16],
    pub(super) device: u64,
    pub(super) taken: Timestamp,
    pub(super) snapshot: String,
    pub(super) snapshot_uuid: [u8; 16],
}

impl Token {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a token, which may be damaged; says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let token: Self = postcard::from_bytes(bytes).map_err(|_| "its token is not readable")?;
        let known = |(_, _, volume): &(AbsPath, Depth, usize)| *volume < token.volumes.len();
        let beneath = |(path, _, volume): &(AbsPath, Depth, usize)| {
            token
                .volumes
                .get(*volume)
                .is_some_and(|v| path.starts_with(&v.root))
        };
        if token.scope.iter().all(|path| known(path) && beneath(path)) {
            Ok(token)
        } else {
            Err("its token names a path that is in none of its subvolumes")
        }
    }

    /// The names of the snapshots that a token needs.
    pub(super) fn snapshots(bytes: &[u8]) -> Option<Vec<String>> {
        let token = Self::decode(bytes).ok()?;
        Some(token.volumes.into_iter().map(|v| v.snapshot).collect())
    }
}
