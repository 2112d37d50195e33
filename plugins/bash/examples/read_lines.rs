//! Reads command lines from standard input, one a line (`@zsh rm x` for
//! another shell than bash), and prints what they touch as if they ran in
//! `/w` of a small tree, with the time that each takes.

use std::io::BufRead;
use std::time::Instant;

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, PathInference, Request};
use deployx_rules_bash::BashRules;

fn main() {
    let start = Instant::now();
    let rules = BashRules::new();
    eprintln!("rules ready in {:?}", start.elapsed());
    let view = MemoryView::new(&[
        "/w/a.txt",
        "/w/b.txt",
        "/w/c.log",
        "/w/.hidden",
        "/w/dir/x",
        "/w/dir/sub/y",
        "/w/with space",
        "/w/link -> /data/deep",
        "/data/deep/z",
        "/home/me/notes",
        "/w/.git/HEAD",
        "/etc/hosts",
    ]);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap_or_default();
        let (shell, command) = match line.strip_prefix('@') {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => ("bash", line.as_str()),
        };
        let request = Request {
            shell: shell.into(),
            command: command.replace("\\n", "\n").into_bytes(),
            cwd: b"/w".to_vec(),
            home: Some(b"/home/me".to_vec()),
            env: vec![("USER".into(), b"me".to_vec())],
            ..Request::default()
        };
        let start = Instant::now();
        let inference = rules.infer(&request, &view);
        let time = start.elapsed();
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        println!("{command}   ({time:?})");
        for path in &inference.paths {
            let depth = match path.depth {
                Depth::Entry => "entry",
                Depth::Children => "children",
                Depth::Tree => "tree",
            };
            println!(
                "    {} {depth} {:?} [{}]",
                show(&path.path),
                path.certainty,
                path.rule
            );
        }
        for unclear in &inference.unclear {
            let cwd = unclear
                .cwd
                .as_ref()
                .map_or(String::new(), |cwd| format!(" in {}", show(cwd)));
            println!("    ? {} '{}'{cwd}", unclear.reason, show(&unclear.text));
        }
        for effect in &inference.irreversible {
            println!("    ! {} {}", effect.what, effect.reason);
        }
        if inference.cwd_after.as_deref() != Some(b"/w") {
            println!("    cwd {:?}", inference.cwd_after.as_deref().map(show));
        }
    }
}
