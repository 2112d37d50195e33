//! Where the shells differ.

/// A shell's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    /// GNU Bash.
    Bash,
    /// Dash and other plain POSIX shells.
    Dash,
    /// Zsh.
    Zsh,
    /// Korn shells.
    Ksh,
}

/// The names of the shells that are read.
pub(crate) const SHELLS: &[&str] = &["bash", "sh", "dash", "zsh", "ksh"];

impl Dialect {
    /// The readings of a shell of this name. `sh` is dash on one system and bash on another.
    pub(crate) fn readings(shell: &str) -> Option<&'static [Self]> {
        match shell {
            "bash" | "rbash" => Some(&[Self::Bash]),
            "sh" => Some(&[Self::Dash, Self::Bash]),
            "dash" | "ash" => Some(&[Self::Dash]),
            "zsh" => Some(&[Self::Zsh]),
            "ksh" | "ksh93" | "mksh" => Some(&[Self::Ksh]),
            _ => None,
        }
    }

    /// `{a,b}` is expanded.
    pub(crate) fn braces(self) -> bool {
        self != Self::Dash
    }

    /// `$x` without quotes is split into words and matched against files.
    pub(crate) fn splits(self) -> bool {
        self != Self::Zsh
    }

    /// The last command of a pipeline runs in the shell itself.
    pub(crate) fn last_of_pipeline_in_shell(self) -> bool {
        matches!(self, Self::Zsh | Self::Ksh)
    }

    /// `&>`, `[[`, `$'…'`, `<(…)` are read as bash reads them.
    pub(crate) fn extended(self) -> bool {
        self != Self::Dash
    }
}
