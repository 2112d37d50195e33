//! Commands of the shell itself.

mod control;
mod directory;
mod options;
mod variables;

pub(crate) use variables::is_declaration;

use deployx_plugin_sdk::table::Arg;

use crate::command::Call;
use crate::evaluate::Evaluator;
use crate::state::{Exit, World};

/// Builtins that change nothing that matters here.
const HARMLESS: [&[u8]; 26] = [
    b"echo",
    b"print",
    b"pwd",
    b"dirs",
    b"hash",
    b"type",
    b"whence",
    b"help",
    b"bind",
    b"complete",
    b"compgen",
    b"compopt",
    b"times",
    b"ulimit",
    b"umask",
    b"wait",
    b"jobs",
    b"fg",
    b"bg",
    b"disown",
    b"suspend",
    b"caller",
    b"zstyle",
    b"bindkey",
    b"rehash",
    b"where",
];

impl Evaluator<'_> {
    /// Runs a builtin; gives the world back where `name` is none.
    pub(crate) fn builtin(
        &mut self,
        name: &[u8],
        rest: &[Arg],
        world: World,
        call: Call<'_>,
    ) -> Result<Exit, Box<World>> {
        if name == b"hash" && rest.iter().any(|arg| arg.text.starts_with(b"-")) {
            // `hash -p /bin/rm ls`
            return Ok(options::alias(rest, world));
        }
        if HARMLESS.contains(&name) {
            return Ok(Exit::either(vec![world]));
        }
        Ok(match name {
            b"true" | b":" => worked(world),
            b"false" => Exit {
                worked: Vec::new(),
                failed: vec![world],
            },
            b"[" | b"test" => {
                let mut world = world;
                for arg in rest {
                    // `-v 'a[i++]'`
                    self.forget_assigned(&mut world, &arg.text);
                }
                test(name, rest, world)
            }
            b"cd" | b"chdir" => self.cd(rest, world, call),
            b"pushd" => self.pushd(rest, world, call),
            b"popd" => self.popd(rest, world),
            b"export" | b"declare" | b"typeset" | b"local" | b"readonly" => {
                variables::declare(rest, world)
            }
            b"unset" => variables::unset(rest, world),
            b"read" => variables::read(rest, world, &["REPLY"]),
            b"getopts" => variables::read(rest, world, &["OPTARG", "OPTIND"]),
            b"mapfile" | b"readarray" => {
                if rest.iter().any(|arg| arg.value() != Some(b"-t")) {
                    let callback = rest.iter().any(|arg| arg.text.starts_with(b"-C"));
                    if callback {
                        self.unclear_call(&world, rest, call, "'mapfile -C' runs a command");
                    }
                }
                variables::read(rest, world, &["MAPFILE"])
            }
            b"printf" => variables::printf(rest, world),
            b"let" => self.let_builtin(rest, world),
            b"shift" => variables::shift(rest, world),
            b"set" => options::set(rest, world),
            b"shopt" => options::shopt(rest, world),
            b"setopt" | b"unsetopt" | b"emulate" => {
                let mut world = world;
                world.options.other = true;
                worked(world)
            }
            b"alias"
                if rest
                    .iter()
                    .any(|arg| arg.text.starts_with(b"-") && arg.text != b"-p") =>
            {
                self.unclear_call(&world, rest, call, "an alias may stand for any word");
                Exit::either(vec![world])
            }
            b"alias" | b"unalias" | b"autoload" => options::alias(rest, world),
            b"eval" => self.eval(rest, world, call),
            b"source" | b"." => self.source(rest, world, call),
            b"trap" => self.trap(rest, world, call),
            b"exec" => self.exec(rest, world, call),
            b"exit" | b"logout" => {
                self.exited.push(world);
                Exit::default()
            }
            b"return" => self.leave_function(world),
            b"break" => self.leave_loop(rest, world, true),
            b"continue" => self.leave_loop(rest, world, false),
            b"command" | b"builtin" => self.command(rest, world, call),
            b"enable" | b"fc" | b"noglob" | b"nocorrect" | b"history" => {
                let reason = format!("'{}' is not followed", String::from_utf8_lossy(name));
                self.unclear_call(&world, rest, call, &reason);
                Exit::either(vec![world])
            }
            _ => return Err(Box::new(world)),
        })
    }
}

/// `[ … ]`: decided where it only compares what is known.
fn test(name: &[u8], rest: &[Arg], world: World) -> Exit {
    let values: Option<Vec<&[u8]>> = rest.iter().map(Arg::value).collect();
    let values = match values.as_deref() {
        Some([inner @ .., b"]"]) if name == b"[" => inner,
        Some(inner) if name == b"test" => inner,
        _ => return Exit::either(vec![world]),
    };
    match compare(values) {
        Some(true) => worked(world),
        Some(false) => Exit {
            worked: Vec::new(),
            failed: vec![world],
        },
        None => Exit::either(vec![world]),
    }
}

fn compare(values: &[&[u8]]) -> Option<bool> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok();
    match *values {
        [text] | [b"-n", text] => Some(!text.is_empty()),
        [b"-z" | b"!", text] => Some(text.is_empty()),
        [left, b"=" | b"==", right] => Some(left == right),
        [left, b"!=", right] => Some(left != right),
        [left, op, right] => {
            let (left, right) = (number(left)?, number(right)?);
            match op {
                b"-eq" => Some(left == right),
                b"-ne" => Some(left != right),
                b"-lt" => Some(left < right),
                b"-le" => Some(left <= right),
                b"-gt" => Some(left > right),
                b"-ge" => Some(left >= right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn worked(world: World) -> Exit {
    Exit {
        worked: vec![world],
        failed: Vec::new(),
    }
}
