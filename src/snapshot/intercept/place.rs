//! Puts old content into the stored snapshot.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::live::anew;
use super::record::{Inode, Stored};
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
}

/// A directory for content in the snapshot, and what names in it begin with.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub(super) files: PathBuf,
    pub(super) prefix: String,
}

/// What there is to place with.
pub(super) struct Placing<'a> {
    /// Where content is kept, by number, with the shelf on the same volume.
    places: Vec<(Option<Dir>, Arc<Opened>)>,
    /// For everything else.
    own: Arc<Opened>,
    limits: &'a Limits,
}

/// A shelf that is open.
struct Opened {
    dir: Dir,
    prefix: String,
}

impl Shelf {
    fn open(&self) -> Result<Arc<Opened>> {
        let dir = AbsPath::new(&*self.files)
            .map_err(io::Error::other)
            .and_then(|path| Dir::open(&path));
        let context = || format!("cannot open {}", self.files.display());
        Ok(Arc::new(Opened {
            dir: dir.context(Stage::Seal, context)?,
            prefix: self.prefix.clone(),
        }))
    }
}

/// Content in the snapshot: its name and hash, or why there is none.
pub(super) type Placed = HashMap<Inode, std::result::Result<(String, ContentHash), String>>;

/// The hashes of old content, where it is known to be there.
pub(super) type Hashes = HashMap<Inode, std::result::Result<ContentHash, String>>;

impl<'a> Placing<'a> {
    /// With `places` on their shelves, and `own` for everything else.
    pub(super) fn new(
        places: &[(&AbsPath, Option<&Shelf>)],
        own: &Shelf,
        limits: &'a Limits,
    ) -> Result<Self> {
        let own = own.open()?;
        let open = |(place, shelf): &(&AbsPath, Option<&Shelf>)| {
            let shelf = shelf.map_or(Ok(Arc::clone(&own)), Shelf::open)?;
            // What is not there any more is missed with each file in it.
            Ok((Dir::open(place).ok(), shelf))
        };
        Ok(Self {
            places: places.iter().map(open).collect::<Result<_>>()?,
            own,
            limits,
        })
    }

    /// Reads the old content of every file in `wanted`.
    pub(super) fn hashes(&self, wanted: &HashMap<Inode, Wanted>) -> Result<Hashes> {
        let all: Vec<(&Inode, &Wanted)> = wanted.iter().collect();
        let hashes = all
            .par_iter()
            .map(|(inode, wanted)| Ok((**inode, self.hash(wanted)?)))
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
                    .place_of(stored)?
                    .open_file(OsStr::new(&stored.name()))?;
                Some((file, wanted.size))
            }
            Source::Live(path) => Some((open_at(path)?, wanted.size)),
            Source::Grown(path, length) => Some((open_at(path)?, *length)),
            Source::Lost(_) => None,
        })
    }

    fn place_of(&self, stored: &Stored) -> io::Result<&Dir> {
        let place = self.places.get(stored.place as usize);
        let dir = place.and_then(|(dir, _)| dir.as_ref());
        Ok(dir.ok_or(io::ErrorKind::NotFound)?)
    }

    fn shelf_of(&self, source: &Source) -> &Opened {
        let place = match source {
            Source::Link(stored) | Source::Copy(stored) => self.places.get(stored.place as usize),
            _ => None,
        };
        place.map_or(&self.own, |(_, shelf)| shelf)
    }

    /// Stores the content of these files. On stable storage on return.
    pub(super) fn place(&self, wanted: &[(Inode, &Wanted, ContentHash)]) -> Result<Placed> {
        let sync_each = wanted.len() <= SYNC_EACH_BELOW;
        let placed: Placed = wanted
            .par_iter()
            .enumerate()
            .map(|(number, (inode, wanted, hash))| {
                let shelf = self.shelf_of(&wanted.source);
                let name = format!("{}{}", shelf.prefix, stored_name(number, &wanted.path));
                let stored = self.store(wanted, shelf, &name, sync_each)?;
                Ok((
                    *inode,
                    stored
                        .map(|()| (name, *hash))
                        .map_err(|why| why.reason().into()),
                ))
            })
            .collect::<io::Result<_>>()
            .context(Stage::Seal, || "cannot keep old content")?;
        self.flush(sync_each)?;
        Ok(placed)
    }

    fn flush(&self, sync_each: bool) -> Result<()> {
        let mut done: Vec<*const Opened> = Vec::new();
        for shelf in self
            .places
            .iter()
            .map(|(_, shelf)| shelf)
            .chain([&self.own])
        {
            if done.contains(&Arc::as_ptr(shelf)) {
                continue;
            }
            let flushed = if sync_each {
                shelf.dir.sync()
            } else {
                sys::sync_volume(&shelf.dir)
            };
            flushed.context(Stage::Seal, || "cannot flush old content")?;
            done.push(Arc::as_ptr(shelf));
        }
        Ok(())
    }

    fn store(
        &self,
        wanted: &Wanted,
        shelf: &Opened,
        name: &str,
        sync: bool,
    ) -> io::Result<std::result::Result<(), Unkept>> {
        let to = &shelf.dir;
        let name = OsStr::new(name);
        if !self.link(wanted, to, name)? {
            let Some((from, length)) = self.open(wanted)? else {
                return Ok(Err(Unkept::Unreadable));
            };
            let copy = anew(to, name, || to.create_file(name))?;
            let whole = !matches!(wanted.source, Source::Grown(..));
            if !(whole && clone_content(&from, &copy)?) {
                // What is in a place was within the bounds when it was put there.
                let bounded = matches!(wanted.source, Source::Live(_) | Source::Grown(..));
                if bounded && length > self.limits.max_file_bytes {
                    to.unlink(name)?;
                    return Ok(Err(Unkept::TooLarge));
                }
                if whole {
                    copy_content(&from, &copy)?;
                } else {
                    io::copy(&mut (&from).take(length), &mut &copy)?;
                }
            }
        }
        if sync {
            to.open_file(name)?.sync_all()?;
        }
        Ok(Ok(()))
    }

    /// Makes a file of a place one of the snapshot, where no name elsewhere leads to it.
    fn link(&self, wanted: &Wanted, to: &Dir, name: &OsStr) -> io::Result<bool> {
        let (Source::Link(stored) | Source::Copy(stored)) = &wanted.source else {
            return Ok(false);
        };
        let from = self.place_of(stored)?;
        let kept = stored.name();
        let kept = OsStr::new(&kept);
        let alone = from.stat(kept)?.identity.links == 1;
        Ok(alone && anew(to, name, || from.link(kept, to, name)).is_ok())
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
