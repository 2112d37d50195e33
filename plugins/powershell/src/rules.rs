//! The tables of commands that are built in.

use deployx_plugin_sdk::table::{ArgStyle, Table};

const CMDLETS: [(&str, &str); 4] = [
    ("content.toml", include_str!("../rules/content.toml")),
    ("items.toml", include_str!("../rules/items.toml")),
    ("readers.toml", include_str!("../rules/readers.toml")),
    ("system.toml", include_str!("../rules/system.toml")),
];
const PROGRAMS: [(&str, &str); 1] = [("programs.toml", include_str!("../rules/programs.toml"))];
const UNIX: [(&str, &str); 1] = [("unix.toml", include_str!("../rules/unix.toml"))];
const WINDOWS: [(&str, &str); 1] = [("windows.toml", include_str!("../rules/windows.toml"))];

/// Cmdlets.
pub(crate) fn cmdlets() -> Table {
    read(&CMDLETS, ArgStyle::Named)
}

/// Programs that there are on every system.
pub(crate) fn programs() -> Table {
    read(&PROGRAMS, ArgStyle::Posix)
}

/// Programs of Unix.
pub(crate) fn unix() -> Table {
    read(&UNIX, ArgStyle::Posix)
}

/// Programs of Windows.
pub(crate) fn windows() -> Table {
    read(&WINDOWS, ArgStyle::Slash)
}

/// A file that cannot be read leaves its commands unknown; a test sees to it that all can.
fn read(files: &[(&'static str, &'static str)], style: ArgStyle) -> Table {
    Table::embedded(files, style).unwrap_or_else(|_| Table::new(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_rule_is_valid() {
        for (files, style) in [
            (&CMDLETS[..], ArgStyle::Named),
            (&PROGRAMS, ArgStyle::Posix),
            (&UNIX, ArgStyle::Posix),
            (&WINDOWS, ArgStyle::Slash),
        ] {
            let mut names = Vec::new();
            for (source, text) in files {
                let table = Table::parse(source, text, style).unwrap();
                table.check(&crate::handlers::all()).unwrap();
                for name in table.names() {
                    assert!(!names.contains(&name.to_lowercase()), "{name} stands twice");
                    names.push(name.to_lowercase());
                }
            }
            let embedded = Table::embedded(files, style).unwrap();
            embedded.check(&crate::handlers::all()).unwrap();
        }
    }

    #[test]
    fn there_are_enough_cmdlets() {
        let count = cmdlets().names().count();
        assert!(count >= 120, "{count}");
    }
}
