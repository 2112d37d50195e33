//! The key `touch`.

use super::*;

fn touched(path: &str, files: &[&str], cwd: Option<&str>, known: &[(&str, &str)]) -> Outcome {
    let rules = format!("[x]\ntouch = [{{ path = '{path}', depth = \"entry\" }}]");
    let table = Table::parse("r.toml", &rules, ArgStyle::Posix).unwrap();
    let variable = |name: &str| {
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes().to_vec())
    };
    let mut view = MemoryView::new(files);
    view.file("/srv/tree/.git", "gitdir: ../app/.git/worktrees/tree\n");
    view.file("/srv/app/.git/worktrees/tree/commondir", "../..\n");
    let place = Place {
        style: Style::Unix,
        cwd: cwd.map(str::as_bytes),
        home: Some(b"/home/u"),
        variable: &variable,
        view: &view,
    };
    let rule = table.rule(b"x").unwrap();
    rule.apply("x", &[], &place, &Handlers::new())
}

#[test]
fn paths_are_expanded() {
    let files = ["/srv/app/src/deep/", "/home/u/.npm/", "/opt/x"];
    for (path, cwd, expected) in [
        ("/opt/x", "/srv/app", "->/opt/x"),
        (
            "/opt/new/deep",
            "/srv/app",
            "->/opt/new/deep/** /opt/new/**",
        ),
        (".", "/srv/app/src", "->src"),
        ("~", "/srv/app", "->/home/u"),
        ("~/.npm", "/srv/app", "->/home/u/.npm"),
        ("$KNOWN", "/srv/app", "->/opt/x"),
        ("$KNOWN/..", "/srv/app", "->/opt"),
        ("${UNKNOWN:-~/.npm}", "/srv/app", "->/home/u/.npm"),
        ("${UNKNOWN:-${ALSO:-/opt}}/x", "/srv/app", "->/opt/x"),
        ("^.git", "/srv/app/src/deep", "->.git"),
        ("^^.git", "/srv/app/src/deep", "->."),
        ("^^.git/src", "/srv/app/src/deep", "->src"),
        ("^.git/worktrees", "/srv/app/src", "->.git/worktrees"),
        ("^.git", "/opt", ""),
        ("^^.git", "/opt", "->/opt"),
        (
            "^.git",
            "/srv/tree",
            "->.git ->.git/worktrees/tree ->/srv/tree/.git",
        ),
        ("^^.git", "/srv/tree", "->/srv/tree"),
    ] {
        let found = touched(path, &files, Some(cwd), &[("KNOWN", "/opt/x")]);
        assert_eq!(paths(&found), expected, "{path} in {cwd}");
        assert_eq!(found.unclear, Vec::<String>::new(), "{path}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    let found = touched("$UNKNOWN", &[], Some("/"), &[]);
    assert_eq!(found.unclear, ["the variable UNKNOWN is not known"]);
    for path in [".", "x", "^.git", "^^.git"] {
        let found = touched(path, &[], None, &[]);
        assert!(!found.unclear.is_empty(), "{path}");
    }
}
