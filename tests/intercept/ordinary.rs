//! Interception by an ordinary user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::{Site, has_program, is_root, require, text};

const USER: u32 = 65_534;

/// A site of an ordinary user's, with a copy of the program within its reach.
struct Ordinary {
    site: Site,
    program: PathBuf,
}

impl Ordinary {
    /// Loudly nothing where the test cannot make one, or where processes of the user cannot be looked
    /// into, which interception needs.
    fn new(test: &str) -> Option<Self> {
        let can = is_root() && has_program("setpriv");
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        if !require(test, "root and setpriv", can)
            || !require(
                test,
                "a ptrace_scope of 0",
                matches!(scope.trim(), "" | "0"),
            )
        {
            return None;
        }
        let site = Site::new();
        let root = site.tree.parent().expect("a directory").to_owned();
        let program = root.join("deployx");
        fs::copy(env!("CARGO_BIN_EXE_deployx"), &program).expect("a copy");
        for own in [&root, &site.tree] {
            chown(own, Some(USER), Some(USER)).expect("an owner");
        }
        Some(Self { site, program })
    }

    fn run(&self, strategy: &str, line: &str) -> Output {
        let user = USER.to_string();
        Command::new("setpriv")
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .arg(&self.program)
            .arg("--snapshot-dir")
            .arg(&self.site.store)
            .args(["run", "--json", "--strategy", strategy, "--cwd"])
            .arg(&self.site.tree)
            .args(["--", line])
            .env("HOME", &self.site.tree)
            .current_dir(&self.site.tree)
            .stdin(Stdio::null())
            .output()
            .expect("setpriv")
    }

    fn report(&self, strategy: &str, line: &str) -> Value {
        let output = self.run(strategy, line);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    /// A program that gains its owner's rights: it says who it is.
    fn set_uid(&self, name: &str) -> PathBuf {
        let file = self.site.tree.with_file_name(name);
        let id = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join("id"))
            .find(|file| file.is_file())
            .expect("id");
        fs::copy(id, &file).expect("a copy");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).expect("a mode");
        file
    }
}

fn kinds(report: &Value) -> Vec<&str> {
    let limits = report["receipt"]["limits"].as_array().expect("limits");
    let kinds = limits.iter().filter_map(|limit| limit["kind"].as_str());
    kinds.collect()
}

#[test]
fn an_ordinary_users_command_is_covered_and_the_limit_is_named() {
    let Some(site) = Ordinary::new("an_ordinary_users_command_is_covered_and_the_limit_is_named")
    else {
        return;
    };
    let report = site.report("intercept", "echo x > made");
    assert_eq!(report["success"], true, "{report:#}");
    assert_eq!(report["strategy"], "intercept");
    assert_eq!(report["receipt"]["outside"]["watch"], "calls");
    assert_eq!(kinds(&report), ["set_uid"]);
}

#[test]
fn interception_steps_aside_before_a_program_that_gains_rights() {
    let test = "interception_steps_aside_before_a_program_that_gains_rights";
    let Some(site) = Ordinary::new(test) else {
        return;
    };
    let tool = site.set_uid("gains");
    let gains = |file: &Path| format!("echo x > made; '{}' -u > who", file.display());
    let report = site.report("intercept,copy", &gains(&tool));
    assert_eq!(report["success"], true, "{report:#}");
    assert_eq!(report["strategy"], "copy", "{report:#}");
    assert!(kinds(&report).contains(&"stepped_aside"), "{report:#}");
    // The program had the rights that it has without interception.
    let nosuid = fs::read_to_string(site.site.tree.join("who")).expect("its word") != "0\n";
    if require(
        test,
        "a filesystem that gives such programs their rights",
        !nosuid,
    ) {
        let said = report["receipt"]["limits"].to_string();
        assert!(said.contains("gains rights"), "{said}");
    }
    // Where nothing else may be used, it is not run.
    fs::remove_file(site.site.tree.join("who")).expect("removed");
    let output = site.run("intercept", &gains(&tool));
    assert_eq!(output.status.code(), Some(125), "{}", text(&output));
    assert!(text(&output).contains("gains rights"), "{}", text(&output));
    assert!(!site.site.tree.join("who").exists());
    // A name among the arguments is none that runs.
    let line = format!("echo '{}' > made", tool.display());
    assert_eq!(site.report("intercept", &line)["strategy"], "intercept");
}
