//! What is in force: flags, environment, configuration and defaults put together.

use std::path::{Path, PathBuf};

use super::app::no_current_directory;
use super::args::{ColorMode, CompressionMode, GlobalArgs};
use super::commands::{intercept, plugins};
use super::config::{self, Config};
use super::environment::Environment;
use crate::engine::EngineConfig;
use crate::error::Result;

/// Where an administrator can make a place for snapshots that survives reboots.
const SYSTEM_DIR: &str = "/var/lib/deployx";

/// The settings of one run of the program.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where snapshots are kept; absolute.
    pub(crate) store: PathBuf,
    /// Arguments that a later call needs to find the same store and configuration.
    pub(crate) repeat: Vec<(&'static str, PathBuf)>,
    /// Where rule plugins are looked for first; absolute.
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Where the user's rules are looked for first; absolute.
    pub(crate) rules_dirs: Vec<PathBuf>,
    /// Most bytes in the store.
    pub(crate) max_store_bytes: Option<u64>,
    /// Print JSON.
    pub(crate) json: bool,
    /// No summaries, no progress.
    pub(crate) quiet: bool,
    /// Levels of logging above warnings.
    pub(crate) verbose: u8,
    /// When to use colours.
    pub(crate) color: ColorMode,
    /// Whether old content is compressed.
    pub(crate) compression: CompressionMode,
    /// The configuration file's content.
    pub(crate) config: Config,
}

impl Settings {
    /// Settings before the configuration file is read: enough to report errors with.
    pub(crate) fn preliminary(flags: &GlobalArgs) -> Self {
        Self {
            store: PathBuf::new(),
            repeat: Vec::new(),
            plugin_dirs: Vec::new(),
            rules_dirs: Vec::new(),
            max_store_bytes: None,
            json: flags.json.unwrap_or_default(),
            quiet: flags.quiet.unwrap_or_default(),
            verbose: flags.verbose,
            color: flags.color.unwrap_or_default(),
            compression: flags.compression.unwrap_or_default(),
            config: Config::default(),
        }
    }

    /// Puts everything together. `base` is the directory that relative paths start at; without
    /// one they are refused.
    pub(crate) fn resolve(
        flags: &GlobalArgs,
        environment: &Environment,
        base: Option<&Path>,
    ) -> Result<Self> {
        let absolute = |path: &Path| match base {
            _ if path.is_absolute() => Ok(path.to_path_buf()),
            Some(base) => Ok(base.join(path)),
            None => Err(no_current_directory()),
        };
        let config = match flags.config.as_ref().or(environment.config.as_ref()) {
            Some(file) => Config::load(&absolute(file)?)?,
            None => Config::default(),
        };
        let named = [
            &flags.snapshot_dir,
            &environment.snapshot_dir,
            &config.snapshot_dir,
        ]
        .into_iter()
        .flatten()
        .next();
        let store = match named {
            Some(path) => absolute(path)?,
            None => default_store(Path::new(SYSTEM_DIR), &environment.temp_dir),
        };
        let repeat = [
            ("--config", &flags.config),
            ("--snapshot-dir", &flags.snapshot_dir),
        ]
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.clone()?)))
        .collect();
        let directories = |lists: [&[PathBuf]; 3]| {
            lists
                .into_iter()
                .flatten()
                .map(|directory| absolute(directory))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            store,
            repeat,
            plugin_dirs: directories([
                &flags.plugin_dir,
                &environment.plugin_dirs,
                &config.plugin_dir,
            ])?,
            rules_dirs: directories([
                &flags.rules_dir,
                &environment.rules_dirs,
                &config.rules_dir,
            ])?,
            max_store_bytes: flags.max_store_size.or(config.retention.max_store_bytes),
            json: flags.json.or(config.json).unwrap_or_default(),
            quiet: flags.quiet.or(config.quiet).unwrap_or_default(),
            verbose: match flags.verbose {
                0 => config.verbose.unwrap_or_default(),
                times => times,
            },
            color: flags.color.or(config.color).unwrap_or_default(),
            compression: flags.compression.or(config.compression).unwrap_or_default(),
            config,
        })
    }

    /// Where plugins are looked for: where somebody named, beside the program, with the user's
    /// data, with the system's.
    fn plugin_dirs(&self, environment: &Environment) -> Vec<PathBuf> {
        let beside = environment.program.as_deref().and_then(Path::parent);
        let user = environment.data_home.as_ref();
        self.plugin_dirs
            .iter()
            .cloned()
            .chain(beside.map(|dir| dir.join("plugins")))
            .chain(user.map(|dir| dir.join("deployx/plugins")))
            .chain([PathBuf::from("/usr/lib/deployx/plugins")])
            .collect()
    }

    /// Where the user's own rules are looked for: where somebody named, with the user's
    /// configuration, with the system's.
    fn rules_dirs(&self, environment: &Environment) -> Vec<PathBuf> {
        let user = environment.config_home.as_ref();
        self.rules_dirs
            .iter()
            .cloned()
            .chain(user.map(|dir| dir.join("deployx/rules")))
            .chain([PathBuf::from("/etc/deployx/rules")])
            .collect()
    }

    /// The directory of the agent on this host, as far as the configuration tells.
    pub(crate) fn agent_dir(&self) -> PathBuf {
        #[cfg(feature = "agent")]
        if let Some(named) = &self.config.agent.state_dir {
            return named.clone();
        }
        beside(&self.store)
    }

    /// What the engine needs to know. Reads the key file where there is one.
    pub(crate) fn engine(&self, environment: &Environment) -> Result<EngineConfig> {
        let mut engine = EngineConfig::new(&self.store);
        engine.limits = self.config.limits.limits();
        engine.max_store_bytes = self.max_store_bytes;
        engine.exclude.clone_from(&self.config.exclude);
        engine.compression = self.compression.into();
        engine.events = self.config.events.unwrap_or_default();
        engine.key = self
            .config
            .key_file
            .as_deref()
            .map(config::read_key)
            .transpose()?;
        if let Some(time) = self.config.lock_timeout() {
            engine.lock_timeout = time;
        }
        if let Some(time) = self.config.kill_grace() {
            engine.kill_grace = time;
        }
        if let Some(names) = &self.config.environment_allow {
            engine.env_allow.clone_from(names);
        }
        engine.plugin_dirs = self.plugin_dirs(environment);
        engine.plugin_host = environment.program.as_deref().map(plugins::host);
        engine.interception_host = environment.program.as_deref().map(intercept::host);
        engine.rules_dirs = self.rules_dirs(environment);
        engine.own_dirs = vec![self.agent_dir()];
        engine.environment.clone_from(&environment.variables);
        engine.home.clone_from(&environment.home);
        Ok(engine)
    }
}

/// The agent's directory where nobody names one: beside the snapshots.
fn beside(store: &Path) -> PathBuf {
    let name = match store.file_name().and_then(|name| name.to_str()) {
        Some(".deployx_snapshots") => ".deployx_agent".to_owned(),
        Some("snapshots") | None => "agent".to_owned(),
        Some(name) => format!("{name}.agent"),
    };
    store.with_file_name(name)
}

/// The place for snapshots where nobody names one: beneath `system` where an administrator made
/// that and this user may use it, else in `temp`.
fn default_store(system: &Path, temp: &Path) -> PathBuf {
    let store = system.join("snapshots");
    let usable = if store.exists() {
        may_write(&store)
    } else {
        system.is_dir() && may_write(system)
    };
    if usable {
        store
    } else {
        temp.join(".deployx_snapshots")
    }
}

/// Whether this process may add entries to `dir`.
#[cfg(unix)]
pub(super) fn may_write(dir: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Whether this process may add entries to `dir`.
#[cfg(not(unix))]
pub(super) fn may_write(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|metadata| !metadata.permissions().readonly())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_directory_is_beside_the_snapshots() {
        for (store, expected) in [
            ("/var/lib/deployx/snapshots", "/var/lib/deployx/agent"),
            ("/tmp/.deployx_snapshots", "/tmp/.deployx_agent"),
            ("/srv/undo", "/srv/undo.agent"),
        ] {
            assert_eq!(beside(Path::new(store)), Path::new(expected));
        }
    }

    fn resolve(flags: &GlobalArgs, environment: &Environment) -> Settings {
        Settings::resolve(flags, environment, Some(Path::new("/base"))).unwrap()
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "snapshot_dir = \"/from-file\"\njson = true\n").unwrap();
        let mut flags = GlobalArgs::default();
        let mut environment = Environment {
            temp_dir: "/tmp-here".into(),
            ..Environment::default()
        };

        environment.config = Some(file.clone());
        let settings = resolve(&flags, &environment);
        assert_eq!(settings.store, Path::new("/from-file"));
        assert!(settings.json);
        assert!(settings.repeat.is_empty());

        environment.snapshot_dir = Some("/from-env".into());
        let settings = resolve(&flags, &environment);
        assert_eq!(settings.store, Path::new("/from-env"));

        flags.snapshot_dir = Some("relative".into());
        flags.json = Some(false);
        let settings = resolve(&flags, &environment);
        assert_eq!(settings.store, Path::new("/base/relative"));
        assert!(!settings.json);
        assert_eq!(settings.repeat, [("--snapshot-dir", "relative".into())]);
    }

    #[test]
    fn the_flag_for_the_file_goes_before_its_variable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "verbose = 2\nquiet = true\ncolor = \"never\"\n").unwrap();
        let flags = GlobalArgs {
            config: Some(file.clone()),
            ..GlobalArgs::default()
        };
        let environment = Environment {
            config: Some("/nonexistent/c.toml".into()),
            ..Environment::default()
        };
        let settings = resolve(&flags, &environment);
        assert_eq!((settings.verbose, settings.quiet), (2, true));
        assert_eq!(settings.color, ColorMode::Never);
        assert_eq!(settings.repeat, [("--config", file)]);
    }

    #[test]
    fn the_bound_on_the_store_comes_from_the_flag_or_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[retention]\nmax_store_bytes = 7\n").unwrap();
        let environment = Environment::default();
        let mut flags = GlobalArgs {
            config: Some(file),
            ..GlobalArgs::default()
        };
        let bound = |flags: &GlobalArgs| {
            let engine = resolve(flags, &environment).engine(&environment);
            engine.unwrap().max_store_bytes
        };
        assert_eq!(bound(&flags), Some(7));
        flags.max_store_size = Some(9);
        assert_eq!(bound(&flags), Some(9));
        assert_eq!(bound(&GlobalArgs::default()), None);
    }

    #[test]
    fn the_system_directory_is_used_only_where_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("deployx");
        let temp = Path::new("/t");
        assert_eq!(
            default_store(&system, temp),
            Path::new("/t/.deployx_snapshots")
        );
        std::fs::create_dir(&system).unwrap();
        assert_eq!(default_store(&system, temp), system.join("snapshots"));
        std::fs::create_dir(system.join("snapshots")).unwrap();
        assert_eq!(default_store(&system, temp), system.join("snapshots"));
    }

    #[test]
    fn without_a_current_directory_only_absolute_paths_work() {
        let environment = Environment::default();
        let mut flags = GlobalArgs {
            snapshot_dir: Some("/s".into()),
            ..GlobalArgs::default()
        };
        assert!(Settings::resolve(&flags, &environment, None).is_ok());
        flags.snapshot_dir = Some("s".into());
        assert!(Settings::resolve(&flags, &environment, None).is_err());
    }

    #[test]
    fn the_engine_gets_what_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(
            &file,
            "exclude = [\"*.o\"]\nenvironment_allow = [\"LANG\"]\nlock_timeout_seconds = 1\n\
             kill_grace_seconds = 0.5\n[limits]\nmax_files = 7\n",
        )
        .unwrap();
        let flags = GlobalArgs {
            config: Some(file),
            ..GlobalArgs::default()
        };
        let environment = Environment::default();
        let engine = resolve(&flags, &environment).engine(&environment).unwrap();
        assert_eq!(engine.exclude, ["*.o"]);
        assert_eq!(engine.env_allow, ["LANG"]);
        assert_eq!(engine.lock_timeout.as_secs(), 1);
        assert_eq!(engine.kill_grace.as_millis(), 500);
        assert_eq!(engine.limits.max_entries, 7);
        assert!(engine.key.is_none());
    }
}
