//! The tables of programs that are built in.

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Table};

/// The files, by name.
const FILES: [(&str, &str); 4] = [
    ("files.toml", include_str!("../rules/files.toml")),
    ("inspection.toml", include_str!("../rules/inspection.toml")),
    ("packages.toml", include_str!("../rules/packages.toml")),
    ("system.toml", include_str!("../rules/system.toml")),
];

/// Programs of Windows, and those that exist under every shell.
pub(crate) fn own() -> Table {
    let common = Table::embedded(deployx_rules_common::TABLES, ArgStyle::Posix);
    let windows = Table::embedded(&FILES, ArgStyle::Slash);
    // Tests read every table; here a broken one only leaves its programs unknown.
    let mut own = Table::new(ArgStyle::Slash);
    for table in [common, windows].into_iter().flatten() {
        own.extend(table);
    }
    own
}

/// Rules in code that tables may name.
pub(crate) fn handlers() -> Handlers {
    Handlers::of(deployx_rules_common::HANDLERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_valid() {
        for (source, toml) in FILES {
            let table = Table::parse(source, toml, ArgStyle::Slash);
            let table = table.unwrap_or_else(|error| panic!("{error}"));
            table
                .check(&handlers())
                .unwrap_or_else(|error| panic!("{error}"));
        }
        assert!(own().rule(b"reg").is_some());
        assert!(own().rule(b"GIT").is_some());
    }
}
