//! What the host refuses of a plugin's description and of its buffers.

use std::ffi::c_void;
use std::ptr;

use deployx_plugin_abi::caller::{CallError, HandshakeError, Plugin};
use deployx_plugin_abi::layout;
use deployx_plugin_abi::layout::ByteSink;
use deployx_plugin_abi::layout::{
    ABI_OLDEST, ABI_VERSION, Buffer, CAPABILITY_TABLES, Description, KIND_UNKNOWN, MAGIC, NameSink,
    STATUS_OK, STATUS_PANICKED, STATUS_REFUSED, STATUS_UNKNOWN, Slice, View,
};
use deployx_plugin_abi::wire::{self, tag};
use deployx_plugin_abi::{Inference, Request};

unsafe extern "C" fn create(instance: *mut *mut c_void, _message: *mut Buffer) -> u32 {
    // SAFETY: the caller gives a place to write to.
    unsafe { instance.write(ptr::null_mut()) };
    STATUS_OK
}

/// Answers with the buffer or status that the command line names.
unsafe extern "C" fn infer(
    _instance: *mut c_void,
    request: Slice,
    _view: *const View,
    answer: *mut Buffer,
) -> u32 {
    // SAFETY: the caller gives valid bytes.
    let bytes = unsafe { request.bytes() }.unwrap();
    let request = wire::decode_request(bytes).unwrap();
    let (status, buffer) = match request.command.as_slice() {
        b"null" => (
            STATUS_OK,
            Buffer {
                data: ptr::null_mut(),
                len: 7,
            },
        ),
        b"huge" => (
            STATUS_OK,
            Buffer {
                data: ptr::dangling_mut(),
                len: usize::MAX,
            },
        ),
        b"status" => (77, Buffer::EMPTY),
        b"garbage" => (STATUS_OK, leak(b"\x01\x00\xff")),
        b"refuse" => (STATUS_REFUSED, leak(b"no\x1b[31m")),
        b"panic" => (STATUS_PANICKED, leak(b"oh")),
        _ => (STATUS_OK, Buffer::EMPTY),
    };
    // SAFETY: the caller gives a place to write to.
    unsafe { answer.write(buffer) };
    status
}

fn leak(bytes: &[u8]) -> Buffer {
    let bytes = Box::leak(bytes.to_vec().into_boxed_slice());
    Buffer {
        data: bytes.as_mut_ptr(),
        len: bytes.len(),
    }
}

unsafe extern "C" fn free(buffer: Buffer) {
    let bytes = ptr::slice_from_raw_parts_mut(buffer.data, buffer.len);
    // SAFETY: made by `leak`.
    drop(unsafe { Box::from_raw(bytes) });
}

unsafe extern "C" fn destroy(_instance: *mut c_void) {}

unsafe extern "C" fn kind(_context: *const c_void, _path: Slice) -> u32 {
    KIND_UNKNOWN
}

unsafe extern "C" fn list(
    _context: *const c_void,
    _dir: Slice,
    _sink: NameSink,
    _sink_context: *mut c_void,
) -> u32 {
    STATUS_UNKNOWN
}

unsafe extern "C" fn read_link(
    _context: *const c_void,
    _path: Slice,
    _sink: ByteSink,
    _sink_context: *mut c_void,
) -> u32 {
    STATUS_UNKNOWN
}

unsafe extern "C" fn read(
    _context: *const c_void,
    _path: Slice,
    _max: usize,
    _sink: ByteSink,
    _sink_context: *mut c_void,
) -> u32 {
    STATUS_UNKNOWN
}

const VIEW: View = View {
    size: size_of::<View>(),
    context: ptr::null(),
    kind,
    list,
    read_link,
    read,
};

/// Offers a good description, changed by `change`, to the host.
fn offer(change: impl FnOnce(&mut Description)) -> Result<Plugin, HandshakeError> {
    let shells = [Slice::of(b"toy")];
    let mut description = Description {
        magic: MAGIC,
        size: size_of::<Description>(),
        abi_min: ABI_OLDEST,
        abi_max: ABI_VERSION,
        capabilities: 0,
        name: Slice::of(b"toy"),
        version: Slice::of(b"1.0"),
        shells: shells.as_ptr(),
        shell_count: 1,
        create: Some(create),
        infer: Some(infer),
        add_rules: None,
        free: Some(free),
        destroy: Some(destroy),
    };
    change(&mut description);
    // SAFETY: what is behind the pointers outlives the call.
    unsafe { Plugin::new(&raw const description) }
}

/// What makes a description bad.
type Change = dyn Fn(&mut Description);

#[test]
fn a_good_description_is_taken() {
    let plugin = offer(|_| {}).unwrap();
    assert_eq!(plugin.name(), "toy");
    assert_eq!(plugin.version(), "1.0");
    assert_eq!(plugin.shells(), ["toy"]);
    assert_eq!(plugin.infer(&request("x"), &VIEW), Ok(Inference::default()));
    assert_eq!(plugin.add_rules("a", "b"), Err(CallError::NotOffered));
}

#[test]
fn a_bad_description_is_refused_for_its_first_fault() {
    // SAFETY: null is allowed.
    let nothing = unsafe { Plugin::new(ptr::null()) };
    assert_eq!(nothing.unwrap_err(), HandshakeError::Null);
    const LONG: [u8; 65] = [b'a'; 65];
    let cases: [(&Change, HandshakeError); 11] = [
        (&|d| d.magic[0] = b'd', HandshakeError::Magic),
        (&|d| d.size = 16, HandshakeError::Size { size: 16 }),
        (
            &|d| (d.abi_min, d.abi_max) = (2, 9),
            HandshakeError::Version { min: 2, max: 9 },
        ),
        (
            &|d| (d.abi_min, d.abi_max) = (1, 0),
            HandshakeError::Version { min: 1, max: 0 },
        ),
        (
            &|d| d.infer = None,
            HandshakeError::Function { name: "infer" },
        ),
        (
            &|d| d.capabilities = CAPABILITY_TABLES,
            HandshakeError::Function { name: "add_rules" },
        ),
        (
            &|d| d.name = Slice::of(b"a b"),
            HandshakeError::Name { field: "name" },
        ),
        (
            &|d| d.name = Slice::of(&LONG),
            HandshakeError::Name { field: "name" },
        ),
        (
            &|d| {
                d.version = Slice {
                    data: ptr::null(),
                    len: 3,
                }
            },
            HandshakeError::Name { field: "version" },
        ),
        (&|d| d.shell_count = 0, HandshakeError::Shells { count: 0 }),
        (
            &|d| d.shell_count = usize::MAX,
            HandshakeError::Shells { count: usize::MAX },
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(offer(change).unwrap_err(), expected);
    }
}

#[test]
fn a_hostile_answer_is_refused() {
    let plugin = offer(|_| {}).unwrap();
    let ask = |command: &str| plugin.infer(&request(command), &VIEW).unwrap_err();
    assert_eq!(ask("null"), CallError::NullBuffer { len: 7 });
    assert_eq!(ask("huge"), CallError::HugeBuffer { len: usize::MAX });
    assert_eq!(ask("status"), CallError::Status(77));
    assert!(matches!(ask("garbage"), CallError::Answer(_)));
    assert_eq!(ask("refuse"), CallError::Refused("no [31m".into()));
    assert_eq!(ask("panic"), CallError::Panicked("oh".into()));
}

fn request(command: &str) -> Request {
    Request {
        shell: "toy".into(),
        command: command.into(),
        cwd: b"/".to_vec(),
        ..Request::default()
    }
}

/// What `deployx_plugin.h` says of numbers.
#[test]
fn the_header_for_c_has_the_same_numbers() {
    let header = include_str!("../include/deployx_plugin.h");
    let value = |name: &str| -> u64 {
        let line = header
            .lines()
            .find_map(|line| line.strip_prefix(&format!("#define DEPLOYX_{name} ")))
            .unwrap_or_else(|| panic!("{name} is not in the header"));
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        // UINT64_C(n) has the size in its name.
        digits
            .strip_prefix("64")
            .unwrap_or(&digits)
            .parse()
            .unwrap()
    };
    macro_rules! same {
        ($from:ident: $($name:ident)*) => {
            $(assert_eq!(value(stringify!($name)), u64::from($from::$name), stringify!($name));)*
        };
    }
    same!(layout: ABI_VERSION ABI_OLDEST CAPABILITY_TABLES);
    same!(layout: STATUS_OK STATUS_REFUSED STATUS_UNREADABLE STATUS_PANICKED STATUS_UNKNOWN);
    same!(layout: KIND_UNKNOWN KIND_MISSING KIND_FILE KIND_DIRECTORY KIND_LINK KIND_OTHER);
    same!(tag: REQUEST_SHELL REQUEST_COMMAND REQUEST_CWD REQUEST_HOME REQUEST_VARIABLE);
    same!(tag: REQUEST_SESSION VARIABLE_NAME VARIABLE_VALUE SESSION_ASSIGNED SESSION_REDEFINED);
    same!(tag: SESSION_OPTIONS_CHANGED SESSION_UNKNOWN INFERENCE_PATH INFERENCE_CWD_AFTER);
    same!(tag: INFERENCE_UNCLEAR INFERENCE_EFFECT INFERENCE_DESTRUCTIVE INFERENCE_SESSION);
    same!(tag: PATH_PATH PATH_DEPTH PATH_CERTAINTY PATH_FOLLOW PATH_REASON PATH_RULE);
    same!(tag: UNCLEAR_TEXT UNCLEAR_CWD UNCLEAR_REASON EFFECT_WHAT EFFECT_REASON);
    same!(tag: RULE_SOURCE RULE_LINE RULE_COLUMN RULE_MESSAGE);
}
