//! The host's side of the C functions: every check that can be made before a plugin's data is
//! used, in one place.

use std::ffi::c_void;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::layout::AddRules;
use crate::layout::{
    ABI_OLDEST, ABI_VERSION, Buffer, CAPABILITY_TABLES, Create, Description, Destroy, Free, Infer,
    MAGIC, STATUS_OK, STATUS_PANICKED, STATUS_REFUSED, STATUS_UNREADABLE, Slice, View,
};
use crate::wire::{self, DecodeError};
use crate::{Inference, Request, RuleError};

/// The longest name of a rule set or shell, in bytes.
pub const MAX_NAME: usize = 64;

/// The longest version text, in bytes.
pub const MAX_VERSION: usize = 64;

/// The most shells of one rule set.
pub const MAX_SHELLS: usize = 64;

/// How much of a message of a plugin is kept, in bytes.
const MAX_MESSAGE: usize = 4096;

/// Why a description is not acceptable, in the order in which it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The plugin gave no description: it speaks no version of the host's.
    Null,
    /// The description does not begin with the magic bytes.
    Magic,
    /// The description is smaller than the first version's.
    Size {
        /// Its size in bytes as it says.
        size: usize,
    },
    /// The versions of host and plugin do not overlap.
    Version {
        /// The oldest version of the plugin.
        min: u32,
        /// The newest version of the plugin.
        max: u32,
    },
    /// A function that is needed is null.
    Function {
        /// Its name.
        name: &'static str,
    },
    /// A name is empty, too long, or has other characters than letters, digits, `-`, `_` and `.`.
    Name {
        /// What the name is of.
        field: &'static str,
    },
    /// There are no shells or too many.
    Shells {
        /// How many.
        count: usize,
    },
    /// The plugin would not make an instance.
    Create {
        /// What it said.
        message: String,
    },
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => write!(
                f,
                "it gives no description for version {ABI_OLDEST} to {ABI_VERSION} of the interface"
            ),
            Self::Magic => f.write_str("its description does not begin with the magic bytes"),
            Self::Size { size } => write!(f, "its description has {size} bytes, which is too few"),
            Self::Version { min, max } => write!(
                f,
                "it speaks version {min} to {max} of the interface, DeployX {ABI_OLDEST} to \
                 {ABI_VERSION}"
            ),
            Self::Function { name } => write!(f, "its function '{name}' is missing"),
            Self::Name { field } => write!(f, "its {field} is not a name"),
            Self::Shells { count } => write!(f, "it names {count} shells"),
            Self::Create { message } => write!(f, "it could not be started: {message}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// Why a call gave no answer. Only a plugin that [`Refused`](Self::Refused) can be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The plugin refused the call.
    Refused(String),
    /// The plugin could not read the request.
    Unreadable(String),
    /// The plugin failed inside.
    Panicked(String),
    /// The status has no meaning.
    Status(u32),
    /// The buffer has a length but no bytes.
    NullBuffer {
        /// The length, in bytes.
        len: usize,
    },
    /// The buffer is longer than the interface allows.
    HugeBuffer {
        /// The length, in bytes.
        len: usize,
    },
    /// The answer is not well-formed.
    Answer(DecodeError),
    /// The plugin has no function for it.
    NotOffered,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) => write!(f, "it refused: {message}"),
            Self::Unreadable(message) => write!(f, "it could not read the request: {message}"),
            Self::Panicked(message) => write!(f, "it panicked: {message}"),
            Self::Status(status) => write!(f, "it returned the status {status}, which is none"),
            Self::NullBuffer { len } => {
                write!(f, "it returned a null pointer with a length of {len}")
            }
            Self::HugeBuffer { len } => write!(
                f,
                "it returned {len} bytes, more than the {} allowed",
                wire::MAX_BYTES
            ),
            Self::Answer(error) => write!(f, "its answer is malformed: {error}"),
            Self::NotOffered => f.write_str("it does not offer that"),
        }
    }
}

impl std::error::Error for CallError {}

/// A plugin whose description was checked, with one instance.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    version: String,
    shells: Vec<String>,
    capabilities: u64,
    functions: Functions,
    /// The plugin's own; calls on it never overlap.
    instance: Mutex<Instance>,
}

#[derive(Debug, Clone, Copy)]
struct Functions {
    create: Create,
    infer: Infer,
    add_rules: Option<AddRules>,
    free: Free,
    destroy: Destroy,
}

#[derive(Debug)]
struct Instance(*mut c_void);

// SAFETY: the interface lets the host call from any thread, one call at a time; the mutex around
// the instance sees to the latter.
unsafe impl Send for Instance {}

impl Plugin {
    /// Checks a description and makes an instance.
    ///
    /// # Errors
    /// The first thing that is wrong with the description.
    ///
    /// # Safety
    /// `description` is null or what a plugin's entry returned, and the library stays loaded for
    /// ever. What a hostile library does cannot be checked here: it runs in a process of its own.
    pub unsafe fn new(description: *const Description) -> Result<Self, HandshakeError> {
        // SAFETY: as the caller promises.
        let description = unsafe { checked(description) }?;
        let functions = functions(&description)?;
        // SAFETY: the description says where its texts are; they live as long as the library.
        let (name, version, shells) = unsafe { texts(&description) }?;
        let instance = create(functions)?;
        Ok(Self {
            name,
            version,
            shells,
            capabilities: description.capabilities,
            functions,
            instance: Mutex::new(Instance(instance)),
        })
    }

    /// The rule set's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rule set's own version; may be empty.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The shells whose lines it reads, at least one.
    pub fn shells(&self) -> &[String] {
        &self.shells
    }

    /// The `CAPABILITY_` bits of the plugin.
    pub fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// Asks about a line.
    ///
    /// # Errors
    /// There is no answer that can be used.
    pub fn infer(&self, request: &Request, view: &View) -> Result<Inference, CallError> {
        let answer = self.infer_bytes(&wire::encode_request(request), view)?;
        wire::decode_inference(&answer).map_err(CallError::Answer)
    }

    /// Asks about an encoded request; the answer is still encoded and not looked at.
    ///
    /// # Errors
    /// There is no answer, or it is longer than allowed.
    pub fn infer_bytes(&self, request: &[u8], view: &View) -> Result<Vec<u8>, CallError> {
        let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = Buffer::EMPTY;
        // SAFETY: the instance is one of this plugin's, and request and view outlive the call.
        let status = unsafe {
            (self.functions.infer)(instance.0, Slice::of(request), view, &raw mut buffer)
        };
        answer(status, take(buffer, self.functions.free)?)
    }

    /// Adds a user's table of commands.
    ///
    /// # Errors
    /// `Ok(Err(_))` where the plugin refuses the table, `Err(_)` where it cannot be asked.
    pub fn add_rules(&self, source: &str, toml: &str) -> Result<Result<(), RuleError>, CallError> {
        let offered = self.capabilities & CAPABILITY_TABLES != 0;
        let Some(add_rules) = self.functions.add_rules.filter(|_| offered) else {
            return Err(CallError::NotOffered);
        };
        let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = Buffer::EMPTY;
        // SAFETY: the instance is one of this plugin's, and both texts outlive the call.
        let status = unsafe {
            add_rules(
                instance.0,
                Slice::of(source.as_bytes()),
                Slice::of(toml.as_bytes()),
                &raw mut buffer,
            )
        };
        let bytes = take(buffer, self.functions.free)?;
        if status == STATUS_REFUSED {
            return wire::decode_rule_error(&bytes)
                .map(Err)
                .map_err(CallError::Answer);
        }
        answer(status, bytes).map(|_| Ok(()))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let instance = self
            .instance
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the instance came from `create` and is not used afterwards.
        unsafe { (self.functions.destroy)(instance.0) };
    }
}

/// A copy of the description, once its head is what it should be.
///
/// # Safety
/// `description` is null or what a plugin's entry returned.
unsafe fn checked(description: *const Description) -> Result<Description, HandshakeError> {
    if description.is_null() {
        return Err(HandshakeError::Null);
    }
    if !description.is_aligned() {
        return Err(HandshakeError::Magic);
    }
    // SAFETY: not null and aligned; field by field, because the rest need not be there.
    let magic = unsafe { (&raw const (*description).magic).read() };
    if magic != MAGIC {
        return Err(HandshakeError::Magic);
    }
    // SAFETY: the magic bytes are followed by the size in every version.
    let size = unsafe { (&raw const (*description).size).read() };
    if size < size_of::<Description>() {
        return Err(HandshakeError::Size { size });
    }
    // SAFETY: the description says that it is at least this large.
    let description = unsafe { description.read() };
    let (min, max) = (description.abi_min, description.abi_max);
    if min > max || min > ABI_VERSION || max < ABI_OLDEST {
        return Err(HandshakeError::Version { min, max });
    }
    Ok(description)
}

fn functions(description: &Description) -> Result<Functions, HandshakeError> {
    let missing = |name| HandshakeError::Function { name };
    if description.capabilities & CAPABILITY_TABLES != 0 && description.add_rules.is_none() {
        return Err(missing("add_rules"));
    }
    Ok(Functions {
        create: description.create.ok_or(missing("create"))?,
        infer: description.infer.ok_or(missing("infer"))?,
        add_rules: description.add_rules,
        free: description.free.ok_or(missing("free"))?,
        destroy: description.destroy.ok_or(missing("destroy"))?,
    })
}

/// Name, version and shells.
///
/// # Safety
/// The slices of the description are valid.
unsafe fn texts(
    description: &Description,
) -> Result<(String, String, Vec<String>), HandshakeError> {
    // SAFETY: as the caller promises.
    let name = unsafe { name(description.name, "name") }?;
    let bad_version = HandshakeError::Name { field: "version" };
    if description.version.len > MAX_VERSION {
        return Err(bad_version);
    }
    // SAFETY: as the caller promises.
    let version = unsafe { description.version.bytes() }
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or(bad_version)?
        .to_owned();
    let count = description.shell_count;
    if count == 0 || count > MAX_SHELLS || description.shells.is_null() {
        return Err(HandshakeError::Shells { count });
    }
    let mut shells = Vec::with_capacity(count);
    for at in 0..count {
        // SAFETY: the array has `shell_count` elements.
        let slice = unsafe { description.shells.add(at).read() };
        // SAFETY: as the caller promises.
        shells.push(unsafe { self::name(slice, "shell") }?);
    }
    Ok((name, version, shells))
}

/// A name out of a plugin.
///
/// # Safety
/// The slice is valid.
unsafe fn name(slice: Slice, field: &'static str) -> Result<String, HandshakeError> {
    let bad = HandshakeError::Name { field };
    if slice.len == 0 || slice.len > MAX_NAME {
        return Err(bad);
    }
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice.bytes() }.ok_or(bad.clone())?;
    if !is_name(bytes) {
        return Err(bad);
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Whether `bytes` can be the name of a rule set or shell: 1 to [`MAX_NAME`] letters, digits, `-`,
/// `_` and `.`.
pub fn is_name(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !bytes.is_empty() && bytes.len() <= MAX_NAME && bytes.iter().all(plain)
}

fn create(functions: Functions) -> Result<*mut c_void, HandshakeError> {
    let mut instance = std::ptr::null_mut();
    let mut buffer = Buffer::EMPTY;
    // SAFETY: both places to write to outlive the call.
    let status = unsafe { (functions.create)(&raw mut instance, &raw mut buffer) };
    let result = take(buffer, functions.free).and_then(|bytes| answer(status, bytes));
    match result {
        Ok(_) => Ok(instance),
        Err(error) => Err(HandshakeError::Create {
            message: error.to_string(),
        }),
    }
}

/// Copies a buffer out of the plugin and gives it back.
fn take(buffer: Buffer, free: Free) -> Result<Vec<u8>, CallError> {
    let len = buffer.len;
    if buffer.data.is_null() {
        return if len == 0 {
            Ok(Vec::new())
        } else {
            Err(CallError::NullBuffer { len })
        };
    }
    if len > wire::MAX_BYTES {
        // Not given back: nothing about it can be trusted.
        return Err(CallError::HugeBuffer { len });
    }
    // SAFETY: the interface says that a buffer has `len` bytes at `data`; `len` is within bounds.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.data, len) }.to_vec();
    // SAFETY: the buffer is the plugin's and is given back once.
    unsafe { free(buffer) };
    Ok(bytes)
}

fn answer(status: u32, bytes: Vec<u8>) -> Result<Vec<u8>, CallError> {
    match status {
        STATUS_OK => Ok(bytes),
        STATUS_REFUSED => Err(CallError::Refused(message(&bytes))),
        STATUS_UNREADABLE => Err(CallError::Unreadable(message(&bytes))),
        STATUS_PANICKED => Err(CallError::Panicked(message(&bytes))),
        other => Err(CallError::Status(other)),
    }
}

/// A message of the plugin, cut and without control characters.
fn message(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
