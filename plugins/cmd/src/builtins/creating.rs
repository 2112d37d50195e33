//! `md` and `mklink`.

use deployx_plugin_sdk::{Depth, Kind};

use super::Call;
use crate::names::STYLE;

/// `md`, `mkdir`: makes the directories above as well.
pub(crate) fn md(call: &mut Call<'_, '_>) {
    call.sure = call.expect(&[]);
    for operand in call.operands.clone() {
        let targets = call.targets(&operand);
        call.sure &= targets.known.len() == 1;
        for (path, kind) in &targets.known {
            call.sure &= *kind == Kind::Missing && !call.evaluator.made_something_in(path);
            call.evaluator
                .touch_parent(path, "directory of a new directory");
            match kind {
                Kind::File | Kind::Directory => {
                    call.evaluator
                        .touch(path, Depth::Entry, true, "new directory");
                }
                _ => {
                    let topmost = topmost_missing(call, path);
                    call.evaluator
                        .touch_parent(&topmost, "directory of a new directory");
                    call.evaluator.make(&topmost, "new directory");
                    if topmost != *path {
                        call.evaluator.make(path, "new directory");
                    }
                }
            }
        }
        call.evaluator
            .note_within(&targets, Depth::Tree, "new directories in it");
        if call.sure {
            let made = targets.known.into_iter().map(|(path, _)| path);
            call.evaluator.made_directories.extend(made);
        }
    }
}

/// The highest directory on the way to `path` that is not there.
pub(crate) fn topmost_missing(call: &Call<'_, '_>, path: &[u8]) -> Vec<u8> {
    let mut topmost = path.to_vec();
    while let Some(parent) = STYLE.parent(&topmost) {
        if call.evaluator.view.kind(&parent) != Kind::Missing || STYLE.parent(&parent).is_none() {
            break;
        }
        topmost = parent;
    }
    topmost
}

/// `mklink [/d|/h|/j] link target`
pub(crate) fn mklink(call: &mut Call<'_, '_>) {
    call.expect(&["d", "h", "j"]);
    let Some(link) = call.operands.first().cloned() else {
        return;
    };
    let targets = call.targets(&link);
    for (path, _) in &targets.known {
        call.evaluator.touch_parent(path, "directory of a new link");
        call.evaluator.make(path, "new link");
        if !call.has("h") {
            call.evaluator.links.push(path.clone());
        }
    }
    call.evaluator
        .note_within(&targets, Depth::Children, "new link in it");
}
