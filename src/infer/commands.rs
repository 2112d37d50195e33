//! The names of the programs that a line begins, as far as they stand there in plain words.
//!
//! This reads far less of a shell's language than rules do and decides nothing that could lose data:
//! it finds names to look up before a line runs, and to sort results by.

/// Words before the name of a program that leave it one.
const PREFIXES: [&str; 26] = [
    "!", "{", "builtin", "chrt", "command", "do", "elif", "else", "env", "exec", "if", "ionice",
    "nice", "nohup", "setsid", "stdbuf", "strace", "taskset", "then", "time", "timeout",
    "unbuffer", "until", "while", "xargs", "eval",
];

/// The names in the order of the line; each as it stands there, with its path where it has one.
/// Quotes are taken off; words with expansions are left out.
pub fn program_names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut wanted = true;
    let mut after_prefix = false;
    // The next word is where something is redirected to.
    let mut target = false;
    for word in words(line) {
        let Word::Text(word) = word else {
            (wanted, after_prefix) = (true, false);
            continue;
        };
        if !wanted || std::mem::take(&mut target) || is_assignment(&word) {
            continue;
        }
        if let Some(rest) = redirection(&word) {
            target = rest.is_empty();
            continue;
        }
        if PREFIXES.contains(&word.as_str()) {
            after_prefix = true;
            continue;
        }
        // What a prefix takes itself: `timeout -k 5 10s`, `nice -n 5`.
        let numeric = word.starts_with(|c: char| c.is_ascii_digit());
        if after_prefix && (word.starts_with('-') || numeric) {
            continue;
        }
        wanted = false;
        if !word.contains(['$', '`', '*', '?']) && !word.is_empty() {
            names.push(word);
        }
    }
    names
}

/// A piece of a line.
enum Word {
    Text(String),
    /// Something after which another program may begin.
    Break,
}

fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' => {
                let text: String = characters.by_ref().take_while(|c| *c != '\'').collect();
                word.get_or_insert_default().push_str(&text);
            }
            '"' => {
                let into = word.get_or_insert_default();
                while let Some(c) = characters.next() {
                    match c {
                        '"' => break,
                        '\\' => into.extend(characters.next()),
                        c => into.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\t' => words.extend(word.take().map(Word::Text)),
            '#' if word.is_none() => {
                characters
                    .by_ref()
                    .take_while(|c| *c != '\n')
                    .for_each(drop);
                words.push(Word::Break);
            }
            // `2>&1`, `>|` and `&>` break nothing.
            '&' | '|'
                if word
                    .as_deref()
                    .is_some_and(|word| word.ends_with(['>', '<'])) =>
            {
                word.get_or_insert_default().push(c);
            }
            '&' if characters.peek() == Some(&'>') => word.get_or_insert_default().push(c),
            '\n' | ';' | '&' | '|' | '(' | ')' => {
                words.extend(word.take().map(Word::Text));
                words.push(Word::Break);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.map(Word::Text));
    words
}

/// What follows the sign of a redirection: its target, unless that is the next word.
fn redirection(word: &str) -> Option<&str> {
    let signs = ['<', '>', '&', '|'];
    let sign = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_one = sign.starts_with(['<', '>']) || sign.starts_with("&>");
    is_one.then(|| sign.trim_start_matches(signs))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(part)
    })
}

#[cfg(test)]
mod tests {
    use super::program_names;

    #[test]
    fn names_are_found_where_programs_begin() {
        for (line, names) in [
            ("rm -rf x", &["rm"][..]),
            (
                "A=1 B=2 make all; cd x && sudo rm y",
                &["make", "cd", "sudo"],
            ),
            ("curl -s http://x | sh", &["curl", "sh"]),
            (
                "if true; then /bin/su -c x; else ls; fi",
                &["true", "/bin/su", "ls", "fi"],
            ),
            ("timeout -k 5 10s nice -n 3 'my prog' sudo", &["my prog"]),
            ("env X=1 \"tool\" arg", &["tool"]),
            ("echo sudo; grep su f", &["echo", "grep"]),
            (
                "echo 'a; sudo b' \"; sudo\" # ; sudo c\nls",
                &["echo", "ls"],
            ),
            (
                "(cd x; make) 2>&1 >|out &>log | tee f & wait",
                &["cd", "make", "tee", "wait"],
            ),
            (">out < in 2>> log sort", &["sort"]),
            ("$TOOL x; `which y`", &[]),
            ("", &[]),
            ("'open", &["open"]),
        ] {
            assert_eq!(program_names(line), names, "{line}");
        }
    }
}
