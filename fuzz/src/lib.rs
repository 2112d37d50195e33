//! What the targets share: a place for lines to run in, and what every answer has to keep to.

use std::sync::LazyLock;

use deployx_plugin_abi::{Depth, Inference, wire};
use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{PathInference, Request};

/// A command that no rule set knows.
const UNKNOWN: &str = "frobnicate-zz";

/// The place in which lines of one family of shells run.
pub struct Place {
    style: Style,
    cwd: &'static str,
    root: &'static str,
    home: &'static str,
    canary: &'static str,
    canary_command: &'static str,
    view: MemoryView,
}

/// A Unix host.
pub static UNIX: LazyLock<Place> = LazyLock::new(|| Place {
    style: Style::Unix,
    cwd: "/srv/app",
    root: "/",
    home: "/home/dev",
    canary: "/opt/canary",
    // Shells run the first line before they read the next.
    canary_command: "rm -rf /opt/canary\n",
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

/// A Windows host, for lines of cmd.
pub static WINDOWS_CMD: LazyLock<Place> = LazyLock::new(|| windows(r"rd /s /q D:\canary & "));

/// The same for PowerShell.
pub static WINDOWS_POWERSHELL: LazyLock<Place> =
    LazyLock::new(|| windows(r"Remove-Item -Recurse D:\canary; "));

fn windows(canary_command: &'static str) -> Place {
    Place {
        style: Style::Windows,
        cwd: r"C:\srv\app",
        root: r"C:\",
        home: r"C:\Users\dev",
        canary: r"D:\canary",
        canary_command,
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
    }
}

/// Asks `rules` about a line and checks what holds for every answer, and what holds for a line that
/// begins with a command that is known and with one that is not.
///
/// # Panics
/// The answer is not what it has to be.
pub fn ask(rules: &dyn PathInference, place: &Place, line: &[u8]) {
    check(place, &infer(rules, place, line));

    let mut after_command = place.canary_command.as_bytes().to_vec();
    after_command.extend_from_slice(line);
    let answer = infer(rules, place, &after_command);
    check(place, &answer);
    assert!(
        covers(place, &answer),
        "what follows hides {:?}: {answer:#?}",
        place.canary_command
    );

    let mut unknown = UNKNOWN.as_bytes().to_vec();
    unknown.push(b' ');
    unknown.extend_from_slice(line);
    let answer = infer(rules, place, &unknown);
    check(place, &answer);
    let redefined = answer.session.redefined.iter().any(|name| name == UNKNOWN);
    assert!(
        !answer.unclear.is_empty() || redefined,
        "an unknown command is understood: {answer:#?}"
    );
}

/// The answer about a line. The line's length chooses the shell and the working directory.
pub fn infer(rules: &dyn PathInference, place: &Place, line: &[u8]) -> Inference {
    let shells = rules.shells();
    let shell = match line.len() % 4 {
        3 => shells[line.len() / 4 % shells.len()],
        _ => shells[0],
    };
    let cwd = match line.len() % 16 {
        15 => place.root,
        _ => place.cwd,
    };
    let request = Request {
        shell: shell.into(),
        command: line.to_vec(),
        cwd: cwd.into(),
        home: Some(place.home.into()),
        env: vec![("HOME".into(), place.home.into())],
        ..Request::default()
    };
    rules.infer(&request, &place.view)
}

/// Checks that all paths are absolute and have no `.` and `..` in them, that there is a reason for
/// everything, and that the answer is the same after it has crossed the interface to plugins.
fn check(place: &Place, answer: &Inference) {
    let places = answer.unclear.iter().filter_map(|part| part.cwd.as_ref());
    let used = answer.paths.iter().map(|used| &used.path);
    for path in used.chain(places).chain(&answer.cwd_after) {
        let shown = String::from_utf8_lossy(path);
        assert!(place.style.is_absolute(path), "{shown:?} is relative");
        let normal = place.style.resolve(path, b"");
        assert_eq!(normal.as_ref(), Some(path), "{shown:?} is not normal");
    }
    for used in &answer.paths {
        assert!(!used.reason.is_empty(), "no reason for {used:?}");
        assert!(!used.rule.is_empty(), "no rule for {used:?}");
    }
    for part in &answer.unclear {
        assert!(!part.reason.is_empty(), "no reason for {:?}", part.text);
    }
    let encoded = wire::encode_inference(answer);
    assert_eq!(wire::decode_inference(&encoded).as_ref(), Ok(answer));
}

/// Whether the canary is covered: listed itself, in a tree that is listed, or named by a part that
/// is unclear, whose words the host covers.
fn covers(place: &Place, answer: &Inference) -> bool {
    let canary = place.canary.as_bytes();
    let listed = answer.paths.iter().any(|used| {
        used.path == canary
            || (used.depth == Depth::Tree && place.style.starts_with(canary, &used.path))
    });
    let named = |text: &[u8]| text.windows(canary.len()).any(|part| part == canary);
    listed || answer.unclear.iter().any(|part| named(&part.text))
}
