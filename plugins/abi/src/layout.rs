//! The C layout: what a plugin's library exports and what the host hands to it.
//!
//! Every structure is `repr(C)`. One that may grow begins with its size in bytes, so that either
//! side can tell which fields the other knows. Nothing unwinds across these functions.

use std::ffi::c_void;

/// The name of the one symbol that a plugin exports: a function of type [`Entry`].
pub const ENTRY_SYMBOL: &str = "deployx_plugin";

/// The version of the interface that this crate describes.
pub const ABI_VERSION: u32 = 1;

/// The oldest version that this crate still speaks.
pub const ABI_OLDEST: u32 = 1;

/// The first field of every description: `DEPLOYXP` as bytes in memory.
pub const MAGIC: [u8; 8] = *b"DEPLOYXP";

/// Capability: the plugin has `add_rules`.
pub const CAPABILITY_TABLES: u64 = 1;

/// Status: the call did what was asked; the buffer has the answer.
pub const STATUS_OK: u32 = 0;
/// Status: the call was understood and refused; the buffer has the reason (`add_rules`: an encoded
/// rule error; otherwise text).
pub const STATUS_REFUSED: u32 = 1;
/// Status: the request could not be decoded; the buffer has the reason as text.
pub const STATUS_UNREADABLE: u32 = 2;
/// Status: the plugin failed inside and caught it; the buffer has the message as text.
pub const STATUS_PANICKED: u32 = 3;
/// Status: a file view has no answer: not allowed, not there, too much.
pub const STATUS_UNKNOWN: u32 = 4;

/// File kind: cannot be told.
pub const KIND_UNKNOWN: u32 = 0;
/// File kind: nothing is there.
pub const KIND_MISSING: u32 = 1;
/// File kind: a regular file.
pub const KIND_FILE: u32 = 2;
/// File kind: a directory.
pub const KIND_DIRECTORY: u32 = 3;
/// File kind: a symbolic link.
pub const KIND_LINK: u32 = 4;
/// File kind: a device, socket or pipe.
pub const KIND_OTHER: u32 = 5;

/// Bytes that belong to the caller and are valid for the time of one call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// The first byte; may be null where `len` is 0.
    pub data: *const u8,
    /// How many bytes.
    pub len: usize,
}

impl Slice {
    /// A slice without bytes.
    pub const EMPTY: Self = Self {
        data: std::ptr::null(),
        len: 0,
    };

    /// The view of `bytes`; it must not be used longer than they live.
    pub const fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// The bytes, or `None` where a length stands beside a null pointer.
    ///
    /// # Safety
    /// `data` points to `len` bytes that stay valid and unchanged for `'a`, or is null.
    pub const unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.len == 0 {
            return Some(&[]);
        }
        if self.data.is_null() || self.len > isize::MAX as usize {
            return None;
        }
        // SAFETY: the caller promises `len` valid bytes at `data`, which is not null.
        Some(unsafe { std::slice::from_raw_parts(self.data, self.len) })
    }
}

/// Bytes that the plugin allocated; the host gives them back through [`Description::free`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    /// The first byte; null for an empty buffer.
    pub data: *mut u8,
    /// How many bytes.
    pub len: usize,
}

impl Buffer {
    /// A buffer without bytes.
    pub const EMPTY: Self = Self {
        data: std::ptr::null_mut(),
        len: 0,
    };
}

/// Takes one name of a directory and its kind. Anything but [`STATUS_OK`] ends the listing.
pub type NameSink = unsafe extern "C" fn(sink: *mut c_void, name: Slice, kind: u32) -> u32;

/// Takes bytes; called at most once.
pub type ByteSink = unsafe extern "C" fn(sink: *mut c_void, bytes: Slice);

/// The filesystem as the host shows it, for the time of one call of `infer`. Paths are absolute.
/// Results are handed to a function of the plugin, so nobody frees what another one allocated.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The first argument of every function.
    pub context: *const c_void,
    /// What is at `path`: one of the `KIND_` constants. A link at its end is not followed.
    pub kind: unsafe extern "C" fn(context: *const c_void, path: Slice) -> u32,
    /// Calls `sink` for every name in `dir`, `.` and `..` excepted. [`STATUS_OK`] or
    /// [`STATUS_UNKNOWN`].
    pub list: unsafe extern "C" fn(
        context: *const c_void,
        dir: Slice,
        sink: NameSink,
        sink_context: *mut c_void,
    ) -> u32,
    /// Calls `sink` with what the link at `path` says. [`STATUS_OK`] or [`STATUS_UNKNOWN`].
    pub read_link: unsafe extern "C" fn(
        context: *const c_void,
        path: Slice,
        sink: ByteSink,
        sink_context: *mut c_void,
    ) -> u32,
    /// Calls `sink` with the first `max` bytes of the file at `path`, or fewer. [`STATUS_OK`] or
    /// [`STATUS_UNKNOWN`].
    pub read: unsafe extern "C" fn(
        context: *const c_void,
        path: Slice,
        max: usize,
        sink: ByteSink,
        sink_context: *mut c_void,
    ) -> u32,
}

/// Makes an instance of the rule set.
pub type Create = unsafe extern "C" fn(instance: *mut *mut c_void, message: *mut Buffer) -> u32;

/// Reads an encoded request and answers with an encoded inference.
pub type Infer = unsafe extern "C" fn(
    instance: *mut c_void,
    request: Slice,
    view: *const View,
    answer: *mut Buffer,
) -> u32;

/// Adds a user's table of commands; `source` names it in messages.
pub type AddRules = unsafe extern "C" fn(
    instance: *mut c_void,
    source: Slice,
    toml: Slice,
    answer: *mut Buffer,
) -> u32;

/// Takes back a buffer that a call filled.
pub type Free = unsafe extern "C" fn(buffer: Buffer);

/// Ends an instance; it is not used afterwards.
pub type Destroy = unsafe extern "C" fn(instance: *mut c_void);

/// What a plugin is. It lives as long as the library is loaded, which is for ever.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The size of this structure in bytes.
    pub size: usize,
    /// The oldest version of the interface that the plugin speaks.
    pub abi_min: u32,
    /// The newest version of the interface that the plugin speaks.
    pub abi_max: u32,
    /// `CAPABILITY_` bits; unknown ones are ignored.
    pub capabilities: u64,
    /// The rule set's name: UTF-8, 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: Slice,
    /// The rule set's own version as UTF-8, for people; may be empty.
    pub version: Slice,
    /// The names of the shells it reads, each like `name`.
    pub shells: *const Slice,
    /// How many shells, 1 to 64.
    pub shell_count: usize,
    /// Makes an instance.
    pub create: Option<Create>,
    /// Reads a line.
    pub infer: Option<Infer>,
    /// Adds rules; needed with [`CAPABILITY_TABLES`].
    pub add_rules: Option<AddRules>,
    /// Takes back buffers.
    pub free: Option<Free>,
    /// Ends an instance.
    pub destroy: Option<Destroy>,
}

/// The exported function. It gets the range of versions that the host speaks and gives the
/// description, or null where no version fits or the plugin cannot work here.
pub type Entry = unsafe extern "C" fn(host_min: u32, host_max: u32) -> *const Description;
