//! Any text as a user's table of commands. An error has to name a place in the text.
#![no_main]

use deployx_plugin_sdk::table::{ArgStyle, Table};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Table::parse("fuzz.toml", text, ArgStyle::Posix) {
        Ok(table) => {
            for name in table.names() {
                assert!(table.rule(name.as_bytes()).is_some(), "{name:?} is lost");
            }
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!(
                (1..=lines).contains(&error.line) && error.column >= 1,
                "{error} is beyond the text"
            );
            assert!(!error.message.is_empty());
        }
    }
});
