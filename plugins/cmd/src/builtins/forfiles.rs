//! `forfiles /p path /m mask /s /c "command"`: a command for each file.

use deployx_plugin_sdk::Kind;

use super::Call;
use super::call::here;
use crate::cell::{ANY_DEEP, ANY_NAME, Cell, UNKNOWN, byte, bytes, cells};
use crate::names::{STYLE, matches, split_last};
use crate::words::Word;

/// How many files are followed one by one.
const MAX_FILES: usize = 50;

pub(crate) fn forfiles(call: &mut Call<'_, '_>) {
    let path = after(call, b"/p").unwrap_or_else(here);
    let mask = after(call, b"/m").and_then(|word| word.text());
    let mask = mask.unwrap_or_else(|| b"*".to_vec());
    let Some(command) = after(call, b"/c") else {
        return;
    };
    let deep = call.has("s");
    let Some(root) = path.text().and_then(|text| call.world.resolve(&text)) else {
        call.unclear("the directory is not known");
        return;
    };
    let found = if deep {
        call.evaluator.walk(&root, &mask)
    } else {
        call.evaluator.matching_in(&root, &mask)
    };
    match found.filter(|found| found.len() <= MAX_FILES) {
        Some(found) => {
            for (path, _) in found
                .iter()
                .filter(|(path, _)| matches(&mask, split_last(path).1))
            {
                let kind = call.evaluator.view.kind(path);
                let file = File::known(path, kind);
                run(call, &command, &file, STYLE.parent(path));
            }
        }
        None => {
            let file = File::within(&root, deep);
            let cwd = (!deep).then(|| root.clone());
            run(call, &command, &file, cwd);
        }
    }
}

/// What the names in the command stand for.
struct File {
    path: Vec<Cell>,
    name: Vec<Cell>,
    stem: Vec<Cell>,
    extension: Vec<Cell>,
    is_directory: Vec<Cell>,
}

impl File {
    fn known(path: &[u8], kind: Kind) -> Self {
        let name = split_last(path).1;
        let dot = name.iter().rposition(|b| *b == b'.').unwrap_or(name.len());
        Self {
            path: cells(path),
            name: cells(name),
            stem: cells(&name[..dot]),
            extension: cells(name.get(dot + 1..).unwrap_or_default()),
            is_directory: cells(if kind == Kind::Directory {
                b"TRUE"
            } else {
                b"FALSE"
            }),
        }
    }

    fn within(root: &[u8], deep: bool) -> Self {
        let mut path = cells(root);
        path.push(Cell::from(b'\\'));
        path.push(if deep { ANY_DEEP } else { ANY_NAME });
        Self {
            path,
            name: vec![ANY_NAME],
            stem: vec![ANY_NAME],
            extension: vec![ANY_NAME],
            is_directory: vec![UNKNOWN],
        }
    }

    fn value(&self, name: &str) -> Vec<Cell> {
        let quoted = |inner: &[Cell]| {
            let quote = Cell::from(b'"');
            [&[quote], inner, &[quote]].concat()
        };
        match name {
            "path" => quoted(&self.path),
            // Taken from the directory of the file, it is as good as the name.
            "relpath" | "file" => quoted(&self.name),
            "fname" => quoted(&self.stem),
            "ext" => quoted(&self.extension),
            "isdir" => self.is_directory.clone(),
            _ => vec![UNKNOWN],
        }
    }
}

fn run(call: &mut Call<'_, '_>, command: &Word, file: &File, cwd: Option<Vec<u8>>) {
    let text = filled(&command.cells, file);
    let mut world = call.world.clone();
    world.cwd = cwd;
    call.evaluator.run_text(&text, world);
}

/// The command with `@path` and the like put in, and `0x22` for quotes.
fn filled(command: &[Cell], file: &File) -> Vec<Cell> {
    const NAMES: [&str; 9] = [
        "relpath", "path", "file", "fname", "ext", "isdir", "fsize", "fdate", "ftime",
    ];
    let mut out = Vec::with_capacity(command.len());
    let mut at = 0;
    while at < command.len() {
        let rest = &command[at..];
        let text = bytes(&rest[..rest.len().min(8)]).to_ascii_lowercase();
        if byte(rest[0]) == b'@'
            && let Some(name) = NAMES
                .iter()
                .find(|name| text[1..].starts_with(name.as_bytes()))
        {
            out.extend(file.value(name));
            at += 1 + name.len();
        } else if text.starts_with(b"0x22") {
            out.push(Cell::from(b'"'));
            at += 4;
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    out
}

fn after(call: &Call<'_, '_>, switch: &[u8]) -> Option<Word> {
    let at = call.words.iter().position(|word| {
        word.text()
            .is_some_and(|text| text.eq_ignore_ascii_case(switch))
    })?;
    call.words.get(at + 1).cloned()
}
