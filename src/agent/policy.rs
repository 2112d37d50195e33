//! What a backend may run, and which snapshots it may reach.
//!
//! A guard against mistakes and against backends that were given too much: which paths a line touches
//! is read from its text, and a program that may be run can do whatever its user may.

use crate::infer::Scope;
use crate::path::AbsPath;

/// Characters that join, redirect or expand: a `*` of a pattern stands for none of them.
const SPECIAL: &str = if cfg!(windows) {
    ";&|<>`$(){}\n\r\\*?[]%^"
} else {
    ";&|<>`$(){}\n\r\\*?[]"
};
/// Characters that begin a comment or expand where a word begins.
const SPECIAL_FIRST: &str = "#~";

/// What may be run. The default allows everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Names of shells; empty: every shell of the host.
    pub shells: Vec<String>,
    /// Patterns of command lines; empty: every line. A `*` stands for any text without characters
    /// that join, redirect or expand.
    pub commands: Vec<String>,
    /// Variables that a request may set while there is any list of lines, directories or variables;
    /// with none of these lists: every variable. One can be a function, a search path or a library that
    /// is loaded, which make another command of an allowed line.
    pub variables: Vec<String>,
    /// Directories; empty: everywhere. Commands have to start in one of them, and what they are
    /// expected to write has to lie beneath one, as has what a snapshot holds that is taken back, shown
    /// or deleted.
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

    /// Whether a request may set these variables; the reason where not.
    pub fn check_variables<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), String> {
        if self.commands.is_empty() && self.paths.is_empty() && self.variables.is_empty() {
            return Ok(());
        }
        match names.into_iter().find(|one| !self.variables.contains(one)) {
            Some(name) => Err(format!(
                "env: the variable '{}' may not be set here, as it could change what an allowed command \
                 does; --allow-env names those that may",
                name.escape_debug()
            )),
            None => Ok(()),
        }
    }

    /// Whether a request may name these entries, for capturing them or for changing them; the reason
    /// where not. What is reached through symbolic links counts as where it is.
    pub fn check_entries<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a AbsPath>,
    ) -> Result<(), String> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let mut entries = entries.into_iter();
        match entries.find(|one| !self.is_inside(one) || !self.is_inside(&physical(one))) {
            Some(outside) => Err(format!("commands may not touch {outside} here")),
            None => Ok(()),
        }
    }

    /// Whether a request may take back, show, keep or delete the snapshot that holds these entries;
    /// the reason where not. `own` is one that was taken of a command of the backend's.
    ///
    /// Where directories are listed, they decide. Where only lines or shells are, somebody else's
    /// snapshot would do or show what no allowed line does.
    pub fn check_snapshot<'a>(
        &self,
        own: bool,
        entries: impl IntoIterator<Item = &'a AbsPath>,
    ) -> Result<(), String> {
        if !self.paths.is_empty() {
            // As they were recorded: a link that was put there since is nothing that they lead through.
            let mut entries = entries.into_iter();
            return match entries.find(|one| !self.is_inside(one)) {
                Some(outside) => Err(format!(
                    "the snapshot holds {outside}, which requests may not touch here"
                )),
                None => Ok(()),
            };
        }
        if own || !self.is_restricted() {
            return Ok(());
        }
        Err("the snapshot is not of one of the backend's own commands, and no others are allowed here".into())
    }

    /// Whether anything at all is not allowed.
    pub fn is_restricted(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a listed directory lies beneath this one.
    pub fn is_around(&self, path: &AbsPath) -> bool {
        self.paths.iter().any(|allowed| allowed.starts_with(path))
    }

    fn is_inside(&self, path: &AbsPath) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|allowed| path.starts_with(allowed))
    }

    /// Whether a line that starts in `cwd` may touch its scope; the reason where not.
    pub fn check_scope(&self, cwd: &AbsPath, scope: &Scope) -> Result<(), String> {
        if self.paths.is_empty() {
            return Ok(());
        }
        if !self.is_inside(cwd) || !self.is_inside(&physical(cwd)) {
            return Err(format!("commands may not start in {cwd} here"));
        }
        if let Some(part) = scope.not_understood.first() {
            return Err(format!(
                "what the command touches cannot be told ('{}'), which is not allowed here",
                part.text
            ));
        }
        self.check_entries(scope.paths.iter().map(|one| &one.path))
    }
}

/// Where a path leads, as far as it exists.
fn physical(path: &AbsPath) -> AbsPath {
    let found = path.as_path().ancestors().find_map(|existing| {
        let rest = path.as_path().strip_prefix(existing).ok()?;
        let real = existing.canonicalize().ok()?;
        // Joining nothing would add a separator.
        let whole = if rest.as_os_str().is_empty() {
            real
        } else {
            real.join(rest)
        };
        AbsPath::new(whole).ok()
    });
    found.unwrap_or_else(|| path.clone())
}

/// Whether `line` fits `pattern`.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim().split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut before = first;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        if !is_plain(before, &rest[..at]) {
            return false;
        }
        before = if part.is_empty() { &rest[..at] } else { part };
        rest = &rest[at + part.len()..];
    }
    rest.strip_suffix(last)
        .is_some_and(|star| is_plain(before, star))
}

/// Whether what a star stands for, after the text `before`, means nothing but itself to a shell.
fn is_plain(before: &str, star: &str) -> bool {
    let mut previous = before.chars().next_back().unwrap_or(' ');
    star.chars().all(|c| {
        let begins = previous.is_whitespace() || "=:\"'".contains(previous);
        previous = c;
        !(SPECIAL.contains(c) || begins && SPECIAL_FIRST.contains(c))
    })
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
                "deploy * --dry-run".into(),
            ],
            ..Policy::default()
        };
        for good in [
            "git pull",
            "git pull --rebase origin",
            "systemctl restart a.service",
            " make ",
            "git pull origin HEAD~1 issue#12",
            "deploy 'the shop' --dry-run",
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
            "deploy prod # --dry-run",
            "deploy ~root/../x --dry-run",
            "deploy --to=~root --dry-run",
            "git pull *",
            "git pull x[1]",
        ] {
            assert!(policy.check_command(bad).is_err(), "{bad}");
        }
    }

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    #[test]
    fn variables_have_to_be_named_while_anything_is_listed_that_they_could_change() {
        let names = ["GREETING".to_owned(), "BASH_FUNC_git%%".to_owned()];
        assert!(Policy::default().check_variables(&names).is_ok());
        let shells = Policy {
            shells: vec!["bash".into()],
            ..Policy::default()
        };
        assert!(shells.check_variables(&names).is_ok());
        let lines = Policy {
            commands: vec!["git pull*".into()],
            ..Policy::default()
        };
        let paths = Policy {
            paths: vec![path("/srv")],
            ..Policy::default()
        };
        let named = Policy {
            variables: vec!["GREETING".into()],
            ..Policy::default()
        };
        for policy in [lines, paths, named] {
            let error = policy.check_variables(&names[1..]).unwrap_err();
            assert!(error.contains("BASH_FUNC_git%%"), "{error}");
            assert!(policy.check_variables(&[]).is_ok());
            let naming = Policy {
                variables: vec!["GREETING".into()],
                ..policy
            };
            assert!(naming.check_variables(&names[..1]).is_ok());
            assert!(naming.check_variables(&names).is_err());
        }
    }

    #[test]
    fn a_snapshot_is_judged_by_its_entries_and_else_by_whose_it_is() {
        let (inside, outside) = (path("/srv/app/x"), path("/etc/passwd"));
        let policy = Policy {
            paths: vec![path("/srv/app")],
            ..Policy::default()
        };
        for own in [true, false] {
            assert!(policy.check_snapshot(own, [&inside]).is_ok());
            let error = policy.check_snapshot(own, [&inside, &outside]).unwrap_err();
            assert!(error.contains("/etc/passwd"), "{error}");
        }
        assert!(
            policy
                .check_snapshot(false, [&path("/srv/application")])
                .is_err()
        );
        let policy = Policy {
            commands: vec!["make".into()],
            ..Policy::default()
        };
        assert!(policy.check_snapshot(true, [&outside]).is_ok());
        assert!(policy.check_snapshot(false, [&inside]).is_err());
        assert!(Policy::default().check_snapshot(false, [&outside]).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn entries_behind_links_count_as_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (tree, elsewhere) = (root.join("tree"), root.join("elsewhere"));
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::create_dir_all(tree.join("real")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, tree.join("out")).unwrap();
        std::os::unix::fs::symlink("real", tree.join("in")).unwrap();
        let policy = Policy {
            paths: vec![AbsPath::new(&tree).unwrap()],
            ..Policy::default()
        };
        let check = |name: &str| policy.check_entries([&AbsPath::new(tree.join(name)).unwrap()]);
        for good in ["in", "in/new/file", "real", "new"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["out", "out/file", "out/new/file"] {
            assert!(check(bad).unwrap_err().contains("may not touch"), "{bad}");
        }
        assert!(policy.check_entries([&path("/")]).is_err());
        assert!(Policy::default().check_entries([&path("/")]).is_ok());
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
