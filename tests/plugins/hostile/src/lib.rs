//! A plugin that misbehaves on demand: at loading as [`BEHAVIOUR`] says, which the tests write into
//! copies of the library; afterwards as the command line says.

use std::ffi::c_void;
use std::ptr;

use deployx_plugin_abi::layout::{
    ABI_OLDEST, ABI_VERSION, Buffer, Description, MAGIC, STATUS_OK, STATUS_PANICKED,
    STATUS_REFUSED, Slice, View,
};
use deployx_plugin_abi::wire::{self, Writer, tag};
use deployx_plugin_abi::{Certainty, Depth, Inference, PathUse, Unclear};

/// The marker that tests look for, and the place after it where they write.
#[used]
static BEHAVIOUR: [u8; 40] = *b"BEHAVIOUR-AT-LOADING:good               ";

fn behaviour() -> String {
    // SAFETY: a valid static; volatile because the file is changed after it was compiled.
    let bytes = unsafe { ptr::read_volatile(&raw const BEHAVIOUR) };
    String::from_utf8_lossy(&bytes[21..]).trim().to_owned()
}

#[unsafe(no_mangle)]
extern "C" fn deployx_plugin(_host_min: u32, _host_max: u32) -> *const Description {
    let behaviour = behaviour();
    match behaviour.as_str() {
        "null" => return ptr::null(),
        "abort-at-entry" => std::process::abort(),
        "hang-at-entry" => hang(),
        _ => {}
    }
    let shell = match behaviour.as_str() {
        "bad-shell" => Slice::of(b"a\nb"),
        _ => Slice::of(b"toy"),
    };
    let mut description = Description {
        magic: MAGIC,
        size: size_of::<Description>(),
        abi_min: ABI_OLDEST,
        abi_max: ABI_VERSION,
        capabilities: 0,
        name: Slice::of(b"hostile"),
        version: Slice::of(b"6.6.6"),
        shells: Box::leak(Box::new([shell])).as_ptr(),
        shell_count: 1,
        create: Some(create),
        infer: Some(infer),
        add_rules: None,
        free: Some(free),
        destroy: Some(destroy),
    };
    match behaviour.as_str() {
        "abi" => (description.abi_min, description.abi_max) = (7, 9),
        "magic" => description.magic = *b"NOTMAGIC",
        "size" => description.size = 8,
        "function" => description.infer = None,
        _ => {}
    }
    Box::leak(Box::new(description))
}

unsafe extern "C" fn create(instance: *mut *mut c_void, message: *mut Buffer) -> u32 {
    if behaviour() == "create" {
        // SAFETY: the host gives a place to write to.
        unsafe { message.write(leak(b"not today".to_vec())) };
        return STATUS_REFUSED;
    }
    // SAFETY: the host gives a place to write to.
    unsafe { instance.write(ptr::null_mut()) };
    STATUS_OK
}

unsafe extern "C" fn infer(
    _instance: *mut c_void,
    request: Slice,
    _view: *const View,
    answer: *mut Buffer,
) -> u32 {
    // SAFETY: the host gives valid bytes.
    let request = wire::decode_request(unsafe { request.bytes() }.unwrap()).unwrap();
    let garbage = request.command.len() > 60_000;
    match behaviour().as_str() {
        "crash-on-garbage" if garbage => segfault(),
        "hang-on-garbage" if garbage => hang(),
        "lies" => {
            // SAFETY: the host gives a place to write to.
            unsafe { answer.write(Buffer::EMPTY) };
            return STATUS_OK;
        }
        _ => {}
    }
    let (status, buffer) = act(&String::from_utf8_lossy(&request.command));
    // SAFETY: the host gives a place to write to.
    unsafe { answer.write(buffer) };
    status
}

/// What the command line asks for.
fn act(command: &str) -> (u32, Buffer) {
    let path = |path: &[u8]| (STATUS_OK, leak(answer_with(path, b"why")));
    match command {
        "drop" => path(b"/srv/dropped"),
        "relative" => path(b"srv/dropped"),
        "dots" => path(b"/srv/../etc"),
        "not-utf8" => (STATUS_OK, leak(answer_with(b"/srv", b"\xff\xfe"))),
        "garbage" => (STATUS_OK, leak(b"garbage".to_vec())),
        "null" => (STATUS_OK, raw(ptr::null_mut(), 7)),
        "huge" => (STATUS_OK, raw(ptr::dangling_mut(), usize::MAX)),
        "long" => (STATUS_OK, leak(vec![0; wire::MAX_BYTES + 1])),
        "wild" => (STATUS_OK, raw(ptr::without_provenance_mut(8), 4096)),
        "many" => (STATUS_OK, leak(many())),
        "status" => (99, Buffer::EMPTY),
        "refuse" => (STATUS_REFUSED, leak(b"will not".to_vec())),
        "panic" => (STATUS_PANICKED, leak(b"lost its head".to_vec())),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "unwind" => panic!("across the interface"),
        "segfault" => segfault(),
        "overflow" => (STATUS_OK, raw(ptr::null_mut(), overflow(1) as usize)),
        "allocate" => allocate(),
        "hang" => hang(),
        "print" => {
            println!("{}", "an answer? ".repeat(100));
            path(b"/srv/printed")
        }
        "read" => {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            assert_eq!(read.unwrap(), 0, "standard input has questions");
            path(b"/srv/read")
        }
        "scribble" => {
            scribble();
            path(b"/srv/scribbled")
        }
        _ => (STATUS_OK, leak(not_understood(command))),
    }
}

fn not_understood(command: &str) -> Vec<u8> {
    wire::encode_inference(&Inference {
        unclear: vec![Unclear {
            text: command.into(),
            cwd: None,
            reason: "unknown program".into(),
        }],
        ..Inference::default()
    })
}

fn answer_with(path: &[u8], reason: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put_nested(tag::INFERENCE_PATH, |inner| {
        inner.put(tag::PATH_PATH, path);
        inner.put(tag::PATH_DEPTH, &[2]);
        inner.put(tag::PATH_CERTAINTY, &[2]);
        inner.put(tag::PATH_REASON, reason);
    });
    writer.finish()
}

fn many() -> Vec<u8> {
    let path = PathUse {
        path: b"/a".to_vec(),
        depth: Depth::Entry,
        certainty: Certainty::Likely,
        follow: false,
        reason: String::new(),
        rule: String::new(),
    };
    wire::encode_inference(&Inference {
        paths: vec![path; wire::MAX_PATHS + 1],
        ..Inference::default()
    })
}

fn raw(data: *mut u8, len: usize) -> Buffer {
    Buffer { data, len }
}

fn leak(bytes: Vec<u8>) -> Buffer {
    let bytes = Box::leak(bytes.into_boxed_slice());
    raw(bytes.as_mut_ptr(), bytes.len())
}

fn hang() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn segfault() -> ! {
    // SAFETY: none; it is meant to end the process.
    unsafe { ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
    hang()
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 512]);
    if depth == 0 {
        return 0;
    }
    overflow(depth + 1) + block[(depth % 512) as usize]
}

fn allocate() -> (u32, Buffer) {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 24]);
    }
}

/// Writes into every descriptor that may lead to the host.
fn scribble() {
    use std::io::Write as _;
    use std::os::fd::FromRawFd as _;
    for number in 3..32 {
        // SAFETY: none; descriptors that are not open fail, and none is closed.
        let mut file = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(number) });
        let _ = file.write_all(b"this is no frame, whatever it looks like");
    }
}

unsafe extern "C" fn free(_buffer: Buffer) {}

unsafe extern "C" fn destroy(_instance: *mut c_void) {}
