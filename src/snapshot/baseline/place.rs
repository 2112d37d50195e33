//! Puts the old content of everything that changed into the snapshot's directory.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::objects::Objects;
use crate::entry::ContentHash;
use crate::error::{Error, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::seal::{Change, PreImage};
use crate::snapshot::Placement;
use crate::snapshot::tree::compare::Difference;
use crate::snapshot::tree::record::{Content, Record};
use crate::snapshot::tree::stored::{needs_content, stored_name};

/// Differences by path, in order.
pub(super) type Differences = Vec<(AbsPath, Difference)>;

/// One object that gets a name in the snapshot.
struct Wanted {
    name: String,
    size: u64,
    hash: Option<ContentHash>,
}

/// What became of an object that was wanted.
enum Placed {
    There {
        name: String,
        hash: ContentHash,
    },
    /// The baseline has lost it.
    Missing,
}

/// Links objects into the snapshot, on stable storage on return, and makes changes of differences.
/// `lost` says more of paths whose content was not kept. Gives the changes and the bytes stored.
pub(super) fn place(
    objects: &Objects,
    differences: Differences,
    Placement { files, prefix }: Placement<'_>,
    lost: &HashMap<&AbsPath, &str>,
) -> Result<(Vec<Change>, u64)> {
    let wanted = wanted(&differences, prefix);
    let stored_bytes = wanted.values().map(|w| w.size).sum();
    let placed = link_all(objects, &wanted, files)?;
    if !wanted.is_empty() {
        std::fs::File::open(files)
            .and_then(|dir| dir.sync_all())
            .context(Stage::Seal, || format!("cannot flush {}", files.display()))?;
    }
    let changes = differences
        .into_iter()
        .map(|(path, Difference { before, after })| {
            let content = before
                .as_ref()
                .filter(|record| needs_content(record, after.as_ref()))
                .map_or(PreImage::NotNeeded, |record| {
                    pre_image(record, &placed, lost.get(&path).copied())
                });
            let mut before = before.map(|record| record.state());
            if let (Some(state), PreImage::Stored { hash, .. }) = (&mut before, &content) {
                state.hash = Some(*hash);
            }
            Change {
                path,
                before,
                after,
                content,
            }
        })
        .collect();
    Ok((changes, stored_bytes))
}

/// The objects that are needed, one stored file for each however many names it had.
fn wanted(differences: &Differences, prefix: &str) -> HashMap<u64, Wanted> {
    let mut wanted: HashMap<u64, Wanted> = HashMap::new();
    for (path, Difference { before, after }) in differences {
        let Some(record) = before else { continue };
        if let Content::Object(object, hash) = record.content
            && needs_content(record, after.as_ref())
        {
            let next = wanted.len();
            wanted.entry(object.serial).or_insert_with(|| Wanted {
                name: format!("{prefix}{}", stored_name(next, path)),
                size: record.state().size,
                hash,
            });
        }
    }
    wanted
}

fn pre_image(record: &Record, placed: &HashMap<u64, Placed>, why_lost: Option<&str>) -> PreImage {
    let lost = |reason: &str| PreImage::Lost {
        reason: reason.to_owned(),
    };
    match record.content {
        Content::Object(object, _) => match placed.get(&object.serial) {
            Some(Placed::There { name, hash }) => PreImage::raw(name.clone(), *hash),
            Some(Placed::Missing) | None => lost("the baseline has lost it"),
        },
        Content::Unkept(reason) => lost(why_lost.unwrap_or(reason.reason())),
        Content::Elsewhere => lost("it is not in the baseline"),
        Content::None => PreImage::NotNeeded,
    }
}

/// Gives every object its name in `files` and finds out the hashes that are not known yet. An object
/// that is not there is no error: the rest of the snapshot is worth keeping all the same.
fn link_all(
    objects: &Objects,
    wanted: &HashMap<u64, Wanted>,
    files: &Path,
) -> Result<HashMap<u64, Placed>> {
    wanted
        .par_iter()
        .map(|(serial, wanted)| {
            let to = files.join(&wanted.name);
            let placed = objects
                .place_at(*serial, &to)
                .and_then(|()| wanted.hash.map_or_else(|| objects.hash(*serial), Ok));
            match placed {
                Ok(hash) => {
                    let name = wanted.name.clone();
                    Ok((*serial, Placed::There { name, hash }))
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    tracing::warn!(name = wanted.name, "the baseline has lost an object");
                    Ok((*serial, Placed::Missing))
                }
                Err(e) => Err(Error::io(
                    Stage::Seal,
                    format!("cannot keep old content as {}", to.display()),
                    e,
                )),
            }
        })
        .collect()
}
