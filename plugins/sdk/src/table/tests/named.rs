//! Parameters of PowerShell.

use super::*;

pub(super) const RULES: &str = r#"
[Remove-Item]
same = ["ri"]
options = ["-Path -LiteralPath=remove@0", "-Recurse", "-Force", "-Filter=ignore"]
destructive = true

[Copy-Item]
options = ["-Path -LiteralPath=read@0", "-Destination=place@1", "-Recurse", "-Container"]

[Move-Item]
options = ["-Path=take@0", "-Destination=place@1"]

[Set-Content]
options = ["-Path=write@0", "-Value=ignore@1", "-PassThru"]

[Invoke-Thing]
options = ["-Name=ignore@0", "-Verb"]
operands = "command..."

[Get-Content]
options = ["-Path=read@0", "-Tail=ignore"]
"#;

fn arguments(line: &str) -> Vec<Vec<Arg>> {
    line.split_whitespace()
        .map(|word| word.split(',').flat_map(words).collect())
        .collect()
}

fn outcome_from(line: &str, user: bool) -> Outcome {
    let table = if user {
        Table::parse("ps.toml", RULES, ArgStyle::Named)
    } else {
        Table::embedded(&[("ps.toml", RULES)], ArgStyle::Named)
    };
    let table = table.unwrap();
    let mut words = arguments(line);
    let name = String::from_utf8(words.remove(0).remove(0).text).unwrap();
    let place = Place {
        style: Style::Unix,
        cwd: Some(b"/srv/app"),
        home: None,
        variable: &|_| None,
        view: &view(),
    };
    let rule = table.rule(name.as_bytes()).expect(&name);
    rule.apply_lists(&name, &words, &place, &Handlers::new())
}

fn outcome(line: &str) -> Outcome {
    outcome_from(line, false)
}

#[test]
fn parameters_are_found_by_name_prefix_and_position() {
    for (line, expected) in [
        ("Remove-Item dir -Recurse", "->. dir/**"),
        ("ri -rec -fo dir", "->. dir/**"),
        ("remove-item -LiteralPath dir", "->. dir/**"),
        ("Remove-Item -Path:dir", "->. dir/**"),
        ("Remove-Item -Path: dir", "->. dir/**"),
        ("Remove-Item a.txt,b.txt", "->. a.txt/** b.txt/**"),
        (
            "Remove-Item -Path a.txt,b.txt -Force",
            "->. a.txt/** b.txt/**",
        ),
        ("Copy-Item a.txt,b.txt dir", "->dir/a.txt ->dir/b.txt/**"),
        ("Copy-Item -Destination dir a.txt", "->dir/a.txt"),
        ("Copy-Item -Path a.txt dir", "->dir/a.txt"),
        ("Move-Item a.txt dir", "->. a.txt/** dir/a.txt"),
        ("Set-Content new text -ErrorAction Stop", "->new/**"),
        ("Remove-Item dir -Confirm:$false -Verbose", "->. dir/**"),
        ("Remove-Item dir -WhatIf", ""),
        ("Remove-Item dir -WhatIf:$false", "->. dir/**"),
        ("Get-Content …", ""),
    ] {
        let outcome = outcome(line);
        assert_eq!(paths(&outcome), expected, "{line}");
        assert_eq!(outcome.unclear, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    for (line, reason, expected) in [
        ("Remove-Item …", "not known", "->./**"),
        (
            "Remove-Item dir -Frob",
            "unknown option '-Frob'",
            "->. dir/**",
        ),
        // A prefix of several parameters.
        ("Remove-Item dir -F", "unknown option '-F'", "->. dir/**"),
        ("Remove-Item dir -WhatIf:…", "on or off", "->. dir/**"),
        ("Remove-Item dir -P…", "any parameter", "->. dir/**"),
    ] {
        let outcome = outcome(line);
        let found = outcome.unclear.join("; ");
        assert!(found.contains(reason), "{line}: {found:?}");
        assert_eq!(paths(&outcome), expected, "{line}");
    }
}

#[test]
fn a_function_of_the_user_need_not_know_what_if() {
    let found = outcome_from("Remove-Item dir -WhatIf", true);
    assert_eq!(paths(&found), "->. dir/**");
}

#[test]
fn what_follows_the_positions_are_operands() {
    let found = outcome("Invoke-Thing name -Verb rm x");
    assert_eq!(found.nested[0].what, NestedCommand::Words(words("rm x")));
}
