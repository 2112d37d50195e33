//! Further names of files that changed.
//!
//! A change through one name shows through the others, which no call spoke of. To bring such a file
//! back as the one it was, they must be known: they are looked for in the command's working directory.

use std::collections::{BTreeSet, HashMap};

use super::expand::{Expanded, UNBOUNDED, whole};
use super::live::Looker;
use super::record::Inode;
use crate::entry::EntryState;
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::snapshot::tree::links::Seeker;
use crate::snapshot::tree::walk::walk;
use crate::snapshot::{Exclusions, Unobserved};

/// Adds the names of files that had several of which some are not known. Gives a remark on those that
/// were not found.
pub(super) fn add_names(
    expanded: &mut Expanded,
    exclusions: &Exclusions,
) -> Result<Option<String>> {
    let mut groups: HashMap<Inode, Group> = HashMap::new();
    for (path, before) in &expanded.before {
        let Some(before) = before
            .as_ref()
            .filter(|b| !b.is_dir() && b.identity.links > 1)
        else {
            continue;
        };
        let inode = (before.identity.device, before.identity.inode);
        let after = expanded.after.get(path);
        let group = groups.entry(inode).or_insert_with(|| Group {
            state: (**before).clone(),
            first: path.clone(),
            known: 0,
            changed: false,
        });
        group.known += 1;
        group.changed |= after.is_none_or(|after| {
            after.identity.inode != before.identity.inode
                || after.identity.changed != before.identity.changed
        });
    }
    groups.retain(|_, group| group.changed && group.is_parted());
    let base = exclusions
        .base
        .as_ref()
        .filter(|base| base.parent().is_some());
    if groups.is_empty() {
        return Ok(None);
    }
    if let Some(base) = base {
        let wanted = groups
            .iter()
            .map(|(inode, group)| (*inode, group.first.clone()))
            .collect();
        let seeker = Seeker::new(&wanted);
        let walked = walk(&[whole(base.clone())], exclusions, true, UNBOUNDED, &seeker)?;
        let mut looker = Looker::default();
        for path in seeker.finish() {
            add_name(expanded, &mut groups, &mut looker, path)
                .context(Stage::Seal, || "cannot look at further names of a file")?;
        }
        // Where something could not be looked at, a name may be that nobody knows of.
        if let Some(missed) = walked.unobserved.first() {
            let parted = groups.values().filter(|group| group.is_parted());
            expanded.unobserved.extend(parted.map(|group| Unobserved {
                path: group.first.clone(),
                reason: format!(
                    "further names of it (hard links) are not known: {} could not be looked \
                     through: {}",
                    missed.path, missed.reason
                ),
            }));
        }
    }
    let parted: BTreeSet<AbsPath> = groups
        .into_values()
        .filter(Group::is_parted)
        .map(|group| group.first)
        .collect();
    Ok(remark(&parted))
}

/// A file with several names.
struct Group {
    state: EntryState,
    first: AbsPath,
    known: u64,
    changed: bool,
}

impl Group {
    /// Whether it has names that are not known.
    fn is_parted(&self) -> bool {
        self.known < self.state.identity.links
    }
}

fn add_name(
    expanded: &mut Expanded,
    groups: &mut HashMap<Inode, Group>,
    looker: &mut Looker,
    path: AbsPath,
) -> std::io::Result<()> {
    if expanded.before.contains_key(&path) {
        return Ok(());
    }
    let Some(stat) = looker.stat(&path)? else {
        return Ok(());
    };
    let inode = (stat.identity.device, stat.identity.inode);
    if let Some(group) = groups.get_mut(&inode)
        && let Some(after) = looker.state(&path, &stat)?
    {
        group.known += 1;
        expanded
            .before
            .insert(path.clone(), Some(Box::new(group.state.clone())));
        expanded.after.insert(path, after);
    }
    Ok(())
}

fn remark(parted: &BTreeSet<AbsPath>) -> Option<String> {
    let first = parted.first()?;
    let others = match parted.len() {
        1 => String::new(),
        more => format!(" and {} more files", more - 1),
    };
    Some(format!(
        "{first}{others}: further names (hard links) are not known, a rollback may part them"
    ))
}
