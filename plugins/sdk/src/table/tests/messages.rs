//! What is said of files that are not valid, and where.

use super::*;

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, line, column, part) in [
        (
            "[rm]\noperands = \"wirte\"",
            2,
            12,
            "unknown role 'wirte'; the roles are ignore",
        ),
        (
            "[rm]\noptions = [\n \"-f\",\n \"-o=raed\",\n]",
            4,
            2,
            "unknown role 'raed'",
        ),
        ("[rm]\noperand = \"read\"", 2, 1, "did you mean 'operands'?"),
        ("[rm]\nfrobnicate = 1", 2, 1, "the keys are"),
        ("[rm]\noperands = 1", 2, 12, "must be a string, not integer"),
        ("[rm]\ndestructive = \"yes\"", 2, 15, "true or false"),
        ("[rm]\nsame = \"x\"", 2, 8, "a list"),
        ("[rm]\nstyle = \"gnu\"", 2, 9, "the styles are posix"),
        ("[rm]\nother_options = \"no\"", 2, 17, "ignore"),
        ("[rm]\nunclear = \"\"", 2, 11, "say why"),
        ("[rm]\noptions = [\"-f\", \"-f\"]", 2, 18, "listed twice"),
        ("[rm]\noptions = [\"/f\"]", 2, 12, "style = \"slash\""),
        (
            "[rm]\noptions = [\"-f=read@0\"]",
            2,
            12,
            "style = \"named\"",
        ),
        (
            "[rm.when.\"-x\"]\noperands = \"\"",
            1,
            10,
            "not among the options",
        ),
        (
            "[rm]\noptions = [\"-x\"]\n[rm.when.\"-x\"]\nsub = 1",
            4,
            1,
            "unknown key 'sub'",
        ),
        (
            "[rm]\ntouch = [{ depth = \"tree\" }]",
            2,
            10,
            "a path is missing",
        ),
        (
            "[rm]\ntouch = [{ path = \"/x\", depth = \"deep\" }]",
            2,
            33,
            "entry, children, tree",
        ),
        ("[rm]\ntouch = [{ path = \"${X\" }]", 2, 10, "closing"),
        (
            "[rm]\ntouch = [{ path = \"^\" }]",
            2,
            10,
            "a name is missing",
        ),
        ("[rm]\ntouch = [{ path = \"$/x\" }]", 2, 10, "no variable"),
        (
            "[rm]\nirreversible = [{ what = \"network\" }]",
            2,
            17,
            "reason",
        ),
        ("rm = 1", 1, 1, "a command is a table"),
        ("[rm]\n[rm]", 2, 2, "duplicate"),
        ("[a]\nsame = [\"b\"]\n[b]", 3, 2, "also a name of [a]"),
        ("[a.sub.x]\nsame = [\"y\"]\n[a.sub.y]", 1, 4, "another name"),
        ("[rm]\noperands = \"re", 2, 15, "invalid"),
    ] {
        let error = Table::parse("r.toml", text, ArgStyle::Posix).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text}: {error}"
        );
        assert!(error.to_string().starts_with("r.toml:"), "{error}");
    }
}

#[test]
fn built_in_mistakes_have_their_place_in_the_file() {
    let text = "# x\n[a]\n[b]\noperands = \"raed\"\n";
    let table = Table::embedded(&[("b.toml", text)], ArgStyle::Posix).unwrap();
    let error = table.check(&Handlers::new()).unwrap_err();
    assert_eq!((error.line, error.column), (4, 12));
    let place = Place {
        style: Style::Unix,
        cwd: None,
        home: None,
        variable: &|_| None,
        view: &view(),
    };
    let rule = table.rule(b"b").unwrap();
    let found = rule.apply("b", &[], &place, &Handlers::new());
    assert!(
        found.unclear[0].contains("not valid"),
        "{:?}",
        found.unclear
    );
}

#[test]
fn later_commands_win() {
    let mut table = Table::parse("a", "[x]\nsame = [\"y\"]", ArgStyle::Posix).unwrap();
    table.extend(Table::parse("b", "\n[x]", ArgStyle::Posix).unwrap());
    assert_eq!(table.rule(b"x").unwrap().label(), "x (b:2)");
    assert_eq!(table.rule(b"y").unwrap().label(), "x (a:1)");
    assert!(table.rule(b"X").is_none());
    let named = Table::parse("a", "[Get-X]", ArgStyle::Named).unwrap();
    assert!(named.rule(b"get-x").is_some());
    assert_eq!(named.names().collect::<Vec<_>>(), ["get-x"]);
}
