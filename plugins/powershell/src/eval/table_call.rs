//! Calls of commands that tables describe.

use deployx_plugin_sdk::Kind;
use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{ArgStyle, Known, Nested, NestedCommand, Outcome, Place, Rule};

use crate::value::Value;

use super::Evaluator;
use super::arguments::{Call, Given};

/// Cmdlets that take the items that a pipeline passes on as their path.
pub(super) const BY_PIPELINE: [&str; 25] = [
    "add-content",
    "clear-content",
    "clear-item",
    "clear-itemproperty",
    "compress-archive",
    "copy-item",
    "copy-itemproperty",
    "expand-archive",
    "invoke-item",
    "move-item",
    "move-itemproperty",
    "new-itemproperty",
    "protect-file",
    "remove-item",
    "remove-itemproperty",
    "rename-item",
    "rename-itemproperty",
    "set-acl",
    "set-authenticodesignature",
    "set-content",
    "set-item",
    "set-itemproperty",
    "start-transaction",
    "unblock-file",
    "unprotect-file",
];
/// For how many items a block that stands for an argument is run.
const MAX_BOUND: usize = 32;

impl Evaluator<'_> {
    /// Follows a command by the tables.
    pub(super) fn described(&mut self, name: &str, call: &Call) -> Value {
        let rules = self.rules;
        let users = rules
            .users
            .rule(&call.name)
            .or_else(|| rules.users.rule(name.as_bytes()));
        if let Some(rule) = users.or_else(|| rules.cmdlets.rule(name.as_bytes())) {
            self.apply(rule, name, call);
            return self.output_of(name, call);
        }
        self.program(call)
    }

    /// Follows a program.
    pub(super) fn program(&mut self, call: &Call) -> Value {
        let Some(name) = self.program_name(&call.name) else {
            return self.not_understood(call, "what the program does is not known");
        };
        let rules = self.rules;
        let own = match self.style {
            Style::Unix => &rules.unix,
            Style::Windows => &rules.windows,
        };
        let found = rules
            .users
            .rule(name.as_bytes())
            .or_else(|| own.rule(name.as_bytes()))
            .or_else(|| rules.programs.rule(name.as_bytes()));
        let Some(rule) = found else {
            return self.not_understood(call, "unknown command");
        };
        self.apply(rule, &name, call);
        self.script_arguments(call);
        Value::Harmless
    }

    /// The name under which a program is looked up: without the directory and ending where these do
    /// not make it another.
    fn program_name(&self, name: &[u8]) -> Option<String> {
        let text = String::from_utf8(self.separators(name)).ok()?;
        let separator = |c: char| c == '/' || c == '\\';
        let base = match text.rfind(separator) {
            // A program in the tree that is being worked on may be anything.
            Some(_) if !self.style.is_absolute(text.as_bytes()) => return None,
            Some(at) => &text[at + 1..],
            None => text.as_str(),
        };
        if self.style == Style::Unix {
            return Some(base.to_string());
        }
        let lower = base.to_ascii_lowercase();
        let plain = lower
            .strip_suffix(".exe")
            .or_else(|| lower.strip_suffix(".cmd"))
            .unwrap_or(&lower);
        Some(plain.to_string())
    }

    fn apply(&mut self, rule: &Rule, name: &str, call: &Call) {
        if rule.style() != ArgStyle::Named {
            let words = self.words(call);
            let outcome =
                self.outcome(|place| rule.apply(name, &words, place, &self.rules.handlers));
            self.absorb(outcome, call);
            return;
        }
        if call.is_dry() && !call.splatted {
            return;
        }
        if self.bound_by_block(rule, name, call) {
            return;
        }
        if name.eq_ignore_ascii_case("copy-item") {
            self.flattened(call);
        }
        let Some(lists) = self.lists(rule, name, call) else {
            return;
        };
        let outcome =
            self.outcome(|place| rule.apply_lists(name, &lists, place, &self.rules.handlers));
        self.absorb(outcome, call);
        if call.splatted {
            self.not_understood(call, "the arguments are not known");
        } else {
            self.script_arguments(call);
        }
    }

    /// `Copy-Item -Container:$false`: files from any depth arrive directly in the destination.
    fn flattened(&mut self, call: &Call) {
        let bound = call.bind(
            "Path= LiteralPath= PSPath= Destination= Container Force Filter= Include= Exclude= \
             Recurse PassThru Credential= FromSession= ToSession=",
            "Path Destination",
        );
        let kept = matches!(bound.get("Container"), None | Some(Value::Bool(true)));
        if kept || bound.get("ToSession").is_some() {
            return;
        }
        let here = Value::text(".");
        let destination = bound.get("Destination").unwrap_or(&here).clone();
        self.write_tree(&destination, "Copy-Item");
    }

    fn outcome(&self, apply: impl FnOnce(&Place<'_>) -> Outcome) -> Outcome {
        let variable = |name: &str| self.environment_value(name.as_bytes()).string();
        apply(&Place {
            style: self.style,
            cwd: self.cwd.as_deref(),
            home: self.request.home.as_deref(),
            variable: &variable,
            view: self.view,
        })
    }

    /// `… | Rename-Item -NewName { $_.Name + '.bak' }`: the block is run for each item. Whether the
    /// call was one of these.
    fn bound_by_block(&mut self, rule: &Rule, name: &str, call: &Call) -> bool {
        let takes_items = BY_PIPELINE.contains(&name.to_ascii_lowercase().as_str());
        let has_block = call.values().any(|v| matches!(v, Value::Block(_)));
        let Some(input) = call.input.clone().filter(|_| takes_items && has_block) else {
            return false;
        };
        let items = input.elements();
        if items.len() > MAX_BOUND {
            return false;
        }
        for item in items {
            let mut own = call.clone();
            self.variables.insert(b"_".to_vec(), item.clone());
            for given in &mut own.given {
                let value = match given {
                    Given::Value { value, .. } | Given::Parameter(_, Some(value)) => value,
                    Given::Parameter(_, None) => continue,
                };
                if let Value::Block(block) = value {
                    let block = block.clone();
                    *value = self.block(&block.body);
                }
            }
            own.input = Some(item);
            self.apply(rule, name, &own);
        }
        true
    }

    fn absorb(&mut self, outcome: Outcome, call: &Call) {
        let behind_link = outcome.paths.iter().any(|used| {
            let beneath = |link: &Vec<u8>| {
                used.path.len() > link.len() && self.style.starts_with(&used.path, link)
            };
            self.links.iter().any(beneath)
        });
        if behind_link {
            self.not_understood(call, "a path through a link that the line makes");
        }
        if call.name.eq_ignore_ascii_case(b"ln") {
            let missing = |path: &&Vec<u8>| self.kind(path) == Kind::Missing;
            let made = outcome.paths.iter().map(|used| &used.path).filter(missing);
            let made: Vec<Vec<u8>> = made.cloned().collect();
            self.links.extend(made);
        }
        self.answer.paths.extend(outcome.paths);
        for effect in outcome.irreversible {
            if !self.answer.irreversible.contains(&effect) {
                self.answer.irreversible.push(effect);
            }
        }
        self.answer.destructive |= outcome.destructive;
        if !outcome.unclear.is_empty() {
            let reason = outcome.unclear.join("; ");
            self.not_understood(call, &reason);
        }
        for nested in outcome.nested {
            self.nested_command(nested, call);
        }
    }

    fn nested_command(&mut self, nested: Nested, call: &Call) {
        if self.calls > 8 || nested.unknown_arguments_in.is_some() {
            self.not_understood(call, "a command within the command");
            return;
        }
        self.calls += 1;
        let before = self.state();
        if let Some(cwd) = nested.cwd {
            self.cwd = cwd;
        }
        match nested.what {
            NestedCommand::Words(words) => match words.split_first() {
                Some((name, words)) if name.known == Known::Whole => {
                    let given = words.iter().map(|word| Given::Value {
                        value: if word.known == Known::Whole {
                            Value::text(word.text.clone())
                        } else {
                            Value::Unknown
                        },
                        bare: false,
                    });
                    let inner = Call {
                        name: name.text.clone(),
                        given: given.collect(),
                        ..Call::default()
                    };
                    self.program(&inner);
                }
                Some(_) => {
                    self.not_understood(call, "the name of a command is not known");
                }
                None => {}
            },
            NestedCommand::Line { shell, text } => match text.value() {
                Some(line) => {
                    let shell = shell.unwrap_or_else(|| self.request.shell.clone());
                    self.other_shell(&shell, line, call);
                }
                None => {
                    self.not_understood(call, "a line within the command is not known");
                }
            },
        }
        self.restore(before);
        self.calls -= 1;
    }
}
