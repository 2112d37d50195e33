//! Programs that gain rights when they are executed, which they do not under a filter that an ordinary
//! user installed.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys;

/// The bits that give a program the rights of its owner, or of its group.
const SET_ID: u32 = 0o6000;
/// The attribute with the rights that a program has by itself.
const CAPABILITIES: &str = "security.capability";

/// Why a line that begins these programs cannot be intercepted by this user, where it cannot. `path` is
/// where the shell looks for programs, `from` its directory.
pub(super) fn obstacle(programs: &[String], path: &OsStr, from: &Path) -> Option<String> {
    if sys::is_root() || has_given_up() {
        return None;
    }
    let gaining = programs.iter().find(|name| {
        let found = locate(name, path, from);
        found.is_some_and(|file| gains(&file))
    })?;
    Some(format!(
        "the line runs {}, which gains rights when it is executed: under interception by an ordinary \
         user it would not",
        gaining.escape_debug()
    ))
}

/// Whether nothing that this process starts gains rights anyway.
fn has_given_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NoNewPrivs:"));
    line.is_some_and(|value| value.trim() == "1")
}

fn locate(name: &str, path: &OsStr, from: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(from.join(name));
    }
    let directories = std::env::split_paths(path);
    directories
        .map(|directory| from.join(directory).join(name))
        .find(|file| file.is_file())
}

fn gains(file: &Path) -> bool {
    let Ok(found) = file.metadata() else {
        return false;
    };
    let others = found.uid() != sys::user_id() || found.mode() & 0o2000 != 0;
    let set_id = found.is_file() && found.mode() & SET_ID != 0 && others;
    set_id || rustix::fs::getxattr(file, CAPABILITIES, &mut [0_u8; 64]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_program_is_looked_for_as_the_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::write(bin.join("tool"), "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), Path::new("bin")]).unwrap();
        let found = |name: &str| locate(name, &path, dir.path());
        assert_eq!(found("tool"), Some(bin.join("tool")));
        assert_eq!(found("other"), None);
        assert_eq!(found("bin/tool"), Some(bin.join("tool")));
    }

    #[test]
    fn set_id_bits_of_others_are_gains() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "").unwrap();
        let set = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o755);
        assert!(!gains(&file));
        set(0o4755);
        assert!(!gains(&file), "its rights are this user's own");
        set(0o2755);
        assert!(gains(&file));
        assert!(!gains(&dir.path().join("missing")));
    }
}
