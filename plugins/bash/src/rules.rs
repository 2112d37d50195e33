//! The rule set as the host sees it.

use deployx_plugin_sdk::table::RuleError;
use deployx_plugin_sdk::{FileView, Inference, PathInference, Request, Unclear};

use crate::changed::ChangedView;
use crate::commands::Commands;
use crate::dialect::{Dialect, SHELLS};
use crate::evaluate::Evaluator;
use crate::parse::bound::{LARGE_STACK, Weight, weigh};

/// The rule set for bash and the shells like it.
#[derive(Debug)]
pub struct BashRules {
    commands: Commands,
}

impl Default for BashRules {
    fn default() -> Self {
        Self::new()
    }
}

impl BashRules {
    /// The rule set with its built-in commands.
    pub fn new() -> Self {
        Self {
            commands: Commands::new(),
        }
    }

    /// Adds commands in the table form; they take precedence over the built-in ones.
    ///
    /// # Errors
    /// The text is not valid.
    pub fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        self.commands.add(source, toml)
    }

    fn read(&self, request: &Request, view: &dyn FileView, weight: Weight) -> Inference {
        let readings = Dialect::readings(&request.shell).unwrap_or(&[Dialect::Bash]);
        let mut inferences = readings.iter().map(|dialect| {
            let view = ChangedView::new(view);
            Evaluator::new(&self.commands, request, &view, *dialect, weight).line()
        });
        let first = inferences.next().unwrap_or_default();
        inferences.fold(first, unite)
    }
}

impl PathInference for BashRules {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn shells(&self) -> &[&str] {
        SHELLS
    }

    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        let weight = match weigh(&request.command) {
            Ok(weight) => weight,
            Err(reason) => return not_read(request, &reason),
        };
        if weight == Weight::Light {
            return self.read(request, view, weight);
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(LARGE_STACK);
            let thread = thread.spawn_scoped(scope, || self.read(request, view, weight));
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(inference)) => inference,
                Ok(Err(_)) => not_read(request, "reading the line failed"),
                Err(_) => not_read(request, "there is not enough memory to read the line"),
            }
        })
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        self.commands.add(source, toml)
    }
}

fn not_read(request: &Request, reason: &str) -> Inference {
    let mut inference = Inference {
        unclear: vec![Unclear {
            text: request.command.clone(),
            cwd: None,
            reason: reason.into(),
        }],
        ..Inference::default()
    };
    inference.session.unknown = true;
    inference
}

/// What holds where the shell reads the line in one way or the other.
fn unite(mut one: Inference, other: Inference) -> Inference {
    for path in other.paths {
        if !one.paths.contains(&path) {
            one.paths.push(path);
        }
    }
    for unclear in other.unclear {
        if !one.unclear.contains(&unclear) {
            one.unclear.push(unclear);
        }
    }
    for effect in other.irreversible {
        if !one.irreversible.contains(&effect) {
            one.irreversible.push(effect);
        }
    }
    if one.cwd_after != other.cwd_after {
        one.cwd_after = None;
    }
    one.destructive |= other.destructive;
    let (session, more) = (&mut one.session, other.session);
    for (names, more) in [
        (&mut session.assigned, more.assigned),
        (&mut session.redefined, more.redefined),
    ] {
        names.extend(more);
        names.sort();
        names.dedup();
    }
    session.options_changed |= more.options_changed;
    session.unknown |= more.unknown;
    one
}
