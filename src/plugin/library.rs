//! Loads a checked library into this process. Only the plugin host process does so.

use std::fs::File;
use std::path::Path;

use deployx_plugin_abi::caller::Plugin;
use deployx_plugin_abi::layout::{ABI_OLDEST, ABI_VERSION, ENTRY_SYMBOL, Entry};
use libloading::Library;

use super::{Reason, Refusal};

/// Loads the library in `file` and checks its description. `path` is used only where a library
/// cannot be loaded from a descriptor.
pub(super) fn load(file: &File, path: &Path) -> Result<Plugin, Refusal> {
    let not_loaded = |error: libloading::Error| {
        Refusal::new(Reason::Library, format!("it cannot be loaded: {error}"))
    };
    // SAFETY: the file's owner is trusted; what its code does wrong ends this process, which hosts
    // nothing but the plugin.
    let library = unsafe { Library::new(source(file, path)) }.map_err(not_loaded)?;
    // Never unloaded: threads and exit handlers of the library may outlive any use.
    let library = Box::leak(Box::new(library));
    // SAFETY: the interface gives the symbol this type.
    let entry = unsafe { library.get::<Entry>(ENTRY_SYMBOL.as_bytes()) }.map_err(not_loaded)?;
    // SAFETY: as above.
    let description = unsafe { entry(ABI_OLDEST, ABI_VERSION) };
    // SAFETY: the description is what the entry returned, and the library stays loaded.
    unsafe { Plugin::new(description) }
        .map_err(|error| Refusal::new(Reason::Interface, error.to_string()))
}

#[cfg(target_os = "linux")]
fn source(file: &File, _path: &Path) -> std::path::PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(not(target_os = "linux"))]
fn source(_file: &File, path: &Path) -> std::path::PathBuf {
    path.to_owned()
}
