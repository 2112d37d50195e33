//! One suite of behaviours, run with every strategy on every filesystem.
//!
//! The filesystems are made and mounted by the tests, which needs root; `table` pins what is
//! expected of each strategy on each of them. Other programs judge whether a tree is as it was, and
//! what a command changed. By default each pair gets a part of the cases, always the same;
//! `DEPLOYX_TEST_CONFORMANCE=all` runs all of them everywhere, and
//! `DEPLOYX_TEST_CONFORMANCE_ONLY=TEXT` those with that in their name.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod cell;
mod events;
mod judge;
mod keeps;
mod matrix;
mod table;
mod volumes;

use volumes::Filesystem;

/// The tests of each strategy on each filesystem.
macro_rules! matrix {
    ($([$($strategy:ident)*] on $name:ident: $kind:ident;)*) => { $(
        mod $name { $(
            mod $strategy {
                use crate::{Filesystem, matrix};

                #[test]
                fn is_usable_where_the_table_says_so() {
                    matrix::usable(stringify!($strategy), Filesystem::$kind);
                }

                #[test]
                fn takes_single_commands_back() {
                    matrix::commands(stringify!($strategy), Filesystem::$kind);
                }

                #[test]
                fn takes_back_what_is_more_than_one_command() {
                    matrix::others(stringify!($strategy), Filesystem::$kind);
                }

                #[test]
                fn takes_back_with_the_store_on_another_volume() {
                    matrix::store_elsewhere(stringify!($strategy), Filesystem::$kind);
                }
            }
        )* }
    )* };
}

matrix! {
    [copy intercept journal reflink subvolume] on ext4: Ext4;
    [copy intercept journal reflink subvolume] on xfs: Xfs;
    [copy intercept journal reflink subvolume] on btrfs: Btrfs;
    [copy intercept journal reflink subvolume] on tmpfs: Tmpfs;
    [copy intercept journal reflink subvolume] on overlayfs: Overlay;
    [copy intercept journal reflink subvolume] on case_insensitive: Folding;
    [copy intercept journal reflink subvolume] on bindfs: Bind;
}
