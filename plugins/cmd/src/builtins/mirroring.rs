//! `xcopy`, `robocopy` and `replace`: copies of directories.

use deployx_plugin_sdk::{Depth, Kind};

use super::Call;
use super::call::{Beneath, here, word};
use super::creating::topmost_missing;
use crate::cell::byte;
use crate::names::{STYLE, has_wildcard, matches, split_last};
use crate::words::Word;

/// `xcopy source [destination] [switches]`
pub(crate) fn xcopy(call: &mut Call<'_, '_>) {
    if call.has("l") {
        return;
    }
    let mut operands = call.operands.clone().into_iter();
    let Some(source) = operands.next() else {
        return;
    };
    let destination = operands.next().unwrap_or_else(here);
    if operands.next().is_some() {
        call.unclear("more than a source and a destination");
    }
    let deep = call.has("s") || call.has("e") || call.has("t");
    if call.has("m") {
        let targets = call.beneath(&source, Beneath::Content);
        call.change(&targets, false, "mark for backups taken off");
    }
    let from = source.text().and_then(|text| tree_of(call, &text));
    spread(call, from.as_ref(), &destination, deep);
}

/// A directory and the names in it that are copied.
struct From {
    dir: Vec<u8>,
    patterns: Vec<Vec<u8>>,
}

fn tree_of(call: &Call<'_, '_>, text: &[u8]) -> Option<From> {
    let (dir, last) = split_last(text);
    if has_wildcard(dir) {
        return None;
    }
    let path = call.world.resolve(text)?;
    if !has_wildcard(last) && call.kind_behind(&path) == Kind::Directory {
        return Some(From {
            dir: path,
            patterns: vec![b"*".to_vec()],
        });
    }
    Some(From {
        dir: call.world.resolve(dir)?,
        patterns: vec![last.to_vec()],
    })
}

/// Notes what appears in a destination when a directory is copied into it.
fn spread(call: &mut Call<'_, '_>, from: Option<&From>, destination: &Word, deep: bool) {
    let reason = "copied to";
    let targets = call.targets(destination);
    call.evaluator.note_within(&targets, Depth::Tree, reason);
    for (path, _) in &targets.known {
        match call.kind_behind(path) {
            Kind::File => call.evaluator.write(path, reason),
            Kind::Directory => {
                if from.is_none_or(|from| spread_into(call, from, path, deep).is_none()) {
                    call.evaluator.out.destructive = true;
                    call.evaluator.make(path, reason);
                }
            }
            _ => {
                let topmost = topmost_missing(call, path);
                call.evaluator.touch_parent(&topmost, reason);
                call.evaluator.make(&topmost, reason);
            }
        }
    }
}

/// Notes each file by name. `None` where they are not known.
fn spread_into(call: &mut Call<'_, '_>, from: &From, to: &[u8], deep: bool) -> Option<()> {
    let entries = if deep {
        call.evaluator.walk(&from.dir, b"*")?
    } else {
        call.evaluator.matching_in(&from.dir, b"*")?
    };
    let mut new_directories: Vec<Vec<u8>> = Vec::new();
    for (path, kind) in entries {
        let relative = path.get(from.dir.len()..)?;
        let relative: Vec<u8> = relative
            .iter()
            .copied()
            .skip_while(|b| STYLE.is_separator(*b))
            .collect();
        let target = STYLE.join(to, &relative)?;
        if new_directories
            .iter()
            .any(|new| STYLE.starts_with(&target, new))
        {
            continue;
        }
        let name = split_last(&path).1;
        let wanted = from.patterns.iter().any(|pattern| matches(pattern, name));
        match kind {
            Kind::Directory if deep && call.kind_behind(&target) != Kind::Directory => {
                call.evaluator.make(&target, "copied to");
                new_directories.push(target);
            }
            Kind::File if wanted => call.evaluator.write(&target, "copied to"),
            Kind::Directory | Kind::File => {}
            // What a link leads to is copied as well.
            _ => call.evaluator.make(&target, "copied to"),
        }
    }
    Some(())
}

/// `robocopy source destination [file]… [switches]`
pub(crate) fn robocopy(call: &mut Call<'_, '_>) {
    for log in ["log", "log+", "unilog", "unilog+"] {
        if let Some(file) = call.value(log) {
            call.write_word(&file, "log");
        }
    }
    if let Some(file) = call.value("save") {
        call.write_word(&file, "saved settings");
        // The ending is added to a name that has none.
        if let Some(name) = file.text() {
            call.write_word(
                &word(&[&name, b".rcj".as_slice()].concat()),
                "saved settings",
            );
        }
    }
    if call.has("job") {
        call.unclear("settings are read from a file");
    }
    let operands = robocopy_operands(call);
    let [source, destination, files @ ..] = operands.as_slice() else {
        return;
    };
    if call.has("l") || call.has("quit") {
        return;
    }
    let deep = ["e", "s", "mir", "purge", "move"]
        .iter()
        .any(|switch| call.has(switch));
    if call.has("mir") || call.has("purge") {
        mirrored(call, destination);
    } else {
        let from = robocopy_source(call, source, files);
        spread(call, from.as_ref(), destination, deep);
    }
    if call.has("mov") || call.has("move") {
        moved(call, source, files, deep);
    } else if call.has("m") {
        let targets = call.beneath(source, Beneath::Content);
        call.change(&targets, false, "mark for backups taken off");
    }
}

/// Operands without those that say what is left out.
fn robocopy_operands(call: &Call<'_, '_>) -> Vec<Word> {
    let mut operands = Vec::new();
    let mut left_out = false;
    for word in &call.words {
        if word.cells.first().is_some_and(|c| byte(*c) == b'/') {
            let text = word.text().unwrap_or_default().to_ascii_lowercase();
            left_out = matches!(text.as_slice(), b"/xd" | b"/xf");
        } else if !left_out {
            operands.push(word.clone());
        }
    }
    operands
}

fn robocopy_source(call: &Call<'_, '_>, source: &Word, files: &[Word]) -> Option<From> {
    let dir = call.world.resolve(&source.text()?)?;
    let patterns: Option<Vec<Vec<u8>>> = files.iter().map(Word::text).collect();
    let mut patterns = patterns?;
    if patterns.is_empty() {
        patterns.push(b"*".to_vec());
    }
    Some(From { dir, patterns })
}

/// `/mir`: what the source does not have is removed.
fn mirrored(call: &mut Call<'_, '_>, destination: &Word) {
    let targets = call.targets(destination);
    for (path, _) in &targets.known {
        let topmost = topmost_missing(call, path);
        call.evaluator.touch_parent(&topmost, "mirrored to");
        call.evaluator.make(&topmost, "mirrored to");
    }
    call.evaluator
        .note_within(&targets, Depth::Tree, "mirrored to");
    call.evaluator.out.destructive = true;
}

/// `/mov`, `/move`: what was copied is removed.
fn moved(call: &mut Call<'_, '_>, source: &Word, files: &[Word], deep: bool) {
    call.evaluator.out.destructive = true;
    let whole = deep || files.is_empty() || source.text().is_none();
    if whole {
        let targets = call.targets(source);
        for (path, _) in &targets.known {
            let depth = if deep { Depth::Tree } else { Depth::Children };
            call.evaluator.touch(path, depth, true, "moved away");
        }
        call.evaluator
            .note_within(&targets, Depth::Tree, "moved away");
        return;
    }
    for file in files {
        let path = match (source.text(), file.text()) {
            (Some(source), Some(file)) => [source, b"\\".to_vec(), file].concat(),
            _ => {
                call.unclear("the value of a variable is not known");
                continue;
            }
        };
        let targets = call.targets(&word(&path));
        for (path, kind) in &targets.known {
            if *kind != Kind::Directory {
                call.evaluator.remove(path);
            }
        }
        call.evaluator
            .note_within(&targets, Depth::Children, "moved away");
    }
}

/// `replace source [destination] [switches]`
pub(crate) fn replace(call: &mut Call<'_, '_>) {
    let mut operands = call.operands.clone().into_iter();
    let Some(source) = operands.next() else {
        return;
    };
    let destination = operands.next().unwrap_or_else(here);
    if call.has("s") {
        let targets = call.targets(&destination);
        call.change(&targets, true, "files in it replaced");
        call.evaluator.out.destructive = true;
        return;
    }
    let from = source.text().and_then(|text| tree_of(call, &text));
    spread(call, from.as_ref(), &destination, false);
    call.evaluator.out.destructive = true;
}
