//! The rule set for `cmd.exe`: says which paths a command line touches.
//!
//! It reads lines the way `cmd` does, in its phases: variables in percent signs, then operators,
//! quotes and carets, then the variables of loops. Paths are those of Windows on any host. A line is
//! taken as one given to `cmd /c` or typed; forms that only stand in batch files are taken too.

mod builtins;
mod cell;
mod eval;
mod names;
mod parse;
mod parse_keywords;
mod percent;
mod rules;
mod syntax;
mod words;

use std::sync::Arc;

use deployx_plugin_sdk::table::{ArgStyle, Handlers, Rule, RuleError, Table};
use deployx_plugin_sdk::{FileView, Inference, PathInference, Request};

use eval::{Evaluator, World};
use percent::Variable;

/// The longest line that is looked at, in bytes. `cmd` itself takes 8191.
const MAX_LINE: usize = 48 << 10;
/// The longest that a line may become when its variables are replaced.
const MAX_EXPANDED: usize = 64 << 10;

/// Reads a line of another shell that stands in a line of `cmd`. `None` where that shell is not known.
pub type NestedShell = dyn Fn(&Request, &dyn FileView) -> Option<Inference> + Send + Sync;

/// The rule set for `cmd.exe`.
///
/// ```
/// use deployx_plugin_sdk::testing::MemoryView;
/// use deployx_plugin_sdk::{PathInference, Request};
/// use deployx_rules_cmd::CmdRules;
///
/// let view = MemoryView::new(&[r"C:\srv\build\a.obj", r"C:\srv\build\a.txt"]);
/// let request = Request {
///     shell: "cmd".into(),
///     command: br"del /q build\*.obj".to_vec(),
///     cwd: br"C:\srv".to_vec(),
///     ..Request::default()
/// };
/// let inference = CmdRules::new().infer(&request, &view);
/// assert!(inference.unclear.is_empty());
/// assert!(inference.paths.iter().any(|path| path.path == br"C:\srv\build\a.obj"));
/// ```
pub struct CmdRules {
    own: Table,
    user: Table,
    handlers: Handlers,
    nested: Option<Arc<NestedShell>>,
}

impl Default for CmdRules {
    fn default() -> Self {
        Self::new()
    }
}

impl CmdRules {
    /// The rules that come with the program.
    pub fn new() -> Self {
        Self {
            own: rules::own(),
            user: Table::new(ArgStyle::Slash),
            handlers: rules::handlers(),
            nested: None,
        }
    }

    /// With a way to read lines of other shells (`powershell -Command …`). Without one, such lines
    /// are not understood.
    #[must_use]
    pub fn with_nested(mut self, nested: Arc<NestedShell>) -> Self {
        self.nested = Some(nested);
        self
    }

    fn user_rule(&self, name: &[u8]) -> Option<&Rule> {
        self.user.rule(name)
    }

    fn own_rule(&self, name: &[u8]) -> Option<&Rule> {
        self.own.rule(name)
    }
}

impl PathInference for CmdRules {
    fn name(&self) -> &'static str {
        "cmd"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn shells(&self) -> &'static [&'static str] {
        &["cmd"]
    }

    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        let mut evaluator = Evaluator::new(self, request, view);
        if request.command.len() > MAX_LINE {
            evaluator.add_unclear(request.command.clone(), None, "the line is too long");
            return evaluator.out;
        }
        if request.command.contains(&0) {
            evaluator.add_unclear(request.command.clone(), None, "the line has a NUL byte");
            return evaluator.out;
        }
        let expanded = {
            // Later lines of one text see what earlier ones did, which is not followed here.
            let line = request.command.trim_ascii();
            let lines = line.contains(&b'\n');
            let changing = lines && line.windows(3).any(|w| w.eq_ignore_ascii_case(b"set"));
            let lookup = |name: &str| variable(&evaluator, name, lines, changing);
            percent::expand(&request.command, &lookup, MAX_EXPANDED)
        };
        let Some(cells) = expanded else {
            evaluator.add_unclear(request.command.clone(), None, "the line becomes too long");
            return evaluator.out;
        };
        let (list, error) = parse::parse(&cells);
        if let Some(error) = error {
            evaluator.add_unclear(request.command.clone(), None, error);
        }
        let start = World::new(Some(request.cwd.clone()));
        let after = evaluator.list(&list, &[start]).all();
        let mut out = evaluator.out;
        let mut directories: Vec<_> = after.into_iter().map(|world| world.cwd).collect();
        directories.dedup();
        if let [Some(only)] = directories.as_slice() {
            out.cwd_after = Some(only.clone());
        }
        tidy(&mut out);
        out
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        let table = Table::parse(source, toml, ArgStyle::Slash)?;
        table.check(&self.handlers)?;
        self.user.extend(table);
        Ok(())
    }
}

#[cfg(feature = "plugin")]
deployx_plugin_sdk::export_plugin!(CmdRules::new);

/// What a variable is when a line begins. `lines`: there is more than one; `changing`: they may set
/// variables.
fn variable(evaluator: &Evaluator<'_>, name: &str, lines: bool, changing: bool) -> Variable {
    let request = evaluator.request;
    let lower = name.to_lowercase();
    if lower == "cd" && !lines && !request.cwd.is_empty() {
        return Variable::Known(request.cwd.clone());
    }
    if changing {
        return Variable::Unknown;
    }
    match evaluator.environment(name) {
        Some(value) => Variable::Known(value),
        None if TAME.contains(&lower.as_str()) => Variable::Tame,
        None => Variable::Unknown,
    }
}

/// Variables that the system sets, to values without operators.
const TAME: [&str; 38] = [
    "allusersprofile",
    "appdata",
    "cd",
    "cmdextversion",
    "commonprogramfiles",
    "commonprogramfiles(x86)",
    "commonprogramw6432",
    "computername",
    "comspec",
    "date",
    "errorlevel",
    "highestnumanodenumber",
    "homedrive",
    "homepath",
    "localappdata",
    "logonserver",
    "number_of_processors",
    "os",
    "path",
    "pathext",
    "processor_architecture",
    "processor_identifier",
    "processor_level",
    "processor_revision",
    "programdata",
    "programfiles",
    "programfiles(x86)",
    "programw6432",
    "public",
    "random",
    "sessionname",
    "systemdrive",
    "systemroot",
    "temp",
    "time",
    "tmp",
    "userdomain",
    "username",
];

/// Each path once, with its greatest depth.
fn tidy(out: &mut Inference) {
    out.paths.sort_by(|a, b| {
        (&a.path, a.follow, b.depth, b.certainty).cmp(&(&b.path, b.follow, a.depth, a.certainty))
    });
    out.paths
        .dedup_by(|later, kept| later.path == kept.path && later.follow == kept.follow);
}
