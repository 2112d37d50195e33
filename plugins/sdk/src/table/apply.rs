//! What a rule makes of a call.

use deployx_plugin_abi::Effect;

use super::arguments::{Args, Given, Grammar, Parsed, UNKNOWN_OPTION, named, shown};
use super::call::{Arg, Known, NestedCommand, Outcome, Place};
use super::findings::Findings;
use super::handlers::{HandlerCall, Handlers};
use super::operands::{self, Count, OperandSpec};
use super::options::OptionSpec;
use super::role::Role;
use super::rule::{ArgStyle, Deeds, HandlerName, Rule, Touch};
use super::touch;

/// From this many operands on, one that may be several may be any of them.
const MAX_UNCERTAIN: usize = 256;

/// Operands where a command lists none.
static ANY: &[OperandSpec] = &[OperandSpec {
    role: Role::Ignore,
    many: true,
    optional: true,
    default: None,
}];

impl Rule {
    /// What a call of this command touches. `name` is the command's name as given, `args` are its
    /// arguments after expansion.
    pub fn apply(
        &self,
        name: &str,
        args: &[Arg],
        place: &Place<'_>,
        handlers: &Handlers,
    ) -> Outcome {
        let args = Args {
            all: args,
            ends: &[],
        };
        self.apply_args(name, args, place, handlers)
    }

    /// The same for a shell that has lists (`Remove-Item a, b`): each argument is one value or
    /// several. An empty list stands for one empty argument.
    pub fn apply_lists(
        &self,
        name: &str,
        args: &[Vec<Arg>],
        place: &Place<'_>,
        handlers: &Handlers,
    ) -> Outcome {
        let mut all = Vec::new();
        let mut ends = Vec::new();
        for list in args {
            if list.is_empty() {
                all.push(Arg::whole(""));
            }
            all.extend(list.iter().cloned());
            ends.resize(all.len(), all.len());
        }
        let args = Args {
            all: &all,
            ends: &ends,
        };
        self.apply_args(name, args, place, handlers)
    }

    fn apply_args(
        &self,
        name: &str,
        args: Args<'_>,
        place: &Place<'_>,
        handlers: &Handlers,
    ) -> Outcome {
        let mut parsed = Parsed::default();
        let mut chain = vec![self];
        let mut start = 0;
        let mut reasons = Vec::new();
        let mut known = true;
        while let Some(rule) = chain.last().filter(|rule| !rule.sub.is_empty()) {
            match rule.descend(&chain, args, start, &mut parsed, &mut reasons) {
                Descent::Into(sub, next) => {
                    chain.push(sub);
                    start = next;
                }
                Descent::Here => break,
                Descent::Unknown(reason) => {
                    reasons.push(reason);
                    known = false;
                    break;
                }
            }
        }
        let mut outcome = Call {
            chain: &chain,
            name,
            args,
            start,
            place,
            handlers,
        }
        .run(parsed, known);
        outcome.unclear.extend(reasons);
        outcome
    }

    /// The operands in force with these options.
    pub(crate) fn operands(&self, given: &[Given<'_>]) -> &[OperandSpec] {
        Does::of(self, given).operands
    }

    /// Reads the options before a subcommand's name and finds the subcommand.
    fn descend<'a>(
        &'a self,
        chain: &[&'a Rule],
        args: Args<'a>,
        start: usize,
        parsed: &mut Parsed<'a>,
        reasons: &mut Vec<String>,
    ) -> Descent<'a> {
        let mut head = Parsed::default();
        grammar(chain, true).read(args, start, &mut head);
        let Some(operand) = head.operands.first().copied() else {
            return Descent::Here;
        };
        // What may take the name as its value is never harmless.
        reasons.append(&mut head.doubts);
        parsed.options.append(&mut head.options);
        let Some(name) = operand.arg.value() else {
            let reason = format!("subcommand '{}' is not known", shown(operand.arg));
            return Descent::Unknown(reason);
        };
        match self.subcommand(name).or_else(|| self.any_subcommand()) {
            Some(sub) => Descent::Into(sub, operand.at + 1),
            None => Descent::Unknown(format!(
                "unknown subcommand '{}' of {}",
                shown(operand.arg),
                self.name
            )),
        }
    }
}

/// What comes of looking for a subcommand.
enum Descent<'a> {
    Into(&'a Rule, usize),
    Here,
    Unknown(String),
}

/// The grammar of the last of `chain`; of its `head` only, up to a subcommand's name.
fn grammar<'a>(chain: &[&'a Rule], head: bool) -> Grammar<'a> {
    let rule = chain[chain.len() - 1];
    let mut options: Vec<&[OptionSpec]> = vec![&rule.options];
    for above in chain[..chain.len() - 1].iter().rev() {
        if !above.inherit_options {
            break;
        }
        options.push(&above.options);
    }
    if rule.style == ArgStyle::Named {
        options.push(named::common());
    }
    Grammar {
        style: rule.style,
        options,
        other_options: rule.other_options,
        first_word_is_options: rule.first_word_is_options,
        head,
        rule,
        has_command: rule.has_command(),
    }
}

/// A call of the last of `chain`.
struct Call<'a> {
    chain: &'a [&'a Rule],
    name: &'a str,
    args: Args<'a>,
    start: usize,
    place: &'a Place<'a>,
    handlers: &'a Handlers,
}

impl<'a> Call<'a> {
    fn rule(&self) -> &'a Rule {
        self.chain[self.chain.len() - 1]
    }

    /// `read`: the arguments from `start` on are this rule's.
    fn run(&self, mut parsed: Parsed<'a>, read: bool) -> Outcome {
        let rule = self.rule();
        if read {
            grammar(self.chain, false).read(self.args, self.start, &mut parsed);
        }
        let does = Does::of(rule, &parsed.options);
        if self.only_tells(&parsed) {
            return Outcome::default();
        }
        if let Some(handler) = does.handler {
            return self.handle(handler, &does, &parsed);
        }
        let mut outcome = self.described(&does, &parsed);
        let harmless = self.is_harmless();
        let doubts = parsed.doubts.into_iter();
        let matter = doubts.filter(|doubt| !harmless || doubt.starts_with(UNKNOWN_OPTION));
        outcome.unclear.extend(matter);
        outcome
    }

    /// `-WhatIf`: the command only tells what it would do. A function of the user need not know it.
    fn only_tells(&self, parsed: &Parsed<'a>) -> bool {
        let rule = self.rule();
        rule.style == ArgStyle::Named
            && parsed.has("-WhatIf")
            && (rule.origin.is_none() || rule.options.iter().any(|spec| spec.is("-WhatIf")))
    }

    fn handle(&self, handler: &HandlerName, does: &Does<'a>, parsed: &Parsed<'a>) -> Outcome {
        let rule = self.rule();
        let described = || self.described(does, parsed);
        let Some(function) = self.handlers.get(&handler.name) else {
            let mut outcome = described();
            let reason = format!("the rule in code '{}' is missing here", handler.name);
            outcome.unclear.push(reason);
            return outcome;
        };
        let mut outcome = function(&HandlerCall {
            rule,
            name: self.name,
            args: self.args.all,
            start: self.start,
            parsed,
            place: *self.place,
            described: &described,
        });
        if !rule.options.is_empty() {
            outcome.unclear.extend(parsed.doubts.iter().cloned());
        }
        outcome
    }

    /// Whether no option and no operand of the rule can change anything.
    fn is_harmless(&self) -> bool {
        let rule = self.rule();
        let options = self.chain.iter().flat_map(|rule| &rule.options);
        options.map(|spec| &spec.role).all(Role::is_harmless)
            && rule.does.is_harmless()
            && rule.when.iter().all(|when| when.does.is_harmless())
    }

    /// What the table says.
    fn described(&self, does: &Does<'a>, parsed: &Parsed<'a>) -> Outcome {
        let mut findings = Findings::new(self.rule().label(), *self.place);
        findings.follow_chdir(&parsed.options);
        for touch in does.touch {
            touch::apply(&mut findings, touch);
        }
        for effect in does.irreversible {
            findings.irreversible(&effect.what, effect.reason.as_str());
        }
        if does.destructive {
            findings.destructive();
        }
        if let Some(reason) = does.unclear {
            findings.unclear(reason);
        }
        let operands = assign(does.operands, parsed, &mut findings);
        let operands: Vec<(&Role, &Arg)> = operands
            .iter()
            .map(|(role, arg)| (*role, arg.as_ref()))
            .collect();
        for (_, directory) in operands.iter().filter(|(role, _)| **role == Role::Chdir) {
            findings.chdir(directory);
        }
        self.roles(&operands, parsed, &mut findings);
        if let Some(at) = parsed.command {
            let words = self.args.all.get(at..).unwrap_or(&[]);
            findings.nested(NestedCommand::Words(words.to_vec()));
        }
        findings.finish()
    }

    fn roles(&self, operands: &[(&Role, &Arg)], parsed: &Parsed<'a>, findings: &mut Findings<'_>) {
        let options = parsed.options.iter().flat_map(|given| {
            let values = given.values.iter();
            values.map(move |value| (&given.spec.role, value))
        });
        let all: Vec<(&Role, &Arg)> = options.chain(operands.iter().copied()).collect();
        // Parameters by name are as good as operands; `--file=x` of other styles is no source.
        let by_name = self.rule().style == ArgStyle::Named;
        let candidates = if by_name { all.as_slice() } else { operands };
        let named = candidates
            .iter()
            .filter(|(role, _)| matches!(role, Role::Read | Role::Take));
        let sources: Vec<&Arg> = named.map(|(_, arg)| *arg).collect();
        let moved = candidates.iter().any(|(role, _)| **role == Role::Take);
        for (role, arg) in all {
            match role {
                Role::Place => findings.place_in(arg, &sources, false, moved),
                Role::Into => findings.place_in(arg, &sources, true, moved),
                // Followed before, and read from `parsed.command`.
                Role::Chdir | Role::Command => {}
                role => findings.role(role, arg),
            }
        }
    }
}

/// What is in force, given the options of a call.
struct Does<'a> {
    operands: &'a [OperandSpec],
    touch: &'a [Touch],
    irreversible: &'a [Effect],
    destructive: bool,
    handler: Option<&'a HandlerName>,
    unclear: Option<&'a str>,
}

impl<'a> Does<'a> {
    fn of(rule: &'a Rule, given: &[Given<'_>]) -> Self {
        let base = &rule.does;
        let when = rule.when.iter().find(|when| {
            let named = |name: &String| given.iter().any(|g| g.spec.is(name));
            when.options.iter().any(named)
        });
        let when: Option<&'a Deeds> = when.map(|when| &when.does);
        macro_rules! either {
            ($field:ident) => {
                when.and_then(|w| w.$field.as_ref())
                    .or(base.$field.as_ref())
            };
        }
        Self {
            operands: either!(operands).map_or(ANY, |list| list.as_slice()),
            touch: either!(touch).map_or(&[], |list| list.as_slice()),
            irreversible: either!(irreversible).map_or(&[], |list| list.as_slice()),
            destructive: either!(destructive).copied().unwrap_or_default(),
            handler: either!(handler),
            unclear: either!(unclear)
                .map(String::as_str)
                .filter(|r| !r.is_empty()),
        }
    }
}

/// Gives every operand its role; one that may be several gets every role it may have.
fn assign<'a>(
    specs: &'a [OperandSpec],
    parsed: &Parsed<'a>,
    findings: &mut Findings<'_>,
) -> Vec<(&'a Role, std::borrow::Cow<'a, Arg>)> {
    use std::borrow::Cow;
    let mut found: Vec<(&Role, Cow<'_, Arg>)> = Vec::new();
    let counts: Vec<Count> = parsed.operand_args().map(|arg| count(arg, specs)).collect();
    let total = counts
        .iter()
        .fold(Count { least: 0, most: 0 }, |a, b| a.plus(*b));
    let vague = total.least != total.most;
    let mut before = Count { least: 0, most: 0 };
    for (index, (operand, own)) in parsed.operands.iter().zip(&counts).enumerate() {
        if !vague {
            match operands::spec_at(specs, index, counts.len()) {
                Some(spec) => found.push((&specs[spec].role, Cow::Borrowed(operand.arg))),
                None => surplus(operand.arg, findings),
            }
            continue;
        }
        let behind = Count {
            least: total.least - before.least - own.least,
            most: total.most - before.most - own.most,
        };
        if counts.len() > MAX_UNCERTAIN {
            found.extend(specs.iter().map(|s| (&s.role, Cow::Borrowed(operand.arg))));
        } else {
            let (roles, too_many) = operands::possible_specs(specs, before, *own, behind);
            let roles = roles.into_iter().map(|spec| &specs[spec].role);
            found.extend(roles.map(|role| (role, Cow::Borrowed(operand.arg))));
            if too_many {
                surplus(operand.arg, findings);
            }
        }
        before = before.plus(*own);
    }
    let commands = usize::from(parsed.command.is_some());
    for spec in operands::missing(specs, total.least + commands) {
        let default = spec.default.as_deref().unwrap_or_default();
        found.push((&spec.role, Cow::Owned(Arg::whole(default))));
    }
    found
}

fn surplus(arg: &Arg, findings: &mut Findings<'_>) {
    findings.unclear(format!(
        "'{}' is one argument too many for the rule",
        shown(arg)
    ));
}

/// How many operands an argument stands for, as far as the assignment of roles can tell a difference.
fn count(arg: &Arg, specs: &[OperandSpec]) -> Count {
    let most = specs.len() + 2;
    match arg.known {
        Known::Whole | Known::Beginning => Count::ONE,
        Known::Pattern => Count { least: 1, most },
        Known::Several => Count {
            least: usize::from(!arg.text.is_empty()),
            most,
        },
    }
}
