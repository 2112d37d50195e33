//! The examples in the documents are valid.

use super::*;

const RULES_MD: &str = include_str!("../../../../../src/docs/rules.md");

#[test]
fn examples_are_valid() {
    let mut count = 0;
    for example in RULES_MD.split("```toml\n").skip(1) {
        let (example, _) = example.split_once("```").unwrap();
        let style = match example.lines().next() {
            Some("# cmd.toml") => ArgStyle::Slash,
            Some("# powershell.toml") => ArgStyle::Named,
            _ => ArgStyle::Posix,
        };
        if let Err(error) = Table::parse("rules.md", example, style) {
            panic!("{error}\n{example}");
        }
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn the_first_example_does_what_it_says() {
    let example = RULES_MD.split("```toml\n").nth(1).unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let line = words("release -o app.tar src");
    let found = outcome_of(example, Some("/srv/app"), &line);
    // Nothing of it exists yet: what is made on the way is covered, too.
    let expected = "->/var/lib/releases/** ->app.tar/** /var/**";
    assert_eq!(paths(&found), expected);
    assert!(found.unclear.is_empty());
}

/// The form in the module's documentation, which is a doc comment.
#[test]
fn the_form_in_the_documentation_is_valid() {
    let source = include_str!("../mod.rs");
    let text: String = source
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| {
            line.strip_prefix("//!")
                .unwrap_or(line)
                .trim_start()
                .to_string()
                + "\n"
        })
        .collect();
    let table = Table::parse("mod.rs", &text, ArgStyle::Posix).unwrap();
    assert!(
        table
            .rule(b"apt-get")
            .unwrap()
            .subcommand(b"reinstall")
            .is_some()
    );
}
