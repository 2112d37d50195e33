//! The `reflink` strategy: content is cloned, so that securing a tree writes no data.
//!
//! The filesystem shares the blocks of a file with its clone until one of them is changed (FICLONE
//! on btrfs and XFS, clonefile on APFS, block cloning on ReFS). Clones do not leave a filesystem,
//! so the content of a volume that does not hold the store is kept beside it. Changes are found by a
//! stat walk before and after the command; what changed is hashed when it is sealed.

use std::sync::Arc;

use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::baseline::Keep;
use crate::snapshot::volumes::Volumes;
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};

/// The strategy's name.
pub const NAME: &str = "reflink";

/// Clones content into a baseline on the same filesystem.
pub struct Reflink {
    volumes: Arc<Volumes>,
}

impl Reflink {
    /// The strategy on these baselines.
    pub fn new(volumes: Arc<Volumes>) -> Self {
        Self { volumes }
    }
}

impl SnapshotStrategy for Reflink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            resume: true,
            zero_copy: true,
        }
    }

    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
        self.volumes
            .probes()
            .clones(path)
            .map(|()| "files can be cloned here".into())
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        let baseline = match request.scope.first() {
            Some(first) => self.volumes.baseline_near(&first.path)?,
            None => self.volumes.own().clone(),
        };
        Ok(Box::new(baseline.begin(request, Keep::Clone)?))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.volumes.resume(token)?))
    }
}
