//! The tables of programs that are built in.

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Table};

/// The files, by name.
const FILES: [(&str, &str); 1] = [("rules/system.toml", include_str!("../rules/system.toml"))];

/// Programs of Windows.
pub(crate) fn own() -> Table {
    Table::embedded(&FILES, ArgStyle::Slash).unwrap_or_else(|_| Table::new(ArgStyle::Slash))
}

/// Rules in code that tables may name.
pub(crate) fn handlers() -> Handlers {
    Handlers::of(&[])
}
