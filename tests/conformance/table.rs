//! What is expected of each filesystem and of each strategy on it. What is found must be this.

use crate::common::Keeps;
use crate::volumes::Filesystem;

/// Whether a strategy is to work somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It can be chosen and everything is undone exactly.
    Works,
    /// It says that it is not usable there, with a reason that contains this.
    NotUsable(&'static str),
}

use Expected::{NotUsable, Works};

/// The strategies, with what is expected on each filesystem in the order of [`Filesystem::ALL`].
pub(crate) const STRATEGIES: &[(&str, [Expected; 7])] = &[
    // ext4, xfs, btrfs, tmpfs, overlayfs, case-insensitive, bindfs
    ("copy", [Works; 7]),
    (
        "intercept",
        [
            Works,
            Works,
            Works,
            Works,
            Works,
            NotUsable("changes on fuse are not followed"),
            NotUsable("changes on fuse are not followed"),
        ],
    ),
    (
        "journal",
        [
            Works,
            Works,
            Works,
            Works,
            Works,
            NotUsable("entries on fuse change without events"),
            NotUsable("entries on fuse change without events"),
        ],
    ),
    (
        "reflink",
        [
            NotUsable("ext4 has no clones"),
            Works,
            Works,
            NotUsable("tmpfs has no clones"),
            NotUsable("overlay has no clones"),
            NotUsable("fuse has no clones"),
            NotUsable("fuse has no clones"),
        ],
    ),
    (
        "subvolume",
        [
            NotUsable("not on btrfs"),
            NotUsable("not on btrfs"),
            Works,
            NotUsable("not on btrfs"),
            NotUsable("not on btrfs"),
            NotUsable("not on btrfs"),
            NotUsable("not on btrfs"),
        ],
    ),
];

/// What is expected of `strategy` on `kind`.
pub(crate) fn expected(strategy: &str, kind: Filesystem) -> Expected {
    let (_, row) = STRATEGIES
        .iter()
        .find(|(name, _)| *name == strategy)
        .unwrap_or_else(|| panic!("the table has no row for {strategy}"));
    let column = Filesystem::ALL.iter().position(|k| *k == kind);
    row[column.expect("a column")]
}

/// What each filesystem keeps of what is written to it.
pub(crate) fn keeps(kind: Filesystem) -> Keeps {
    match kind {
        Filesystem::Ext4
        | Filesystem::Xfs
        | Filesystem::Btrfs
        | Filesystem::Tmpfs
        | Filesystem::Overlay => Keeps::EVERYTHING,
        // NTFS counts in steps of 100 nanoseconds and stores names as Unicode.
        Filesystem::Folding => Keeps {
            acls: false,
            flags: false,
            case: false,
            bytes: false,
            exchange: false,
            nanoseconds: false,
            ..Keeps::EVERYTHING
        },
        Filesystem::Bind => Keeps {
            flags: false,
            exchange: false,
            ..Keeps::EVERYTHING
        },
    }
}
