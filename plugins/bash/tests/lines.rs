//! Lines of shells and what they touch. `lines.txt` has them: `$ ` begins a line (`\n` in it ends
//! one; `@zsh ` before it names another shell than bash), and what it touches follows, one a line:
//! `path depth`, `? reason`, `! effect`, `cwd path` where the line leads elsewhere, `session …` where
//! it changes the shell. Working directory is `/w`.

use std::collections::BTreeSet;
use std::fmt::Write;

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, Inference, PathInference, Request};
use deployx_rules_bash::BashRules;

fn view() -> MemoryView {
    MemoryView::new(&[
        "/w/a.txt",
        "/w/b.txt",
        "/w/c.log",
        "/w/.hidden",
        "/w/dir/x",
        "/w/dir/sub/y",
        "/w/empty/",
        "/w/with space",
        "/w/link -> /data/deep",
        "/w/.git/HEAD",
        "/data/deep/z",
        "/home/me/notes",
        "/etc/hosts",
    ])
}

fn request(line: &str) -> Request {
    let (shell, command) = match line.strip_prefix('@') {
        Some(rest) => rest.split_once(' ').unwrap(),
        None => ("bash", line),
    };
    Request {
        shell: shell.into(),
        command: command.replace("\\n", "\n").into_bytes(),
        cwd: b"/w".to_vec(),
        home: Some(b"/home/me".to_vec()),
        env: vec![("APP".into(), b"/srv/app".to_vec())],
        ..Request::default()
    }
}

fn show(inference: &Inference) -> BTreeSet<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = BTreeSet::new();
    for path in &inference.paths {
        let depth = match path.depth {
            Depth::Entry => "entry",
            Depth::Children => "children",
            Depth::Tree => "tree",
        };
        shown.insert(format!("{} {depth}", text(&path.path)));
    }
    for unclear in &inference.unclear {
        let mut line = format!("? {}", unclear.reason);
        if let Some(cwd) = &unclear.cwd {
            let _ = write!(line, " in {}", text(cwd));
        }
        shown.insert(line);
    }
    for effect in &inference.irreversible {
        shown.insert(format!("! {}", effect.what));
    }
    match &inference.cwd_after {
        None => drop(shown.insert("cwd ?".into())),
        Some(cwd) if cwd != b"/w" => drop(shown.insert(format!("cwd {}", text(cwd)))),
        Some(_) => {}
    }
    let session = &inference.session;
    if !session.assigned.is_empty() {
        shown.insert(format!("session sets {}", session.assigned.join(" ")));
    }
    if !session.redefined.is_empty() {
        shown.insert(format!("session defines {}", session.redefined.join(" ")));
    }
    if session.options_changed {
        shown.insert("session options".into());
    }
    if session.unknown {
        shown.insert("session unknown".into());
    }
    shown
}

#[test]
fn lines_touch_what_is_written_down() {
    let rules = BashRules::new();
    let view = view();
    let mut wrong = String::new();
    let mut count = 0;
    for block in include_str!("lines.txt").split("\n\n") {
        let mut rows = block.lines().filter(|row| !row.starts_with("# "));
        let Some(line) = rows.next().and_then(|row| row.strip_prefix("$ ")) else {
            continue;
        };
        count += 1;
        let expected: BTreeSet<String> = rows.map(str::to_owned).collect();
        let found = show(&rules.infer(&request(line), &view));
        if found != expected {
            let _ = writeln!(wrong, "$ {line}");
            for row in &found {
                let _ = writeln!(wrong, "{row}");
            }
            wrong.push('\n');
        }
    }
    assert!(count >= 150, "only {count} lines");
    assert!(wrong.is_empty(), "these differ:\n{wrong}");
}

#[test]
fn names_that_are_not_utf8_come_through() {
    let rules = BashRules::new();
    let mut request = request("");
    request.command = b"rm \xff\xfe; echo > '\x80'".to_vec();
    let paths = rules.infer(&request, &view()).paths;
    for path in [b"/w/\xff\xfe".as_slice(), b"/w/\x80"] {
        assert!(paths.iter().any(|used| used.path == path));
    }
}

#[test]
fn what_earlier_lines_did_counts() {
    let rules = BashRules::new();
    let mut request = request("rm a.txt");
    request.session.redefined = vec!["rm".into()];
    assert!(!rules.infer(&request, &view()).unclear.is_empty());

    request.command = b"rm $APP/x".to_vec();
    request.session = deployx_plugin_sdk::SessionState::default();
    assert!(rules.infer(&request, &view()).unclear.is_empty());
    request.session.assigned = vec!["APP".into()];
    assert!(!rules.infer(&request, &view()).unclear.is_empty());

    request.session = deployx_plugin_sdk::SessionState::default();
    request.command = b"touch a.txt".to_vec();
    request.session.unknown = true;
    assert!(!rules.infer(&request, &view()).unclear.is_empty());
}

#[test]
fn rules_of_the_user_count() {
    let mut rules = BashRules::new();
    let toml = "[mytool]\noptions = [\"-o --output=write\"]\noperands = \"read...\"\n";
    rules.add_rules("mine.toml", toml).unwrap();
    let inference = rules.infer(&request("mytool -o out.txt in"), &view());
    assert!(inference.unclear.is_empty());
    assert_eq!(inference.paths[0].path, b"/w/out.txt");
    assert!(inference.paths[0].rule.contains("mine.toml:1"));
}

#[test]
fn deleting_and_overwriting_are_destructive() {
    let rules = BashRules::new();
    let destructive = |line: &str| rules.infer(&request(line), &view()).destructive;
    assert!(destructive("rm a.txt"));
    assert!(destructive("echo > a.txt"));
    assert!(!destructive("echo > new.txt"));
    assert!(!destructive("echo >> a.txt"));
    assert!(!destructive("cd dir"));
}
