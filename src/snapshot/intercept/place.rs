//! Puts old content into the stored snapshot.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};

use rayon::prelude::*;

use super::live::{Reading, anew};
use super::places::Places;
use super::record::Stored;
use crate::entry::ContentHash;
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::request::Limits;
use crate::snapshot::tree::record::Unkept;
use crate::snapshot::tree::stored::stored_name;
use crate::sys::{self, Dir, Stat, clone_content, copy_content, hash_file};

/// Above this many new files one flush of the whole volume is cheaper than one for each.
const SYNC_EACH_BELOW: usize = 48;

/// Where old content is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In a place, and there the file itself.
    Link(Stored),
    /// In a place, as a copy.
    Copy(Stored),
    /// In a file that was moved here.
    Live(AbsPath),
    /// In a file that is here and has grown: its first bytes.
    Grown(AbsPath, u64),
    /// Nowhere.
    Lost(String),
}

/// Old content of a file that may be needed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// One of the names that the file had.
    pub(super) path: AbsPath,
    /// How long it was.
    pub(super) size: u64,
    pub(super) source: Source,
    /// What is known of it.
    pub(super) reading: Option<Reading>,
}

/// What there is to place with.
pub(super) struct Placing<'a> {
    pub(super) places: Places,
    /// From here on numbers are free for names.
    pub(super) first_number: u64,
    pub(super) limits: &'a Limits,
}

/// The names of content in the snapshot, or why there is none, for each file that is wanted.
pub(super) type Placed = Vec<Option<std::result::Result<String, String>>>;

/// The hash of the old content of each file that is wanted, where it is known to be there.
pub(super) type Hashes = Vec<std::result::Result<ContentHash, String>>;

impl Placing<'_> {
    /// Reads the old content of every file in `wanted`.
    pub(super) fn hashes(&self, wanted: &[Wanted]) -> Result<Hashes> {
        let hashes = wanted
            .par_iter()
            .map(|wanted| match &wanted.reading {
                Some(reading) => Ok(Ok(reading.hash)),
                None => self.hash(wanted),
            })
            .collect::<io::Result<_>>();
        hashes.context(Stage::Seal, || "cannot read old content")
    }

    fn hash(&self, wanted: &Wanted) -> io::Result<std::result::Result<ContentHash, String>> {
        let (file, length) = match self.open(wanted) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                let Source::Lost(reason) = &wanted.source else {
                    return Ok(Err("it is not where it was kept".into()));
                };
                return Ok(Err(reason.clone()));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Err("it is not where it was kept".into()));
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Err(Unkept::Unreadable.reason().into()));
            }
            Err(e) => return Err(e),
        };
        let size = Stat::of(&file)?.size;
        let grown = matches!(wanted.source, Source::Grown(..));
        if length != wanted.size || size < length || (size > length && !grown) {
            return Ok(Err("it was changed by others while the command ran".into()));
        }
        if !grown {
            return hash_file(&file).map(Ok);
        }
        hash_beginning(&file, length).map(Ok)
    }

    /// Opens the old content and tells its length; `None`: there is none.
    fn open(&self, wanted: &Wanted) -> io::Result<Option<(File, u64)>> {
        Ok(match &wanted.source {
            Source::Link(stored) | Source::Copy(stored) => {
                let file = self
                    .places
                    .dir_of(stored)?
                    .open_file(OsStr::new(&stored.name()))?;
                Some((file, wanted.size))
            }
            Source::Live(path) => Some((open_at(path)?, wanted.size)),
            Source::Grown(path, length) => Some((open_at(path)?, *length)),
            Source::Lost(_) => None,
        })
    }

    /// Stores the content of those of these files that are `needed`. On stable storage on return.
    pub(super) fn place(&self, wanted: &[Wanted], needed: &[bool]) -> Result<Placed> {
        let context = || "cannot keep old content".to_owned();
        let sync_each = needed.iter().filter(|needed| **needed).count() <= SYNC_EACH_BELOW;
        let placed = wanted
            .par_iter()
            .enumerate()
            .map(|(number, wanted)| {
                if !needed[number] {
                    return Ok(None);
                }
                let stored = self.store(wanted, number, sync_each)?;
                Ok(Some(stored.map_err(|why| why.reason().into())))
            })
            .collect::<io::Result<Placed>>()
            .context(Stage::Seal, context)?;
        self.flush(sync_each)?;
        Ok(placed)
    }

    /// Removes what was put into the snapshot while the command ran and is not needed: `strays`, and
    /// what is wanted but not `placed`.
    pub(super) fn clear_away(
        &self,
        strays: &[String],
        wanted: &[Wanted],
        placed: &Placed,
    ) -> Result<()> {
        let shelf = &self.places.shelf_of(None).dir;
        let unused = wanted.iter().zip(placed).filter_map(|(wanted, placed)| {
            let name = wanted.reading.as_ref()?.shelved.as_ref()?;
            let used = matches!(placed, Some(Ok(used)) if used == name);
            (!used).then_some(name)
        });
        for name in strays.iter().chain(unused) {
            match shelf.unlink(OsStr::new(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(e).context(Stage::Seal, || "cannot remove what is not needed");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what an earlier attempt to seal left in the snapshot: all that is not `placed`.
    pub(super) fn sweep(&self, placed: &Placed) -> Result<()> {
        let context = || "cannot remove what an interrupted seal left";
        let kept: HashSet<&OsStr> = placed
            .iter()
            .filter_map(|placed| Some(OsStr::new(placed.as_ref()?.as_ref().ok()?)))
            .collect();
        for shelf in self.places.shelves() {
            for name in shelf.dir.names().context(Stage::Seal, context)? {
                let ours = name.as_encoded_bytes().starts_with(shelf.prefix.as_bytes());
                if ours && !kept.contains(name.as_os_str()) {
                    shelf.dir.unlink(&name).context(Stage::Seal, context)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&self, sync_each: bool) -> Result<()> {
        for shelf in self.places.shelves() {
            let flushed = if sync_each {
                shelf.dir.sync()
            } else {
                sys::sync_volume(&shelf.dir)
            };
            flushed.context(Stage::Seal, || "cannot flush old content")?;
        }
        Ok(())
    }

    /// Gives the name in the snapshot.
    fn store(
        &self,
        wanted: &Wanted,
        number: usize,
        sync: bool,
    ) -> io::Result<std::result::Result<String, Unkept>> {
        let stored = wanted.source.stored();
        if let Some(reading) = wanted.reading.as_ref().filter(|reading| reading.alone)
            && let Some(name) = &reading.shelved
        {
            if sync {
                let shelf = &self.places.shelf_of(None).dir;
                shelf.open_file(OsStr::new(name))?.sync_all()?;
            }
            return Ok(Ok(name.clone()));
        }
        let shelf = self.places.shelf_of(stored);
        let to = &shelf.dir;
        let alone = match (stored, &wanted.reading) {
            (None, _) => false,
            (Some(_), Some(reading)) => reading.alone,
            (Some(stored), None) => self.is_alone(stored)?,
        };
        let name = format!(
            "{}{}",
            shelf.prefix,
            stored_name(self.first_number as usize + number, &wanted.path)
        );
        let linked = match stored.filter(|_| alone) {
            Some(stored) => self.link(stored, to, &name)?,
            None => false,
        };
        if !linked && let Err(why) = self.copy(wanted, to, OsStr::new(&name))? {
            return Ok(Err(why));
        }
        if sync {
            to.open_file(OsStr::new(&name))?.sync_all()?;
        }
        Ok(Ok(name))
    }

    fn copy(
        &self,
        wanted: &Wanted,
        to: &Dir,
        name: &OsStr,
    ) -> io::Result<std::result::Result<(), Unkept>> {
        let Some((from, length)) = self.open(wanted)? else {
            return Ok(Err(Unkept::Unreadable));
        };
        let copy = anew(to, name, || to.create_file(name))?;
        let whole = !matches!(wanted.source, Source::Grown(..));
        if whole && clone_content(&from, &copy)? {
            return Ok(Ok(()));
        }
        // What is in a place was within the bounds when it was put there.
        let bounded = wanted.source.stored().is_none();
        if bounded && length > self.limits.max_file_bytes {
            to.unlink(name)?;
            return Ok(Err(Unkept::TooLarge));
        }
        if whole {
            copy_content(&from, &copy)?;
        } else {
            io::copy(&mut (&from).take(length), &mut &copy)?;
        }
        Ok(Ok(()))
    }

    /// Whether no name elsewhere leads to a file of a place.
    fn is_alone(&self, stored: &Stored) -> io::Result<bool> {
        let place = self.places.dir_of(stored)?;
        let stat = place.stat(OsStr::new(&stored.name()))?;
        Ok(stat.identity.links == 1)
    }

    /// Makes a file of a place one of the snapshot.
    fn link(&self, stored: &Stored, to: &Dir, name: &str) -> io::Result<bool> {
        let from = self.places.dir_of(stored)?;
        let (kept, name) = (stored.name(), OsStr::new(name));
        Ok(anew(to, name, || from.link(kept.as_ref(), to, name)).is_ok())
    }
}

impl Source {
    /// The file in a place.
    fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Link(stored) | Self::Copy(stored) => Some(stored),
            Self::Live(_) | Self::Grown(..) | Self::Lost(_) => None,
        }
    }
}

fn open_at(path: &AbsPath) -> io::Result<File> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    Dir::open_path(&parent)?.open_file(name)
}

fn hash_beginning(file: &File, length: u64) -> io::Result<ContentHash> {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    let mut rest = file.take(length);
    let mut piece = vec![0; 256 * 1024];
    loop {
        match rest.read(&mut piece)? {
            0 => return Ok(ContentHash(hasher.finalize().into())),
            read => hasher.update(&piece[..read]),
        }
    }
}
