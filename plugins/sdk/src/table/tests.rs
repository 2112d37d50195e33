//! What rules make of calls, by example.

use deployx_plugin_abi::Depth;

use super::*;

mod documents;
mod garbage;
mod messages;
mod named;
mod places;
mod slash;
mod touched;
use crate::path::Style;
use crate::testing::MemoryView;

/// The examples of the module's documentation, and more.
const RULES: &str = r#"
[rm]
options = ["-r -R --recursive", "-f --force", "-i", "-I", "--interactive[=ignore]", "-v --verbose"]
operands = "remove..."
destructive = true

[cp]
options = ["-r -R --recursive", "-a --archive", "-t --target-directory=into", "-T", "-S --suffix=ignore"]
operands = "read... place"
[cp.when."-t"]
operands = "read..."
[cp.when."-T"]
operands = "read tree"

[mv]
options = ["-t --target-directory=into", "-f"]
operands = "take... place"
[mv.when."-t"]
operands = "take..."

[sed]
options = ["-n --quiet --silent", "-i[ignore] --in-place[=ignore]", "-e --expression=ignore", "-f --file=read"]
operands = "ignore read..."
[sed.when."-i"]
operands = "ignore edit..."

[git]
options = ["-C=chdir", "-c=ignore", "--git-dir=tree", "--work-tree=tree"]
[git.sub.init]
options = ["--bare", "-q --quiet", "-b --initial-branch=ignore"]
operands = "[tree=.]"
[git.sub.commit]
options = ["-m --message=ignore", "-a --all"]
touch = [{ path = "^.git", depth = "tree" }]
[git.sub.stash]
[git.sub.stash.sub.pop]
same = ["apply"]
touch = [{ path = "^^.git" }]

[sudo]
options = ["-u --user=ignore", "-E", "-n", "-D --chdir=chdir"]
operands = "command..."

[timeout]
options = ["-s --signal=ignore", "-k --kill-after=ignore"]
operands = "ignore command..."

[bash]
options = ["-c", "-x"]
[bash.when."-c"]
operands = "script ignore..."

[mkdir]
options = ["-p --parents", "-m --mode=ignore", "-v --verbose"]
operands = "create..."

[chmod]
options = ["-R --recursive", "-v --verbose"]
operands = "ignore meta..."
[chmod.when."-R"]
operands = "ignore metatree..."

[cat]
same = ["tac"]
options = ["-n --number", "-A --show-all"]
operands = "read..."

[head]
options = ["-n --lines=ignore", "-#"]
operands = "read..."

[sort]
options = ["-o --output=write", "-r"]
operands = "read..."

[tar]
first_word_is_options = true
options = ["-c", "-z", "-v", "-f=write", "-C=chdir"]
operands = "read..."

[npm]
other_options = "ignore"
touch = [{ path = "${npm_cache:-~/.npm}", depth = "tree", certainty = "likely" }]

[make]
unclear = "make runs anything"
options = ["-n"]
[make.when."-n"]
unclear = false

[gcc]
style = "single"
options = ["-o=write", "-W[ignore]", "-I=read", "-std[=ignore]"]
operands = "read..."

[unzip]
operands = "read"

[ssh]
operands = "remote ignore..."

[go]
touch = [{ path = "$GOPATH" }]
"#;

fn view() -> MemoryView {
    MemoryView::new(&[
        "/srv/app/a.txt",
        "/srv/app/b.txt",
        "/srv/app/dir/x",
        "/srv/app/dir/a.txt",
        "/srv/app/dir/sub/deep",
        "/srv/app/other/sub/y",
        "/srv/app/link -> dir",
        "/srv/app/to-file -> a.txt",
        "/srv/app/.git/HEAD",
        "/home/u/",
    ])
}

fn outcome_in(cwd: Option<&str>, line: &[Arg]) -> Outcome {
    outcome_of(RULES, cwd, line)
}

fn outcome_of(rules: &str, cwd: Option<&str>, line: &[Arg]) -> Outcome {
    let table = Table::parse("rules.toml", rules, ArgStyle::Posix).unwrap();
    let name = String::from_utf8(line[0].text.clone()).unwrap();
    let variable = |_: &str| None;
    let place = Place {
        style: Style::Unix,
        cwd: cwd.map(str::as_bytes),
        home: Some(b"/home/u"),
        variable: &variable,
        view: &view(),
    };
    let rule = table.rule(name.as_bytes()).expect(&name);
    rule.apply(&name, &line[1..], &place, &Handlers::new())
}

/// Words by spaces; a word that ends with `…` is a beginning, with `……` perhaps several arguments,
/// and one that has a `*` is a pattern.
fn words(line: &str) -> Vec<Arg> {
    line.split_whitespace()
        .map(|word| {
            let (text, known) = if let Some(text) = word.strip_suffix("……") {
                (text, Known::Several)
            } else if let Some(text) = word.strip_suffix('…') {
                (text, Known::Beginning)
            } else if word.contains('*') {
                (word, Known::Pattern)
            } else {
                (word, Known::Whole)
            };
            Arg {
                text: text.into(),
                known,
            }
        })
        .collect()
}

fn outcome(line: &str) -> Outcome {
    outcome_in(Some("/srv/app"), &words(line))
}

/// Paths relative to `/srv/app`: `name` an entry, `name/` its children, `name/**` its tree, `->` in
/// front where links are followed. Sorted, each once.
fn paths(outcome: &Outcome) -> String {
    let mut found: Vec<String> = outcome
        .paths
        .iter()
        .map(|path| {
            let text = String::from_utf8_lossy(&path.path);
            let text = text.strip_prefix("/srv/app/").unwrap_or(match &*text {
                "/srv/app" => ".",
                other => other,
            });
            let depth = match path.depth {
                Depth::Entry => "",
                Depth::Children => "/",
                Depth::Tree => "/**",
            };
            let follow = if path.follow { "->" } else { "" };
            format!("{follow}{text}{depth}")
        })
        .collect();
    found.sort();
    found.dedup();
    found.join(" ")
}

#[test]
fn known_calls_are_understood_and_precise() {
    for (line, expected) in [
        ("rm -rf dir", "->. dir/**"),
        ("rm -rf dir/", "->. ->dir/**"),
        ("rm -- -x", "->. -x/**"),
        ("rm a.txt -f", "->. a.txt/**"),
        ("rm --rec dir", "->. dir/**"),
        ("cp a.txt b.txt", "->b.txt"),
        ("cp a.txt new", "->new/**"),
        ("cp a.txt to-file", "->to-file"),
        ("cp a.txt dir", "->dir/a.txt"),
        ("cp b.txt dir/", "->dir/b.txt/**"),
        ("cp b.txt link", "->link/b.txt/**"),
        ("cp -r other/sub dir", "->dir/sub/**"),
        ("cp -r other/. dir", "->dir ->dir/sub/**"),
        ("cp a.txt b.txt dir", "->dir/a.txt ->dir/b.txt/**"),
        ("cp -t dir a.txt", "->dir/a.txt"),
        ("cp --target-directory=dir a.txt", "->dir/a.txt"),
        ("cp -T a.txt dir", "->dir/**"),
        ("cp a.txt /dev/null", ""),
        ("cp -S .bak a.txt b.txt", "->b.txt"),
        ("cp -S.bak a.txt b.txt", "->b.txt"),
        ("mv a.txt b.txt", "->. a.txt/** b.txt"),
        ("mv a.txt dir", "->. a.txt/** dir/a.txt"),
        ("mv -t dir a.txt", "->. a.txt/** dir/a.txt"),
        ("sed s/a/b/ a.txt", ""),
        ("sed -i s/a/b/ a.txt to-file", "a.txt to-file"),
        ("sed -i.bak s/a/b/ a.txt", "a.txt"),
        ("sed -ni s/a/b/ a.txt", "a.txt"),
        ("git init", "->./**"),
        ("git init new", "->new/**"),
        ("git -C dir init", "->dir/**"),
        ("git commit -am x", "->.git/**"),
        ("git -C dir commit -m x", "->.git/**"),
        ("git stash apply", "->./**"),
        ("git stash", ""),
        ("git", ""),
        ("mkdir -p new/deep/er", "->new/deep ->new/deep/er/** new/**"),
        ("mkdir dir", "->. ->dir"),
        ("chmod 644 a.txt", "->a.txt"),
        ("chmod -R u+x dir", "->dir/**"),
        ("cat a.txt", ""),
        ("tac -n a.txt", ""),
        ("head -20 a.txt", ""),
        ("sort -o out a.txt", "->out/**"),
        ("sort a.txt -oa.txt", "->a.txt"),
        ("sort -ro a.txt b.txt", "->a.txt"),
        ("tar czf new.tar a.txt", "->new.tar/**"),
        ("tar cfC new.tar dir x", "->dir/new.tar/**"),
        ("tar -czf new.tar a.txt", "->new.tar/**"),
        ("npm --loglevel=x install y", "->/home/u/.npm/**"),
        ("make -n", ""),
        ("gcc -Wall -std=c99 -Idir -oout a.txt", "->out/**"),
        ("gcc -o a.txt b.txt", "->a.txt"),
        ("rm", ""),
    ] {
        let outcome = outcome(line);
        assert_eq!(paths(&outcome), expected, "{line}");
        assert_eq!(outcome.unclear, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    for (line, reason, expected) in [
        ("rm -rf …", "'…' may be an option", "->./**"),
        ("rm /srv/x-…", "not known", "->/srv/**"),
        ("rm -- …", "not known", "->./**"),
        ("rm dir/……", "options among them", "->dir/**"),
        ("rm -r…", "may have more options", ""),
        ("rm --re…", "any option", ""),
        ("rm --what dir", "unknown option '--what'", "->. dir/**"),
        ("rm -rx dir", "unknown option '-x'", "->. dir/**"),
        ("cp --…", "option", ""),
        ("cp …… dir", "option", "->dir/**"),
        ("sort -o… a.txt", "its value", "->./**"),
        ("sort -odir/… a.txt", "not known", "->dir/**"),
        ("sort --output=dir/… a.txt", "not known", "->dir/**"),
        ("chmod 644 *", "symbolic links", "->./"),
        ("git frobnicate x", "unknown subcommand", ""),
        ("git … x", "may be an option", ""),
        ("make all", "anything", ""),
        ("unzip a b", "too many", ""),
        ("go build", "GOPATH", ""),
        ("sudo … x", "may be an option", ""),
    ] {
        let outcome = outcome(line);
        let found = outcome.unclear.join("; ");
        assert!(found.contains(reason), "{line}: {found:?}");
        assert_eq!(paths(&outcome), expected, "{line}");
    }
}

#[test]
fn what_only_reads_stays_understood() {
    for line in ["cat …", "cat …… x", "head -n… x", "cat *"] {
        let outcome = outcome(line);
        assert_eq!(outcome.unclear, Vec::<String>::new(), "{line}");
        assert_eq!(paths(&outcome), "", "{line}");
    }
    assert!(!outcome("cat --frob").unclear.is_empty());
}

#[test]
fn patterns_are_covered_without_being_unclear() {
    for (line, expected) in [
        ("rm dir/*.o", "->dir/**"),
        ("rm di*/x", "->./**"),
        ("sed -i s/a/b/ dir/*.txt", "->dir/"),
        ("cp *.txt dir", "->dir/**"),
        ("mv *.txt dir", "->./** ->dir/**"),
    ] {
        let outcome = outcome(line);
        assert_eq!(paths(&outcome), expected, "{line}");
        assert_eq!(outcome.unclear, Vec::<String>::new(), "{line}");
    }
}

#[test]
fn an_unknown_working_directory_matters_for_relative_paths_only() {
    let found = outcome_in(None, &words("rm x"));
    assert!(!found.unclear.is_empty());
    let found = outcome_in(None, &words("rm /srv/app/dir"));
    assert!(found.unclear.is_empty());
    assert_eq!(paths(&found), "->. dir/**");
    assert!(outcome_in(None, &words("cat x")).unclear.is_empty());
    assert!(!outcome_in(None, &words("git commit")).unclear.is_empty());
}

#[test]
fn commands_within_commands_are_handed_on() {
    let found = outcome("sudo -u www -D dir rm -rf x");
    assert_eq!(found.nested.len(), 1);
    assert_eq!(
        found.nested[0].what,
        NestedCommand::Words(words("rm -rf x"))
    );
    assert_eq!(found.nested[0].cwd, Some(Some(b"/srv/app/dir".to_vec())));
    let found = outcome("timeout -s 9 5 rm -k x");
    assert_eq!(found.nested[0].what, NestedCommand::Words(words("rm -k x")));
    assert_eq!(found.nested[0].cwd, None);
    let found = outcome("sudo -- rm x");
    assert_eq!(found.nested[0].what, NestedCommand::Words(words("rm x")));
    let found = outcome("bash -c true x");
    assert_eq!(
        found.nested[0].what,
        NestedCommand::Line {
            shell: None,
            text: Arg::whole("true")
        }
    );
    assert!(found.unclear.is_empty(), "{:?}", found.unclear);
}

#[test]
fn effects_are_told() {
    assert!(outcome("rm x").destructive);
    assert!(!outcome("cp a b").destructive);
    assert_eq!(outcome("ssh host ls").irreversible[0].what, "remote");
    assert_eq!(outcome("cp a.txt /dev/sda").irreversible[0].what, "device");
}

#[test]
fn labels_name_the_users_file() {
    let table = Table::parse("rules.toml", RULES, ArgStyle::Posix).unwrap();
    assert_eq!(table.rule(b"rm").unwrap().label(), "rm (rules.toml:2)");
    let table = Table::embedded(&[("rules.toml", RULES)], ArgStyle::Posix).unwrap();
    assert_eq!(table.rule(b"rm").unwrap().label(), "rm");
    assert_eq!(
        table
            .rule(b"git")
            .unwrap()
            .subcommand(b"init")
            .unwrap()
            .label(),
        "git init"
    );
}
