//! A [`FileView`] on its way through the C interface, in both directions.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use deployx_plugin_abi::Kind;
use deployx_plugin_abi::layout::{
    ByteSink, KIND_DIRECTORY, KIND_FILE, KIND_LINK, KIND_MISSING, KIND_OTHER, KIND_UNKNOWN,
    NameSink, STATUS_OK, STATUS_UNKNOWN, Slice, View,
};

use crate::FileView;

/// A view of the host's as a table of C functions.
pub struct LentView<'a> {
    view: &'a dyn FileView,
}

impl<'a> LentView<'a> {
    /// Lends `view` to plugins.
    pub fn new(view: &'a dyn FileView) -> Self {
        Self { view }
    }

    /// The table; it must not be used once `self` is moved or dropped.
    pub fn table(&self) -> View {
        View {
            size: size_of::<View>(),
            // A pointer to the reference: the reference itself has two words.
            context: (&raw const self.view).cast(),
            kind,
            list,
            read_link,
            read,
        }
    }
}

/// Answers with what `ask` makes of the view and the path, and with `otherwise` when that panics
/// or the path is no path.
///
/// # Safety
/// `context` comes from [`LentView::table`], and `path` is valid for the time of the call.
unsafe fn answer<T>(
    context: *const c_void,
    path: Slice,
    otherwise: T,
    ask: impl FnOnce(&dyn FileView, &[u8]) -> T,
) -> T {
    // SAFETY: the context is the pointer that `table` made, and the view outlives the table.
    let view: &dyn FileView = unsafe { *context.cast::<&dyn FileView>() };
    // SAFETY: as the caller promises.
    let Some(path) = (unsafe { path.bytes() }) else {
        return otherwise;
    };
    catch_unwind(AssertUnwindSafe(|| ask(view, path))).unwrap_or(otherwise)
}

unsafe extern "C" fn kind(context: *const c_void, path: Slice) -> u32 {
    // SAFETY: the plugin passes the table's context and a valid path.
    unsafe {
        answer(context, path, KIND_UNKNOWN, |view, path| {
            number_of(view.kind(path))
        })
    }
}

unsafe extern "C" fn list(
    context: *const c_void,
    dir: Slice,
    sink: NameSink,
    sink_context: *mut c_void,
) -> u32 {
    let pass_on = |view: &dyn FileView, dir: &[u8]| {
        let Some(names) = view.list(dir) else {
            return STATUS_UNKNOWN;
        };
        for (name, kind) in names {
            // SAFETY: the plugin's function takes its own context and a name for one call.
            let status = unsafe { sink(sink_context, Slice::of(&name), number_of(kind)) };
            if status != STATUS_OK {
                break;
            }
        }
        STATUS_OK
    };
    // SAFETY: the plugin passes the table's context and a valid path.
    unsafe { answer(context, dir, STATUS_UNKNOWN, pass_on) }
}

unsafe extern "C" fn read_link(
    context: *const c_void,
    path: Slice,
    sink: ByteSink,
    sink_context: *mut c_void,
) -> u32 {
    // SAFETY: the plugin passes the table's context and a valid path.
    unsafe {
        answer(context, path, STATUS_UNKNOWN, |view, path| {
            hand_over(view.read_link(path), sink, sink_context)
        })
    }
}

unsafe extern "C" fn read(
    context: *const c_void,
    path: Slice,
    max: usize,
    sink: ByteSink,
    sink_context: *mut c_void,
) -> u32 {
    // SAFETY: the plugin passes the table's context and a valid path.
    unsafe {
        answer(context, path, STATUS_UNKNOWN, |view, path| {
            hand_over(view.read(path, max), sink, sink_context)
        })
    }
}

fn hand_over(bytes: Option<Vec<u8>>, sink: ByteSink, sink_context: *mut c_void) -> u32 {
    let Some(bytes) = bytes else {
        return STATUS_UNKNOWN;
    };
    // SAFETY: the plugin's function takes its own context and bytes for one call.
    unsafe { sink(sink_context, Slice::of(&bytes)) };
    STATUS_OK
}

/// The host's view as a plugin sees it, for the time of one call.
pub(crate) struct BorrowedView<'a> {
    table: View,
    host: PhantomData<&'a View>,
}

// SAFETY: the interface lets plugins call the view from any thread for the time of the call.
unsafe impl Send for BorrowedView<'_> {}
// SAFETY: as above; the host's functions take care of themselves.
unsafe impl Sync for BorrowedView<'_> {}

impl BorrowedView<'_> {
    /// The view behind `table`, `None` where it is null or of an older layout.
    ///
    /// # Safety
    /// `table` is null or a table that stays valid for `'a`.
    pub(crate) unsafe fn new(table: *const View) -> Option<Self> {
        if table.is_null() {
            return None;
        }
        // SAFETY: not null; every layout begins with its size.
        let size = unsafe { (&raw const (*table).size).read() };
        if size < size_of::<View>() {
            return None;
        }
        Some(Self {
            // SAFETY: the table is at least this large.
            table: unsafe { table.read() },
            host: PhantomData,
        })
    }
}

impl FileView for BorrowedView<'_> {
    fn kind(&self, path: &[u8]) -> Kind {
        // SAFETY: the table is valid for `'a`, and the path for the call.
        kind_of(unsafe { (self.table.kind)(self.table.context, Slice::of(path)) })
    }

    fn list(&self, dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        let mut names: Vec<(Vec<u8>, Kind)> = Vec::new();
        // SAFETY: the table is valid for `'a`; the host calls `take_name` with the context given
        // here, before it returns.
        let status = unsafe {
            (self.table.list)(
                self.table.context,
                Slice::of(dir),
                take_name,
                (&raw mut names).cast(),
            )
        };
        (status == STATUS_OK).then_some(names)
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut taken: Option<Vec<u8>> = None;
        // SAFETY: as in `list`, with `take_bytes`.
        let status = unsafe {
            (self.table.read_link)(
                self.table.context,
                Slice::of(path),
                take_bytes,
                (&raw mut taken).cast(),
            )
        };
        taken.filter(|_| status == STATUS_OK)
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let mut taken: Option<Vec<u8>> = None;
        // SAFETY: as in `list`, with `take_bytes`.
        let status = unsafe {
            (self.table.read)(
                self.table.context,
                Slice::of(path),
                max,
                take_bytes,
                (&raw mut taken).cast(),
            )
        };
        taken.filter(|_| status == STATUS_OK)
    }
}

unsafe extern "C" fn take_name(sink: *mut c_void, name: Slice, kind: u32) -> u32 {
    // SAFETY: the context is the list that `list` passed; nobody else uses it meanwhile.
    let names = unsafe { &mut *sink.cast::<Vec<(Vec<u8>, Kind)>>() };
    // SAFETY: the host gives valid bytes.
    if let Some(name) = unsafe { name.bytes() } {
        names.push((name.to_vec(), kind_of(kind)));
    }
    STATUS_OK
}

unsafe extern "C" fn take_bytes(sink: *mut c_void, bytes: Slice) {
    // SAFETY: the context is the place that `read` or `read_link` passed.
    let place = unsafe { &mut *sink.cast::<Option<Vec<u8>>>() };
    // SAFETY: the host gives valid bytes.
    *place = unsafe { bytes.bytes() }.map(<[u8]>::to_vec);
}

fn number_of(kind: Kind) -> u32 {
    match kind {
        Kind::Unknown => KIND_UNKNOWN,
        Kind::Missing => KIND_MISSING,
        Kind::File => KIND_FILE,
        Kind::Directory => KIND_DIRECTORY,
        Kind::Link => KIND_LINK,
        Kind::Other => KIND_OTHER,
    }
}

fn kind_of(number: u32) -> Kind {
    match number {
        KIND_MISSING => Kind::Missing,
        KIND_FILE => Kind::File,
        KIND_DIRECTORY => Kind::Directory,
        KIND_LINK => Kind::Link,
        KIND_OTHER => Kind::Other,
        _ => Kind::Unknown,
    }
}
