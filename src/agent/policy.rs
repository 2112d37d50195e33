//! What a backend may run.
//!
//! A guard against mistakes and against backends that were given too much: which paths a line touches
//! is read from its text, and a program that may be run can do whatever its user may.

use crate::infer::Scope;
use crate::path::AbsPath;

/// Characters that join, redirect or expand: a `*` of a pattern stands for none of them.
const SPECIAL: &str = ";&|<>`$(){}\n\r\\";

/// What may be run. The default allows everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Names of shells; empty: every shell of the host.
    pub shells: Vec<String>,
    /// Patterns of command lines; empty: every line. A `*` stands for any text without characters
    /// that join, redirect or expand.
    pub commands: Vec<String>,
    /// Directories; empty: everywhere. Commands have to start in one of them, and what they are
    /// expected to write has to lie beneath one.
    pub paths: Vec<AbsPath>,
}

impl Policy {
    /// Whether a shell may be used; the reason where not.
    pub fn check_shell(&self, name: &str) -> Result<(), String> {
        if self.shells.is_empty() || self.shells.iter().any(|shell| shell == name) {
            return Ok(());
        }
        Err(format!(
            "the shell '{}' is not allowed here; allowed are {}",
            name.escape_debug(),
            self.shells.join(", ")
        ))
    }

    /// Whether a line may be run; the reason where not.
    pub fn check_command(&self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if self.commands.is_empty() || self.commands.iter().any(|p| matches(p, line)) {
            return Ok(());
        }
        Err("the command is not among those that are allowed here".into())
    }

    /// Whether a line that starts in `cwd` may touch its scope; the reason where not.
    pub fn check_scope(&self, cwd: &AbsPath, scope: &Scope) -> Result<(), String> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let inside = |path: &AbsPath| self.paths.iter().any(|allowed| path.starts_with(allowed));
        if !inside(cwd) {
            return Err(format!("commands may not start in {cwd} here"));
        }
        if let Some(part) = scope.not_understood.first() {
            return Err(format!(
                "what the command touches cannot be told ('{}'), which is not allowed here",
                part.text
            ));
        }
        match scope.paths.iter().find(|one| !inside(&one.path)) {
            Some(outside) => Err(format!("commands may not touch {} here", outside.path)),
            None => Ok(()),
        }
    }
}

/// Whether `line` fits `pattern`.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim().split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        if rest[..at].contains(|c| SPECIAL.contains(c)) {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    rest.strip_suffix(last)
        .is_some_and(|star| !star.contains(|c| SPECIAL.contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_never_stands_for_a_second_command() {
        let policy = Policy {
            commands: vec![
                "git pull*".into(),
                "systemctl restart *.service".into(),
                "make".into(),
            ],
            ..Policy::default()
        };
        for good in [
            "git pull",
            "git pull --rebase origin",
            "systemctl restart a.service",
            " make ",
        ] {
            assert!(policy.check_command(good).is_ok(), "{good}");
        }
        for bad in [
            "git pull; rm -rf /",
            "git pull && x",
            "git pull $(x)",
            "git pull > /etc/passwd",
            "git pull\nrm x",
            "systemctl restart a.service; true.service",
            "make install",
            "git",
        ] {
            assert!(policy.check_command(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_said_allows_everything() {
        let policy = Policy::default();
        assert!(policy.check_command("rm -rf /; true").is_ok());
        assert!(policy.check_shell("zsh").is_ok());
        let only = Policy {
            shells: vec!["bash".into()],
            ..Policy::default()
        };
        assert!(only.check_shell("bash").is_ok());
        assert!(only.check_shell("sh").unwrap_err().contains("bash"));
    }
}
