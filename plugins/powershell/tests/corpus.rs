//! The corpus: everyday lines with what each touches, checked for silent misses and scored.

use std::collections::{BTreeMap, BTreeSet};

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Certainty, Depth, FileView, Inference, PathInference, PathUse, Request};
use deployx_rules_powershell::PowerShellRules;
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    fixture: Vec<String>,
    cwd: String,
    home: String,
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
    #[serde(default)]
    destructive: bool,
    #[serde(default = "windows_powershell")]
    shell: String,
    cwd_after: Option<String>,
}

fn windows_powershell() -> String {
    "powershell".into()
}

const STYLE: Style = Style::Windows;

/// Every entry of the fixture, directories included.
fn entries(fixture: &[String]) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for path in fixture {
        let mut at = STYLE.resolve(b"C:\\", path.as_bytes());
        while let Some(path) = at {
            at = STYLE.parent(&path);
            all.insert(path);
        }
    }
    all
}

fn covers(used: &PathUse, path: &[u8]) -> bool {
    let same = |a: &[u8], b: &[u8]| STYLE.starts_with(a, b) && STYLE.starts_with(b, a);
    match used.depth {
        Depth::Entry => same(path, &used.path),
        Depth::Children => {
            same(path, &used.path)
                || STYLE
                    .parent(path)
                    .is_some_and(|parent| same(&parent, &used.path))
        }
        Depth::Tree => STYLE.starts_with(path, &used.path),
    }
}

/// The paths that a line changes, `\**` expanded.
fn touched(line: &Line, entries: &BTreeSet<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for path in &line.touches {
        match path.strip_suffix(r"\**") {
            None => {
                all.insert(path.as_bytes().to_vec());
            }
            Some(top) => all.extend(
                entries
                    .iter()
                    .filter(|entry| STYLE.starts_with(entry, top.as_bytes()))
                    .cloned(),
            ),
        }
    }
    all
}

/// What the host covers besides where a part is not understood: the working directory, and every word
/// that names something existing or new in a directory that exists; all as trees.
fn fallback(
    line: &Line,
    answer: &Inference,
    cwd: &str,
    entries: &BTreeSet<Vec<u8>>,
) -> Vec<PathUse> {
    let mut trees: Vec<Vec<u8>> = Vec::new();
    let whole = answer
        .unclear
        .first()
        .map(|_| (line.command.as_bytes(), None));
    let parts = answer.unclear.iter();
    let parts = parts.map(|part| (part.text.as_slice(), part.cwd.clone()));
    for (text, here) in whole.into_iter().chain(parts) {
        let here = here.unwrap_or_else(|| cwd.into());
        let separates = |b: &u8| b.is_ascii_whitespace() || b"'\"(){},;=&|<>`@".contains(b);
        for word in text.split(separates).filter(|word| !word.is_empty()) {
            let Some(path) = STYLE.resolve(&here, word) else {
                continue;
            };
            let known = |path: &[u8]| entries.iter().any(|e| e.eq_ignore_ascii_case(path));
            let new_in = STYLE.parent(&path).filter(|above| known(above));
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
    trees.retain(|path| STYLE.parent(path).is_some());
    trees.into_iter().map(tree).collect()
}

/// What the host adds: the working directory and the directories above what is listed.
fn with_parents(paths: &BTreeSet<Vec<u8>>, cwd: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut all = paths.clone();
    all.extend(paths.iter().filter_map(|path| STYLE.parent(path)));
    all.insert(cwd.to_vec());
    all
}

fn differences(line: &Line, answer: &Inference, cwd: &str) -> Vec<String> {
    let mut found = Vec::new();
    if answer.unclear.is_empty() == line.unclear {
        let reasons: Vec<&str> = answer.unclear.iter().map(|u| u.reason.as_str()).collect();
        found.push(format!("unclear: {reasons:?}"));
    }
    let effects: BTreeSet<&str> = answer
        .irreversible
        .iter()
        .map(|e| e.what.as_str())
        .collect();
    let expected: BTreeSet<&str> = line.irreversible.iter().map(String::as_str).collect();
    if effects != expected {
        found.push(format!("effects: {effects:?}"));
    }
    if answer.destructive != line.destructive {
        found.push(format!("destructive: {}", answer.destructive));
    }
    let after = line.cwd_after.as_deref().or((!line.unclear).then_some(cwd));
    if let Some(after) = after {
        let told = answer.cwd_after.as_deref().map(String::from_utf8_lossy);
        if told.as_deref() != Some(after) {
            found.push(format!("cwd after: {told:?}"));
        }
    }
    found
}

#[test]
fn the_corpus_is_covered_without_silent_misses() {
    let text = include_str!("../../../tests/corpus/powershell.toml");
    let corpus: Corpus = toml::from_str(text).unwrap();
    assert!(corpus.line.len() >= 120, "{} lines", corpus.line.len());
    let entries = entries(&corpus.fixture);
    let fixture: Vec<&str> = corpus.fixture.iter().map(String::as_str).collect();
    let view = MemoryView::new(&fixture);
    let rules = PowerShellRules::new();
    let (mut all, mut hit, mut with_fallback) = (0, 0, 0);
    let mut ratios = Vec::new();
    let mut failures = Vec::new();
    for line in &corpus.line {
        let answer = rules.infer(&request(&corpus, line), &view as &dyn FileView);
        let touched = touched(line, &entries);
        let missed: Vec<String> = touched
            .iter()
            .filter(|path| !answer.paths.iter().any(|used| covers(used, path)))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        all += touched.len();
        hit += touched.len() - missed.len();
        let guessed = fallback(line, &answer, &corpus.cwd, &entries);
        with_fallback += touched.len();
        for path in &missed {
            if !guessed.iter().any(|used| covers(used, path.as_bytes())) {
                with_fallback -= 1;
                println!("beyond the fallback: {path} of {}", line.command);
            }
        }
        let mut wrong = differences(line, &answer, &corpus.cwd);
        if !missed.is_empty() && answer.unclear.is_empty() {
            wrong.push(format!("silent miss: {missed:?}"));
        }
        if !line.unclear {
            let known: BTreeSet<Vec<u8>> = entries.union(&touched).cloned().collect();
            let covered = known
                .into_iter()
                .filter(|path| answer.paths.iter().any(|used| covers(used, path)))
                .collect();
            let cwd = corpus.cwd.as_bytes();
            let covered = with_parents(&covered, cwd).len();
            let ratio = covered as f64 / with_parents(&touched, cwd).len() as f64;
            ratios.push(ratio);
            if ratio > 2.5 {
                println!("{ratio:.1} x the minimal scope: {}", line.command);
            }
        }
        if !wrong.is_empty() {
            failures.push(format!("{}\n    {}", line.command, wrong.join("\n    ")));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let alone = hit as f64 / all as f64;
    let recall = with_fallback as f64 / all as f64;
    let median = ratios[ratios.len() / 2];
    println!(
        "PowerShell: {} lines, {all} paths, recall {recall:.4} ({alone:.4} without the fallback), \
         median scope {median:.2} x the minimal, worst {:.1}",
        corpus.line.len(),
        ratios[ratios.len() - 1]
    );
    assert!(
        failures.is_empty(),
        "{} lines:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(recall >= 0.99, "{recall}");
    assert!(median <= 1.5, "{median}");
}

fn request(corpus: &Corpus, line: &Line) -> Request {
    let env = corpus.env.iter();
    Request {
        shell: line.shell.clone(),
        command: line.command.clone().into_bytes(),
        cwd: corpus.cwd.clone().into_bytes(),
        home: Some(corpus.home.clone().into_bytes()),
        env: env
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect(),
        ..Request::default()
    }
}
