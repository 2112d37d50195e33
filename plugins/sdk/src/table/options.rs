//! The options of a command, as a table lists them: `"-o --output=write"`.

use super::role::Role;

/// One option with all its spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionSpec {
    /// The spellings, in order of the table.
    pub spellings: Vec<Spelling>,
    /// What the command does with the value.
    pub role: Role,
    /// The position of an operand that stands for this parameter (style `named`).
    pub position: Option<usize>,
    /// Whether letters of either case are the same in its spellings.
    pub any_case: bool,
}

/// One way to write an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// With its dashes or slash.
    pub name: String,
    /// Whether a value goes with it.
    pub value: Value,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It takes none.
    None,
    /// It needs one, attached or as the next argument.
    Needed,
    /// It takes one only where it is attached.
    Attached,
}

impl OptionSpec {
    /// Reads an entry of `options`.
    ///
    /// # Errors
    /// A message that says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut spellings = Vec::new();
        let mut role = Role::Ignore;
        let mut position = None;
        for word in text.split_whitespace() {
            let (name, value, rest) = split_word(word)?;
            if let Some(rest) = rest {
                let (name, at) = match rest.split_once('@') {
                    Some((name, at)) => (name, Some(at)),
                    None => (rest, None),
                };
                role = Role::parse(name).ok_or_else(|| unknown_role(name))?;
                if let Some(at) = at {
                    position = Some(at.parse().map_err(|_| {
                        format!("'@{at}' is no position; write a number, as in '=read@0'")
                    })?);
                }
            }
            spellings.push(Spelling {
                name: name.into(),
                value,
            });
        }
        if spellings.is_empty() {
            return Err("an option needs a spelling, as in '-o --output=write'".into());
        }
        // `-o --output=write`: the needed value belongs to every spelling.
        if spellings.last().is_some_and(|s| s.value == Value::Needed) {
            for spelling in &mut spellings {
                if spelling.value == Value::None {
                    spelling.value = Value::Needed;
                }
            }
        }
        Ok(Self {
            spellings,
            role,
            position,
            any_case: false,
        })
    }

    /// Whether one of the spellings is `name`.
    pub fn is(&self, name: &str) -> bool {
        self.spelling(name.as_bytes()).is_some()
    }

    /// The spelling of that name.
    pub(crate) fn spelling(&self, name: &[u8]) -> Option<&Spelling> {
        self.spellings.iter().find(|spelling| {
            let own = spelling.name.as_bytes();
            own == name || self.any_case && own.eq_ignore_ascii_case(name)
        })
    }

    /// The first spelling.
    pub fn name(&self) -> &str {
        self.spellings.first().map_or("", |s| s.name.as_str())
    }
}

/// Name, arity and role (with `@N`) of one word of an entry.
fn split_word(word: &str) -> Result<(&str, Value, Option<&str>), String> {
    let end = word.find(['=', '[']).unwrap_or(word.len());
    let (name, rest) = word.split_at(end);
    let dashed = name.len() > 1 && name.starts_with(['-', '/', '+']);
    if !dashed {
        return Err(format!(
            "'{word}' is no option; it begins with '-' or '/', as in '-o --output=write'"
        ));
    }
    if rest.is_empty() {
        return Ok((name, Value::None, None));
    }
    if let Some(inner) = rest.strip_prefix('[') {
        let role = inner
            .strip_suffix(']')
            .ok_or_else(|| format!("'{word}' lacks its closing ']'"))?;
        return Ok((
            name,
            Value::Attached,
            Some(role.strip_prefix('=').unwrap_or(role)),
        ));
    }
    Ok((name, Value::Needed, rest.strip_prefix('=')))
}

/// The message for a role that does not exist.
pub(crate) fn unknown_role(name: &str) -> String {
    format!(
        "unknown role '{name}'; the roles are {}",
        Role::NAMES.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needed_value_belongs_to_every_spelling() {
        let spec = OptionSpec::parse("-o --output=write").unwrap();
        assert!(spec.spellings.iter().all(|s| s.value == Value::Needed));
        assert_eq!(spec.role, Role::Write);
    }

    #[test]
    fn an_attached_value_belongs_to_its_spelling_only() {
        let spec = OptionSpec::parse("-p --preserve[=ignore]").unwrap();
        assert_eq!(spec.spellings[0].value, Value::None);
        assert_eq!(spec.spellings[1].value, Value::Attached);
        let spec = OptionSpec::parse("-i[write] --in-place[=write]").unwrap();
        assert!(spec.spellings.iter().all(|s| s.value == Value::Attached));
    }

    #[test]
    fn a_parameter_may_have_a_position() {
        let spec = OptionSpec::parse("-Path -LiteralPath=remove@0").unwrap();
        assert_eq!(spec.position, Some(0));
        assert_eq!(spec.role, Role::Remove);
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (text, part) in [
            ("", "needs a spelling"),
            ("output", "begins with '-'"),
            ("-o=wirte", "the roles are ignore"),
            ("-o[read", "closing"),
            ("-o=read@x", "a number"),
            ("-", "begins with"),
        ] {
            let error = OptionSpec::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
