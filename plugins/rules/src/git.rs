//! Git: hooks, filters and repositories that are not where they are looked for first.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

use crate::remote::is_remote;
use crate::words::{last_part, merged, tree};

/// How much of a configuration is read, in bytes.
const MAX_CONFIG: usize = 65536;

/// Hooks that run only where commits arrive.
const OF_SERVERS: &[&[u8]] = &[
    b"pre-receive",
    b"update",
    b"post-receive",
    b"post-update",
    b"push-to-checkout",
    b"proc-receive",
    b"sendemail-validate",
];
/// Hooks that run with every change of the index or of a reference.
const ALWAYS: &[&[u8]] = &[
    b"reference-transaction",
    b"post-index-change",
    b"fsmonitor-watchman",
];
/// Subcommands that run no other hooks than those.
const QUIET: &[&str] = &[
    "add", "branch", "tag", "config", "fetch", "reset", "stash", "clean", "mv", "rm", "restore",
    "remote",
];

/// Where a repository is.
pub(crate) struct Repository {
    /// The directory that holds `.git`; `None` for a bare repository.
    pub(crate) top: Option<Vec<u8>>,
    /// `.git` itself, or what a `.git` file leads to, and what that shares with others.
    pub(crate) directories: Vec<Vec<u8>>,
}

impl Repository {
    /// The repository of the working directory, as Git finds it.
    pub(crate) fn find(findings: &Findings<'_>) -> Option<Self> {
        let (style, view) = (findings.place().style, findings.place().view);
        let mut at = Some(findings.cwd()?.to_vec());
        while let Some(directory) = at {
            let path = style.join(&directory, b".git")?;
            match view.kind(&path) {
                Kind::File => {
                    let mut directories = pointed_to(findings, &directory, &path);
                    directories.push(path);
                    return Some(Self {
                        top: Some(directory),
                        directories,
                    });
                }
                Kind::Missing => {}
                _ => {
                    return Some(Self {
                        top: Some(directory),
                        directories: vec![path],
                    });
                }
            }
            let holds = |name: &[u8]| {
                style
                    .join(&directory, name)
                    .is_some_and(|p| view.kind(&p) != Kind::Missing)
            };
            if holds(b"HEAD") && holds(b"objects") && holds(b"refs") {
                return Some(Self {
                    top: None,
                    directories: vec![directory],
                });
            }
            at = style.parent(&directory);
        }
        None
    }
}

fn pointed_to(findings: &Findings<'_>, top: &[u8], file: &[u8]) -> Vec<Vec<u8>> {
    let (style, view) = (findings.place().style, findings.place().view);
    let pointer = view.read(file, MAX_CONFIG).unwrap_or_default();
    let own = pointer
        .strip_prefix(b"gitdir: ")
        .and_then(|target| style.locate(view, top, target.trim_ascii()));
    let Some(own) = own else { return Vec::new() };
    let shared = style
        .join(&own, b"commondir")
        .and_then(|path| view.read(&path, MAX_CONFIG))
        .and_then(|target| style.locate(view, &own, target.trim_ascii()));
    std::iter::once(own).chain(shared).collect()
}

/// The name of the subcommand.
pub(crate) fn subcommand(call: &HandlerCall<'_>) -> String {
    let at = call.start.checked_sub(1);
    at.and_then(|at| call.args.get(at))
        .map_or_else(String::new, crate::words::text)
}

/// Variables that name programs of Git.
const PROGRAMS: [&str; 9] = [
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_PROXY_COMMAND",
    "GIT_ASKPASS",
    "GIT_EXEC_PATH",
];
/// Variables that name a file of settings or a log.
const FILES: [&str; 9] = [
    "GIT_CONFIG",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
];

/// A subcommand that only looks: settings of the call may name programs all the same.
pub(crate) fn looks(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    settings(call, &mut findings);
    if matches!(subcommand(call).as_str(), "status" | "diff" | "describe") {
        let bare = Repository::find(&findings).filter(|found| found.top.is_none());
        let places = bare.map(|found| found.directories).unwrap_or_default();
        let named = (call.place.variable)("GIT_DIR").filter(|path| !path.is_empty());
        for place in places.into_iter().chain(named) {
            findings.role(&Role::Write, &Arg::whole([&place, &b"/index"[..]].concat()));
        }
        if let Some(path) = (call.place.variable)("GIT_INDEX_FILE").filter(|path| !path.is_empty())
        {
            findings.role(&Role::Write, &Arg::whole(path));
        }
    }
    merged(call.described(), findings.finish())
}

/// Any subcommand that changes the repository: what the table says, and what its hooks may do.
pub(crate) fn changes(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    surroundings(call, &mut findings);
    merged(call.described(), findings.finish())
}

/// Hooks, filters, settings of the call and repositories that a table does not find.
pub(crate) fn surroundings(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    settings(call, findings);
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
    ] {
        if let Some(path) = (call.place.variable)(name).filter(|path| !path.is_empty()) {
            findings.role(&Role::Tree, &Arg::whole(path));
        }
    }
    let Some(repository) = Repository::find(findings) else {
        return;
    };
    if repository.top.is_none() {
        for directory in &repository.directories {
            findings.path(
                directory,
                Depth::Tree,
                Certainty::Certain,
                true,
                "the repository",
            );
        }
    }
    hooks(call, findings, &repository);
}

/// `-c key=value` may name programs, and so may variables.
fn settings(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    let given = |name: &str| (call.place.variable)(name).filter(|value| !value.is_empty());
    for name in PROGRAMS {
        let harmless =
            |value: &Vec<u8>| matches!(value.as_slice(), b"true" | b":" | b"cat" | b"ssh");
        if given(name).is_some_and(|value| !harmless(&value)) {
            findings.unclear(format!("the variable {name} names a program"));
        }
    }
    for name in FILES {
        if let Some(value) = given(name).filter(|value| value != b"/dev/null") {
            let traces = name.starts_with("GIT_TRACE") && !value.contains(&b'/');
            if !traces {
                findings.role(&Role::Write, &Arg::whole(value));
                findings.unclear(format!("the variable {name} changes what Git does"));
            }
        }
    }
    let harmless = [
        "user.",
        "author.",
        "committer.",
        "commit.gpgsign",
        "tag.gpgsign",
        "advice.",
        "init.defaultbranch",
        "color.",
        "core.autocrlf",
        "core.eol",
        "core.quotepath",
        "core.filemode",
        "core.longpaths",
        "safe.",
        "http.",
        "https.",
        "protocol.",
        "pull.",
        "merge.ff",
        "rebase.auto",
        "fetch.",
        "push.",
        "gc.auto",
        "log.",
        "core.abbrev",
        "submodule.recurse",
        "diff.renames",
        "status.",
        "transfer.",
        "pack.",
        "core.compression",
        "core.symlinks",
        "rerere.",
        "index.",
        "core.pager=cat",
        "core.fsmonitor=false",
        "core.hookspath=/dev/null",
        "column.",
        "grep.",
        "format.",
        "diff.algorithm",
        "diff.noprefix",
        "diff.mnemonicprefix",
        "interactive.singlekey",
    ];
    for setting in call.parsed.values("-c") {
        let key = crate::words::text(setting).to_ascii_lowercase();
        let known = setting.known == Known::Whole || setting.text.contains(&b'=');
        if !known || !harmless.iter().any(|prefix| key.starts_with(prefix)) {
            findings.unclear("a setting of Git may name a program");
        }
    }
    if call.parsed.has("--config-env") {
        findings.unclear("a setting of Git is not known");
    }
}

fn hooks(call: &HandlerCall<'_>, findings: &mut Findings<'_>, repository: &Repository) {
    let (style, view) = (call.place.style, call.place.view);
    let mut configurations: Vec<Vec<u8>> = Vec::new();
    for directory in &repository.directories {
        configurations.extend(style.join(directory, b"config"));
    }
    if let Some(home) = call.place.home {
        configurations.extend(style.join(home, b".gitconfig"));
        configurations.extend(style.join(home, b".config/git/config"));
    }
    for path in configurations {
        let text = view
            .read(&path, MAX_CONFIG)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
        if has(b"hookspath")
            || has(b"fsmonitor =") && !has(b"fsmonitor = true") && !has(b"fsmonitor = false")
        {
            findings.unclear("hooks that the configuration names run");
        }
        if has(b"[filter \"lfs\"]") {
            for directory in &repository.directories {
                if let Some(path) = style.join(directory, b"lfs") {
                    findings.whole(&path, Depth::Tree, Certainty::Possible, true, "large files");
                }
            }
        }
        let filters = text
            .windows(9)
            .filter(|window| *window == b"[filter \"")
            .count();
        if filters > usize::from(has(b"[filter \"lfs\"]")) {
            findings.unclear("filters that the configuration names run");
        }
    }
    let sub = subcommand(call);
    let skips = sub == "commit" && call.parsed.has("-n");
    for directory in &repository.directories {
        let Some(path) = style.join(directory, b"hooks") else {
            continue;
        };
        for (name, _) in view.list(&path).unwrap_or_default() {
            let sample = name.ends_with(b".sample") || name.contains(&b'.');
            let always = ALWAYS.contains(&name.as_slice());
            let skipped = skips && matches!(name.as_slice(), b"pre-commit" | b"commit-msg");
            let runs = always || !QUIET.contains(&sub.as_str()) && !skipped;
            if !sample && !OF_SERVERS.contains(&name.as_slice()) && runs {
                findings.unclear(format!(
                    "the hook '{}' runs",
                    String::from_utf8_lossy(&name)
                ));
            }
        }
    }
}

/// `git init DIR`
pub(crate) fn init(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    settings(call, &mut findings);
    let here = Arg::whole(".");
    let directory = call.parsed.operand_args().next().unwrap_or(&here);
    match directory.value() {
        Some(path) if call.parsed.has("--bare") => tree(&mut findings, path, "the new repository"),
        Some(path) => tree(
            &mut findings,
            &[path, b"/.git"].concat(),
            "the new repository",
        ),
        None => findings.role(&Role::Tree, directory),
    }
    if let Some(separate) = call.parsed.value("--separate-git-dir") {
        findings.role(&Role::Tree, separate);
    }
    findings.finish()
}

/// `git clone URL [DIR]`
pub(crate) fn clone(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    settings(call, &mut findings);
    let mut operands = call.parsed.operand_args();
    let Some(source) = operands.next() else {
        return findings.finish();
    };
    let local = source.known == Known::Whole
        && (source.text.starts_with(b"file://")
            || !source.text.windows(3).any(|part| part == b"://") && !is_remote(&source.text));
    if !local || call.parsed.has("--recurse-submodules") || call.parsed.has("--recursive") {
        findings.irreversible("network", "commits are fetched");
    }
    if source.text.starts_with(b"ext::") || call.parsed.has("-u") || call.parsed.has("--template") {
        findings.unclear("a program or hook that the call names may run");
    }
    if let Some(separate) = call.parsed.value("--separate-git-dir") {
        findings.role(&Role::Tree, separate);
    }
    match (operands.next(), source.value()) {
        (Some(directory), _) => findings.role(&Role::Tree, directory),
        (None, Some(url)) => {
            let bare = call.parsed.has("--bare") || call.parsed.has("--mirror");
            let name = new_name(&findings, url, bare);
            tree(&mut findings, &name, "the new work tree");
        }
        (None, None) => {
            findings.unclear("the name of the new work tree is not known");
        }
    }
    findings.finish()
}

/// The directory that a clone makes when none is named.
fn new_name(findings: &Findings<'_>, url: &[u8], bare: bool) -> Vec<u8> {
    let mut rest = url;
    while let Some(shorter) = rest.strip_suffix(b"/") {
        rest = shorter;
    }
    rest = rest.strip_suffix(b"/.git").unwrap_or(rest);
    let last = last_part(findings, rest);
    let last = last.rsplit(|b| *b == b':').next().unwrap_or(last);
    let last = last
        .strip_suffix(b".git")
        .or_else(|| last.strip_suffix(b".bundle"))
        .unwrap_or(last);
    let mut name = last.to_vec();
    if bare {
        name.extend_from_slice(b".git");
    }
    name
}
