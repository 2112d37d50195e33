//! Runs a rule set both linked and loaded, so that a test can tell that the library answers as the
//! crate does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use deployx_plugin_abi::caller::{HandshakeError, Plugin};
use deployx_plugin_abi::layout::{ABI_OLDEST, ABI_VERSION, ENTRY_SYMBOL, Entry};
use deployx_plugin_abi::{Inference, Request};

use crate::view::LentView;
use crate::{FileView, PathInference};

/// A rule set in its two forms.
pub struct Harness {
    linked: Box<dyn PathInference>,
    loaded: Plugin,
}

/// Why a library could not be built or loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum HarnessError {
    /// `cargo build` could not be run or failed; it has said why on standard error.
    Build(String),
    /// The library could not be loaded, or has no entry.
    Load(libloading::Error),
    /// Its description is not acceptable.
    Handshake(HandshakeError),
}

impl fmt::Display for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(what) => write!(f, "the library was not built: {what}"),
            Self::Load(error) => write!(f, "the library was not loaded: {error}"),
            Self::Handshake(error) => write!(f, "the library was refused: {error}"),
        }
    }
}

impl std::error::Error for HarnessError {}

impl Harness {
    /// Takes the linked rule set and loads `library`, which should be the same. The library's code
    /// runs in this process: load only what the test has built. It stays loaded.
    ///
    /// # Errors
    /// The library cannot be loaded or is refused.
    pub fn load(linked: Box<dyn PathInference>, library: &Path) -> Result<Self, HarnessError> {
        // SAFETY: the caller vouches for the library.
        let library = unsafe { libloading::Library::new(library) }.map_err(HarnessError::Load)?;
        // Never unloaded: its code may be referred to from anywhere.
        let library = Box::leak(Box::new(library));
        // SAFETY: the interface gives the symbol this type.
        let entry =
            unsafe { library.get::<Entry>(ENTRY_SYMBOL.as_bytes()) }.map_err(HarnessError::Load)?;
        // SAFETY: as above.
        let description = unsafe { entry(ABI_OLDEST, ABI_VERSION) };
        // SAFETY: the description is what the entry returned, and the library stays loaded.
        let loaded = unsafe { Plugin::new(description) }.map_err(HarnessError::Handshake)?;
        Ok(Self { linked, loaded })
    }

    /// Asks both and gives the one answer.
    ///
    /// # Panics
    /// The answers differ, or the loaded rule set gives none.
    pub fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        let linked = self.linked.infer(request, view);
        let lent = LentView::new(view);
        match self.loaded.infer(request, &lent.table()) {
            Ok(loaded) => assert_eq!(linked, loaded, "linked and loaded answers differ"),
            Err(error) => panic!("the loaded rule set gave no answer: {error}"),
        }
        linked
    }

    /// Adds a table of commands to both.
    ///
    /// # Panics
    /// They differ in whether they take it, or in what they say.
    pub fn add_rules(&mut self, source: &str, toml: &str) {
        let linked = self.linked.add_rules(source, toml);
        let loaded = self.loaded.add_rules(source, toml);
        assert_eq!(Ok(linked), loaded, "linked and loaded rule sets differ");
    }

    /// The loaded rule set.
    pub fn loaded(&self) -> &Plugin {
        &self.loaded
    }
}

/// Builds a library with `cargo build` and gives its path. `directory` is that of the crate,
/// `arguments` go to cargo (`--features plugin`), `library` is the library's name (`my_rules`),
/// after `examples/` where it is an example. `target` is where the build goes: a directory
/// of its own, because the same crate built without its exports has a library of the same name.
///
/// # Errors
/// The build fails.
pub fn build(
    directory: &Path,
    arguments: &[&str],
    library: &str,
    target: &Path,
) -> Result<PathBuf, HarnessError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .arg("build")
        .args(arguments)
        .arg("--target-dir")
        .arg(target)
        .current_dir(directory)
        .status()
        .map_err(|error| HarnessError::Build(error.to_string()))?;
    if !status.success() {
        return Err(HarnessError::Build(format!("cargo build: {status}")));
    }
    let (folder, name) = library.rsplit_once('/').unwrap_or(("", library));
    let file = format!(
        "{}{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    Ok(target.join("debug").join(folder).join(file))
}
