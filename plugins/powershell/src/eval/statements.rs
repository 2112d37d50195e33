//! Statements, pipelines and redirections.

use deployx_plugin_sdk::{Depth, Kind};

use crate::syntax::ast::{
    Block, ElementKind, Expr, Pipeline, PipelineElement, Redirection, Statement, StatementKind,
};
use crate::value::{Extent, Item, Text, Value};

use super::Evaluator;

/// How many values of a list a loop is followed for one by one.
const MAX_ROUNDS: usize = 32;

impl Evaluator<'_> {
    /// Follows statements; what they output.
    pub(super) fn block(&mut self, block: &Block) -> Value {
        let mut output = Vec::new();
        for statement in block {
            if !self.step() {
                return Value::Unknown;
            }
            let value = self.statement(statement);
            if !is_step(statement) {
                output.extend(value.elements());
            }
        }
        Value::gather(output)
    }

    pub(super) fn statement(&mut self, statement: &Statement) -> Value {
        let outer = std::mem::replace(&mut self.span, statement.span.clone());
        let value = self.statement_kind(&statement.what);
        if !self.gave_up {
            self.span = outer;
        }
        value
    }

    fn statement_kind(&mut self, what: &StatementKind) -> Value {
        match what {
            StatementKind::Chain {
                pipelines,
                alternatives,
                background,
            } => self.chain(pipelines, *alternatives, *background),
            StatementKind::Assign {
                target,
                operator,
                value,
            } => {
                let value = self.valued(value);
                self.assign(target, operator, value);
                Value::Null
            }
            StatementKind::If { clauses, otherwise } => {
                let mut branches = Vec::new();
                for (condition, body) in clauses {
                    self.statement(condition);
                    branches.push(body);
                }
                branches.extend(otherwise);
                self.branches(&branches, otherwise.is_none())
            }
            StatementKind::Foreach {
                variable,
                source,
                body,
            } => {
                let source = self.statement(source);
                let name = Self::variable_key(variable);
                self.each(source, &name, &mut |e| e.block(body))
            }
            StatementKind::Loop { head, body, once } => self.looped(head, body, *once),
            StatementKind::Switch {
                subject,
                file,
                clauses,
            } => {
                let subject = self.statement(subject);
                let subject = if *file { Value::Harmless } else { subject };
                let branches: Vec<&Block> = clauses.iter().collect();
                // Each value of a list is taken, and several clauses may fit.
                self.each(subject, b"_", &mut |e| {
                    e.repeated(&mut |e| e.branches(&branches, true))
                })
            }
            StatementKind::Try {
                body,
                catches,
                finally,
            } => {
                let value = self.branches(&[body], true);
                let handlers: Vec<&Block> = catches.iter().collect();
                self.branches(&handlers, true);
                if let Some(finally) = finally {
                    self.block(finally);
                }
                value
            }
            StatementKind::Function { name, body } => {
                let name = name.to_ascii_lowercase();
                let plain = name.rsplit(|b| *b == b':').next().unwrap_or(&name).to_vec();
                let shown = String::from_utf8_lossy(&plain).into_owned();
                self.answer.session.redefined.push(shown);
                self.functions.insert(plain, body.clone());
                Value::Null
            }
            StatementKind::Flow { value, leaves } => {
                let value = value.as_ref().map(|v| self.statement(v));
                self.jump();
                match (leaves, value) {
                    (true, Some(value)) => value,
                    _ => Value::Null,
                }
            }
            StatementKind::Perhaps(body) => self.branches(&[body], true),
            StatementKind::Opaque(reason) => {
                self.unclear_text(self.request.command.clone(), reason);
                self.answer.session.unknown = true;
                Value::Unknown
            }
        }
    }

    fn chain(&mut self, pipelines: &[Pipeline], alternatives: bool, background: bool) -> Value {
        if background {
            // A job of its own: it does not move the shell.
            let before = self.state();
            for pipeline in pipelines {
                self.pipeline(pipeline);
            }
            self.restore(before);
            return Value::Harmless;
        }
        if let [only] = pipelines {
            return self.pipeline(only);
        }
        let mut output = Vec::new();
        let mut ends = Vec::new();
        for (at, pipeline) in pipelines.iter().enumerate() {
            if at > 0 {
                // The chain may end here.
                ends.push(self.state());
            }
            output.extend(self.pipeline(pipeline).elements());
            if alternatives && let Some(end) = ends.pop() {
                self.merge(&end);
            }
        }
        for end in ends {
            self.merge(&end);
        }
        Value::gather(output)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Value {
        let mut input = None;
        for element in &pipeline.elements {
            if !self.step() {
                return Value::Unknown;
            }
            let outer = std::mem::replace(&mut self.span, element.span.clone());
            let output = self.element(element, input);
            if self.gave_up {
                return Value::Unknown;
            }
            self.span = outer;
            input = Some(output);
        }
        input.unwrap_or_default()
    }

    fn element(&mut self, element: &PipelineElement, input: Option<Value>) -> Value {
        let value = match &element.what {
            ElementKind::Expression(expression) => self.expression(expression),
            ElementKind::Command(command) => self.command(command, input),
        };
        for redirection in &element.redirections {
            self.redirect(redirection);
        }
        value
    }

    fn redirect(&mut self, redirection: &Redirection) {
        let target = self.expression(&redirection.target);
        if matches!(target, Value::Null) {
            return;
        }
        self.answer.destructive |= !redirection.append;
        self.write_to(&target, "target of a redirection", ">");
    }

    /// Notes that the file that `value` names is created or written.
    pub(super) fn write_to(&mut self, value: &Value, reason: &str, rule: &str) {
        for value in value.clone().elements() {
            let path = match &value {
                Value::Text(Text { text, whole: true }) if !Self::has_provider(text) => {
                    self.absolute(text)
                }
                Value::Item(Item {
                    path,
                    extent: Extent::Exact,
                }) => Some(path.clone()),
                Value::Int(number) => self.absolute(number.to_string().as_bytes()),
                Value::Item(Item { path, extent }) => {
                    let depth = if *extent == Extent::Children {
                        Depth::Children
                    } else {
                        Depth::Tree
                    };
                    self.touch(path.clone(), depth, true, reason, rule);
                    continue;
                }
                _ => None,
            };
            match path {
                Some(path) => self.touch_written(path, reason, rule),
                None => {
                    self.list_beginning(&value, reason, rule);
                    self.unclear("a file is written whose path is not known");
                }
            }
        }
    }

    pub(super) fn touch_written(&mut self, path: Vec<u8>, reason: &str, rule: &str) {
        let depth = match self.kind(&path) {
            Kind::File | Kind::Other | Kind::Directory => Depth::Entry,
            _ => Depth::Tree,
        };
        self.touch(path, depth, true, reason, rule);
    }

    /// Lists the directory that is known of a path whose end is not.
    pub(super) fn list_beginning(&mut self, value: &Value, reason: &str, rule: &str) {
        let Value::Text(Text { text, whole: false }) = value else {
            return;
        };
        let text = self.separators(text);
        let end = text.iter().rposition(|b| self.style.is_separator(*b));
        if let Some(directory) = end.and_then(|end| self.absolute(&text[..=end])) {
            self.touch(directory, Depth::Tree, true, reason, rule);
        }
    }

    /// Runs `body` for each value that `source` gives, held by the variable `name`.
    pub(super) fn each(
        &mut self,
        source: Value,
        name: &[u8],
        body: &mut dyn FnMut(&mut Self) -> Value,
    ) -> Value {
        let choice = matches!(source, Value::Choice(_));
        let values = source.elements();
        let mut output = Vec::new();
        let (before, jumps) = (self.state(), self.jumps.len());
        let mut left = false;
        let unordered = values.len() > 1 && values.iter().any(|v| matches!(v, Value::Item(_)));
        if values.len() <= MAX_ROUNDS && !values.iter().any(|v| matches!(v, Value::Unknown)) {
            for value in values {
                if !self.step() {
                    return Value::Unknown;
                }
                self.variables.insert(name.to_vec(), value);
                output.extend(body(self).elements());
                // A round may end before its end, and the rounds may.
                left |= self.land(jumps);
                if left || choice {
                    self.merge(&before);
                }
            }
            if unordered {
                self.forget_order(&before);
            }
            let output = Value::gather(output);
            return if choice || left { output.any() } else { output };
        }
        let together = join(&values);
        let value = self.repeated(&mut |e| {
            e.variables.insert(name.to_vec(), together.clone());
            body(e)
        });
        // It runs any number of times.
        match value {
            Value::Null => Value::Null,
            value if value.is_harmless() => Value::Harmless,
            Value::Item(item) if item.extent != Extent::Exact => Value::Item(item),
            _ => Value::Unknown,
        }
    }

    /// Follows what runs any number of times: once as it stands, and once more without what
    /// changes from one time to the next.
    pub(super) fn repeated(&mut self, body: &mut dyn FnMut(&mut Self) -> Value) -> Value {
        let before = self.state();
        let jumps = self.jumps.len();
        let value = body(self);
        self.land(jumps);
        if self.merge(&before) && self.step() {
            let before = self.state();
            let again = body(self);
            self.land(jumps);
            self.merge(&before);
            if !again.same(&value) {
                return Value::Unknown;
            }
        }
        value
    }

    fn looped(&mut self, head: &[Statement], body: &Block, once: bool) -> Value {
        if let [start, condition, next] = head {
            self.statement(start);
            if let Some(output) = self.counted(condition, next, body) {
                return output;
            }
        }
        let run = &mut |e: &mut Self| {
            for statement in head {
                e.statement(statement);
            }
            e.block(body)
        };
        if once {
            run(self);
        }
        let value = self.repeated(run);
        match value {
            Value::Null => Value::Null,
            _ => Value::Unknown,
        }
    }

    /// A loop that counts to a known number, round by round.
    fn counted(&mut self, condition: &Statement, next: &Statement, body: &Block) -> Option<Value> {
        // Dry: conditions of counting loops change nothing.
        let before = self.state();
        let noted = (self.answer.clone(), self.steps);
        let jumps = self.jumps.len();
        let mut left = false;
        let mut output = Vec::new();
        for _ in 0..=MAX_ROUNDS {
            match self.statement(condition) {
                Value::Bool(false) if left => {
                    self.merge(&before);
                    return Some(Value::gather(output).any());
                }
                Value::Bool(false) => return Some(Value::gather(output)),
                Value::Bool(true) => {
                    output.extend(self.block(body).elements());
                    left |= self.land(jumps);
                    self.statement(next);
                }
                _ => break,
            }
            if self.gave_up {
                return Some(Value::Unknown);
            }
        }
        // It goes on for too long: taken as any number of rounds.
        (self.answer, self.steps) = noted;
        self.restore(before);
        None
    }
}

/// Whether a statement is `$i++`, which gives nothing where it stands alone.
fn is_step(statement: &Statement) -> bool {
    let StatementKind::Chain { pipelines, .. } = &statement.what else {
        return false;
    };
    let [Pipeline { elements }] = pipelines.as_slice() else {
        return false;
    };
    matches!(
        elements.as_slice(),
        [PipelineElement {
            what: ElementKind::Expression(Expr::Step { .. }),
            ..
        }]
    )
}

/// One value for any of `values`.
fn join(values: &[Value]) -> Value {
    let mut place: Option<Item> = None;
    for value in values {
        let Value::Item(item) = value else {
            return if values.iter().all(Value::is_harmless) {
                Value::beginning("")
            } else {
                Value::Unknown
            };
        };
        match &place {
            None => place = Some(item.clone()),
            Some(place) if place == item => {}
            Some(_) => return Value::Unknown,
        }
    }
    place.map_or(Value::Unknown, Value::Item)
}
