//! What every command of the program works with.

use std::path::{Path, PathBuf};

use super::args::GlobalArgs;
use super::environment::Environment;
use super::failure::Failure;
use super::hints::Situation;
use super::render::text;
use super::screen::Screen;
use super::settings::Settings;
use crate::engine::{Engine, EngineConfig, Rules};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::{AbsPath, escape};
use crate::store::SnapshotId;

/// The shortest id that is offered for typing.
const SHORTEST_ID: usize = 8;

/// Settings, environment and output of one run of the program.
pub(crate) struct App {
    /// What is in force.
    pub(crate) settings: Settings,
    /// What was taken from the process.
    pub(crate) environment: Environment,
    /// Where output goes.
    pub(crate) screen: Screen,
    /// How to call the program again for the same store.
    pub(crate) program: String,
    #[cfg_attr(
        not(feature = "agent"),
        expect(dead_code, reason = "only the agent reads it")
    )]
    flags: GlobalArgs,
    base: Option<PathBuf>,
}

impl App {
    /// Puts everything together; `base` is the current directory, where there is one.
    pub(crate) fn new(
        settings: Settings,
        environment: Environment,
        flags: GlobalArgs,
        base: Option<PathBuf>,
    ) -> Self {
        Self {
            screen: Screen::new(settings.color, settings.json, settings.quiet, &environment),
            program: program(&settings),
            settings,
            environment,
            flags,
            base,
        }
    }

    /// The settings as the flags and the configuration file say now.
    #[cfg(feature = "agent")]
    pub(crate) fn reread(&self) -> Result<Settings> {
        Settings::resolve(&self.flags, &self.environment, self.base.as_deref())
    }

    /// The directory that relative paths start at.
    pub(crate) fn base(&self) -> Result<&Path> {
        self.base.as_deref().ok_or_else(no_current_directory)
    }

    /// Opens the store for work: makes it where it does not exist and finishes what was
    /// interrupted.
    pub(crate) fn open(&self) -> Result<Engine, Failure> {
        Ok(Engine::open(self.engine_config()?)?)
    }

    /// Opens the store for a program that goes on from command to command.
    #[cfg_attr(
        not(feature = "agent"),
        expect(dead_code, reason = "only the agent lives on")
    )]
    pub(crate) fn open_resident(&self) -> Result<Engine, Failure> {
        let mut config = self.engine_config()?;
        config.resident = true;
        Ok(Engine::open(config)?)
    }

    /// Opens the store, which must exist, for work.
    pub(crate) fn open_for_change(&self) -> Result<Engine, Failure> {
        self.require_store()?;
        self.open()
    }

    /// Opens the store, which must exist, for looking.
    pub(crate) fn open_for_reading(&self) -> Result<Engine, Failure> {
        self.require_store()?;
        Ok(Engine::open_existing(self.engine_config()?)?)
    }

    /// Opens the store for looking; `None` where there is none yet, or only the beginning of one
    /// that a crash left before anything was recorded in it.
    pub(crate) fn open_if_begun(&self) -> Result<Option<Engine>, Failure> {
        match Engine::open_existing(self.engine_config()?) {
            Ok(engine) => Ok(Some(engine)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the store for questions that need no snapshots; an engine is there even before the
    /// first snapshot is taken.
    pub(crate) fn open_for_questions(&self) -> Result<Engine, Failure> {
        match Engine::open_existing(self.engine_config()?) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.settings.store.exists() => {
                self.open()
            }
            other => Ok(other?),
        }
    }

    /// The rule sets alone: reading a line needs no store.
    pub(crate) fn rules(&self) -> Result<Rules, Failure> {
        Ok(Rules::new(&self.engine_config()?)?)
    }

    fn engine_config(&self) -> Result<EngineConfig, Failure> {
        self.settings.engine(&self.environment).map_err(|error| {
            Failure::from(error).with_hint("key_file in the configuration names the key file")
        })
    }

    fn require_store(&self) -> Result<(), Failure> {
        if self.settings.store.exists() {
            return Ok(());
        }
        let error = Error::new(
            ErrorKind::NotFound,
            Stage::Store,
            format!("there are no snapshots in {}", escape(&self.settings.store)),
        );
        let hint = "take one with: deployx run -- COMMAND, or name another place with \
                    --snapshot-dir DIR";
        Err(Failure::from(error).with_hint(hint))
    }

    /// Paths of the command line, absolute and physical.
    pub(crate) fn paths(&self, paths: &[PathBuf]) -> Result<Vec<AbsPath>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        super::paths::entries(self.base()?, paths)
    }

    /// What hints need to know.
    pub(crate) fn situation<'a>(&'a self, command: &'a str, required: bool) -> Situation<'a> {
        Situation {
            program: &self.program,
            command,
            snapshot_required: required,
        }
    }
}

/// The shortest text that names the snapshot `id` alone, at least eight digits; the whole id
/// where the others cannot be read.
pub(crate) fn short_id(engine: &Engine, id: &str) -> String {
    match engine.store().ids() {
        Ok(ids) => unique_prefix(id, ids.iter().map(SnapshotId::as_str)).to_owned(),
        Err(_) => id.to_owned(),
    }
}

/// There is no current directory to start at.
pub(crate) fn no_current_directory() -> Error {
    Error::new(
        ErrorKind::NotFound,
        Stage::Request,
        "the current directory does not exist any more; change to one that does",
    )
}

/// `deployx` with the flags that lead to the same store.
fn program(settings: &Settings) -> String {
    let mut words = vec!["deployx".to_owned()];
    for (flag, path) in &settings.repeat {
        words.push((*flag).to_owned());
        words.push(text::word(path.as_os_str()));
    }
    words.join(" ")
}

/// The shortest prefix of `id` that none of `others` (of which `id` may be one) has.
fn unique_prefix<'a>(id: &'a str, others: impl Iterator<Item = &'a str>) -> &'a str {
    let longest_shared = others
        .filter(|other| *other != id)
        .map(|other| {
            id.bytes()
                .zip(other.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        })
        .max()
        .unwrap_or(0);
    id.get(..SHORTEST_ID.max(longest_shared + 1)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_as_short_as_it_can_be() {
        let id = "a1b2c3d4e5f60718";
        let prefix = |others: &[&'static str]| unique_prefix(id, others.iter().copied());
        assert_eq!(prefix(&[]), "a1b2c3d4");
        assert_eq!(prefix(&[id, "a1b2ffffffffffff"]), "a1b2c3d4");
        assert_eq!(prefix(&[id, "a1b2c3d4e5ffffff"]), "a1b2c3d4e5f6");
        assert_eq!(prefix(&["a1b2c3d4e5f60719"]), id);
        assert_eq!(unique_prefix("abc", std::iter::empty()), "abc");
    }

    #[test]
    fn the_program_is_shown_with_its_store() {
        let mut settings = Settings::preliminary(&GlobalArgs::default());
        assert_eq!(program(&settings), "deployx");
        settings.repeat = vec![("--snapshot-dir", "/my store".into())];
        assert_eq!(program(&settings), "deployx --snapshot-dir '/my store'");
    }
}
