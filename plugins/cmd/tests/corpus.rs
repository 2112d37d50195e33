//! Holds the rules against lines whose effect is written down: `tests/corpus/cmd.toml`.

use std::collections::BTreeMap;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Certainty, Depth, Inference, PathInference, PathUse, Request};
use deployx_rules_cmd::CmdRules;
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    cwd: String,
    home: String,
    fixture: Vec<String>,
    env: BTreeMap<String, String>,
    line: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    command: String,
    touches: Vec<String>,
    #[serde(default)]
    unclear: bool,
    #[serde(default)]
    irreversible: Vec<String>,
    destructive: Option<bool>,
    cwd_after: Option<String>,
}

fn corpus() -> Corpus {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/cmd.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every path of the fixture, directories included.
fn entries(corpus: &Corpus) -> Vec<String> {
    let mut all = std::collections::BTreeSet::new();
    for path in &corpus.fixture {
        let mut path = path.trim_end_matches('\\').to_string();
        loop {
            all.insert(path.clone());
            match Style::Windows.parent(path.as_bytes()) {
                Some(parent) => path = String::from_utf8(parent).unwrap(),
                None => break,
            }
        }
    }
    all.into_iter().collect()
}

/// What a line touches, with what is beneath its trees.
fn expected(line: &Line, entries: &[String]) -> Vec<String> {
    let mut paths = Vec::new();
    for path in &line.touches {
        let tree = path.len() > 3 && path.ends_with('\\') || path.len() == 3;
        let root = path.trim_end_matches('\\');
        paths.push(if path.len() == 3 { path } else { root }.to_string());
        if tree {
            let beneath =
                |entry: &&String| Style::Windows.starts_with(entry.as_bytes(), path.as_bytes());
            paths.extend(entries.iter().filter(beneath).cloned());
            // Something new beneath is covered only by a tree.
            if path.len() > 3 {
                paths.push(format!(r"{root}\new\entry"));
            }
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

fn covers(path_use: &PathUse, path: &str) -> bool {
    let path = path.as_bytes();
    let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    match path_use.depth {
        Depth::Tree => Style::Windows.starts_with(path, &path_use.path),
        Depth::Children => {
            same(path, &path_use.path)
                || Style::Windows
                    .parent(path)
                    .is_some_and(|parent| same(&parent, &path_use.path))
        }
        Depth::Entry => same(path, &path_use.path),
    }
}

/// What the host covers besides where a part is not understood: the working directory, and every word
/// that names something existing or new in a directory that exists; all as trees.
fn fallback(line: &Line, inference: &Inference, cwd: &str, entries: &[String]) -> Vec<PathUse> {
    let mut trees: Vec<Vec<u8>> = Vec::new();
    let whole = inference
        .unclear
        .first()
        .map(|_| (line.command.as_bytes(), None));
    let parts = inference.unclear.iter();
    let parts = parts.map(|part| (part.text.as_slice(), part.cwd.clone()));
    for (text, here) in whole.into_iter().chain(parts) {
        let here = here.unwrap_or_else(|| cwd.into());
        let separates = |b: &u8| b.is_ascii_whitespace() || b"\"'(),;=&|<>^@".contains(b);
        for word in text.split(separates).filter(|word| !word.is_empty()) {
            let Some(path) = Style::Windows.resolve(&here, word) else {
                continue;
            };
            let known = |path: &[u8]| {
                entries
                    .iter()
                    .any(|e| e.as_bytes().eq_ignore_ascii_case(path))
            };
            let new_in = Style::Windows.parent(&path).filter(|above| known(above));
            if known(&path) || new_in.is_some() {
                trees.push(path);
            }
        }
        trees.extend([here, cwd.into()]);
    }
    let tree = |path| PathUse {
        path,
        depth: Depth::Tree,
        certainty: Certainty::Possible,
        follow: true,
        reason: String::new(),
        rule: String::new(),
    };
    // A guess does not take in a whole drive.
    trees.retain(|path| Style::Windows.parent(path).is_some());
    trees.into_iter().map(tree).collect()
}

fn infer(corpus: &Corpus, line: &Line, rules: &CmdRules, view: &MemoryView) -> Inference {
    let request = Request {
        shell: "cmd".into(),
        command: line.command.clone().into_bytes(),
        cwd: corpus.cwd.clone().into_bytes(),
        home: Some(corpus.home.clone().into_bytes()),
        env: corpus
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect(),
        ..Request::default()
    };
    rules.infer(&request, view)
}

fn kinds(inference: &Inference) -> Vec<String> {
    let mut kinds: Vec<String> = inference
        .irreversible
        .iter()
        .map(|effect| effect.what.clone())
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn lines_are_covered() {
    let corpus = corpus();
    let entries = entries(&corpus);
    let fixture: Vec<&str> = corpus.fixture.iter().map(String::as_str).collect();
    let view = MemoryView::new(&fixture);
    let rules = CmdRules::new();
    let (mut covered, mut touched, mut with_fallback) = (0, 0, 0);
    let mut ratios = Vec::new();
    let mut wrong = Vec::new();
    for line in &corpus.line {
        let inference = infer(&corpus, line, &rules, &view);
        let mut say = |what: String| wrong.push(format!("{}\n    {what}", line.command));
        let expected = expected(line, &entries);
        let is_covered = |path: &String| inference.paths.iter().any(|p| covers(p, path));
        let missed: Vec<&String> = expected.iter().filter(|path| !is_covered(path)).collect();
        touched += expected.len();
        covered += expected.len() - missed.len();
        let guessed = fallback(line, &inference, &corpus.cwd, &entries);
        with_fallback += expected.len();
        for path in &missed {
            if !guessed.iter().any(|used| covers(used, path)) {
                with_fallback -= 1;
                println!("beyond the fallback: {path} of {}", line.command);
            }
        }
        if !missed.is_empty() && inference.unclear.is_empty() {
            say(format!("missed in silence: {missed:?}"));
        }
        if inference.unclear.is_empty() == line.unclear {
            say(format!("not understood: {:?}", inference.unclear));
        }
        if kinds(&inference) != line.irreversible {
            say(format!("irreversible: {:?}", inference.irreversible));
        }
        if line.destructive.unwrap_or(inference.destructive) != inference.destructive {
            say(format!("destructive: {}", inference.destructive));
        }
        let after = inference.cwd_after.as_deref().map(String::from_utf8_lossy);
        if let Some(cwd_after) = &line.cwd_after
            && after.as_deref() != Some(cwd_after.as_str())
        {
            say(format!("cwd after: {after:?}"));
        }
        if inference.unclear.is_empty() {
            let scope = entries
                .iter()
                .filter(|entry| inference.paths.iter().any(|p| covers(p, entry)))
                .filter(|entry| !above_or_cwd(entry, &expected, &corpus.cwd))
                .count();
            let minimal = expected
                .iter()
                .filter(|path| entries.contains(path))
                .count();
            if scope > minimal {
                println!("{scope} for {minimal}: {}", line.command);
            }
            ratios.push(scope.max(1) as f64 / minimal.max(1) as f64);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let alone = covered as f64 / touched as f64;
    let recall = with_fallback as f64 / touched as f64;
    let median = ratios[ratios.len() / 2];
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    println!(
        "cmd: {} lines, recall {recall:.4} of {touched} paths ({alone:.4} without the fallback), scope median {median:.2}, mean {mean:.2}",
        corpus.line.len()
    );
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
    assert!(recall >= 0.99, "recall {recall}");
    assert!(median <= 1.5, "median scope {median}");
}

/// Directories above what is touched, and the working directory, are covered by the host anyway.
fn above_or_cwd(entry: &str, expected: &[String], cwd: &str) -> bool {
    entry.eq_ignore_ascii_case(cwd)
        || expected.iter().any(|path| {
            !path.eq_ignore_ascii_case(entry)
                && Style::Windows.starts_with(path.as_bytes(), entry.as_bytes())
                && !expected.iter().any(|p| p.eq_ignore_ascii_case(entry))
        })
}
