//! What becomes of paths that cannot be looked at, links and devices.

use deployx_plugin_abi::Kind;

use super::*;
use crate::FileView;

/// Tells nothing.
struct Blind;

impl FileView for Blind {
    fn kind(&self, _: &[u8]) -> Kind {
        Kind::Unknown
    }
    fn list(&self, _: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        None
    }
    fn read_link(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn read(&self, _: &[u8], _: usize) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn what_cannot_be_looked_at_is_covered_as_a_tree() {
    let table = Table::parse("rules.toml", RULES, ArgStyle::Posix).unwrap();
    for (line, expected) in [
        ("cp a b", "->b/**"),
        ("cp a b dir", "->dir/**"),
        ("cp -t dir a", "->dir/**"),
        ("mv a b", "->. ->b/** a/**"),
        ("sort -o out a", "->out/**"),
        ("sed -i s/a/b/ x", "x/**"),
        ("mkdir x", "->. ->x/**"),
        ("chmod 644 x", "->x/**"),
    ] {
        let words = words(line);
        let name = String::from_utf8(words[0].text.clone()).unwrap();
        let place = Place {
            style: Style::Unix,
            cwd: Some(b"/srv/app"),
            home: None,
            variable: &|_| None,
            view: &Blind,
        };
        let rule = table.rule(name.as_bytes()).unwrap();
        let found = rule.apply(&name, &words[1..], &place, &Handlers::new());
        assert_eq!(paths(&found), expected, "{line}");
        assert_eq!(found.unclear, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn an_unknown_name_may_be_that_of_a_link() {
    let rules = "[cp]\noperands = \"read... place\"";
    let apply = |line: &str| outcome_of(rules, Some("/srv/app"), &words(line));
    let found = apply("cp -- /data/… dir");
    assert_eq!(paths(&found), "->dir/**");
    assert!(found.unclear.is_empty(), "{:?}", found.unclear);
    // The working directory has links in it.
    let found = apply("cp -- /data/… .");
    assert!(!found.unclear.is_empty());
}

#[test]
fn a_directory_may_be_an_operand() {
    let rules = "[at]\noperands = \"chdir remove...\"";
    let found = outcome_of(rules, Some("/srv/app"), &words("at dir x"));
    assert_eq!(paths(&found), "->dir dir/x/**");
    let found = outcome_of(rules, Some("/srv/app"), &words("at …… x"));
    assert!(!found.unclear.is_empty());
}

#[test]
fn an_option_before_a_subcommand_that_is_not_known_is_said() {
    let rules = "[git]\noptions = [\"-C=chdir\"]\n[git.sub.status]\n";
    let apply = |line: &str| outcome_of(rules, Some("/srv/app"), &words(line));
    assert!(apply("git -C … status").unclear.is_empty());
    assert!(!apply("git --… status").unclear.is_empty());
    assert!(!apply("git …… status").unclear.is_empty());
}

#[test]
fn a_handler_takes_over_and_may_ask_what_the_table_says() {
    fn handler(call: &HandlerCall<'_>) -> Outcome {
        let mut findings = call.findings();
        findings.merge(call.described());
        if let Some(value) = call.parsed.value("--out") {
            findings.role(&Role::Remove, value);
        }
        for arg in call.parsed.operand_args() {
            findings.role(&Role::Write, arg);
        }
        findings.finish()
    }
    let rules = "[x]\nhandler = \"x\"\noptions = [\"-o --out=ignore\"]\ntouch = [{ path = \"/etc\" }]\n[x.sub.y]\nhandler = \"x\"";
    let table = Table::parse("r.toml", rules, ArgStyle::Posix).unwrap();
    let handlers = Handlers::of(&[("x", handler)]);
    assert_eq!(table.check(&handlers), Ok(()));
    let error = table.check(&Handlers::new()).unwrap_err();
    assert_eq!((error.line, error.column), (2, 11));
    let place = Place {
        style: Style::Unix,
        cwd: Some(b"/srv/app"),
        home: None,
        variable: &|_| None,
        view: &view(),
    };
    let rule = table.rule(b"x").unwrap();
    let found = rule.apply("x", &words("-o dir y a.txt"), &place, &handlers);
    assert_eq!(paths(&found), "->. ->a.txt dir/**");
    let found = rule.apply("x", &words("-o dir"), &place, &handlers);
    assert_eq!(paths(&found), "->. ->/etc/** dir/**");
    let found = rule.apply("x", &words("-o dir"), &place, &Handlers::new());
    assert!(found.unclear[0].contains("missing here"));
}
