//! Whether a file is a complete library for this machine. The system's loader would end the
//! process at a file that is cut short, and run the code of one that is no plugin.

use std::fs::File;

use object::{Architecture, BinaryFormat, Object as _, ObjectKind, ObjectSegment as _, ReadCache};

use deployx_plugin_abi::layout::ENTRY_SYMBOL;

use super::{Reason, Refusal};

/// Checks the file's headers against its length and looks for the entry.
pub(super) fn examine(file: &File) -> Result<(), Refusal> {
    let unreadable = |error| refuse(format!("the file cannot be read: {error}"));
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        return Err(refuse("the file is empty"));
    }
    let cache = ReadCache::new(file);
    let kind = object::FileKind::parse(&cache).map_err(|_| refuse("the file is not a library"))?;
    let image = object::File::parse(&cache)
        .map_err(|error| refuse(format!("the library is cut short or damaged: {error}")))?;
    if image.format() != native_format() {
        return Err(refuse(format!(
            "the file has the format {kind:?}, which is not this system's"
        )));
    }
    if native_architecture().is_some_and(|native| native != image.architecture()) {
        return Err(refuse(format!(
            "the library is for another processor: {:?}",
            image.architecture()
        )));
    }
    if image.kind() != ObjectKind::Dynamic {
        return Err(refuse("the file is a program or an object, not a library"));
    }
    let complete = image.segments().all(|segment| {
        let (offset, size) = segment.file_range();
        offset.checked_add(size).is_some_and(|end| end <= length)
    });
    if !complete {
        return Err(refuse(
            "the library is cut short or damaged: a segment ends after the file",
        ));
    }
    let exports = image
        .exports()
        .map_err(|error| refuse(format!("the library is cut short or damaged: {error}")))?;
    // Mach-O names begin with an underscore.
    let is_entry = |name: &[u8]| name.strip_prefix(b"_").unwrap_or(name) == ENTRY_SYMBOL.as_bytes();
    if !exports.iter().any(|export| is_entry(export.name())) {
        return Err(refuse(format!(
            "the library does not export '{ENTRY_SYMBOL}': it is no plugin, or was built without \
             its exports"
        )));
    }
    Ok(())
}

fn native_format() -> BinaryFormat {
    if cfg!(windows) {
        BinaryFormat::Pe
    } else if cfg!(target_vendor = "apple") {
        BinaryFormat::MachO
    } else {
        BinaryFormat::Elf
    }
}

/// `None` where the loader has to tell.
fn native_architecture() -> Option<Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Architecture::X86_64),
        "x86" => Some(Architecture::I386),
        "aarch64" => Some(Architecture::Aarch64),
        "arm" => Some(Architecture::Arm),
        "riscv64" => Some(Architecture::Riscv64),
        _ => None,
    }
}

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Library, message)
}
