//! A rule set answers the same whether it is linked or loaded.

#[path = "../examples/careful.rs"]
#[allow(dead_code, unreachable_pub)]
mod careful;

use std::path::Path;
use std::sync::OnceLock;

use careful::Careful;
use deployx_plugin_sdk::harness::{self, Harness};
use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::view::LentView;
use deployx_plugin_sdk::{Depth, FileView, Kind, Request};

fn harness() -> Harness {
    static LIBRARY: OnceLock<std::path::PathBuf> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        harness::build(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &["--example", "careful"],
            "examples/careful",
            &Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries"),
        )
        .unwrap()
    });
    Harness::load(Box::new(Careful::default()), library).unwrap()
}

fn request(command: &[u8]) -> Request {
    Request {
        shell: "toy".into(),
        command: command.to_vec(),
        cwd: b"/srv".to_vec(),
        home: Some(b"/root".to_vec()),
        env: vec![("A".into(), b"\xff".to_vec())],
        ..Request::default()
    }
}

#[test]
fn the_description_is_that_of_the_rule_set() {
    let harness = harness();
    assert_eq!(harness.loaded().name(), "careful");
    assert_eq!(harness.loaded().version(), "0.1");
    assert_eq!(harness.loaded().shells(), ["toy", "toysh"]);
}

#[test]
fn linked_and_loaded_answers_are_the_same() {
    let mut view = MemoryView::new(&["/srv/d/a", "/srv/d/b", "/srv/l -> d"]);
    view.file("/srv/f", "content");
    let harness = harness();
    let directory = harness.infer(&request(b"drop d"), &view);
    assert_eq!(directory.paths[0].depth, Depth::Tree);
    assert!(directory.paths[0].reason.starts_with("2 entries"));
    let file = harness.infer(&request(b"drop f"), &view);
    assert_eq!(file.paths[0].depth, Depth::Entry);
    assert!(file.paths[0].reason.contains("begins with 'cont'"));
    let link = harness.infer(&request(b"drop l"), &view);
    assert!(link.paths[0].reason.contains("link to 'd'"));
    let unclear = harness.infer(&request(b"\xff\x00"), &view);
    assert_eq!(unclear.unclear[0].text, b"\xff\x00");
}

#[test]
fn tables_and_their_errors_cross() {
    let mut harness = harness();
    harness.add_rules("a.toml", "[x]");
    harness.add_rules("b.toml", "");
    let view = MemoryView::new(&["/srv/f"]);
    let answer = harness.infer(&request(b"drop f"), &view);
    assert!(answer.paths[0].reason.ends_with("1 tables"));
}

#[test]
fn a_panic_stays_in_the_library() {
    let view = MemoryView::default();
    let harness = harness();
    let lent = LentView::new(&view);
    let error = harness
        .loaded()
        .infer(&request(b"panic"), &lent.table())
        .unwrap_err();
    assert_eq!(error.to_string(), "it panicked: asked to");
    harness.infer(&request(b"drop f"), &view);
}

/// A view that fails inside.
struct Broken;

impl FileView for Broken {
    fn kind(&self, _path: &[u8]) -> Kind {
        panic!("kind")
    }
    fn list(&self, _dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        panic!("list")
    }
    fn read_link(&self, _path: &[u8]) -> Option<Vec<u8>> {
        panic!("read_link")
    }
    fn read(&self, _path: &[u8], _max: usize) -> Option<Vec<u8>> {
        panic!("read")
    }
}

#[test]
fn a_panic_of_the_host_stays_in_the_host() {
    let lent = LentView::new(&Broken);
    let answer = harness()
        .loaded()
        .infer(&request(b"drop f"), &lent.table())
        .unwrap();
    assert_eq!(answer.paths[0].depth, Depth::Tree);
}
