//! The trees that are measured: copied or made once, and copied to each filesystem from there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::common::process::run;
use crate::common::program::large_tree;
use crate::settings::Settings;

/// The documentation of the Rust toolchain.
pub(crate) const DOCS: &str = "docs";
/// A few large files.
const BIG: &str = "big";
/// The trees, in the order in which they are measured.
pub(crate) const TREES: [&str; 2] = [DOCS, BIG];

/// How many large files there are, and how many in each directory.
const BIG_FILES: (usize, usize) = (20, 5);
/// Files in each directory of the tree with very many.
const FILES_PER_DIRECTORY: usize = 100;

/// Trees that nobody changes.
pub(crate) struct Sources {
    /// Names and places.
    pub(crate) trees: Vec<(&'static str, PathBuf)>,
}

impl Sources {
    /// Makes them in `directory`.
    pub(crate) fn new(directory: &Path, settings: &Settings) -> Result<Self> {
        let mut trees = Vec::new();
        for name in TREES {
            if !settings.trees.iter().any(|wanted| wanted == name) {
                continue;
            }
            let place = directory.join(name);
            eprintln!("making the tree {name}");
            if name == BIG {
                make_big(&place, settings.big_bytes)?;
            } else {
                run(Command::new("cp").arg("-a").arg(large_tree()?).arg(&place))?;
            }
            trees.push((name, place));
        }
        Ok(Self { trees })
    }
}

/// Files that cannot be compressed, in a few directories.
fn make_big(place: &Path, bytes: u64) -> Result<()> {
    let (files, each) = BIG_FILES;
    let mut random = File::open("/dev/urandom").context("cannot read random bytes")?;
    for at in 0..files {
        let directory = place.join(format!("part{}", at / each));
        fs::create_dir_all(&directory)?;
        let mut file = File::create(directory.join(format!("file{at:02}")))?;
        io::copy(&mut random.by_ref().take(bytes), &mut file)?;
    }
    Ok(())
}

/// `count` empty files, a hundred in each directory.
pub(crate) fn make_many(place: &Path, count: usize) -> Result<()> {
    eprintln!("making {count} files");
    for at in 0..count {
        let directory = place.join(format!("d{:05}", at / FILES_PER_DIRECTORY));
        if at % FILES_PER_DIRECTORY == 0 {
            fs::create_dir_all(&directory)?;
        }
        File::create(directory.join(format!("f{at:07}")))?;
    }
    Ok(())
}
