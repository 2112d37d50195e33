//! The arguments of a command that are no options: `"read... place"`.

use super::options::unknown_role;
use super::role::Role;

/// One operand, or any number of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperandSpec {
    /// What the command does with it.
    pub(crate) role: Role,
    /// Any number of them.
    pub(crate) many: bool,
    /// It may be missing.
    pub(crate) optional: bool,
    /// What stands for it where it is missing.
    pub(crate) default: Option<String>,
}

/// Reads the value of `operands`.
///
/// # Errors
/// A message that says what would be right.
pub(crate) fn parse(text: &str) -> Result<Vec<OperandSpec>, String> {
    let mut specs = Vec::new();
    for word in text.split_whitespace() {
        specs.push(parse_word(word)?);
    }
    if specs.iter().filter(|spec| spec.many).count() > 1 {
        return Err("at most one role may have '...'".into());
    }
    if let Some(at) = specs.iter().position(|spec| spec.role == Role::Command)
        && at + 1 != specs.len()
    {
        return Err("'command' takes everything that follows; it must be the last".into());
    }
    Ok(specs)
}

fn parse_word(word: &str) -> Result<OperandSpec, String> {
    let (inner, optional) = match word.strip_prefix('[') {
        None => (word, false),
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) => (inner, true),
            None => return Err(format!("'{word}' lacks its closing ']'")),
        },
    };
    let (name, default) = match inner.split_once('=') {
        Some((name, default)) => (name, Some(default.to_string())),
        None => (inner, None),
    };
    if default.is_some() && !optional {
        return Err(format!(
            "only an operand that may be missing has a default: '[{word}]'"
        ));
    }
    let (name, many) = match name.strip_suffix("...") {
        Some(name) => (name, true),
        None => (name, false),
    };
    Ok(OperandSpec {
        role: Role::parse(name).ok_or_else(|| unknown_role(name))?,
        many,
        optional: optional || many,
        default,
    })
}

/// Which of `specs` the operand at `position` of `total` is; `None` for one too many.
pub(crate) fn spec_at(specs: &[OperandSpec], position: usize, total: usize) -> Option<usize> {
    let mut before = 0;
    for (index, count) in counts(specs, total).enumerate() {
        if position < before + count {
            return Some(index);
        }
        before += count;
    }
    None
}

/// How many of `total` operands each of `specs` gets: first what is needed, then what may be
/// missing from the left, then the one that takes any number.
fn counts(specs: &[OperandSpec], total: usize) -> impl Iterator<Item = usize> {
    let needed = specs.iter().filter(|spec| !spec.optional).count();
    let single = specs.iter().filter(|spec| spec.optional && !spec.many);
    let mut spare = total.saturating_sub(needed);
    let rest = spare.saturating_sub(single.count());
    spare -= rest;
    let mut left = total.min(needed);
    specs.iter().map(move |spec| {
        let from = match (spec.many, spec.optional) {
            (true, _) => return rest,
            (_, true) => &mut spare,
            (_, false) => &mut left,
        };
        let one = usize::from(*from > 0);
        *from -= one;
        one
    })
}

/// How many operands something stands for: an argument that is not known may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl Count {
    pub(crate) const ONE: Self = Self { least: 1, most: 1 };

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            least: self.least + other.least,
            most: self.most + other.most,
        }
    }
}

/// The specs that an operand may fall to with so many `before` it and `behind` it, where it may
/// itself be several. The second value: it may also be one too many.
pub(crate) fn possible_specs(
    specs: &[OperandSpec],
    before: Count,
    own: Count,
    behind: Count,
) -> (Vec<usize>, bool) {
    let mut found = Vec::new();
    let mut surplus = false;
    for first in before.least..=before.most {
        for count in own.least.max(1)..=own.most {
            for after in behind.least..=behind.most {
                for position in first..first + count {
                    match spec_at(specs, position, first + count + after) {
                        Some(index) if !found.contains(&index) => found.push(index),
                        Some(_) => {}
                        None => surplus = true,
                    }
                }
            }
        }
    }
    (found, surplus)
}

/// The specs that stand for operands that are missing when `total` are given.
pub(crate) fn missing(specs: &[OperandSpec], total: usize) -> impl Iterator<Item = &OperandSpec> {
    let filled: Vec<usize> = counts(specs, total).collect();
    specs
        .iter()
        .zip(filled)
        .filter(|(spec, count)| *count == 0 && spec.default.is_some())
        .map(|(spec, _)| spec)
}

/// Where the words of a command of its own may begin, among `operands` so far.
pub(crate) fn command_begins(specs: &[OperandSpec], operands: usize) -> bool {
    let at = specs.iter().position(|spec| spec.role == Role::Command);
    at.is_some_and(|at| operands >= specs[..at].iter().filter(|s| !s.optional).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str, total: usize) -> String {
        let specs = parse(text).unwrap();
        let found = (0..total).map(|at| match spec_at(&specs, at, total) {
            Some(index) => format!("{:?}", specs[index].role).to_lowercase(),
            None => "-".into(),
        });
        found.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn operands_are_assigned_from_both_ends() {
        for (text, total, expected) in [
            ("read... place", 3, "read read place"),
            ("read... place", 1, "place"),
            ("ignore edit...", 3, "ignore edit edit"),
            ("ignore edit...", 1, "ignore"),
            ("[tree=.]", 1, "tree"),
            ("[tree=.]", 2, "tree -"),
            ("read [write]", 2, "read write"),
            ("read [write] ignore", 2, "read ignore"),
            ("", 1, "-"),
        ] {
            assert_eq!(roles(text, total), expected, "{text} with {total}");
        }
    }

    #[test]
    fn a_default_stands_for_what_is_missing() {
        let specs = parse("read [write=out]").unwrap();
        assert_eq!(missing(&specs, 1).count(), 1);
        assert_eq!(missing(&specs, 2).count(), 0);
    }

    #[test]
    fn an_unknown_number_of_operands_leaves_several_roles() {
        let several = Count { least: 0, most: 4 };
        let none = Count { least: 0, most: 0 };
        let specs = parse("ignore edit...").unwrap();
        assert_eq!(
            possible_specs(&specs, none, several, Count::ONE).0,
            vec![0, 1]
        );
        assert_eq!(possible_specs(&specs, Count::ONE, several, none).0, vec![1]);
        let specs = parse("read... place").unwrap();
        let (found, surplus) = possible_specs(&specs, several, Count::ONE, none);
        assert_eq!(found, vec![1]);
        assert!(!surplus);
        assert!(possible_specs(&parse("read").unwrap(), none, several, none).1);
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (text, part) in [
            ("read... write...", "at most one"),
            ("read=.", "[read=.]"),
            ("[read", "closing"),
            ("raed", "the roles are"),
            ("command... read", "the last"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
