//! Calls of commands that tables describe.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{
    Arg, ArgStyle, Known, Nested, NestedCommand, OptionSpec, Outcome, Place, Role, Rule,
    Value as Takes,
};

use crate::value::Value;

use super::Evaluator;
use super::arguments::{Call, Given, begins, common_parameter};
use super::location::Drive;

/// Cmdlets that take the items that a pipeline passes on as their path.
const BY_PIPELINE: [&str; 25] = [
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

    /// The arguments of a cmdlet; `None` where it works on another provider.
    fn lists(&mut self, rule: &Rule, name: &str, call: &Call) -> Option<Vec<Vec<Arg>>> {
        let mut lists: Vec<Vec<Arg>> = Vec::new();
        let named: Vec<&OptionSpec> = call
            .given
            .iter()
            .filter_map(|given| match given {
                Given::Parameter(name, _) => find(rule, name),
                Given::Value { .. } => None,
            })
            .collect();
        let mut free: Vec<&OptionSpec> = rule
            .options()
            .iter()
            .filter(|spec| spec.position.is_some())
            .filter(|spec| !named.iter().any(|other| std::ptr::eq(*other, *spec)))
            .collect();
        free.sort_by_key(|spec| spec.position);
        let mut free = free.into_iter();
        let mut bound_to = named.clone();
        let mut path_given = named.iter().any(|spec| is_path(spec));
        let mut given = call.given.iter().peekable();
        while let Some(next) = given.next() {
            match next {
                Given::Parameter(parameter, value) => {
                    let spec = find(rule, parameter);
                    let takes = spec.map_or_else(
                        || {
                            let shown = String::from_utf8_lossy(parameter);
                            common_parameter(&shown).is_some_and(|common| common.1)
                        },
                        takes_value,
                    );
                    let dashed = [b"-", parameter.as_slice()].concat();
                    if !takes {
                        lists.push(vec![switch(dashed, value.as_ref())]);
                        continue;
                    }
                    let value = match value {
                        Some(value) => Some(value),
                        None => match given.next_if(|g| matches!(g, Given::Value { .. })) {
                            Some(Given::Value { value, .. }) => Some(value),
                            _ => None,
                        },
                    };
                    lists.push(vec![Arg::whole(dashed)]);
                    if let Some(value) = value {
                        let args = self.parameter(spec, is_literal(parameter), value, name)?;
                        lists.push(args);
                    }
                }
                Given::Value { value, .. } => {
                    let spec = free.next();
                    bound_to.extend(spec);
                    path_given |= spec.is_some_and(is_path);
                    lists.push(self.parameter(spec, false, value, name)?);
                }
            }
        }
        let place = rule.options().iter().find(|s| s.role == Role::Place);
        if place.is_some_and(|p| !bound_to.iter().any(|b| std::ptr::eq(*b, p))) {
            // Without a destination things go where the shell stands.
            lists.push(vec![Arg::whole("-Destination")]);
            lists.push(vec![Arg::whole(".")]);
        }
        if let Some(input) = &call.input
            && !path_given
        {
            if rule.is_users() {
                lists.push(input.arguments(self.separator()));
            } else if BY_PIPELINE.contains(&name.to_ascii_lowercase().as_str()) {
                let spec = rule.options().iter().find(|spec| is_path(spec));
                lists.push(vec![Arg::whole("-Path")]);
                let args = self.parameter(spec, false, input, name)?;
                lists.push(args);
            }
        }
        Some(lists)
    }

    /// The values of a parameter. `None` where they are on a drive that holds no files.
    fn parameter(
        &mut self,
        spec: Option<&OptionSpec>,
        literal: bool,
        value: &Value,
        rule: &str,
    ) -> Option<Vec<Arg>> {
        let path = spec.is_some_and(|spec| !matches!(spec.role, Role::Ignore | Role::Remote));
        if !path {
            return Some(
                value
                    .arguments(self.separator())
                    .into_iter()
                    .map(no_parameter)
                    .collect(),
            );
        }
        let expands = !literal && spec.is_some_and(expands_wildcards);
        let mut args = Vec::new();
        for mut value in value.clone().elements() {
            if let Value::Text(text) = &mut value {
                if let Some(plain) = Self::without_provider(&text.text) {
                    text.text = plain.to_vec();
                }
                if self.may_be_elsewhere(&text.text) {
                    args.push(unknown());
                    continue;
                }
                match Self::drive(&text.text) {
                    Drive::Files => {}
                    Drive::Provider(drive, effect) => {
                        self.change_on_drive(drive, effect, &text.text, rule);
                        if spec.is_some_and(is_path) {
                            return None;
                        }
                        continue;
                    }
                    Drive::Unknown => {
                        args.push(unknown());
                        continue;
                    }
                }
            }
            if expands {
                for item in self.named_items(&value, false) {
                    match item {
                        Value::Item(_) => args.extend(item.arguments(self.separator())),
                        _ => args.extend(value.arguments(self.separator())),
                    }
                }
            } else {
                args.extend(value.arguments(self.separator()));
            }
        }
        let args = args
            .into_iter()
            .map(|arg| no_parameter(self.plain_path(&arg)));
        Some(args.collect())
    }

    /// A path as the tables take it: the system's separators, the home directory in place of `~`.
    fn plain_path(&self, arg: &Arg) -> Arg {
        let text = self.separators(&arg.text);
        let separator = |b: &u8| self.style.is_separator(*b);
        if text.first() != Some(&b'~') || !text.get(1).is_none_or(separator) {
            return Arg {
                text,
                known: arg.known,
            };
        }
        match &self.request.home {
            Some(home) => Arg {
                text: [home.as_slice(), &text[1..]].concat(),
                known: arg.known,
            },
            None => unknown(),
        }
    }

    fn change_on_drive(&mut self, drive: &str, effect: Option<&str>, path: &[u8], rule: &str) {
        let reads = rule.to_ascii_lowercase().starts_with("get-")
            || rule.to_ascii_lowercase().starts_with("test-");
        if reads {
            return;
        }
        let colon = path.iter().position(|b| *b == b':').unwrap_or(0);
        let name = path[colon + 1..].trim_ascii_start();
        let name = name
            .strip_prefix(b"\\")
            .or(name.strip_prefix(b"/"))
            .unwrap_or(name);
        let shown = String::from_utf8_lossy(name).into_owned();
        match (effect, drive) {
            (Some(effect), _) => {
                let reason = format!("{rule} on {}", String::from_utf8_lossy(path));
                self.effect(effect, &reason);
            }
            (None, "env" | "microsoft.powershell.core\\environment") => {
                self.set_environment(name, &Value::Unknown);
            }
            (None, "variable") => self.set_variable(name, Value::Unknown),
            (None, _) => {
                self.answer.session.redefined.push(shown);
                let key = name.to_ascii_lowercase();
                self.functions.remove(&key);
                self.aliases.remove(&key);
            }
        }
    }

    fn absorb(&mut self, outcome: Outcome, call: &Call) {
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

fn unknown() -> Arg {
    Arg {
        text: Vec::new(),
        known: Known::Beginning,
    }
}

/// A value that could be taken for a parameter, as a path that cannot.
fn no_parameter(arg: Arg) -> Arg {
    if arg.text.first() == Some(&b'-') {
        return Arg {
            text: [b"./", arg.text.as_slice()].concat(),
            ..arg
        };
    }
    arg
}

fn switch(mut dashed: Vec<u8>, value: Option<&Value>) -> Arg {
    match value {
        None | Some(Value::Bool(true)) => Arg::whole(dashed),
        Some(Value::Bool(false)) => {
            dashed.extend_from_slice(b":$false");
            Arg::whole(dashed)
        }
        // On or off: on is the more for every switch but `-WhatIf`.
        Some(_) if begins("-WhatIf", &String::from_utf8_lossy(&dashed)) => {
            Arg::whole(b"-WhatIf:$false".as_slice())
        }
        Some(_) => Arg::whole(dashed),
    }
}

fn find<'r>(rule: &'r Rule, name: &[u8]) -> Option<&'r OptionSpec> {
    let name = format!("-{}", String::from_utf8_lossy(name));
    let by = |fits: &dyn Fn(&str) -> bool| {
        rule.options()
            .iter()
            .find(|spec| spec.spellings.iter().any(|s| fits(&s.name)))
    };
    by(&|own| own.eq_ignore_ascii_case(&name)).or_else(|| by(&|own| begins(own, &name)))
}

fn takes_value(spec: &OptionSpec) -> bool {
    spec.spellings.iter().any(|s| s.value != Takes::None)
}

/// Whether it is the parameter for the paths that the cmdlet works on.
fn is_path(spec: &OptionSpec) -> bool {
    spec.is("-Path") || spec.is("-path")
}

/// Whether wildcards in its values stand for names.
fn expands_wildcards(spec: &OptionSpec) -> bool {
    is_path(spec)
        && !spec.is("-NoWildcards")
        && !matches!(spec.role, Role::Place | Role::Into | Role::Create)
}

/// `-LiteralPath` and its other names.
fn is_literal(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    begins("LiteralPath", &name)
        || name.eq_ignore_ascii_case("lp")
        || name.eq_ignore_ascii_case("pspath")
}
