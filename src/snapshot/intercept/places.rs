//! The directories in which content was kept while the command ran, and where it goes from each.

use std::io;
use std::path::PathBuf;

use super::record::Stored;
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::Dir;

/// A directory for content in the snapshot, and what names in it begin with.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub(super) files: PathBuf,
    pub(super) prefix: String,
}

/// A shelf that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) dir: Dir,
    pub(super) prefix: String,
}

/// Where content is kept, and the snapshot's shelves.
#[derive(Debug)]
pub(super) struct Places {
    /// By number.
    places: Vec<Place>,
    /// The snapshot's own shelf first, which takes whatever has no other.
    shelves: Vec<Opened>,
}

#[derive(Debug)]
struct Place {
    /// `None` where it is not there any more: each file in it is missed then.
    dir: Option<Dir>,
    /// The number of the shelf on the same volume.
    shelf: usize,
}

impl Shelf {
    pub(super) fn open(&self) -> Result<Opened> {
        let context = || format!("cannot open {}", self.files.display());
        let path = AbsPath::new(&*self.files)
            .map_err(io::Error::other)
            .context(Stage::Seal, context)?;
        Ok(Opened {
            dir: Dir::open(&path).context(Stage::Seal, context)?,
            prefix: self.prefix.clone(),
        })
    }
}

impl Places {
    /// Opens `places`, each with its shelf; those without one are in the store and use `own`.
    pub(super) fn open(places: &[(&AbsPath, Option<&Shelf>)], own: &Shelf) -> Result<Self> {
        let mut opened = Self {
            places: Vec::with_capacity(places.len()),
            shelves: vec![own.open()?],
        };
        for (path, shelf) in places {
            let number = match shelf {
                None => 0,
                Some(shelf) => {
                    opened.shelves.push(shelf.open()?);
                    opened.shelves.len() - 1
                }
            };
            opened.places.push(Place {
                dir: Dir::open(path).ok(),
                shelf: number,
            });
        }
        Ok(opened)
    }

    /// The directory that has a file.
    pub(super) fn dir_of(&self, stored: &Stored) -> io::Result<&Dir> {
        let place = self.places.get(stored.place as usize);
        let dir = place.and_then(|place| place.dir.as_ref());
        Ok(dir.ok_or(io::ErrorKind::NotFound)?)
    }

    /// The shelf on the volume of a file that is kept, or of everything else.
    pub(super) fn shelf_of(&self, stored: Option<&Stored>) -> &Opened {
        let place = stored.and_then(|stored| self.places.get(stored.place as usize));
        &self.shelves[place.map_or(0, |place| place.shelf)]
    }

    /// Every shelf.
    pub(super) fn shelves(&self) -> &[Opened] {
        &self.shelves
    }
}
