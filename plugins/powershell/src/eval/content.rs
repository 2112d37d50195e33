//! Cmdlets about the shell itself: variables, aliases, modules, objects.

use crate::value::Value;
use crate::wildcard;

use super::Evaluator;
use super::arguments::Call;
use super::expression::type_key;

/// Modules that come with the system or are in general use, whose loading changes nothing.
const MODULES: [&str; 24] = [
    "activedirectory",
    "appx",
    "bitstransfer",
    "cimcmdlets",
    "dism",
    "dnsclient",
    "grouppolicy",
    "hyper-v",
    "iisadministration",
    "netadapter",
    "netsecurity",
    "nettcpip",
    "packagemanagement",
    "pki",
    "powershellget",
    "psdiagnostics",
    "psreadline",
    "psscheduledjob",
    "scheduledtasks",
    "servermanager",
    "smbshare",
    "sqlserver",
    "storage",
    "webadministration",
];

impl Evaluator<'_> {
    pub(super) fn set_variable_call(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Name= Value= Option= Scope= Description= Visibility= Force PassThru Include= Exclude=",
            "Name Value",
        );
        let value = bound.get("Value").or(call.input.as_ref()).cloned();
        match bound.get("Name").and_then(Value::string) {
            Some(name) if !call.splatted => {
                self.set_variable(&name, value.unwrap_or(Value::Null));
                if bound.get("Scope").is_some() {
                    self.escaped.push(Self::variable_key(&name));
                }
                Value::Null
            }
            _ => self.not_understood(call, "the name of the variable is not known"),
        }
    }

    pub(super) fn remove_variable_call(&mut self, call: &Call) -> Value {
        let bound = call.bind("Name= Scope= Force Include= Exclude= PassThru", "Name");
        let names = bound.get("Name").cloned().unwrap_or(Value::Unknown);
        for name in names.elements() {
            let name = name.string().filter(|name| !wildcard::has_wildcards(name));
            match name {
                Some(name) => self.set_variable(&name, Value::Null),
                None => {
                    for value in self.variables.values_mut() {
                        *value = Value::Unknown;
                    }
                }
            }
        }
        Value::Null
    }

    pub(super) fn set_alias(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Name= Value= Option= Scope= Description= Force PassThru",
            "Name Value",
        );
        let name = bound.get("Name").and_then(Value::string);
        let value = bound.get("Value").and_then(Value::string);
        let (Some(name), Some(value)) = (name, value) else {
            self.answer.session.unknown = true;
            return self.not_understood(call, "the alias is not known");
        };
        let shown = String::from_utf8_lossy(&name).into_owned();
        self.answer.session.redefined.push(shown);
        self.aliases.insert(name.to_ascii_lowercase(), value);
        Value::Null
    }

    pub(super) fn import_module(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Name= FullyQualifiedName= Assembly= ModuleInfo= Global Prefix= Function= Cmdlet= \
             Variable= Alias= Force PassThru AsCustomObject MinimumVersion= MaximumVersion= \
             RequiredVersion= ArgumentList= DisableNameChecking NoClobber Scope= PSSession= \
             CimSession= SkipEditionCheck UseWindowsPowerShell",
            "Name",
        );
        let names = bound.get("Name").cloned().unwrap_or(Value::Unknown);
        let known = names.elements().iter().all(|name| {
            name.string().is_some_and(|name| {
                let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
                MODULES.contains(&name.as_str())
                    || name.starts_with("microsoft.powershell.")
                    || name == "az"
                    || name.starts_with("az.")
            })
        });
        if known && !call.splatted && bound.unknown.is_none() {
            return Value::Null;
        }
        self.answer.session.unknown = true;
        self.not_understood(call, "loading a module runs its code")
    }

    pub(super) fn new_object_call(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "TypeName= ArgumentList= Args= ComObject= Strict Property=",
            "TypeName ArgumentList",
        );
        if bound.get("ComObject").is_some() {
            return self.not_understood(call, "what a COM object does is not known");
        }
        let Some(name) = bound.get("TypeName").and_then(Value::string) else {
            return self.not_understood(call, "the type of the object is not known");
        };
        let arguments = bound.any(&["ArgumentList", "Args"]).cloned();
        let arguments = arguments.map(Value::elements).unwrap_or_default();
        let kind = String::from_utf8_lossy(&type_key(&name)).into_owned();
        self.new_object(&kind, &arguments)
    }
}
