//! Reads command lines of PowerShell, Windows PowerShell (`powershell`) and PowerShell 7 (`pwsh`),
//! and says which paths they touch.
//!
//! Paths are of Windows where the shell is `powershell` or the working directory begins with a
//! drive or a share, else of Unix: the shell decides, not the host.

mod aliases;
mod eval;
mod handlers;
mod rules;
mod syntax;
mod value;
mod wildcard;

use std::fmt;
use std::sync::Arc;

use deployx_plugin_sdk::table::{ArgStyle, Handlers, RuleError, Table};
use deployx_plugin_sdk::{FileView, Inference, PathInference, Request};

use eval::Evaluator;

#[cfg(feature = "plugin")]
deployx_plugin_sdk::export_plugin!(PowerShellRules::new);

/// Reads a line of another shell: the request with that shell's name, line and working directory.
/// `None` where there are no rules for it.
pub type NestedShell = dyn Fn(&Request, &dyn FileView) -> Option<Inference> + Send + Sync;

/// The rules for PowerShell.
///
/// ```
/// use deployx_plugin_sdk::testing::MemoryView;
/// use deployx_plugin_sdk::{PathInference, Request};
/// use deployx_rules_powershell::PowerShellRules;
///
/// let request = Request {
///     shell: "powershell".into(),
///     command: br"Remove-Item .\build -Recurse".to_vec(),
///     cwd: br"C:\srv".to_vec(),
///     ..Request::default()
/// };
/// let answer = PowerShellRules::new().infer(&request, &MemoryView::new(&[r"C:\srv\build\a"]));
/// assert!(answer.unclear.is_empty());
/// assert!(answer.paths.iter().any(|used| used.path == br"C:\srv\build"));
/// ```
pub struct PowerShellRules {
    /// Cmdlets, and programs by name in lower case.
    cmdlets: Table,
    programs: Table,
    /// Programs of one kind of system.
    unix: Table,
    windows: Table,
    users: Table,
    handlers: Handlers,
    nested: Option<Arc<NestedShell>>,
}

impl PowerShellRules {
    /// The rules that are built in.
    pub fn new() -> Self {
        Self {
            cmdlets: rules::cmdlets(),
            programs: rules::programs(),
            unix: rules::unix(),
            windows: rules::windows(),
            users: Table::new(ArgStyle::Named),
            handlers: handlers::all(),
            nested: None,
        }
    }

    /// The same, with `nested` for lines of other shells (`cmd /c "…"`). Without it such lines are
    /// not understood.
    #[must_use]
    pub fn with_nested(mut self, nested: Arc<NestedShell>) -> Self {
        self.nested = Some(nested);
        self
    }
}

impl Default for PowerShellRules {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PowerShellRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerShellRules").finish_non_exhaustive()
    }
}

impl PathInference for PowerShellRules {
    fn name(&self) -> &'static str {
        "powershell"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn shells(&self) -> &[&str] {
        &["powershell", "pwsh"]
    }

    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        Evaluator::new(self, request, view).run()
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        let table = Table::parse(source, toml, ArgStyle::Named)?;
        table.check(&self.handlers)?;
        self.users.extend(table);
        Ok(())
    }
}
