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

    /// Whether this shell reads something in a word that other shells read otherwise, and that is
    /// not followed.
    pub(crate) fn reads_otherwise(self, raw: &[u8], options_known: bool) -> bool {
        match self {
            Self::Dash => has_ansi_quote(raw) || raw.windows(2).any(|pair| pair == b"$["),
            Self::Zsh => {
                let plain = !raw.starts_with(b"'");
                let own = raw
                    .windows(2)
                    .any(|pair| matches!(pair, b"$=" | b"$~" | b"$^"));
                plain && (own || has_modifier(raw) || (!options_known && raw.contains(&b'{')))
            }
            Self::Bash | Self::Ksh => false,
        }
    }

    /// Whether `<1-3>` may stand in a line: a pattern in this shell.
    pub(crate) fn has_ranges(self, text: &[u8]) -> bool {
        let range = |part: &[u8]| {
            let end = part.iter().position(|b| !b.is_ascii_digit() && *b != b'-');
            end.is_some_and(|end| part[end] == b'>' && part[..end].contains(&b'-'))
        };
        self == Self::Zsh && text.split(|b| *b == b'<').skip(1).any(range)
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

/// Whether `$x[…]` or `$x:h` stands in a word.
fn has_modifier(raw: &[u8]) -> bool {
    raw.split(|b| *b == b'$').skip(1).any(|part| {
        let name = part
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let modifier = part.get(name + 1).is_some_and(u8::is_ascii_alphabetic);
        match part.get(name) {
            Some(b'[') => name > 0,
            Some(b':') => name > 0 && modifier,
            _ => false,
        }
    })
}

/// Whether `$'…'` stands in a word outside other quotes.
fn has_ansi_quote(raw: &[u8]) -> bool {
    let mut at = 0;
    let mut quote = None;
    while let Some(byte) = raw.get(at) {
        match (quote, byte) {
            (None, b'$') if raw.get(at + 1) == Some(&b'\'') => return true,
            (None | Some(b'"'), b'\\') => at += 1,
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    false
}
