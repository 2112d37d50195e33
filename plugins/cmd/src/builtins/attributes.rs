//! Programs that change attributes, owners and permissions.

use deployx_plugin_sdk::Depth;

use super::Call;
use super::call::{Beneath, here, word};
use crate::words::Word;

/// `attrib [+r|-r]… [path] [/s [/d]] [/l]`
pub(crate) fn attrib(call: &mut Call<'_, '_>) {
    let is_flag = |word: &Word| {
        word.text().is_some_and(
            |text| matches!(text.as_slice(), [b'+' | b'-', letter] if letter.is_ascii_alphabetic()),
        )
    };
    let operands = call.operands.clone();
    let (flags, paths): (Vec<Word>, Vec<Word>) = operands.into_iter().partition(is_flag);
    let unknown = paths
        .iter()
        .any(|path| path.text().is_none() && !path.quoted);
    if flags.is_empty() && !unknown {
        return;
    }
    let paths = if paths.is_empty() {
        vec![word(b"*")]
    } else {
        paths
    };
    for path in paths {
        let targets = if call.has("s") {
            call.beneath(&path, Beneath::Names)
        } else {
            call.targets(&path)
        };
        call.change(&targets, false, "attributes changed");
    }
}

/// `icacls path [/grant …] [/save file] [/t] …`
pub(crate) fn icacls(call: &mut Call<'_, '_>) {
    let Some(path) = call.words.first().cloned() else {
        return;
    };
    if let Some(file) = word_after(call, b"/save") {
        call.write_word(&file, "permissions saved to");
    }
    let changes = [
        "grant",
        "deny",
        "remove",
        "reset",
        "setowner",
        "setintegritylevel",
        "inheritance",
        "inheritancelevel",
        "substitute",
        "restore",
    ];
    if !changes.iter().any(|switch| call.has(switch)) {
        if call.switches.iter().any(|switch| switch.text().is_none()) {
            call.unclear("a switch that is not known");
        }
        return;
    }
    let deep = call.has("t") || call.has("restore");
    let targets = call.targets(&path);
    call.change(&targets, deep, "permissions changed");
}

/// `cacls path [/t] [/e] [/g …]`
pub(crate) fn cacls(call: &mut Call<'_, '_>) {
    let Some(path) = call.words.first().cloned() else {
        return;
    };
    if ["g", "r", "p", "d", "s"]
        .iter()
        .any(|switch| call.has(switch))
    {
        let deep = call.has("t");
        let targets = call.targets(&path);
        call.change(&targets, deep, "permissions changed");
    }
}

/// `takeown /f path [/r]`
pub(crate) fn takeown(call: &mut Call<'_, '_>) {
    if call.has("s") {
        call.evaluator
            .effect("remote", "it acts on another computer");
    }
    let Some(path) = word_after(call, b"/f") else {
        return;
    };
    let deep = call.has("r");
    let targets = call.targets(&path);
    call.change(&targets, deep, "owner changed");
}

/// `compact [/c|/u] [/s[:dir]] [path]…`
pub(crate) fn compact(call: &mut Call<'_, '_>) {
    if call.has("compactos") {
        call.unclear("it changes files of the system");
    }
    if call.has("c") || call.has("u") {
        change_or_walk(call, "compression changed");
    }
}

/// `cipher [/e|/d] [/s:dir] [path]…`
pub(crate) fn cipher(call: &mut Call<'_, '_>) {
    let others = [
        "k",
        "r",
        "u",
        "w",
        "x",
        "rekey",
        "adduser",
        "removeuser",
        "flushcache",
        "p",
    ];
    if others.iter().any(|switch| call.has(switch)) {
        call.unclear("keys or free space change");
    }
    if call.has("e") || call.has("d") {
        change_or_walk(call, "encryption changed");
    }
}

/// With `/s` everything beneath a directory, otherwise the operands, or what is in the current
/// directory.
fn change_or_walk(call: &mut Call<'_, '_>, reason: &str) {
    if call.has("s") {
        let dir = call.value("s").unwrap_or_else(here);
        let targets = call.targets(&dir);
        return call.change(&targets, true, reason);
    }
    for operand in call.operands.clone() {
        let targets = call.targets(&operand);
        call.change(&targets, false, reason);
    }
    if call.operands.is_empty() {
        let targets = call.targets(&here());
        for (path, _) in &targets.known {
            call.evaluator.touch(path, Depth::Children, false, reason);
        }
    }
}

/// The word that follows a switch.
fn word_after(call: &Call<'_, '_>, switch: &[u8]) -> Option<Word> {
    let at = call.words.iter().position(|word| {
        word.text()
            .is_some_and(|text| text.eq_ignore_ascii_case(switch))
    })?;
    call.words.get(at + 1).cloned()
}
