//! What lines touch, by behaviour.

use std::sync::Arc;

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, Inference, PathInference, PathUse, Request};
use deployx_rules_cmd::CmdRules;

fn view() -> MemoryView {
    MemoryView::new(&[
        r"C:\srv\a.txt",
        r"C:\srv\b.txt",
        r"C:\srv\index.html",
        r"C:\srv\dir\c.txt",
        r"C:\srv\dir\sub\d.txt",
        r"C:\srv\my dir\e.txt",
        r"D:\data\f.txt",
    ])
}

fn request(command: &str) -> Request {
    Request {
        shell: "cmd".into(),
        command: command.as_bytes().to_vec(),
        cwd: br"C:\srv".to_vec(),
        home: Some(br"C:\Users\dev".to_vec()),
        env: vec![("App".into(), b"a".to_vec())],
        ..Request::default()
    }
}

fn infer(command: &str) -> Inference {
    CmdRules::new().infer(&request(command), &view())
}

fn depth(inference: &Inference, path: &str) -> Option<Depth> {
    let is_it = |p: &&PathUse| p.path.eq_ignore_ascii_case(path.as_bytes());
    inference.paths.iter().filter(is_it).map(|p| p.depth).max()
}

/// The line is understood and touches the path in this depth.
#[track_caller]
fn touches(command: &str, path: &str, expected: Depth) {
    let inference = infer(command);
    assert!(
        inference.unclear.is_empty(),
        "{command}: {:?}",
        reasons(&inference)
    );
    assert_eq!(
        depth(&inference, path),
        Some(expected),
        "{command}: {}",
        shown(&inference)
    );
}

#[track_caller]
fn spares(command: &str, path: &str) {
    let inference = infer(command);
    assert_eq!(
        depth(&inference, path),
        None,
        "{command}: {}",
        shown(&inference)
    );
}

#[track_caller]
fn is_unclear(command: &str) {
    let inference = infer(command);
    assert!(
        !inference.unclear.is_empty(),
        "{command}: {}",
        shown(&inference)
    );
}

fn reasons(inference: &Inference) -> Vec<String> {
    inference.unclear.iter().map(|u| u.reason.clone()).collect()
}

fn shown(inference: &Inference) -> String {
    let each = inference.paths.iter();
    each.map(|p| format!("{} {:?}; ", String::from_utf8_lossy(&p.path), p.depth))
        .collect()
}

#[test]
fn removing_covers_the_directory_above_and_the_tree() {
    touches("del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("del dir\\c.txt", r"C:\srv\dir", Depth::Entry);
    touches("rd /s /q dir", r"C:\srv\dir", Depth::Tree);
    touches("rd /s /q dir", r"C:\srv", Depth::Entry);
    touches("rd dir", r"C:\srv\dir", Depth::Entry);
    touches("del /q dir", r"C:\srv\dir", Depth::Children);
    touches("del dir/q", r"C:\srv\dir", Depth::Children);
    touches("del *.htm", r"C:\srv\index.html", Depth::Tree);
    spares("del *.txt", r"C:\srv\index.html");
    spares("del nul", r"C:\srv\nul");
}

#[test]
fn making_and_changing_directories() {
    touches("md x\\y", r"C:\srv\x", Depth::Tree);
    touches("md x", r"C:\srv", Depth::Entry);
    touches("cd dir", r"C:\srv\dir", Depth::Entry);
    touches("cd dir", r"C:\srv", Depth::Entry);
    touches("cd my dir & del e.txt", r"C:\srv\my dir\e.txt", Depth::Tree);
    touches("cd dir&del c.txt", r"C:\srv\dir\c.txt", Depth::Tree);
    touches("cd..&md y", r"C:\y", Depth::Tree);
    touches("D:&cd \\data&del f.txt", r"D:\data\f.txt", Depth::Tree);
    touches("cd /d D:\\data & del f.txt", r"D:\data\f.txt", Depth::Tree);
    touches("cd D:\\data & del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches(
        "cd D:\\data & D: & del f.txt",
        r"D:\data\f.txt",
        Depth::Tree,
    );
    is_unclear("D: & del f.txt");
}

#[test]
fn a_directory_that_may_be_missing_leaves_both() {
    touches("cd new & del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("cd new & del a.txt", r"C:\srv\new\a.txt", Depth::Tree);
    spares("cd new && del a.txt", r"C:\srv\a.txt");
    touches("cd new || del a.txt", r"C:\srv\a.txt", Depth::Tree);
    spares("md new & cd new & del a.txt", r"C:\srv\a.txt");
    touches(
        "md dir & cd dir & del a.txt",
        r"C:\srv\dir\a.txt",
        Depth::Tree,
    );
    touches("md dir && cd dir & del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches(
        "rd /s /q dir & cd dir & del a.txt",
        r"C:\srv\a.txt",
        Depth::Tree,
    );
    touches("cd dir | more & del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches(
        "(cd dir & del c.txt) & del sub\\d.txt",
        r"C:\srv\dir\sub\d.txt",
        Depth::Tree,
    );
}

#[test]
fn names_mean_what_windows_takes_them_for() {
    touches("echo x>a.txt:stream", r"C:\srv\a.txt", Depth::Entry);
    touches("del \"a.txt. \"", r"C:\srv\a.txt", Depth::Tree);
    touches(r"del \\?\C:\srv\a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("del \\srv\\a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("del \"dir/c.txt\"", r"C:\srv\dir\c.txt", Depth::Tree);
    touches("del dir/c.txt", r"C:\srv\dir\c.txt", Depth::Tree);
}

#[test]
fn variables_that_are_known_are_put_in() {
    touches("del %APP%.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("del %cd%\\a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches("del \"%USERPROFILE%\\x\"", r"C:\Users\dev\x", Depth::Tree);
    is_unclear("del %x%\\a.txt");
    is_unclear("echo %x%");
    assert!(infer("echo \"%x%\" %date% %errorlevel%").unclear.is_empty());
    // What the line sets, `%…%` does not see.
    touches("set APP=b& del %APP%.txt", r"C:\srv\a.txt", Depth::Tree);
    touches(
        "setlocal enabledelayedexpansion & set F=b& del !F!.txt",
        r"C:\srv\b.txt",
        Depth::Tree,
    );
    touches(
        "cmd /v:on /c \"set F=b.txt&del !F!\"",
        r"C:\srv\b.txt",
        Depth::Tree,
    );
    touches("del a!b!.txt", r"C:\srv\a!b!.txt", Depth::Tree);
    assert_eq!(infer("set X=1").session.assigned, ["X"]);
    assert_eq!(infer("set \"X=1 & 2\"").session.assigned, ["X"]);
    assert_eq!(infer("set /a x=1,y+=2").session.assigned, ["x", "y"]);
}

#[test]
fn a_value_may_bring_operators_with_it() {
    let mut request = request("echo %App%");
    request.env[0].1 = b"x & del b.txt".to_vec();
    let inference = CmdRules::new().infer(&request, &view());
    assert_eq!(depth(&inference, r"C:\srv\b.txt"), Some(Depth::Tree));
    request.session.assigned.push("APP".into());
    let inference = CmdRules::new().infer(&request, &view());
    assert!(!inference.unclear.is_empty());
}

#[test]
fn loops_put_in_their_values() {
    touches(
        "for %f in (a.txt b.txt) do del %f",
        r"C:\srv\b.txt",
        Depth::Tree,
    );
    touches(
        "for %f in (*.txt) do ren %f %~nf.bak",
        r"C:\srv\a.bak",
        Depth::Tree,
    );
    touches(
        "for /d %d in (*) do rd /s /q \"%d\"",
        r"C:\srv\my dir",
        Depth::Tree,
    );
    touches(
        "for /r %f in (*.txt) do del %f",
        r"C:\srv\dir\sub\d.txt",
        Depth::Tree,
    );
    touches("for /l %i in (1,1,3) do md d%i", r"C:\srv\d3", Depth::Tree);
    touches(
        "for %i in (1 2) do for %j in (x y) do md %i%j",
        r"C:\srv\2y",
        Depth::Tree,
    );
    touches(
        "for %d in (dir) do cd %d & del c.txt",
        r"C:\srv\dir\c.txt",
        Depth::Tree,
    );
    touches(
        "for /f \"delims=\" %i in (\"a.txt\") do del %i",
        r"C:\srv\a.txt",
        Depth::Tree,
    );
    is_unclear("for /f %i in (list.txt) do del %i");
    is_unclear("for /f \"tokens=1,2\" %a in (list.txt) do del %b");
    is_unclear("for /f %i in ('dir /b a.txt') do del %i");
    is_unclear("for /f %i in ('somewhere.exe') do echo %i");
    is_unclear("for %f in (%x%) do del %f");
}

#[test]
fn a_list_made_out_of_date_by_the_line_is_not_relied_on() {
    // The new file is copied, too.
    touches(
        "echo x>new.txt & for %f in (*.txt) do copy \"%f\" D:\\data\\",
        r"D:\data",
        Depth::Children,
    );
    touches(
        "echo x>new.txt & copy *.txt D:\\data",
        r"D:\data",
        Depth::Children,
    );
    is_unclear("somewhere.exe & for %f in (*.txt) do copy %f D:\\data");
}

#[test]
fn conditions_cover_both_branches() {
    touches(
        "if 1==2 (del a.txt) else (del b.txt)",
        r"C:\srv\a.txt",
        Depth::Tree,
    );
    touches(
        "if 1==2 (del a.txt) else (del b.txt)",
        r"C:\srv\b.txt",
        Depth::Tree,
    );
    spares("if exist new del a.txt", r"C:\srv\a.txt");
    touches(
        "md new & if exist new del a.txt",
        r"C:\srv\a.txt",
        Depth::Tree,
    );
    touches("if not exist new del a.txt", r"C:\srv\a.txt", Depth::Tree);
    touches(
        "if exist dir cd dir\ndel c.txt",
        r"C:\srv\dir\c.txt",
        Depth::Tree,
    );
    touches(
        "if exist dir cd dir\ndel c.txt",
        r"C:\srv\c.txt",
        Depth::Tree,
    );
}

#[test]
fn redirections_write() {
    touches("echo x>a.txt", r"C:\srv\a.txt", Depth::Entry);
    touches("echo x>new", r"C:\srv\new", Depth::Tree);
    touches(">new rem", r"C:\srv\new", Depth::Tree);
    touches("(echo x)>>a.txt", r"C:\srv\a.txt", Depth::Entry);
    touches("echo x 2>new 1>&2", r"C:\srv\new", Depth::Tree);
    spares("echo x>nul 2>&1", r"C:\srv\nul");
    spares("type<a.txt", r"C:\srv\a.txt");
    is_unclear("echo x>\"%x%\"");
    assert!(infer("echo x>a.txt").destructive);
    assert!(!infer("echo x>>a.txt").destructive);
}

#[test]
fn copies_go_where_they_are_put() {
    touches("copy a.txt dir", r"C:\srv\dir\a.txt", Depth::Tree);
    touches("copy a.txt new", r"C:\srv\new", Depth::Tree);
    touches("copy /y a.txt b.txt", r"C:\srv\b.txt", Depth::Entry);
    touches("copy *.txt *.bak", r"C:\srv\a.bak", Depth::Tree);
    touches("copy a.txt+b.txt", r"C:\srv\a.txt", Depth::Entry);
    touches("copy dir D:\\data", r"D:\data\c.txt", Depth::Tree);
    touches("xcopy /s dir D:\\data", r"D:\data\sub", Depth::Tree);
    touches("xcopy dir D:\\data", r"D:\data\c.txt", Depth::Tree);
    spares("xcopy dir D:\\data", r"D:\data\sub");
    touches("robocopy dir D:\\data /mir", r"D:\data", Depth::Tree);
    touches("robocopy dir D:\\new\\x", r"D:\new", Depth::Tree);
    touches("move a.txt dir", r"C:\srv\dir\a.txt", Depth::Tree);
    touches("move dir D:\\new", r"C:\srv\dir", Depth::Tree);
    touches("ren a.txt c.txt", r"C:\srv\c.txt", Depth::Tree);
    spares("copy a.txt nul", r"C:\srv\nul");
}

#[test]
fn what_cannot_be_read_is_said() {
    for command in [
        "call x.bat",
        "x.bat",
        "call :label",
        "goto next",
        "unknown.exe",
        "dir\\xcopy.exe a b",
        "%x% a",
        "powershell -c \"rm a\"",
        "bash -c 'rm a'",
        "cmd < script",
        "del a.txt &&& del b.txt",
        "(del a.txt",
        "start x.bat",
        "del /z a.txt",
        "call del %%x%%",
        "echo del a.txt | cmd",
    ] {
        is_unclear(command);
    }
}

#[test]
fn commands_that_only_look_touch_nothing() {
    for command in [
        "dir /s *.txt",
        "type a.txt",
        "echo. & echo/ & echo(x",
        "find \"x\" a.txt",
        "fc a.txt b.txt",
        "ver",
        "git log -3",
        "sc query",
        "reg query HKLM\\x",
        "net view",
        "tasklist",
        "",
    ] {
        let inference = infer(command);
        assert!(
            inference.unclear.is_empty(),
            "{command}: {:?}",
            reasons(&inference)
        );
        assert!(
            inference.paths.is_empty(),
            "{command}: {}",
            shown(&inference)
        );
        assert!(inference.irreversible.is_empty(), "{command}");
    }
}

#[test]
fn a_program_of_the_working_directory_comes_first() {
    let mut view = view();
    view.file(r"C:\srv\git.bat", "");
    let inference = CmdRules::new().infer(&request("git status"), &view);
    assert!(!inference.unclear.is_empty());
}

#[test]
fn nested_lines_of_other_shells_are_handed_on() {
    let rules = CmdRules::new().with_nested(Arc::new(|request, _| {
        assert_eq!(request.shell, "powershell");
        assert_eq!(request.cwd, br"C:\srv\dir");
        assert_eq!(request.command, b"rm a b");
        Some(Inference {
            destructive: true,
            ..Inference::default()
        })
    }));
    let line = "cd dir && powershell -NoProfile -ExecutionPolicy Bypass -Command \"rm a b\"";
    let inference = rules.infer(&request(line), &view());
    assert!(inference.unclear.is_empty(), "{:?}", reasons(&inference));
    assert!(inference.destructive);
}

#[test]
fn rules_of_the_user_come_first() {
    let mut rules = CmdRules::new();
    rules
        .add_rules(
            "rules/cmd.toml",
            "[deploy]\noptions = [\"/to=tree\"]\noperands = \"read...\"\n",
        )
        .unwrap();
    let inference = rules.infer(&request("deploy.exe x /to:dir"), &view());
    assert!(inference.unclear.is_empty(), "{:?}", reasons(&inference));
    assert_eq!(depth(&inference, r"C:\srv\dir"), Some(Depth::Tree));
    let path = inference
        .paths
        .iter()
        .find(|p| p.path == br"C:\srv\dir")
        .unwrap();
    assert!(path.rule.contains("rules/cmd.toml:1"), "{}", path.rule);
    assert!(
        rules
            .add_rules("x", "[deploy]\noperands = \"wirte\"")
            .is_err()
    );
}

#[test]
fn what_the_view_cannot_tell_is_covered_by_directories() {
    struct Blind;
    impl deployx_plugin_sdk::FileView for Blind {
        fn kind(&self, _: &[u8]) -> deployx_plugin_sdk::Kind {
            deployx_plugin_sdk::Kind::Unknown
        }
        fn list(&self, _: &[u8]) -> Option<Vec<(Vec<u8>, deployx_plugin_sdk::Kind)>> {
            None
        }
        fn read_link(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
        fn read(&self, _: &[u8], _: usize) -> Option<Vec<u8>> {
            None
        }
    }
    for (command, path, expected) in [
        ("del dir\\*.txt", r"C:\srv\dir", Depth::Children),
        ("del /s dir\\*.txt", r"C:\srv\dir", Depth::Tree),
        ("del dir", r"C:\srv\dir", Depth::Tree),
        ("copy a.txt dir", r"C:\srv\dir", Depth::Tree),
        ("copy *.txt dir", r"C:\srv\dir", Depth::Tree),
        (
            "for %f in (dir\\*.txt) do del \"%f\"",
            r"C:\srv\dir",
            Depth::Children,
        ),
        (
            "for /r dir %f in (*.txt) do del \"%f\"",
            r"C:\srv\dir",
            Depth::Tree,
        ),
        (
            "for /r dir %f in (*.txt) do del \"%~dpnf.bak\"",
            r"C:\srv\dir",
            Depth::Tree,
        ),
        ("rd /s /q dir\\x*", r"C:\srv\dir", Depth::Tree),
        ("move dir D:\\x", r"D:\x", Depth::Tree),
        (
            "forfiles /p dir /s /c \"cmd /c del @path\"",
            r"C:\srv\dir",
            Depth::Tree,
        ),
        ("robocopy dir D:\\x", r"D:\x", Depth::Tree),
    ] {
        let inference = CmdRules::new().infer(&request(command), &Blind);
        assert!(
            inference.unclear.is_empty(),
            "{command}: {:?}",
            reasons(&inference)
        );
        let found = depth(&inference, path);
        assert!(found >= Some(expected), "{command}: {}", shown(&inference));
    }
    // A name with blanks would be several arguments.
    let unquoted = "for %f in (dir\\*.txt) do del %f";
    let inference = CmdRules::new().infer(&request(unquoted), &Blind);
    assert!(!inference.unclear.is_empty());
}
