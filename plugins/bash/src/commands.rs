//! The commands that the rule set knows from tables.

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Rule, RuleError, Table};

use crate::{handlers, tables};

/// Commands by name.
#[derive(Debug)]
pub(crate) struct Commands {
    table: Table,
    handlers: Handlers,
}

impl Commands {
    /// The built-in commands. Without their tables nothing would be understood; a test sees to it
    /// that these are valid.
    pub(crate) fn new() -> Self {
        Self {
            table: tables::embedded().unwrap_or_else(|_| Table::new(ArgStyle::Posix)),
            handlers: handlers::all(),
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
        if let Err(error) = tables::embedded() {
            panic!("{error}");
        }
    }
}
