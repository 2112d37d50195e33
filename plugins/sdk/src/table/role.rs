//! What a command does with a path that is given to it.

/// What a command does with one of its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It is no path, or does not matter.
    Ignore,
    /// Only reads it.
    Read,
    /// Creates it or replaces its content.
    Write,
    /// Replaces it with a new file beside it.
    Edit,
    /// Makes it and everything beneath.
    Create,
    /// Removes it with everything beneath.
    Remove,
    /// Changes permissions, owner or times of the entry.
    Meta,
    /// The same for everything beneath.
    MetaTree,
    /// May change anything beneath.
    Tree,
    /// May create, change or remove entries directly in it.
    Children,
    /// Moves it away: removed here, its name used by a `place`.
    Take,
    /// Where the `read` and `take` operands go.
    Place,
    /// The same, always a directory.
    Into,
    /// The other paths of the call are taken from there.
    Chdir,
    /// It and everything after it is a command of its own.
    Command,
    /// A command line: of the same shell, or of the one that is named.
    Script(Option<String>),
    /// Runs or lies elsewhere.
    Remote,
}

impl Role {
    /// The names that a table may use, `script:SHELL` aside.
    pub const NAMES: [&'static str; 17] = [
        "ignore", "read", "write", "edit", "create", "remove", "meta", "metatree", "tree",
        "children", "take", "place", "into", "chdir", "command", "script", "remote",
    ];

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ignore" => Self::Ignore,
            "read" => Self::Read,
            "write" => Self::Write,
            "edit" => Self::Edit,
            "create" => Self::Create,
            "remove" => Self::Remove,
            "meta" => Self::Meta,
            "metatree" => Self::MetaTree,
            "tree" => Self::Tree,
            "children" => Self::Children,
            "take" => Self::Take,
            "place" => Self::Place,
            "into" => Self::Into,
            "chdir" => Self::Chdir,
            "command" => Self::Command,
            "script" => Self::Script(None),
            "remote" => Self::Remote,
            other => {
                let shell = other.strip_prefix("script:").filter(|s| !s.is_empty())?;
                Self::Script(Some(shell.into()))
            }
        })
    }

    /// Whether an argument of this role changes nothing, whatever it is.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Ignore | Self::Read | Self::Chdir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_role() {
        for name in Role::NAMES {
            assert!(Role::parse(name).is_some(), "{name}");
        }
        assert_eq!(
            Role::parse("script:cmd"),
            Some(Role::Script(Some("cmd".into())))
        );
        assert_eq!(Role::parse("script:"), None);
        assert_eq!(Role::parse("wirte"), None);
    }
}
