//! What can be told of an agent without starting it.

use std::path::Path;

use super::identity::what_cannot_be_restored;
use super::state::{State, known_id};
use crate::error::{ErrorKind, Result};

/// What an agent would find at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The id of the directory, where no other is chosen; `None` before the first start.
    pub agent_id: Option<String>,
    /// How it is with the directory.
    pub state: StateDir,
    /// What a rollback cannot give back for this process's user.
    pub cannot_restore: Vec<&'static str>,
}

/// How it is with an agent's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDir {
    /// It can be used.
    Usable,
    /// An agent that runs uses it.
    InUse,
    /// It does not exist, and will be made at the first start.
    Absent,
}

/// Looks at the agent's directory at `state_dir`, which is not made, and at what this user may do.
///
/// # Errors
/// As the start of an agent with this directory, but where another one runs.
pub fn examine(state_dir: &Path) -> Result<Examined> {
    let state = if state_dir.symlink_metadata().is_err() {
        StateDir::Absent
    } else {
        match State::open(state_dir) {
            Ok(_) => StateDir::Usable,
            Err(error) if error.kind() == ErrorKind::Busy => StateDir::InUse,
            Err(error) => return Err(error),
        }
    };
    Ok(Examined {
        agent_id: known_id(state_dir)?,
        state,
        cannot_restore: what_cannot_be_restored(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_examined_without_being_made_or_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let found = examine(&path).unwrap();
        assert_eq!((found.state, found.agent_id), (StateDir::Absent, None));
        assert!(!path.exists());
        let state = State::open(&path).unwrap();
        let id = state.own_id().unwrap();
        assert_eq!(examine(&path).unwrap().state, StateDir::InUse);
        drop(state);
        for _ in 0..2 {
            let found = examine(&path).unwrap();
            let expected = (StateDir::Usable, Some(id.clone()));
            assert_eq!((found.state, found.agent_id), expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_may_write_to_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let error = examine(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore);
    }
}
