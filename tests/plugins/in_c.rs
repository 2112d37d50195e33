//! The documentation's example of a plugin in C.

use std::path::Path;

use deployx::infer::{DiskView, PathInference as _, Request};
use deployx::plugin::{self, PluginState};
use deployx_plugin_sdk::Depth;

use crate::site::{Site, ask, compile, host};

#[test]
fn the_example_in_c_is_loaded_and_answers() {
    let site = Site::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugin_in_c/plugin.c");
    let library = site.at("libtoy.so");
    let test = "the_example_in_c_is_loaded_and_answers";
    if compile(test, &source, &library).is_none() {
        return;
    }
    let report = plugin::check(&library, &host());
    assert_eq!(report.state, PluginState::Active, "{report:?}");
    assert_eq!(report.name, "toy-in-c");

    let plugin = site.load(&host());
    let there = site.put("file", b"content");
    let answer = ask(&plugin, &format!("drop {}", there.display()));
    assert_eq!(answer.paths[0].path, there.as_os_str().as_encoded_bytes());
    assert_eq!(answer.paths[0].depth, Depth::Entry);
    assert!(answer.destructive);
    let missing = ask(&plugin, "drop no-such-entry");
    assert_eq!(missing.paths[0].path, b"/srv/no-such-entry");
    assert_eq!(missing.paths[0].depth, Depth::Tree);
    for line in ["", "drop", "drop a b", "drop ../x", "drop a\0b", "other"] {
        let answer = ask(&plugin, line);
        assert_eq!(answer.paths, [], "{line:?}");
        assert_eq!(answer.unclear.len(), 1, "{line:?}");
    }
    let at_root = Request {
        shell: "toy".into(),
        command: b"drop x".to_vec(),
        cwd: b"/".to_vec(),
        ..Request::default()
    };
    assert_eq!(plugin.infer(&at_root, &DiskView).paths[0].path, b"/x");
    assert_eq!(plugin.report().state, PluginState::Active);
}

#[test]
fn the_documentation_has_the_example_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("src/docs/plugin_abi.md")).unwrap();
    let example = std::fs::read_to_string(root.join("examples/plugin_in_c/plugin.c")).unwrap();
    assert!(page.ends_with(&format!("```c\n{example}```\n")));
}
