//! The tables as they are: each is read to its end, not only when one of its commands is asked for.

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Table};
use deployx_rules_common::{HANDLERS, TABLES};

#[test]
fn every_table_is_valid_as_a_whole() {
    let handlers = Handlers::of(HANDLERS);
    for (source, toml) in TABLES {
        let table = Table::parse(source, toml, ArgStyle::Posix);
        let table = table.unwrap_or_else(|error| panic!("{error}"));
        let checked = table.check(&handlers);
        checked.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_table_can_be_read_command_by_command() {
    let table = Table::embedded(TABLES, ArgStyle::Posix).unwrap_or_else(|error| panic!("{error}"));
    let checked = table.check(&Handlers::of(HANDLERS));
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_command_is_described_twice() {
    let mut seen = std::collections::BTreeMap::new();
    for (source, toml) in TABLES {
        let table = Table::parse(source, toml, ArgStyle::Posix).unwrap();
        for name in table.names() {
            if let Some(other) = seen.insert(name.to_string(), source) {
                panic!("{name} stands in {other} and in {source}");
            }
        }
    }
}
