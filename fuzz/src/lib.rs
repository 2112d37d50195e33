//! What the targets share: a place for lines to run in, and what every answer has to keep to.

use std::sync::LazyLock;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{PathInference, Request};

/// The place in which lines of one family of shells run.
pub struct Place {
    style: Style,
    cwd: &'static str,
    home: &'static str,
    view: MemoryView,
}

/// A Unix host.
pub static UNIX: LazyLock<Place> = LazyLock::new(|| Place {
    style: Style::Unix,
    cwd: "/srv/app",
    home: "/home/dev",
    view: MemoryView::new(&[
        "/srv/app/src/main.c",
        "/srv/app/src/util.c",
        "/srv/app/.git/HEAD",
        "/srv/app/my file",
        "/srv/app/logs/app.log",
        "/srv/app/current -> releases/2",
        "/srv/app/releases/1/VERSION",
        "/srv/app/releases/2/VERSION",
        "/srv/app/a",
        "/srv/app/b/",
        "/home/dev/.bashrc",
        "/tmp/",
    ]),
});

/// A Windows host.
pub static WINDOWS: LazyLock<Place> = LazyLock::new(|| Place {
    style: Style::Windows,
    cwd: r"C:\srv\app",
    home: r"C:\Users\dev",
    view: MemoryView::new(&[
        r"C:\srv\app\src\main.c",
        r"C:\srv\app\src\util.c",
        r"C:\srv\app\my file.txt",
        r"C:\srv\app\logs\app.log",
        r"C:\srv\app\a",
        r"C:\srv\app\b\",
        r"C:\Users\dev\notes.txt",
        r"D:\data\x",
    ]),
});

/// Asks `rules` about a line and checks what holds for every answer: paths are absolute and have no
/// `.` and `..` in them, and what was not understood has a reason.
///
/// # Panics
/// The answer is not what it has to be.
pub fn ask(rules: &dyn PathInference, shell: &str, place: &Place, line: &[u8]) {
    let request = Request {
        shell: shell.into(),
        command: line.to_vec(),
        cwd: place.cwd.into(),
        home: Some(place.home.into()),
        env: vec![("HOME".into(), place.home.into())],
        ..Request::default()
    };
    let answer = rules.infer(&request, &place.view);
    for used in &answer.paths {
        let path = String::from_utf8_lossy(&used.path);
        assert!(place.style.is_absolute(&used.path), "{path:?} is relative");
        let normal = place.style.resolve(&used.path, b"");
        assert_eq!(
            normal.as_deref(),
            Some(used.path.as_slice()),
            "{path:?} is not normal"
        );
    }
    for part in &answer.unclear {
        assert!(!part.reason.is_empty(), "no reason for {:?}", part.text);
    }
}
