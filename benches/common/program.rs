//! The program under test, and where it works.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The release binary that was built along with the benchmark.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_deployx");

/// Variables that it would heed.
pub(crate) const SETTINGS: [&str; 3] = ["DEPLOYX_CONFIG", "DEPLOYX_SNAPSHOT_DIR", "DEPLOYX_LOG"];

/// Deletes a tree; one that is not there is fine.
pub(crate) fn remove(tree: &Path) -> io::Result<()> {
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The tree that `DEPLOYX_BENCH_TREE` names, or the documentation that comes with the Rust toolchain.
pub(crate) fn large_tree() -> Result<PathBuf> {
    if let Some(named) = env::var_os("DEPLOYX_BENCH_TREE") {
        return existing(PathBuf::from(named));
    }
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot ask rustc for its directory; set DEPLOYX_BENCH_TREE")?;
    let sysroot = String::from_utf8(sysroot.stdout).context("rustc's directory is not UTF-8")?;
    existing(PathBuf::from(sysroot.trim()).join("share/doc"))
        .context("the toolchain has no documentation; set DEPLOYX_BENCH_TREE")
}

/// The directory, where it is one.
pub(crate) fn existing(path: PathBuf) -> Result<PathBuf> {
    if path.is_dir() {
        Ok(path)
    } else {
        bail!("{} is not a directory", path.display())
    }
}

/// A number above 0 from the environment.
pub(crate) fn number(variable: &str, default: usize) -> Result<usize> {
    let Ok(text) = env::var(variable) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{variable} is not a number above 0: {text}"),
    }
}

/// The parts of a list with commas, each of which has to be one of `names`.
pub(crate) fn known(list: &str, names: &[&str]) -> Result<Vec<String>> {
    let chosen: Vec<String> = list.split(',').map(str::to_owned).collect();
    match chosen.iter().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => bail!("'{unknown}' is none of {}", names.join(", ")),
        None => Ok(chosen),
    }
}

/// The system with its processors and how busy it is.
pub(crate) fn machine() -> String {
    let system = super::process::output(Command::new("uname").arg("-srm"))
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    format!("{system} on {processors} processors, load at the start {load}")
}
