//! `[agent]` of the configuration, and what follows from it together with the flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::agent_files::{tls, token};
use super::app::no_current_directory;
use super::args::values;
use super::args::{AgentArgs, LogFormat};
use super::config::RetentionSection;
use super::environment::Environment;
use super::settings::Settings;
use crate::agent::transport::{Secrecy, TlsSettings, check_server};
use crate::agent::{AgentConfig, Policy, Secret};
use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::path::{AbsPath, escape};

/// `[agent]`: flags of `agent`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentSection {
    pub(crate) server: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) insecure_http: Option<bool>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) snapshot_cleanup_interval_hours: Option<f64>,
    pub(crate) snapshot_max_age_hours: Option<f64>,
    pub(crate) heartbeat_seconds: Option<f64>,
    pub(crate) probe_seconds: Option<f64>,
    pub(crate) patience_seconds: Option<f64>,
    pub(crate) settle_seconds: Option<f64>,
    pub(crate) rollback_patience_seconds: Option<f64>,
    pub(crate) stop_grace_seconds: Option<f64>,
    pub(crate) remember_hours: Option<f64>,
    pub(crate) allow_shell: Vec<String>,
    pub(crate) allow_command: Vec<String>,
    pub(crate) allow_env: Vec<String>,
    pub(crate) allow_path: Vec<PathBuf>,
    pub(crate) redact: Option<bool>,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) max_sessions: Option<usize>,
    pub(crate) session_idle_seconds: Option<f64>,
    pub(crate) result_output_bytes: Option<usize>,
    pub(crate) output_file_bytes: Option<u64>,
    pub(crate) output_files_bytes: Option<u64>,
    pub(crate) results_kept: Option<u64>,
    pub(crate) results_kept_bytes: Option<u64>,
    pub(crate) outbox_results: Option<u64>,
    pub(crate) outbox_bytes: Option<u64>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) log_format: Option<LogFormat>,
}

impl AgentSection {
    /// Takes relative paths from the directory `base`.
    pub(crate) fn resolve(&mut self, base: &Path) {
        let single = [
            &mut self.token_file,
            &mut self.ca_file,
            &mut self.client_certificate,
            &mut self.client_key,
            &mut self.state_dir,
            &mut self.cwd,
        ];
        for path in single.into_iter().flatten().chain(&mut self.allow_path) {
            *path = base.join(&*path);
        }
    }

    /// Every time with its key, for checking.
    pub(crate) fn times(&self) -> [(&'static str, Option<f64>); 10] {
        [
            (
                "agent.snapshot_cleanup_interval_hours",
                self.snapshot_cleanup_interval_hours,
            ),
            ("agent.snapshot_max_age_hours", self.snapshot_max_age_hours),
            ("agent.heartbeat_seconds", self.heartbeat_seconds),
            ("agent.probe_seconds", self.probe_seconds),
            ("agent.patience_seconds", self.patience_seconds),
            ("agent.settle_seconds", self.settle_seconds),
            (
                "agent.rollback_patience_seconds",
                self.rollback_patience_seconds,
            ),
            ("agent.stop_grace_seconds", self.stop_grace_seconds),
            ("agent.remember_hours", self.remember_hours),
            ("agent.session_idle_seconds", self.session_idle_seconds),
        ]
    }
}

/// Everything that an agent is started with.
pub(crate) struct AgentSettings {
    pub(crate) server: Url,
    pub(crate) token: Option<Secret>,
    pub(crate) tls: TlsSettings,
    pub(crate) config: AgentConfig,
}

impl AgentSettings {
    /// Puts flags, environment and configuration together, and reads the files that they name.
    /// `base` is the directory that relative paths of flags start at; without one they are refused.
    pub(crate) fn resolve(
        args: &AgentArgs,
        settings: &Settings,
        environment: &Environment,
        base: Option<&Path>,
    ) -> Result<Self> {
        let section = &settings.config.agent;
        let address = args.server.as_ref().or(section.server.as_ref());
        let address = address.ok_or_else(|| {
            invalid(
                "no backend is named: use --server URL, or server in [agent] of the configuration",
            )
        })?;
        let insecure = args
            .insecure_http
            .or(section.insecure_http)
            .unwrap_or_default();
        let secrecy = if insecure {
            Secrecy::Waived
        } else {
            Secrecy::Required
        };
        let server = check_server(address, secrecy)?;
        let token = token(args, section, environment)?;
        let tls = tls(args, section, &server)?;
        let mut config = agent_config(args, settings, environment, base)?;
        config.secrets.extend(token.clone());
        Ok(Self {
            server,
            token,
            tls,
            config,
        })
    }

    /// The backend's address as `host:port`.
    pub(crate) fn host(&self) -> String {
        let host = self.server.host_str().unwrap_or_default();
        let plain = matches!(self.server.scheme(), "http" | "ws");
        let port = self.server.port().unwrap_or(if plain { 80 } else { 443 });
        format!("{host}:{port}")
    }
}

fn agent_config(
    args: &AgentArgs,
    settings: &Settings,
    environment: &Environment,
    base: Option<&Path>,
) -> Result<AgentConfig> {
    let section = &settings.config.agent;
    let cwd = match args.cwd.as_ref().or(section.cwd.as_ref()) {
        Some(path) => directory(base, path)?,
        None => match &environment.home {
            Some(home) => home.clone(),
            None => directory(None, Path::new("/"))?,
        },
    };
    let state = args.state_dir.clone();
    let state = state.unwrap_or_else(|| settings.agent_dir());
    let state = std::path::absolute(&state)
        .context(Stage::Request, || format!("cannot find {}", escape(&state)))?;
    let mut config = AgentConfig::new(state, cwd);
    config.agent_id = args.agent_id.clone().or_else(|| section.agent_id.clone());
    config.policy = policy(args, section, base)?;
    config.require_snapshot = settings.config.run.require_snapshot.unwrap_or_default();
    config.timeout = settings.config.run.timeout().filter(|time| !time.is_zero());
    config.redact = section.redact.unwrap_or(true);
    let hours = |hours: Option<f64>| time(hours.map(|hours| hours * 3600.0));
    for (own, flag, key) in [
        (
            &mut config.heartbeat,
            args.heartbeat,
            time(section.heartbeat_seconds),
        ),
        (&mut config.probe, None, time(section.probe_seconds)),
        (&mut config.patience, None, time(section.patience_seconds)),
        (&mut config.settle, None, time(section.settle_seconds)),
        (
            &mut config.rollback_patience,
            None,
            time(section.rollback_patience_seconds),
        ),
        (
            &mut config.stop_grace,
            None,
            time(section.stop_grace_seconds),
        ),
        (&mut config.remember, None, hours(section.remember_hours)),
        (
            &mut config.session_idle,
            args.session_idle,
            time(section.session_idle_seconds),
        ),
        (
            &mut config.cleanup_interval,
            args.snapshot_cleanup_interval,
            hours(section.snapshot_cleanup_interval_hours),
        ),
    ] {
        if let Some(time) = flag.or(key) {
            *own = time;
        }
    }
    for (name, time) in [
        ("heartbeat", config.heartbeat),
        ("probe_seconds", config.probe),
        ("patience_seconds", config.patience),
        ("settle_seconds", config.settle),
        ("snapshot-cleanup-interval", config.cleanup_interval),
    ] {
        if time < Duration::from_millis(100) {
            return Err(invalid(format!(
                "{name} is shorter than a tenth of a second"
            )));
        }
    }
    let max_age = args
        .snapshot_max_age
        .or(hours(section.snapshot_max_age_hours));
    let retention: &RetentionSection = &settings.config.retention;
    if let Some(policy) = retention.policy() {
        config.retention = policy;
    }
    if max_age.is_some() {
        config.retention.max_age = max_age;
    }
    sizes(&mut config, section);
    config.metrics = args.metrics.or(section.metrics);
    Ok(config)
}

fn sizes(config: &mut AgentConfig, section: &AgentSection) {
    let result = section.result_output_bytes;
    config.result_output = result
        .unwrap_or(config.result_output)
        .clamp(1 << 10, 900_000);
    config.max_waiting = section.max_waiting.unwrap_or(config.max_waiting).max(1);
    config.max_sessions = section.max_sessions.unwrap_or(config.max_sessions).max(1);
    config.output_file = section.output_file_bytes.unwrap_or(config.output_file);
    config.output_files = section.output_files_bytes.unwrap_or(config.output_files);
    config.results_kept = (
        section.results_kept.unwrap_or(config.results_kept.0),
        section.results_kept_bytes.unwrap_or(config.results_kept.1),
    );
    config.outbox = (
        section.outbox_results.unwrap_or(config.outbox.0),
        section.outbox_bytes.unwrap_or(config.outbox.1),
    );
}

fn policy(args: &AgentArgs, section: &AgentSection, base: Option<&Path>) -> Result<Policy> {
    fn chosen<'a, T>(flags: &'a [T], keys: &'a [T]) -> &'a [T] {
        if flags.is_empty() { keys } else { flags }
    }
    Ok(Policy {
        shells: chosen(&args.allow_shell, &section.allow_shell).to_vec(),
        commands: chosen(&args.allow_command, &section.allow_command).to_vec(),
        variables: chosen(&args.allow_env, &section.allow_env).to_vec(),
        paths: chosen(&args.allow_path, &section.allow_path)
            .iter()
            .map(|path| directory(base, path))
            .collect::<Result<_>>()?,
    })
}

fn directory(base: Option<&Path>, path: &Path) -> Result<AbsPath> {
    match base {
        Some(base) => super::paths::directory(base, path),
        None if path.is_absolute() => super::paths::directory(path, path),
        None => Err(no_current_directory()),
    }
}

fn time(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| values::duration(seconds).ok())
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_key() {
        use clap::CommandFactory as _;
        let command = crate::cli::args::Cli::command();
        let agent = command.find_subcommand("agent").unwrap();
        let keys = format!("{:#?}", AgentSection::default());
        let has_key = |name: &str| keys.contains(&format!("    {name}: "));
        let without: Vec<String> = agent
            .get_arguments()
            .filter(|flag| !flag.is_global_set())
            .filter_map(|flag| Some(flag.get_long()?.replace('-', "_")))
            .filter(|name| {
                let forms = ["", "_seconds", "_hours"].map(|unit| format!("{name}{unit}"));
                !forms.iter().any(|form| has_key(form))
            })
            .collect();
        // About a single occasion.
        assert_eq!(without, ["check"]);
    }

    #[test]
    fn directories_of_flags_start_where_the_program_does_and_those_of_the_file_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["here/flag", "file/key"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let file = root.join("file/c.toml");
        let text = "[agent]\nserver = \"https://x\"\ncwd = \".\"\nallow_path = [\"key\", \"/\"]\n";
        std::fs::write(&file, text).unwrap();
        let global = crate::cli::args::GlobalArgs {
            config: Some(file),
            ..Default::default()
        };
        let environment = Environment::default();
        let here = root.join("here");
        let read = |args: &AgentArgs, base: Option<&Path>| {
            let settings = Settings::resolve(&global, &environment, base)?;
            let resolved = AgentSettings::resolve(args, &settings, &environment, base)?.config;
            let paths = resolved.policy.paths.iter();
            let paths = paths.map(|path| path.as_path().to_owned()).collect();
            Ok::<(PathBuf, Vec<PathBuf>), Error>((resolved.cwd.as_path().to_owned(), paths))
        };
        let mut args = AgentArgs::default();
        let (cwd, paths) = read(&args, Some(&here)).unwrap();
        assert_eq!(
            (cwd, paths),
            (root.join("file"), vec![root.join("file/key"), "/".into()])
        );
        args.cwd = Some(".".into());
        args.allow_path = vec!["flag".into(), ".".into()];
        let (cwd, paths) = read(&args, Some(&here)).unwrap();
        assert_eq!(
            (cwd, paths),
            (here.clone(), vec![here.join("flag"), here.clone()])
        );
        let error = read(&args, None).unwrap_err().to_string();
        assert!(error.contains("current directory"), "{error}");
        args.cwd = Some("/".into());
        args.allow_path = vec![here];
        assert!(read(&args, None).is_ok());
    }
}
