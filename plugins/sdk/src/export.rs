//! A rule set as a library: what [`export_plugin!`](crate::export_plugin) expands to.
//!
//! Rule sets use the macro; the rest is public only because the macro needs it.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use deployx_plugin_abi::layout::{
    ABI_OLDEST, ABI_VERSION, CAPABILITY_TABLES, MAGIC, STATUS_OK, STATUS_PANICKED, STATUS_REFUSED,
    STATUS_UNREADABLE, Slice, View,
};
pub use deployx_plugin_abi::layout::{Buffer, Create, Description};
use deployx_plugin_abi::wire;

use crate::PathInference;
use crate::view::BorrowedView;

/// Exports a rule set from a `cdylib` under the name that DeployX looks for.
///
/// Takes a function without arguments that makes the rule set, which implements
/// [`PathInference`]. A panic in it or in the rule set does not leave the library: it becomes a
/// failed call with the panic's message (not with `panic = "abort"`, which ends the process that
/// hosts the plugin).
///
/// ```
/// # use deployx_plugin_sdk::{FileView, Inference, PathInference, Request};
/// struct Toy;
///
/// impl PathInference for Toy {
///     fn name(&self) -> &str {
///         "toy"
///     }
///     fn shells(&self) -> &[&str] {
///         &["toy"]
///     }
///     fn infer(&self, _request: &Request, _view: &dyn FileView) -> Inference {
///         Inference::default()
///     }
/// }
///
/// deployx_plugin_sdk::export_plugin!(|| Toy);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($constructor:expr) => {
        const _: () = {
            fn make() -> ::std::boxed::Box<dyn $crate::PathInference> {
                ::std::boxed::Box::new(($constructor)())
            }

            unsafe extern "C" fn create(
                instance: *mut *mut ::std::ffi::c_void,
                message: *mut $crate::export::Buffer,
            ) -> u32 {
                // SAFETY: the host passes places that it owns.
                unsafe { $crate::export::create(make, instance, message) }
            }

            static EXPORT: $crate::export::Export = $crate::export::Export::new(make, create);

            /// The entry of the plugin interface.
            #[unsafe(no_mangle)]
            pub extern "C" fn deployx_plugin(
                host_min: u32,
                host_max: u32,
            ) -> *const $crate::export::Description {
                EXPORT.describe(host_min, host_max)
            }
        };
    };
}

/// Makes a rule set.
pub type Make = fn() -> Box<dyn PathInference>;

/// What one library exports. The description is made when it is first asked for.
pub struct Export {
    make: Make,
    create: Create,
    described: OnceLock<Option<Described>>,
}

/// A description that is never freed.
struct Described(&'static Description);

// SAFETY: the description and all that it points to is never changed and never freed.
unsafe impl Send for Described {}
// SAFETY: as above.
unsafe impl Sync for Described {}

impl Export {
    /// An export of what `make` makes; `create` is [`create`] with the same function.
    pub const fn new(make: Make, create: Create) -> Self {
        Self {
            make,
            create,
            described: OnceLock::new(),
        }
    }

    /// The description for a host that speaks these versions; null where none fits or the rule set
    /// cannot be made.
    pub fn describe(&self, host_min: u32, host_max: u32) -> *const Description {
        if host_min > ABI_VERSION || host_max < ABI_OLDEST || host_min > host_max {
            return std::ptr::null();
        }
        let described = self.described.get_or_init(|| {
            catch_unwind(|| Described(Box::leak(Box::new(self.description()))))
                .map_err(forget)
                .ok()
        });
        described.as_ref().map_or(std::ptr::null(), |described| {
            std::ptr::from_ref(described.0)
        })
    }

    fn description(&self) -> Description {
        let rules = (self.make)();
        let shells: Vec<Slice> = rules.shells().iter().map(|shell| leak(shell)).collect();
        let shells = Box::leak(shells.into_boxed_slice());
        Description {
            magic: MAGIC,
            size: size_of::<Description>(),
            abi_min: ABI_OLDEST,
            abi_max: ABI_VERSION,
            capabilities: CAPABILITY_TABLES,
            name: leak(rules.name()),
            version: leak(rules.version()),
            shells: shells.as_ptr(),
            shell_count: shells.len(),
            create: Some(self.create),
            infer: Some(infer),
            add_rules: Some(add_rules),
            free: Some(free),
            destroy: Some(destroy),
        }
    }
}

fn leak(text: &str) -> Slice {
    Slice::of(Box::leak(text.to_owned().into_boxed_str()).as_bytes())
}

/// An instance: behind a pointer of its own, because a box of a trait object has two words.
type Instance = Box<dyn PathInference>;

/// Makes an instance for the host.
///
/// # Safety
/// Both pointers are places to write to.
pub unsafe fn create(make: Make, instance: *mut *mut c_void, message: *mut Buffer) -> u32 {
    let (status, bytes) = guarded(|| {
        let made: *mut Instance = Box::into_raw(Box::new(make()));
        // SAFETY: as the caller promises.
        unsafe { instance.write(made.cast()) };
        (STATUS_OK, Vec::new())
    });
    // SAFETY: as the caller promises.
    unsafe { message.write(buffer(bytes)) };
    status
}

unsafe extern "C" fn infer(
    instance: *mut c_void,
    request: Slice,
    view: *const View,
    answer: *mut Buffer,
) -> u32 {
    let (status, bytes) = guarded(|| {
        // SAFETY: the host passes what `create` gave it, and never two calls at once.
        let rules = unsafe { &*instance.cast::<Instance>() };
        // SAFETY: the host passes a table that is valid for the call.
        let Some(view) = (unsafe { BorrowedView::new(view) }) else {
            return (STATUS_UNREADABLE, b"the file view is too old".to_vec());
        };
        // SAFETY: the host passes bytes that are valid for the call.
        let request = unsafe { request.bytes() }.unwrap_or_default();
        match wire::decode_request(request) {
            Ok(request) => {
                let inference = rules.infer(&request, &view);
                (STATUS_OK, wire::encode_inference(&inference))
            }
            Err(error) => (STATUS_UNREADABLE, error.to_string().into_bytes()),
        }
    });
    // SAFETY: the host passes a place to write to.
    unsafe { answer.write(buffer(bytes)) };
    status
}

unsafe extern "C" fn add_rules(
    instance: *mut c_void,
    source: Slice,
    toml: Slice,
    answer: *mut Buffer,
) -> u32 {
    let (status, bytes) = guarded(|| {
        // SAFETY: the host passes what `create` gave it, and never two calls at once.
        let rules = unsafe { &mut *instance.cast::<Instance>() };
        // SAFETY: the host passes bytes that are valid for the call.
        let (source, toml) = unsafe { (text(source), text(toml)) };
        let (Some(source), Some(toml)) = (source, toml) else {
            return (STATUS_UNREADABLE, b"the rules are not UTF-8".to_vec());
        };
        match rules.add_rules(source, toml) {
            Ok(()) => (STATUS_OK, Vec::new()),
            Err(error) => (STATUS_REFUSED, wire::encode_rule_error(&error)),
        }
    });
    // SAFETY: the host passes a place to write to.
    unsafe { answer.write(buffer(bytes)) };
    status
}

/// The text of a slice.
///
/// # Safety
/// The slice is valid for `'a`.
unsafe fn text<'a>(slice: Slice) -> Option<&'a str> {
    // SAFETY: as the caller promises.
    std::str::from_utf8(unsafe { slice.bytes() }?).ok()
}

unsafe extern "C" fn free(buffer: Buffer) {
    if buffer.data.is_null() {
        return;
    }
    let bytes = std::ptr::slice_from_raw_parts_mut(buffer.data, buffer.len);
    // SAFETY: the host gives back what `buffer` made, once.
    drop(unsafe { Box::from_raw(bytes) });
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    let dropped = catch_unwind(|| {
        // SAFETY: the host passes what `create` gave it, for the last time.
        drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
    });
    if let Err(payload) = dropped {
        forget(payload);
    }
}

fn buffer(bytes: Vec<u8>) -> Buffer {
    if bytes.is_empty() {
        return Buffer::EMPTY;
    }
    let bytes = Box::leak(bytes.into_boxed_slice());
    Buffer {
        data: bytes.as_mut_ptr(),
        len: bytes.len(),
    }
}

/// Does `call`; a panic becomes a status with its message.
fn guarded(call: impl FnOnce() -> (u32, Vec<u8>)) -> (u32, Vec<u8>) {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message")
            .to_owned();
        forget(payload);
        (STATUS_PANICKED, message.into_bytes())
    })
}

/// Leaks what a panic carried: dropping it might panic again.
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}
