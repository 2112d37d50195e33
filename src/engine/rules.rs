//! The rule sets of an engine, with what they may know of the user's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::{EngineConfig, own_rules};
use crate::error::Result;
use crate::infer::{
    DiskView, Origin, PathInference, Registry, Request, RuleSetReport, Scope, Session, built_in,
};
use crate::path::WirePath;
use crate::plugin::{self, PluginReport, Plugins};
use crate::request::ShellName;

/// Variables that say where programs keep their files and how shells read words; rules ask for
/// them.
const NEEDED: [&str; 24] = [
    "APPDATA",
    "BASH_ENV",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CDPATH",
    "COMPOSE_FILE",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GOBIN",
    "GOCACHE",
    "GOPATH",
    "IFS",
    "LOCALAPPDATA",
    "PIP_TARGET",
    "RUSTUP_HOME",
    "TEMP",
    "TMP",
    "TMPDIR",
    "USERPROFILE",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "npm_config_prefix",
];

/// Reads command lines. Needs no store.
pub struct Rules {
    registry: Registry,
    refused: Vec<PluginReport>,
    home: Option<Vec<u8>>,
    environment: Vec<(String, String)>,
    allowed: Vec<String>,
}

impl Rules {
    /// The rule sets that are linked in, plugins, and the user's own rules.
    ///
    /// A plugin that is refused is reported and not used.
    ///
    /// # Errors
    /// A file of rules cannot be read, is not valid, or could have been written by somebody else.
    pub fn new(config: &EngineConfig) -> Result<Self> {
        let mut registry = built_in::registry();
        let plugins = config
            .plugin_host
            .as_ref()
            .map_or_else(Plugins::default, |host| {
                plugin::load(&config.plugin_dirs, host)
            });
        // What is registered later takes precedence.
        for plugin in plugins.active.into_iter().rev() {
            let path = WirePath::from_bytes(plugin.path().as_os_str().as_encoded_bytes());
            registry.register(Box::new(plugin), Origin::Loaded { path });
        }
        own_rules::add(&mut registry, &config.rules_dirs)?;
        Ok(Self {
            registry,
            refused: plugins.refused,
            home: config.home.as_ref().map(|home| home.to_bytes().to_vec()),
            environment: config.environment.clone(),
            allowed: config.env_allow.clone(),
        })
    }

    pub(super) fn register(&mut self, rules: Box<dyn PathInference>) {
        self.registry.register(rules, Origin::Registered);
    }

    /// Every rule set, in order of precedence, then the plugins that were refused.
    pub fn reports(&self) -> Vec<RuleSetReport> {
        let refused = self.refused.iter().map(|plugin| RuleSetReport {
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            shells: plugin.shells.clone(),
            answers: Vec::new(),
            origin: Origin::Loaded {
                path: plugin.path.clone(),
            },
            refused: plugin.message.clone(),
        });
        self.registry.reports().into_iter().chain(refused).collect()
    }

    /// The scope that the rules give; runs nothing. `cwd` is a directory in the shell's own syntax:
    /// lines for `cmd` can be read on any host.
    pub fn infer(&self, shell: &ShellName, command: &OsStr, cwd: &OsStr) -> Scope {
        self.infer_in_session(shell, command, cwd, &[], &Session::default())
    }

    /// The same after earlier lines of a shell session that began with `env` on top of the
    /// environment.
    pub(super) fn infer_in_session(
        &self,
        shell: &ShellName,
        command: &OsStr,
        cwd: &OsStr,
        env: &[(OsString, OsString)],
        session: &Session,
    ) -> Scope {
        let command = command.as_encoded_bytes();
        let request = Request {
            shell: known_name(shell),
            command: command.to_vec(),
            cwd: cwd.as_encoded_bytes().to_vec(),
            home: self.home.clone(),
            env: self.environment_for(command, env, session),
            session: session.clone(),
        };
        self.registry.infer(&request, &DiskView)
    }

    /// The variables that rules may know: those of the allow-list and those that the line names,
    /// without those that earlier lines of the session changed.
    fn environment_for(
        &self,
        line: &[u8],
        env: &[(OsString, OsString)],
        session: &Session,
    ) -> Vec<(String, Vec<u8>)> {
        if session.unknown {
            return Vec::new();
        }
        let line = String::from_utf8_lossy(line);
        let wanted = |name: &String| {
            self.allowed.contains(name)
                || NEEDED.contains(&name.as_str())
                || line.contains(name.as_str())
        };
        let own = self
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.as_bytes()));
        let given = env.iter().map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.as_encoded_bytes())
        });
        // What is given goes before what is inherited.
        let known: BTreeMap<String, Vec<u8>> = own
            .chain(given)
            .filter(|(name, _)| wanted(name) && !session.assigned.contains(name))
            .map(|(name, value)| (name, value.to_vec()))
            .collect();
        known.into_iter().collect()
    }
}

/// The name under which rules know a shell: requests may give the path of its program.
fn known_name(shell: &ShellName) -> String {
    crate::execute::shells::lookup(shell)
        .map_or_else(|_| shell.to_string(), |known| known.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn rules() -> Rules {
        let mut config = EngineConfig::new("/nowhere");
        let variables = [("HOME", "/home/u"), ("TARGET", "/srv/t"), ("SECRET", "s")];
        config.environment = variables.map(|(n, v)| (n.into(), v.into())).to_vec();
        Rules::new(&config).unwrap()
    }

    fn infer(line: &str, env: &[(OsString, OsString)], session: &Session) -> Scope {
        let shell = ShellName::new("bash");
        rules().infer_in_session(&shell, line.as_ref(), "/".as_ref(), env, session)
    }

    fn covers(scope: &Scope, path: &str) -> bool {
        scope
            .paths
            .iter()
            .any(|p| p.path.as_path() == Path::new(path))
    }

    #[test]
    fn variables_that_the_line_names_are_known() {
        let line = "rm -rf \"$TARGET/x\"";
        let scope = infer(line, &[], &Session::default());
        assert!(covers(&scope, "/srv/t/x"), "{scope:?}");
        assert_eq!(scope.not_understood, []);
        let given = [("TARGET".into(), "/other".into())];
        assert!(covers(
            &infer(line, &given, &Session::default()),
            "/other/x"
        ));
        let known = rules().environment_for(line.as_bytes(), &[], &Session::default());
        assert!(known.iter().all(|(name, _)| name != "SECRET"), "{known:?}");
    }

    #[test]
    fn what_earlier_lines_changed_is_not_taken_for_known() {
        let line = "rm -rf \"$TARGET/x\"";
        let first = infer("TARGET=/elsewhere", &[], &Session::default());
        assert_eq!(first.session.assigned, ["TARGET"]);
        let scope = infer(line, &[], &first.session);
        assert_ne!(scope.not_understood, []);
        let first = infer("rm() { echo; }", &[], &Session::default());
        assert_ne!(infer("rm /srv/t/x", &[], &first.session).not_understood, []);
        let first = infer(". ./settings.sh", &[], &Session::default());
        assert!(first.session.unknown);
        assert_ne!(infer(line, &[], &first.session).not_understood, []);
    }

    #[test]
    fn a_shell_given_by_its_path_has_its_rules() {
        let shell = ShellName::new("/bin/bash");
        let scope = rules().infer(&shell, "ls".as_ref(), "/".as_ref());
        assert_eq!(scope.rules, "bash");
    }
}
