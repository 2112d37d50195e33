//! Builds the libraries and puts changed copies of them where a test wants them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use deployx::infer::{DiskView, Inference, PathInference as _, Request};
use deployx::plugin::{self, LoadedPlugin, PluginHost, PluginReport, Reason};

/// A directory with plugins.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the directory.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner may write.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o644);
        path
    }

    /// A copy of the hostile plugin that behaves like this when it is loaded.
    pub(crate) fn hostile(&self, behaviour: &str) -> PathBuf {
        let mut library = hostile().to_vec();
        let marker = b"BEHAVIOUR-AT-LOADING:";
        let at = library
            .windows(marker.len())
            .position(|bytes| bytes == marker)
            .expect("the marker")
            + marker.len();
        library[at..at + 19].copy_from_slice(format!("{behaviour:<19}").as_bytes());
        self.put(&format!("lib{behaviour}.so"), &library)
    }

    /// Loads the one plugin in the directory.
    pub(crate) fn load(&self, host: &PluginHost) -> LoadedPlugin {
        let plugins = plugin::load(&[self.path().to_owned()], host);
        assert_eq!(plugins.refused, []);
        plugins.active.into_iter().next().expect("a plugin")
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The program under test as a host, with limits that a busy machine keeps.
pub(crate) fn host() -> PluginHost {
    PluginHost {
        start_limit: Duration::from_secs(60),
        call_limit: Duration::from_secs(60),
        ..PluginHost::new(env!("CARGO_BIN_EXE_deployx"), &["plugin-host"])
    }
}

/// Why a plugin is refused.
pub(crate) fn refusal(path: &Path, host: &PluginHost) -> (Reason, String) {
    let report = plugin::check(path, host);
    because(&report)
}

pub(crate) fn because(report: &PluginReport) -> (Reason, String) {
    let reason = report.reason.expect("a refusal");
    (reason, report.message.clone().expect("a message"))
}

/// What a plugin makes of a line of its shell.
pub(crate) fn ask(plugin: &LoadedPlugin, command: &str) -> Inference {
    let request = Request {
        shell: "toy".into(),
        command: command.into(),
        cwd: b"/srv".to_vec(),
        ..Request::default()
    };
    plugin.infer(&request, &DiskView)
}

/// The bytes of the hostile plugin.
fn hostile() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/hostile");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--target-dir"])
            .arg(&target)
            .current_dir(source)
            .status()
            .expect("cargo");
        assert!(built.success(), "the hostile plugin was not built");
        fs::read(target.join("debug/libhostile.so")).expect("the hostile plugin")
    })
}

/// Compiles a library of one C file; `None`, said loudly, where there is no compiler.
pub(crate) fn compile(test: &str, source: &Path, to: &Path) -> Option<()> {
    if !crate::common::require(test, "cc", crate::common::has_program("cc")) {
        return None;
    }
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/abi/include");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args(["-shared", "-fPIC", "-I"])
        .arg(include)
        .arg("-o")
        .args([to, source])
        .status()
        .expect("cc");
    assert!(compiled.success());
    set_mode(to, 0o755);
    Some(())
}
