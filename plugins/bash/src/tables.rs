//! The commands that the rule set knows, as they are built in.

use deployx_plugin_sdk::table::{ArgStyle, RuleError, Table};

/// The tables of programs that are particular to Unix: each file's name and its text.
pub const TABLES: &[(&str, &str)] = &[
    ("build.toml", include_str!("../rules/build.toml")),
    ("coreutils.toml", include_str!("../rules/coreutils.toml")),
    ("crypto.toml", include_str!("../rules/crypto.toml")),
    ("databases.toml", include_str!("../rules/databases.toml")),
    ("editors.toml", include_str!("../rules/editors.toml")),
    ("files.toml", include_str!("../rules/files.toml")),
    ("inspection.toml", include_str!("../rules/inspection.toml")),
    ("network.toml", include_str!("../rules/network.toml")),
    ("packages.toml", include_str!("../rules/packages.toml")),
    ("prefixes.toml", include_str!("../rules/prefixes.toml")),
    ("shells.toml", include_str!("../rules/shells.toml")),
    ("system.toml", include_str!("../rules/system.toml")),
    ("text.toml", include_str!("../rules/text.toml")),
];

/// Every command that is built in, those of all shells included.
///
/// # Errors
/// A mistake in a table.
pub fn embedded() -> Result<Table, RuleError> {
    let files: Vec<(&str, &str)> = [deployx_rules_common::TABLES, TABLES].concat();
    Table::embedded(&files, ArgStyle::Posix)
}
