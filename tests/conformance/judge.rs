//! The judges: whether trees are equal, and which entries a command changed, as other programs see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Everything that `find`, `sha256sum`, `lsattr`, `getfattr` and `getfacl` say of each entry, by its path
/// relative to the tree. The tree itself is `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State(BTreeMap<Vec<u8>, Vec<String>>);

impl State {
    /// The state of the tree now.
    pub(crate) fn of(tree: &Path) -> Self {
        let mut entries: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        let listing = output(
            tree,
            r"find . \( -type d -printf '%p|%y|%m|%U|%G|%T@\0' \) -o -printf '%p|%y|%m|%U|%G|%T@|%s|%n|%l\0'",
        );
        for line in listing.split(|b| *b == 0).filter(|l| !l.is_empty()) {
            let bar = line.iter().position(|b| *b == b'|').expect("a name");
            let rest = String::from_utf8_lossy(&line[bar..]).into_owned();
            entries.insert(line[..bar].to_vec(), vec![rest]);
        }
        let sums = output(tree, "find . -type f -exec sha256sum -z {} +");
        for line in sums.split(|b| *b == 0).filter(|l| l.len() > 66) {
            let sum = String::from_utf8_lossy(&line[..64]).into_owned();
            let entry = entries.get_mut(&line[66..]);
            entry.expect("an entry of the listing").push(sum);
        }
        // Names are not escaped there: what follows a line break is none of ours.
        let flags = output(
            tree,
            r"find . \( -type f -o -type d \) -exec lsattr -d {} + 2>/dev/null; true",
        );
        for line in flags.split(|b| *b == b'\n') {
            let Some(space) = line.iter().position(|b| *b == b' ') else {
                continue;
            };
            if let Some(entry) = entries.get_mut(&line[space + 1..]) {
                let set = line[..space].iter().map(|b| char::from(*b));
                // Those that a command can set.
                let set: String = set.filter(|c| "sSiadAD".contains(*c)).collect();
                entry.push(format!("flags {set}"));
            }
        }
        let mut state = Self(entries);
        // Both end what they say of an entry with an empty line; names are escaped there, and an
        // entry of such a name is found by its other lines.
        state.add(&output(
            tree,
            "find . -depth ! -type l -exec getfattr -hd -e hex -m '^(user|trusted|security)[.]' {} + 2>/dev/null; true",
        ));
        state.add(&output(
            tree,
            "find . -depth ! -type l -exec getfacl -nps {} + 2>/dev/null; true",
        ));
        state
    }

    /// Takes blocks that begin with `# file: NAME`.
    fn add(&mut self, dump: &[u8]) {
        // One character for each byte, as names need not be UTF-8.
        let dump: String = dump.iter().map(|b| char::from(*b)).collect();
        for block in dump.split("\n\n").filter(|b| !b.trim().is_empty()) {
            let (head, rest) = block.trim().split_once('\n').unwrap_or((block.trim(), ""));
            let name = unescape(head.strip_prefix("# file: ").unwrap_or(head));
            // `getfattr` says nothing of owners, `getfacl` what the listing has already.
            let lines = rest.lines().filter(|l| !l.starts_with('#'));
            let known = [b"./", &name[..]].concat();
            let key = if self.0.contains_key(&known) {
                known
            } else {
                name
            };
            if let Some(entry) = self.0.get_mut(&key) {
                entry.extend(lines.map(str::to_owned));
            } else {
                panic!(
                    "the judges disagree about {:?}",
                    String::from_utf8_lossy(&key)
                );
            }
        }
    }

    /// The paths of entries that are not the same in both. A directory whose time alone moved
    /// is not among them, nor is a file that has another number of names and is else the same.
    pub(crate) fn changed(&self, other: &Self) -> BTreeSet<Vec<u8>> {
        let names: BTreeSet<&Vec<u8>> = self.0.keys().chain(other.0.keys()).collect();
        let differs = |name: &&&Vec<u8>| match (self.0.get(**name), other.0.get(**name)) {
            (Some(one), Some(two)) => without_side_effects(one) != without_side_effects(two),
            _ => true,
        };
        names.iter().filter(differs).map(|n| (*n).clone()).collect()
    }

    /// What differs, for people; empty: nothing.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let names: BTreeSet<&Vec<u8>> = self.0.keys().chain(other.0.keys()).collect();
        for name in names {
            let (one, two) = (self.0.get(name), other.0.get(name));
            if one != two {
                let name = name.escape_ascii();
                let lines = format!("{name}\n  expected {one:?}\n  found    {two:?}\n");
                text.push_str(&lines);
            }
        }
        text
    }
}

/// The lines of an entry without what changes when another entry does: a directory's time, the
/// number of a file's names.
fn without_side_effects(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    if let Some(first) = lines.first_mut() {
        let mut fields: Vec<&str> = first.split('|').collect();
        // Kind, mode, owner, group, time, size, names, target; the last three not of directories.
        let field = if fields[1] == "d" { 5 } else { 7 };
        fields.remove(field);
        *first = fields.join("|");
    }
    lines
}

/// Undoes the octal escapes of `getfattr` and `getfacl`.
fn unescape(name: &str) -> Vec<u8> {
    let name: Vec<u8> = name.chars().map(|c| c as u8).collect();
    let (mut bytes, mut rest) = (Vec::new(), &name[..]);
    while let [first, tail @ ..] = rest {
        let digits = tail
            .get(..3)
            .filter(|d| d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match (first, digits, tail) {
            (b'\\', Some(digits), _) => {
                bytes.push(digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0')) as u8);
                rest = &tail[3..];
            }
            (b'\\', None, [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn output(dir: &Path, script: &str) -> Vec<u8> {
    let done = Command::new("bash")
        .args(["-c", script])
        .current_dir(dir)
        .output()
        .expect("bash");
    assert!(
        done.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}
