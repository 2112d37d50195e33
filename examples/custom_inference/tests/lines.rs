//! What the rules for fish say of lines, linked and loaded.

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Inference, PathInference as _, Request};
use deployx_rules_fish::FishRules;

fn request(line: &str) -> Request {
    Request {
        shell: "fish".into(),
        command: line.into(),
        cwd: "/work".into(),
        home: Some("/home/u".into()),
        ..Request::default()
    }
}

fn view() -> MemoryView {
    MemoryView::new(&["/work/a", "/work/dir/b", "/home/u/", "/srv/app/"])
}

fn infer(line: &str) -> Inference {
    FishRules::new().infer(&request(line), &view())
}

fn paths(found: &Inference) -> Vec<String> {
    let mut paths: Vec<String> = found
        .paths
        .iter()
        .map(|used| String::from_utf8(used.path.clone()).unwrap())
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn simple_commands_are_understood() {
    for (line, expected) in [
        ("ls; cat a", &[][..]),
        (
            "rm a 'dir/b'",
            &["/work", "/work/a", "/work/dir", "/work/dir/b"],
        ),
        ("echo x > ~/new", &["/home/u/new"]),
        (
            "cd /srv/app; and touch x",
            &["/srv/app", "/srv/app/x", "/work"],
        ),
        ("not test -e x; or mv a dir", &["/work/a", "/work/dir/a"]),
    ] {
        let found = infer(line);
        assert_eq!(found.unclear, [], "{line}");
        let found = paths(&found);
        for path in expected {
            assert!(found.contains(&(*path).to_owned()), "{line}: {found:?}");
        }
    }
}

#[test]
fn what_is_not_read_is_said() {
    for line in [
        "rm $x",
        "rm *.log",
        "for f in a b; rm $f; end",
        "./deploy.sh",
        "rm (cat list)",
        "eval rm a",
        "echo 'open",
        "cd $dir; rm a",
        "rm --frobnicate a",
    ] {
        assert_ne!(infer(line).unclear, [], "{line}");
    }
}

#[test]
fn a_name_that_was_redefined_is_not_understood() {
    let mut request = request("rm a");
    request.session.redefined.push("rm".into());
    assert_ne!(FishRules::new().infer(&request, &view()).unclear, []);
}

#[test]
fn rules_of_the_user_are_taken() {
    let mut rules = FishRules::new();
    assert_ne!(rules.infer(&request("mytool x"), &view()).unclear, []);
    rules
        .add_rules("fish.toml", "[mytool]\noperands = \"write...\"\n")
        .unwrap();
    let found = rules.infer(&request("mytool x"), &view());
    assert_eq!(found.unclear, []);
    assert!(paths(&found).contains(&"/work/x".to_owned()));
    let error = rules.add_rules("fish.toml", "[mytool]\noperands = 3\n");
    assert_eq!(error.unwrap_err().line, 2);
}

#[test]
fn hostile_lines_do_not_panic() {
    for line in [
        "", "\0", "\\", "'", "\"\\", "&", ">", "2>", "cd", "~", "((((", "| | ;",
    ] {
        infer(line);
    }
    infer(&"(".repeat(64 * 1024));
}

#[test]
fn the_library_answers_as_the_crate_does() {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fish");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let library =
        deployx_plugin_sdk::harness::build(directory, &[], "deployx_rules_fish", &target).unwrap();
    let rules = Box::new(FishRules::new());
    let both = deployx_plugin_sdk::harness::Harness::load(rules, &library).unwrap();
    for line in ["rm a", "cd /srv/app; and touch x", "rm $x", "echo > ~/new"] {
        both.infer(&request(line), &view());
    }
}
