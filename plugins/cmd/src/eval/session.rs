//! Commands that change the shell itself: directories and variables.

use deployx_plugin_sdk::{Depth, Kind};

use super::flow::Flow;
use super::{Evaluator, World};
use crate::cell::{Cell, byte, bytes, has_unknown, is_plain, trim, unquoted};
use crate::names::has_wildcard;
use crate::words::{Word, split_for_cmd};

/// How many variables of a line are followed.
const MAX_VARIABLES: usize = 60;

impl Evaluator<'_> {
    /// `cd`, `chdir`
    pub(crate) fn change_directory(&mut self, tail: &[Cell], world: World) -> Flow {
        let (to_drive, rest) = drive_switch(tail);
        let path = unquoted(trim(rest));
        if path.is_empty() {
            return Flow::unchanged(world);
        }
        let text = bytes(&path);
        let other_drive = matches!(text.as_slice(), [letter, b':', ..]
            if !to_drive && !on_drive(&world, *letter));
        if other_drive {
            return self.directory_of_other_drive(&path, world);
        }
        self.enter(&path, world)
    }

    /// `cd D:\x` without `/d`: the directory of the drive, which is not the current one.
    fn directory_of_other_drive(&mut self, path: &[Cell], mut world: World) -> Flow {
        let text = bytes(path);
        let [letter, b':', rest @ ..] = text.as_slice() else {
            return Flow::unchanged(world);
        };
        if !rest.is_empty() {
            let directory = if is_plain(path) {
                world.resolve(&text)
            } else {
                None
            };
            if let Some(directory) = &directory {
                self.touch(directory, Depth::Entry, true, "directory of a drive");
            }
            world.drives.insert(letter.to_ascii_uppercase(), directory);
        }
        Flow::unchanged(world)
    }

    /// Makes `path` the working directory.
    fn enter(&mut self, path: &[Cell], world: World) -> Flow {
        if let Some(cwd) = &world.cwd {
            self.touch(&cwd.clone(), Depth::Entry, false, "working directory");
        }
        let mut inside = world.clone();
        remember_drive(&mut inside);
        let Some(target) = self.directory_named(path, &world) else {
            inside.cwd = None;
            inside.drive = match bytes(path).as_slice() {
                [letter, b':', ..] => Some(letter.to_ascii_uppercase()),
                _ => None,
            };
            return Flow::change(world, inside, false);
        };
        self.touch(&target, Depth::Entry, true, "new working directory");
        let sure = self.is_there(&target);
        inside.cwd = Some(target);
        inside.drive = None;
        Flow::change(world, inside, sure)
    }

    /// The directory that `cd` goes to: a name may have blanks without quotes, and wildcards.
    fn directory_named(&self, path: &[Cell], world: &World) -> Option<Vec<u8>> {
        if !is_plain(path) {
            return None;
        }
        let text = bytes(path);
        if !has_wildcard(&text) {
            return world.resolve(&text);
        }
        let word = Word {
            cells: path.to_vec(),
            quoted: true,
        };
        let targets = self.targets(world, &word);
        let mut directories = targets
            .known
            .into_iter()
            .filter(|(_, kind)| *kind != Kind::File);
        match (directories.next(), directories.next()) {
            (Some((only, _)), None) => Some(only),
            _ => None,
        }
    }

    /// `D:`
    pub(crate) fn change_drive(&mut self, letter: u8, world: World) -> Flow {
        if on_drive(&world, letter) && world.cwd.is_some() {
            return Flow::unchanged(world);
        }
        let letter = letter.to_ascii_uppercase();
        let mut inside = world.clone();
        remember_drive(&mut inside);
        // Where nothing is kept for the drive, an earlier process may have left something.
        inside.cwd = inside.drives.get(&letter).cloned().flatten();
        inside.drive = inside.cwd.is_none().then_some(letter);
        let sure = self.is_there(&[letter, b':', b'\\']);
        Flow::change(world, inside, sure)
    }

    /// `pushd`
    pub(crate) fn push_directory(&mut self, tail: &[Cell], mut world: World) -> Flow {
        let (_, rest) = drive_switch(tail);
        let path = unquoted(trim(rest));
        if path.is_empty() {
            return Flow::unchanged(world);
        }
        let before = world.clone();
        world.stack.push(world.cwd.clone());
        if bytes(&path).starts_with(br"\\") {
            // A share gets the next free drive letter.
            world.cwd = None;
            world.drive = None;
            return Flow::change(before, world, false);
        }
        let mut flow = self.enter(&path, world);
        // Where it failed, nothing was pushed.
        flow.failed = vec![before.clone()];
        if !flow.doubtful.is_empty() {
            flow.doubtful = vec![before];
        }
        flow
    }

    /// `set`
    pub(crate) fn set_variable(&mut self, tail: &[Cell], mut world: World) -> Flow {
        let tail = trim_blanks(tail);
        let words = split_for_cmd(tail);
        let first = words.first().and_then(Word::text).unwrap_or_default();
        let first = first.to_ascii_lowercase();
        if first.starts_with(b"/a") {
            for name in assigned_by_arithmetic(&bytes(tail)) {
                self.assign(&mut world, &name, None);
            }
            return Flow::unchanged(world);
        }
        let prompted = first.starts_with(b"/p");
        let tail = if prompted {
            let at = tail.iter().position(|c| matches!(byte(*c), b'p' | b'P'));
            trim_blanks(&tail[at.map_or(0, |at| at + 1)..])
        } else {
            tail
        };
        let tail = match tail {
            // `set "A=b" rest`: what is behind the last quote does not count.
            [quote, rest @ ..] if byte(*quote) == b'"' => {
                let end = rest.iter().rposition(|c| byte(*c) == b'"');
                &rest[..end.unwrap_or(rest.len())]
            }
            _ => tail,
        };
        let Some(equals) = tail.iter().position(|c| byte(*c) == b'=') else {
            return Flow::unchanged(world);
        };
        let (name, value) = (&tail[..equals], &tail[equals + 1..]);
        if !is_plain(name) {
            // Any variable may have been set.
            for value in world.variables.values_mut() {
                *value = None;
            }
            self.out.session.unknown = true;
            return Flow::unchanged(world);
        }
        let name = String::from_utf8_lossy(&bytes(name)).into_owned();
        let value = (!prompted && !has_unknown(value)).then(|| value.to_vec());
        self.assign(&mut world, &name, value);
        Flow::unchanged(world)
    }

    pub(crate) fn assign(&mut self, world: &mut World, name: &str, value: Option<Vec<Cell>>) {
        let name = name.trim();
        if name.is_empty() {
            return;
        }
        if world.variables.len() >= MAX_VARIABLES {
            self.give_up("the line sets too many variables to follow");
            return;
        }
        world.variables.insert(name.to_lowercase(), value);
        if !self.out.session.assigned.iter().any(|known| known == name) {
            self.out.session.assigned.push(name.into());
        }
    }
}

impl World {
    /// `popd`
    pub(crate) fn pop_directory(mut self) -> Flow {
        let Some(directory) = self.stack.pop() else {
            return Flow::unchanged(self);
        };
        remember_drive(&mut self);
        self.cwd = directory;
        self.drive = None;
        Flow::kept(vec![self], true)
    }

    /// `setlocal`: from here on, `!NAME!` may be replaced.
    pub(crate) fn set_local(mut self, tail: &[Cell]) -> Flow {
        let text = bytes(tail).to_ascii_lowercase();
        if text.windows(22).any(|w| w == b"enabledelayedexpansion") {
            self.delayed = true;
        }
        Flow::unchanged(self)
    }
}

/// Whether the current drive is the one of that letter.
fn on_drive(world: &World, letter: u8) -> bool {
    match (&world.cwd, world.drive) {
        (Some(cwd), _) => cwd
            .first()
            .is_some_and(|drive| drive.eq_ignore_ascii_case(&letter)),
        (None, Some(drive)) => drive.eq_ignore_ascii_case(&letter),
        (None, None) => false,
    }
}

/// Whether `/d` was given, and what is left.
fn drive_switch(tail: &[Cell]) -> (bool, &[Cell]) {
    let rest = trim(tail);
    match rest {
        [slash, d, after @ ..] if byte(*slash) == b'/' && matches!(byte(*d), b'd' | b'D') => {
            let ends = after
                .first()
                .is_none_or(|c| !byte(*c).is_ascii_alphanumeric());
            if ends { (true, after) } else { (false, rest) }
        }
        _ => (false, rest),
    }
}

/// Keeps the directory of the drive that is left.
fn remember_drive(world: &mut World) {
    if let Some([letter, b':', ..]) = world.cwd.as_deref() {
        let letter = letter.to_ascii_uppercase();
        let directory = world.cwd.clone();
        world.drives.insert(letter, directory);
    }
}

fn trim_blanks(mut cells: &[Cell]) -> &[Cell] {
    while let [first, rest @ ..] = cells
        && matches!(byte(*first), b' ' | b'\t')
    {
        cells = rest;
    }
    cells
}

/// The names before each `=` of `set /a "x=1, y+=2"`.
fn assigned_by_arithmetic(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text).into_owned();
    let mut pieces: Vec<&str> = text.split('=').collect();
    pieces.pop();
    pieces
        .iter()
        .filter_map(|piece| {
            let piece = piece.trim_end_matches(|c: char| "+-*/%&^|<> ".contains(c));
            let name = piece
                .rsplit(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()?;
            (!name.is_empty()).then(|| name.to_string())
        })
        .collect()
}
