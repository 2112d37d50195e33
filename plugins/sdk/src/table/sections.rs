//! Finds the commands of a file without reading it in full: built-in tables are large, and a process
//! that reads one line needs a few commands.

/// The part of a file that describes one command or subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// From the header on.
    pub(crate) text: &'static str,
    /// How many lines of the file come before.
    pub(crate) lines_before: usize,
}

/// A header: `[a.sub.b]` has the components `a`, `sub` and `b`.
struct Header {
    components: [&'static str; 3],
    count: usize,
    /// Whether the header ends behind them.
    ends: bool,
}

/// The sections of `text`, in order. `name` is told every name of the section that is found next.
///
/// Headers and `same` must begin their lines, and all of a command must stand together.
///
/// # Errors
/// The line (from 1) and what would be right.
pub(crate) fn find(
    text: &'static str,
    mut name: impl FnMut(&'static str, usize),
) -> Result<Vec<Section>, (usize, String)> {
    let mut found: Vec<Section> = Vec::new();
    let mut last = None;
    let (mut start, mut at) = (0, 0);
    // Whether the line stands in `[name]` itself, not in one of its parts.
    let mut in_head = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let here = at;
        at += line.len();
        let first = line.as_bytes()[0];
        if first == b'['
            && let Some(header) = header(line)
        {
            in_head = header.ends && header.count == 1;
            if last.replace(header.components[0]) == last {
                continue;
            }
            end(&mut found, &text[start..here]);
            start = here;
            found.push(Section {
                text: "",
                lines_before: number,
            });
            name(header.components[0], found.len() - 1);
        } else if in_head && first == b's' && line.starts_with("same") {
            for other in same(&text[here..]).ok_or((number + 1, no_same()))? {
                name(other, found.len() - 1);
            }
        } else if found.is_empty() && !line.trim_start().is_empty() && first != b'#' {
            return Err((number + 1, "a command is a table: [name]".into()));
        }
    }
    end(&mut found, &text[start..]);
    Ok(found)
}

/// A subcommand with its names, the first one its own.
pub(crate) type Sub = (Vec<&'static str>, Section);

/// A command's section without its subcommands, and these. `None` where they do not stand apart.
pub(crate) fn split(section: Section) -> Option<(Section, Vec<Sub>)> {
    let text = section.text;
    let mut subs: Vec<Sub> = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut head = text;
    let mut in_head = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let here = at;
        at += line.len();
        if line.starts_with('[')
            && let Some(header) = header(line)
        {
            if header.count < 3 || header.components[1] != "sub" {
                if subs.is_empty() && header.components[1] != "sub" {
                    continue;
                }
                return None;
            }
            in_head = header.ends;
            let name = header.components[2];
            if subs.last().is_some_and(|(names, _)| names[0] == name) {
                continue;
            }
            if subs.iter().any(|(names, _)| names[0] == name) {
                return None;
            }
            match subs.last_mut() {
                Some((_, last)) => last.text = &text[start..here],
                None => head = &text[..here],
            }
            start = here;
            let lines_before = section.lines_before + number;
            subs.push((
                vec![name],
                Section {
                    text: "",
                    lines_before,
                },
            ));
        } else if in_head && line.starts_with("same") {
            subs.last_mut()?.0.extend(same(&text[here..])?);
        }
    }
    if let Some((_, last)) = subs.last_mut() {
        last.text = &text[start..];
    }
    let head = Section {
        text: head,
        ..section
    };
    Some((head, subs))
}

fn end(found: &mut [Section], text: &'static str) {
    if let Some(section) = found.last_mut() {
        section.text = text;
    }
}

fn no_same() -> String {
    "write the other names as a list: same = [\"x\"]".into()
}

/// The first components of a header.
fn header(line: &'static str) -> Option<Header> {
    let mut rest = line.strip_prefix('[')?;
    let mut header = Header {
        components: [""; 3],
        count: 0,
        ends: false,
    };
    for component in &mut header.components {
        rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (name, behind) = match quote {
            Some(quote) => rest[1..].split_once(quote)?,
            None => rest.split_at(rest.find(|c: char| !is_bare(c))?),
        };
        if name.is_empty() {
            return None;
        }
        *component = name;
        header.count += 1;
        rest = behind.trim_start();
        header.ends = rest.starts_with(']');
        if header.ends {
            break;
        }
        rest = rest.strip_prefix('.')?;
    }
    Some(header)
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

    fn names(text: &'static str) -> Result<Vec<(&'static str, usize)>, (usize, String)> {
        let mut names = Vec::new();
        find(text, |name, at| names.push((name, at))).map(|_| names)
    }

    #[test]
    fn a_section_has_all_of_a_command() {
        let text = "# rules\n\n[rm]\nsame = [\"unlink\", # or\n  'del']\n[rm.when.\"-x\"]\nsame = 1\n[\"g++\"]\nx = [\n \"a\",\n]\n";
        assert_eq!(
            names(text).unwrap(),
            [("rm", 0), ("unlink", 0), ("del", 0), ("g++", 1)]
        );
        let found = find(text, |_, _| {}).unwrap();
        assert!(found[0].text.starts_with("[rm]") && found[0].text.ends_with("same = 1\n"));
        assert_eq!(found[0].lines_before, 2);
        assert_eq!(found[1].lines_before, 7);
    }

    #[test]
    fn subcommands_stand_apart() {
        let text = "[a]\nx = 1\n[a.when.\"-v\"]\n[a.sub.b]\nsame = [\"c\"]\n[a.sub.b.sub.d]\n[a.sub.\"*\"]\n";
        let section = find(text, |_, _| {}).unwrap()[0];
        let (head, subs) = split(section).unwrap();
        assert_eq!(head.text, "[a]\nx = 1\n[a.when.\"-v\"]\n");
        assert_eq!(subs.len(), 2);
        assert_eq!(subs[0].0, ["b", "c"]);
        assert_eq!(
            subs[0].1.text,
            "[a.sub.b]\nsame = [\"c\"]\n[a.sub.b.sub.d]\n"
        );
        assert_eq!((subs[1].0[0], subs[1].1.lines_before), ("*", 6));
        for text in [
            "[a.sub.b]\n[a.when.x]\n",
            "[a.sub.b]\n[a.sub.c]\n[a.sub.b.when.x]\n",
            "[a.sub]\n",
        ] {
            let section = find(text, |_, _| {}).unwrap()[0];
            assert!(split(section).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(names("x = 1\n").unwrap_err().0, 1);
        assert_eq!(names("[a]\nsame = 1\n").unwrap_err().0, 2);
        assert_eq!(names("[a]\nsame = [\"x\"").unwrap_err().0, 2);
        assert_eq!(names("").unwrap(), []);
    }
}
