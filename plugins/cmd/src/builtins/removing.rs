//! `del` and `rd`.

use deployx_plugin_sdk::{Depth, Kind};

use super::Call;
use super::call::Beneath;
use crate::names::STYLE;

/// `del`, `erase`
pub(crate) fn del(call: &mut Call<'_, '_>) {
    call.expect(&[
        "p", "f", "s", "q", "a", "ar", "ah", "as", "aa", "a-r", "a-h", "a-s", "a-a", "ai", "al",
    ]);
    let deep = call.has("s");
    call.evaluator.out.destructive = true;
    for operand in call.operands.clone() {
        let targets = if deep {
            call.beneath(&operand, Beneath::Content)
        } else {
            call.targets(&operand)
        };
        for (path, kind) in &targets.known {
            match kind {
                Kind::Directory if targets.pattern => {}
                // Where a link leads to a directory, it stands for the files in it.
                Kind::Directory | Kind::Link | Kind::Unknown if !targets.pattern => {
                    let depth = if *kind == Kind::Unknown || deep {
                        Depth::Tree
                    } else {
                        Depth::Children
                    };
                    call.evaluator
                        .touch_parent(path, "directory of what is removed");
                    call.evaluator
                        .touch(path, depth, true, "files in it removed");
                }
                _ => call.evaluator.remove(path),
            }
        }
        call.evaluator
            .note_within(&targets, Depth::Children, "files in it removed");
    }
}

/// `rd`, `rmdir`
pub(crate) fn rd(call: &mut Call<'_, '_>) {
    call.expect(&["s", "q"]);
    let deep = call.has("s");
    call.evaluator.out.destructive = true;
    for operand in call.operands.clone() {
        let targets = call.targets(&operand);
        for (path, kind) in &targets.known {
            if !deep && *kind == Kind::Directory {
                // Only an empty directory is removed without `/s`.
                call.evaluator
                    .touch_parent(path, "directory of what is removed");
                call.evaluator.touch(path, Depth::Entry, false, "removed");
                call.evaluator.forget_directory(path);
            } else if STYLE.parent(path).is_some() {
                call.evaluator.remove(path);
            } else {
                call.evaluator.touch(path, Depth::Tree, false, "emptied");
            }
        }
        let shallow = if deep { Depth::Tree } else { Depth::Children };
        call.evaluator
            .note_within(&targets, shallow, "directories in it removed");
    }
}
