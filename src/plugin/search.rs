//! Which files are plugins.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The files in `directories` that have the name of a library of this system: those of the first
/// directory first, within a directory by name. A directory that does not exist is passed over;
/// whatever else is wrong with one shows when its files are checked.
pub fn candidates(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directories {
        let mut files = libraries(directory);
        files.sort();
        files.retain(|file| !found.contains(file));
        found.append(&mut files);
    }
    found
}

fn libraries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new(std::env::consts::DLL_EXTENSION)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn libraries_are_found_in_order_of_directories_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let extension = std::env::consts::DLL_EXTENSION;
        let (first, second) = (dir.path().join("z"), dir.path().join("a"));
        for (directory, name) in [(&first, "c"), (&first, "b"), (&second, "a")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(format!("{name}.{extension}")), "").unwrap();
        }
        fs::write(first.join("notes.txt"), "").unwrap();
        let directories = [
            first.clone(),
            dir.path().join("none"),
            second.clone(),
            first.clone(),
        ];
        assert_eq!(
            candidates(&directories),
            [
                first.join(format!("b.{extension}")),
                first.join(format!("c.{extension}")),
                second.join(format!("a.{extension}"))
            ]
        );
    }
}
