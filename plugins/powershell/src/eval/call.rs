//! Commands: which one it is, and who reads it.

use crate::aliases;
use crate::syntax::ast::{Command, Invocation};
use crate::value::Value;

use super::Evaluator;
use super::arguments::Call;

/// Cmdlets that give data: nothing that it holds changes anything by a method.
const DATA: [&str; 46] = [
    "compare-object",
    "convertfrom-csv",
    "convertfrom-json",
    "convertfrom-stringdata",
    "convertto-csv",
    "convertto-html",
    "convertto-json",
    "convertto-securestring",
    "format-custom",
    "format-hex",
    "format-list",
    "format-table",
    "format-wide",
    "get-command",
    "get-computerinfo",
    "get-content",
    "get-credential",
    "get-culture",
    "get-date",
    "get-filehash",
    "get-history",
    "get-host",
    "get-itemproperty",
    "get-itempropertyvalue",
    "get-member",
    "get-random",
    "get-timezone",
    "get-uptime",
    "import-csv",
    "import-powershelldatafile",
    "invoke-restmethod",
    "invoke-webrequest",
    "measure-object",
    "new-guid",
    "new-timespan",
    "out-string",
    "read-host",
    "select-string",
    "test-connection",
    "test-netconnection",
    "test-path",
    "write-error",
    "write-host",
    "write-information",
    "write-verbose",
    "write-warning",
];

impl Evaluator<'_> {
    /// Follows a command; what it gives.
    pub(super) fn command(&mut self, command: &Command, input: Option<Value>) -> Value {
        let name = self.expression(&command.name);
        let mut call = Call {
            input,
            ..Call::default()
        };
        self.given(&command.arguments, &mut call);
        let dotted = command.invocation == Invocation::Dot;
        if let Value::Block(block) = &name {
            let block = block.clone();
            if dotted {
                return self.run_block(&block, &call);
            }
            return self.call_block(&block, call.positional(), call.input.clone());
        }
        let Some(text) = name.string().filter(|text| !text.is_empty()) else {
            self.answer.session.unknown = true;
            return self.not_understood(&call, "the name of the command is not known");
        };
        call.name = text;
        self.variables_by_parameter(&call);
        let key = call.name.to_ascii_lowercase();
        if dotted && !self.functions.contains_key(&key) {
            self.answer.session.unknown = true;
            self.not_understood(&call, "a script is read into the shell");
            self.forget_everything();
            return Value::Unknown;
        }
        self.named(&call)
    }

    /// Follows the command of a name.
    pub(super) fn named(&mut self, call: &Call) -> Value {
        if !self.step() {
            return Value::Unknown;
        }
        let given = String::from_utf8_lossy(&call.name).into_owned();
        let key = given.to_ascii_lowercase();
        if let Some(target) = self.aliases.get(key.as_bytes()).cloned() {
            if self.calls > 4 {
                return self.not_understood(call, "an alias of an alias");
            }
            self.calls += 1;
            let value = self.named(&Call {
                name: target,
                ..call.clone()
            });
            self.calls -= 1;
            return value;
        }
        // An alias goes before a function of its name.
        let name = aliases::resolve(self.edition, &given).unwrap_or(&given);
        let function = self.functions.get(name.to_ascii_lowercase().as_bytes());
        if let Some(block) = function.cloned() {
            return self.call_function(&block, call);
        }
        // The name of the module may stand before that of the cmdlet.
        let name = match name.split_once('\\') {
            Some((module, cmdlet)) if is_module(module) && cmdlet.contains('-') => cmdlet,
            _ => name,
        };
        let session = &self.request.session;
        let redefined = |n: &String| n.eq_ignore_ascii_case(&given) || n.eq_ignore_ascii_case(name);
        if session.unknown || session.redefined.iter().any(redefined) {
            return self.not_understood(call, "the name may have been given another meaning");
        }
        match self.built_in(&name.to_ascii_lowercase(), call) {
            Some(value) => value,
            None => self.described(name, call),
        }
    }

    fn built_in(&mut self, name: &str, call: &Call) -> Option<Value> {
        Some(match name {
            "where-object" => self.where_object(call),
            "foreach-object" => self.foreach_object(call),
            "select-object" => self.select_object(call),
            "sort-object" | "get-unique" => {
                self.script_arguments(call);
                call.input.clone().unwrap_or(Value::Null).any()
            }
            "out-default" => {
                self.script_arguments(call);
                call.input.clone().unwrap_or(Value::Null)
            }
            "group-object" => {
                self.script_arguments(call);
                Value::Unknown
            }
            "get-childitem" => self.get_child_item(call),
            "get-item" | "resolve-path" | "convert-path" => self.get_item(call),
            "get-location" => self.cwd.clone().map_or(Value::Unknown, Value::exact),
            "join-path" => self.join_path_call(call),
            "split-path" => Self::split_path_call(call),
            "write-output" => Self::write_output(call),
            "set-location" => self.set_location(call, false),
            "push-location" => self.set_location(call, true),
            "pop-location" => self.pop_location(),
            "invoke-expression" => self.invoke_expression(call),
            "invoke-command" => self.invoke_command(call),
            "start-job" | "start-threadjob" => self.start_job(call),
            "start-process" => self.start_process(call),
            "measure-command" => self.measure_command(call),
            "set-variable" | "new-variable" => self.set_variable_call(call),
            "remove-variable" | "clear-variable" => self.remove_variable_call(call),
            "get-variable" => Value::Unknown,
            "set-alias" | "new-alias" => self.set_alias(call),
            "import-module" => self.import_module(call),
            "new-object" => self.new_object_call(call),
            "powershell" | "powershell.exe" | "pwsh" | "pwsh.exe" => self.power_shell(call),
            "cmd" | "cmd.exe" => self.cmd(call),
            "bash" | "sh" | "zsh" | "dash" | "bash.exe" | "sh.exe" => self.posix_shell(call),
            _ => return None,
        })
    }

    fn write_output(call: &Call) -> Value {
        let bound = call.bind("InputObject= NoEnumerate", "InputObject...");
        match bound.get("InputObject") {
            Some(value) => Value::gather(value.clone().elements()),
            None => call.input.clone().unwrap_or(Value::Null),
        }
    }

    /// What a cmdlet that a table describes gives.
    pub(super) fn output_of(&mut self, name: &str, call: &Call) -> Value {
        let name = name.to_ascii_lowercase();
        if DATA.contains(&name.as_str()) {
            return Value::Harmless;
        }
        match name.as_str() {
            "tee-object" => call.input.clone().unwrap_or(Value::Null),
            "new-item" => self.new_item_output(call),
            "out-null" | "out-file" | "set-content" | "add-content" | "remove-item"
            | "clear-content" | "out-host" | "start-sleep" | "export-csv" => Value::Null,
            _ => Value::Unknown,
        }
    }

    fn new_item_output(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Path= Name= ItemType= Type= Value= Target= Force Credential=",
            "Path",
        );
        let path = match (bound.get("Path"), bound.get("Name")) {
            (Some(path), Some(name)) => self.join_path(path.clone(), name),
            (Some(path), None) | (None, Some(path)) => path.clone(),
            (None, None) => return Value::Unknown,
        };
        let link = bound.any(&["ItemType", "Type"]).is_some_and(|kind| {
            kind.string().is_none_or(|kind| {
                let kind = kind.to_ascii_lowercase();
                kind == b"symboliclink" || kind == b"junction"
            })
        });
        let items = self.named_items(&path, true);
        if link {
            let made = items.iter().filter_map(Value::string);
            self.links.extend(made);
        }
        match items.as_slice() {
            [item @ Value::Item(_)] => item.clone(),
            _ => Value::Unknown,
        }
    }

    /// Notes that a command is not understood, with all that is known of its arguments.
    pub(super) fn not_understood(&mut self, call: &Call, reason: &str) -> Value {
        let mut text = self.source[self.span.clone()].to_vec();
        for value in call.values().chain(call.input.as_ref()) {
            for arg in value.arguments(self.separator()) {
                let here = text.windows(arg.text.len().max(1)).any(|w| w == arg.text);
                if !here && text.len() < 8192 {
                    text.push(b' ');
                    text.extend_from_slice(&arg.text);
                }
            }
        }
        self.unclear_text(text, reason);
        self.script_arguments(call);
        Value::Unknown
    }

    fn forget_everything(&mut self) {
        self.cwd = None;
        self.variables.clear();
        for value in self.environment.values_mut() {
            *value = Value::Unknown;
        }
    }
}

/// Whether a name is that of a module, not a directory.
fn is_module(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain)
}
