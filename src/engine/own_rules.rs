//! The user's own rules: files of commands in table form, one for each shell.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::infer::Registry;
use crate::path::escape;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Adds the rules in `directories`; those of the first take precedence. A directory that does not
/// exist is passed over.
pub(super) fn add(registry: &mut Registry, directories: &[PathBuf]) -> Result<()> {
    // What is added later wins.
    for directory in directories.iter().rev() {
        for file in files(directory)? {
            let shell = shell_of(registry, &file)?;
            let text = read(&file)?;
            registry
                .add_rules(&shell, &escape(&file), &text)
                .map_err(invalid)?;
        }
    }
    Ok(())
}

/// The files of rules in a directory, in order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the directory of rules {}", escape(directory));
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        // The usual places of another user are none of this one's.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            tracing::warn!(directory = %escape(directory), %error, "rules are not read");
            return Ok(Vec::new());
        }
        entries => entries.context(Stage::Infer, unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context(Stage::Infer, unreadable)?.path();
        if path.extension() == Some(OsStr::new("toml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The shell that a file is for, by its name.
fn shell_of(registry: &Registry, file: &Path) -> Result<String> {
    let known: BTreeSet<String> = registry
        .reports()
        .into_iter()
        .flat_map(|rules| rules.answers)
        .collect();
    file.file_stem()
        .and_then(OsStr::to_str)
        .filter(|stem| known.contains(*stem))
        .map(str::to_owned)
        .ok_or_else(|| {
            let known: Vec<String> = known.into_iter().collect();
            invalid(format!(
                "{}: a file of rules is called by its shell; shells with rules are {}",
                escape(file),
                known.join(", ")
            ))
        })
}

/// The text of a file that nobody else could have written.
fn read(file: &Path) -> Result<String> {
    let opened = crate::plugin::open_own(file)
        .map_err(|refusal| invalid(format!("{}: {}", escape(file), refusal.message)))?;
    let mut text = String::new();
    opened
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .context(Stage::Infer, || {
            format!("cannot read the rules {}", escape(file))
        })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(invalid(format!(
            "{}: larger than {MAX_BYTES} bytes",
            escape(file)
        )));
    }
    Ok(text)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Infer, message)
}
