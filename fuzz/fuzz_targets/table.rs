//! Any text as a user's table of commands. An error has to name a place in the text, and a rule has
//! to survive any call.
#![no_main]

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, ArgStyle, Handlers, Known, Place, RuleError, Table};
use deployx_plugin_sdk::testing::MemoryView;

const STYLES: [ArgStyle; 5] = [
    ArgStyle::Posix,
    ArgStyle::Strict,
    ArgStyle::Single,
    ArgStyle::Slash,
    ArgStyle::Named,
];

/// Arguments of calls, besides those that stand in the table's own text.
const WORDS: [&str; 8] = ["-x", "--", "--a=b", "/s", "/a:b", "../../..", "a=b", ""];

libfuzzer_sys::fuzz_target!(|text: &str| {
    let style = STYLES[text.len() % STYLES.len()];
    match Table::parse("fuzz.toml", text, style) {
        Ok(table) => {
            if let Err(error) = table.check(&Handlers::new()) {
                in_text(text, &error);
            }
            // In an order that is the same on each run.
            let mut names: Vec<&str> = table.names().collect();
            names.sort_unstable();
            for name in names.into_iter().take(8) {
                call(&table, name, text);
            }
        }
        Err(error) => in_text(text, &error),
    }
});

fn in_text(text: &str, error: &RuleError) {
    let lines = text.split('\n').count();
    assert!(
        (1..=lines).contains(&error.line) && error.column >= 1,
        "{error} is beyond the text"
    );
    assert!(!error.message.is_empty());
}

/// Calls a command with its own table's words, all of them known, and only in part.
fn call(table: &Table, name: &str, text: &str) {
    let rule = table.rule(name.as_bytes());
    let rule = rule.unwrap_or_else(|| panic!("{name:?} is lost"));
    let style = match text.len() % 2 {
        0 => Style::Unix,
        _ => Style::Windows,
    };
    let cwd: &[u8] = match style {
        Style::Unix => b"/srv/app",
        Style::Windows => br"C:\srv\app",
    };
    let view = MemoryView::new(&["/srv/app/a", "/srv/app/b/"]);
    let place = Place {
        style,
        cwd: Some(cwd),
        home: None,
        variable: &|_| None,
        view: &view,
    };
    let own = text
        .split(['"', '\'', ' ', '\n', ','])
        .filter(|w| !w.is_empty());
    let words: Vec<&str> = own.take(32).chain(WORDS).collect();
    for known in [
        Known::Whole,
        Known::Beginning,
        Known::Several,
        Known::Pattern,
    ] {
        let args: Vec<Arg> = words
            .iter()
            .enumerate()
            .map(|(at, word)| Arg {
                text: word.as_bytes().to_vec(),
                // Every other one, so that options are known whose values are not.
                known: if at % 2 == 0 { Known::Whole } else { known },
            })
            .collect();
        let outcome = rule.apply(name, &args, &place, &Handlers::new());
        for used in &outcome.paths {
            let shown = String::from_utf8_lossy(&used.path);
            let normal = style.resolve(&used.path, b"");
            assert!(style.is_absolute(&used.path), "{shown:?} is relative");
            assert_eq!(normal.as_ref(), Some(&used.path), "{shown:?} is not normal");
        }
    }
}
