//! The commands that the rule set knows from tables.

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Rule, RuleError, Table};

/// The tables that are built in: each file's name and text.
const TABLES: &[(&str, &str)] = &[
    ("bash/build.toml", include_str!("../rules/build.toml")),
    ("bash/coreutils.toml", include_str!("../rules/coreutils.toml")),
    ("bash/crypto.toml", include_str!("../rules/crypto.toml")),
    ("bash/databases.toml", include_str!("../rules/databases.toml")),
    ("bash/editors.toml", include_str!("../rules/editors.toml")),
    ("bash/files.toml", include_str!("../rules/files.toml")),
    ("bash/inspection.toml", include_str!("../rules/inspection.toml")),
    ("bash/network.toml", include_str!("../rules/network.toml")),
    ("bash/packages.toml", include_str!("../rules/packages.toml")),
    ("bash/prefixes.toml", include_str!("../rules/prefixes.toml")),
    ("bash/shells.toml", include_str!("../rules/shells.toml")),
    ("bash/system.toml", include_str!("../rules/system.toml")),
    ("bash/text.toml", include_str!("../rules/text.toml")),
];

/// Commands by name.
#[derive(Debug)]
pub(crate) struct Commands {
    table: Table,
    handlers: Handlers,
}

impl Commands {
    /// The built-in commands. A built-in table that is not valid leaves its commands out, so that
    /// they are not understood.
    pub(crate) fn new() -> Self {
        let mut table = Table::new(ArgStyle::Posix);
        for file in TABLES {
            if let Ok(commands) = Table::embedded(std::slice::from_ref(file), ArgStyle::Posix) {
                table.extend(commands);
            }
        }
        Self {
            table,
            handlers: Handlers::new(),
        }
    }

    /// Adds a user's commands, which take precedence.
    ///
    /// # Errors
    /// The text is not valid, or names a handler that does not exist.
    pub(crate) fn add(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        let table = Table::parse(source, toml, ArgStyle::Posix)?;
        table.check(&self.handlers)?;
        self.table.extend(table);
        Ok(())
    }

    /// The command of that name.
    pub(crate) fn rule(&self, name: &[u8]) -> Option<&Rule> {
        self.table.rule(name)
    }

    /// The rules in code.
    pub(crate) fn handlers(&self) -> &Handlers {
        &self.handlers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_table_is_valid() {
        if let Err(error) = Table::embedded(TABLES, ArgStyle::Posix) {
            panic!("{error}");
        }
    }
}
