//! All snapshots at one moment: from the index where that is up to date, else from the files.

use rayon::prelude::*;

use super::index::{Index, Listed, Rows};
use super::layout::{InStore, Inner, id_of_json, json_name, reading_json};
use super::list::Damaged;
use super::row::{self, Head};
use super::{SnapshotId, SnapshotMeta, meta_file};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// A file that changed less than this ago (nanoseconds) may change again within the same tick of
/// the filesystem's clock: it is not cached yet.
const RACY: i128 = 50_000_000;

/// Every snapshot with where its metadata is.
pub(super) struct Catalogue {
    listed: Vec<Listed>,
    rows: Rows,
    /// For each of `listed`: what was read from the file, where the index did not have it.
    read: Vec<Option<FromFile>>,
}

/// One metadata file that was read.
enum FromFile {
    /// Its metadata, and the version of the file where that may be cached.
    Meta(Box<SnapshotMeta>, Option<Listed>),
    /// It cannot be read.
    Damaged(Error),
    /// It was deleted meanwhile.
    Gone,
}

/// A snapshot of the catalogue.
pub(super) struct Item<'a> {
    pub(super) id: &'a SnapshotId,
    pub(super) head: Head<'a>,
    source: Source<'a>,
}

enum Source<'a> {
    Row(&'a [u8]),
    Meta(&'a SnapshotMeta),
}

impl Item<'_> {
    /// The metadata as `list` gives it; `None` where a row turns out not to be readable.
    pub(super) fn meta(&self) -> Option<SnapshotMeta> {
        match self.source {
            Source::Row(row) => row::decode(row, self.id.clone()),
            Source::Meta(meta) => Some(meta.clone()),
        }
    }
}

impl Catalogue {
    /// Every readable snapshot, ordered by id.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        (0..self.listed.len())
            .filter_map(|at| self.item(at))
            .collect()
    }

    fn item(&self, at: usize) -> Option<Item<'_>> {
        let (head, source) = match &self.read[at] {
            Some(FromFile::Meta(meta, _)) => (Head::of(meta), Source::Meta(meta)),
            Some(FromFile::Damaged(_) | FromFile::Gone) => return None,
            None => {
                let row = self.rows.content(at)?;
                (Head::read(row)?, Source::Row(row))
            }
        };
        Some(Item {
            id: &self.listed[at].id,
            head,
            source,
        })
    }

    /// Snapshots whose metadata cannot be read, with the error.
    pub(super) fn into_damaged(self) -> Damaged {
        self.listed
            .into_iter()
            .zip(self.read)
            .filter_map(|(listed, read)| match read {
                Some(FromFile::Damaged(error)) => Some((listed.id.to_string(), error)),
                _ => None,
            })
            .collect()
    }
}

impl Inner {
    /// Ids of all snapshots, in no particular order.
    pub(super) fn ids(&self) -> Result<Vec<SnapshotId>> {
        let mut ids = Vec::new();
        self.root
            .each_name(|name| ids.extend(id_of_json(name.to_bytes())))
            .in_store(|| "cannot read the snapshot store".into())?;
        Ok(ids)
    }

    /// All snapshots as they are now. Brings the index up to date.
    pub(super) fn catalogue(&self) -> Result<Catalogue> {
        let mut ids = self.ids()?;
        ids.par_sort_unstable();
        let versions: Vec<_> = ids
            .par_iter()
            .map(|id| self.root.version(json_name(id)))
            .collect();
        let listed: Vec<Listed> = ids
            .into_iter()
            .zip(versions)
            // One that vanished was deleted meanwhile.
            .filter_map(|(id, version)| Some(Listed::new(id, version.ok()??)))
            .collect();
        let mut index = Index::open(self);
        let rows = index
            .as_ref()
            .map_or_else(Rows::default, |index| index.rows(&listed));
        let read: Vec<Option<FromFile>> = listed
            .par_iter()
            .enumerate()
            .map(|(at, listed)| {
                let passes = rows.passes(at, listed, &self.sealing);
                (!passes).then(|| self.read_file(&listed.id))
            })
            .collect();
        if let Some(index) = &mut index {
            index.store(&cacheable(&read), &rows, &self.sealing);
        }
        Ok(Catalogue { listed, rows, read })
    }

    fn read_file(&self, id: &SnapshotId) -> FromFile {
        let read = self
            .root
            .read_version(&json_name(id), meta_file::MAX_BYTES)
            .map_err(|error| reading_json(id, error))
            .and_then(|(bytes, version)| {
                Ok((meta_file::decode(id, &bytes, &self.sealing)?, version))
            });
        match read {
            Ok((mut meta, version)) => {
                row::thin(&mut meta);
                let settled = i128::from(version.changed) + RACY <= Timestamp::now().as_nanos();
                let listed = settled.then(|| Listed::new(id.clone(), version));
                FromFile::Meta(Box::new(meta), listed)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => FromFile::Gone,
            Err(error) => FromFile::Damaged(error),
        }
    }
}

fn cacheable(read: &[Option<FromFile>]) -> Vec<(&Listed, &SnapshotMeta)> {
    read.iter()
        .filter_map(|read| match read {
            Some(FromFile::Meta(meta, Some(listed))) => Some((listed, meta.as_ref())),
            _ => None,
        })
        .collect()
}
