//! The `intercept` strategy where the system cannot be asked to stop calls: it says so.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::seal::LateChange;
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};
use crate::store::{SnapshotId, Store};

mod types;

pub use types::{HolderReport, InterceptionHost, SessionReport, ToStart};

/// The strategy's name.
pub const NAME: &str = "intercept";

const WHY: &str = "calls can be intercepted on Linux only";

/// There is none.
pub struct Interception(#[allow(dead_code)] Infallible);

/// None.
pub fn sessions(_: &Store) -> Vec<SessionReport> {
    Vec::new()
}

/// None: no call is seen.
pub fn late_changes(_: &Store, _: &SnapshotId) -> Vec<LateChange> {
    Vec::new()
}

/// Always fails.
pub fn answer(_: &Path) -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, WHY))
}

/// The strategy that cannot be used.
pub struct Intercept(());

impl Intercept {
    /// The strategy of a store.
    pub fn new(_: Store, _: Option<InterceptionHost>) -> Self {
        Self(())
    }

    /// The same.
    #[must_use]
    pub fn for_shell(&self, _: &ToStart<'_>) -> (Self, Option<Arc<Interception>>) {
        (Self(()), None)
    }
}

impl SnapshotStrategy for Intercept {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability::default()
    }

    fn probe(&self, _: &AbsPath) -> std::result::Result<String, String> {
        Err(WHY.into())
    }

    fn begin(&self, _: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        Err(Error::new(ErrorKind::Unsupported, Stage::Capture, WHY))
    }

    fn resume(&self, _: &[u8]) -> Result<Box<dyn Capture>> {
        Err(Error::new(ErrorKind::Unsupported, Stage::Capture, WHY))
    }
}
