//! Lines within lines: `Invoke-Expression`, other shells, `Start-Process`.

use deployx_plugin_sdk::SessionState;
use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Known};

use crate::syntax::parse;
use crate::value::Value;
use crate::wildcard;

use super::arguments::{Call, Given};
use super::{Evaluator, MAX_CALLS, MAX_NESTED};

impl Evaluator<'_> {
    /// Follows a line of this very shell, in the scope of the caller.
    fn line(&mut self, text: &[u8]) -> Value {
        if self.calls >= MAX_CALLS {
            self.unclear("lines are nested too deeply");
            return Value::Unknown;
        }
        self.nested += text.len();
        if self.nested > MAX_NESTED {
            self.give_up("too many lines within lines");
            return Value::Unknown;
        }
        self.calls += 1;
        let source = std::mem::replace(&mut self.source, text.to_vec().into());
        let span = std::mem::replace(&mut self.span, 0..text.len());
        let script = parse(text);
        let value = self.block(&script.body);
        self.source = source;
        self.span = if self.gave_up {
            0..self.source.len()
        } else {
            span
        };
        self.calls -= 1;
        value
    }

    /// Follows a line of this shell in a process of its own: what it does to the shell is lost.
    fn own_process(&mut self, text: &[u8]) -> Value {
        let before = self.state();
        let functions = std::mem::take(&mut self.functions);
        let aliases = std::mem::take(&mut self.aliases);
        let session = self.answer.session.clone();
        self.variables.clear();
        self.line(text);
        self.answer.session = session;
        self.functions = functions;
        self.aliases = aliases;
        self.restore(before);
        Value::Harmless
    }

    pub(super) fn invoke_expression(&mut self, call: &Call) -> Value {
        let bound = call.bind("Command=", "Command");
        let command = bound.get("Command").or(call.input.as_ref());
        match command.and_then(Value::string) {
            Some(text) if !call.splatted => self.line(&text),
            _ => {
                self.answer.session.unknown = true;
                self.not_understood(call, "the line that is run is not known");
                self.cwd = None;
                Value::Unknown
            }
        }
    }

    /// `powershell -Command …`
    pub(super) fn power_shell(&mut self, call: &Call) -> Value {
        const UNKNOWN: &str = "what the other PowerShell runs is not known";
        let mut words: Vec<Value> = Vec::new();
        let mut given = call.given.iter();
        let mut command = false;
        while let Some(next) = given.next() {
            match next {
                Given::Parameter(name, _) if !command => {
                    match String::from_utf8_lossy(name).to_ascii_lowercase().as_str() {
                        "c" | "command" => command = true,
                        "noprofile" | "nop" | "noninteractive" | "nologo" | "sta" | "mta"
                        | "noexit" | "login" | "l" => {}
                        "executionpolicy" | "ex" | "ep" | "exec" | "windowstyle" | "w"
                        | "inputformat" | "outputformat" => {
                            given.next();
                        }
                        _ => return self.not_understood(call, UNKNOWN),
                    }
                }
                Given::Parameter(name, value) => {
                    let colon: &[u8] = if value.is_some() { b":" } else { b"" };
                    let text = [b"-", name.as_slice(), colon].concat();
                    words.push(Value::text(text));
                    words.extend(value.clone());
                }
                Given::Value { value, .. } => {
                    // Windows PowerShell takes a bare argument as a command, pwsh as a file.
                    let is_pwsh = call.name.to_ascii_lowercase().starts_with(b"pwsh");
                    if !command && is_pwsh {
                        return self.not_understood(call, "a script is run");
                    }
                    command = true;
                    words.push(value.clone());
                }
            }
        }
        if call.splatted {
            return self.not_understood(call, UNKNOWN);
        }
        if let [Value::Block(block)] = words.as_slice() {
            let before = self.state();
            let block = block.clone();
            self.variables.clear();
            self.call_block(&block, Vec::new(), None);
            self.restore(before);
            return Value::Harmless;
        }
        let texts: Option<Vec<Vec<u8>>> = words.iter().map(Value::string).collect();
        match texts {
            Some(texts) if !texts.is_empty() && texts != [b"-"] => {
                self.own_process(&texts.join(&b' '))
            }
            _ => self.not_understood(call, UNKNOWN),
        }
    }

    /// `cmd /c …`
    pub(super) fn cmd(&mut self, call: &Call) -> Value {
        let words = self.words(call);
        let begin = words.iter().position(|word| {
            let text = word.text.to_ascii_lowercase();
            text.starts_with(b"/c") || text.starts_with(b"/k")
        });
        let Some(begin) = begin else {
            return self.not_understood(call, "an interactive shell");
        };
        let mut rest: Vec<&[u8]> = Vec::new();
        for word in &words[begin..] {
            match word.value() {
                Some(text) => rest.push(text),
                None => {
                    return self.not_understood(call, "the line of the other shell is not known");
                }
            }
        }
        rest[0] = &rest[0][2..];
        rest.retain(|text| !text.is_empty());
        let alone = rest.len() == 1;
        let mut line = Vec::new();
        for text in rest {
            if !line.is_empty() {
                line.push(b' ');
            }
            // PowerShell puts words with blanks in quotes; a single one is the line itself.
            if !alone && text.contains(&b' ') && !text.starts_with(b"\"") {
                line.extend([b"\"", text, b"\""].concat());
            } else {
                line.extend_from_slice(text);
            }
        }
        self.other_shell("cmd", &line, call)
    }

    /// `bash -c '…'`
    pub(super) fn posix_shell(&mut self, call: &Call) -> Value {
        let words = self.words(call);
        let shell = String::from_utf8_lossy(&call.name).to_ascii_lowercase();
        let shell = shell.strip_suffix(".exe").unwrap_or(&shell).to_string();
        match words.as_slice() {
            [option, line] if matches!(option.value(), Some(b"-c" | b"-lc" | b"-ec")) => {
                match line.value() {
                    Some(line) => self.other_shell(&shell, line, call),
                    None => self.not_understood(call, "the line of the other shell is not known"),
                }
            }
            _ => self.not_understood(call, "what the other shell runs is not known"),
        }
    }

    /// Hands a line to the rules of another shell.
    pub(super) fn other_shell(&mut self, shell: &str, line: &[u8], call: &Call) -> Value {
        if matches!(shell, "powershell" | "pwsh") {
            return self.own_process(line);
        }
        let Some(cwd) = self.cwd.clone() else {
            return self.not_understood(call, "it is not known where the other shell runs");
        };
        let mut request = self.request.clone();
        request.shell = shell.into();
        request.command = line.to_vec();
        request.cwd = cwd;
        request.session = SessionState::default();
        let changed = &self.answer.session.assigned;
        request
            .env
            .retain(|(name, _)| !changed.iter().any(|c| c.eq_ignore_ascii_case(name)));
        let nested = self.rules.nested.as_ref();
        let Some(answer) = nested.and_then(|nested| nested(&request, self.view)) else {
            return self.not_understood(call, "a line of another shell");
        };
        self.answer.paths.extend(answer.paths);
        for mut unclear in answer.unclear {
            unclear.cwd = unclear.cwd.or_else(|| Some(request.cwd.clone()));
            self.answer.unclear.push(unclear);
        }
        self.answer.irreversible.extend(answer.irreversible);
        self.answer.destructive |= answer.destructive;
        Value::Harmless
    }

    /// The arguments as a program gets them.
    pub(super) fn words(&self, call: &Call) -> Vec<Arg> {
        let mut words = Vec::new();
        for given in &call.given {
            match given {
                Given::Parameter(name, None) => {
                    words.push(Arg::whole([b"-", name.as_slice()].concat()));
                }
                Given::Parameter(name, Some(value)) => {
                    let mut values = value.arguments(self.separator()).into_iter();
                    let first = values.next().unwrap_or_else(|| Arg::whole(""));
                    words.push(Arg {
                        text: [b"-", name.as_slice(), b":", &first.text].concat(),
                        known: first.known,
                    });
                    words.extend(values);
                }
                Given::Value { value, bare } => words.extend(self.program_words(value, *bare)),
            }
        }
        if call.splatted {
            words.push(Arg {
                text: Vec::new(),
                known: Known::Several,
            });
        }
        words
    }

    fn program_words(&self, value: &Value, bare: bool) -> Vec<Arg> {
        if matches!(value, Value::Unknown) {
            return vec![Arg {
                text: Vec::new(),
                known: Known::Several,
            }];
        }
        let words = value.arguments(self.separator());
        // On Unix words without quotes are expanded for programs; on Windows nothing is.
        if !bare || self.style != Style::Unix {
            return words;
        }
        words
            .into_iter()
            .flat_map(|word| self.expanded(word))
            .collect()
    }

    fn expanded(&self, mut word: Arg) -> Vec<Arg> {
        if word.known != Known::Whole {
            return vec![word];
        }
        if let (Some(b'~'), Some(home)) = (word.text.first(), &self.request.home)
            && matches!(word.text.get(1), None | Some(b'/'))
        {
            word.text = [home.as_slice(), &word.text[1..]].concat();
        }
        if !wildcard::has_wildcards(&word.text) {
            return vec![word];
        }
        let cwd = self.cwd.as_deref();
        let found = cwd.and_then(|cwd| wildcard::expand(self.style, self.view, cwd, &word.text));
        match found {
            Some(found) if found.is_empty() => vec![word],
            Some(found) => found
                .into_iter()
                .map(|(path, _)| Arg::whole(path))
                .collect(),
            None => vec![Arg {
                known: Known::Pattern,
                ..word
            }],
        }
    }

    /// A program that is started by name.
    pub(super) fn start_process(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "FilePath= ArgumentList= Args= WorkingDirectory= Verb= WindowStyle= Wait NoNewWindow \
             PassThru Credential= LoadUserProfile UseNewEnvironment RedirectStandardOutput= \
             RedirectStandardError= RedirectStandardInput= Environment=",
            "FilePath ArgumentList",
        );
        for name in ["RedirectStandardOutput", "RedirectStandardError"] {
            if let Some(target) = bound.get(name).cloned() {
                self.write_to(&target, "target of a redirection", "Start-Process");
            }
        }
        let Some(program) = bound.get("FilePath").and_then(Value::string) else {
            return self.not_understood(call, "the program is not known");
        };
        if bound.unknown.is_some() || call.splatted {
            return self.not_understood(call, "the arguments are not known");
        }
        let mut inner = Call {
            name: program,
            ..Call::default()
        };
        let arguments = bound.any(&["ArgumentList", "Args"]).cloned();
        for argument in arguments.map(Value::elements).unwrap_or_default() {
            // One string may hold several arguments.
            match argument.string() {
                Some(text) if !text.contains(&b'"') => {
                    for word in text.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
                        let value = Value::text(word);
                        inner.given.push(Given::Value { value, bare: false });
                    }
                }
                _ => inner.splatted = true,
            }
        }
        let before = self.state();
        if let Some(directory) = bound.get("WorkingDirectory") {
            self.cwd = directory.string().and_then(|path| self.absolute(&path));
        }
        let lower = inner.name.to_ascii_lowercase();
        match lower.strip_suffix(b".exe".as_slice()).unwrap_or(&lower) {
            b"cmd" => self.cmd(&inner),
            b"powershell" | b"pwsh" => self.not_understood(call, "another PowerShell is started"),
            b"bash" | b"sh" => self.posix_shell(&inner),
            _ => self.program(&inner),
        };
        self.restore(before);
        Value::Unknown
    }
}
