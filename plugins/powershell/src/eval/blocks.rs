//! Script blocks and functions, and the cmdlets that run them.

use std::rc::Rc;

use crate::syntax::ast::ScriptBlock;
use crate::value::{Extent, Item, Value};

use super::arguments::{Call, Given};
use super::object::is_property;
use super::{Evaluator, MAX_CALLS};

impl Evaluator<'_> {
    /// Runs a block in a scope of its own (`& { … }`). The directory it moves to stays.
    pub(super) fn call_block(
        &mut self,
        block: &Rc<ScriptBlock>,
        arguments: Vec<Value>,
        input: Option<Value>,
    ) -> Value {
        let outer = self.variables.clone();
        let mut arguments = arguments.into_iter();
        for parameter in &block.parameters {
            let value = match (arguments.next(), &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.expression(default),
                (None, None) => Value::Null,
            };
            self.variables
                .insert(Self::variable_key(&parameter.name), value);
        }
        self.variables
            .insert(b"args".to_vec(), Value::List(arguments.collect()));
        if let Some(input) = input {
            self.variables.insert(b"input".to_vec(), input.clone());
            self.variables.insert(b"_".to_vec(), input);
        }
        let mutations = self.mutations;
        let escaped = std::mem::take(&mut self.escaped);
        let jumps = self.jumps.len();
        let value = self.deeper(|e| e.block(&block.body));
        let value = if self.land(jumps) { value.any() } else { value };
        self.variables = outer;
        for name in &self.escaped {
            self.variables.insert(name.clone(), Value::Unknown);
        }
        self.escaped.extend(escaped);
        if self.mutations != mutations {
            self.forget_tables();
        }
        value
    }

    /// Runs a block in the scope it stands in (`. { … }`).
    pub(super) fn run_block(&mut self, block: &Rc<ScriptBlock>, call: &Call) -> Value {
        for (parameter, value) in block.parameters.iter().zip(call.positional()) {
            self.variables
                .insert(Self::variable_key(&parameter.name), value);
        }
        self.deeper(|e| e.block(&block.body))
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.calls >= MAX_CALLS {
            self.give_up("functions call one another too deeply");
            return Value::Unknown;
        }
        self.calls += 1;
        let value = inner(self);
        self.calls -= 1;
        value
    }

    /// Calls a function that the line defines.
    pub(super) fn call_function(&mut self, block: &Rc<ScriptBlock>, call: &Call) -> Value {
        if call.splatted {
            self.unclear("the arguments are not known");
        }
        let mut values: Vec<Option<Value>> = vec![None; block.parameters.len()];
        let mut loose = Vec::new();
        let mut given = call.given.iter().peekable();
        while let Some(next) = given.next() {
            let (name, value) = match next {
                Given::Value { value, .. } => {
                    loose.push(value.clone());
                    continue;
                }
                Given::Parameter(name, value) => (name, value),
            };
            let at = block.parameters.iter().position(|p| {
                let start = p.name.get(..name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(name))
            });
            let Some(at) = at else {
                continue;
            };
            values[at] = Some(match (value, given.peek()) {
                (Some(value), _) => value.clone(),
                (None, Some(Given::Value { value, .. })) if !block.parameters[at].switch => {
                    let value = value.clone();
                    given.next();
                    value
                }
                _ => Value::Bool(true),
            });
        }
        let mut loose = loose.into_iter();
        let mut arguments = Vec::new();
        for (at, parameter) in block.parameters.iter().enumerate() {
            let value = values[at].take();
            let value = value.or_else(|| if parameter.switch { None } else { loose.next() });
            arguments.push(match (value, &parameter.default) {
                (Some(value), _) => value,
                // The parameter may take what the pipeline passes in.
                (None, _) if call.input.is_some() && !parameter.switch => {
                    call.input.clone().unwrap_or_default()
                }
                (None, Some(default)) => self.expression(default),
                (None, None) => Value::Null,
            });
        }
        arguments.extend(loose);
        let outer = self.span.clone();
        let value = self.call_block(block, arguments, call.input.clone());
        if !self.gave_up {
            self.span = outer;
        }
        value
    }

    pub(super) fn where_object(&mut self, call: &Call) -> Value {
        let input = call.input.clone().unwrap_or(Value::Null);
        if let Some(block) = first_block(call) {
            let one = representative(&input);
            self.each(one, b"_", &mut |e| e.block(&block.body));
        }
        input.some()
    }

    pub(super) fn foreach_object(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Process= Begin= End= RemainingScripts= Parallel= ThrottleLimit= TimeoutSeconds= \
             AsJob MemberName= ArgumentList= InputObject= UseNewRunspace",
            "Process RemainingScripts...",
        );
        let given = bound.get("InputObject").cloned();
        let input = call.input.clone().or(given).unwrap_or(Value::Null);
        if call.splatted || bound.unknown.is_some() {
            return self.not_understood(call, "the arguments are not known");
        }
        let text = bound.get("Process").filter(|v| matches!(v, Value::Text(_)));
        if let Some(name) = bound.get("MemberName").or(text).and_then(Value::string) {
            let arguments = bound.get("ArgumentList").or(bound.get("RemainingScripts"));
            let arguments = arguments.cloned().map(Value::elements);
            if is_property(&name) && arguments.is_none() {
                return self.member(input, &name);
            }
            // A member of this name may be a method.
            return self.method(input, &name, &arguments.unwrap_or_default());
        }
        let blocks = |name: &str| -> Vec<Value> {
            let value = bound.get(name).cloned();
            value.map(Value::elements).unwrap_or_default()
        };
        let (mut begin, mut end) = (blocks("Begin"), blocks("End"));
        let mut process = blocks("Process");
        process.extend(blocks("Parallel"));
        process.extend(blocks("RemainingScripts"));
        if process.len() >= 2 && begin.is_empty() {
            // The first of several blocks runs before, the last of three behind.
            begin.push(process.remove(0));
            if process.len() >= 2 {
                end.extend(process.pop());
            }
        }
        let mut output = Vec::new();
        self.run_all(&begin);
        for value in &process {
            let Value::Block(block) = value else {
                self.not_understood(call, "a block that is not known is run");
                continue;
            };
            let block = block.clone();
            let values = self.each(input.clone(), b"_", &mut |e| e.block(&block.body));
            output.extend(values.elements());
        }
        self.run_all(&end);
        Value::gather(output)
    }

    fn run_all(&mut self, blocks: &[Value]) {
        for value in blocks {
            match value {
                Value::Block(block) => {
                    let block = block.clone();
                    self.block(&block.body);
                }
                _ => self.unclear("a block that is not known is run"),
            }
        }
    }

    pub(super) fn select_object(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Property= ExpandProperty= ExcludeProperty= First= Last= Skip= SkipLast= Index= \
             SkipIndex= Unique Wait InputObject= CaseInsensitive",
            "Property",
        );
        self.script_arguments(call);
        let input = call.input.clone().unwrap_or(Value::Null);
        if let Some(name) = bound.get("ExpandProperty") {
            return match name.string() {
                Some(name) => self.member(input.any(), &name),
                None => Value::Unknown,
            };
        }
        match bound.get("Property") {
            None => input.any(),
            Some(_) if input.is_harmless() => Value::Harmless,
            Some(_) => Value::Unknown,
        }
    }

    /// Follows blocks that a command is given, in whatever way it runs them.
    pub(super) fn script_arguments(&mut self, call: &Call) {
        let mut blocks: Vec<Rc<ScriptBlock>> = Vec::new();
        for value in call.values().flat_map(|value| value.clone().elements()) {
            match value {
                Value::Block(block) => blocks.push(block),
                // `@{ n = 'x'; e = { … } }`
                Value::Hash(entries) => {
                    blocks.extend(entries.into_iter().filter_map(|(_, value)| match value {
                        Value::Block(block) => Some(block),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        let one = call.input.as_ref().map_or(Value::Unknown, representative);
        for block in blocks {
            let before = self.state();
            self.variables.insert(b"_".to_vec(), one.clone());
            self.deeper(|e| e.block(&block.body));
            self.merge(&before);
        }
    }

    pub(super) fn invoke_command(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "ComputerName= Cn= Session= ConnectionUri= VMId= VMName= ContainerId= HostName= \
             SSHConnection= ScriptBlock= Command= FilePath= ArgumentList= Args= Credential= AsJob \
             JobName= UseSSL Port= ThrottleLimit= Authentication= NoNewScope InputObject= \
             SessionOption= ConfigurationName= HideComputerName InDisconnectedSession UserName= \
             KeyFilePath= RunAsAdministrator EnableNetworkAccess",
            "ScriptBlock",
        );
        let elsewhere = [
            "ComputerName",
            "Cn",
            "Session",
            "ConnectionUri",
            "VMId",
            "VMName",
            "ContainerId",
            "HostName",
            "SSHConnection",
        ];
        let known = bound.unknown.is_none() && !call.splatted;
        if known && bound.any(&elsewhere).is_some() {
            self.effect("remote", "a block runs on another computer");
            return Value::Unknown;
        }
        match bound.any(&["ScriptBlock", "Command"]) {
            Some(Value::Block(block)) if known => {
                let arguments = bound.any(&["ArgumentList", "Args"]).cloned();
                let arguments = arguments.map(Value::elements).unwrap_or_default();
                self.call_block(&block.clone(), arguments, call.input.clone())
            }
            // With a computer first, the block comes second.
            Some(_) if known && matches!(bound.rest.first(), Some(Value::Block(_))) => {
                self.effect("remote", "a block runs on another computer");
                Value::Unknown
            }
            _ => self.not_understood(call, "what is run is not known"),
        }
    }

    /// A job: a shell of its own that begins where this one stands.
    pub(super) fn start_job(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "ScriptBlock= FilePath= LiteralPath= Name= ArgumentList= InitializationScript= \
             Credential= RunAs32 InputObject= ThrottleLimit= StreamingHost= WorkingDirectory= \
             PSVersion= Type= DefinitionName= Authentication=",
            "ScriptBlock",
        );
        let before = self.state();
        if self.request.shell == "powershell" {
            // Jobs of Windows PowerShell begin in the user's documents.
            self.cwd = None;
        }
        if let Some(directory) = bound.get("WorkingDirectory") {
            self.cwd = directory.string().and_then(|path| self.absolute(&path));
        }
        let known = bound.unknown.is_none() && !call.splatted;
        match bound.get("ScriptBlock") {
            Some(Value::Block(block)) if known && bound.get("InitializationScript").is_none() => {
                let arguments = bound.get("ArgumentList").cloned();
                let arguments = arguments.map(Value::elements).unwrap_or_default();
                self.call_block(&block.clone(), arguments, None);
            }
            _ => {
                self.not_understood(call, "what is run is not known");
            }
        }
        self.restore(before);
        Value::Harmless
    }

    pub(super) fn measure_command(&mut self, call: &Call) -> Value {
        match first_block(call) {
            Some(block) => {
                self.deeper(|e| e.block(&block.body));
            }
            None => {
                self.not_understood(call, "what is run is not known");
            }
        }
        Value::Harmless
    }
}

fn first_block(call: &Call) -> Option<Rc<ScriptBlock>> {
    call.values().find_map(|value| match value {
        Value::Block(block) => Some(block.clone()),
        _ => None,
    })
}

/// One value that stands for any that a pipeline passes on, for blocks that only choose.
fn representative(input: &Value) -> Value {
    let (Value::List(values) | Value::Choice(values)) = input else {
        return input.clone();
    };
    let items = values.iter().all(|value| matches!(value, Value::Item(_)));
    match values.first() {
        Some(Value::Item(first)) if items => Value::Item(Item {
            path: first.path.clone(),
            extent: Extent::Tree,
        }),
        _ if input.is_harmless() => Value::Harmless,
        _ => Value::Unknown,
    }
}
