//! Rows in the form in which the index keeps them.
//!
//! A directory's row is one value, or, where it has many entries, a *head* and *pages*: each entry
//! is in the page that its name hashes to. What a command changed in a large directory then costs
//! the pages concerned and not the directory.
//!
//! | key | value |
//! |---|---|
//! | path | head: the entry itself, what is in it or in how many pages that is |
//! | path, NUL, number (big endian) | page: entries, sorted by name |

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::path::AbsPath;
use crate::snapshot::tree::record::{Child, Object, Record, Row};

/// As many entries are meant to be in a page, and twice as many stay in the head.
const PAGE: usize = 64;

/// A page may have so many times fewer or more entries than it was meant to before a directory is
/// divided anew.
const SLACK: usize = 4;

/// What ends the path in the key of a page: no path has it, and nothing sorts between.
const DIVIDER: u8 = 0;

/// Encoded heads and pages by their keys.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<Vec<u8>, Box<[u8]>>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    own: Option<Record>,
    inside: Inside,
}

/// What is in a directory.
#[derive(Debug, Default, Serialize, Deserialize)]
enum Inside {
    /// It was not looked into, or is no directory.
    #[default]
    Unknown,
    Here(Vec<(Vec<u8>, Child)>),
    /// In so many pages.
    Pages(u32),
}

/// Entries of a directory.
type Page = Vec<(Vec<u8>, Child)>;

/// What was looked at in a directory of which only some entries were.
pub(super) struct Part {
    /// The directory itself.
    pub(super) own: Record,
    /// Entries that are there, sorted by name.
    pub(super) present: Page,
    /// Names that are not there (any more).
    pub(super) absent: Vec<Vec<u8>>,
}

impl Rows {
    pub(super) fn insert_encoded(&mut self, key: Vec<u8>, value: Box<[u8]>) {
        self.0.insert(key, value);
    }

    pub(super) fn remove_encoded(&mut self, key: &[u8]) {
        self.0.remove(key);
    }

    pub(super) fn encoded(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), &**value))
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(AsRef::as_ref)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes over the rows of `others` at keys that this has none at.
    pub(super) fn fill_up(&mut self, others: Rows) {
        for (key, value) in others.0 {
            self.0.entry(key).or_insert(value);
        }
    }

    /// Takes over all rows of `others`.
    pub(super) fn extend(&mut self, others: Rows) {
        self.0.extend(others.0);
    }

    /// Whether something is known of `path`.
    pub(super) fn contains(&self, path: &AbsPath) -> bool {
        self.0.contains_key(path.to_bytes())
    }

    /// What is known of `path`; `None` too where it is damaged or not all of it is here.
    pub(super) fn row(&self, path: &AbsPath) -> Option<Row> {
        let head = self.head(path)?;
        let children = match head.inside {
            Inside::Unknown => None,
            Inside::Here(children) => Some(children),
            Inside::Pages(count) => {
                let mut all = Page::new();
                for number in 0..count {
                    all.extend(self.page(path, number)?);
                }
                all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                Some(all)
            }
        };
        Some(Row {
            own: head.own,
            children,
        })
    }

    /// The same with those children only that `names` (sorted) lists.
    pub(super) fn part(&self, path: &AbsPath, names: &[OsString]) -> Option<Row> {
        let head = self.head(path)?;
        let children = match head.inside {
            Inside::Unknown => None,
            Inside::Here(children) => Some(picked(&children, names.iter())),
            Inside::Pages(count) => {
                let mut all = Page::new();
                for (number, names) in by_page(names, count) {
                    all.extend(picked(&self.page(path, number)?, names.into_iter()));
                }
                all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                Some(all)
            }
        };
        Some(Row {
            own: head.own,
            children,
        })
    }

    /// Makes `row` what is known of `path`. `known`: where it was known before, and so divided in
    /// the same way if that still fits.
    pub(super) fn put(&mut self, path: &AbsPath, row: Row, known: &Rows) {
        let before = known.head(path).map(|head| head.inside);
        let Some(mut children) = row.children else {
            return self.put_head(path, row.own, Inside::Unknown);
        };
        let count = pages_for(children.len(), before.as_ref());
        if before.is_some_and(|before| before.is_divided_otherwise(count)) {
            share(&mut children);
        }
        if count == 0 {
            return self.put_head(path, row.own, Inside::Here(children));
        }
        let mut pages = vec![Page::new(); count as usize];
        for (name, child) in children {
            pages[page_of(&name, count) as usize].push((name, child));
        }
        for (number, page) in (0..).zip(&pages) {
            self.0.insert(page_key(path, number), encode(page));
        }
        self.put_head(path, row.own, Inside::Pages(count));
    }

    /// Puts only the entry itself; what `known` has of its inside stays.
    pub(super) fn put_own(&mut self, path: &AbsPath, own: Option<Record>, known: &Rows) {
        let inside = known.head(path).map(|head| head.inside);
        self.put_head(path, own, inside.unwrap_or_default());
    }

    /// Puts what was found of a part of a directory into what `known` has of it.
    pub(super) fn put_part(&mut self, path: &AbsPath, part: Part, known: &Rows) {
        let Some(head) = known.head(path) else {
            return;
        };
        let changes = part.present.into_iter().map(|(name, c)| (name, Some(c)));
        let changes = changes.chain(part.absent.into_iter().map(|name| (name, None)));
        match head.inside {
            Inside::Unknown => {}
            Inside::Here(mut children) => {
                changes.for_each(|(name, child)| change(&mut children, name, child));
                let row = Row {
                    own: Some(part.own),
                    children: Some(children),
                };
                self.put(path, row, known);
            }
            Inside::Pages(count) => {
                let mut pages: BTreeMap<u32, Page> = BTreeMap::new();
                for (name, child) in changes {
                    let number = page_of(&name, count);
                    let page = pages.entry(number);
                    let page = page.or_insert_with(|| known.page(path, number).unwrap_or_default());
                    change(page, name, child);
                }
                for (number, page) in pages {
                    self.0.insert(page_key(path, number), encode(&page));
                }
                self.put_head(path, Some(part.own), Inside::Pages(count));
            }
        }
    }

    /// Forgets what is in the directory at `path`.
    pub(super) fn strip(&mut self, path: &AbsPath) {
        let Some(head) = self.head(path) else { return };
        let keys: Vec<Vec<u8>> = self.keys_at(path).cloned().collect();
        for key in keys {
            self.0.remove(&key);
        }
        self.put_head(path, head.own, Inside::Unknown);
    }

    /// Copies what is known of `path`.
    pub(super) fn copy_to(&self, path: &AbsPath, to: &mut Rows) {
        for key in self.keys_at(path) {
            to.0.insert(key.clone(), self.0[key].clone());
        }
    }

    /// The keys of the head and the pages of `path`.
    pub(super) fn keys_at(&self, path: &AbsPath) -> impl Iterator<Item = &Vec<u8>> {
        let (from, to) = range_at(path);
        self.0.range(from..to).map(|(key, _)| key)
    }

    /// The keys of everything beneath `root`.
    pub(super) fn keys_beneath(&self, root: &AbsPath) -> impl Iterator<Item = &Vec<u8>> {
        let (from, to) = range_beneath(root);
        self.0.range(from..to).map(|(key, _)| key)
    }

    fn head(&self, path: &AbsPath) -> Option<Head> {
        decode(self.get(path.to_bytes())?)
    }

    fn page(&self, path: &AbsPath, number: u32) -> Option<Page> {
        decode(self.get(&page_key(path, number))?)
    }

    fn put_head(&mut self, path: &AbsPath, own: Option<Record>, inside: Inside) {
        let head = Head { own, inside };
        self.0.insert(path.to_bytes().to_vec(), encode(&head));
    }
}

impl Inside {
    /// Whether entries are in other values if there are `count` pages now.
    fn is_divided_otherwise(&self, count: u32) -> bool {
        match self {
            Inside::Unknown => false,
            Inside::Here(_) => count != 0,
            Inside::Pages(before) => count != *before,
        }
    }
}

/// The keys of the pages with the entries `names`, where the head `encoded` says that there are any.
pub(super) fn pages_with(path: &AbsPath, encoded: &[u8], names: &[OsString]) -> Vec<Vec<u8>> {
    match decode::<Head>(encoded).map(|head| head.inside) {
        Some(Inside::Pages(count)) => by_page(names, count)
            .into_keys()
            .map(|number| page_key(path, number))
            .collect(),
        _ => Vec::new(),
    }
}

/// The path whose head or page is at `key`.
pub(super) fn path_of(key: &[u8]) -> &[u8] {
    match key.iter().position(|byte| *byte == DIVIDER) {
        Some(end) => &key[..end],
        None => key,
    }
}

/// The keys from the first to before the second are those of the head and the pages of `path`.
pub(super) fn range_at(path: &AbsPath) -> (Vec<u8>, Vec<u8>) {
    let from = path.to_bytes().to_vec();
    let mut to = from.clone();
    to.push(DIVIDER + 1);
    (from, to)
}

/// The keys from the first to before the second are those of what is beneath `root`.
pub(super) fn range_beneath(root: &AbsPath) -> (Vec<u8>, Vec<u8>) {
    let mut from = root.to_bytes().to_vec();
    if from.last() != Some(&b'/') {
        from.push(b'/');
    }
    let mut to = from.clone();
    // The root's own key ends with the separator.
    from.push(DIVIDER + 1);
    // '0' follows '/' in ASCII.
    to.pop();
    to.push(b'0');
    (from, to)
}

/// Every object that the head or page at `key` refers to.
pub(super) fn objects_of(key: &[u8], encoded: &[u8]) -> Vec<Object> {
    let entries = |page: &Page| -> Vec<Object> {
        let records = page.iter().filter_map(|(_, child)| match child {
            Child::Entry(record) => record.object(),
            Child::Directory => None,
        });
        records.collect()
    };
    if path_of(key).len() < key.len() {
        return decode(encoded).as_ref().map(entries).unwrap_or_default();
    }
    let Some(head) = decode::<Head>(encoded) else {
        return Vec::new();
    };
    let mut objects = match &head.inside {
        Inside::Here(children) => entries(children),
        Inside::Unknown | Inside::Pages(_) => Vec::new(),
    };
    objects.extend(head.own.as_ref().and_then(Record::object));
    objects
}

/// In how many pages so many entries go; zero: in none, they stay in the head.
fn pages_for(entries: usize, before: Option<&Inside>) -> u32 {
    if let Some(Inside::Pages(count)) = before {
        let meant = *count as usize * PAGE;
        if entries <= meant * SLACK && entries * SLACK >= meant {
            return *count;
        }
    }
    match entries / PAGE {
        0 | 1 => 0,
        pages => u32::try_from(pages.next_power_of_two()).unwrap_or(1 << 31),
    }
}

/// The page with the entry `name`: FNV-1a, which stays the same from one release to the next.
fn page_of(name: &[u8], count: u32) -> u32 {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    // The lowest bits alone are weak.
    (hash ^ (hash >> 16)) & (count - 1)
}

fn by_page(names: &[OsString], count: u32) -> BTreeMap<u32, Vec<&OsString>> {
    let mut pages: BTreeMap<u32, Vec<&OsString>> = BTreeMap::new();
    for name in names {
        let number = page_of(name.as_encoded_bytes(), count);
        pages.entry(number).or_default().push(name);
    }
    pages
}

fn page_key(path: &AbsPath, number: u32) -> Vec<u8> {
    let mut key = path.to_bytes().to_vec();
    key.push(DIVIDER);
    key.extend(number.to_be_bytes());
    key
}

/// Those of `children` that are named.
fn picked<'a>(children: &Page, names: impl Iterator<Item = &'a OsString>) -> Page {
    names
        .filter_map(|name| position(children, name.as_encoded_bytes()).ok())
        .map(|at| children[at].clone())
        .collect()
}

fn change(children: &mut Page, name: Vec<u8>, child: Option<Child>) {
    match (position(children, &name), child) {
        (Ok(at), Some(child)) => children[at].1 = child,
        (Ok(at), None) => drop(children.remove(at)),
        (Err(at), Some(child)) => children.insert(at, (name, child)),
        (Err(_), None) => {}
    }
}

fn position(children: &Page, name: &[u8]) -> Result<usize, usize> {
    children.binary_search_by(|(known, _)| known.as_slice().cmp(name))
}

/// An object that moves to another value is counted from then on: versions of both values refer to
/// it for a while.
fn share(children: &mut Page) {
    for (_, child) in children {
        if let Child::Entry(record) = child {
            record.share_object();
        }
    }
}

fn encode(value: &impl Serialize) -> Box<[u8]> {
    postcard::to_stdvec(value)
        .unwrap_or_default()
        .into_boxed_slice()
}

/// `None` when it is damaged (the baseline is a cache).
fn decode<'a, T: Deserialize<'a>>(encoded: &'a [u8]) -> Option<T> {
    postcard::from_bytes(encoded).ok()
}

#[cfg(all(test, unix))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn names(count: usize) -> Page {
        let mut all: Page = (0..count)
            .map(|number| (format!("n{number}").into_bytes(), Child::Directory))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn row(count: usize) -> Row {
        Row {
            own: None,
            children: Some(names(count)),
        }
    }

    fn put(row: Row, known: &Rows) -> Rows {
        let mut rows = Rows::default();
        rows.put(&path("/d"), row, known);
        rows
    }

    #[test]
    fn a_directory_of_any_size_is_read_as_it_was_put() {
        for count in [0, 1, 127, 128, 129, 5_000] {
            let rows = put(row(count), &Rows::default());
            assert_eq!(rows.row(&path("/d")), Some(row(count)), "{count} entries");
            assert_eq!(rows.len() > 1, count >= 128, "{count} entries");
        }
    }

    #[test]
    fn a_part_needs_no_other_pages() {
        let rows = put(row(5_000), &Rows::default());
        let wanted = ["n17".into(), "n4999".into(), "other".into()];
        let head = rows.get(b"/d").unwrap();
        let mut few = Rows::default();
        few.insert_encoded(b"/d".to_vec(), head.into());
        for key in pages_with(&path("/d"), head, &wanted) {
            few.insert_encoded(key.clone(), rows.get(&key).unwrap().into());
        }
        assert!(few.len() <= 4);
        let found = few.part(&path("/d"), &wanted).unwrap().children.unwrap();
        let found: Vec<Vec<u8>> = found.into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, [b"n17".to_vec(), b"n4999".to_vec()]);
        assert_eq!(few.row(&path("/d")), None, "the rest is not known");
        assert_eq!(few.part(&path("/d"), &names_of(&row(5_000))), None);
    }

    fn names_of(row: &Row) -> Vec<OsString> {
        let children = row.children.iter().flatten();
        children
            .map(|(name, _)| String::from_utf8(name.clone()).unwrap().into())
            .collect()
    }

    #[test]
    fn a_directory_stays_divided_as_it_is_until_its_size_is_another() {
        let known = put(row(5_000), &Rows::default());
        let pages = |rows: &Rows| rows.len() - 1;
        assert_eq!(pages(&put(row(3_000), &known)), pages(&known));
        assert_eq!(pages(&put(row(20_000), &known)), pages(&known));
        assert!(pages(&put(row(200_000), &known)) > pages(&known));
        assert_eq!(pages(&put(row(20), &known)), 0);
    }

    #[test]
    fn stripped_and_removed_rows_leave_nothing() {
        let mut rows = put(row(5_000), &Rows::default());
        rows.put(&path("/d/e"), row(300), &Rows::default());
        rows.put(&path("/d0"), row(1), &Rows::default());
        let beneath: BTreeSet<&[u8]> = rows
            .keys_beneath(&path("/d"))
            .map(|key| path_of(key))
            .collect();
        assert_eq!(beneath, BTreeSet::from([&b"/d/e"[..]]));
        rows.strip(&path("/d"));
        assert_eq!(rows.keys_at(&path("/d")).count(), 1);
        assert_eq!(rows.row(&path("/d")).unwrap().children, None);
        assert_eq!(rows.row(&path("/d/e")), Some(row(300)));
    }

    #[test]
    fn the_root_directory_has_its_own_keys_and_those_beneath() {
        let mut rows = Rows::default();
        rows.put(&path("/"), row(500), &Rows::default());
        rows.put(&path("/d"), row(1), &Rows::default());
        assert_eq!(rows.row(&path("/")), Some(row(500)));
        assert_eq!(rows.keys_beneath(&path("/")).count(), 1);
    }
}
