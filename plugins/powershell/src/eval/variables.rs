//! Variables, and what is left of them where ways part.

use std::collections::HashMap;

use deployx_plugin_sdk::path::Style;

use crate::syntax::ast::{Block, Expr};
use crate::value::Value;

use super::Evaluator;
use super::arguments::{Call, Given, common_parameter};

/// How many variables a line may have.
const MAX_VARIABLES: usize = 128;
/// How many ways out of loops and blocks are kept at a time.
const MAX_JUMPS: usize = 32;

/// What a branch may change.
pub(crate) struct State {
    cwd: Option<Vec<u8>>,
    stack: Vec<Option<Vec<u8>>>,
    variables: HashMap<Vec<u8>, Value>,
    environment: HashMap<Vec<u8>, Value>,
}

impl Evaluator<'_> {
    pub(super) fn state(&self) -> State {
        State {
            cwd: self.cwd.clone(),
            stack: self.stack.clone(),
            variables: self.variables.clone(),
            environment: self.environment.clone(),
        }
    }

    pub(super) fn restore(&mut self, state: State) {
        self.cwd = state.cwd;
        self.stack = state.stack;
        self.variables = state.variables;
        self.environment = state.environment;
    }

    /// Notes that something may lead out of a loop or block here.
    pub(super) fn jump(&mut self) {
        if self.jumps.len() >= MAX_JUMPS {
            self.give_up("the line leaves loops in too many places");
            return;
        }
        self.jumps.push(self.state());
    }

    /// Takes in how things stood where the loop or block that began after `before` jumps was left;
    /// whether it was.
    pub(super) fn land(&mut self, before: usize) -> bool {
        let jumps = self.jumps.split_off(before.min(self.jumps.len()));
        for jump in &jumps {
            self.merge(jump);
        }
        !jumps.is_empty()
    }

    /// Forgets what the last round of a loop left in variables: which one is the last is not known.
    pub(super) fn forget_order(&mut self, before: &State) {
        for (name, value) in &mut self.variables {
            let single = matches!(value, Value::Item(_) | Value::Text(_));
            if single
                && !before
                    .variables
                    .get(name)
                    .is_some_and(|old| old.same(value))
            {
                *value = Value::Unknown;
            }
        }
    }

    /// Keeps what is the same now and in `other`; whether anything was not.
    pub(super) fn merge(&mut self, other: &State) -> bool {
        let mut changed = false;
        if self.cwd != other.cwd {
            self.cwd = None;
            changed = true;
        }
        if self.stack != other.stack {
            let longer = self.stack.len().max(other.stack.len());
            self.stack = vec![None; longer];
            changed = true;
        }
        changed |= merge_maps(&mut self.variables, &other.variables);
        changed |= merge_maps(&mut self.environment, &other.environment);
        changed
    }

    /// Follows each branch from here. `none`: perhaps none of them runs.
    pub(super) fn branches(&mut self, branches: &[&Block], none: bool) -> Value {
        let start = self.state();
        let mut ends = Vec::new();
        let mut output = Vec::new();
        if none {
            ends.push(self.state());
            output.push(Value::Null);
        }
        for branch in branches {
            self.restore(State {
                cwd: start.cwd.clone(),
                stack: start.stack.clone(),
                variables: start.variables.clone(),
                environment: start.environment.clone(),
            });
            output.push(self.block(branch));
            ends.push(self.state());
        }
        if let Some(last) = ends.pop() {
            self.restore(last);
        }
        for end in ends {
            self.merge(&end);
        }
        let Some(first) = output.pop() else {
            return Value::Null;
        };
        if output.iter().all(|other| other.same(&first)) {
            first
        } else if output.iter().all(Value::is_harmless) && first.is_harmless() {
            Value::Harmless
        } else {
            Value::Unknown
        }
    }

    /// The key of a variable: lower case, without the scope.
    pub(super) fn variable_key(name: &[u8]) -> Vec<u8> {
        let lower = name.to_ascii_lowercase();
        for scope in [
            "global:",
            "script:",
            "local:",
            "private:",
            "using:",
            "variable:",
        ] {
            if let Some(rest) = lower.strip_prefix(scope.as_bytes()) {
                return rest.to_vec();
            }
        }
        if lower == b"psitem" {
            return b"_".to_vec();
        }
        lower
    }

    pub(super) fn variable(&self, name: &[u8]) -> Value {
        let key = Self::variable_key(name);
        if let Some(variable) = key.strip_prefix(b"env:") {
            return self.environment_value(&name[name.len() - variable.len()..]);
        }
        if key == b"pwd" {
            return self.cwd.clone().map_or(Value::Unknown, Value::exact);
        }
        if let Some(value) = self.variables.get(&key) {
            return value.clone();
        }
        match key.as_slice() {
            b"null" => Value::Null,
            b"true" => Value::Bool(true),
            b"false" => Value::Bool(false),
            b"home" => self.home(),
            b"iswindows" => self.windows(self.style == Style::Windows),
            b"islinux" | b"ismacos" if self.style == Style::Windows => self.windows(false),
            b"?"
            | b"lastexitcode"
            | b"pid"
            | b"psversiontable"
            | b"psedition"
            | b"shellid"
            | b"error"
            | b"matches"
            | b"psculture"
            | b"ofs"
            | b"islinux"
            | b"ismacos"
            | b"iscoreclr"
            | b"verbosepreference"
            | b"erroractionpreference"
            | b"progresspreference"
            | b"stacktrace" => Value::Harmless,
            _ => Value::Unknown,
        }
    }

    fn windows(&self, value: bool) -> Value {
        // Windows PowerShell does not know the variable.
        if self.request.shell == "powershell" {
            Value::Null
        } else {
            Value::Bool(value)
        }
    }

    pub(super) fn home(&self) -> Value {
        self.request
            .home
            .clone()
            .map_or(Value::Unknown, Value::text)
    }

    /// The value of an environment variable.
    pub(super) fn environment_value(&self, name: &[u8]) -> Value {
        if let Some(value) = self.environment.get(&self.environment_key(name)) {
            return value.clone();
        }
        let known = self.request.env.iter().find(|(known, _)| {
            if self.style == Style::Windows {
                known.as_bytes().eq_ignore_ascii_case(name)
            } else {
                known.as_bytes() == name
            }
        });
        known.map_or(Value::Unknown, |(_, value)| Value::text(value.clone()))
    }

    fn environment_key(&self, name: &[u8]) -> Vec<u8> {
        match self.style {
            Style::Windows => name.to_ascii_lowercase(),
            Style::Unix => name.to_vec(),
        }
    }

    pub(super) fn set_environment(&mut self, name: &[u8], value: &Value) {
        let shown = String::from_utf8_lossy(name).into_owned();
        self.answer.session.assigned.push(shown);
        let value = match value.string() {
            Some(text) => Value::text(text),
            None => Value::Unknown,
        };
        let key = self.environment_key(name);
        self.environment.insert(key, value);
    }

    /// `$x = value`, `$env:X += value`, `$a, $b = values`.
    pub(super) fn assign(&mut self, target: &Expr, operator: &[u8], value: Value) {
        match target {
            Expr::Variable(name) => {
                let value = match operator {
                    b"=" => value,
                    b"+=" => {
                        let old = self.variable(name);
                        Self::plus(old, value)
                    }
                    _ => Value::Unknown,
                };
                self.set_variable(name, value);
            }
            Expr::Cast(kind, inner) => {
                let value = self.cast(kind, value);
                self.assign(inner, operator, value);
            }
            Expr::Comma(targets) => {
                let by_chance = !matches!(value, Value::List(_))
                    || matches!(&value, Value::List(v) if v.iter().any(|v| matches!(v, Value::Item(_))));
                let mut values = value.elements();
                if by_chance && values.len() > 1 {
                    // Which of them comes first is not known.
                    let any = Value::Choice(values.clone());
                    values = vec![any; values.len()];
                }
                let fits = values.len() == targets.len();
                values.resize(targets.len(), Value::Unknown);
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, b"=", if fits { value } else { Value::Unknown });
                }
            }
            Expr::Index(object, index) => {
                self.expression(index);
                self.forget(object);
            }
            Expr::Member { object, fixed, .. } => {
                let held = self.expression(object);
                if *fixed || !(held.is_harmless() || matches!(held, Value::Hash(_))) {
                    // A setter may do anything (`$file.LastWriteTime = …`).
                    self.set_member(&held);
                }
                self.forget(object);
            }
            Expr::Paren(_) => self.unclear("an assignment that is not understood"),
            other => {
                self.expression(other);
                self.unclear("an assignment that is not understood");
            }
        }
    }

    pub(super) fn set_variable(&mut self, name: &[u8], value: Value) {
        let key = Self::variable_key(name);
        if let Some(variable) = key.strip_prefix(b"env:") {
            let name = name[name.len() - variable.len()..].to_vec();
            self.set_environment(&name, &value);
            return;
        }
        if let Some(function) = key.strip_prefix(b"function:") {
            let shown = String::from_utf8_lossy(function).into_owned();
            self.answer.session.redefined.push(shown);
            match value {
                Value::Block(block) => {
                    self.functions.insert(function.to_vec(), block);
                }
                _ => self.unclear("a function whose text is not known"),
            }
            return;
        }
        if key.contains(&b':') {
            // `${C:\x} = …` writes the file.
            let path = name.to_vec();
            self.write_to(&Value::text(path), "assigned to", "=");
            return;
        }
        let shown = String::from_utf8_lossy(&key).into_owned();
        self.answer.session.assigned.push(shown);
        if self.variables.len() > MAX_VARIABLES {
            self.give_up("the line has too many variables");
        }
        if key == b"psdefaultparametervalues" {
            self.unclear("parameters are given to later commands unseen");
            self.answer.session.unknown = true;
        }
        if name.len() > key.len() {
            // It names its scope, which may be another than this one.
            self.escaped.push(key.clone());
        }
        self.variables.insert(key, value);
    }

    /// Nothing is known any more of tables and lists: several variables may hold the one that was
    /// changed.
    pub(super) fn forget_tables(&mut self) {
        self.mutations += 1;
        for value in self.variables.values_mut() {
            if matches!(value, Value::Hash(_) | Value::List(_)) {
                *value = Value::Unknown;
            }
        }
    }

    /// Nothing is known any more of the variables that parameters such as `-OutVariable` name.
    pub(super) fn variables_by_parameter(&mut self, call: &Call) {
        let mut given = call.given.iter().peekable();
        while let Some(next) = given.next() {
            let Given::Parameter(name, value) = next else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let common = common_parameter(&String::from_utf8_lossy(&name));
            if !(name.ends_with(b"variable") || common.is_some_and(|c| c.0.ends_with("Variable"))) {
                continue;
            }
            let ((Some(value), _) | (None, Some(Given::Value { value, .. }))) =
                (value, given.peek())
            else {
                continue;
            };
            if let Some(variable) = value.string() {
                let variable = variable.strip_prefix(b"+").unwrap_or(&variable);
                self.variables
                    .insert(Self::variable_key(variable), Value::Unknown);
            }
        }
    }

    /// Nothing is known any more of what `object` holds.
    pub(super) fn forget(&mut self, object: &Expr) {
        match object {
            // Its type is all that is known of it.
            Expr::Variable(name) if matches!(self.variable(name), Value::Object(_)) => {}
            Expr::Variable(name) => {
                let harmless = matches!(
                    self.variable(name),
                    Value::Hash(_) | Value::Harmless | Value::List(_)
                );
                let value = if harmless {
                    Value::Harmless
                } else {
                    Value::Unknown
                };
                self.set_variable(name, value);
                self.forget_tables();
            }
            Expr::Member { object, .. } | Expr::Index(object, _) => self.forget(object),
            _ => {}
        }
    }
}

fn merge_maps(map: &mut HashMap<Vec<u8>, Value>, other: &HashMap<Vec<u8>, Value>) -> bool {
    let mut changed = false;
    for (name, value) in map.iter_mut() {
        if !other.get(name).is_some_and(|old| old.same(value)) {
            changed |= !matches!(value, Value::Unknown);
            *value = Value::Unknown;
        }
    }
    for name in other.keys() {
        if !map.contains_key(name) {
            map.insert(name.clone(), Value::Unknown);
            changed = true;
        }
    }
    changed
}
