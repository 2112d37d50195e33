//! The watched directories by the numbers of their watches, and where they are.
//!
//! A watch belongs to an inode, so its number tells a directory from every other one, whatever the
//! names do. The tree follows the events in their order: it shows the names as they were when the
//! event that is looked at happened, or as they are, where a directory was just listed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::path::AbsPath;

/// Where a directory is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At the top, by its whole path.
    Top(AbsPath),
    /// By a name in a watched directory.
    In(i32, OsString),
}

#[derive(Debug)]
struct Node {
    place: Place,
    children: HashMap<OsString, i32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<i32, Node>,
    tops: BTreeMap<AbsPath, i32>,
    /// Directories that were taken from their place and may turn up at another.
    adrift: HashSet<i32>,
}

impl Tree {
    /// The paths of the tops.
    pub(super) fn tops(&self) -> Vec<AbsPath> {
        self.tops.keys().cloned().collect()
    }

    /// The watch of the top at `path`.
    pub(super) fn top(&self, path: &AbsPath) -> Option<i32> {
        self.tops.get(path).copied()
    }

    /// How many directories it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the directory is in the tree.
    pub(super) fn knows(&self, watch: i32) -> bool {
        self.nodes.contains_key(&watch)
    }

    /// The top above the directory, and the directory's path; `None` while it drifts.
    pub(super) fn locate(&self, watch: i32) -> Option<(AbsPath, PathBuf)> {
        let mut names: Vec<&OsStr> = Vec::new();
        let mut at = watch;
        loop {
            if self.adrift.contains(&at) {
                return None;
            }
            match &self.nodes.get(&at)?.place {
                Place::Top(path) => {
                    let mut whole = path.as_path().to_owned();
                    whole.extend(names.iter().rev());
                    return Some((path.clone(), whole));
                }
                Place::In(parent, name) => {
                    names.push(name);
                    at = *parent;
                }
            }
        }
    }

    /// The watch of the directory at `path`, by the names that the tree knows.
    pub(super) fn find(&self, path: &AbsPath) -> Option<i32> {
        self.tops.iter().find_map(|(top, watch)| {
            let beneath = path.as_path().strip_prefix(top).ok()?;
            beneath.components().try_fold(*watch, |at, component| {
                self.nodes
                    .get(&at)?
                    .children
                    .get(component.as_os_str())
                    .copied()
            })
        })
    }

    /// Puts the directory at `place`, with all that is beneath it, from wherever it was. What was at
    /// that place drifts.
    ///
    /// Where that would put it within itself, some directory between the two has left and the event
    /// that tells it is yet to come: that one drifts.
    pub(super) fn attach(&mut self, watch: i32, place: Place) {
        let mut child = watch;
        let mut above = &place;
        while let Place::In(parent, _) = above {
            if *parent == watch {
                self.detach(child);
                self.adrift.insert(child);
                if child == watch {
                    return;
                }
                break;
            }
            let Some(node) = self.nodes.get(parent) else {
                break;
            };
            if self.adrift.contains(parent) {
                break;
            }
            child = *parent;
            above = &node.place;
        }
        self.detach(watch);
        self.adrift.remove(&watch);
        let before = match &place {
            Place::Top(path) => self.tops.insert(path.clone(), watch),
            Place::In(parent, name) => self
                .nodes
                .get_mut(parent)
                .and_then(|node| node.children.insert(name.clone(), watch)),
        };
        self.adrift.extend(before.filter(|other| *other != watch));
        self.nodes
            .entry(watch)
            .and_modify(|node| node.place = place.clone())
            .or_insert_with(|| Node {
                place,
                children: HashMap::new(),
            });
    }

    /// The directory `name` in `parent` left; where it is now, is not known.
    pub(super) fn leave(&mut self, parent: i32, name: &OsStr) {
        let child = self
            .nodes
            .get_mut(&parent)
            .and_then(|node| node.children.remove(name));
        self.adrift.extend(child);
    }

    /// Takes everything from `parent` that is not in `names`.
    pub(super) fn keep_only(&mut self, parent: i32, names: &HashSet<OsString>) {
        if let Some(node) = self.nodes.get_mut(&parent) {
            let gone = node
                .children
                .extract_if(|name, _| !names.contains(name))
                .map(|(_, watch)| watch);
            self.adrift.extend(gone);
        }
    }

    /// The watch ended by itself, with its directory.
    pub(super) fn forget(&mut self, watch: i32) {
        self.detach(watch);
        self.adrift.remove(&watch);
        if let Some(node) = self.nodes.remove(&watch) {
            self.adrift.extend(node.children.into_values());
        }
    }

    /// Ends the drift: removes every directory that did not turn up elsewhere, with all beneath it,
    /// and gives their watches.
    pub(super) fn settle(&mut self) -> Vec<i32> {
        let mut ended = Vec::new();
        let mut waiting: Vec<i32> = self.adrift.drain().collect();
        while let Some(watch) = waiting.pop() {
            if let Some(node) = self.nodes.remove(&watch) {
                ended.push(watch);
                waiting.extend(node.children.into_values());
            }
        }
        ended
    }

    /// Removes the top at `path`. The directories at `kept` beneath it become tops of their own;
    /// everything else drifts.
    pub(super) fn remove_top(&mut self, path: &AbsPath, kept: &[AbsPath]) {
        for inner in kept.iter().filter(|inner| *inner != path) {
            if let Some(watch) = self.find(inner) {
                self.attach(watch, Place::Top(inner.clone()));
            }
        }
        self.adrift.extend(self.tops.remove(path));
    }

    fn detach(&mut self, watch: i32) {
        let Some(node) = self.nodes.get(&watch) else {
            return;
        };
        match node.place.clone() {
            Place::Top(path) => {
                if self.tops.get(&path) == Some(&watch) {
                    self.tops.remove(&path);
                }
            }
            Place::In(parent, name) => {
                if let Some(parent) = self.nodes.get_mut(&parent)
                    && parent.children.get(&name) == Some(&watch)
                {
                    parent.children.remove(&name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn within(parent: i32, name: &str) -> Place {
        Place::In(parent, name.into())
    }

    /// `/r` (1) with `a` (2), which holds `b` (3).
    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.attach(1, Place::Top(path("/r")));
        tree.attach(2, within(1, "a"));
        tree.attach(3, within(2, "b"));
        tree
    }

    fn place(tree: &Tree, watch: i32) -> Option<String> {
        let (_, path) = tree.locate(watch)?;
        Some(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_directory_that_turns_up_elsewhere_takes_along_what_is_beneath() {
        let mut tree = tree();
        tree.leave(1, OsStr::new("a"));
        tree.attach(2, within(1, "c"));
        assert_eq!(tree.settle(), [] as [i32; 0]);
        assert_eq!(place(&tree, 3).unwrap(), "/r/c/b");
        assert_eq!(tree.find(&path("/r/c/b")), Some(3));
        assert_eq!(tree.find(&path("/r/a")), None);
    }

    #[test]
    fn what_does_not_turn_up_is_removed_with_all_beneath() {
        let mut tree = tree();
        tree.leave(1, OsStr::new("a"));
        let mut ended = tree.settle();
        ended.sort_unstable();
        assert_eq!(ended, [2, 3]);
        assert!(tree.knows(1) && !tree.knows(3));
    }

    #[test]
    fn a_directory_never_lies_within_itself() {
        // 3 was moved out of 2, then 2 into 3; the first is not known yet.
        let mut tree = tree();
        tree.attach(2, within(3, "x"));
        assert_eq!(place(&tree, 2), None);
        assert_eq!(place(&tree, 3), None);
        tree.attach(3, within(1, "b"));
        assert_eq!(tree.settle(), [] as [i32; 0]);
        assert_eq!(place(&tree, 2).unwrap(), "/r/b/x");

        tree.attach(2, within(2, "y"));
        assert_eq!(place(&tree, 2), None);
        assert_eq!(tree.settle(), [2]);
    }

    #[test]
    fn who_takes_a_place_drives_out_who_was_there() {
        let mut tree = tree();
        tree.attach(4, within(1, "a"));
        let mut ended = tree.settle();
        ended.sort_unstable();
        assert_eq!(ended, [2, 3]);
        assert_eq!(tree.find(&path("/r/a")), Some(4));
    }

    #[test]
    fn a_top_within_another_outlives_it() {
        let mut tree = tree();
        tree.remove_top(&path("/r"), &[path("/r"), path("/r/a")]);
        assert_eq!(tree.settle(), [1]);
        assert_eq!(tree.tops(), [path("/r/a")]);
        assert_eq!(place(&tree, 3).unwrap(), "/r/a/b");
    }

    #[test]
    fn a_listing_takes_away_what_it_does_not_hold() {
        let mut tree = tree();
        tree.keep_only(1, &HashSet::from([OsString::from("other")]));
        assert_eq!(tree.settle().len(), 2);
        tree.forget(1);
        assert_eq!(tree.tops(), [] as [AbsPath; 0]);
    }
}
