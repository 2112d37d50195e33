//! The directories in which one snapshot's content lies.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SIBLINGS;
use super::read::{self, Stored};
use crate::error::Result;
use crate::path::AbsPath;
use crate::seal::Change;
use crate::store::layout::{FILES, corrupt};
use crate::store::{SnapshotId, SnapshotMeta, Store};
use crate::sys::Dir;
use crate::sys::durable::own_uid;

/// A directory with part of a snapshot's content, outside of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Stored names that begin with this lie there. No place's prefix begins with another's.
    pub prefix: String,
    /// `<mount point>/.deployx_snapshots/<store name>/<snapshot id>/files`.
    pub directory: AbsPath,
}

impl Place {
    /// Whether what is stored as `name` lies there.
    pub fn holds(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
    }

    /// The mount point of the volume it is on.
    pub fn volume(&self) -> Option<&Path> {
        self.directory.as_path().ancestors().nth(4)
    }
}

/// Where a snapshot's content lies: its own directory, and its places.
#[derive(Debug, Clone)]
pub struct ContentDirs {
    own: PathBuf,
    places: Vec<Place>,
}

impl From<PathBuf> for ContentDirs {
    /// Everything in one directory.
    fn from(own: PathBuf) -> Self {
        Self {
            own,
            places: Vec::new(),
        }
    }
}

impl ContentDirs {
    pub(in crate::store) fn new(own: PathBuf, places: Vec<Place>) -> Self {
        Self { own, places }
    }

    /// The place of what is stored as `name`; `None`: the snapshot's own directory.
    pub fn place_of(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.holds(name))
    }

    /// The old content that is kept for a change, to be read from its start; `None` where none is
    /// kept. Reading ends with an error of kind [`InvalidData`](std::io::ErrorKind::InvalidData)
    /// unless the content is exactly what was recorded.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where it is missing or damaged.
    pub fn read(&self, change: &Change) -> Result<Option<impl Read + use<>>> {
        let Some(stored) = Stored::of(change) else {
            return Ok(None);
        };
        read::open(&self.open(), &stored)
            .map(|reader| Some(reader.verified(*stored.hash)))
            .map_err(|what| corrupt(format!("the backup {} {what}", stored.name)))
    }

    /// Opens every directory. One that cannot be opened is an error for what lies in it only.
    pub(crate) fn open(&self) -> OpenDirs {
        OpenDirs {
            own: open_private(&self.own).map_err(|e| format!("{}: {e}", self.own.display())),
            places: self
                .places
                .iter()
                .map(|place| (place.clone(), open_place(place)))
                .collect(),
        }
    }
}

/// A snapshot's directories, pinned.
#[derive(Debug)]
pub(crate) struct OpenDirs {
    own: Result<Dir, String>,
    places: Vec<(Place, Result<Dir, String>)>,
}

impl OpenDirs {
    /// The directory of what is stored as `name`, or why it cannot be reached.
    pub(crate) fn of(&self, name: &str) -> Result<&Dir, &str> {
        let found = self.places.iter().find(|(place, _)| place.holds(name));
        found
            .map_or(&self.own, |(_, dir)| dir)
            .as_ref()
            .map_err(String::as_str)
    }

    /// The place of what is stored as `name`; `None`: the snapshot's own directory.
    pub(crate) fn place_of(&self, name: &str) -> Option<&Place> {
        let mut places = self.places.iter().map(|(place, _)| place);
        places.find(|place| place.holds(name))
    }

    /// Every directory with the place it is, or `None` for the snapshot's own.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Option<&Place>, Result<&Dir, &str>)> {
        let own = (None, self.own.as_ref().map_err(String::as_str));
        let places = self
            .places
            .iter()
            .map(|(place, dir)| (Some(place), dir.as_ref().map_err(String::as_str)));
        std::iter::once(own).chain(places)
    }
}

fn open_place(place: &Place) -> Result<Dir, String> {
    open_private(place.directory.as_path()).map_err(|e| {
        let volume = place.volume().unwrap_or(Path::new("/")).display();
        format!(
            "{}: {e} (is the volume at {volume} mounted?)",
            place.directory
        )
    })
}

/// Opens a directory that nobody else may write to, through no symbolic link.
fn open_private(path: &Path) -> Result<Dir, String> {
    let path = AbsPath::new(path).map_err(|e| e.to_string())?;
    let dir = Dir::open(&path).map_err(|e| e.to_string())?;
    let stat = dir.stat_self().map_err(|e| e.to_string())?;
    if stat.uid != own_uid() || stat.mode & 0o022 != 0 {
        return Err("belongs to another user or can be written by others".into());
    }
    Ok(dir)
}

/// Says what is wrong with a snapshot's places, which were read from disk.
pub(in crate::store) fn check_places(id: &SnapshotId, places: &[Place]) -> Result<(), String> {
    for (at, place) in places.iter().enumerate() {
        if !has_form(place.directory.as_path(), id) {
            return Err(format!(
                "names {}, which is no place of its content",
                place.directory
            ));
        }
        let ambiguous = |other: &Place| {
            other.prefix.starts_with(&place.prefix) || place.prefix.starts_with(&other.prefix)
        };
        if places[..at].iter().any(ambiguous) {
            return Err("has places that cannot be told apart".into());
        }
    }
    Ok(())
}

fn has_form(directory: &Path, id: &SnapshotId) -> bool {
    let mut names = directory.components().rev().map(|c| match c {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let mut next = || names.next().flatten();
    next() == Some(FILES)
        && next() == Some(id.as_str())
        && next().is_some()
        && next() == Some(SIBLINGS)
}

impl Store {
    /// Where the content of a snapshot with this metadata lies.
    pub fn content_dirs(&self, meta: &SnapshotMeta) -> ContentDirs {
        ContentDirs::new(self.files_dir(&meta.snapshot_id), meta.places.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(prefix: &str, directory: &str) -> Place {
        Place {
            prefix: prefix.into(),
            directory: AbsPath::new(directory).unwrap(),
        }
    }

    #[test]
    fn a_name_lies_where_its_prefix_says() {
        let dirs = ContentDirs {
            own: "/s/files".into(),
            places: vec![place("1-", "/a"), place("10-", "/b")],
        };
        for (name, directory) in [
            ("0-x", None),
            ("1-x", Some("/a")),
            ("10-x", Some("/b")),
            ("11-x", None),
            ("000001-x", None),
        ] {
            let place = dirs.place_of(name).map(|p| p.directory.as_path());
            assert_eq!(place, directory.map(Path::new), "{name}");
        }
    }

    #[test]
    fn places_of_another_form_or_with_ambiguous_prefixes_are_refused() {
        let id = SnapshotId::parse("00000000deadbeef").unwrap();
        let good = "/mnt/.deployx_snapshots/store-1/00000000deadbeef/files";
        let at_root = "/.deployx_snapshots/store-1/00000000deadbeef/files";
        assert_eq!(check_places(&id, &[place("", good)]), Ok(()));
        assert_eq!(
            check_places(&id, &[place("0-", good), place("1-", at_root)]),
            Ok(())
        );
        for bad in [
            "/home/user",
            "/files",
            "/mnt/.deployx_snapshots/store-1/00000000deadbee0/files",
            "/mnt/.deployx_snapshots/00000000deadbeef/files",
            "/mnt/other/store-1/00000000deadbeef/files",
            "/mnt/.deployx_snapshots/store-1/00000000deadbeef/files/x",
        ] {
            assert!(check_places(&id, &[place("", bad)]).is_err(), "{bad}");
        }
        for (one, other) in [("", "1-"), ("1-", "1-"), ("1-", "1")] {
            let places = [place(one, good), place(other, at_root)];
            assert!(check_places(&id, &places).is_err(), "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_volume_is_the_mount_point() {
        let place = place("", "/mnt/x/.deployx_snapshots/s/0/files");
        assert_eq!(place.volume(), Some(Path::new("/mnt/x")));
    }
}
