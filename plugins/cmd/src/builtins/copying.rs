//! `copy`, `move` and `ren`.

use deployx_plugin_sdk::{Depth, Kind};

use super::Call;
use super::call::here;
use crate::cell::{Cell, byte};
use crate::eval::Targets;
use crate::names::{STYLE, has_wildcard, is_device, masked, split_last};
use crate::words::{Word, split_for_cmd};

/// What is copied or moved.
struct Sources {
    /// The names, where all are known.
    names: Option<Vec<Vec<u8>>>,
    /// There may be more than one.
    several: bool,
}

/// `copy [switches] source [+ source]… [destination]`
pub(crate) fn copy(call: &mut Call<'_, '_>) {
    call.expect(&["a", "b", "d", "v", "n", "y", "-y", "z", "l", "j"]);
    let (groups, open_end) = groups(&call.tail);
    let Some(given) = groups.first() else {
        return;
    };
    if groups.len() > 2 {
        call.unclear("more than a source and a destination");
    }
    let joined = given.len() > 1 || open_end;
    let sources = copied(call, given);
    match groups.last().filter(|_| groups.len() > 1) {
        Some(destination) => {
            for word in destination.clone() {
                let names = sources.names.as_deref();
                // Files that are joined get the name of the first.
                let names = names.map(|names| {
                    if joined {
                        &names[..names.len().min(1)]
                    } else {
                        names
                    }
                });
                put(call, &word, names, sources.several, "copied to");
            }
        }
        None if joined => {
            let first = given[0].clone();
            call.write_word(&first, "copied to");
        }
        None => put(call, &here(), sources.names.as_deref(), true, "copied to"),
    }
}

/// The operands of `copy`: those joined by `+` together. And whether a `+` is the last.
fn groups(tail: &[Cell]) -> (Vec<Vec<Word>>, bool) {
    let plus = Cell::from(b'+');
    let mut spaced = Vec::with_capacity(tail.len());
    let mut quoted = false;
    for &cell in tail {
        quoted ^= byte(cell) == b'"';
        if cell == plus && !quoted {
            spaced.extend([Cell::from(b' '), cell, Cell::from(b' ')]);
        } else {
            spaced.push(cell);
        }
    }
    let mut groups: Vec<Vec<Word>> = Vec::new();
    let mut join = false;
    for word in split_for_cmd(&spaced) {
        let first = word.cells.first().map_or(0, |c| byte(*c));
        if !word.quoted && first == b'/' {
            continue;
        }
        if !word.quoted && word.cells == [plus] {
            join = true;
            continue;
        }
        match groups.last_mut() {
            Some(group) if join => group.push(word),
            _ => groups.push(vec![word]),
        }
        join = false;
    }
    (groups, join)
}

fn copied(call: &mut Call<'_, '_>, words: &[Word]) -> Sources {
    let mut sources = Sources {
        names: Some(Vec::new()),
        several: false,
    };
    for word in words {
        if word.text().is_some_and(|text| is_device(&text)) {
            // What is read from a device has no name of its own.
            continue;
        }
        let targets = call.targets(word);
        add_names(call, &targets, &mut sources);
    }
    sources
}

/// Adds the names of files; of a directory, those in it.
fn add_names(call: &Call<'_, '_>, targets: &Targets, sources: &mut Sources) {
    sources.several |= targets.pattern;
    if !targets.within.is_empty() || targets.doubt.is_some() {
        sources.names = None;
    }
    for (path, _) in &targets.known {
        let kind = call.kind_behind(path);
        if kind == Kind::Directory && targets.pattern {
            continue;
        }
        let mut found = vec![path.clone()];
        if kind == Kind::Directory {
            sources.several = true;
            match call.evaluator.matching_in(path, b"*") {
                Some(files) => found = files.into_iter().map(|(path, _)| path).collect(),
                None => sources.names = None,
            }
        }
        if kind == Kind::Unknown {
            sources.several = true;
            sources.names = None;
        }
        if let Some(names) = &mut sources.names {
            names.extend(found.iter().map(|path| split_last(path).1.to_vec()));
        }
    }
}

/// Notes where files go.
fn put(
    call: &mut Call<'_, '_>,
    destination: &Word,
    names: Option<&[Vec<u8>]>,
    several: bool,
    reason: &str,
) {
    let Some(text) = destination.text() else {
        call.write_word(destination, reason);
        let targets = call.targets(destination);
        call.evaluator.note_within(&targets, Depth::Tree, reason);
        return;
    };
    if is_device(&text) {
        return;
    }
    let (dir, last) = split_last(&text);
    if has_wildcard(last) && !has_wildcard(dir) {
        return put_masked(call, dir, last, names, reason);
    }
    let targets = call.targets(destination);
    for (path, _) in &targets.known {
        match call.kind_behind(path) {
            Kind::Directory => put_into(call, path, names, reason),
            Kind::File => call.evaluator.write(path, reason),
            Kind::Missing if !several => call.evaluator.write(path, reason),
            _ => {
                call.evaluator.touch_parent(path, reason);
                call.evaluator.make(path, reason);
            }
        }
    }
    call.evaluator.note_within(&targets, Depth::Tree, reason);
}

/// `copy *.txt d:\*.bak`
fn put_masked(
    call: &mut Call<'_, '_>,
    dir: &[u8],
    mask: &[u8],
    names: Option<&[Vec<u8>]>,
    reason: &str,
) {
    let Some(dir) = call.world.resolve(dir) else {
        call.unclear("the working directory is not known here");
        return;
    };
    let renamed: Option<Vec<Vec<u8>>> =
        names.and_then(|names| names.iter().map(|name| masked(mask, name)).collect());
    put_into(call, &dir, renamed.as_deref(), reason);
}

/// Notes files in a directory, by name where these are known.
fn put_into(call: &mut Call<'_, '_>, dir: &[u8], names: Option<&[Vec<u8>]>, reason: &str) {
    match names {
        Some(names) => {
            for name in names {
                if let Some(path) = STYLE.join(dir, name) {
                    call.evaluator.write(&path, reason);
                }
            }
        }
        None => {
            call.evaluator.out.destructive = true;
            let targets = Targets {
                within: vec![(dir.to_vec(), false)],
                ..Targets::default()
            };
            call.evaluator
                .note_within(&targets, Depth::Children, reason);
        }
    }
}

/// `move [/y] source… [destination]`
pub(crate) fn move_files(call: &mut Call<'_, '_>) {
    call.expect(&["y", "-y"]);
    let mut operands = call.operands.clone();
    let destination = if operands.len() > 1 {
        operands.pop().unwrap_or_else(here)
    } else {
        here()
    };
    let mut names = Some(Vec::new());
    for operand in &operands {
        let targets = call.targets(operand);
        if !targets.within.is_empty() || targets.doubt.is_some() {
            names = None;
        }
        for (path, _) in &targets.known {
            taken(call, path, "moved away");
            if let Some(names) = &mut names {
                names.push(split_last(path).1.to_vec());
            }
        }
        call.evaluator
            .note_within(&targets, Depth::Tree, "moved away");
        call.evaluator.out.destructive = true;
    }
    moved_to(call, &destination, names.as_deref());
}

fn taken(call: &mut Call<'_, '_>, path: &[u8], reason: &str) {
    call.evaluator
        .touch_parent(path, "directory of what is moved");
    call.evaluator.take_away(path, reason);
}

fn moved_to(call: &mut Call<'_, '_>, destination: &Word, names: Option<&[Vec<u8>]>) {
    let targets = call.targets(destination);
    for (path, _) in &targets.known {
        let into = call.kind_behind(path) == Kind::Directory;
        match names.filter(|_| into) {
            Some(names) => {
                for name in names {
                    if let Some(path) = STYLE.join(path, name) {
                        call.evaluator.make(&path, "moved to");
                    }
                }
            }
            None => {
                call.evaluator.touch_parent(path, "moved to");
                call.evaluator.make(path, "moved to");
            }
        }
    }
    call.evaluator
        .note_within(&targets, Depth::Tree, "moved to");
}

/// `ren path name`
pub(crate) fn ren(call: &mut Call<'_, '_>) {
    call.expect(&[]);
    let [from, to] = call.operands.as_slice() else {
        return call.unclear("not one path and one name");
    };
    let (from, to) = (from.clone(), to.clone());
    let targets = call.targets(&from);
    let mask = to.text();
    if mask.is_none() {
        call.unclear("the new name is not known");
    }
    for (path, _) in &targets.known {
        taken(call, path, "renamed");
        let Some(dir) = STYLE.parent(path) else {
            continue;
        };
        // A directory before the new name is refused by `ren`; only the name counts.
        let name = mask.as_deref().map(|mask| split_last(mask).1);
        let name = name.and_then(|mask| masked(mask, split_last(path).1));
        match name.and_then(|name| STYLE.join(&dir, &name)) {
            Some(path) => call.evaluator.make(&path, "new name"),
            None => {
                let within = Targets {
                    within: vec![(dir, false)],
                    ..Targets::default()
                };
                call.evaluator
                    .note_within(&within, Depth::Tree, "new names in it");
            }
        }
    }
    call.evaluator.note_within(&targets, Depth::Tree, "renamed");
    call.evaluator.out.destructive = true;
}
