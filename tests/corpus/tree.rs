//! The tree in which lines run: built once, copied for each line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common;
use crate::lines::Line;

/// Where programs are looked for, by lines and by [`missing`].
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a line may take, in seconds.
const TIMEOUT: &str = "60";

/// A directory for a tree, in memory where the system has such a place: the lines' order of writes
/// to a disk is tested elsewhere.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

/// The tree as `fixture.sh` builds it.
pub(crate) struct Template {
    keep: tempfile::TempDir,
}

impl Template {
    pub(crate) fn new() -> Self {
        let keep = directory();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fixture.sh");
        let built = Command::new("bash")
            .arg(script)
            .arg(keep.path())
            .env("PATH", PATH)
            .output()
            .expect("bash");
        assert!(built.status.success(), "{}", common::text(&built));
        Self { keep }
    }

    /// Copies the tree to `root` and runs the line's setup in it.
    pub(crate) fn place(&self, root: &Path, line: &Line) -> Tree {
        copy(self.keep.path(), root);
        let tree = Tree {
            root: root.to_owned(),
        };
        if !line.setup.is_empty() {
            let done = tree.run(&line.setup);
            assert!(
                done.status.success(),
                "setup of {}: {}",
                line.command,
                common::text(&done)
            );
        }
        tree
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-aT").arg(from).arg(to).status();
    assert!(done.expect("cp").success(), "cp could not copy the tree");
}

/// A copy of the tree.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    /// The directory in which lines run.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.root.join("app")
    }

    /// The directory for temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `text` with the root in place of its placeholder.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("@ROOT@", self.root.to_str().expect("UTF-8"))
    }

    /// The variables that a line finds.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let beneath = |name: &str| self.root.join(name).display().to_string();
        [
            ("PATH", PATH.to_owned()),
            ("HOME", beneath("home")),
            ("TMPDIR", beneath("tmp")),
            ("USER", "tester".to_owned()),
            ("LOGNAME", "tester".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            // Whoever tries the network finds nobody.
            ("http_proxy", "http://127.0.0.1:9".to_owned()),
            ("https_proxy", "http://127.0.0.1:9".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Runs a line with the real shell, not under test.
    pub(crate) fn run(&self, line: &str) -> Output {
        Command::new("timeout")
            .args(["-k", "1", TIMEOUT, "bash", "-c", "umask 022; eval \"$1\""])
            .arg("bash")
            .arg(self.fill(line))
            .current_dir(self.cwd())
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .output()
            .expect("bash")
    }
}

/// What of `needs` is not there.
pub(crate) fn missing(needs: &[String]) -> Vec<String> {
    let there = |need: &str| match need {
        "root" => common::is_root(),
        program => PATH
            .split(':')
            .any(|directory| fs::metadata(Path::new(directory).join(program)).is_ok()),
    };
    needs.iter().filter(|need| !there(need)).cloned().collect()
}
