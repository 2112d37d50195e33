//! Finds the commands of a file without reading it in full: built-in tables are large, and a process
//! that reads one line needs a few commands.

use std::borrow::Cow;

/// The part of a file that describes one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// From the header on.
    pub(crate) text: &'static str,
    /// How many lines of the file come before.
    pub(crate) lines_before: usize,
}

/// A section with the names of its command, the first one its own.
pub(crate) type Found = (Vec<Cow<'static, str>>, Section);

/// The sections of `text`, in order.
///
/// Headers and `same` must begin their lines, and all of a command must stand together.
///
/// # Errors
/// The line (from 1) and what would be right.
pub(crate) fn find(text: &'static str) -> Result<Vec<Found>, (usize, String)> {
    let mut found: Vec<Found> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    // Whether the line stands in `[name]` itself, not in one of its parts.
    let mut in_head = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let here = at;
        at += line.len();
        if let Some((name, head)) = header(line) {
            in_head = head;
            if found.last().is_some_and(|(names, _)| names[0] == name) {
                continue;
            }
            end(&mut found, &text[start..here]);
            start = here;
            let lines_before = number;
            found.push((
                vec![name],
                Section {
                    text: "",
                    lines_before,
                },
            ));
        } else if in_head && line.starts_with("same") {
            let names = same(&text[here..]).ok_or((number + 1, no_same()))?;
            if let Some((all, _)) = found.last_mut() {
                all.extend(names.into_iter().map(Cow::Borrowed));
            }
        } else if found.is_empty() && !matches!(line.trim_start().chars().next(), None | Some('#'))
        {
            return Err((number + 1, "a command is a table: [name]".into()));
        }
    }
    end(&mut found, &text[start..]);
    Ok(found)
}

fn end(found: &mut [Found], text: &'static str) {
    if let Some((_, section)) = found.last_mut() {
        section.text = text;
    }
}

fn no_same() -> String {
    "write the other names as a list: same = [\"x\"]".into()
}

/// The command that a header belongs to, and whether it is the command's own.
fn header(line: &'static str) -> Option<(Cow<'static, str>, bool)> {
    let rest = line.strip_prefix('[')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (name, behind) = match quote {
        Some(quote) => rest[1..].split_once(quote)?,
        None => rest.split_at(rest.find(|c: char| !is_bare(c))?),
    };
    let behind = behind.trim_start();
    let head = behind.starts_with(']');
    (!name.is_empty() && (head || behind.starts_with('.'))).then_some((Cow::Borrowed(name), head))
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The strings of the list that `same = ["a", "b"]` at the beginning of `text` holds.
fn same(text: &'static str) -> Option<Vec<&'static str>> {
    let list = text.strip_prefix("same")?.trim_start().strip_prefix('=')?;
    let mut rest = list.trim_start().strip_prefix('[')?;
    let mut names = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        match rest.chars().next()? {
            ']' => return Some(names),
            '#' => rest = rest.split_once('\n')?.1,
            quote @ ('"' | '\'') => {
                let (name, behind) = rest[1..].split_once(quote)?;
                names.push(name);
                rest = behind;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_all_of_a_command() {
        let text = "# rules\n\n[rm]\nsame = [\"unlink\", # or\n  'del']\n[rm.when.\"-x\"]\nsame = 1\n[\"g++\"]\nx = [\n \"a\",\n]\n";
        let found = find(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, ["rm", "unlink", "del"]);
        assert!(found[0].1.text.starts_with("[rm]") && found[0].1.text.ends_with("same = 1\n"));
        assert_eq!(found[0].1.lines_before, 2);
        assert_eq!(found[1].0, ["g++"]);
        assert_eq!(found[1].1.lines_before, 7);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(find("x = 1\n").unwrap_err().0, 1);
        assert_eq!(find("[a]\nsame = 1\n").unwrap_err().0, 2);
        assert_eq!(find("[a]\nsame = [\"x\"").unwrap_err().0, 2);
        assert_eq!(find("").unwrap(), []);
    }
}
